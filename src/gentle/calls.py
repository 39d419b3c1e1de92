"""Calls: the functions that a formula may call, and what each of them takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gentle.errors import GentleError, listed
from gentle.expressions import (
    Binary,
    Call,
    Comparison,
    Constant,
    Items,
    Name,
    Node,
    Number,
    String,
    Unary,
    quote_name,
)

# one array in, or two, each function also as np.name
ELEMENTWISE: Mapping[str, np.ufunc] = {
    function.__name__: function
    for function in (
        *(np.arccos, np.arcsin, np.arctan, np.cbrt, np.ceil, np.cos, np.cosh, np.exp, np.exp2),
        *(np.expm1, np.floor, np.log, np.log10, np.log1p, np.log2, np.maximum, np.minimum, np.sign),
        *(np.sin, np.sinh, np.sqrt, np.square, np.tan, np.tanh),
    )
} | {"abs": np.absolute, "absolute": np.absolute}
ARITY = {name: function.nin for name, function in ELEMENTWISE.items()}
ARITY |= {"I": 1, "clip": 3, "where": 3}
SHIFTS = ("lag", "diff")
DATES = ("year", "month", "day", "weekday", "hour", "days")
SPLINES = ("bs", "cc", "cr", "cs")
SCALES = ("center", "scale", "standardize")
TRANSFORMS = (*SPLINES, "poly", *SCALES)
CONTRASTS = ("SAS", "diff", "helmert", "poly", "sum", "treatment")  # as contr.sum, inside C()
_CONTRASTS = tuple(f"contr.{name}" for name in CONTRASTS)
FUNCTIONS = ("I", "C", *sorted(TRANSFORMS), "where", "clip", "round", *ELEMENTWISE, *DATES, *SHIFTS)
MAX_SHIFT = 10_000  # rows that a lag goes back
MAX_BASIS = 100  # columns of one spline or polynomial

_CUBIC: Mapping[str, Any] = {
    "df": None, "knots": None, "lower_bound": None, "upper_bound": None,
    "constraints": None, "extrapolation": "extend",
}  # fmt: skip
# function -> option -> its default, in the order in which they may be given by position
SIGNATURES: Mapping[str, Mapping[str, Any]] = {
    "bs": {
        "df": None, "knots": None, "degree": 3, "include_intercept": False,
        "lower_bound": None, "upper_bound": None, "extrapolation": "extend",
    },
    **dict.fromkeys(("cc", "cr", "cs"), _CUBIC),
    "poly": {"degree": 1, "raw": False},
    "center": {},
    "scale": {"center": True, "scale": True, "ddof": 1},
    "standardize": {"center": True, "rescale": True, "ddof": 0},
    "C": {"contrasts": None, "levels": None, "spans_intercept": True},
    "round": {"digits": 0},
    "lag": {"k": 1},
    "diff": {"k": 1},
    "contr.SAS": {"base": None},
    "contr.diff": {"backward": True},
    "contr.helmert": {"reverse": True, "scale": False},
    "contr.poly": {"scores": None},
    "contr.sum": {},
    "contr.treatment": {"base": None},
}  # fmt: skip


def children(node: Node) -> tuple[Node, ...]:
    """The nodes below a node that have a value in each row; options have none."""
    match node:
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Comparison(_, operands):
            return operands
        case Call(function, arguments):
            return arguments[:1] if function in SIGNATURES else arguments
    return ()


def walk(node: Node) -> Iterator[Node]:
    """The nodes of a tree, those below before those above."""
    for child in children(node):
        yield from walk(child)
    yield node


def columns_of(node: Node) -> Iterator[str]:
    """The columns that a tree needs, those of rows before by the name of the shifted column."""
    return (shifted_name(name, back) for name, back in reads_of(node))


def reads_of(node: Node, back: int = 0) -> Iterator[tuple[str, int]]:
    """(column, how many rows before) of each value that a tree needs in a row."""
    if isinstance(node, Name):
        yield node.name, back
        return
    steps: tuple[int, ...] = (back,)
    if isinstance(node, Call) and node.function in SHIFTS:
        further = back + shift_of(node)
        steps = (further,) if node.function == "lag" else (back, further)
    for child in children(node):
        for step in steps:
            yield from reads_of(child, step)


def shift_of(node: Call) -> int:
    """How many rows lag() and diff() go back."""
    return int(bind(node)["k"])


def shifted_name(column: str, back: int) -> str:
    """What a column of the rows before is called."""
    return f"lag({quote_name(column)}, {back})" if back else column


def canonical(function: str) -> str:
    """The name of a function without np., where numpy has it too."""
    short = function.removeprefix("np.")
    return short if short in ELEMENTWISE else function


def bind(call: Call) -> dict[str, Any]:
    """The options of a call as plain data, defaults for those not given; the first argument is the column.

    Raises GentleError for an option that does not exist, and for a value that it cannot have.
    """
    name = call.function
    defaults = SIGNATURES[name]
    first = not name.startswith("contr.")
    given = call.arguments[1:] if first else call.arguments
    if (first and not call.arguments) or len(given) > len(defaults):
        raise GentleError(f"{name} takes {_takes(name, first)}")
    named = dict(zip(defaults, given, strict=False))
    for option, value in call.options:
        if option not in defaults:
            raise GentleError(f"{name} has no option '{option}': it takes {_takes(name, first)}")
        if option in named:
            raise GentleError(f"{name} is given '{option}' twice")
        named[option] = value
    return {
        option: _checked(option, named[option], name) if option in named else default
        for option, default in defaults.items()
    }


def _takes(name: str, first: bool) -> str:
    """What a function takes, in words."""
    options = listed(SIGNATURES[name])
    what = "a column" if first else "no column"
    return f"{what} and {options}" if options else what


def _checked(option: str, node: Node, function: str) -> Any:
    """The value of an option, of the type that it must have."""
    if option == "contrasts":
        return contrast(node)
    check, needed = CHECKS[option]
    value = plain(node)
    if not check(value):
        raise GentleError(f"{option}={node} in {function}() must be {needed}")
    return sorted(value) if option == "knots" and value else value


def plain(node: Node) -> Any:
    """The number, string, boolean, None or list that a node stands for; NotImplemented for another."""
    match node:
        case Number():
            return node.value
        case String(value):
            return value
        case Constant("True" | "False" | "None"):
            return {"True": True, "False": False, "None": None}[node.name]
        case Unary("+" | "-" as sign, Number() as number):
            return -number.value if sign == "-" else number.value
        case Items(items):
            values = [plain(item) for item in items]
            return NotImplemented if any(it is NotImplemented for it in values) else values
    return NotImplemented


def contrast(node: Node) -> tuple[str, Mapping[str, Any]] | list[list[float]] | None:
    """(name, options) of a contrast, or its matrix, a row for each level; None for the default."""
    match node:
        case Constant("None"):
            return None
        case Name(name) | Constant(name) if name in _CONTRASTS:
            return name, bind(Call(name, ()))
        case Call(name) if name in _CONTRASTS:
            return name, bind(node)
    matrix = plain(node)
    if not _is_matrix(matrix):
        raise GentleError(
            f"{node} is no contrast, which may be "
            f"{listed(_CONTRASTS, 'or')}, and with another reference "
            "contr.treatment('level')"
        )
    return [[float(value) for value in row] for row in matrix]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_count(value: Any, least: int = 0, most: int = MAX_BASIS) -> bool:
    return _is_number(value) and value == int(value) and least <= value <= most


def _are(value: Any, check: Callable[[Any], bool], most: int) -> bool:
    return isinstance(value, list) and 0 < len(value) <= most and all(map(check, value))


def _is_matrix(value: Any) -> bool:
    rows = _are(value, lambda row: _are(row, _is_number, MAX_BASIS), MAX_BASIS)
    return rows and len({len(row) for row in value}) == 1


def _is_level(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _among(choices: Iterable[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in choices


_EXTRAPOLATIONS = ("raise", "clip", "na", "zero", "extend")
_SCALING = (lambda value: _is_flag(value) or _is_number(value), "True, False or a number")
_FLAG = (_is_flag, "True or False")
_BOUND = (_or_none(_is_number), "a number")
_BASE = (_is_level, "one of the levels")
# option -> whether a value will do, and what is needed
CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "df": (_or_none(lambda value: _is_count(value, 1)), f"a whole number from 1 to {MAX_BASIS}"),
    "degree": (_is_count, f"a whole number up to {MAX_BASIS}"),
    "knots": (
        lambda value: value is None or value == [] or _are(value, _is_number, MAX_BASIS),
        f"a list of at most {MAX_BASIS} numbers",
    ),
    "include_intercept": _FLAG,
    "lower_bound": _BOUND,
    "upper_bound": _BOUND,
    "extrapolation": (_among(_EXTRAPOLATIONS), listed(_EXTRAPOLATIONS, "or")),
    "constraints": (
        lambda value: value in (None, "center") or _is_matrix(value),
        "'center', or a matrix as a list of lists of numbers",
    ),
    "raw": (lambda value: _is_flag(value) or value in (0, 1), "True or False"),
    "center": _SCALING,
    "scale": _SCALING,
    "rescale": _SCALING,
    "ddof": (_is_number, "a number"),
    "levels": (
        _or_none(lambda value: _are(value, _is_level, 1_000_000) and len(set(value)) == len(value)),
        "a list of levels, each once",
    ),
    "spans_intercept": _FLAG,
    "digits": (lambda value: _is_count(value, -15, 15), "a whole number from -15 to 15"),
    "k": (
        lambda value: _is_count(value, 1, MAX_SHIFT),
        f"a whole number of rows from 1 to {MAX_SHIFT:,}",
    ),
    "base": _BASE,
    "backward": _FLAG,
    "reverse": _FLAG,
    "scores": (_or_none(lambda value: _are(value, _is_number, 10_000)), "a list of numbers"),
}


def basis_fields(
    name: str, options: Mapping[str, Any], inner: Sequence[Any] | None
) -> tuple[Any, ...]:
    """What the columns of a function are called, one each; `inner` are those of its argument."""
    if name in SCALES:
        named = inner is None or not isinstance(next(iter(inner), None), str)
        return tuple(inner or ()) if named else tuple(range(len(inner or ())))
    if name == "poly":
        degree = int(options["degree"])
        return tuple(range(degree)) if options["raw"] else tuple(map(str, range(1, degree + 1)))
    count = _spline_columns(name, options)
    first = 1 if name != "bs" or not options["include_intercept"] else 0
    return tuple(range(first, first + count))


def _spline_columns(name: str, options: Mapping[str, Any]) -> int:
    """How many columns a spline has."""
    knots = options["knots"]
    if options["df"] is not None:
        return int(options["df"])
    if name == "bs":
        return len(knots or ()) + int(options["degree"]) + int(options["include_intercept"])
    given = options["constraints"]
    constraints = 1 if given == "center" else len(given or ())
    return max(0, len(set(knots or ())) + 2 - (name == "cc") - constraints)
