"""L-BFGS, the quasi-Newton method of limited memory (Liu and Nocedal 1989)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from gentle.batch import Floats
from gentle.problem import Streamed
from gentle.solvers.line import Stand
from gentle.solvers.state import Stall, State

MEMORY = 10  # steps that the inverse Hessian is read off
Pair = tuple[Floats, Floats]  # a step, and how the gradient changed along it


@dataclass(frozen=True)
class LBFGS:
    """Exact minima along -B g, a pass a step, B the inverse Hessian as the last ten steps show it.

    In columns of mean 0 and spread 1; no learning rate is asked for. On a quadratic it goes the way
    of conjugate gradients (Nazareth 1979). Not for a loss that is no quadratic.
    """

    stall: ClassVar[Stall | None] = None

    def steps(self, problem: Streamed, state: State) -> Iterator[State]:
        stand = Stand.look(problem, state.theta, state.passes)
        yield stand.state()
        pairs: deque[Pair] = deque(maxlen=MEMORY)
        while True:
            before = stand.theta
            stand, change = stand.along(problem, -_times_inverse(pairs, stand.point.gradient))
            yield stand.state()
            if change is None:
                pairs.clear()
            else:
                pairs.append((stand.theta - before, change))


def _times_inverse(pairs: deque[Pair], gradient: Floats) -> Floats:
    """B g by the two loops of Nocedal (1980)."""
    found = gradient.copy()
    shares = []
    for step, change in reversed(pairs):
        shares.append(float((step * found).sum() / (step * change).sum()))
        found -= shares[-1] * change
    if pairs:
        step, change = pairs[-1]
        found *= (step * change).sum() / (change**2).sum()
    for step, change in pairs:
        found += (shares.pop() - (change * found).sum() / (step * change).sum()) * step
    return found
