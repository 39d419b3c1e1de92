"""Wilkinson: a formula with what its functions learned, which turns frames into numbers."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
from formulaic import ModelSpec, SimpleFormula
from formulaic.errors import DataMismatchWarning, FormulaicError
from formulaic.parser.types import Factor
from formulaic.transforms import TRANSFORMS
from formulaic.transforms.contrasts import TreatmentContrasts
from formulaic.utils.layered_mapping import LayeredMapping
from formulaic.utils.stateful_transforms import stateful_eval
from scipy.sparse import csr_array

from gentle.batch import EXACT_COLUMNS, INTERCEPT, Floats
from gentle.doubled import power
from gentle.errors import GentleError, first_line
from gentle.formula import Parsed, parse, unquoted
from gentle.learning import State, Unlearned, functions, learn_states
from gentle.levels import Levels
from gentle.sieve import Mask, Sight
from gentle.sources import Schema
from gentle.sparse import gathered

KINDS = {"number": pl.Float64(), "truth": pl.Boolean(), "text": pl.String()}
FAILURES = (
    *(FormulaicError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError),
    *(ValueError, Unlearned),
)


class Power(NamedTuple):
    """A column of x that is a whole power of one column of the source, to be had exactly."""

    place: int  # in x
    column: str
    exponent: int


class Wide(NamedTuple):
    """A term of one category of many levels."""

    row: int  # among the terms
    factor: Factor
    first: int  # of its columns in x
    size: int  # how many they are
    levels: Sequence[Any]
    places: npt.NDArray[np.int64]  # in x, of each level; -1 for the one that has none


@dataclass(frozen=True)
class Wilkinson:
    """A formula with the state it learned, such as knots and means: frames to numbers."""

    parsed: Parsed
    kinds: Mapping[str, str]  # column that the formula names -> number, truth or text
    levels: Levels  # of the texts among them
    transforms: State  # expression -> what its function learned
    categories: State  # C() of numbers -> its levels
    spec: Any  # formulaic's ModelSpecs

    @property
    def columns(self) -> tuple[str, ...]:
        """The source's columns that x needs."""
        return self.parsed.feature_columns

    @property
    def target_columns(self) -> tuple[str, ...]:
        """Those that y needs."""
        return self.parsed.target_columns

    @property
    def text(self) -> str:
        return self.parsed.text

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Columns of y, (k,)."""
        return tuple(map(str, self.spec.lhs.column_names))

    @cached_property
    def intercept(self) -> bool:
        return tuple(self.spec.rhs.column_names[:1]) == (INTERCEPT,)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Columns of x, the constant not among them."""
        return tuple(map(str, self.spec.rhs.column_names))[int(self.intercept) :]

    @cached_property
    def powers(self) -> tuple[Power, ...]:
        """The columns of x that are whole powers of a column."""
        return _powers(self.spec.rhs, self.kinds, first=int(self.intercept))

    @property
    def offset(self) -> str:
        """The part of the target that the formula says is known, as it is written there."""
        return self.parsed.offset

    @property
    def sparse(self) -> bool:
        """Whether x is sparse: levels make many columns, of which few are not zero in a row."""
        return bool(self._wide)

    @cached_property
    def filled(self) -> int:
        """How many numbers of a row of x may be other than zero."""
        return len(self.names) - sum(wide.size - 1 for wide in self._wide)

    @cached_property
    def _wide(self) -> tuple[Wide, ...]:
        """The terms of one category, where there are too many columns for x to be dense."""
        if len(self.names) <= EXACT_COLUMNS:
            return ()
        first, found = -int(self.intercept), []
        for row, (term, _, columns) in enumerate(self.spec.rhs.structure):
            (factor, *more) = term.factors
            levels = () if more else self._levels(factor)
            places = _places(factor.expr, levels, columns, first)
            if places is not None:
                found.append(Wide(row, factor, first, len(columns), levels, places))
            first += len(columns)
        if len(self.names) - sum(wide.size for wide in found) > EXACT_COLUMNS:
            raise GentleError(
                f"'{self.text}' makes {len(self.names):,} columns: more than {EXACT_COLUMNS:,} can only be "
                "those of terms that are one category each, without products or other contrasts"
            )
        return tuple(found)

    @cached_property
    def _rest(self) -> tuple[ModelSpec, npt.NDArray[np.int64]]:
        """The other terms for formulaic, and the places (r,) of their columns in x."""
        wide = {wide.row for wide in self._wide}
        places: list[int] = []
        rows, first = [], -int(self.intercept)
        for at, row in enumerate(self.spec.rhs.structure):
            if at not in wide:
                rows.append(row)
                places += range(first, first + len(row.columns))
            first += len(row.columns)
        terms = SimpleFormula([row.term for row in rows], _ordering="none")
        return self.spec.rhs.update(formula=terms, structure=rows), np.array(places, dtype=np.int64)

    def _levels(self, factor: Factor) -> Sequence[Any]:
        """The levels that a factor has, where it is a category."""
        _, state = self.spec.rhs.encoder_state.get(factor.expr, (None, {}))
        return tuple(state.get("categories", ()))

    @cached_property
    def unreferenced(self) -> tuple[str, ...]:
        """Categories of which zeros are no level: each level has a column, or the contrasts are others."""
        factors = [
            scoped
            for row in self.spec.rhs.structure
            for term in row.scoped_terms
            for scoped in term.factors
        ]
        found: dict[str, None] = {}
        for scoped in factors:
            kind, state = self.spec.rhs.encoder_state.get(scoped.factor.expr, (None, {}))
            if kind is Factor.Kind.CATEGORICAL and not (
                scoped.reduced and isinstance(state["contrasts"].contrasts, TreatmentContrasts)
            ):
                found[scoped.factor.expr] = None
        return tuple(found)

    @property
    def computes(self) -> bool:
        """Whether columns are rounded powers, which stand for the exact ones."""
        return bool(self.powers)

    @cached_property
    def learned(self) -> str:
        """What its functions learned from the rows, such as means and knots."""
        return json.dumps(_written(self.transforms))

    def state(self) -> dict[str, Any]:
        """All that it takes to make the encoder again, as numbers, lists and texts for JSON.

        That is the formula, the columns that it names with their kinds and levels, and what its functions
        learned: for each expression that goes by a state, that state.
        """
        return {
            "kind": "formula",
            "formula": self.text,
            "columns": dict(self.kinds),
            "aside": list(self.parsed.aside),
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "transforms": _written(self.transforms),
            "categories": _written(self.categories),
            "names": list(self.names),
        }

    def foreign(self, frame: pl.DataFrame) -> Iterator[tuple[str, Any, Mask, Any]]:
        """(expression, values, which are no level, levels) of each C() of numbers."""
        if not self.categories:
            return
        table = _pandas(frame.select(self.columns), self.parsed.coded)
        right = {factor.expr for term in self.parsed.formula.rhs for factor in term.factors}
        for factor in self.parsed.factors:
            if factor.expr in self.categories.keys() & right:
                levels = self.categories[factor.expr]["categories"]
                values = pd.Series(np.asarray(self._values(factor, table)))
                yield (
                    factor.expr,
                    values,
                    (~values.isin(levels) & values.notna()).to_numpy(),
                    levels,
                )

    def encode_x(self, frame: pl.DataFrame) -> Sight:
        """x of complete rows (n, p), sparse where levels make it wide; a text that is null has zeros."""
        if self.sparse:
            return self._gathered(frame)
        x = self._side(self.spec.rhs, frame)
        return x[:, 1:] if self.intercept else x

    def _gathered(self, frame: pl.DataFrame) -> csr_array:
        """x with an entry for each wide term and for each column of the others."""
        spec, at = self._rest
        numbers = self._side(spec, frame)[:, at >= 0]
        at = at[at >= 0]
        table = _pandas(frame, self.parsed.coded)
        parts = [
            (int(place), numbers[:, k], np.full(len(table), place)) for k, place in enumerate(at)
        ]
        for wide in self._wide:
            codes = _codes(self._values(wide.factor, table), wide.levels)
            parts.append((wide.first, np.ones(len(table)), np.append(wide.places, -1)[codes]))
        _, values, places = zip(*sorted(parts, key=itemgetter(0)), strict=True)
        there = np.stack(places, axis=1)
        return gathered(np.stack(values, axis=1), there, there >= 0, len(self.names))

    def _values(self, factor: Factor, table: pd.DataFrame) -> Any:
        """What a factor is in each row, before it is coded."""
        if factor.eval_method.value == "lookup":
            return table[factor.expr]
        layers = LayeredMapping(table, functions(), TRANSFORMS)
        states = self.spec.rhs.transform_state
        with np.errstate(all="ignore"):
            return stateful_eval(factor.expr, layers, None, states, None).__wrapped__

    def encode_y(self, frame: pl.DataFrame) -> Floats:
        """y of complete rows, (n, k)."""
        return self._side(self.spec.lhs, frame)

    def encode_offset(self, frame: pl.DataFrame) -> Floats | None:
        """The part of the target that the formula says is known, (n,); None without one."""
        return self._side(self.spec.offset, frame).sum(axis=1) if self.offset else None

    def encode_low(self, frame: pl.DataFrame, x: Sight) -> Floats | None:
        """What the powers among the columns of x lack of the exact ones, (n, p); None without powers."""
        if not self.powers or not isinstance(x, np.ndarray):
            return None
        low = np.zeros_like(x)
        with np.errstate(all="ignore"):
            for of in self.powers:
                base = frame[of.column].cast(pl.Float64).to_numpy()
                exact = power(base, of.exponent)
                low[:, of.place] = (exact.high - x[:, of.place]) + exact.low
        return np.nan_to_num(low, copy=False, nan=0.0, posinf=0.0, neginf=0.0)

    def _side(self, spec: ModelSpec, frame: pl.DataFrame) -> Floats:
        table = _pandas(frame, self.parsed.coded)
        try:
            matrix = _evaluated(spec, table)
        except FAILURES as error:
            raise _refusal(self.text, error) from None
        # A formula of the constant alone has no column that would tell formulaic the height.
        numbers = np.asarray(matrix, dtype=np.float64)
        return numbers if len(numbers) == len(table) else np.ones((len(table), 1))


