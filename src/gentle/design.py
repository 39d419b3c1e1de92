"""Design: which numbers a row of the source becomes. Rows: a source seen through a design."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from scipy.sparse import csr_array

from gentle import formula as wilkinson
from gentle.batch import INTERCEPT, Batch, Floats, Integers, Labels, rows_per_batch, together
from gentle.doubled import two_sum
from gentle.errors import GentleError, listed, near, warn_of_rounding
from gentle.sources import Arrays, Chunk, Matrix, Source, open_source, with_columns
from gentle.sources.source import bounds, is_number
from gentle.sparse import is_sparse, wrapped, written_out

A = TypeVar("A", bound=np.generic)
K = TypeVar("K", bound="npt.NDArray[Any] | csr_array[Any, Any]")
Sight = Floats | csr_array  # numbers (n, p), or sparse ones
Missing = Literal["drop", "raise"]
Mask = npt.NDArray[np.bool_]
Levels = Mapping[str, tuple[str, ...]]  # text column -> its levels, sorted, the reference first

WIDE = (pl.Int64, pl.UInt64, pl.Int128)
WHOLE = 2**53  # the last whole number up to which float64 has them all
MOST_LEVELS = 5_000  # of a text column: each is a dense column of x
MOSTLY_NUMBERS = 0.5  # a text column of which more than this share are numbers is a mistake
HELD_BYTES = 2**28  # up to here rows that are walked often are kept as numbers
POOL_NUMBERS = 2**23  # in memory at a time, where a stochastic pass reads a file
FRAGMENTS = 64  # that such a pass reads in random order
HEAD_ROWS = 100  # enough rows for a formula that learns nothing from them


class Encoder(Protocol):
    """How complete rows of a frame become numbers."""

    @property
    def targets(self) -> tuple[str, ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def intercept(self) -> bool: ...
    @property
    def learned(self) -> str: ...
    @property
    def computes(self) -> bool: ...
    def encode_x(self, frame: pl.DataFrame) -> Floats: ...
    def encode_y(self, frame: pl.DataFrame) -> Floats: ...
    def encode_low(self, frame: pl.DataFrame, x: Floats) -> Floats | None: ...


@dataclass(frozen=True)
class Plain:
    """Columns as they are: numbers, truths as 0 and 1, texts as one column a level but the first."""

    targets: tuple[str, ...]
    features: tuple[str, ...]
    levels: Levels
    intercept: bool

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(
            name
            for feature in self.features
            for name in (
                [f"{feature}[T.{level}]" for level in self.levels[feature][1:]]
                if feature in self.levels
                else [feature]
            )
        )

    @property
    def learned(self) -> str:
        """Nothing beside the levels."""
        return ""

    @property
    def computes(self) -> bool:
        """No column is rounded from what it stands for."""
        return False

    def encode_x(self, frame: pl.DataFrame) -> Floats:
        """(n, p)"""
        columns = list(self._columns())
        return _numbers(frame.select(columns)) if columns else np.empty((frame.height, 0))

    def encode_y(self, frame: pl.DataFrame) -> Floats:
        """(n, k)"""
        return _numbers(frame.select(self.targets))

    def encode_low(self, frame: pl.DataFrame, x: Floats) -> Floats | None:  # noqa: ARG002
        """Nothing: columns as they are lack nothing."""
        return None

    def _columns(self) -> Iterator[pl.Expr]:
        for feature in self.features:
            column = pl.col(feature)
            if feature in self.levels:
                for level in self.levels[feature][1:]:
                    yield (column == level).alias(f"{feature}[T.{level}]")
            else:
                yield column


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
        return self.encoder.names

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
            "offset": self.offset is None,
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

    def batch(self, chunk: Chunk, where: str, *, raw: bool = False) -> Batch:
        """The rows of a chunk that are complete, as numbers; `where` names their source.

        They are dense and of float64, or where they are wanted raw as sparse or as short as they come.

        Raises GentleError for an infinity, a weight below zero, a level that the fit did not see and,
        with missing="raise", a missing value, each with its row and column.
        """
        n_read = len(chunk.rows)
        sieve = _Sieve(chunk.rows, where, self.missing)
        chunk = sieve.complete(chunk, self.needed)
        x, y, low = self._numbers(chunk, where)
        weight = self._mass(chunk, self.weights, sieve)
        frequency = self._mass(chunk, self.frequencies, sieve)
        y_low = None
        if self.offset is not None:
            offset = _column(chunk, self.offset)[:, None]
            sieve.finite((self.offset,), offset)
            y, y_low = two_sum(y, -offset)
        if not (isinstance(chunk.table, Matrix) and chunk.table.finite):
            sieve.finite(self.names, x)
        sieve.finite(self.targets, y)
        groups = tuple(_labels(chunk, name, sieve) for name in self.clusters)
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
        )

    @property
    def explaining(self) -> tuple[str, ...]:
        """The source's columns that a prediction needs, each once."""
        offset = () if self.offset is None else (self.offset,)
        return tuple(dict.fromkeys((*self.columns, *offset)))

    def each_features(self, source: Source, size: int) -> Iterator[tuple[Sight, Floats, Integers]]:
        """`features` of a source, so many rows at a time."""
        if not self.explaining:  # the constant alone
            height = source.height()
            yield np.empty((height, 0)), np.zeros(height), np.arange(height)
            return
        for chunk in source.scan(self.explaining, size):
            yield self.features(chunk, source.name)

    def opened(self, data: Any, offset: Any = None) -> Source:
        """A source for rows that are to be predicted, with the columns that this needs."""
        if offset is not None and self.offset is None:
            raise GentleError("an offset was given to predict, and the fit has none: leave it out")
        source = open_source(data, self.columns)
        if offset is not None:
            source = with_columns(source, {self.offset or "(offset)": offset})
        refuse_lacking(source, self.explaining, self)
        return source

    def features(self, chunk: Chunk, where: str) -> tuple[Sight, Floats, Integers]:
        """(x, offset, rows) of the rows that are complete: what a prediction needs."""
        sieve = _Sieve(chunk.rows, where, "drop")
        needed = self.columns if self.offset is None else (*self.columns, self.offset)
        chunk = sieve.complete(chunk, needed)
        if isinstance(chunk.table, Matrix):
            x = chunk.table.x
        else:
            frame = _with_levels(chunk, self.levels, where)
            x = self.encoder.encode_x(frame.select(self.columns) if self.columns else frame)
        sieve.finite(self.names, x)
        offset = np.zeros(x.shape[0]) if self.offset is None else _column(chunk, self.offset)
        sieve.finite(("offset",), offset[:, None])
        keep = sieve.keep
        return _kept(x, keep), _kept(offset, keep), _kept(chunk.rows, keep)

    def _numbers(self, chunk: Chunk, where: str) -> tuple[Sight, Floats, Floats | None]:
        """(x, y, low) of a chunk: (n, p), (n, k) and, where x is computed, what it lacks (n, p)."""
        if isinstance(chunk.table, Matrix):
            columns = [chunk.table.other[name] for name in self.targets]
            return (
                chunk.table.x,
                columns[0][:, None] if len(columns) == 1 else np.stack(columns, 1),
                None,
            )
        own = list(dict.fromkeys((*self.columns, *self.target_columns)))
        frame = _with_levels(chunk, self.levels, where).select(own)
        x = self.encoder.encode_x(frame)
        return x, self.encoder.encode_y(frame), self.encoder.encode_low(frame, x)

    def _mass(self, chunk: Chunk, name: str | None, sieve: _Sieve) -> Floats | None:
        """Weights or frequencies, (n,), where the design has them."""
        if name is None:
            return None
        values = _column(chunk, name)
        sieve.finite((name,), values[:, None])
        sieve.positive(name, values)
        return values


