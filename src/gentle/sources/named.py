"""Arrays as a table of named columns, for a formula."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from gentle.errors import GentleError
from gentle.forking import reject_lost_pool
from gentle.sources.arrays import Arrays
from gentle.sources.batches import Batches
from gentle.sources.source import Chunk, Matrix, Schema, Source


@dataclass(frozen=True, eq=False)
class Named:
    """Dense arrays, or batches of them, whose chunks come as frames of the columns that are asked for."""

    source: Source
    sparse: bool = False

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def start(self) -> int:
        return self.source.start

    @property
    def replayable(self) -> bool:
        return self.source.replayable

    @property
    def seeks(self) -> bool:
        return self.source.seeks

    @property
    def divides(self) -> bool:
        return self.source.divides

    def schema(self) -> Schema:
        return self.source.schema()

    def height(self) -> int:
        return self.source.height()

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        for numbers, table in self.source.scan(columns, rows):
            assert isinstance(table, Matrix)
            beside: Mapping[str, Any] = {**table.other, **table.labels}
            of_x = (name for name in columns if name not in beside)
            x = dict(zip(of_x, table.x.T, strict=True))
            values = {name: beside[name] if name in beside else x[name] for name in columns}
            yield Chunk(numbers, pl.DataFrame(values))

    def split(self, parts: int) -> Sequence[Named]:
        return [Named(part) for part in self.source.split(parts)]


def with_names(source: Source) -> Source:
    """The source as a table of named columns, where it is of arrays; any other as it is.

    Raises GentleError for a sparse matrix, whose columns a formula would write out.
    """
    if not is_of_arrays(source):
        return source
    reject_lost_pool()
    if source.sparse:
        raise GentleError(
            "a formula needs dense columns, and X is sparse: give X.toarray(), or leave the formula out"
        )
    return Named(source)


def is_of_arrays(source: Source) -> bool:
    """Whether rows are arrays, or batches of them."""
    return isinstance(source.first if isinstance(source, Batches) else source, Arrays)
