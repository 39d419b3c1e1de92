"""Solver and State: a solver is a generator of better and better points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from gentle.batch import Floats
from gentle.problem import Problem

P_contra = TypeVar("P_contra", bound=Problem, contravariant=True)
Stall = Literal["rounding", "wandering"]


@dataclass(frozen=True, eq=False)
class State:
    """A point from which a solver can go on."""

    theta: Floats  # (q, k)
    passes: float = 0.0  # readings of the rows that it took to get here
    value: float | None = None  # the objective at theta, where the solver has seen it
    gradient: Floats | None = None  # (q, k) likewise
    settled: bool = False  # whether the stochastic passes have done their work


class Solver(Protocol[P_contra]):
    """Yields states without end and never judges itself: the driver stops it."""

    @property
    def stall(self) -> Stall | None:
        """What it means that a few states brought nothing nearer; None where that happens on the way."""

    def steps(self, problem: P_contra, state: State) -> Iterator[State]:
        """Better and better points, from a given one."""