def _column(chunk: Chunk, name: str) -> Floats:
    """A column of numbers beside x, (n,)."""
    if isinstance(chunk.table, Matrix):
        return chunk.table.other[name]
    return _numbers(chunk.table.select(name))[:, 0]


def _labels(chunk: Chunk, name: str, sieve: _Sieve) -> Labels:
    """Which cluster each row belongs to, (n,): texts, whole numbers, or numbers."""
    if isinstance(chunk.table, Matrix):
        labels = chunk.table.labels[name]
        if labels.dtype.kind == "f":
            sieve.finite((name,), labels[:, None].astype(np.float64))
        return labels
    column = chunk.table[name]
    whole = column.dtype.is_integer() and column.dtype not in (pl.UInt64, pl.Int128)
    if whole or column.dtype.is_temporal() or column.dtype == pl.Boolean:
        return column.to_physical().cast(pl.Int64).to_numpy()
    if column.dtype.is_float():
        return column.cast(pl.Float64).to_numpy()
    return column.cast(pl.String).to_numpy().astype(str)


def _with_levels(chunk: Chunk, levels: Levels, where: str) -> pl.DataFrame:
    """The chunk's frame, its texts as one of the levels that the fit saw."""
    assert isinstance(chunk.table, pl.DataFrame)
    frame = chunk.table
    for name in [name for name in levels if name in frame.columns]:
        texts = frame[name].cast(pl.String)
        unseen = ~texts.is_in(levels[name])
        if unseen.any():
            at = int(unseen.arg_max() or 0)
            raise GentleError(
                f"column '{name}' of {where} has '{texts[at]}' in row {chunk.rows[at] + 1:,}, "
                f"a level that the fit did not see: {near(str(texts[at]), levels[name])}"
            )
        frame = frame.with_columns(texts.cast(pl.Enum(levels[name])))
    return frame


