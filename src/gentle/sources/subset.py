"""Some rows of another source: the train set and the test set of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from gentle.errors import GentleError, is_number, show_value
from gentle.sources.derived import Derived, check_order
from gentle.sources.source import Chunk, Matrix, Source


@dataclass(frozen=True, eq=False)
class Subset(Derived):
    """The rows of a source that a mask over its row numbers keeps."""

    keep: npt.NDArray[np.bool_]  # (n,) one truth for each of its rows

    def height(self) -> int:
        return int(self.keep.sum())

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        for numbers, table in self.source.scan(columns, rows):
            at = numbers - self.start
            if len(at) and at[-1] >= len(self.keep):
                raise GentleError(
                    f"{self.name} has more rows than when they were counted: keep it as it is"
                )
            keep = self.keep[at]
            if isinstance(table, Matrix):
                other = {name: column[keep] for name, column in table.other.items()}
                labels = {name: column[keep] for name, column in table.labels.items()}
                yield Chunk(numbers[keep], Matrix(table.x[keep], other, labels, table.finite))
            else:
                yield Chunk(numbers[keep], table.filter(pl.Series(keep)))

    def split(self, parts: int) -> Sequence[Subset]:
        pieces = self.source.split(parts)
        starts = [part.start - self.start for part in pieces]
        ends = [*starts[1:], len(self.keep)]
        return [
            Subset(part, self.keep[a:b]) for part, a, b in zip(pieces, starts, ends, strict=True)
        ]


def hold_out(source: Source, share: float, *, shuffle: bool, seed: int) -> tuple[Subset, Subset]:
    """(train, test): the last share of the rows is kept for the test, or a random one.

    Raises GentleError for a share that leaves one side without rows.
    """
    if not is_number(share):
        raise GentleError(
            f"a test share must be a number between 0 and 1, and is {show_value(share)}"
        )
    check_order(source, "test= needs")
    height = source.height()
    train = height - round(height * share) if 0 < share < 1 else 0
    if not 0 < train < height:
        raise GentleError(
            f"a test share must lie between 0 and 1 and leave rows on both sides: "
            f"{share:g} of the {height:,} rows of {source.name} does not"
        )
    keep = np.arange(height) < train
    if shuffle:
        keep = np.random.default_rng(seed).permutation(keep)
    return Subset(source, keep), Subset(source, ~keep)
