"""Shuffling: rows in random order, for a stochastic pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gentle.batch import Batch, Integers
from gentle.engines import Engine
from gentle.passes import Divisible

LONGEST_RUN = 8  # neighbours that stay together: one look at memory fetches them
RUNS = 4_096  # at least so many, so that neighbours that are alike do not matter


class Walkable(Divisible, Protocol):
    """Rows that can also be had in random order."""

    def __iter__(self) -> Iterator[Batch]: ...

    def split(self, parts: int) -> Sequence[Walkable]: ...

    def pools(self, rng: np.random.Generator) -> Iterator[Batch]:
        """All rows once, in batches that each hold rows from far apart, as far as they can be had."""


@dataclass(frozen=True, eq=False)
class Changed:
    """Rows of which every batch is changed on its way, such as to one of its targets."""

    rows: Walkable
    change: Callable[[Batch], Batch]

    @property
    def engine(self) -> Engine:
        return self.rows.engine

    @property
    def parts(self) -> int:
        return self.rows.parts

    def __iter__(self) -> Iterator[Batch]:
        return map(self.change, self.rows)

    def split(self, parts: int) -> Sequence[Changed]:
        """The same rows in so many parts, in order."""
        return [Changed(part, self.change) for part in self.rows.split(parts)]

    def pools(self, rng: np.random.Generator) -> Iterator[Batch]:
        """They too."""
        return map(self.change, self.rows.pools(rng))


def shuffled(
    n: int, size: int, rng: np.random.Generator, longest_run: int = LONGEST_RUN
) -> Iterator[Integers]:
    """The places of n rows in random order, so many at a time, short runs of neighbours together."""
    run = min(longest_run, max(1, n // RUNS))
    runs = rng.permutation(-(-n // run))
    many = max(1, size // run)
    for start in range(0, len(runs), many):
        at = (runs[start : start + many, None] * run + np.arange(run)).ravel()
        yield at[at < n]
