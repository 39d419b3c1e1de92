"""Minibatch descent, as textbooks have it (Robbins and Monro 1951)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gentle.errors import GentleError, is_choice, near, show_value
from gentle.problem import Streamed
from gentle.solvers import limits
from gentle.solvers.state import Stall, State

SCHEDULES = ("constant", "1/t")
RAN_AWAY = 1e6  # mean square of the predictions, in that of the target


@dataclass(frozen=True)
class Minibatch:
    """theta <- theta - rate_t g(B rows), all rows shuffled once a pass, in columns of mean 0, spread 1.

    With the schedule "constant" rate_t is the learning rate, and theta goes on wandering about the
    minimum; with "1/t" it is rate / (1 + t rate mu / 2), mu the least eigenvalue of the Hessian, and
    theta settles (Bottou, Curtis and Nocedal 2018, theorem 4.7). Without a rate it takes half of the
    largest at which the mean square of the error falls, which is told from all rows where there are at
    most 20,000 and from a sample beyond. A row of mass w counts as one times the root of w / mean w.

    Raises GentleError for a rate above that limit.
    """

    learning_rate: float | None = None
    batch_size: int = 64
    schedule: str = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        limits.check_rate(self.learning_rate)
        limits.check_batch_size(self.batch_size)
        if not is_choice(self.schedule, SCHEDULES):
            named = self.schedule if isinstance(self.schedule, str) else show_value(self.schedule)
            raise GentleError(f"there is no schedule '{named}': {near(named, SCHEDULES)}")

    @property
    def stall(self) -> Stall | None:
        return "wandering" if self.schedule == "constant" else None

    def steps(self, problem: Streamed, state: State) -> Iterator[State]:
        size = min(self.batch_size, int(problem.n_rows))
        limit = _limit(problem, size)
        rate = self.learning_rate or limit / 2
        limits.check_stable(rate, limit, "minibatch", f" in minibatches of {size:,}")
        curvature = problem.curvature()
        slowing = 0.0
        if self.schedule == "1/t":
            slowing = rate * limits.ends(curvature.spectrum)[0] / 2
        theta, passes, t = state.theta, state.passes, 0
        bound = RAN_AWAY * max(1.0, float(((curvature.r @ theta) ** 2).sum()))
        rng = np.random.default_rng(self.seed)
        mean_mass = problem.total / problem.n_rows
        while True:
            for seen in problem.minibatches(size, rng, longest_run=1):
                share = len(seen.v) / size  # what is left over counts as what it is
                gradient = problem.gradient(theta, seen, len(seen.v) * mean_mass)
                theta = theta - share * rate / (1 + slowing * t) * gradient
                t += 1
            if not float(((curvature.r @ theta) ** 2).sum()) <= bound:
                raise GentleError(
                    f"minibatches ran away at a learning rate of {rate:g}, as those of a few far rows "
                    "may: take a smaller rate"
                )
            passes += 1
            yield State(theta, passes)


def _limit(problem: Streamed, size: int) -> float:
    """The largest stable rate, as the sample shows it.

    Squared errors of rows times the root of their mass over the mean one, each counted once, are the
    squared errors of the rows by their mass.
    """
    u = problem.coordinates.apply(problem.sample)[0].numpy()
    if (mass := problem.sample.mass) is not None:
        u = u * np.sqrt(mass.numpy() * (problem.n_rows / problem.total))[:, None]
    penalty = problem.coordinates.ridge(problem.penalty.l2)
    return limits.minibatch(u, size, problem.n_rows, penalty)
