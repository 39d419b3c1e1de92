"""fold: one pass over rows. The parts fix the arithmetic, the engine only the place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Generic, Protocol, TypeVar

from gentle.batch import Batch
from gentle.engines import Engine
from gentle.statistics import Statistic

S = TypeVar("S", bound=Statistic)


class Divisible(Protocol):
    """Batches that can be had in numbered parts, and where they are worked on."""

    @property
    def engine(self) -> Engine: ...

    @property
    def parts(self) -> int:
        """How many parts a pass makes of them."""

    def split(self, parts: int) -> Sequence[Iterable[Batch]]: ...


@dataclass(frozen=True)
class Partial(Generic[S]):
    """The statistic of the parts from `start` up to `stop`, each of which is in it once."""

    start: int
    stop: int
    statistic: S

    def merge(self, other: Partial[S]) -> Partial[S]:
        """The two together; RuntimeError where the other one is not that of the next parts."""
        if other.start != self.stop:
            raise RuntimeError(
                f"a pass got parts {other.start} to {other.stop - 1} where part {self.stop} was due"
            )
        return Partial(self.start, other.stop, self.statistic.merge(other.statistic))


def fold(zero: S, rows: Divisible) -> S:
    """The statistic of the rows: each part is added up by itself, the parts merge in a fixed tree.

    Raises RuntimeError where an engine brings a part back twice or not at all.
    """
    parts = list(enumerate(rows.split(rows.parts)))
    found: Partial[S] = rows.engine.reduce(partial(_added_up, zero), parts, Partial.merge)
    if (found.start, found.stop) != (0, len(parts)):
        raise RuntimeError(
            f"a pass over {len(parts)} parts got parts {found.start} to {found.stop - 1}"
        )
    return found.statistic


def _added_up(zero: S, numbered: tuple[int, Iterable[Batch]]) -> Partial[S]:
    number, batches = numbered
    return Partial(
        number, number + 1, reduce(lambda statistic, batch: statistic.add(batch), batches, zero)
    )
