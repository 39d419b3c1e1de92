"""Evaluation: what the nodes of a formula are in each row, by walking their tree over arrays.

Integers stay integers, and exact, until an operation has no exact result among them: int64 where that holds
the result, else integers of any length. Booleans are 0 and 1 in arithmetic. A value that is missing stays
missing through comparisons and conditions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import pi
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from formulaic.transforms import TRANSFORMS as FORMULAIC

from gentle.batch import Floats
from gentle.calls import (
    DATES,
    ELEMENTWISE,
    SHIFTS,
    TRANSFORMS,
    basis_fields,
    bind,
    canonical,
    shift_of,
    shifted_name,
)
from gentle.errors import GentleWarning, warn_of_rounding
from gentle.expressions import Binary, Call, Comparison, Constant, Name, Node, Number, String, Unary

Array = npt.NDArray[Any]
State = dict[str, Any]

MAX_EXACT = 2**53  # the last integer up to which float64 has them all
_INT64 = (-(2**63), 2**63 - 1)
_ARITHMETIC: Mapping[str, np.ufunc] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.true_divide, "//": np.floor_divide,
    "%": np.remainder,
}  # fmt: skip
_COMPARISONS: Mapping[str, np.ufunc] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater,
    ">=": np.greater_equal,
}  # fmt: skip
MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Basis:
    """Several columns that a function makes of one."""

    fields: tuple[Any, ...]  # what each is called
    values: Floats  # (n, k)


Value = Array | Basis | pl.Series  # numbers and booleans (n,); a basis; texts and dates


def stateful(node: Node) -> bool:
    """Whether a node is a function that learns from the rows, other than C()."""
    if not isinstance(node, Call) or node.function not in TRANSFORMS:
        return False
    return node.function != "poly" or not bind(node)["raw"]


class Evaluator:
    """The nodes of a formula over the rows of one frame, each evaluated once."""

    def __init__(self, frame: pl.DataFrame, states: Mapping[str, State], back: int = 0) -> None:
        self._frame = frame
        self._states = states
        self._back = back  # how many rows before the values are
        self._values: dict[Node, Value] = {}

    def numbers(self, node: Node) -> Floats:
        """A node of one column as float64 (n,); integers that this rounds are warned of."""
        values = self._array(node)
        found = as_float(values)
        if values.dtype.kind in "iuO" and _largest(values) > MAX_EXACT:
            warn_of_rounding(str(node) if not isinstance(node, Name) else node.name)
        return np.broadcast_to(found, self._frame.height)

    def labels(self, node: Node) -> Value:
        """A node as values of a category: integers and decimals as they are, texts and dates as strings."""
        if isinstance(node, Name) and self._frame[node.name].dtype.is_decimal():
            values = self._frame[node.name].to_list()
            return np.array([int(v) if v == int(v) else v for v in values], dtype=object)
        value = self.value(node)
        if isinstance(value, pl.Series) and value.dtype.is_temporal():
            return value.dt.to_string("iso").str.replace(r"[ T]00:00:00(\.0+)?$", "")
        if isinstance(value, np.ndarray):
            return np.broadcast_to(value, self._frame.height)
        return value

    def basis(self, node: Node) -> Basis:
        """A node of several columns."""
        value = self.value(node)
        assert isinstance(value, Basis)
        return value

    def value(self, node: Node) -> Value:
        """A node in each row."""
        found = self._values.get(node)
        if found is None:
            with np.errstate(all="ignore"):
                found = self._values[node] = self._evaluate(node)
        return found

    def _array(self, node: Node) -> Array:
        value = self.value(node)
        assert isinstance(value, np.ndarray)
        return value

    def _evaluate(self, node: Node) -> Value:
        match node:
            case Name(name):
                return _column(self._frame[shifted_name(name, self._back)])
            case Number():
                return _shortest(
                    np.array(node.value, dtype=object if node.text.isdigit() else None)
                )
            case Constant(name):
                return np.array(pi if name == "pi" else name == "True")
            case Unary("~", operand):
                return _with_missing(np.logical_not, self._condition(operand))
            case Unary("-", operand):
                return arithmetic("-", np.array(0), self._array(operand))
            case Unary(_, operand):
                return arithmetic("+", self._array(operand), np.array(0))
            case Binary("&" | "|" as operator, left, right):
                logic = np.logical_and if operator == "&" else np.logical_or
                return _with_missing(logic, self._condition(left), self._condition(right))
            case Binary("**", base, exponent):
                return power(self._array(base), _exponent(exponent))
            case Binary(operator, left, right):
                return arithmetic(operator, self._array(left), self._array(right))
            case Comparison(operators, operands):
                return self._comparison(operators, operands)
            case Call(function, arguments):
                return self._call(node, canonical(function), arguments)
        raise AssertionError(node)

    def _condition(self, node: Node) -> Array:
        """True, False, or where it is missing NaN, (n,)."""
        values = self._array(node)
        if values.dtype.kind == "b":
            return values
        return _with_missing(lambda x: x != 0, values)

    def _comparison(self, operators: Sequence[str], operands: Sequence[Node]) -> Array:
        values = [it if isinstance(it, String) else self.value(it) for it in operands]
        parts = [
            _compared(operator, left, right)
            for operator, left, right in zip(operators, values, values[1:], strict=False)
        ]
        result = parts[0]
        for part in parts[1:]:
            result = _with_missing(np.logical_and, result, part)
        return result

    def _call(self, node: Call, function: str, arguments: Sequence[Node]) -> Value:
        if function == "I":
            return self.value(arguments[0])
        if function in DATES:
            dates = self.value(arguments[0])
            assert isinstance(dates, pl.Series)
            return _part_of_date(function, dates)
        if function in TRANSFORMS:
            return self._transform(node)
        if function in SHIFTS:
            return self._shifted(node)
        if function == "round":
            return _rounded(self._array(arguments[0]), int(bind(node)["digits"]))
        if function == "where":
            return _where(self._condition(arguments[0]), *map(self._array, arguments[1:]))
        values = [self._array(argument) for argument in arguments]
        if function == "clip":
            x, low, high = values
            return _exact(np.minimum, _exact(np.maximum, x, low), high)
        if function == "square":
            return arithmetic("*", values[0], values[0])
        if function in ("maximum", "minimum", "abs", "absolute", "sign", "floor", "ceil"):
            return _exact(ELEMENTWISE[function], *values)
        return np.asarray(ELEMENTWISE[function](*map(as_float, values)))

    def _shifted(self, node: Call) -> Array:
        """A value some rows before, or the difference from it."""
        earlier = Evaluator(self._frame, self._states, self._back + shift_of(node))
        before = earlier._array(node.arguments[0])
        if node.function == "lag":
            return before
        return arithmetic("-", self._array(node.arguments[0]), before)

    def _transform(self, node: Call) -> Value:
        """A function of formulaic's by the state that it learned."""
        function, options = node.function, bind(node)
        argument = self.value(node.arguments[0])
        inner = argument.fields if isinstance(argument, Basis) else None
        data = argument.values if isinstance(argument, Basis) else as_float(_as_array(argument))
        data = np.broadcast_to(data, (self._frame.height, *data.shape[1:]))
        if function == "poly" and options["raw"]:
            array = _as_array(argument)
            values = np.stack(
                [as_float(power(array, k)) for k in range(1, int(options["degree"]) + 1)], axis=1
            )
        else:
            state = dict(self._states[str(node)])
            if options.get("extrapolation") == "extend":
                _warn_beyond(node, data, state["lower_bound"], state["upper_bound"])
            values = apply_transform(function, data, _state=state, **options)
        fields = basis_fields(function, options, inner)
        return Basis(fields, values) if fields else values


