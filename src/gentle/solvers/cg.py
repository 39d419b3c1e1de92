"""Conjugate gradients (Hestenes and Stiefel 1952)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from gentle.problem import Streamed
from gentle.solvers.line import Stand
from gentle.solvers.state import Stall, State


@dataclass(frozen=True)
class CG:
    """Exact minima along d <- -g + (g'g / g'g before) d, a pass a step, without a preconditioner.

    In exact arithmetic it arrives after as many steps as the Hessian has different eigenvalues, in
    columns of mean 0 and spread 1; no learning rate is asked for. Not for a loss that is no quadratic.
    """

    stall: ClassVar[Stall | None] = None

    def steps(self, problem: Streamed, state: State) -> Iterator[State]:
        stand = Stand.look(problem, state.theta, state.passes)
        yield stand.state()
        direction = -stand.point.gradient
        while True:
            before = stand.point.gradient
            stand, change = stand.along(problem, direction)
            yield stand.state()
            gradient = stand.point.gradient
            ratio = 0.0 if change is None else float((gradient**2).sum() / (before**2).sum())
            direction = ratio * direction - gradient
