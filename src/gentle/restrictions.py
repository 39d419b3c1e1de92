"""Linear restrictions on coefficients, read from a text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from formulaic.errors import FormulaicError
from formulaic.utils.constraints import LinearConstraints

from gentle.batch import Floats
from gentle.errors import GentleError, near
from gentle.expressions import MAX_LENGTH, QUOTED

_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.])")
_OPERATOR = re.compile(r"==?|[-+*/(),]")
_UNKNOWN = re.compile(r"[\w.]+(?:\([^()]*\)|\[[^\[\]]*\]|:[\w.]+)*")  # a[T.b]:c, in a sentence
_LINEAR = "restrictions are linear, such as 'a = b, 2*c + d = 3'"


def restrictions(text: str, names: Sequence[str]) -> tuple[Floats, Floats, tuple[str, ...]]:
    """(R, r, labels) of linear restrictions R b = r on coefficients: (m, q), (m,) and their texts.

    They are written as 'a = b, 2*c + d = 3' over `names` (q,), in the order of b; 'a' alone is 'a = 0'.
    A name such as C(cut)[T.Good] or arr delay stands as it is, the longest that fits, or in backticks:
    those that are numbers, or begin like arithmetic, need them.

    Raises GentleError for a name that does not exist, and for what is not linear.
    """
    if len(text) > MAX_LENGTH:
        raise GentleError(f"the restrictions have {len(text):,} characters: give them as a matrix")
    pieces: list[list[_Word]] = [[]]
    for word in _words(text, names):
        if word.symbol == ",":
            pieces.append([])
        else:
            pieces[-1].append(word)
    read = [_restriction(piece, text, len(names)) for piece in pieces]
    rows, values, labels = zip(*read, strict=True)
    return np.array(rows), np.array(values), labels


class _Word(NamedTuple):
    """A coefficient, a number or an operator of a restriction."""

    symbol: str  # what formulaic reads: b and its number for a coefficient
    start: int  # where it stands in the text
    end: int


def _words(text: str, names: Sequence[str]) -> Iterator[_Word]:
    """The words of restrictions, where only coefficients, numbers and + - * / ( ) = , remain."""
    number_of = {name: at for at, name in enumerate(names)}
    bare = [name for name in names if name and not re.match(r"[-+*/=,()\s]", name)]
    longest = sorted((name for name in bare if not _NUMBER.fullmatch(name)), key=len, reverse=True)
    known = re.compile("(?:" + "|".join(map(re.escape, longest)) + r")(?![\w.:(\[])")
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        if found := known.match(text, at) if longest else None:
            symbol = f"b{number_of[found[0]]}"
        elif found := _NUMBER.match(text, at):
            symbol = _decimal(found[0])
        elif found := _OPERATOR.match(text, at):
            symbol = found[0][0]
        elif found := QUOTED.match(text, at) or _UNKNOWN.match(text, at):
            name = found[1] if found.re is QUOTED else found[0]
            if name not in number_of:
                raise GentleError(f"there is no coefficient '{name}': {near(name, names)}")
            symbol = f"b{number_of[name]}"
        else:
            raise GentleError(f"'{text[at]}' has no place in '{text}': {_LINEAR}")
        yield _Word(symbol, at, found.end())
        at = found.end()


def _decimal(number: str) -> str:
    """A number without the exponent, which formulaic does not know."""
    if math.isinf(float(number)):
        raise GentleError(f"{number} is beyond the largest number, 1.8e308")
    plain = f"{Decimal(repr(float(number))):f}"
    return plain if "." in plain else f"{plain}."  # not an integer, whose powers never end


def _restriction(piece: list[_Word], text: str, q: int) -> tuple[Floats, float, str]:
    """(row, value, label) of one restriction, a sum on each side of its '='."""
    if not piece:
        raise GentleError(f"'{text}' has a restriction that is empty: {_LINEAR}")
    label = " ".join(text[piece[0].start : piece[-1].end].split())
    symbols = [word.symbol for word in piece]
    if "=" not in symbols:
        symbols, label = [*symbols, "=", "0."], f"{label} = 0"
    if symbols.count("=") > 1:  # formulaic would read a = b = c as a - b + c = 0
        raise GentleError(f"'{label}' has more than one '=': write 'a = b, b = c'")
    middle = symbols.index("=")
    try:
        left, less = _linear(symbols[:middle], q)
        right, more = _linear(symbols[middle + 1 :], q)
    except (FormulaicError, ArithmeticError, RuntimeError, SyntaxError, ValueError):
        raise GentleError(f"'{label}' cannot be read: {_LINEAR}") from None
    with np.errstate(all="ignore"):
        row, value = left - right, more - less
    if not (np.isfinite(row).all() and np.isfinite(value)):
        raise GentleError(f"'{label}' has numbers beyond the largest one, 1.8e308")
    if not row.any():
        raise GentleError(f"'{label}' restricts no coefficient: {_LINEAR}")
    return row, value, label


def _linear(symbols: Iterable[str], q: int) -> tuple[Floats, float]:
    """(row, constant) of a sum of numbers times coefficients."""
    plain = re.sub(r"[-+](?: [-+])+", _sign, " ".join(symbols))
    plain = re.sub(r"([*/]) ([-+]) ([^(]\S*)", r"\1 ( \2 \3 )", plain)  # nor 2 * - a
    used = sorted(set(re.findall(r"b[0-9]+", plain)))
    with np.errstate(all="ignore"):
        read = LinearConstraints.from_spec(plain, used)
    if len(read.constraint_matrix) != 1:
        raise ValueError("nothing stands here")
    row = np.zeros(q)
    row[[int(name[1:]) for name in used]] = read.constraint_matrix[0]
    return row, -float(read.constraint_values[0])


def _sign(signs: re.Match[str]) -> str:
    """One sign for several, which formulaic takes for one operator that it does not know."""
    return "-" if signs[0].count("-") % 2 else "+"