def learn(
    parsed: Parsed,
    schema: Schema,
    levels: Levels,
    frames: Callable[[Sequence[str]], Iterable[pl.DataFrame]],
) -> Wilkinson:
    """The formula with the state that complete rows teach it.

    Args:
        parsed: the formula.
        schema: the types of the columns that it names.
        levels: of those among them that are text.
        frames: the rows in batches, texts as `pl.Enum` of the levels; asked for only where the formula
            has functions that learn, once for each pass they need, with the expressions that do.
    """
    nothing = _no_rows(parsed, schema, levels)

    def tables(learning: Sequence[str]) -> Iterator[pd.DataFrame]:
        for frame in frames(learning):
            yield _pandas(frame, parsed.coded)

    try:
        with np.errstate(all="ignore"):
            transforms, categories = learn_states(parsed.factors, nothing, tables)
        return _assembled(parsed, _kinds(parsed, schema), levels, transforms, categories, nothing)
    except GentleError:
        raise
    except FAILURES as error:
        raise _refusal(parsed.text, error) from None


def from_state(state: Mapping[str, Any]) -> Wilkinson:
    """The encoder whose `state` this is: the same numbers, bit for bit, without a row to learn from.

    Raises GentleError for what is no such state; nothing of it runs but what `parse` lets through.
    """
    try:
        kinds = {str(name): kind for name, kind in state["columns"].items()}
        schema = {name: KINDS[kind] for name, kind in kinds.items()}
        levels = {str(name): tuple(map(_text, of)) for name, of in state["levels"].items()}
        parsed = parse(_text(state["formula"]), schema, map(_text, state["aside"]))
        if set(parsed.columns) != set(schema) or set(levels) != {
            name for name, kind in kinds.items() if kind == "text"
        }:
            raise ValueError("its columns are not those of its formula")
        if any(len(set(of)) < len(of) for of in levels.values()):
            raise ValueError("a level is named twice")
        nothing = _no_rows(parsed, schema, levels)
        transforms, categories = _read(state["transforms"]), _read(state["categories"])
        found = _assembled(parsed, kinds, levels, transforms, categories, nothing)
        if list(found.names) != state["names"]:
            raise ValueError("its names are not those of its formula")
    except GentleError:
        raise
    except FAILURES as error:
        raise GentleError(f"this is not the state of a formula: {_reason(error)}") from None
    return found


