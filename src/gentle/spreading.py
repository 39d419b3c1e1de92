"""Spreading: rows in parts, where the workers of an engine can read them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import csr_array

from gentle.engines import Engine, Here, open_engine, over_all, unwatched
from gentle.errors import GentleError, GentleWarning, show_value
from gentle.sources import Arrays, Source, Subset, lent

PART_NUMBERS = 2**22  # of float64 in a part: 32 MiB, enough beside what it costs to hand it out
MOST_PARTS = 4_096


S = TypeVar("S")


@dataclass(frozen=True)
class Placed:
    """Rows where the workers of an engine can read them, and how many parts a pass makes of them."""

    source: Source
    engine: Engine = field(default_factory=Here)
    parts: int = 1

    def reduce(self, work: Callable[[Source], S], merge: Callable[[S, S], S]) -> S:
        """What comes of all parts."""
        parts = [self.source] if self.parts == 1 else self.source.split(self.parts)
        return over_all(self.engine, work, parts, merge)


@contextmanager
def placed(source: Source, engine: Any, parts: int | None = None) -> Iterator[Placed]:
    """The rows, placed for the engine that is meant.

    The number of parts is that of the caller, else fixed by the rows alone, so that it does not depend on
    the workers which bits a fit has; an engine that is here makes one.

    Raises GentleError for an engine that does not exist, and for parts that are no whole number.
    """
    place = open_engine(engine)
    if parts is not None:
        whole = isinstance(parts, int | np.integer) and not isinstance(parts, bool)
        if not whole or not 1 <= parts <= MOST_PARTS:
            raise GentleError(
                f"parts= is how many a pass makes of the rows, 1 to {MOST_PARTS:,}, and is "
                f"{show_value(parts)}"
            )
        parts = int(parts)
    alone = isinstance(unwatched(place), Here)
    if not alone and not source.divides:
        warnings.warn(
            f"{source.name} can only be read from the beginning, so engine= does nothing for it: "
            "a file or a frame goes in parts",
            GentleWarning,
            stacklevel=4,
        )
        place, alone = Here(), True
        parts = parts if source.replayable else 1
    if parts is None:
        parts = 1 if alone else _even_parts(source)
    with nullcontext(source) if place.near else lent(source) as lent_source:
        yield Placed(lent_source, place, parts)


def _even_parts(source: Source) -> int:
    """So many that each is worth handing out."""
    return max(1, min(MOST_PARTS, _numbers(source) // PART_NUMBERS))


def _numbers(source: Source) -> int:
    """How many a source holds, the zeros of sparse ones not among them."""
    if isinstance(source, Subset):
        return _numbers(source.source)
    if isinstance(source, Arrays) and isinstance(source.x, csr_array):
        return int(source.x.nnz)
    return source.height() * max(1, len(source.schema()))
