"""Newton's method: the whole answer of least squares in one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from gentle.problem import Streamed
from gentle.solvers import limits
from gentle.solvers.state import Stall, State


@dataclass(frozen=True)
class Newton:
    """theta <- theta - rate H^-1 g, a pass a step; each leaves |1 - rate| of the error.

    Without a rate it takes 1, which arrives at once. The units of the columns do not matter. Not for
    more columns than a triangle of them is worth: it needs the Hessian of all rows.

    Raises GentleError for a rate above 2.
    """

    learning_rate: float | None = None
    stall: ClassVar[Stall | None] = "rounding"

    def __post_init__(self) -> None:
        limits.check_rate(self.learning_rate)
        limits.check_stable(self.rate, limits.NEWTON, "newton", " and any other")

    def steps(self, problem: Streamed, state: State) -> Iterator[State]:
        curvature = problem.curvature()
        theta, passes = state.theta, state.passes
        while True:
            point, passes = problem.at(theta), passes + 1
            yield State(theta, passes, point.value)
            theta = theta - self.rate * curvature.solve(point.gradient)

    @property
    def rate(self) -> float:
        """The given learning rate, or 1."""
        return self.learning_rate or 1.0

    @property
    def contraction(self) -> float:
        """What a step leaves of the error."""
        return abs(1 - self.rate)
