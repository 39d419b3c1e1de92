"""The engine of a single process: one part after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gentle.engines.engine import P, S


@dataclass(frozen=True)
class Here:
    """Works through the parts in order, in this thread."""

    def run(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[tuple[int, S]]:
        for number, part in enumerate(parts):
            yield number, work(part)
