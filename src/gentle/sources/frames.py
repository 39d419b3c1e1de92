"""A frame in memory: polars itself, or any table that speaks the Arrow C stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from gentle.sources.source import Chunk, Schema, bounds, numbered


@dataclass(frozen=True, eq=False)
class Frame:
    """A polars frame, read in slices."""

    frame: pl.DataFrame  # the columns that can be read
    name: str = "the frame"
    start: int = 0  # where the first row stands in the whole
    types: Schema | None = None  # of all columns, where some cannot be read
    index: tuple[str, ...] = ()  # columns that are a pandas index
    targets: tuple[str, ...] = ()  # columns that were given as y
    weights: str | None = None  # the column that was given as weights beside X and y
    row_labels: Any = None  # the pandas index of the rows, which is not among the columns
    paths: tuple[Path, ...] = ()  # of the files that it was read from
    seeks: ClassVar[bool] = True
    divides: ClassVar[bool] = True
    sparse: ClassVar[bool] = False
    replayable: ClassVar[bool] = True

    def schema(self) -> Schema:
        return self.frame.schema if self.types is None else self.types

    def height(self) -> int:
        return self.frame.height

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        start = self.start
        for table in self.frame.select(columns).iter_slices(rows):
            yield Chunk(numbered(start, start + table.height), table)
            start += table.height

    def split(self, parts: int) -> Sequence[Frame]:
        return [
            replace(self, frame=self.frame[a:b], start=self.start + a, row_labels=None)
            for a, b in bounds(self.frame.height, parts)
        ]

    def joined(self, columns: Mapping[str, pl.Series], **changes: Any) -> Frame:
        """The same rows with more columns."""
        frame = self.frame.with_columns(list(columns.values()))
        added = {name: column.dtype for name, column in columns.items()}
        types = None if self.types is None else {**self.types, **added}
        return replace(self, frame=frame, types=types, **changes)
