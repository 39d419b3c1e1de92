"""Stochastic gradient descent without a learning rate: one averaged pass, then conjugate directions.

Both halves walk in coordinates in which a sample of the rows has curvature one in every direction,
so that units, offsets and correlated columns do not matter and the step is known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gentle.batch import Batch, Floats
from gentle.problem import Curvature, Point, Streamed
from gentle.solvers.state import State
from gentle.statistics import solve_upper

FAR = 8.0  # lengths of a direction beyond which a second look is worth its pass
MEMORY = 32  # directions that a new one is made conjugate to: rounding undoes fewer
WORSE_THAN_THE_MEAN = 1.0  # the objective of predicting the mean is 1/2 in these coordinates


@dataclass(frozen=True)
class SGD:
    """Averaged minibatch descent, then preconditioned conjugate gradients over whole passes.

    1. P = R'R, the curvature of a sample of the rows.
    2. One pass in shuffled minibatches, theta <- theta - step P^-1 g, with a constant step; the
       average of the path lands within about a standard error (Polyak and Juditsky 1992).
    3. Whole passes: d = -P^-1 g, made conjugate to the directions before it (Hestenes and Stiefel
       1952). The gradient at theta + d gives, on a quadratic, the minimum along d and the gradient
       there without another pass.

    Not for a loss that is not quadratic (step 3 would need a line search).
    """

    batch_size: int = 256
    seed: int = 0

    def steps(self, problem: Streamed, state: State) -> Iterator[State]:
        curvature = problem.sampled()
        theta = self._averaged_pass(problem, curvature, state.theta)
        landed = State(theta, state.passes + 1)
        yield landed
        yield from _conjugate(problem, curvature, landed, state.theta)

    def _averaged_pass(self, problem: Streamed, curvature: Curvature, start: Floats) -> Floats:
        """The average of one stochastic path; later points weigh more (Shamir and Zhang 2013)."""
        inverse = torch.from_numpy(curvature.solve(np.eye(len(start))))
        step = stable_step(_whitened(problem, curvature), self.batch_size)
        shuffle = torch.Generator().manual_seed(self.seed)
        theta = torch.from_numpy(start.copy())
        average = theta.clone()
        count = 0
        for batch in problem.rows.split(1)[0]:
            for u, v, mass in _minibatches(problem, batch, self.batch_size, shuffle):
                gradient = problem.gradient(theta, u, v, mass)
                direction = inverse @ gradient
                theta = theta - _bounded(step, gradient, direction, u, mass) * direction
                count += 1
                average += (theta - average) * (2 / (count + 1))
        return average.numpy()


def _minibatches(
    problem: Streamed, batch: Batch, size: int, shuffle: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """(u, v, mass) of the rows of a batch in shuffled handfuls."""
    if not len(batch.x):
        return  # a split of nothing is one piece, of no rows
    u, v = problem.coordinates.apply(batch)
    for rows in torch.randperm(len(u), generator=shuffle).split(size):
        mass = None if batch.mass is None else batch.mass[rows]
        yield u[rows], v[rows], mass


def stable_step(w: Floats, size: int) -> float:
    """Half the largest step at which minibatches of this size contract in the mean square.

    With w (n, q) some rows in coordinates of curvature one and B rows at a time that is 2 over the
    largest eigenvalue of (1 - 1/B) I + E[|w|^2 w w'] / B, as they show it (Defossez and Bach 2015).
    """
    fourth = w.T @ (w * (w**2).sum(axis=1, keepdims=True)) / len(w)
    largest = float(np.linalg.eigvalsh(fourth)[-1]) if len(fourth) else 0.0
    return 1 / (1 + (largest - 1) / size) if largest > 1 else 1.0


def _whitened(problem: Streamed, curvature: Curvature) -> Floats:
    """The sample in coordinates of curvature one; weights are left aside: `_bounded` answers for them."""
    u, _ = problem.coordinates.apply(problem.sample)
    return solve_upper(curvature.r, u.numpy().T, transposed=True).T


def _bounded(
    step: float, gradient: Tensor, direction: Tensor, u: Tensor, mass: Tensor | None
) -> float:
    """The step, but never past the least loss of this minibatch along its direction.

    With that bound a step cannot increase the distance to a solution of the minibatch, however far
    out its rows lie (normalised least mean squares, Nagumo and Noda 1967).
    """
    moved = (u @ direction).square()
    bend = moved.mean() if mass is None else (mass @ moved).sum() / mass.sum()
    fall = (gradient * direction).sum()
    return min(step, float(fall / bend)) if bend > 0 else 0.0


def _conjugate(
    problem: Streamed, curvature: Curvature, landed: State, start: Floats
) -> Iterator[State]:
    """Preconditioned conjugate directions, a pass a step; see 3. above."""
    theta, passes = landed.theta, landed.passes + 1
    point = problem.at(theta)
    if not point.value <= WORSE_THAN_THE_MEAN:  # an outlier has thrown the stochastic pass
        theta, passes = start, passes + 1
        point = problem.at(theta)
    yield State(theta, passes, point.value)
    before: list[tuple[Floats, Floats]] = []  # directions d of length d'Hd = 1, with their Hd
    while True:
        direction = -curvature.solve(point.gradient)
        for d, hd in before:
            direction -= float((direction * hd).sum()) * d
        bent, bend, fall = _look_along(problem, theta, point, direction)
        if fall > FAR * bend > 0:  # too short a look: rounding stands out in the difference
            direction, passes = direction * (fall / bend), passes + 1
            bent, bend, fall = _look_along(problem, theta, point, direction)
        if bend <= 0 or fall <= 0:  # rounding has eaten the recurrence: look again, start afresh
            point, before, passes = problem.at(theta), [], passes + 2
            yield State(theta, passes, point.value)
            continue
        length = fall / bend
        theta, passes = theta + length * direction, passes + 1
        value = point.value - length * fall / 2
        point = Point(value, point.gradient + length * bent)
        yield State(theta, passes, value)
        before = [*before, (direction / bend**0.5, bent / bend**0.5)][-MEMORY:]


def _look_along(
    problem: Streamed, theta: Floats, point: Point, direction: Floats
) -> tuple[Floats, float, float]:
    """(H d, d'Hd, -g'd): how the gradient changes along d, and how fast the objective falls."""
    bent = problem.at(theta + direction).gradient - point.gradient
    return bent, float((bent * direction).sum()), -float((point.gradient * direction).sum())
