"""Stochastic gradient descent without a learning rate: one averaged pass, then conjugate directions.

Both halves walk in coordinates in which a sample of the rows has curvature one in every direction,
so that units, offsets and correlated columns do not matter and the step is known beforehand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gentle.batch import Floats
from gentle.coordinates import Seen
from gentle.problem import Streamed
from gentle.sketch import stable_step
from gentle.solvers.limits import check_batch_size
from gentle.solvers.line import Stand
from gentle.solvers.state import Stall, State

LEAST_ROWS = 256  # in a minibatch
MOST_NUMBERS = 2**17  # and at most, unless rows are as long
STEPS = 500  # of a pass, where that leaves minibatches that fit a core's cache
LEAST_STEPS = 8  # of a pass
LOOKS = 4  # states that a stochastic pass yields on its way
MEMORY = 32  # directions that a new one is made conjugate to: rounding undoes fewer
WORSE_THAN_THE_MEAN = 1.0  # twice: the objective of predicting the mean is 1/2 in these coordinates


@dataclass(frozen=True)
class SGD:
    """Averaged minibatch descent, then preconditioned conjugate gradients over whole passes.

    1. P, the curvature of a sample of the rows. It is given where to begin: the sample's minimiser.
    2. One pass in shuffled minibatches, theta <- theta - step P^-1 g, with a constant step that ends
       at the least loss of its minibatch at the latest; the average of the path, of which later points
       weigh more, lands within about a standard error (Polyak and Juditsky 1992). Where it has twice
       the loss of predicting the mean, 3. begins at zero instead.
    3. Whole passes: d = -P^-1 g, made conjugate to the last 32 directions (Hestenes and Stiefel 1952).
       The gradient at one more point along d gives, on a quadratic, the minimum along d and the
       gradient there without another pass.

    A state that is settled goes on with 3. Not for a loss that is not quadratic (step 3 would need a
    line search).
    """

    batch_size: int | None = None
    seed: int = 0
    stall: ClassVar[Stall | None] = None

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            check_batch_size(self.batch_size)

    def steps(self, problem: Streamed, state: State) -> Iterator[State]:
        landed = state
        if not state.settled:
            yield state
            for landed in self._averaged_pass(problem, state):
                yield landed
        yield from _conjugate(problem, landed)

    def _averaged_pass(self, problem: Streamed, state: State) -> Iterator[State]:
        """2. The average of one stochastic path; later points weigh more (Shamir and Zhang 2013)."""
        rng = np.random.default_rng(self.seed)
        preconditioner = problem.sketch.preconditioner
        theta = average = state.theta
        n_rows = float(problem.n_rows)
        size = self.batch_size or _minibatch(n_rows, len(theta))
        step = stable_step(problem.sketch.largest, size)
        seen_rows = looks = 0
        for count, seen in enumerate(problem.minibatches(size, rng), 1):
            gradient = problem.gradient(theta, seen)
            direction = preconditioner.solve(gradient)
            theta = theta - _bounded(step, gradient, direction, seen) * direction
            average = average + (theta - average) * (2 / (count + 1))
            seen_rows += len(seen.v)
            if LOOKS * seen_rows >= (looks + 1) * n_rows and seen_rows < n_rows:
                looks = int(LOOKS * seen_rows / n_rows)
                yield State(average, state.passes + seen_rows / n_rows)
        yield State(average, state.passes + 1, settled=True)


def _minibatch(n_rows: float, q: int) -> int:
    """How many rows: so many that a step along P^-1 g is a long one, and that steps are not too many."""
    least = max(LEAST_ROWS, min(2 * q, n_rows / LEAST_STEPS))
    return int(max(least, min(n_rows / STEPS, MOST_NUMBERS / q)))


def _bounded(step: float, gradient: Floats, direction: Floats, seen: Seen) -> float:
    """The step, but never past the least loss of this minibatch along its direction.

    With that bound a step cannot increase the distance to a solution of the minibatch, however far
    out its rows lie (normalised least mean squares, Nagumo and Noda 1967).
    """
    moved = seen.times(direction).square().sum(dim=1)
    bend = float(moved.sum() if seen.mass is None else seen.mass @ moved) / seen.total
    fall = float((gradient * direction).sum())
    return min(step, fall / bend) if bend > 0 else 0.0


def _conjugate(problem: Streamed, landed: State) -> Iterator[State]:
    """3. Preconditioned conjugate directions, a pass a step."""
    preconditioner = problem.sketch.preconditioner
    stand = Stand.look(problem, landed.theta, landed.passes)
    if not stand.point.value <= WORSE_THAN_THE_MEAN:  # an outlier has thrown the stochastic pass
        stand = Stand.look(problem, np.zeros_like(landed.theta), stand.passes)
    yield stand.state()
    before: deque[tuple[Floats, Floats]] = deque(maxlen=MEMORY)  # d with d'Hd = 1, and its Hd
    while True:
        direction = -preconditioner.solve(stand.point.gradient)
        for d, hd in before:
            direction = direction - float((direction * hd).sum()) * d
        theta = stand.theta
        stand, change = stand.along(problem, direction)
        yield stand.state()
        step = stand.theta - theta
        square = 0.0 if change is None else float((step * change).sum())
        if change is None or not square > 0:
            before.clear()
        else:
            before.append((step / square**0.5, change / square**0.5))
