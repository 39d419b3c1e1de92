"""Wilkinson formulas through formulaic, held to a list of known functions.

formulaic evaluates any Python that stands in a formula. Here a formula is data: it may name columns,
operators and the functions of `FUNCTIONS`, and whatever else it holds is refused before anything
is evaluated, when fitting and when predicting.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
from formulaic import Formula, ModelSpec
from formulaic.errors import FormulaicError
from formulaic.parser.algos.tokenize import tokenize
from formulaic.parser.types import Factor, Term, Token
from formulaic.utils.constraints import LinearConstraints

from gentle.batch import INTERCEPT, Floats
from gentle.doubled import power
from gentle.errors import GentleError, near
from gentle.sources import Schema

ELEMENTWISE = {
    function.__name__: function
    for function in (
        *(
            np.abs,
            np.arccos,
            np.arcsin,
            np.arctan,
            np.cbrt,
            np.ceil,
            np.cos,
            np.cosh,
            np.exp,
            np.exp2,
        ),
        *(np.expm1, np.floor, np.log, np.log10, np.log1p, np.log2, np.maximum, np.minimum, np.sign),
        *(np.sin, np.sinh, np.sqrt, np.square, np.tan, np.tanh),
    )
} | {"abs": np.abs}
LEARNED = ("C", "bs", "cc", "center", "cr", "cs", "poly", "scale", "standardize")
CONTRASTS = ("diff", "helmert", "poly", "sum", "treatment")  # as contr.sum, inside C()
FUNCTIONS = ("I", *LEARNED, *ELEMENTWISE)  # each of ELEMENTWISE also as np.name
LARGEST_POWER = 64
LARGEST_BASIS = 100  # columns of one spline or polynomial
LARGEST_INTERACTION = 4  # in (a + b + c)**4
MOST_PRODUCTS = 10  # a * b doubles the terms: each factor more doubles them again
LONGEST_FORMULA = 100_000  # characters

_QUOTED = re.compile(r"`([^`]*)`")
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.])")
_OPERATOR = re.compile(r"==?|[-+*/(),]")
_UNKNOWN = re.compile(r"[\w.]+(?:\([^()]*\)|\[[^\[\]]*\]|:[\w.]+)*")  # a[T.b]:c, in a sentence
_LINEAR = "restrictions are linear, such as 'a = b, 2*c + d = 3'"
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Load,
    ast.Constant, ast.keyword, ast.Attribute,
    ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip


@dataclass(frozen=True)
class Parsed:
    """A formula that has been read and found harmless; nothing of it has been evaluated yet."""

    text: str
    formula: Formula
    target_columns: tuple[str, ...]  # the source's columns left of the ~, in the source's order
    feature_columns: tuple[str, ...]  # those right of it
    learns: bool  # whether a function of it has a state that comes from the data
    coded: frozenset[str]  # columns that stand alone in C(): their integers are names of levels

    @property
    def columns(self) -> tuple[str, ...]:
        """The source's columns it names, each once."""
        return tuple(dict.fromkeys((*self.feature_columns, *self.target_columns)))


class Power(NamedTuple):
    """A column of x that is a whole power of one column of the source, to be had exactly."""

    place: int  # in x
    column: str
    exponent: int


@dataclass(frozen=True)
class Wilkinson:
    """A formula with the state it learned, such as knots and means: frames to numbers."""

    text: str
    targets: tuple[str, ...]
    names: tuple[str, ...]  # columns of x, the constant not among them
    intercept: bool
    spec: Any  # formulaic's ModelSpecs
    coded: frozenset[str]
    powers: tuple[Power, ...] = ()

    @property
    def computes(self) -> bool:
        """Whether columns are rounded powers, which stand for the exact ones."""
        return bool(self.powers)

    @property
    def learned(self) -> str:
        """What its functions learned from the rows, such as means and knots."""
        states = (side.transform_state for side in (self.spec.lhs, self.spec.rhs))
        with np.printoptions(threshold=np.iinfo(np.int64).max, floatmode="unique"):
            return " ".join(repr(state) for state in states)

    def encode_x(self, frame: pl.DataFrame) -> Floats:
        """x of complete rows, (n, p)."""
        x = self._side(self.spec.rhs, frame)
        return x[:, 1:] if self.intercept else x

    def encode_y(self, frame: pl.DataFrame) -> Floats:
        """y of complete rows, (n, k)."""
        return self._side(self.spec.lhs, frame)

    def encode_low(self, frame: pl.DataFrame, x: Floats) -> Floats | None:
        """What the powers among the columns of x lack of the exact ones, (n, p); None without powers."""
        if not self.powers:
            return None
        low = np.zeros_like(x)
        with np.errstate(all="ignore"):
            for of in self.powers:
                base = frame[of.column].cast(pl.Float64).to_numpy()
                exact = power(base, of.exponent)
                low[:, of.place] = (exact.high - x[:, of.place]) + exact.low
        return np.nan_to_num(low, copy=False, nan=0.0, posinf=0.0, neginf=0.0)

    def _side(self, spec: ModelSpec, frame: pl.DataFrame) -> Floats:
        table = _pandas(frame, self.coded)
        with np.errstate(all="ignore"):  # log(-1) is a missing value and is counted as one
            matrix = spec.get_model_matrix(table, context=ELEMENTWISE | {"np": _Numpy})
        # A formula of the constant alone has no column that would tell formulaic the height.
        numbers = np.asarray(matrix, dtype=np.float64)
        return numbers if len(numbers) == len(table) else np.ones((len(table), 1))


