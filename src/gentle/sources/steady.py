"""Steady: rows that are read several times are the same each time, or a sentence says that they are not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from gentle.errors import GentleError
from gentle.sources.source import Chunk

WORD = 2**64


class Steady:
    """What the whole readings of a source found so far, against which each later one is held."""

    def __init__(self) -> None:
        self._rows: int | None = None
        self._sums: dict[str, int] = {}

    def count(self, rows: int, where: str) -> int:
        """The number of rows of a whole reading; GentleError where another found another."""
        if self._rows not in (None, rows):
            raise GentleError(
                f"{where} had {self._rows:,} rows in one reading and {rows:,} in the next: an exact answer "
                "needs the same rows each time, so keep them as they are, or copy them to a file first"
            )
        self._rows = rows
        return rows

    def watched(self, chunks: Iterator[Chunk], where: str) -> Iterator[Chunk]:
        """The chunks of a whole reading, in any order of their rows.

        Raises GentleError at their end, where values are not those of another reading.
        """
        sums: dict[str, int] = {}
        rows = 0
        for chunk in chunks:
            rows += len(chunk.rows)
            for name, number in content(chunk).items():
                sums[name] = (sums.get(name, 0) + number) % WORD
            yield chunk
        self.count(rows, where)
        for name, number in sums.items():
            if self._sums.setdefault(name, number) != number:
                raise GentleError(
                    f"{name} of {where} had other values in one reading than in the next: an exact answer "
                    "needs the same rows each time, so fix what draws them, or copy them to a file first"
                )


def content(chunk: Chunk) -> dict[str, int]:
    """A number for each column, the sum of its rows' hashes or bits: whatever the order of the rows."""
    table = chunk.table
    if isinstance(table, pl.DataFrame):
        return {column.name: _total(column.hash().to_numpy()) for column in table}
    x = table.x.data if isinstance(table.x, csr_array) else table.x
    columns = {f"X, of {table.x.shape[1]:,} columns,": x, **table.other}
    return {name: _bits(column) for name, column in columns.items()}


def _bits(values: npt.NDArray[np.number]) -> int:
    whole = np.ascontiguousarray(values)
    return _total(whole.view(np.uint32 if whole.dtype == np.float32 else np.uint64))


def _total(words: npt.NDArray[np.unsignedinteger]) -> int:
    return int(words.sum(dtype=np.uint64))
