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
from gentle.sources.derived import Derived
from gentle.sources.source import Chunk, Matrix, Source


@dataclass(frozen=True, eq=False)
class Named(Derived):
    """Dense arrays, or batches of them, whose chunks come as frames of the columns that are asked for."""

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