def _warn_beyond(node: Node, values: Floats, low: float, high: float) -> None:
    """Warn of values beyond the boundary knots of a spline, which is continued there."""
    if ((values < low) | (values > high)).any():
        warnings.warn(
            f"some values are beyond the boundary knots of {node}, {low:g} and {high:g}: its outermost "
            "polynomials are continued there; extrapolation='clip', 'na' or 'raise' does otherwise",
            GentleWarning,
            stacklevel=2,
        )


def apply_transform(function: str, data: Floats, *, _state: State, **options: Any) -> Floats:
    """The columns (n, k) or (n,) that a function of formulaic's makes of numbers by its state."""
    found = FORMULAIC[function](data, **options, _state=_state)
    found = getattr(found, "__wrapped__", found)
    if isinstance(found, dict):
        columns = [np.asarray(column) for column in found.values()]
        return np.stack(columns).T if columns else np.empty((len(data), 0))
    return np.asarray(found)


def as_float(values: Array) -> Floats:
    """Numbers as float64, the nearest ones; an integer beyond all of them is infinite."""
    try:
        return values.astype(np.float64, copy=False)
    except OverflowError:
        sign = np.where(values > 0, np.inf, -np.inf)
        return np.where(abs(values) < 2**1023, values, sign).astype(np.float64)


