"""Conjugate gradients (Hestenes and Stiefel 1952)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from gentle.problem import Streamed
from gentle.solvers.line import along
from gentle.solvers.state import Stall, State


@dataclass(frozen=True)
class CG:
    """Exact minima along d <- -g + (g'g / g'g before) d, a pass a step, without a preconditioner.

    In exact arithmetic it arrives after as many steps as the Hessian has different eigenvalues, in
    columns of mean 0 and spread 1; no learning rate is asked for. Not for a loss that is no quadratic.
    """

    stall: ClassVar[Stall | None] = None

    def steps(self, problem: Streamed, state: State) -> Iterator[State]:
        theta, passes = state.theta, state.passes + 1
        point = problem.at(theta)
        yield State(theta, passes, point.value, point.gradient)
        direction = -point.gradient
        while True:
            passes += 1
            found = along(problem, theta, point, direction)
            if found is None:  # rounding has eaten the recurrence: look again, start afresh
                point, passes = problem.at(theta), passes + 1
                yield State(theta, passes, point.value, point.gradient)
                direction = -point.gradient
                continue
            step, there = found
            theta = theta + step
            yield State(theta, passes, there.value, there.gradient)
            ratio = float((there.gradient**2).sum() / (point.gradient**2).sum())
            direction, point = ratio * direction - there.gradient, there