def _assembled(
    parsed: Parsed,
    kinds: Mapping[str, str],
    levels: Levels,
    transforms: State,
    categories: State,
    nothing: pd.DataFrame,
) -> Wilkinson:
    """The encoder of a formula whose functions have learned: formulaic reads its columns off no rows."""
    encoders = {
        expression: (Factor.Kind.CATEGORICAL, dict(state))
        for expression, state in categories.items()
    }
    spec = ModelSpec.from_spec(
        parsed.formula, na_action="ignore", transform_state=dict(transforms), encoder_state=encoders
    )
    with np.errstate(all="ignore"):
        matrices = _evaluated(spec, nothing)
        for side in matrices:
            np.asarray(side, dtype=np.float64)
    spec = matrices.model_spec
    if not {factor.expr for factor in parsed.factors} >= set(categories):
        raise ValueError("it has levels of terms that are not in the formula")
    for side, found in (("a target", spec.lhs), ("an offset", getattr(spec, "offset", None))):
        if found is not None and len(found.column_names) != len(list(found.formula)):
            raise GentleError(f"{side} of '{parsed.text}' must be one column of numbers")
    return Wilkinson(parsed, kinds, levels, transforms, categories, spec)


def _evaluated(spec: Any, table: pd.DataFrame) -> Any:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # log(-1) is a missing value, and a text that is missing has zeros
        warnings.simplefilter("ignore", DataMismatchWarning)
        return spec.get_model_matrix(table, context=functions())