def arithmetic(operator: str, left: Array, right: Array) -> Array:
    """An operation, exact among integers where its result is one: + - * // %."""
    function = _ARITHMETIC[operator]
    if "f" in (left.dtype.kind, right.dtype.kind):
        return np.asarray(function(as_float(left), as_float(right)))
    (a, b), (c, d) = _bounds(left), _bounds(right)
    if operator == "/":
        if max(-a, b, -c, d) <= MAX_EXACT or (c <= 0 <= d):
            return np.asarray(function(as_float(left), as_float(right)))
        return np.asarray(function(_long(left), _long(right))).astype(np.float64)
    if operator in ("//", "%"):
        if c <= 0 <= d and (np.asarray(right) == 0).any():
            return np.asarray(function(as_float(left), as_float(right)))
        corners = [a, b, -a, -b, c, d]  # of a quotient and of a remainder
    elif operator == "*":
        corners = [a * c, a * d, b * c, b * d]
    else:
        corners = [a + c, b + d] if operator == "+" else [a - d, b - c]
    return _integral(function, (left, right), min(corners), max(corners))


def power(base: Array, exponent: float) -> Array:
    """A power, exact among integers where the exponent is a natural number."""
    whole = isinstance(exponent, int) and exponent >= 0
    if base.dtype.kind == "f" or not whole:
        return np.asarray(as_float(base) ** exponent)
    largest = max(map(abs, _bounds(base))) ** int(exponent)
    return _integral(lambda x: x ** int(exponent), (base,), -largest, largest)


def _integral(function: Callable[..., Any], values: Sequence[Array], low: int, high: int) -> Array:
    """A function of integers whose result lies within bounds, in the shortest type that holds it."""
    if _INT64[0] <= low and high <= _INT64[1] and all(it.dtype.kind != "O" for it in values):
        return np.asarray(function(*(it.astype(np.int64, copy=False) for it in values)))
    return _shortest(np.asarray(function(*map(_long, values)), dtype=object))


def _exact(function: Callable[..., Any], *values: Array) -> Array:
    """A function that makes integers of integers, by float64 where one of its arguments is that."""
    if any(it.dtype.kind == "f" for it in values):
        return np.asarray(function(*map(as_float, values)))
    if function in (np.floor, np.ceil):
        return values[0]
    largest = max(map(_largest, values))
    return _integral(function, values, -largest, largest)


def _long(values: Array) -> Array:
    """Integers of any length."""
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    return values.astype(object)


def _shortest(values: Array) -> Array:
    """Integers as int64 where all of them fit."""
    low, high = _bounds(values)
    fits = values.dtype.kind == "O" and _INT64[0] <= low and high <= _INT64[1]
    return values.astype(np.int64) if fits else values


def _bounds(values: Array) -> tuple[int, int]:
    """(least, largest) of integers; zeros of none."""
    if not values.size:
        return 0, 0
    return int(values.min()), int(values.max())


def _largest(values: Array) -> int:
    return max(map(abs, _bounds(values)))


def _with_missing(function: Callable[..., Any], *values: Array) -> Array:
    """Booleans of a function, with NaN where an argument is NaN."""
    gone = [np.isnan(it) for it in values if it.dtype.kind == "f"]
    found = np.asarray(function(*values))
    if not any(it.any() for it in gone):
        return found
    return np.where(np.logical_or.reduce(np.broadcast_arrays(*gone)), np.nan, found)


