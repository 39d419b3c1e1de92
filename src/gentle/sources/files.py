"""Files: CSV and Parquet, through polars. Each format is a reader; small files are read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl

from gentle.errors import GentleError, listed
from gentle.sources import csv, parquet
from gentle.sources.frames import Frame
from gentle.sources.source import Chunk, Schema, bounds, numbered

READERS = {".csv": csv, ".parquet": parquet}
SMALL_FILE = 2**28  # bytes: up to here a file is read into memory, once


@dataclass(frozen=True, eq=False)
class File:
    """A file that is read anew in every pass, in constant memory."""

    path: Path
    table: pl.LazyFrame
    start: int = 0  # where the first row stands in the file
    sparse: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def seeks(self) -> bool:
        return bool(READERS[self.path.suffix.lower()].SEEKS)

    def schema(self) -> Schema:
        return self.table.collect_schema()

    def height(self) -> int:
        return int(self.table.select(pl.len()).collect().item())

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        start = self.start
        tables = self.table.select(columns).collect_batches(chunk_size=rows, maintain_order=True)
        try:
            for table in tables:
                yield Chunk(numbered(start, start + table.height), table)
                start += table.height
        except pl.exceptions.PolarsError as error:
            raise READERS[self.path.suffix.lower()].explain(self.path, error) from None

    def split(self, parts: int) -> Sequence[File]:
        return [
            File(self.path, self.table.slice(a, b - a), self.start + a)
            for a, b in bounds(self.height(), parts)
        ]


def read_file(path: str | Path) -> Frame | File:
    """The rows of a CSV or Parquet file.

    Raises GentleError for a file that is not there, is empty or cannot be read, in one sentence.
    """
    path = Path(path)
    try:
        size = _checked_size(path)
        reader = READERS[path.suffix.lower()]
        if size > SMALL_FILE:
            return File(path, reader.scan(path))
        source = Frame(reader.read(path), path.name)
    except pl.exceptions.PolarsError as error:
        raise READERS[path.suffix.lower()].explain(path, error) from None
    except OSError as error:
        raise GentleError(f"{path} cannot be read: {error.strerror or error}") from None
    if source.height() == 0:
        raise GentleError(f"{path} has columns but no rows: there is nothing to fit")
    return source


def _checked_size(path: Path) -> int:
    """The size of a file in bytes; raises GentleError where there is none that can be read."""
    if path.is_dir():
        raise GentleError(f"{path} is a directory: a file is needed, ending in {_endings()}")
    if not path.exists():
        raise GentleError(f"there is no file {path}{_alternatives(path)}")
    if path.suffix.lower() not in READERS:
        raise GentleError(f"{path} must end in {_endings()}: the ending says how it is read")
    if not path.is_file():
        raise GentleError(f"{path} is not a file that can be read twice: copy it to one first")
    if (size := path.stat().st_size) == 0:
        raise GentleError(f"{path} is empty: not one byte stands in it")
    return size


def _endings() -> str:
    return " or ".join(READERS)


def _alternatives(path: Path) -> str:
    """What else stands beside a file that is missing."""
    if not path.parent.is_dir():
        return f": there is no directory {path.parent} either"
    there = sorted(p.name for p in path.parent.iterdir() if p.suffix.lower() in READERS)
    return f": beside it are {listed(there, most=4)}" if there else ""
