"""Nesterov's accelerated gradient descent (1983)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from gentle.batch import Floats
from gentle.problem import Streamed
from gentle.solvers import limits
from gentle.solvers.state import Stall, State

FIXED = 40  # iterations to a fixed point


@dataclass(frozen=True)
class Nesterov:
    """y = theta + b (theta - theta before), theta <- y - rate g(y), in columns of mean 0 and spread 1.

    Without a rate it takes 4/(3L + mu), and without a momentum b = (1 - s)/(1 + s), s = sqrt(rate mu),
    which are the best on a quadratic (Lessard, Recht and Packard 2016): each step leaves 1 - s of the
    error. At the rate 1/L that b is the common one, (sqrt k - 1)/(sqrt k + 1) with k = L/mu.

    Raises GentleError for a rate above 2 (1 + b)/((1 + 2b) L).
    """

    learning_rate: float | None = None
    momentum: float | None = None
    stall: ClassVar[Stall | None] = None

    def __post_init__(self) -> None:
        limits.check_rate(self.learning_rate)
        limits.check_momentum(self.momentum)

    def steps(self, problem: Streamed, state: State) -> Iterator[State]:
        spectrum = problem.curvature().spectrum
        rate, b = self.rate(spectrum)
        limits.check_stable(rate, self.limit(spectrum), "nesterov", limits.beside(self.momentum))
        before, theta, passes = state.theta, state.theta, state.passes
        while True:
            ahead = theta + b * (theta - before)
            before, theta = theta, ahead - rate * problem.at(ahead).gradient
            passes += 1
            yield State(theta, passes)  # the rows were seen at `ahead`

    def rate(self, spectrum: Floats) -> tuple[float, float]:
        """(rate, b) for a Hessian's eigenvalues (q,) ascending."""
        mu, largest = limits.ends(spectrum)
        rate = self.learning_rate or 4 / (3 * largest + mu)
        return rate, self._momentum(rate, mu)

    def limit(self, spectrum: Floats) -> float:
        """The largest stable learning rate; where b follows it, the one that is the limit of its own b."""
        mu, largest = limits.ends(spectrum)
        limit = limits.nesterov(largest, 1.0)
        for _ in range(FIXED if self.momentum is None else 1):  # from below, by a quarter at least
            limit = limits.nesterov(largest, self._momentum(limit, mu))
        return limit

    def contraction(self, spectrum: Floats) -> float:
        """What a late step leaves of the error: the largest root of z^2 - (1 - h)(1 + b) z + (1 - h) b."""
        rate, b = self.rate(spectrum)
        kept = 1 - rate * spectrum
        return limits.radius(kept * (1 + b), kept * b)

    def _momentum(self, rate: float, mu: float) -> float:
        """The given b, or the one at which the roots of the slowest direction meet."""
        s = min(sqrt(rate * mu), 1.0)
        return (1 - s) / (1 + s) if self.momentum is None else self.momentum
