"""What gentle raises and warns with: sentences for people, in classes that programs can catch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Real
from typing import Any, TypeGuard

SHOWN_CHARACTERS = 80  # of a value in a message

# Characters that Unicode counts as letters or marks and that draw nothing: fillers, joiners, selectors.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")


def printable(text: str, keep: str = "") -> str:
    """Text whose control, format, blank and invisible characters are written as escapes such as \\x1b.

    What remains can neither steer a terminal nor reorder, break or hide a line. `keep` lists exceptions.
    """
    if text.isprintable() and _INVISIBLE.isdisjoint(text):
        return text
    return "".join(sign if sign in keep or _is_plain(sign) else _escape(sign) for sign in text)


def _is_plain(sign: str) -> bool:
    return sign.isprintable() and sign not in _INVISIBLE


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


class _Printable:
    """An exception whose message is printable, whatever names and values it quotes."""

    def __str__(self) -> str:
        return printable(super().__str__())


class GentleError(_Printable, ValueError):
    """Something the caller can mend: what is needed, what was found and where, the way out."""


class GentleWarning(_Printable, UserWarning):
    """Something was changed or left out on the caller's behalf, and a number depends on it."""


class RankWarning(GentleWarning):
    """A column is a combination of others, so its coefficient alone cannot be told."""


class PrecisionWarning(GentleWarning):
    """Fewer digits are certified than were asked for."""


class CovarianceWarning(GentleWarning):
    """A covariance had to be mended, or rests on too few groups to be trusted."""


class ReadingWarning(GentleWarning):
    """A file was read in a way that was inferred from it; options of `gentle.read_csv` state it."""


def warn_of_rounding(name: str) -> None:
    """Warn of whole numbers that float64 has not: what is certified is the fit of the rounded ones."""
    warnings.warn(
        f"column '{name}' has whole numbers beyond 2^53, which float64 rounds: shift or divide it first",
        PrecisionWarning,
        stacklevel=2,
    )


def first_line(error: BaseException) -> str:
    """The first line of what an error of another library says, or what it is called."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def near(name: str, known: Iterable[str]) -> str:
    """The way out for a name that does not exist: its nearest neighbours, or all there are."""
    names = list(known)
    alike = [other for other in names if str(other).lower() == name.lower()]
    close = alike or get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {listed(close, 'or')}?"
    return f"there are {listed(names)}" if names else "there are none"


def listed(names: Iterable[object], last: str = "and", most: int = 12) -> str:
    """Names in a sentence: 'a', 'b' and 'c'; a long list is cut, and says by how much."""
    quoted = [f"'{name}'" for name in names]
    if len(quoted) > most:
        return ", ".join(quoted[:most]) + f" {last} {len(quoted) - most:,} more"
    if len(quoted) < 2:
        return "".join(quoted)
    return ", ".join(quoted[:-1]) + f" {last} {quoted[-1]}"


def show_value(value: object) -> str:
    """A value in a message: its repr, cut where it is long, or its type where it has none."""
    try:
        text = repr(value)
    except Exception:  # an object of anybody's; integers of more than 4,300 digits
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number within float64, booleans not among them."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        float(value)
    except (OverflowError, TypeError, ValueError):  # 10**400, or a missing value in disguise
        return False
    return True


def is_real_number(value: object) -> TypeGuard[Real]:
    """Whether a value is a real number of any size, booleans not among them."""
    return isinstance(value, Real) and not isinstance(value, bool)


def as_tuple(given: object, needed: str) -> tuple[Any, ...]:
    """The items of an argument that may be one string or several values.

    Raises GentleError, which says what is `needed`, for an object without items.
    """
    if isinstance(given, str):
        return (given,)
    try:
        return tuple(given)  # type: ignore[arg-type]
    except Exception:  # whatever an object of anybody's raises that has no items
        raise GentleError(f"{needed}, not {show_value(given)}") from None


def is_choice(value: object, known: Iterable[object]) -> bool:
    """Whether a value is one of these words, or None among them; no object is compared that is neither."""
    return (value is None or isinstance(value, str)) and value in tuple(known)


def check_seed(seed: int) -> None:
    """Raises GentleError for a seed that no generator takes."""
    if not 0 <= seed < 2**63:
        raise GentleError(
            f"a seed must be a whole number from 0 to 2^63 - 1, and is {show_value(seed)}"
        )
