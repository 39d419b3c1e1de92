"""The pace of the textbook's rules beside what the spectrum of the data predicts, and their limits.

    python bench/rules.py

A rule on a quadratic leaves a fixed share of the error at each late step. The share is predicted from the
eigenvalues of the Hessian, in columns of mean 0 and spread 1, and measured as the slope of the log distance
to the exact minimiser. Just below its limit a rule arrives; just above it ends at once with a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from gentle.answering import least_squares
from gentle.choices import Choices
from gentle.design import Rows, learn_design
from gentle.errors import GentleError
from gentle.losses import Squared
from gentle.passes import fold
from gentle.penalties import Ridge
from gentle.problem import Streamed
from gentle.solvers import GD, Momentum, Nesterov, Newton, Solver, State
from gentle.sources import open_source
from gentle.statistics import Sample

ROWS, COLUMNS = 1_000, 4
NEAR, FAR = 1e-11, 1e-6  # distances between which a pace is measured
RULES: tuple[Solver[Streamed], ...] = (
    GD(),
    GD(learning_rate=0.3),
    Momentum(),
    Momentum(learning_rate=0.2),
    Momentum(learning_rate=0.3, momentum=0.5),
    Nesterov(),
    Nesterov(learning_rate=0.2),
    Nesterov(learning_rate=0.3, momentum=0.8),
    Newton(learning_rate=0.1),
)


def problem() -> tuple[Streamed, np.ndarray]:
    """Correlated columns of unequal units, as a fit makes them; and the minimiser (q, 1)."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(ROWS, 1)) * np.array([0.2, 0.6, 1.2, 2.4])
    x = rng.normal(size=(ROWS, COLUMNS)) + common
    y = x @ rng.normal(size=COLUMNS) + rng.normal(size=ROWS)
    source = open_source((x * 10.0 ** np.arange(COLUMNS) + 5, y))
    rows = Rows(source, learn_design(source, targets=("y",)))
    exact = least_squares(rows, Choices()).problem
    sample = fold(Sample(ROWS), rows).batch
    assert sample is not None
    found = Streamed(
        rows.held(),
        Squared(),
        Ridge(0.0),
        exact.coordinates,
        sample,
        ROWS,
        exact.total,
        exact.curvature(),
    )
    return found, exact.minimiser


def distances(rule: Solver[Streamed], on: Streamed, exact: np.ndarray) -> Iterator[float]:
    """Of the states of a rule, from a step beside the minimiser in every direction."""
    for state in rule.steps(on, State(exact + 1.0)):
        yield float(np.linalg.norm(state.theta - exact))


def pace(rule: Solver[Streamed], on: Streamed, exact: np.ndarray) -> float:
    """What a late step leaves of the distance."""
    late = [
        (at, np.log(d))
        for at, d in enumerate(islice(distances(rule, on, exact), 5_000))
        if NEAR < d < FAR
    ]
    return float(np.exp(np.polyfit(*np.array(late).T, 1)[0]))


def refused(rule: Solver[Streamed], on: Streamed, exact: np.ndarray) -> bool:
    """Whether a rule ends before its first step."""
    try:
        next(distances(rule, on, exact))
    except GentleError:
        return True
    return False


if __name__ == "__main__":
    on, exact = problem()
    spectrum = on.curvature().spectrum
    print(f"eigenvalues {', '.join(f'{value:.3f}' for value in spectrum)}")
    print(f"{'':42}{'predicted':>10}{'measured':>10}{'off by':>8}")
    for rule in RULES:
        found = rule.contraction if isinstance(rule, Newton) else rule.contraction(spectrum)  # type: ignore[attr-defined]
        measured = pace(rule, on, exact)
        off = abs(np.log(measured) / np.log(found) - 1)
        print(
            f"{str(rule).replace('=None', '=auto'):48.48}{found:>8.4f}{measured:>8.4f}{off:>7.1%}"
        )
    print()
    print(f"{'':24}{'largest stable rate':>20}{'0.999 of it leaves':>20}{'1.001 of it':>13}")
    for name, make in (
        ("gd", GD),
        ("momentum 0.5", lambda rate: Momentum(rate, 0.5)),
        ("momentum 0.9", lambda rate: Momentum(rate, 0.9)),
        ("nesterov 0.5", lambda rate: Nesterov(rate, 0.5)),
        ("nesterov 0.9", lambda rate: Nesterov(rate, 0.9)),
    ):
        limit = make(0.1).limit(spectrum)
        *_, last = islice(distances(make(0.999 * limit), on, exact), 5_000)
        above = "refused" if refused(make(1.001 * limit), on, exact) else "NOT refused"
        start = np.sqrt(len(exact))
        print(f"{name:24}{limit:>20.4f}{last / start:>20.1e}{above:>13}")
