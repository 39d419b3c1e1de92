"""Approach: a descent that knows the curvature of a sample alone, and its confirmation.

It never forms the cross-products of all rows, so it goes where those are out of reach. What it stops on
is an estimate. Where the exact answer is at hand afterwards, its certificate confirms the stop, or the
descent goes on until it does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gentle.batch import Floats
from gentle.certificate import Certificate, Estimate, Estimator, certify_all
from gentle.coordinates import Coordinates
from gentle.driver import Limits, Outcome, Stop, Watch, drive
from gentle.exact import Exact
from gentle.losses import Squared
from gentle.passes import Divisible, fold
from gentle.penalties import Ridge
from gentle.problem import Streamed
from gentle.shuffling import Walkable
from gentle.sketch import DENSE_COLUMNS
from gentle.solvers import Solver, State
from gentle.spectrum import Probes
from gentle.statistics import Sample, Spread, Survey, Tally

LEAST_ROWS, MOST_ROWS = 4_096, 16_384  # of the sample whose curvature a descent walks by
SAMPLE_NUMBERS = 2**20  # in it, between these bounds
ROWS_PER_COLUMN = 16  # at least, where curvature is more than that of single columns
CONFIRMED: tuple[Stop, ...] = ("tolerance", "rounding")  # ends that ask whether they are right
NEAR = 4.0  # times what the minimiser itself costs on a sample, of which q / m of the loss is its share


def survey(rows: Divisible, p: int, seed: int) -> Survey:
    """The first reading of rows of p columns."""
    size = min(max(LEAST_ROWS, SAMPLE_NUMBERS // max(p, 1)), MOST_ROWS)
    if p <= DENSE_COLUMNS:
        size = max(size, ROWS_PER_COLUMN * p)
    return fold(Survey(Tally(), Spread(), Sample(size, seed)), rows)


@dataclass(frozen=True, eq=False)
class Approach:
    """A descent as far as estimates lead it."""

    problem: Streamed
    seen: Survey
    solver: Solver[Streamed]
    outcome: Outcome[Estimate]

    @property
    def coordinates(self) -> Coordinates:
        return self.problem.coordinates


def approach(
    rows: Walkable,
    seen: Survey,
    solver: Solver[Streamed],
    limits: Limits,
    *,
    intercept: bool,
    l2: float,
    start: Floats | None = None,
    watch: Watch | None = None,
    alone: bool = False,
) -> Approach:
    """Descend on rows of one target until the estimated distance is within the tolerance.

    Where it is `alone`, no exact answer confirms that afterwards: probes then say what an estimate
    can be sure of. It begins at `start` (q,), in the user's units, where there is one and the sample
    finds it near.
    """
    coordinates = seen.spread.coordinates
    coordinates = coordinates if intercept else coordinates.about_zero()
    assert seen.sample.batch is not None
    problem = Streamed(
        rows,
        Squared(),
        Ridge(l2),
        coordinates,
        seen.sample.batch,
        seen.tally.n_used,
        seen.spread.total,
    )
    if alone:
        probes = Probes(problem.sketch, coordinates, seen.sample.seed)
        problem = replace(problem, probes=probes)
    spare = seen.spread.n_rows - coordinates.width
    outcome = drive(
        solver,
        problem,
        _beginning(problem, start),
        Estimator(problem, spare),
        limits,
        watch=watch,
    )
    return Approach(problem, seen, solver, outcome)


def _beginning(problem: Streamed, start: Floats | None) -> State:
    """The given start, settled, where a sample of m rows cannot tell it from the minimiser.

    That fits the sample worse than the sample's own minimiser does, on average by q/m of the loss. A start
    that does much worse is further off than a stochastic pass lands, and is left aside.
    """
    cold = State(problem.sketch.start, 1.0)
    if start is None:
        return cold
    theta = problem.coordinates.theta(start[:, None])
    spare = min(NEAR * len(theta) / len(problem.sample.x), 1.0)
    if not problem.sampled(theta) <= (1 + spare) * problem.sampled(cold.theta):
        return cold
    return State(theta, 1.0, settled=True)


def confirmed(
    found: Approach, exact: Exact, limits: Limits, watch: Watch | None = None
) -> Outcome[Certificate]:
    """The outcome, certified; where that is further than the tolerance, the descent goes on.

    The trace has the certified distances in place of the estimated ones. An estimate may have taken
    another point for the best one, or there was none: what counts is the nearest point of the trace.
    """

    def judge(coef: Floats) -> Certificate:
        return certify_all(exact, coef)

    came = found.outcome
    judged = [judge(step.coef) for step in came.trace]
    trace = tuple(
        replace(step, within=seen.within, estimated=False)
        for step, seen in zip(came.trace, judged, strict=True)
    )
    state, coef, certificate = came.state, came.coef, judge(came.coef)
    if certificate.within > limits.tol and judged:
        at = min(range(len(judged)), key=lambda i: judged[i].within)
        if judged[at].within < certificate.within:
            coef, certificate = trace[at].coef, judged[at]
            state = State(found.coordinates.theta(coef[:, None]))
    if certificate.within <= limits.tol or came.stop not in CONFIRMED:
        arrived = certificate.within <= limits.tol and came.stop != "interrupted"
        return Outcome(state, coef, certificate, trace, "tolerance" if arrived else came.stop)
    last = trace[-1]
    further = drive(
        found.solver,
        found.problem,
        State(state.theta, last.passes, settled=True),
        lambda state: judge(found.coordinates.coef(state.theta)[:, 0]),
        limits,
        watch=watch,
        seconds_before=last.seconds,
    )
    return replace(further, trace=(*trace, *further.trace))
