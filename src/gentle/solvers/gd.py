"""Gradient descent (Cauchy 1847)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gentle.batch import Floats
from gentle.problem import Streamed
from gentle.solvers import limits
from gentle.solvers.state import Stall, State


@dataclass(frozen=True)
class GD:
    """theta <- theta - rate g, a pass a step, in columns of mean 0 and spread 1.

    Without a rate it takes 2/(L + mu), the best one where the Hessian's eigenvalues run from mu to L:
    each step leaves (L - mu)/(L + mu) of the error. Not for columns that are nearly dependent.

    Raises GentleError for a rate above 2/L.
    """

    learning_rate: float | None = None
    stall: ClassVar[Stall | None] = None

    def __post_init__(self) -> None:
        limits.check_rate(self.learning_rate)

    def steps(self, problem: Streamed, state: State) -> Iterator[State]:
        spectrum = problem.curvature().spectrum
        rate = self.rate(spectrum)
        limits.check_stable(rate, self.limit(spectrum), "gd")
        theta, passes = state.theta, state.passes
        while True:
            point, passes = problem.at(theta), passes + 1
            yield State(theta, passes, point.value)
            theta = theta - rate * point.gradient

    def rate(self, spectrum: Floats) -> float:
        """The given learning rate, or the best one for a Hessian's eigenvalues (q,) ascending."""
        return self.learning_rate or 2 / sum(limits.ends(spectrum))

    def limit(self, spectrum: Floats) -> float:
        """The largest stable learning rate."""
        return limits.plain(limits.ends(spectrum)[1])

    def contraction(self, spectrum: Floats) -> float:
        """What a step leaves of the error: the largest |1 - rate lambda|."""
        return float(np.abs(1 - self.rate(spectrum) * spectrum).max(initial=0.0))