def parse(text: str, schema: Schema, aside: Iterable[str] = ()) -> Parsed:
    """Read a formula over the columns of a schema; `.` stands for those that are not set aside.

    Raises GentleError for what is no formula, for a column that does not exist and for anything
    beyond columns, operators and known functions.
    """
    if text.rstrip().endswith("~"):
        raise GentleError(
            f"'{text}' has nothing to the right of '~': 'y ~ 1' is the constant alone"
        )
    if len(text) > LONGEST_FORMULA:
        raise GentleError(f"the formula has {len(text):,} characters: give columns with features=")
    visible = [name for name in schema if name not in set(aside)]
    try:
        _check_tokens(text)
        formula = Formula(text, _context={"__formulaic_variables_available__": visible})
    except GentleError:
        raise
    except (FormulaicError, SyntaxError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GentleError(f"'{text}' is not a formula that can be read: {reason}") from None
    left, right = getattr(formula, "lhs", None), getattr(formula, "rhs", None)
    if left is None or right is None or not _is_terms(left) or not _is_terms(right):
        raise GentleError(f"'{text}' must have the form 'target ~ a + b', with one '~' and no '|'")
    if not list(left):
        raise GentleError(f"'{text}' must have a target to the left of '~'")
    target_columns, target_functions, _ = _names_used(left, schema, text)
    feature_columns, functions, coded = _names_used(right, schema, text)
    learns = bool((functions | target_functions) & set(LEARNED))
    return Parsed(text, formula, target_columns, feature_columns, learns, frozenset(coded))


def restrictions(text: str, names: Sequence[str]) -> tuple[Floats, Floats, tuple[str, ...]]:
    """(R, r, labels) of linear restrictions R b = r on coefficients: (m, q), (m,) and their texts.

    They are written as 'a = b, 2*c + d = 3' over `names` (q,), in the order of b; 'a' alone is 'a = 0'.
    A name such as C(cut)[T.Good] or arr delay stands as it is, the longest that fits, or in backticks:
    those that are numbers, or begin like arithmetic, need them.

    Raises GentleError for a name that does not exist, and for what is not linear.
    """
    if len(text) > LONGEST_FORMULA:
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


def learn(parsed: Parsed, frame: pl.DataFrame) -> Wilkinson:
    """The formula with the state that complete rows teach it.

    The frame holds all rows where the formula has functions that learn, else any few of them.
    """
    try:
        with np.errstate(all="ignore"):
            matrices = parsed.formula.get_model_matrix(
                _pandas(frame, parsed.coded),
                context=ELEMENTWISE | {"np": _Numpy},
                na_action="ignore",
            )
        for side in (matrices.lhs, matrices.rhs):
            np.asarray(side, dtype=np.float64)
    except (FormulaicError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GentleError(f"'{parsed.text}' cannot be evaluated on these data: {reason}") from None
    spec = matrices.model_spec
    columns = tuple(str(name) for name in spec.rhs.column_names)
    targets = tuple(str(name) for name in spec.lhs.column_names)
    if len(targets) != len(list(parsed.formula.lhs)):
        raise GentleError(f"a target of '{parsed.text}' must be one column of numbers")
    intercept = columns[:1] == (INTERCEPT,)
    names = columns[int(intercept) :]
    powers = _powers(spec.rhs, frame.schema, first=int(intercept))
    return Wilkinson(parsed.text, targets, names, intercept, spec, parsed.coded, powers)


def _powers(spec: ModelSpec, schema: Schema, *, first: int) -> tuple[Power, ...]:
    """The columns that are I(x**k), or of poly(x, k, raw=True), with x a column of numbers."""
    powers: list[Power] = []
    for term, places in spec.term_indices.items():
        factors = list(term.factors)
        if len(factors) != 1 or factors[0].eval_method.value != "python":
            continue
        column, exponents = _power_of(factors[0].expr)
        if column in schema and schema[column].is_numeric() and len(exponents) == len(places):
            powers += [
                Power(place - first, column, exponent)
                for place, exponent in zip(places, exponents, strict=True)
                if exponent > 1
            ]
    return tuple(powers)


def _power_of(expression: str) -> tuple[str, tuple[int, ...]]:
    """(column, exponents) of the columns that an expression makes, where they are powers of one."""
    plain, quoted = _unquoted(expression)
    node: ast.expr = ast.parse(plain.strip(), mode="eval").body
    exponents: tuple[int, ...] = ()
    options = [] if not isinstance(node, ast.Call) else [ast.unparse(it) for it in node.keywords]
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "I":
        node = node.args[0]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        exponents = _whole(node.right)
        node = node.left
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        if ast.unparse(node.left) == ast.unparse(node.right):
            node, exponents = node.left, (2,)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "poly" and len(node.args) == 2:
        degree = _whole(node.args[1]) if options in (["raw=True"], ["raw=1"]) else ()
        node, exponents = node.args[0], tuple(range(1, degree[0] + 1)) if degree else ()
    if not isinstance(node, ast.Name) or not exponents:
        return "", ()
    return quoted.get(node.id, node.id), exponents


def _whole(node: ast.expr) -> tuple[int, ...]:
    """A whole number of 1 or more as a tuple of itself; else nothing."""
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, int | float) and value >= 1 and value == int(value):
        return (int(value),)
    return ()


def _unquoted(expression: str) -> tuple[str, dict[str, str]]:
    """An expression with plain names for those in backticks, and which name stands for which."""
    quoted = _QUOTED.findall(expression)
    plain = expression
    for at in range(len(quoted)):
        plain = _QUOTED.sub(f"_quoted_{at}_", plain, count=1)
    return plain, {f"_quoted_{at}_": name for at, name in enumerate(quoted)}


class _Numpy:
    """What `np.` may reach inside a formula."""


for _name, _function in ELEMENTWISE.items():
    setattr(_Numpy, _name, staticmethod(_function))


def _is_terms(side: Any) -> bool:
    return all(isinstance(term, Term) for term in side)


def _check_tokens(text: str) -> None:
    """Raises GentleError for foreign words, and for products that take for ever to write out."""
    products = 0
    tokens = list(tokenize(text))
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.kind is Token.Kind.PYTHON:
            _Reading(token.token, text)  # also where a minus takes its term away again
        if token.kind is not Token.Kind.OPERATOR:
            continue
        products += token.token in ("*", "/", "%in%")
        if token.token in ("**", "^"):
            power = after.token if after is not None else ""
            if not power.isdigit() or int(power) > LARGEST_INTERACTION:
                raise GentleError(
                    f"'{text}' raises a sum to the power '{power}': interactions of at most "
                    f"{LARGEST_INTERACTION} columns can be written so"
                )
    if products > MOST_PRODUCTS:
        raise GentleError(f"'{text}' has {products} products: at most {MOST_PRODUCTS} are allowed")


def _pandas(frame: pl.DataFrame, coded: frozenset[str]) -> pd.DataFrame:
    """The frame for formulaic: numbers as float64, text as categories with all its levels."""
    return pd.DataFrame({column.name: _pandas_column(column, coded) for column in frame})


def _pandas_column(column: pl.Series, coded: frozenset[str]) -> Any:
    if isinstance(column.dtype, pl.Enum):
        codes = column.to_physical().to_numpy().astype(np.int64)
        return pd.Categorical.from_codes(codes, pd.Index(column.dtype.categories.to_list()))
    if column.name in coded and (column.dtype.is_integer() or column.dtype == pl.Boolean):
        return column.to_numpy()
    return column.cast(pl.Float64).to_numpy()  # small integers would wrap around in arithmetic


def _names_used(
    terms: Iterable[Term], schema: Schema, text: str
) -> tuple[tuple[str, ...], set[str], set[str]]:
    """(columns, functions, coded) that the terms of a formula name; anything else is refused."""
    columns: set[str] = set()
    functions: set[str] = set()
    coded: set[str] = set()
    factors: list[Factor] = [factor for term in terms for factor in term.factors]
    for factor in factors:
        method = factor.eval_method.value
        if method == "lookup":
            columns.add(factor.expr)
        elif method == "python":
            found = _Reading(factor.expr, text)
            columns |= found.columns
            functions |= found.functions
            coded |= found.coded
    if INTERCEPT in columns:
        raise GentleError(
            f"'{text}' names a column '{INTERCEPT}', which is what formulas call the constant: rename it"
        )
    for name in sorted(columns - set(schema)):
        raise GentleError(
            f"'{text}' names a column '{name}' that is not there: {near(name, schema)}"
        )
    return tuple(name for name in schema if name in columns), functions, coded


class _Reading(ast.NodeVisitor):
    """One Python expression of a formula, walked over and refused at the first foreign word."""

    def __init__(self, expression: str, text: str) -> None:
        self.columns: set[str] = set()
        self.functions: set[str] = set()
        self.coded: set[str] = set()
        self._text = text
        self._expression = expression
        plain, self._quoted = _unquoted(expression)
        try:
            tree = ast.parse(plain, mode="eval")
        except (SyntaxError, RecursionError, ValueError, MemoryError):
            raise self._refusal("it cannot be read as an expression") from None
        self.visit(tree)

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, _NODES):
            raise self._refusal(f"{type(node).__name__} has no place in a formula")
        super().visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.columns.add(self._quoted.get(node.id, node.id))

    def visit_Call(self, node: ast.Call) -> None:
        function = self._function(node.func)
        self.functions.add(function)
        if function not in LEARNED:  # numpy would write into a further argument
            arity = ELEMENTWISE[function].nin if function in ELEMENTWISE else 1
            if node.keywords or len(node.args) != arity:
                raise self._refusal(f"{function} takes {arity} argument{'s' * (arity > 1)}")
        if any(keyword.arg is None for keyword in node.keywords):
            raise self._refusal("** has no place in a call")
        if function == "C":
            self._levels_of(node)
        for name, argument in _arguments(node):
            if function in LEARNED:
                self._option(name, argument)
            else:
                self.visit(argument)

    def _levels_of(self, node: ast.Call) -> None:
        if any(keyword.arg == "levels" for keyword in node.keywords) or len(node.args) > 2:
            raise self._refusal("levels are those of the data: C takes a column and a contrast")
        if isinstance(node.args[0], ast.Name):
            self.coded.add(self._quoted.get(node.args[0].id, node.args[0].id))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        raise self._refusal(f"'.{node.attr}' reaches into an object")

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, int | float):
            raise self._refusal(f"{node.value!r} is not a number")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.LShift | ast.RShift | ast.MatMult):
            raise self._refusal("of the operators only + - * / // % ** & | ^ are known")
        if isinstance(node.op, ast.Pow):
            if not _small_number(node.right, LARGEST_POWER):
                raise self._refusal(f"a power must be a number of at most {LARGEST_POWER}")
            if not any(isinstance(part, ast.Name) for part in ast.walk(node.left)):
                raise self._refusal("a power must be one of a column")
        self.visit(node.left)
        self.visit(node.right)

    def _option(self, name: str | None, node: ast.expr) -> None:
        """An argument of a function that learns may also be a text, a truth or a list of numbers."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bool | None):
            return
        counts = isinstance(node, ast.Constant) and name in (None, "df", "degree")
        if counts and not _small_number(node, LARGEST_BASIS):
            raise self._refusal(f"at most {LARGEST_BASIS} columns can come of one")
        if isinstance(node, ast.List | ast.Tuple):
            for item in node.elts:
                self._option("", item)
        elif not self._is_contrast(node):
            self.visit(node)

    def _is_contrast(self, node: ast.expr) -> bool:
        """contr.treatment or contr.treatment('base')"""
        if isinstance(node, ast.Call) and self._is_contrast(node.func):
            for name, argument in _arguments(node):
                self._option(name, argument)
            return True
        return (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "contr"
            and node.attr in CONTRASTS
        )

    def _function(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name) and node.id in FUNCTIONS:
            return node.id
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "np"
            and node.attr in ELEMENTWISE
        ):
            return node.attr
        raise self._refusal(f"'{ast.unparse(node)}' is not one of the functions it may call")

    def _refusal(self, reason: str) -> GentleError:
        where = "" if self._text == self._expression else f" of '{self._text}'"
        return GentleError(
            f"'{self._expression}'{where} is refused: {reason}. A formula may name columns, "
            f"operators and these functions: {', '.join(FUNCTIONS)}"
        )


def _arguments(node: ast.Call) -> list[tuple[str | None, ast.expr]]:
    """The arguments of a call, each with its keyword where it has one."""
    return [(None, argument) for argument in node.args] + [
        (keyword.arg, keyword.value) for keyword in node.keywords
    ]


def _small_number(node: ast.expr, most: int) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        node = node.operand
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and abs(node.value) <= most
    )


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
        elif found := _QUOTED.match(text, at) or _UNKNOWN.match(text, at):
            name = found[1] if found.re is _QUOTED else found[0]
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


__all__ = ["FUNCTIONS", "Parsed", "Wilkinson", "learn", "parse", "restrictions"]
