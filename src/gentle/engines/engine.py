"""Engine: where work runs. The parts and their numbers fix the arithmetic, the engine only the place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

P = TypeVar("P")
S = TypeVar("S")

Done = Callable[[int], None]  # told of so many parts more that are done

BLOCKS_PER_WORKER = 4  # so that none waits long for the last one


def silent(_: int) -> None:
    """Where nobody wants to know how many are done."""


@runtime_checkable
class Engine(Protocol):
    """Runs work on numbered parts, and merges what comes of them in a fixed tree."""

    @property
    def near(self) -> bool:
        """Whether the work sees the memory of this process."""

    def reduce(
        self,
        work: Callable[[P], S],
        parts: Sequence[P],
        merge: Callable[[S, S], S],
        done: Done = silent,
    ) -> S:
        """The results of all parts, merged as `tree` does, whatever the order in which they come.

        Calls `done` in this thread, as far as the parts that are done are known here before the end.
        Raises GentleError where a part cannot be had: a worker was lost too often, or took too long.
        """

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        """The results of the parts in their order, of which few are on their way at a time.

        Raises GentleError as `reduce` does.
        """


def tree(results: Iterable[S], merge: Callable[[S, S], S]) -> S:
    """Neighbours merge, then neighbouring pairs, until one is left; few are held at a time."""
    held: list[tuple[int, S]] = []  # (level, merged), of ever lower levels
    for result in results:
        level = 0
        while held and held[-1][0] == level:
            _, before = held.pop()
            result, level = merge(before, result), level + 1
        held.append((level, result))
    (_, found) = held.pop()
    while held:
        found = merge(held.pop()[1], found)
    return found


def reduced(
    work: Callable[[P], S], parts: Iterable[P], merge: Callable[[S, S], S], done: Done = silent
) -> S:
    """Some parts, worked on one after the other."""

    def results() -> Iterator[S]:
        for part in parts:
            yield work(part)
            done(1)

    return tree(results(), merge)


def blocks(parts: Sequence[P], most: int) -> list[Sequence[P]]:
    """The parts in at most so many runs, each of a power of two: whole branches of the tree."""
    size = 1
    while size * most < len(parts):
        size *= 2
    return [parts[at : at + size] for at in range(0, len(parts), size)]


def in_order(
    submit: Callable[[P], Any], parts: Sequence[P], most: int, result: Callable[[Any], Any]
) -> Iterator[Any]:
    """The results of futures in the order of their parts, at most so many of them not yet handed out."""
    waiting: deque[Any] = deque()
    try:
        for part in parts:
            waiting.append(submit(part))
            if len(waiting) >= most:
                yield result(waiting.popleft())
        while waiting:
            yield result(waiting.popleft())
    finally:
        for job in waiting:
            job.cancel()
