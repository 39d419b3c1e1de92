"""Minibatch descent, as textbooks have it (Robbins and Monro 1951)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gentle.batch import Batch, Floats
from gentle.errors import GentleError, near
from gentle.problem import Streamed
from gentle.solvers import limits
from gentle.solvers.state import Stall, State

SCHEDULES = ("constant", "1/t")
MOST_ROWS = 20_000  # whose fourth moments the limit is made of; beyond, those of a sample
RAN_AWAY = 1e6  # mean square of the predictions, in that of the target


@dataclass(frozen=True)
class Minibatch:
    """theta <- theta - rate_t g(B rows), all rows shuffled once a pass, in columns of mean 0, spread 1.

    With the schedule "constant" rate_t is the learning rate, and theta goes on wandering about the
    minimum; with "1/t" it is rate / (1 + t rate mu / 2), mu the least eigenvalue of the Hessian, and
    theta settles (Bottou, Curtis and Nocedal 2018, theorem 4.7). Without a rate it takes half of the
    largest at which the mean square of the error falls, which is told from all rows where there are at
    most 20,000 and from a sample beyond. A row of mass w counts as one times the root of w / mean w.
    Rows are shuffled within the batches they are read in: not for a large table that is sorted.

    Raises GentleError for a rate above that limit.
    """

    learning_rate: float | None = None
    batch_size: int = 64
    schedule: str = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        limits.check_rate(self.learning_rate)
        limits.check_batch_size(self.batch_size)
        if self.schedule not in SCHEDULES:
            raise GentleError(
                f"there is no schedule '{self.schedule}': {near(str(self.schedule), SCHEDULES)}"
            )

    @property
    def stall(self) -> Stall | None:
        return "wandering" if self.schedule == "constant" else None

    def steps(self, problem: Streamed, state: State) -> Iterator[State]:
        size, mass, limit = self._survey(problem)
        rate = self.learning_rate or limit / 2
        limits.check_stable(rate, limit, "minibatch", f" in minibatches of {size:,}")
        curvature = problem.curvature()
        slowing = 0.0
        if self.schedule == "1/t":
            slowing = rate * limits.ends(curvature.spectrum)[0] / 2
        r = torch.from_numpy(curvature.r)
        theta, passes, t = torch.from_numpy(state.theta.copy()), state.passes + 1, 0
        bound = RAN_AWAY * max(1.0, float((r @ theta).square().sum()))
        shuffle = torch.Generator().manual_seed(self.seed)
        while True:
            for batch in problem.rows.split(1)[0]:
                u, v = _weighed(problem, batch, mass)
                for rows in torch.randperm(len(u), generator=shuffle).split(size):
                    share = len(rows) / size  # what is left over counts as what it is
                    gradient = problem.gradient(theta, u[rows], v[rows], None)
                    theta = theta - share * rate / (1 + slowing * t) * gradient
                    t += 1
            if not float((r @ theta).square().sum()) <= bound:
                raise GentleError(
                    f"minibatches ran away at a learning rate of {rate:g}, as those of sorted rows or of "
                    "a few far ones may: shuffle the rows, or take a smaller rate"
                )
            passes += 1
            yield State(theta.numpy().copy(), passes)

    def _survey(self, problem: Streamed) -> tuple[int, float, float]:
        """(rows of a minibatch, mean mass of a row, largest stable rate), for one pass."""
        n, total, held = 0, 0.0, []
        for batch in problem.rows.split(1)[0]:
            n += len(batch.x)
            total += len(batch.x) if batch.mass is None else float(batch.mass.sum())
            if n <= MOST_ROWS:
                held.append(batch)
        if n > MOST_ROWS:
            held = [problem.sample]
        size, mass = min(self.batch_size, n), total / n
        rows = np.concatenate([_weighed(problem, batch, mass)[0].numpy() for batch in held])
        return size, mass, limits.minibatch(rows, size, n, _penalty(problem))


def _weighed(problem: Streamed, batch: Batch, mass: float) -> tuple[Tensor, Tensor]:
    """(u, v) of the rows of a batch, each times the root of its mass over the mean one.

    Squared errors of these, each counted once, are the squared errors of the rows by their mass.
    """
    u, v = problem.coordinates.apply(batch)
    if batch.mass is None:
        return u, v
    root = (batch.mass / mass).sqrt()[:, None]
    return u * root, v * root


def _penalty(problem: Streamed) -> Floats:
    """The diagonal that the ridge adds to the Hessian, (q,)."""
    scale = problem.coordinates.scale
    constant = np.zeros(int(problem.coordinates.intercept))
    return np.concatenate([constant, problem.penalty.l2 / scale**2])
