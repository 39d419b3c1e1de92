"""Engine: where the work of a pass runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

P = TypeVar("P")
S = TypeVar("S")


class Engine(Protocol):
    """Runs one piece of work on each part and hands back (number of the part, result)."""

    def run(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[tuple[int, S]]:
        """Results in any order, each part once."""
