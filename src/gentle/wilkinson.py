"""Wilkinson: a formula with what its functions learned, which turns frames into numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from gentle.batch import EXACT_COLUMNS, INTERCEPT, Floats
from gentle.calls import SCALES, TRANSFORMS, basis_fields, bind
from gentle.coding import Block, Factor, Layout, category, label_of, lay_out
from gentle.doubled import power
from gentle.errors import GentleError, first_line, listed
from gentle.evaluation import MAX_EXACT, Evaluator, State
from gentle.expressions import Binary, Call, Name, Node, Number, is_condition, show
from gentle.formula import Parsed, kind_of_type, parse
from gentle.learning import check_state, learn_states, learns, walk_all
from gentle.levels import Levels
from gentle.sieve import Mask, Sight
from gentle.sources import Schema, Shift
from gentle.sparse import gathered

KINDS = {
    "number": pl.Float64(),
    "truth": pl.Boolean(),
    "text": pl.String(),
    "date": pl.Datetime("us"),
    "duration": pl.Duration("us"),
}
FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    pl.exceptions.PolarsError,
)


V = TypeVar("V")


class Power(NamedTuple):
    """A column of x that is a whole power of one column of the source, to be had exactly."""

    place: int  # in x
    column: str
    exponent: int


@dataclass(frozen=True)
class Wilkinson:
    """A formula with the state it learned, such as knots and means: frames to numbers."""

    parsed: Parsed
    kinds: Mapping[
        str, str
    ]  # column that the formula names -> number, truth, text, date or duration
    levels: Levels  # of the texts among them
    transforms: Mapping[str, State]  # expression -> what its function learned
    categories: Mapping[str, State]  # C() of numbers -> its levels
    factors: Mapping[Node, Factor]  # of the terms
    layout: Layout

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
        return tuple(label_of(node, {}) for node in self.parsed.targets)

    @property
    def intercept(self) -> bool:
        return self.layout.intercept

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Columns of x, the intercept not among them."""
        return self.layout.names()

    @cached_property
    def powers(self) -> tuple[Power, ...]:
        """The columns of x that are whole powers of a column."""
        found = []
        for block in self.layout.blocks:
            column, exponents = _power_of(block)
            if self.kinds.get(column) == "number" and len(exponents) == block.size:
                found += [
                    Power(block.first + at, column, k) for at, k in enumerate(exponents) if k > 1
                ]
        return tuple(found)

    @property
    def offset(self) -> str:
        """The part of the target that the formula says is known, as it is written there."""
        return self.parsed.offset

    @property
    def sparse(self) -> bool:
        """Whether x is sparse: levels make many columns, of which few are not zero in a row."""
        return self.layout.size > EXACT_COLUMNS

    @cached_property
    def filled(self) -> int:
        """How many numbers of a row of x may be other than zero."""
        if not self.sparse:
            return self.layout.size
        wide = sum(block.category is not None for block in self.layout.blocks)
        return self.layout.dense_size + wide

    @cached_property
    def unreferenced(self) -> tuple[str, ...]:
        """Categories of which zeros are no level: each level has a column, or the contrasts are others."""
        parts = [part for block in self.layout.blocks for part in block.parts]
        return tuple(
            dict.fromkeys(
                factor.label
                for factor, reduced in parts
                if factor.is_category and not (reduced and factor.is_treatment)
            )
        )

    @property
    def dates(self) -> tuple[str, ...]:
        """The columns of dates and durations."""
        return tuple(name for name, kind in self.kinds.items() if kind in ("date", "duration"))

    @property
    def compared(self) -> frozenset[str]:
        """Columns whose values are only compared with levels, of numbers or strings alike."""
        return self.parsed.compared.difference(self.levels, self.dates)

    @property
    def shifts(self) -> tuple[Shift, ...]:
        """The columns of rows before, which lag() and diff() need."""
        return self.parsed.shifts

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
        """(expression, values, which are no level, levels) of each C() of numbers or dates."""
        learned = [it for it in self.factors.values() if str(it.node) in self.categories]
        values = Evaluator(frame, self.transforms)
        for factor in learned:
            assert isinstance(factor.node, Call)
            assert factor.lookup is not None
            labels = self._evaluated(values.labels, factor.node.arguments[0])
            other = (factor.lookup.codes(labels) < 0) & ~_missing(labels)
            yield factor.label, labels, other, factor.levels

    def lost(self, left_out: Mapping[str, pl.Series]) -> dict[str, tuple[list[str], str | None]]:
        """Column in C() -> (its values in rows left out that are no level, the reference if there is one).

        Args:
            left_out: for each such column of numbers or dates the values in rows that are left out.
        """
        lost: dict[str, tuple[list[str], str | None]] = {}
        for factor in self.factors.values():
            inner = factor.node.arguments[0] if isinstance(factor.node, Call) else factor.node
            if str(factor.node) not in self.categories or not isinstance(inner, Name):
                continue
            if factor.lookup is None or inner.name not in left_out:
                continue
            labels = Evaluator(left_out[inner.name].sort().to_frame(), {}).labels(inner)
            other = (factor.lookup.codes(labels) < 0) & ~_missing(labels)
            reference = str(factor.levels[factor.base]) if factor.is_treatment else None
            if other.any():
                lost[inner.name] = list(map(str, np.asarray(labels)[other])), reference
        return lost

    def encode_x(self, frame: pl.DataFrame) -> Sight:
        """x of complete rows (n, p), sparse where levels make it wide; a text that is null has zeros."""
        values = Evaluator(frame, self.transforms)
        if self.sparse:
            return self._gathered(values, frame.height)
        x = np.zeros((self.layout.size, frame.height)).T
        for block in self.layout.blocks:
            columns = x[:, block.first : block.first + block.size]
            if (one := block.category) is not None:
                places = one.places(reduced=block.parts[0][1])[self._codes(values, one)]
                rows = np.flatnonzero(places >= 0)
                columns[rows, places[rows]] = 1
            else:
                columns[:] = self._block(values, block, frame.height)
        return x

    def _gathered(self, values: Evaluator, height: int) -> csr_array:
        """x with an entry for each category in treatment coding and for each column of the others."""
        numbers, places = [], []
        for block in self.layout.blocks:
            if (one := block.category) is not None:
                at = one.places(reduced=block.parts[0][1])[self._codes(values, one)]
                places.append(np.where(at >= 0, block.first + at, -1)[:, None])
                numbers.append(np.ones((height, 1)))
            else:
                own = np.arange(block.first, block.first + block.size)
                places.append(np.broadcast_to(own, (height, block.size)))
                numbers.append(self._block(values, block, height))
        there = np.concatenate(places, axis=1)
        return gathered(np.concatenate(numbers, axis=1), there, there >= 0, self.layout.size)

    def _block(self, values: Evaluator, block: Block, height: int) -> Floats:
        """The columns of a product of factors, (n, size), those of the first going by first."""
        first, *others = (
            self._columns(values, factor, reduced=reduced) for factor, reduced in block.parts
        )
        for own in others:
            size = first.shape[1] * own.shape[1]
            first = (own[:, :, None] * first[:, None, :]).reshape(height, size)
        return first

    def _columns(self, values: Evaluator, factor: Factor, *, reduced: bool) -> Floats:
        """The columns of a factor, (n, k)."""
        if factor.is_category:
            return factor.coding(reduced=reduced)[self._codes(values, factor)]
        if factor.fields:
            return self._evaluated(values.basis, factor.node).values[:, int(reduced) :]
        return self._evaluated(values.numbers, factor.node)[:, None]

    def _codes(self, values: Evaluator, factor: Factor) -> npt.NDArray[np.int64]:
        """Which level each row has, -1 for none, (n,)."""
        assert factor.lookup is not None
        node = factor.node
        inner = node.arguments[0] if isinstance(node, Call) else node
        return factor.lookup.codes(self._evaluated(values.labels, inner))

    def _stacked(self, values: Evaluator, nodes: Sequence[Node]) -> Floats:
        """Nodes of one column each, (n, k)."""
        return np.stack([self._evaluated(values.numbers, node) for node in nodes], axis=1)

    def _evaluated(self, function: Callable[[Node], V], node: Node) -> V:
        try:
            return function(node)
        except FAILURES as error:
            raise _refusal(self.text, error) from None

    def encode_y(self, frame: pl.DataFrame) -> Floats:
        """y of complete rows, (n, k)."""
        values = Evaluator(frame, self.transforms)
        return self._stacked(values, self.parsed.targets)

    def encode_offset(self, frame: pl.DataFrame) -> Floats | None:
        """The part of the target that the formula says is known, (n,); None without one."""
        if not self.offset:
            return None
        values = Evaluator(frame, self.transforms)
        return np.asarray(self._stacked(values, self.parsed.offsets).sum(axis=1))

    def encode_low(self, frame: pl.DataFrame, x: Sight) -> Floats | None:
        """What the powers among the columns of x lack of the exact ones, (n, p); None without powers."""
        if not self.powers or not isinstance(x, np.ndarray):
            return None
        low = np.zeros_like(x)
        with np.errstate(all="ignore"):
            for of in self.powers:
                base = frame[of.column].cast(pl.Float64).to_numpy()
                exact = power(base, of.exponent)
                lacks = (exact.high - x[:, of.place]) + exact.low
                low[:, of.place] = (
                    np.where(np.abs(base) <= MAX_EXACT, lacks, 0)
                    if _is_whole(frame[of.column])
                    else lacks
                )
        return np.nan_to_num(low, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _is_whole(column: pl.Series) -> bool:
    return column.dtype.is_integer()


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
    kinds = {name: kind_of_type(dtype) for name, dtype in schema.items() if name in parsed.columns}
    _laid_out(parsed, kinds, levels, None)  # counts columns before rows are read
    try:
        transforms, categories = learn_states(parsed, _kind_in(kinds), lambda at: iter(frames(at)))
    except GentleError:
        raise
    except FAILURES as error:
        raise _refusal(parsed.text, error) from None
    return _assembled(parsed, kinds, levels, transforms, categories)


def from_state(state: Mapping[str, Any]) -> Wilkinson:
    """The encoder whose `state` this is: the same numbers, bit for bit, without a row to learn from.

    Raises GentleError for what is no such state. The formula in it goes the way of any other, through
    `parse`; what functions learned is numbers, whose shapes are held to what the functions need.
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
        transforms, categories = _read(state["transforms"]), _read(state["categories"])
        _check_states(parsed, kinds, transforms, categories)
        found = _assembled(parsed, kinds, levels, transforms, categories)
        if list(found.names) != state["names"]:
            raise ValueError("its names are not those of its formula")
    except GentleError:
        raise
    except FAILURES as error:
        raise GentleError(f"this is not the state of a formula: {first_line(error)}") from None
    return found


def _check_states(
    parsed: Parsed, kinds: Mapping[str, str], transforms: Any, categories: Any
) -> None:
    """Raises ValueError where states are not those that the functions of a formula learn."""
    learning = {
        str(node): node
        for node in walk_all(parsed.factors)
        if isinstance(node, Call) and learns(node, _kind_in(kinds))
    }
    wanted = {label for label, node in learning.items() if node.function == "C"}
    if not (isinstance(transforms, dict) and isinstance(categories, dict)):
        raise ValueError("what its functions learned is damaged")
    if categories.keys() != wanted or transforms.keys() != learning.keys() - wanted:
        raise ValueError("what was learned is not of the functions of its formula")
    for label, state in transforms.items():
        inner = _fields(learning[label].arguments[0])
        check_state(learning[label], state, len(inner) or None)
    for state in categories.values():
        levels = state["categories"] if state.keys() == {"categories"} else None
        if not isinstance(levels, list) or any(level is None for level in levels):
            raise ValueError("the levels of a category are damaged")
        if len(set(levels)) < len(levels):
            raise ValueError("a level is named twice")


def _kind_in(kinds: Mapping[str, str]) -> Callable[[Node], str]:
    """What a node inside C() is, as far as that says how it learns: text, truth or number."""

    def kind(node: Node) -> str:
        inner = _bare(node)
        if isinstance(inner, Name):
            return kinds[inner.name]
        return "truth" if is_condition(inner) else "number"

    return kind


def _bare(node: Node) -> Node:
    """What stands inside I() and C()."""
    while isinstance(node, Call) and node.function in ("C", "I"):
        node = node.arguments[0]
    return node


def _assembled(
    parsed: Parsed,
    kinds: Mapping[str, str],
    levels: Levels,
    transforms: Mapping[str, State],
    categories: Mapping[str, State],
) -> Wilkinson:
    """The encoder of a formula whose functions have learned."""
    factors, layout = _laid_out(parsed, kinds, levels, categories)
    return Wilkinson(parsed, kinds, levels, transforms, categories, factors, layout)


def _laid_out(
    parsed: Parsed,
    kinds: Mapping[str, str],
    levels: Levels,
    categories: Mapping[str, State] | None,
) -> tuple[dict[Node, Factor], Layout]:
    """The factors of the terms and their columns, counted; without categories C() has one at least."""
    nodes = list(dict.fromkeys(node for term in parsed.terms for node in term))
    taken = Counter([INTERCEPT, *(it.name if isinstance(it, Name) else str(it) for it in nodes)])
    factors = {
        node: _factor(node, label_of(node, taken), kinds, levels, categories) for node in nodes
    }
    layout = lay_out(parsed.terms, factors)
    if layout.size > EXACT_COLUMNS and layout.dense_size > EXACT_COLUMNS:
        raise GentleError(
            f"'{show(parsed.text)}' makes {layout.size:,} columns: more than {EXACT_COLUMNS:,} can only be "
            "those of terms that are one category each, without products or other contrasts"
        )
    return factors, layout


def _factor(
    node: Node,
    label: str,
    kinds: Mapping[str, str],
    levels: Levels,
    categories: Mapping[str, State] | None,
) -> Factor:
    """How a factor becomes columns."""
    is_category = isinstance(node, Call) and node.function == "C"
    inner = _bare(node)
    text = inner.name if isinstance(inner, Name) and kinds[inner.name] == "text" else None
    if not is_category and text is None:
        spans = isinstance(node, Call) and node.function == "bs" and bind(node)["include_intercept"]
        return Factor(node, label, _fields(node), bool(spans))
    if text is None and categories is None:
        return Factor(node, label)
    options = bind(node) if isinstance(node, Call) and is_category else {}
    known = levels[text] if text is not None else (categories or {})[str(node)]["categories"]
    return category(node, label, _chosen(known, options.get("levels"), label), options)


def _fields(node: Node) -> tuple[Any, ...]:
    """What the columns of a node are called, where it has several."""
    node = _bare(node)
    if not isinstance(node, Call) or node.function not in TRANSFORMS:
        return ()
    inner = _fields(node.arguments[0]) if node.function in SCALES else None
    return basis_fields(node.function, bind(node), inner)


def _chosen(known: Sequence[Any], given: Sequence[Any] | None, label: str) -> Sequence[Any]:
    """The levels in the order of levels=, those without a row left out."""
    if given is None:
        return known
    if lacking := [level for level in known if level not in given]:
        raise GentleError(
            f"{label} has rows with {listed(lacking)}, which levels= lacks: name all levels, or leave "
            "these rows out before"
        )
    return [known[known.index(level)] for level in given if level in known]


def _missing(labels: Any) -> Mask:
    """Where a category has no value, (n,)."""
    if isinstance(labels, pl.Series):
        return labels.is_null().to_numpy()
    if labels.dtype.kind == "f":
        return np.asarray(np.isnan(labels))
    return np.zeros(len(labels), dtype=bool)


def _refusal(text: str, error: Exception) -> GentleError:
    return GentleError(f"'{show(text)}' cannot be evaluated on these data: {first_line(error)}")


def _written(value: Any) -> Any:
    """A state for JSON: mappings as lists of pairs, since their keys may be numbers, arrays as lists."""
    if isinstance(value, Mapping):
        return {"pairs": [[key, _written(item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    return [_written(item) for item in value] if isinstance(value, list | tuple) else value


def _read(value: Any) -> Any:
    """The state that was written so; ValueError for what is none."""
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        if kind == "array":
            return _finite(np.array(inner, dtype=np.float64))
        if kind == "decimal":
            return _decimal(inner)
        if kind != "pairs":
            raise ValueError(f"'{kind}' is unknown")
        pairs = {key: _read(item) for key, item in inner}
        if len(pairs) < len(inner) or any(isinstance(key, bool | float) for key in pairs):
            raise ValueError("a part is named twice")
        return pairs
    if isinstance(value, list):
        return [_read(item) for item in value]
    if isinstance(value, float):
        return _finite(value)
    if value is not None and not isinstance(value, str | int | bool):
        raise ValueError(f"{type(value).__name__} has no place in a state")
    return value


def _decimal(text: Any) -> Decimal:
    if not (isinstance(text, str) and re.fullmatch(r"-?[0-9]{1,39}(\.[0-9]{1,39})?", text)):
        raise ValueError("a decimal is damaged")
    return Decimal(text)


def _finite(value: Any) -> Any:
    if not np.isfinite(value).all():
        raise ValueError("a number is not finite")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is needed, and this is {type(value).__name__}")
    return value


def _power_of(block: Block) -> tuple[str, tuple[int, ...]]:
    """(column, exponents) of the columns of a block, where they are powers of one column."""
    ((factor, _), *more) = block.parts
    node: Node = factor.node
    raw = isinstance(node, Call) and node.function == "poly"
    if raw:
        assert isinstance(node, Call)
        options = bind(node)
        exponents = tuple(range(1, int(options["degree"]) + 1)) if options["raw"] else ()
        node = node.arguments[0]
    else:
        node, exponents = _base(_bare(node) if not factor.is_category else node)
    if more or not isinstance(node, Name) or not exponents:
        return "", ()
    return node.name, exponents


def _base(node: Node) -> tuple[Node, tuple[int, ...]]:
    """(base, its exponent as a tuple of one) of a whole power; no exponents for another expression."""
    match node:
        case Binary("**", base, Number() as exponent):
            value = exponent.value
            return base, (int(value),) if value >= 1 and value == int(value) else ()
        case Binary("*", left, right) if left == right:
            return left, (2,)
    return node, ()
