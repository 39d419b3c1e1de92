"""The engine of a single process: one part after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gentle.engines.engine import Done, P, S, reduced, silent


@dataclass(frozen=True)
class Here:
    """Works through the parts in order, in this thread."""

    near: ClassVar[bool] = True

    def reduce(
        self,
        work: Callable[[P], S],
        parts: Sequence[P],
        merge: Callable[[S, S], S],
        done: Done = silent,
    ) -> S:
        return reduced(work, parts, merge, done)

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        return map(work, parts)