class _Sieve:
    """Which rows of a chunk go on, why the others do not, and what is an error."""

    def __init__(self, rows: Integers, where: str, missing: Missing) -> None:
        self.rows = rows
        self.keep: Mask = np.ones(len(rows), dtype=bool)  # of the rows that are still complete
        self.missing_by_column: dict[str, int] = {}
        self.n_weightless = 0
        self._where = where
        self._missing = missing

    def complete(self, chunk: Chunk, columns: Sequence[str]) -> Chunk:
        """The chunk without the rows that have a null or a NaN in one of these columns."""
        if isinstance(chunk.table, Matrix):
            return chunk  # numbers already: `finite` sees their NaN
        for name in columns:
            column = chunk.table[name]
            gone = column.is_null()
            if column.dtype.is_float():
                gone = gone | column.is_nan().fill_null(value=False)
            if gone.any():
                self._leave_out(name, gone.to_numpy())
        if self.keep.all():
            return chunk
        chunk = Chunk(self.rows[self.keep], chunk.table.filter(pl.Series(self.keep)))
        self.rows, self.keep = chunk.rows, np.ones(len(chunk.rows), dtype=bool)
        return chunk

    def finite(self, names: Sequence[str], values: Sight) -> None:
        """Leave out rows of values (n, m) with a NaN; refuse an infinity."""
        with np.errstate(invalid="ignore", over="ignore"):
            if np.isfinite(values.sum()):  # one number that is not finite spoils the sum
                return
        if isinstance(values, csr_array):
            bad = np.unique(values.indices[~np.isfinite(values.data)])
            names, values = [names[at] for at in bad], values[:, bad].toarray()
        for name, column in zip(names, values.T, strict=True):
            infinite = np.isinf(column) & self.keep
            if infinite.any():
                raise GentleError(
                    f"column '{name}' of {self._where} is infinite in row {self._first(infinite)}: "
                    "leave the row out or give it a number"
                )
            gone = np.isnan(column) & self.keep
            if gone.any():
                self._leave_out(name, gone)

    def positive(self, name: str, values: Floats) -> None:
        """Leave out rows of weight zero, as if they were not there; refuse a weight below zero."""
        below = values < 0
        if below.any():
            raise GentleError(
                f"weights and frequencies must be 0 or more, but '{name}' of {self._where} is "
                f"{values[below][0]:g} in row {self._first(below)}"
            )
        zero = (values == 0) & self.keep
        self.n_weightless += int(zero.sum())
        self.keep &= ~zero

    def _leave_out(self, name: str, gone: Mask) -> None:
        if self._missing == "raise":
            raise GentleError(
                f"column '{name}' of {self._where} has a missing value in row {self._first(gone)}, "
                "and missing is to be refused ('raise'): 'drop' leaves such rows out"
            )
        self.missing_by_column[name] = self.missing_by_column.get(name, 0) + int(gone.sum())
        self.keep &= ~gone

    def _first(self, mask: Mask) -> str:
        """The first row of a mask as people count: from 1, the header not among them."""
        return f"{self.rows[int(mask.argmax())] + 1:,}"


