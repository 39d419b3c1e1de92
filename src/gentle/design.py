"""Design: which numbers a row of the source becomes. Rows: a source seen through a design."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from scipy.sparse import csr_array

from gentle import filling, plain, wilkinson
from gentle.batch import INTERCEPT, Batch, Floats, Integers, Labels, rows_per_batch, together
from gentle.columns import (
    SPACING,
    is_text,
    refuse_other_than_dates,
    refuse_other_than_numbers,
    refuse_types,
)
from gentle.doubled import two_sum
from gentle.engines import Engine, Here
from gentle.errors import GentleError, GentleWarning, as_tuple, is_choice, listed, near, show_value
from gentle.expressions import quote_name, show
from gentle.filling import Filling
from gentle.formula import Parsed, parse
from gentle.levels import (
    Foreign,
    LeftOut,
    Levels,
    Unseen,
    check_unseen,
    levels_of,
    refuse_foreign,
    warn_of_lost,
    with_levels,
)
from gentle.plain import Plain
from gentle.sieve import Mask, Missing, Selection, Sieve, Sight, column_of
from gentle.sources import (
    Arrays,
    Chunk,
    Matrix,
    Named,
    Shift,
    Shifted,
    Source,
    index_of,
    open_source,
    with_columns,
    with_names,
)
from gentle.sources.source import bounds, described
from gentle.sparse import is_sparse, wrapped, written_out
from gentle.spreading import Placed
from gentle.undefined import Defined

A = TypeVar("A", bound=np.generic)
K = TypeVar("K", bound="npt.NDArray[Any] | csr_array[Any, Any]")

UNSEEN = "(unseen level)"  # under which a batch counts the rows that have one
HELD_BYTES = 2**28  # up to here rows that are walked often are kept as numbers
POOL_NUMBERS = 2**23  # in memory at a time, where a stochastic pass reads a file
FRAGMENTS = 64  # of all rows, that such a pass reads in random order


class Encoder(Protocol):
    """How complete rows of a frame become numbers."""

    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def target_columns(self) -> tuple[str, ...]: ...
    @property
    def levels(self) -> Levels: ...
    @property
    def targets(self) -> tuple[str, ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def intercept(self) -> bool: ...
    @property
    def learned(self) -> str: ...
    @property
    def unreferenced(self) -> tuple[str, ...]: ...
    @property
    def dates(self) -> tuple[str, ...]: ...
    @property
    def compared(self) -> frozenset[str]: ...
    @property
    def shifts(self) -> tuple[Shift, ...]: ...
    @property
    def computes(self) -> bool: ...
    @property
    def offset(self) -> str: ...
    @property
    def sparse(self) -> bool: ...
    @property
    def filled(self) -> int: ...
    def state(self) -> dict[str, Any]: ...
    def foreign(self, frame: pl.DataFrame) -> Iterator[tuple[str, Any, Mask, Any]]: ...
    def encode_x(self, frame: pl.DataFrame) -> Sight: ...
    def encode_y(self, frame: pl.DataFrame) -> Floats: ...
    def encode_offset(self, frame: pl.DataFrame) -> Floats | None: ...
    def encode_low(self, frame: pl.DataFrame, x: Sight) -> Floats | None: ...


class Features(NamedTuple):
    """What a prediction needs of the rows of a chunk that are complete."""

    x: Sight  # (n, p)
    offset: Floats  # (n,)
    rows: Integers  # (n,) where they stand in their source
    n_unseen: int  # rows of the chunk, also left out ones, with a level that the fit did not see
    weight: Floats | None = None  # (n,) of new rows, nan where it is missing; None without weights


@dataclass(frozen=True)
class Design:
    """What is fitted: a target, the columns of x in order, and what to do with missing values."""

    encoder: Encoder
    columns: tuple[str, ...]  # of the source, that the features need
    target_columns: tuple[str, ...]  # of the source, that the target needs
    levels: Levels = field(default_factory=dict)
    weights: str | None = None
    frequencies: str | None = None
    offset: str | None = None
    clusters: tuple[str, ...] = ()
    missing: Missing = "drop"
    filling: Filling = field(default_factory=Filling)  # what stands for missing values

    def state(self) -> dict[str, Any]:
        """All that it takes to make the design again, as numbers, lists and texts for JSON.

        That is the state of its encoder, which see, and which columns are what: about as many numbers as
        there are columns and levels, whatever the number of rows.
        """
        return {
            "encoder": self.encoder.state(),
            "weights": self.weights,
            "frequencies": self.frequencies,
            "offset": self.offset,
            "clusters": list(self.clusters),
            "missing": self.missing,
            "filling": self.filling.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Design:
        """The design whose `state` this is, which makes the same numbers of the same rows, bit for bit.

        Raises GentleError for what is no such state. Nothing of it runs: a formula in it is read
        anew, and held to the columns, operators and functions that a formula may name.
        """
        return _from_state(state)

    @property
    def targets(self) -> tuple[str, ...]:
        """Columns of y, (k,)."""
        return self.encoder.targets

    @property
    def intercept(self) -> bool:
        return self.encoder.intercept

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of x (p,), the constant not among them."""
        beside = self.filling.names
        return (*self.encoder.names, *beside) if beside else self.encoder.names

    @property
    def unchanged(self) -> tuple[str | None, ...]:
        """The source's column that each column of x (p,) is as it stands; None for a computed one.

        A column from which a formula computes others is taken for None too: its values are exact there.
        """
        names = self.encoder.names
        columns = {*self.columns} - {*self.levels}
        if not isinstance(self.encoder, Plain):
            computed = " ".join(name for name in names if name not in columns)
            words = set(re.findall(r"\w+", computed))
            columns = {name for name in columns if not words.intersection(re.findall(r"\w+", name))}
        own = tuple(name if name in columns else None for name in names)
        return (*own, *(None for _ in self.filling.names))

    @property
    def known(self) -> bool:
        """Whether a part of the target is known: an offset."""
        return self.offset is not None or bool(self.encoder.offset)

    @property
    def sparse(self) -> bool:
        """Whether x is sparse, because of the many levels of texts."""
        return self.encoder.sparse

    @property
    def width(self) -> int:
        """How many numbers a row takes in memory."""
        return self.encoder.filled + len(self.filling.names) + len(self.targets)

    @cached_property
    def _kinds(self) -> Mapping[str, pl.Enum]:
        return {name: pl.Enum(levels) for name, levels in self.levels.items()}

    @property
    def meaning(self) -> Mapping[str, object]:
        """What makes two designs one, by name: the same numbers from the same rows."""
        return {
            "levels": tuple(self.levels.items()),
            "columns": self.names,
            "constant": self.intercept,
            "what functions learned from the rows": self.encoder.learned,
            "weights": self.weights is None,
            "frequencies": self.frequencies is None,
            "offset": (self.offset is None, self.encoder.offset),
            "what stands for missing numbers": tuple(self.filling.fills.items()),
        }

    @property
    def takes_arrays(self) -> bool:
        """Whether a row is its columns as they are, so that an array without names will do."""
        return isinstance(self.encoder, Plain) and not self.levels

    @property
    def needed(self) -> tuple[str, ...]:
        """The source's columns that a fit reads, each once."""
        extra = (self.weights, self.frequencies, self.offset, *self.clusters)
        named = [name for name in extra if name is not None]
        return tuple(dict.fromkeys((*self.columns, *self.target_columns, *named)))

    def batch(
        self, chunk: Chunk, where: str, *, raw: bool = False, unseen: Unseen = "error"
    ) -> Batch:
        """The rows of a chunk that a fit uses, as numbers; `where` names their source.

        They are dense and of float64, or where they are wanted raw as sparse or as short as they come.
        Rows with a level that the fit did not see are refused, count as the reference level, or are
        left out, by `unseen`.

        Raises GentleError for an infinity, a weight below zero, a level that the fit did not see and,
        with missing="raise", a missing value, each with its row and column.
        """
        check_unseen(unseen)
        n_read = len(chunk.rows)
        sieve = self.selection.sieve(chunk, where, self.missing)
        if not self.takes_arrays:
            chunk = sieve.narrow(chunk)
        chunk, gone = self.filling.filled(chunk, self.columns)
        chunk, foreign = self._coded(chunk, unseen)
        x, known = self._explaining(chunk, gone)
        y, low = self._explained(chunk, x)
        sieve.finite(self.targets, y)
        y_low = None
        if known is not None:
            sieve.finite((self.offset or f"offset({self.encoder.offset})",), known[:, None])
            with np.errstate(invalid="ignore"):  # of infinities, which are refused
                y, y_low = two_sum(y, -known[:, None])
        if not (isinstance(chunk.table, Matrix) and chunk.table.finite):
            sieve.finite(self.names, x)
        sieve.settle()
        n_unseen = int(_unseen(foreign, sieve, where, unseen).sum())
        weight, frequency = (
            None if name is None else column_of(chunk, name)
            for name in (self.weights, self.frequencies)
        )
        groups = tuple(_labels(chunk, name) for name in self.clusters)
        keep = sieve.keep
        x = _kept(x, keep)
        x = x if raw else written_out(x)
        return Batch(
            wrapped(x) if isinstance(x, csr_array) else _tensor(x),
            _tensor(_kept(y, keep)),
            _kept(chunk.rows, keep),
            None if weight is None else _tensor(_kept(weight, keep)),
            None if frequency is None else _tensor(_kept(frequency, keep)),
            n_read,
            sieve.missing_by_column,
            sieve.n_weightless,
            tuple(_kept(labels, keep) for labels in groups),
            None if low is None else _tensor(_kept(low, keep)),
            None if y_low is None else _tensor(_kept(y_low, keep)),
            self.filling.counts(gone, keep) | ({UNSEEN: n_unseen} if n_unseen else {}),
        )

    @property
    def shifts(self) -> tuple[Shift, ...]:
        """The columns of rows before, which lag() and diff() need."""
        return self.encoder.shifts

    @property
    def explaining(self) -> tuple[str, ...]:
        """The source's columns that a prediction needs, each once."""
        offset = () if self.offset is None else (self.offset,)
        return tuple(dict.fromkeys((*self.columns, *offset)))

    @property
    def dtypes(self) -> Mapping[str, pl.DataType]:
        """The types in which a file that states none, such as a CSV, is to be read for this design."""
        return dict.fromkeys(self.levels, pl.String())

    @property
    def references(self) -> Mapping[str, str]:
        """Column of text -> its reference level, whose rows have zeros, where it has one."""
        if isinstance(self.encoder, Plain):
            return {column: levels[0] for column, levels in self.levels.items() if levels}
        there: dict[str, set[str]] = {}
        for name in self.names:
            expression, _, level = name.removesuffix("]").partition("[T.")
            there.setdefault(expression, set()).add(level)
        return {
            column: lacking.pop()
            for column, levels in self.levels.items()
            for form in (column, f"C({column})")
            if form in there and len(lacking := set(levels) - there[form]) == 1
        }

    def opened(self, data: Any, offset: Any = None) -> Source:
        """A source for rows that are to be predicted, with the columns that this needs."""
        if offset is not None and self.offset is None:
            raise GentleError("an offset was given to predict, and the fit has none: leave it out")
        source = open_source(data, self.columns if self.takes_arrays else None, self.dtypes)
        if not self.takes_arrays:
            source = with_names(source)
        if offset is not None:
            source = with_columns(source, {self.offset or "(offset)": offset})
        source = Shifted.of(source, self.shifts)
        refuse_lacking(source, self.explaining, self)
        return source

    def features(
        self,
        chunk: Chunk,
        where: str,
        unseen: Unseen = "error",
        weights: str | None = None,
    ) -> Features:
        """What a prediction needs of the rows that are complete; `where` names their source.

        Args:
            unseen: what becomes of a row with a level that the fit did not see: "error" refuses it,
                "reference" counts it as the reference level, "missing" leaves it out.
            weights: the column of the weights of new rows, where they are wanted.
        """
        check_unseen(unseen)
        sieve = Sieve(chunk.rows, where, "drop")
        if isinstance(chunk.table, pl.DataFrame) and not self.takes_arrays:
            sieve.complete(chunk.table, self.filling.required(self.explaining))
            chunk = sieve.narrow(chunk)
        chunk, gone = self.filling.filled(chunk, self.columns)
        chunk, foreign = self._coded(chunk, unseen)
        x, known = self._explaining(chunk, gone)
        sieve.finite(self.names, x)
        offset = np.zeros(x.shape[0]) if known is None else known
        sieve.finite(("offset",), offset[:, None])
        sieve.settle()
        n_unseen = int(_unseen(foreign, sieve, where, unseen).sum())
        keep = sieve.keep
        weight = None if weights is None else _kept(_weights(chunk, weights, sieve), keep)
        return Features(
            _kept(x, keep), _kept(offset, keep), _kept(chunk.rows, keep), n_unseen, weight
        )

    def learning_frames(
        self, source: Source, selection: Selection, left_out: LeftOut
    ) -> Iterator[pl.DataFrame]:
        """The rows of a source that are selected, coded and filled, as functions learn from them.

        The others are added to those left out.
        """
        own = list(dict.fromkeys((*self.columns, *self.target_columns)))
        columns = selection.columns(*own)
        for chunk in source.scan(columns, rows_per_batch(len(columns))):
            used = selection.used(chunk, source.name)
            left_out.add(used, chunk)
            filled, _ = self.filling.filled(used, self.columns)
            coded, _ = self._coded(filled, "error")
            assert isinstance(coded.table, pl.DataFrame)
            yield coded.table.select(own)

    @property
    def selection(self) -> Selection:
        """Which rows a fit uses; columns that become numbers as they are show what they lack there."""
        required = self.clusters if self.takes_arrays else self.filling.required(self.needed)
        return Selection(tuple(required), self.weights, self.frequencies)

    def _coded(self, chunk: Chunk, unseen: Unseen) -> tuple[Chunk, list[Foreign]]:
        """(the chunk with categories as levels that the fit saw, the values that are others)."""
        if isinstance(chunk.table, Matrix):
            return chunk, []
        frame, foreign = with_levels(chunk.table, self._kinds)
        foreign += [Foreign(*found) for found in self.encoder.foreign(frame)]
        lacking = self.encoder.unreferenced
        if unseen == "reference" and lacking and any(found.other.any() for found in foreign):
            raise GentleError(
                f"unseen='reference' takes the reference level, and {listed(lacking)} has none in this "
                "formula: take 'missing', or fit it with a constant and no other contrasts"
            )
        return chunk._replace(table=frame), foreign

    def _explaining(self, chunk: Chunk, gone: Mask | None) -> tuple[Sight, Floats | None]:
        """(x, offset) of a chunk: (n, p) and, where a part of the target is known, (n,)."""
        known = None if self.offset is None else column_of(chunk, self.offset)
        if isinstance(chunk.table, Matrix):
            return self.filling.beside(chunk.table.x, gone), known
        own = self._own(chunk.table, self.columns) if self.columns else chunk.table
        inside = self.encoder.encode_offset(own)
        if inside is not None:
            known = inside if known is None else known + inside
        return self.filling.beside(self.encoder.encode_x(own), gone), known

    def _explained(self, chunk: Chunk, x: Sight) -> tuple[Floats, Floats | None]:
        """(y, low) of a chunk: (n, k) and, where x is computed, what it lacks (n, p)."""
        if isinstance(chunk.table, Matrix):
            columns = [chunk.table.other[name] for name in self.targets]
            return columns[0][:, None] if len(columns) == 1 else np.stack(columns, 1), None
        own = self._own(chunk.table, dict.fromkeys((*self.columns, *self.target_columns)))
        beside = len(self.filling.names)
        low = (
            self.encoder.encode_low(own, x[:, : x.shape[1] - beside])
            if self.encoder.computes
            else None
        )
        return self.encoder.encode_y(own), None if low is None else np.pad(
            low, ((0, 0), (0, beside))
        )

    def _own(self, frame: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
        """What a formula is to see of a frame; columns as they are need no frame of their own."""
        return frame if isinstance(self.encoder, Plain) else frame.select(list(columns))


def _unseen(foreign: Sequence[Foreign], sieve: Sieve, where: str, unseen: Unseen) -> Mask:
    """Which rows (n,) had a level that the fit did not see; they are refused, or left out, or stay."""
    found = np.zeros(len(sieve.rows), dtype=bool)
    for one in foreign:
        if unseen == "error":
            refuse_foreign(one, sieve.keep, sieve.rows, where)
        found |= one.other
    if unseen == "missing":
        sieve.keep &= ~found
    return found


def _weights(chunk: Chunk, name: str, sieve: Sieve) -> Floats:
    """Weights of new rows, (n,); nan where one is missing, which drops no row."""
    values = column_of(chunk, name)
    invalid = (values < 0) | np.isinf(values)
    if invalid.any():
        row = chunk.rows[int(invalid.argmax())] + 1
        raise GentleError(
            f"the weights of new rows must be finite and 0 or more, but '{name}' of {sieve.where} is "
            f"{values[invalid][0]:g} in row {row:,}"
        )
    return values


def _labels(chunk: Chunk, name: str) -> Labels:
    """Which cluster each row belongs to, (n,): strings, integers or numbers; anything for none."""
    if isinstance(chunk.table, Matrix):
        return chunk.table.labels[name]
    column = chunk.table[name]
    whole = column.dtype.is_integer() and column.dtype not in (pl.UInt64, pl.Int128)
    if whole or column.dtype.is_temporal() or column.dtype == pl.Boolean:
        return column.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
    if column.dtype.is_float():
        return column.cast(pl.Float64).fill_null(0).to_numpy()
    return column.cast(pl.String).to_numpy().astype(str)


@dataclass(frozen=True)
class Rows:
    """A source seen through a design: what a pass walks over, batch by batch."""

    source: Source
    design: Design
    batch_rows: int | None = None  # by default as many as a core's cache holds
    raw: bool = False  # whether sparse rows and float32 stay so
    engine: Engine = field(default_factory=Here)  # where a pass works on them
    parts: int = 1  # that a pass makes of them
    fragments: int = FRAGMENTS  # that a stochastic pass reads in random order
    unseen: Unseen = "error"  # what becomes of rows with a level that the fit did not see

    def __iter__(self) -> Iterator[Batch]:
        wide = len(self.design.names) + len(self.design.targets)
        size = self.batch_rows or rows_per_batch(self.design.width if self.raw else wide)
        for chunk in self.source.scan(self.design.needed, size):
            yield self.design.batch(chunk, self.source.name, raw=self.raw, unseen=self.unseen)

    def at(self, place: Placed) -> Rows:
        """The same rows where an engine has them."""
        return replace(self, source=place.source, engine=place.engine, parts=place.parts)

    @property
    def coarse(self) -> Mapping[str, float]:
        """Column of x -> spacing of its type at 1, where that is coarser than float64."""
        types = {
            name: type(dtype)
            for name, dtype in self.source.schema().items()
            if type(dtype) in SPACING
        }
        if not types:
            return {}
        own = zip(self.design.names, self.design.unchanged, strict=True)
        return {name: SPACING[types[column]] for name, column in own if column in types}

    @property
    def single(self) -> bool:
        """Whether some of the data are float32."""
        schema = self.source.schema()
        return any(schema[name] == pl.Float32 for name in self.design.needed if name in schema)

    def split(self, parts: int) -> Sequence[Rows]:
        """The same rows in so many parts, in order, each to be worked on in one go wherever it is."""
        fragments = max(1, self.fragments // parts)
        one = replace(self, engine=Here(), parts=1, fragments=fragments)
        if parts == 1:
            return [one]
        return [replace(one, source=part) for part in self.source.split(parts)]

    def pools(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Fragments of the source in random order, as many at a time as a pool holds."""
        pieces = self.split(self.fragments) if self.source.seeks else [self]
        pool: list[Batch] = []
        for at in rng.permutation(len(pieces)):
            for batch in pieces[at]:
                pool.append(batch)
                if sum(map(_size, pool)) >= POOL_NUMBERS:
                    yield together(pool)
                    pool = []
        if pool:
            yield together(pool)

    def held(self) -> Rows | Held:
        """The rows as numbers in memory, where they are there already or take little of it.

        Rows that are worked on in parts stay where they are: each worker reads its own.
        """
        rows = replace(self, raw=True) if self.source.sparse or self.design.sparse else self
        if self.parts > 1:
            return rows
        there = self.source.sparse and self.source.height()
        if there or _in_place(self.source, self.design):
            once = replace(self, batch_rows=max(1, self.source.height()), raw=True)
            return Held.of(together(list(once)))
        if 8 * self.source.height() * self.design.width > HELD_BYTES:
            return rows
        held = tuple(rows)
        if self.design.sparse and held:
            return Held.of(together(held))
        return Held(held)


@dataclass(frozen=True, eq=False)
class Held:
    """Batches kept in memory, for rows that are walked over again and again."""

    batches: tuple[Batch, ...]
    whole: Batch | None = None  # all of them as one, where they lie side by side
    parts: int = 1  # that a pass makes of them
    engine: ClassVar[Engine] = Here()

    def on(self, device: str, dtype: torch.dtype) -> Held:
        """The rows on a device, in numbers of a type."""
        return Held.of(self._joined.to(device, dtype))

    @property
    def plain(self) -> bool:
        """Whether the numbers are dense, of float64 and where the processor has them."""
        return all(
            part.x.is_cpu and part.x.dtype == torch.float64 and not is_sparse(part.x)
            for part in self.batches
        )

    @classmethod
    def of(cls, whole: Batch) -> Held:
        """Rows that lie side by side, in views."""
        if is_sparse(whole.x):  # a block of few rows costs its many columns again
            return cls((whole,), whole)
        return cls(tuple(whole.blocks(rows_per_batch(whole.x.shape[1]))), whole)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def split(self, parts: int) -> Sequence[Held]:
        """The same batches in so many parts, in order."""
        return [Held(self.batches[a:b]) for a, b in bounds(len(self.batches), parts)]

    def pools(self, rng: np.random.Generator) -> Iterator[Batch]:  # noqa: ARG002
        """All of the rows: those who ask walk over them in random order."""
        if self.batches:
            yield self._joined

    @cached_property
    def _joined(self) -> Batch:
        """All of the rows as one, row by row; where that is a copy, every stochastic pass walks it."""
        if self.whole is not None:
            return self.whole
        joined = together(self.batches)
        return replace(joined, x=joined.x.contiguous())


def _size(batch: Batch) -> int:
    """How many numbers of x a batch holds."""
    return (batch.x.values() if is_sparse(batch.x) else batch.x).numel()


def _in_place(source: Source, design: Design) -> bool:
    """Whether the numbers of a source are there as a batch has them, with no row to leave out."""
    if not isinstance(source, Arrays) or isinstance(source.x, csr_array):
        return False
    if source.x.dtype not in (np.float64, np.float32) or not source.height():
        return False
    every = design.takes_arrays and design.columns == source.names
    odd = any(step < 0 or step % source.x.itemsize for step in source.x.strides)
    if not every or odd or not (source.finite or _finite(source.x)):
        return False
    named = [*design.target_columns, design.weights, design.frequencies, design.offset]
    columns = {name: source.other[name] for name in named if name is not None}
    masses = [columns[name] for name in (design.weights, design.frequencies) if name is not None]
    return all(_finite(column) for column in columns.values()) and all(
        (mass > 0).all() for mass in masses
    )


def _finite(values: npt.NDArray[np.number]) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(values.sum()))


def learn_design(
    source: Source,
    formula: str | None = None,
    *,
    targets: Sequence[str] = (),
    features: Sequence[str] | None = None,
    intercept: bool = True,
    weights: str | None = None,
    frequencies: str | None = None,
    offset: str | None = None,
    clusters: Sequence[str] = (),
    missing: Missing = "drop",
    place: Placed | None = None,
) -> Design:
    """The design of a source: from a formula, or from its targets and their features.

    Levels and means are learned where the rows are placed; by default that is here.

    The texts of a source that can be read only once have no levels yet: see `widening`.

    Raises GentleError for a name that does not exist and for a column that is no number and no text.
    """
    if not isinstance(intercept, bool | np.bool_):
        raise GentleError(f"intercept must be True or False, not {type(intercept).__name__}")
    if not is_choice(missing, get_args(Missing)):
        raise GentleError(
            f"missing must be {listed(get_args(Missing), 'or')}, and is {show_value(missing)}"
        )
    schema = source.schema()
    numbers = {"weights": weights, "frequencies": frequencies, "offset": offset}
    for role, name in (
        *(("target", target) for target in targets),
        *numbers.items(),
        *(("clusters", cluster) for cluster in clusters),
    ):
        if name is not None and name not in schema:
            raise GentleError(
                f"{source.name} has no column '{name}' for {role}: {near(name, schema)}"
            )
    extra = [name for name in numbers.values() if name is not None]
    if isinstance(source, Arrays):
        for name in (*targets, *extra, *clusters):
            if name in source.names:
                raise GentleError(
                    f"'{name}' is a column of X: give the target and what else is not in X as arrays of "
                    "their own"
                )
    for name in extra:
        refuse_other_than_numbers(source, name)
    for name in clusters:
        refuse_as_cluster(source, name)
    if twice := sorted({name for name in targets if list(targets).count(name) > 1}):
        raise GentleError(f"a target is named twice: {listed(twice)}")
    if formula is not None and (targets or features is not None):
        raise GentleError("give a formula, or a target and its features, but not both")
    features = None if features is None else _names_of(features, "features")
    aside = (*extra, *clusters)
    parsed = None if formula is None else _formula(source, formula, aside)
    if parsed is None:
        columns, target_columns = _features(source, targets, features, aside), tuple(targets)
    else:
        columns, target_columns = parsed.feature_columns, parsed.target_columns
    texts = [name for name in columns if is_text(schema[name])]
    if texts and not source.replayable and parsed is not None:
        raise GentleError(
            f"a formula needs the levels of {listed(texts)} before its first row, and {source.name} can be "
            "read only once: give a file or a frame, or name the target without a formula"
        )
    place = place or Placed(source)
    unfilled = {*texts, *(() if parsed is None else (*parsed.whole, *parsed.offset_columns))}
    plain_columns = [name for name in columns if name not in unfilled]
    tracked = filling.fillable(missing, plain=plain_columns, texts=texts)
    bare = Design(
        Plain(target_columns, columns, {}, intercept),
        columns,
        target_columns,
        weights=weights,
        frequencies=frequencies,
        offset=offset,
        clusters=tuple(clusters),
        missing=missing,
    )
    required = tuple(name for name in bare.needed if name not in tracked)
    selection = Selection(required, weights, frequencies)
    filled = filling.learn(place, missing, selection, plain=plain_columns, texts=texts)
    declared: tuple[str, ...] = ()
    if parsed is not None:
        declared = tuple(parsed.categories)
        beside = (*parsed.columns, *filled.columns)
        defined = Defined.of(parsed, filled)
        selection = replace(selection, beside=beside if defined else (), defined=defined)
    levels: Levels = dict.fromkeys(texts, ())
    if source.replayable:
        levels = levels_of(place, texts, selection, declared)
    encoder = Plain(target_columns, columns, levels, intercept)
    design = replace(bare, encoder=encoder, levels=levels, filling=filled)
    if parsed is not None:
        design = replace(design, encoder=_learned(source, parsed, design, selection))
    names = Counter((INTERCEPT,) * design.intercept + design.names)
    if twice := sorted(name for name, times in names.items() if times > 1):
        raise GentleError(f"each column of the model needs its own name: two are {listed(twice)}")
    return design


def _names_of(given: Any, argument: str) -> tuple[str, ...]:
    """Names of columns as a tuple; whole numbers are the names that pandas gives to columns without one.

    Raises GentleError for what are no names.
    """
    names = as_tuple(given, f"{argument} must be names of columns")
    for name in names:
        whole = isinstance(name, int | np.integer) and not isinstance(name, bool)
        if not isinstance(name, str) and not whole:
            raise GentleError(f"{argument} must be names of columns, and one is {show_value(name)}")
    return tuple(map(str, names))


def _features(
    source: Source, targets: Sequence[str], features: Sequence[str] | None, aside: Sequence[str]
) -> tuple[str, ...]:
    """The columns that explain the targets: those that are named, or all that have no other part."""
    schema = source.schema()
    if not targets:
        raise GentleError(
            f"which column of {source.name} is the target? Name it with target (--target), or give "
            f"a formula such as '{quote_name(next(reversed(list(schema)), 'y'))} ~ .'"
        )
    if features is None:
        apart = {*targets, *aside, *index_of(source)}
        features = [name for name in schema if name not in apart]
    for name in features:
        if name not in schema:
            raise GentleError(f"{source.name} has no column '{name}': {near(name, schema)}")
    for target in targets:
        if target in features:
            raise GentleError(
                f"the target '{target}' is among the features: it would explain itself"
            )
        refuse_other_than_numbers(source, target)
    refuse_types(source, features)
    return tuple(features)


def _formula(source: Source, text: str, aside: Sequence[str]) -> Parsed:
    """The formula, whose columns hold what it needs."""
    if isinstance(source, Arrays):
        raise GentleError("a formula needs columns with names: give a frame or a file, not arrays")
    schema = source.schema()
    parsed = parse(text, schema, (*aside, *index_of(source)))
    if lacking := [shift.name for shift in parsed.shifts if shift.name not in schema]:
        raise GentleError(
            f"{listed(lacking)} needs the rows before each row, and these come piece by piece: give a "
            "frame or a file to gentle.fit, without passes=1"
        )
    refuse_types(source, [name for name in parsed.columns if not schema[name].is_temporal()])
    for name in (*parsed.target_columns, *parsed.offset_columns):
        refuse_other_than_numbers(source, name)
    if overlap := set(parsed.target_columns) & set(parsed.feature_columns):
        raise GentleError(f"{listed(overlap)} stands on both sides of '~' in '{show(text)}'")
    return parsed


def _learned(source: Source, parsed: Parsed, design: Design, selection: Selection) -> Encoder:
    """The encoder of a formula, whose functions learn from the rows that are selected."""
    left_out = LeftOut(parsed.categories.difference(design.levels))

    def frames(learning: Sequence[str]) -> Iterator[pl.DataFrame]:
        if not source.replayable:
            raise GentleError(
                f"{listed(learning)} must learn from all rows before the fit, and {source.name} can be "
                "read only once: give a file or a frame, or say by numbers what is to be learned, such "
                "as knots= with bounds"
            )
        return design.learning_frames(source, selection, left_out)

    if parsed.split:
        written = list(map(str, parsed.targets))
        warnings.warn(
            f"the formula has {len(written)} targets, {listed(parsed.targets)}, each with its own fit: "
            f"for their sum write I({' + '.join(written)}), and to leave this unsaid "
            f"cbind({', '.join(written)})",
            GentleWarning,
            stacklevel=4,
        )
    encoder = wilkinson.learn(parsed, source.schema(), design.levels, frames)
    for name, (lost, reference) in encoder.lost(left_out.values).items():
        warn_of_lost(lost, name, source.name, reference)
    return encoder


def _from_state(state: Mapping[str, Any]) -> Design:
    """The design of a state, its parts held against each other."""
    encoders: Mapping[str, Callable[[Any], Encoder]] = {
        "columns": plain.from_state,
        "formula": wilkinson.from_state,
    }
    try:
        encoder = encoders[state["encoder"]["kind"]](state["encoder"])
        clusters = tuple(state["clusters"])
        masses = tuple(state[part] for part in ("weights", "frequencies", "offset"))
        missing = state["missing"]
        found = filling.from_state(state["filling"])
    except (AttributeError, LookupError, TypeError):
        raise GentleError("this is not the state of a design: it is damaged") from None
    named = (*clusters, *(name for name in masses if name is not None))
    sound = all(isinstance(name, str) for name in named) and missing in get_args(Missing)
    if not sound or not {*found.columns} <= {*encoder.columns}:
        raise GentleError("this is not the state of a design: its parts contradict each other")
    weights, frequencies, offset = masses
    design = Design(
        encoder,
        encoder.columns,
        encoder.target_columns,
        encoder.levels,
        weights,
        frequencies,
        offset,
        clusters,
        missing,
        found,
    )
    if design.state() != state:
        raise GentleError("this is not the state of a design: its parts contradict each other")
    return design


def refuse_lacking(source: Source, columns: Sequence[str], design: Design) -> None:
    """Raises GentleError for a source without some column that a design needs, or with text in it."""
    schema = source.schema()
    lacking = [name for name in columns if name not in schema]
    if isinstance(source, Arrays | Named) and not design.takes_arrays and lacking:
        raise GentleError(
            "this fit has a formula or texts, so it needs rows with named columns, and was given "
            f"{source.name}: give a frame, a file or a mapping of columns, with {listed(columns)}"
        )
    for name in columns:
        if name in schema and name in design.clusters:
            refuse_as_cluster(source, name)
        elif name in schema and name in design.encoder.dates:
            refuse_other_than_dates(source, name)
        elif name in schema and (name in design.levels or name in design.encoder.compared):
            refuse_types(source, [name])
        elif name in schema:
            refuse_other_than_numbers(source, name)
        if name not in schema:
            role = _role(design, name)
            beside = f"; give it as {role}=" if role else ""
            raise GentleError(
                f"{source.name} has no column '{name}', which the fit needs: "
                f"{near(name, schema)}{beside}"
            )


def _role(design: Design, name: str) -> str:
    """The argument by which a column can be given as an array; nothing for a feature."""
    roles: dict[str | None, str] = {
        design.offset: "offset",
        design.weights: "weights",
        design.frequencies: "frequencies",
        **dict.fromkeys(design.clusters, "cluster"),
    }
    return roles.get(name, "")


def refuse_as_cluster(source: Source, name: str) -> None:
    """Raises GentleError for a column whose values cannot name clusters."""
    dtype = source.schema()[name]
    if dtype.is_nested() or isinstance(dtype, pl.Object):
        raise GentleError(
            f"column '{name}' of {source.name} holds {described(dtype)}: clusters are strings or numbers"
        )


def _kept(values: K, keep: Mask) -> K:
    return values if keep.all() else values[keep]  # type: ignore[return-value]


def _tensor(values: npt.NDArray[A]) -> torch.Tensor:
    """The numbers as a tensor over the same memory: a batch is read, never written."""
    if any(stride < 0 for stride in values.strides):
        values = np.ascontiguousarray(values)
    with warnings.catch_warnings():  # torch warns of memory that the user keeps read-only
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(values)
