"""Stochastic gradient descent without a learning rate: one averaged pass, then conjugate directions.

Both halves walk in coordinates in which a sample of the rows has curvature one in every direction,
so that units, offsets and correlated columns do not matter and the step is known beforehand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from gentle.batch import Floats
from gentle.coordinates import Seen
from gentle.engines import over_all
from gentle.problem import Streamed
from gentle.sketch import Sketch, stable_step
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

    Where rows are worked on in parts, each part has a pass of 2. by itself from the same beginning, and
    their ends are averaged by the mass of their rows (McDonald, Hall and Mann 2010). What 3. comes to
    does not depend on it.

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
        """2. From the state on; a path over rows in one part yields some states on its way."""
        rows, n_rows = problem.rows, float(problem.n_rows)
        if rows.parts > 1:
            work = partial(_walked_apart, self, problem.sketch, state.theta)
            walked = over_all(rows.engine, work, problem.parted(), Walked.merge)
            yield State(walked.average, state.passes + 1, settled=True)
            return
        walked, looks = Walked(state.theta), 0
        rng = np.random.default_rng(self.seed)
        for walked in _walk(self, problem, problem.sketch, state.theta, rng):
            if LOOKS * walked.rows >= (looks + 1) * n_rows and walked.rows < n_rows:
                looks = int(LOOKS * walked.rows / n_rows)
                yield State(walked.average, state.passes + walked.rows / n_rows)
        yield State(walked.average, state.passes + 1, settled=True)


@dataclass(frozen=True, eq=False)
class Walked:
    """The average of a stochastic path over some rows; that of two is no union, but their mean by mass."""

    average: Floats  # (q, k)
    rows: int = 0
    mass: float = 0.0

    def merge(self, other: Walked) -> Walked:
        mass = self.mass + other.mass
        share = other.mass / mass if mass else 0.0
        average = self.average + (other.average - self.average) * share
        return Walked(average, self.rows + other.rows, mass)


def _walked_apart(
    solver: SGD, sketch: Sketch, theta: Floats, numbered: tuple[int, Streamed]
) -> Walked:
    """Where the path over one part of the rows ends."""
    number, problem = numbered
    walked, rng = Walked(theta), np.random.default_rng((solver.seed, number))
    for further in _walk(solver, problem, sketch, theta, rng):
        walked = further
    return walked


def _walk(
    solver: SGD, problem: Streamed, sketch: Sketch, theta: Floats, rng: np.random.Generator
) -> Iterator[Walked]:
    """One stochastic path from theta on; later points weigh more (Shamir and Zhang 2013)."""
    average, rows, mass = theta, 0, 0.0
    size = solver.batch_size or _minibatch(float(problem.n_rows), len(theta))
    step = stable_step(sketch.largest, size)
    for count, seen in enumerate(problem.minibatches(size, rng), 1):
        gradient = problem.gradient(theta, seen)
        direction = sketch.preconditioner.solve(gradient)
        theta = theta - _bounded(step, gradient, direction, seen) * direction
        average = average + (theta - average) * (2 / (count + 1))
        rows, mass = rows + len(seen.v), mass + seen.total
        yield Walked(average, rows, mass)


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