@dataclass(frozen=True)
class Rows:
    """A source seen through a design: what a pass walks over, batch by batch."""

    source: Source
    design: Design
    batch_rows: int | None = None  # by default as many as a core's cache holds
    raw: bool = False  # whether sparse rows and float32 stay so

    def __iter__(self) -> Iterator[Batch]:
        width = len(self.design.names) + len(self.design.targets)
        size = self.batch_rows or rows_per_batch(width)
        for chunk in self.source.scan(self.design.needed, size):
            yield self.design.batch(chunk, self.source.name, raw=self.raw)

    @property
    def single(self) -> bool:
        """Whether some of the data are float32."""
        schema = self.source.schema()
        return any(schema[name] == pl.Float32 for name in self.design.needed if name in schema)

    def split(self, parts: int) -> Sequence[Rows]:
        """The same rows in so many parts, in order."""
        if parts == 1:
            return [self]
        return [replace(self, source=part) for part in self.source.split(parts)]

    def pools(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Fragments of the source in random order, as many at a time as a pool holds."""
        pieces = self.split(FRAGMENTS) if self.source.seeks else [self]
        pool: list[Batch] = []
        for at in rng.permutation(len(pieces)):
            for batch in pieces[at]:
                pool.append(batch)
                if sum(part.x.numel() for part in pool) >= POOL_NUMBERS:
                    yield together(pool)
                    pool = []
        if pool:
            yield together(pool)

    def held(self) -> Rows | Held:
        """The rows as numbers in memory, where they are there already or take little of it."""
        there = self.source.sparse and self.source.height()
        if there or _in_place(self.source, self.design):
            once = replace(self, batch_rows=max(1, self.source.height()), raw=True)
            return Held.of(together(list(once)))
        width = len(self.design.names) + len(self.design.targets)
        if 8 * self.source.height() * width > HELD_BYTES:
            return self
        return Held(tuple(self))


@dataclass(frozen=True, eq=False)
class Held:
    """Batches kept in memory, for rows that are walked over again and again."""

    batches: tuple[Batch, ...]
    whole: Batch | None = None  # all of them as one, where they lie side by side

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
        """All of the rows as one; where that is a copy, every stochastic pass walks the same."""
        return together(self.batches) if self.whole is None else self.whole


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
) -> Design:
    """The design of a source: from a formula, or from its targets and their features.

    Raises GentleError for a name that does not exist and for a column that is no number and no text.
    """
    if missing not in ("drop", "raise"):
        raise GentleError(f"missing must be 'drop' or 'raise', and is {missing!r}")
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
        if schema[name].is_nested() or schema[name] == pl.Object:
            raise GentleError(
                f"column '{name}' of {source.name} holds {schema[name]}: clusters are texts or numbers"
            )
    if twice := sorted({name for name in targets if list(targets).count(name) > 1}):
        raise GentleError(f"a target is named twice: {listed(twice)}")
    if formula is not None:
        if targets or features is not None:
            raise GentleError("give a formula, or a target and its features, but not both")
        design = _from_formula(source, formula, (*extra, *clusters), missing)
    else:
        aside = (*extra, *clusters)
        design = _from_columns(source, targets, features, intercept, aside, missing)
    names = Counter((INTERCEPT,) * design.intercept + design.names)
    if twice := sorted(name for name, times in names.items() if times > 1):
        raise GentleError(f"each column of the model needs its own name: two are {listed(twice)}")
    return replace(
        design,
        weights=weights,
        frequencies=frequencies,
        offset=offset,
        clusters=tuple(clusters),
    )


def _from_columns(
    source: Source,
    targets: Sequence[str],
    features: Sequence[str] | None,
    intercept: bool,
    aside: Sequence[str],
    missing: Missing,
) -> Design:
    schema = source.schema()
    if not targets:
        raise GentleError(
            f"which column of {source.name} is the target? Name it with target (--target), or give "
            f"a formula such as '{list(schema)[-1]} ~ .'"
        )
    if features is None:
        features = [name for name in schema if name not in {*targets, *aside}]
    for name in features:
        if name not in schema:
            raise GentleError(f"{source.name} has no column '{name}': {near(name, schema)}")
    for target in targets:
        if target in features:
            raise GentleError(
                f"the target '{target}' is among the features: it would explain itself"
            )
        refuse_other_than_numbers(source, target)
    _refuse_types(source, features)
    levels = {name: _levels(source, name) for name in features if _is_text(schema[name])}
    encoder = Plain(tuple(targets), tuple(features), levels, intercept)
    return Design(encoder, tuple(features), tuple(targets), levels, missing=missing)


def _from_formula(source: Source, text: str, aside: Sequence[str], missing: Missing) -> Design:
    schema = source.schema()
    if isinstance(source, Arrays):
        raise GentleError("a formula needs columns with names: give a frame or a file, not arrays")
    parsed = wilkinson.parse(text, schema, aside)
    _refuse_types(source, parsed.columns)
    for name in parsed.target_columns:
        refuse_other_than_numbers(source, name)
    levels = {name: _levels(source, name) for name in parsed.columns if _is_text(schema[name])}
    if overlap := set(parsed.target_columns) & set(parsed.feature_columns):
        raise GentleError(f"{listed(overlap)} stands on both sides of '~' in '{text}'")
    chunk = _complete_rows(source, parsed.columns, all_rows=parsed.learns)
    encoder = wilkinson.learn(parsed, _with_levels(chunk, levels, source.name))
    return Design(encoder, parsed.feature_columns, parsed.target_columns, levels, missing=missing)


def _complete_rows(source: Source, columns: Sequence[str], *, all_rows: bool) -> Chunk:
    """The rows without a missing value in these columns: all of them, or a few."""
    pieces = []
    for chunk in source.scan(columns, rows_per_batch(1)):
        pieces.append(_Sieve(chunk.rows, source.name, "drop").complete(chunk, columns))
        if not all_rows and len(pieces[-1].rows):
            break
    if not pieces:
        raise GentleError(f"{source.name} has columns but no rows: there is nothing to fit")
    tables = [piece.table for piece in pieces if isinstance(piece.table, pl.DataFrame)]
    whole = Chunk(np.concatenate([piece.rows for piece in pieces]), pl.concat(tables))
    return whole if all_rows else Chunk(whole.rows[:HEAD_ROWS], pl.concat(tables).head(HEAD_ROWS))


def _levels(source: Source, name: str) -> tuple[str, ...]:
    """The levels of a text column over all rows, sorted; the first is the reference."""
    seen: dict[str, int] = {}
    n_texts = n_numbers = 0
    for rows, table in source.scan([name], rows_per_batch(1)):
        assert isinstance(table, pl.DataFrame)
        texts = table[name].cast(pl.String)
        numbers = texts.str.strip_chars().cast(pl.Float64, strict=False)
        n_texts += len(texts) - texts.null_count()
        n_numbers += len(numbers) - numbers.null_count()
        for level in texts.unique(maintain_order=True).drop_nulls():
            if level not in seen:
                seen[level] = int(rows[int((texts == level).arg_max() or 0)])
        if len(seen) > MOST_LEVELS:
            break
    words = {level: row for level, row in seen.items() if not is_number(level)}
    if words and n_numbers > MOSTLY_NUMBERS * n_texts:
        level, row = next(iter(words.items()))
        raise GentleError(
            f"column '{name}' of {source.name} should be numbers, as {n_numbers:,} of its "
            f"{n_texts:,} values are, but holds '{level}' in row {row + 1:,}: mend it, or leave it "
            "empty for a missing value"
        )
    if len(seen) > MOST_LEVELS:
        raise GentleError(
            f"column '{name}' of {source.name} is text with more than {MOST_LEVELS:,} levels: "
            "leave it out with a formula or features="
        )
    return tuple(sorted(seen))


def refuse_lacking(source: Source, columns: Sequence[str], design: Design) -> None:
    """Raises GentleError for a source without some column that a design needs, or with text in it."""
    if isinstance(source, Arrays) and not design.takes_arrays:
        raise GentleError(
            "this fit has a formula or texts, so it needs rows with named columns: "
            "give a frame or a file, not an array"
        )
    schema = source.schema()
    for name in columns:
        if name in schema and name not in design.levels:
            refuse_other_than_numbers(source, name)
        if name not in schema:
            beside = "; give it as offset=" if name == design.offset else ""
            raise GentleError(
                f"{source.name} has no column '{name}', which the fit needs: "
                f"{near(name, schema)}{beside}"
            )


def refuse_other_than_numbers(source: Source, name: str) -> None:
    """Raises GentleError where a column that must be numbers is not, with the first row that shows it."""
    _refuse_types(source, [name])
    if not _is_text(source.schema()[name]):
        return
    where = f"column '{name}' of {source.name} must be numbers, but is text"
    for rows, table in source.scan([name], rows_per_batch(1)):
        assert isinstance(table, pl.DataFrame)
        for row, text in zip(rows, table[name].cast(pl.String), strict=True):
            if text is not None and not is_number(text):
                raise GentleError(f"{where}: '{text}' in row {row + 1:,}")
    raise GentleError(where)


def _refuse_types(source: Source, names: Sequence[str]) -> None:
    """Raises GentleError for a column that is neither numbers, truths nor text."""
    schema = source.schema()
    for name in names:
        dtype = schema[name]
        if isinstance(dtype, pl.Float64 | pl.Float32):
            continue  # there may be a hundred thousand of them
        if dtype.is_temporal():
            raise GentleError(
                f"column '{name}' of {source.name} holds dates or times ({dtype}): give a number made "
                "of it, such as days since a start, or leave it out with a formula"
            )
        if dtype == pl.Null:
            raise GentleError(f"column '{name}' of {source.name} is empty: every value is missing")
        if not (dtype.is_numeric() or dtype == pl.Boolean or _is_text(dtype)):
            raise GentleError(
                f"column '{name}' of {source.name} holds {dtype}: numbers, truths or text are needed"
            )


def _is_text(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum)


def _numbers(frame: pl.DataFrame) -> Floats:
    """A frame of numbers and truths as a row-major matrix."""
    for column in frame:
        if column.dtype in WIDE and column.len() - column.null_count():
            low, high = column.cast(pl.Float64).min(), column.cast(pl.Float64).max()
            if max(-low, high) > WHOLE:  # type: ignore[operator, type-var]
                warn_of_rounding(column.name)
    return np.ascontiguousarray(frame.select(pl.all().cast(pl.Float64)).to_numpy())


def _kept(values: K, keep: Mask) -> K:
    return values if keep.all() else values[keep]  # type: ignore[return-value]


def _tensor(values: npt.NDArray[A]) -> torch.Tensor:
    """The numbers as a tensor over the same memory: a batch is read, never written."""
    if any(stride < 0 for stride in values.strides):
        values = np.ascontiguousarray(values)
    with warnings.catch_warnings():  # torch warns of memory that the user keeps read-only
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(values)
