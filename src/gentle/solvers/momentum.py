"""Gradient descent with momentum: the heavy ball (Polyak 1964)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from gentle.batch import Floats
from gentle.problem import Streamed
from gentle.solvers import limits
from gentle.solvers.state import Stall, State


@dataclass(frozen=True)
class Momentum:
    """theta <- theta - rate g + b (theta - theta before), a pass a step, in columns of mean 0, spread 1.

    Without a rate and a momentum it takes Polyak's, 4/(sqrt L + sqrt mu)^2 and
    b = ((sqrt k - 1)/(sqrt k + 1))^2, k = L/mu: each step leaves about sqrt b of the error, the best
    that is known from mu and L alone. Errors may grow before they fall.

    Raises GentleError for a rate above 2 (1 + b)/L.
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
        limits.check_stable(rate, self.limit(spectrum), "momentum", limits.beside(self.momentum))
        before, theta, passes = state.theta, state.theta, state.passes
        while True:
            point, passes = problem.at(theta), passes + 1
            yield State(theta, passes, point.value)
            before, theta = theta, theta - rate * point.gradient + b * (theta - before)

    def rate(self, spectrum: Floats) -> tuple[float, float]:
        """(rate, b) for a Hessian's eigenvalues (q,) ascending; the best of each for a given other.

        A step leaves sqrt b of an error where its roots are complex, which is
        b >= (1 - sqrt(rate lambda))^2: the least b that is so at mu and at L is the best. For a given b
        the best rate makes 1 + b - rate lambda equally large at both.
        """
        mu, largest = limits.ends(spectrum)
        b = self.momentum
        if b is None:
            rate = self.learning_rate or 4 / (sqrt(largest) + sqrt(mu)) ** 2
            b = min(max(abs(1 - sqrt(rate * end)) for end in (mu, largest)) ** 2, 1.0)
        return self.learning_rate or 2 * (1 + b) / (mu + largest), b

    def limit(self, spectrum: Floats) -> float:
        """The largest stable learning rate; where b is free to follow it, that of b towards 1."""
        b = 1.0 if self.momentum is None else self.momentum
        return limits.heavy_ball(limits.ends(spectrum)[1], b)

    def contraction(self, spectrum: Floats) -> float:
        """What a late step leaves of the error: the largest root of z^2 - (1 + b - rate lambda) z + b."""
        rate, b = self.rate(spectrum)
        return limits.radius(1 + b - rate * spectrum, b)