def _where(condition: Array, yes: Array, no: Array) -> Array:
    if "f" in (condition.dtype.kind, yes.dtype.kind, no.dtype.kind):
        found = np.where(condition != 0, as_float(yes), as_float(no))
        return np.where(np.isnan(as_float(condition)), np.nan, found)
    return np.where(condition, yes, no)


def _rounded(values: Array, digits: int) -> Array:
    """Numbers to decimal places, halves to the even neighbour."""
    if values.dtype.kind == "f":
        return np.asarray(np.round(values, digits))
    if digits >= 0:
        return values
    return _integral(
        lambda x: np.vectorize(lambda one: round(one, digits), otypes=[object])(_long(x)),
        (values,),
        _INT64[0] - 1,
        0,
    )


def _compared(operator: str, left: Any, right: Any) -> Array:
    """A comparison of two columns, or of one with a string."""
    if isinstance(left, String):
        swapped = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
        return _compared(swapped.get(operator, operator), right, left)
    compare = _COMPARISONS[operator]
    if isinstance(left, pl.Series) and left.dtype.is_temporal():
        other = _instant(right.value) if isinstance(right, String) else _microseconds(right)
        return _with_missing(compare, _microseconds(left), np.asarray(other))
    if isinstance(left, pl.Series):
        texts = left.cast(pl.String)
        same = texts.eq_missing(
            right.value if isinstance(right, String) else right.cast(pl.String)
        ).to_numpy()
        return same if operator == "==" else ~same
    return _with_missing(compare, left, right)


def _instant(text: str) -> int:
    """Microseconds since 1970 of a date as ISO 8601 writes it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'{text}' is no date such as '2024-12-31'") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)


def _microseconds(dates: pl.Series) -> Array:
    """Dates or durations as microseconds (n,), NaN where one is missing."""
    kind = pl.Duration("us") if dates.dtype == pl.Duration else pl.Datetime("us")
    whole = dates.dt.replace_time_zone(None) if _has_zone(dates) else dates
    return _as_array(_column(whole.cast(kind).cast(pl.Int64)))


def _has_zone(dates: pl.Series) -> bool:
    return isinstance(dates.dtype, pl.Datetime) and dates.dtype.time_zone is not None


def _part_of_date(function: str, dates: pl.Series) -> Array:
    """A part of dates as a number: Monday is the weekday 1; days count from 1970, with fractions."""
    if function == "days":
        elapsed = _microseconds(dates)
        whole = dates.dtype == pl.Date and elapsed.dtype.kind == "i"
        return elapsed // MICROSECONDS_PER_DAY if whole else elapsed / MICROSECONDS_PER_DAY
    if function == "hour" and dates.dtype == pl.Date:
        raise ValueError("hour() takes dates with times")
    return _as_array(_column(getattr(dates.dt, function)()))


def _column(column: pl.Series) -> Value:
    """A column of a frame: numbers and booleans as arrays, NaN where one is missing; the rest as it is."""
    dtype = column.dtype
    if dtype == pl.Boolean or dtype.is_integer():
        if column.null_count():
            return column.cast(pl.Float64).to_numpy()
        if dtype == pl.Boolean:
            return column.to_numpy()
        if dtype in (pl.UInt64, pl.Int128) and not _fits(column):
            return np.array(column.to_list(), dtype=object)
        return column.cast(pl.Int64).to_numpy()
    if dtype.is_numeric() or dtype == pl.Null:
        return column.cast(pl.Float64).to_numpy()
    return column


def _fits(column: pl.Series) -> bool:
    """Whether integers are among those of int64."""
    low, high = column.min(), column.max()
    ends = [end for end in (low, high) if isinstance(end, int)]
    return all(_INT64[0] <= end <= _INT64[1] for end in ends)


def _as_array(value: Value) -> Array:
    assert isinstance(value, np.ndarray)
    return value


def _exponent(node: Node) -> int | float:
    """The number that a power is raised to."""
    if isinstance(node, Unary):
        return -_exponent(node.operand) if node.operator == "-" else _exponent(node.operand)
    assert isinstance(node, Number)
    value = node.value
    return int(value) if value == int(value) else value
