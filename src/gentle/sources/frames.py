"""A frame in memory: polars itself, or any table that speaks the Arrow C stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import polars as pl

from gentle.sources.source import Chunk, Schema, bounds, numbered


@dataclass(frozen=True, eq=False)
class Frame:
    """A polars frame, read in slices."""

    frame: pl.DataFrame
    name: str = "the frame"
    start: int = 0  # where the first row stands in the whole
    paths: tuple[Path, ...] = ()  # of the files that it was read from
    seeks: ClassVar[bool] = True
    divides: ClassVar[bool] = True
    sparse: ClassVar[bool] = False
    replayable: ClassVar[bool] = True

    def schema(self) -> Schema:
        return self.frame.schema

    def height(self) -> int:
        return self.frame.height

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        start = self.start
        for table in self.frame.select(columns).iter_slices(rows):
            yield Chunk(numbered(start, start + table.height), table)
            start += table.height

    def split(self, parts: int) -> Sequence[Frame]:
        return [
            replace(self, frame=self.frame[a:b], start=self.start + a)
            for a, b in bounds(self.frame.height, parts)
        ]
