"""fold: one pass over rows. The parts fix the arithmetic, the engine only the place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial, reduce
from typing import Protocol, TypeVar

from gentle.batch import Batch
from gentle.engines import Engine, over_all
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


def fold(zero: S, rows: Divisible) -> S:
    """The statistic of the rows: each part is added up by itself, the parts merge in a fixed tree.

    Raises RuntimeError where an engine brings a part back twice or not at all.
    """
    return over_all(rows.engine, partial(_added_up, zero), rows.split(rows.parts), _merged)


def _added_up(zero: S, batches: Iterable[Batch]) -> S:
    return reduce(lambda statistic, batch: statistic.add(batch), batches, zero)


def _merged(one: S, two: S) -> S:
    return one.merge(two)
