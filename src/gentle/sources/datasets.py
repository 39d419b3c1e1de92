"""A dataset of pyarrow: rows that are read anew in each pass, only the columns that are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from gentle.errors import GentleError, first_line
from gentle.sources.frames import Frame
from gentle.sources.memory import frame_of
from gentle.sources.source import Chunk, Schema, in_runs, numbered
from gentle.sources.steady import Steady


@dataclass(frozen=True, eq=False)
class ArrowDataset:
    """The fragments of a dataset, in order."""

    dataset: Any
    name: str = "the dataset"
    start: int = 0  # where the first row stands in the whole
    stop: int | None = None  # and the one after the last
    steady: Steady = field(default_factory=Steady)
    seeks: ClassVar[bool] = False
    divides: ClassVar[bool] = False
    sparse: ClassVar[bool] = False
    replayable: ClassVar[bool] = True

    def schema(self) -> Schema:
        return self._head.schema()

    @property
    def index(self) -> tuple[str, ...]:
        return self._head.index

    def height(self) -> int:
        return self._height

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        again = (self.start, self.stop) == (0, None)
        chunks = self._chunks(columns, rows)
        yield from self.steady.watched(chunks, self.name) if again else chunks

    def split(self, parts: int) -> Sequence[ArrowDataset]:
        return [self] if parts == 1 else in_runs(self, parts)

    def _chunks(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        at = 0
        for batch in self._batches(columns, rows):
            a = max(self.start - at, 0)
            b = batch.num_rows if self.stop is None else min(self.stop - at, batch.num_rows)
            if a < b:
                table = frame_of(batch.slice(a, b - a)).frame
                yield Chunk(numbered(at + a, at + b), table)
            at += batch.num_rows
            if self.stop is not None and at >= self.stop:
                return

    def _batches(self, columns: Sequence[str], rows: int) -> Iterator[Any]:
        try:
            yield from self.dataset.to_batches(columns=list(columns), batch_size=rows)
        except (
            OSError,
            ValueError,
            NotImplementedError,
        ) as error:  # of pyarrow, whose errors are these
            raise GentleError(f"{self.name} cannot be read: {first_line(error)}") from None

    @cached_property
    def _head(self) -> Frame:
        return frame_of(self.dataset.schema.empty_table())

    @cached_property
    def _height(self) -> int:
        if self.stop is not None:
            return self.stop - self.start
        return self.steady.count(self.dataset.count_rows(), self.name)
