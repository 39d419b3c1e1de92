"""Watched: an engine that tells, while a pass goes on, how many of its parts are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gentle.engines.engine import Done, Engine, P, S, silent
from gentle.engines.opening import open_engine

WatchParts = Callable[[int, int], None]


@dataclass(frozen=True)
class Watched:
    """Another engine, or its name, whose passes somebody watches.

    `watch` is called with (parts that are done, parts of the pass) as they become known: block by block,
    from Dask and Ray about once a second, from Spark and the other ranks of torchrun at the end of a pass.
    """

    engine: Any
    watch: WatchParts

    @property
    def near(self) -> bool:
        return self.place.near

    @property
    def place(self) -> Engine:
        """The engine that works."""
        return open_engine(self.engine)

    def reduce(
        self,
        work: Callable[[P], S],
        parts: Sequence[P],
        merge: Callable[[S, S], S],
        done: Done = silent,
    ) -> S:
        count = _Count(len(parts), self.watch, done)
        found = self.place.reduce(work, parts, merge, count)
        count(len(parts) - count.so_far)
        return found

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        count = _Count(len(parts), self.watch)
        for found in self.place.map(work, parts):
            count(1)
            yield found


def unwatched(engine: Engine) -> Engine:
    """The engine that works, whoever watches it."""
    return unwatched(engine.place) if isinstance(engine, Watched) else engine


class _Count:
    """How many parts of one pass are done."""

    def __init__(self, n_parts: int, watch: WatchParts, done: Done = silent) -> None:
        self._n_parts, self._watch, self._done = n_parts, watch, done
        self.so_far = 0

    def __call__(self, more: int) -> None:
        if more:
            self.so_far += more
            self._watch(self.so_far, self._n_parts)
            self._done(more)
