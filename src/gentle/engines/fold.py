"""fold: one pass over rows. The parts fix the arithmetic, the engine only the place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Protocol, TypeVar

from gentle.batch import Batch
from gentle.engines.engine import Engine
from gentle.engines.here import Here
from gentle.statistics import Statistic

S = TypeVar("S", bound=Statistic)


class Divisible(Protocol):
    """Batches that can be had whole or in numbered parts."""

    def split(self, parts: int) -> Sequence[Iterable[Batch]]: ...


def fold(zero: S, rows: Divisible, engine: Engine | None = None, parts: int = 1) -> S:
    """The statistic of the rows: each part is added up by itself, the parts merge in a fixed tree.

    Raises RuntimeError where an engine brings a part back twice or not at all.
    """
    pieces = rows.split(parts)
    done: dict[int, S] = {}
    for number, statistic in (engine or Here()).run(_adder(zero), pieces):
        if number in done:
            raise RuntimeError(f"part {number} of a pass came back twice")
        done[number] = statistic
    if lost := set(range(len(pieces))) - set(done):
        raise RuntimeError(f"parts {sorted(lost)} of a pass did not come back")
    return _merged([done[number] for number in range(len(pieces))])


def _adder(zero: S) -> Callable[[Iterable[Batch]], S]:
    def add_up(batches: Iterable[Batch]) -> S:
        return reduce(lambda statistic, batch: statistic.add(batch), batches, zero)

    return add_up


def _merged(statistics: list[S]) -> S:
    """Neighbours merge, then neighbouring pairs, until one is left."""
    while len(statistics) > 1:
        pairs = [statistics[at : at + 2] for at in range(0, len(statistics), 2)]
        statistics = [pair[0].merge(pair[1]) if len(pair) == 2 else pair[0] for pair in pairs]
    return statistics[0]