def _refusal(text: str, error: Exception) -> GentleError:
    return GentleError(f"'{text}' cannot be evaluated on these data: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, Unlearned):
        return f"{error} has not learned from rows"
    return first_line(error)


def _kinds(parsed: Parsed, schema: Schema) -> dict[str, str]:
    """The kind of each column that a formula names, in the order of the source."""
    named = set(parsed.columns)
    return {name: _kind(dtype) for name, dtype in schema.items() if name in named}


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_numeric():
        return "number"
    return "truth" if dtype == pl.Boolean else "text"


def _no_rows(parsed: Parsed, schema: Schema, levels: Levels) -> pd.DataFrame:
    """A table of the columns of a formula, without rows."""
    types = {
        name: pl.Enum(levels[name]) if name in levels else schema[name] for name in parsed.columns
    }
    return _pandas(pl.DataFrame(schema=types), parsed.coded)


def _written(value: Any) -> Any:
    """A state for JSON: mappings as lists of pairs, since their keys may be numbers, arrays as lists."""
    if isinstance(value, Mapping):
        return {"pairs": [[key, _written(item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    return [_written(item) for item in value] if isinstance(value, list | tuple) else value


def _read(value: Any) -> Any:
    """The state that was written so; ValueError for what is none."""
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        if kind == "array":
            return _finite(np.array(inner, dtype=np.float64))
        if kind != "pairs":
            raise ValueError(f"'{kind}' is unknown")
        return {key: _read(item) for key, item in inner}
    if isinstance(value, list):
        return [_read(item) for item in value]
    if isinstance(value, float):
        return _finite(value)
    if value is not None and not isinstance(value, str | int | bool):
        raise ValueError(f"{type(value).__name__} has no place in a state")
    return value


def _finite(value: Any) -> Any:
    if not np.isfinite(value).all():
        raise ValueError("a number is not finite")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is needed, and this is {type(value).__name__}")
    return value


def _places(
    name: str, levels: Sequence[Any], columns: Sequence[str], first: int
) -> npt.NDArray[np.int64] | None:
    """Where in x each level has its column of 0 and 1, -1 without one; None for another coding."""
    at = {column: first + place for place, column in enumerate(columns)}
    for form in ("{name}[T.{level}]", "{name}[{level}]"):
        places = [at.get(form.format(name=name, level=level), -1) for level in levels]
        if levels and len(levels) - len(columns) in (0, 1) and {*at.values()} <= {*places}:
            return np.array(places)
    return None


def _codes(values: Any, levels: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Which level each value is, -1 for none, (n,)."""
    known = isinstance(getattr(values, "dtype", None), pd.CategoricalDtype)
    codes = values.cat.codes if known else pd.Categorical(np.asarray(values), levels).codes
    return np.asarray(codes, dtype=np.int64)


def _powers(spec: ModelSpec, kinds: Mapping[str, str], *, first: int) -> tuple[Power, ...]:
    """The columns that are I(x**k), or of poly(x, k, raw=True), with x a column of numbers."""
    powers: list[Power] = []
    for term, places in spec.term_indices.items():
        factors = list(term.factors)
        if len(factors) != 1 or factors[0].eval_method.value != "python":
            continue
        column, exponents = _power_of(factors[0].expr)
        if kinds.get(column) == "number" and len(exponents) == len(places):
            powers += [
                Power(place - first, column, exponent)
                for place, exponent in zip(places, exponents, strict=True)
                if exponent > 1
            ]
    return tuple(powers)


def _power_of(expression: str) -> tuple[str, tuple[int, ...]]:
    """(column, exponents) of the columns that an expression makes, where they are powers of one."""
    plain, quoted = unquoted(expression)
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


def _pandas(frame: pl.DataFrame, coded: frozenset[str]) -> pd.DataFrame:
    """The frame for formulaic: numbers as float64, text as categories with all its levels."""
    return pd.DataFrame({column.name: _pandas_column(column, coded) for column in frame})


def _pandas_column(column: pl.Series, coded: frozenset[str]) -> Any:
    if isinstance(column.dtype, pl.Enum):
        codes = column.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
        return pd.Categorical.from_codes(codes, pd.Index(column.dtype.categories.to_list()))
    if column.name in coded and (column.dtype.is_integer() or column.dtype == pl.Boolean):
        return column.to_numpy()
    return column.cast(pl.Float64).to_numpy()  # small integers would wrap around in arithmetic
