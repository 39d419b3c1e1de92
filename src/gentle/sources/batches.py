"""Batches: rows that Python hands out piece by piece, as a generator or a loader of torch does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import polars as pl
from scipy.sparse import csr_array, vstack

from gentle.errors import GentleError, listed
from gentle.sources.arrays import Arrays
from gentle.sources.source import (
    Chunk,
    Matrix,
    Schema,
    Source,
    described,
    in_runs,
    joinable,
    numbered,
)
from gentle.sources.steady import Steady, content

Opener = Callable[[Any], Source]  # of one piece: a pair, a frame or a mapping of columns

COMPARED = 16  # rows, whose order says whether batches are shuffled


class Once:
    """An iterator, whose first piece may be looked at before it is read."""

    def __init__(self, pieces: Iterator[Any]) -> None:
        self._pieces = pieces
        self._first: list[Any] = []
        self._read = False

    def first(self) -> Any:
        if not self._first:
            self._first = list(_head(self._pieces))
        return self._first[0]

    def __call__(self) -> Iterator[Any]:
        if self._read:
            raise GentleError(
                "these rows can be read only once, and what is asked for reads them again: give a function "
                "that makes the batches anew, a file or a frame"
            )
        self._read = True
        yield from self._first
        self._first = []
        yield from self._pieces


class Again:
    """Batches that can be had as often as asked."""

    def __init__(self, make: Callable[[], Iterable[Any]]) -> None:
        self._make = make
        self._last: Iterator[Any] | None = None

    def first(self) -> Any:
        return _head(self())[0]

    def __call__(self) -> Iterator[Any]:
        made = self._make()
        if isinstance(made, Iterator):
            if made is self._last:
                raise GentleError(
                    "the function gave the same iterator again, whose first rows are gone: let it make "
                    "a new one each time, or give the iterator itself"
                )
            self._last = made
        if not isinstance(made, Iterable):
            raise GentleError(
                f"the function must make batches of rows, and made {type(made).__name__}"
            )
        return iter(made)


@dataclass(frozen=True, eq=False)
class Batches:
    """The pieces under each other; they may be of any length, and have the columns of the first."""

    pieces: Once | Again
    opened: Opener
    name: str = "the batches"
    start: int = 0  # where the first row stands in the whole
    stop: int | None = None  # and the one after the last
    steady: Steady = field(default_factory=Steady)
    seeks: ClassVar[bool] = False
    divides: ClassVar[bool] = False

    @property
    def replayable(self) -> bool:
        return isinstance(self.pieces, Again)

    @property
    def sparse(self) -> bool:
        return self.first.sparse

    @cached_property
    def first(self) -> Source:
        """The first piece."""
        return self.opened(self.pieces.first())

    @property
    def ordered(self) -> bool:
        """Whether the rows come in the same order again, as far as the first piece says."""
        again = self.opened(self.pieces.first())
        return _first_rows(self.first) == _first_rows(again)

    def schema(self) -> Schema:
        return self.first.schema()

    def height(self) -> int:
        return self._height

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        waiting: list[Chunk] = []
        height = 0
        chunks = self._chunks(columns, rows)
        again = self.replayable and (self.start, self.stop) == (0, None)
        for chunk in self.steady.watched(chunks, self.name) if again else chunks:
            if height + len(chunk.rows) > rows:
                yield _joined(waiting)
                waiting, height = [], 0
            waiting.append(chunk)
            height += len(chunk.rows)
        if waiting:
            yield _joined(waiting)

    def split(self, parts: int) -> Sequence[Batches]:
        return [self] if parts == 1 else in_runs(self, parts)

    def _chunks(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The rows of this part in chunks as they come, none longer than asked for."""
        at = 0
        for number, piece in enumerate(self.pieces(), 1):
            if self.stop is not None and at >= self.stop:
                return
            source = self.opened(piece)
            self._check(source, columns, number)
            for chunk in source.scan(columns, rows):
                height = len(chunk.rows)
                a = max(self.start - at, 0)
                b = height if self.stop is None else min(self.stop - at, height)
                if a < b:
                    yield Chunk(numbered(at + a, at + b), _cut(chunk.table, a, b))
                at += height

    def _check(self, source: Source, columns: Sequence[str], number: int) -> None:
        """Raises GentleError for a piece that lacks a column, or has another type in it."""
        if (_named(source), source.sparse) != (_named(self.first), self.sparse):
            raise GentleError(
                f"batch {number:,} and the first one are of two kinds, such as a frame and arrays, or "
                "dense and sparse: all need the same"
            )
        schema, first = source.schema(), self.schema()
        lacking = [name for name in columns if name not in schema]
        more = [name for name in schema if name not in first] if _named(source) else []
        if apart := lacking or more:
            raise GentleError(
                f"batch {number:,} has {'no ' if lacking else ''}{listed(apart, most=4)}, which the "
                f"first one has{'' if lacking else ' not'}: all need the same columns"
            )
        if len(schema) != len(first) and not _named(source):
            raise GentleError(
                f"batch {number:,} has {len(schema):,} columns, and the first one has {len(first):,}: all "
                "need the same"
            )
        for name in columns:
            if not joinable(first[name], schema[name]):
                raise GentleError(
                    f"column '{name}' holds {described(first[name])} in the first batch and "
                    f"{described(schema[name])} in batch {number:,}: one type is needed"
                )

    @cached_property
    def _height(self) -> int:
        if self.stop is not None:
            return self.stop - self.start
        rows = sum(self.opened(piece).height() for piece in self.pieces())
        return self.steady.count(rows, self.name)


def _named(source: Source) -> bool:
    return not isinstance(source, Arrays)


def _head(pieces: Iterator[Any]) -> list[Any]:
    """The first piece; raises GentleError where there is none."""
    for piece in pieces:
        return [piece]
    raise GentleError("the batches came to an end before the first one: there is nothing to fit")


def _first_rows(source: Source) -> list[dict[str, int]]:
    """The content of some rows, each by itself."""
    chunks = source.scan(list(source.schema()), 1)
    return [content(chunk) for chunk in islice(chunks, COMPARED)]


def _cut(table: pl.DataFrame | Matrix, a: int, b: int) -> pl.DataFrame | Matrix:
    if isinstance(table, pl.DataFrame):
        return table[a:b]
    if (a, b) == (0, table.x.shape[0]):
        return table
    other = {name: column[a:b] for name, column in table.other.items()}
    labels = {name: column[a:b] for name, column in table.labels.items()}
    return Matrix(table.x[a:b], other, labels, table.finite)


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks under each other: small pieces are worked on together."""
    if len(chunks) == 1:
        return chunks[0]
    rows = np.concatenate([chunk.rows for chunk in chunks])
    tables = [chunk.table for chunk in chunks]
    frames = [table for table in tables if isinstance(table, pl.DataFrame)]
    if frames:
        return Chunk(rows, pl.concat(frames, how="vertical_relaxed"))
    matrices = [table for table in tables if isinstance(table, Matrix)]
    x: Any = [matrix.x for matrix in matrices]
    whole = vstack(x, format="csr") if isinstance(x[0], csr_array) else np.concatenate(x)
    other = _columns([matrix.other for matrix in matrices])
    labels = _columns([matrix.labels for matrix in matrices])
    return Chunk(rows, Matrix(whole, other, labels, all(matrix.finite for matrix in matrices)))


def _columns(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
