"""Numbered parts: what comes of some of them knows which, so that none is lost and none comes twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic

from gentle.engines.engine import Engine, P, S


@dataclass(frozen=True)
class Partial(Generic[S]):
    """What comes of the parts from `start` up to `stop`, each of which is in it once."""

    start: int
    stop: int
    result: S


def over_all(
    engine: Engine, work: Callable[[P], S], parts: Sequence[P], merge: Callable[[S, S], S]
) -> S:
    """What comes of all parts, merged in a fixed tree.

    Raises RuntimeError where an engine brings a part back twice or not at all.
    """
    numbered = list(enumerate(parts))
    found: Partial[S] = engine.reduce(partial(_worked, work), numbered, partial(_joined, merge))
    if (found.start, found.stop) != (0, len(numbered)):
        raise RuntimeError(
            f"a pass over {len(numbered)} parts got parts {found.start} to {found.stop - 1}"
        )
    return found.result


def _worked(work: Callable[[P], S], numbered: tuple[int, P]) -> Partial[S]:
    number, part = numbered
    return Partial(number, number + 1, work(part))


def _joined(merge: Callable[[S, S], S], one: Partial[S], two: Partial[S]) -> Partial[S]:
    """The two together; RuntimeError where the second is not that of the next parts."""
    if two.start != one.stop:
        raise RuntimeError(
            f"a pass got parts {two.start} to {two.stop - 1} where part {one.stop} was due"
        )
    return Partial(one.start, two.stop, merge(one.result, two.result))
