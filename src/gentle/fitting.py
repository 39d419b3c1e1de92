"""gentle.fit: rows to model to pass to solve to result, in one reading."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gentle.batch import INTERCEPT, Floats
from gentle.certificate import Certificate, certify, covariance, sigma2
from gentle.design import Design, Held, Missing, Rows, learn_design
from gentle.driver import Outcome, Progress, Stop, drive
from gentle.engines import Divisible, fold
from gentle.errors import GentleError, GentleWarning, check_seed, listed, near
from gentle.losses import Squared
from gentle.penalties import Ridge
from gentle.problem import Dependent, Quadratic, Streamed, distinctness, reduce
from gentle.result import Fit
from gentle.solvers import SGD, State
from gentle.sources import Source, hold_out, open_source, pair_target, with_columns
from gentle.statistics import Moments, Opening, Sample, Score, Tally, Triangle
from gentle.verdict import Cause, Verdict, exact_verdict, verdict

DESCENTS = {"sgd": SGD}
SOLVERS = ("auto", "exact", *DESCENTS)
RANKS = ("drop", "raise")
DISTINCT = 1e-3  # cross-products lose half of the digits below this; the rows are read again
SAMPLE_ROWS = 2_048  # at least so many, for the curvature that a descent walks by
SAMPLE_ROWS_PER_COLUMN = 8
HELD_BYTES = 2**28
MAX_PASSES = 100
LARGEST = 1e140  # of a number, and of its inverse
MOST_TERMS = 3  # of a combination that is written out


def fit(
    data: Any,
    formula: str | None = None,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    intercept: bool = True,
    weights: str | Sequence[float] | None = None,
    frequencies: str | Sequence[float] | None = None,
    l2: float = 0.0,
    solver: str = "auto",
    tol: float = 1e-3,
    rank: str = "drop",
    missing: Missing = "drop",
    seed: int = 0,
    test: float | None = None,
    shuffle: bool = False,
    watch: Callable[[Progress], None] | None = None,
) -> Fit:
    """Fit a linear model by least squares and say how far its coefficients are from the exact ones.

    Minimises 1/(2W) sum_i w_i (y_i - x_i'b)^2 + l2/2 sum_j b_j^2 over n rows of mass w_i, W = sum w_i;
    the constant is not penalised.

    Args:
        data: a frame (anything that speaks the Arrow C stream), the path of a .csv or .parquet
            file, or a pair (X, y) of arrays or tensors, X (n, p) and y (n,) or (n, 1).
        formula: a Wilkinson formula such as "price ~ carat + C(cut)".
        target: the column to explain, where there is no formula.
        features: the columns that explain it; by default every other column.
        names: names for the columns of X, where X is an array.
        intercept: whether the model has a constant; a formula says so by itself ("- 1").
        weights: precisions (n,), or the name of their column. A row of weight 0 is absent.
        frequencies: how many rows each row stands for, likewise.
        l2: strength of the ridge.
        solver: "exact" or "auto" for the exact answer; "sgd" for the descent, with the exact
            answer beside it.
        tol: how near the descent must come to the exact answer, in standard errors.
        rank: "drop" leaves out a column that is a combination of those before it, as R does, and
            names it; "raise" refuses it.
        missing: "drop" leaves out rows with a null or NaN, and counts them; "raise" refuses them.
        seed: of everything that is drawn: the sample, the minibatches and a shuffled split.
        test: the share of the rows to hold out and score: the last ones, or with shuffle random ones.
        shuffle: whether the held-out rows are drawn at random.
        watch: called with each step of the descent.

    Raises:
        GentleError (a ValueError): with one sentence that says what is needed, what was found and
            where, and the way out.
    """
    source = open_source(data, names)
    if formula is None and target is None:
        target = pair_target(data)
    source, weight_column = _beside(source, "(weights)", weights)
    source, frequency_column = _beside(source, "(frequencies)", frequencies)
    tested: Source | None = None
    if test is not None:
        check_seed(seed)
        source, tested = hold_out(source, test, shuffle=shuffle, seed=seed)
    design = learn_design(
        source,
        formula,
        target=target,
        features=features,
        intercept=intercept,
        weights=weight_column,
        frequencies=frequency_column,
        missing=missing,
    )
    found = fit_rows(
        Rows(source, design),
        l2=l2,
        solver=solver,
        tol=tol,
        rank=rank,
        seed=seed,
        watch=watch,
    )
    if found.design.intercept and found.n_rows > 1 and found.tss <= 0:
        raise GentleError(
            f"the target '{design.target}' of {source.name} has the same value in every row: "
            "there is nothing for columns to explain"
        )
    if tested is None:
        return found
    score = Score(found.slopes, found.intercept)
    return replace(found, test=fold(score, Rows(tested, design)))


def fit_rows(
    rows: Rows,
    *,
    l2: float = 0.0,
    solver: str = "auto",
    tol: float = 1e-3,
    rank: str = "drop",
    seed: int = 0,
    watch: Callable[[Progress], None] | None = None,
) -> Fit:
    """Fit rows whose design is known; see `fit` for the arguments."""
    _check_options(solver=solver, tol=tol, rank=rank)
    check_seed(seed)
    penalty = Ridge(l2)
    design = rows.design
    walked = _held(rows) if solver in DESCENTS else rows
    sample = Sample(max(SAMPLE_ROWS, SAMPLE_ROWS_PER_COLUMN * len(design.names)), seed)
    opening = fold(Opening(Tally(), Moments(), sample), walked)
    _check_rows(opening.tally, rows)
    problem = _reduced(opening.moments, walked, design, l2)
    dropped = _dropped(problem, rows, rank)
    outcome = None
    if solver in DESCENTS:
        outcome = _descend(
            DESCENTS[solver](seed=seed),
            problem,
            walked,
            penalty,
            opening.sample,
            tol=tol,
            watch=watch,
        )
    return _result(problem, design, opening.tally, dropped, outcome, solver=solver, tol=tol)


def _beside(
    source: Source, role: str, given: str | Sequence[float] | None
) -> tuple[Source, str | None]:
    """The name of a column that was given by name, or as an array, which joins the source."""
    if given is None or isinstance(given, str):
        return source, given
    return with_columns(source, {role: given}), role


def _check_options(*, solver: str, tol: float, rank: str) -> None:
    if solver not in SOLVERS:
        raise GentleError(f"there is no solver '{solver}': {near(solver, SOLVERS)}")
    if rank not in RANKS:
        raise GentleError(f"there is no rank rule '{rank}': {near(rank, RANKS)}")
    if not 0 < tol < float("inf"):
        raise GentleError(f"tol must be a number above 0, in standard errors, and is {tol}")


def _check_rows(tally: Tally, rows: Rows) -> None:
    """Raises GentleError where nothing is left to fit, and says what became of the rows."""
    if not rows.design.names and not rows.design.intercept:
        raise GentleError("the model has neither columns nor a constant: there is nothing to fit")
    if tally.n_used:
        return
    reasons = [f"{count:,} with a missing '{name}'" for name, count in tally.missing.items()]
    if tally.n_weightless:
        reasons.append(f"{tally.n_weightless:,} of weight zero")
    left = f" ({', '.join(reasons)})" if reasons else ""
    raise GentleError(
        f"no row of {rows.source.name} is left to fit: {tally.n_read:,} were read{left}"
    )


def _held(rows: Rows) -> Rows | Held:
    """The rows as numbers in memory, where they take little of it: a descent walks them often."""
    size = 8 * rows.source.height() * (len(rows.design.names) + 1)
    return Held(tuple(rows)) if size <= HELD_BYTES else rows


def least_squares(rows: Rows, *, l2: float) -> Quadratic:
    """The least-squares problem of rows, reduced: what an exact answer or a certificate needs."""
    return _reduced(fold(Moments(), rows), rows, rows.design, l2)


def _reduced(moments: Moments, rows: Divisible, design: Design, l2: float) -> Quadratic:
    """From the cross-products, or where these lose too many digits from the rows, read again."""
    triangle = moments.triangle()
    _check_sizes(triangle, design)
    if distinctness(triangle, intercept=design.intercept).min(initial=1.0) < DISTINCT:
        triangle = fold(Triangle.zero(triangle.coordinates), rows)
    return reduce(triangle, intercept=design.intercept, l2=l2)


def _check_sizes(triangle: Triangle, design: Design) -> None:
    """Raises GentleError for numbers whose squares float64 cannot hold."""
    units = triangle.coordinates
    sizes = dict(zip(design.names, zip(units.centre, units.scale, strict=True), strict=True))
    sizes[design.target] = (units.target_centre[0], units.target_scale[0])
    sizes["the sum of the weights"] = (0.0, triangle.total)
    for name, (centre, scale) in sizes.items():
        if not (1 / LARGEST <= scale <= LARGEST and abs(centre) <= LARGEST):
            size = max(abs(centre), scale)
            raise GentleError(
                f"{name} has values of about {size:.1e}, whose squares are beyond float64: give it in "
                "another unit"
            )


def _dropped(problem: Quadratic, rows: Rows, rank: str) -> dict[str, str]:
    """Column -> what it is made of, for the columns that the rank rule left out."""
    names = rows.design.names
    dropped = {names[it.column]: _combination(it, names) for it in problem.dependent}
    if not dropped:
        return dropped
    first, made_of = next(iter(dropped.items()))
    if rank == "raise":
        raise GentleError(
            f"column '{first}' of {rows.source.name} is {made_of}, so its coefficient cannot be "
            "told: leave it out, or let rank='drop' do so"
        )
    warnings.warn(
        f"left out {listed(dropped)}: a combination of the columns before ({first} = {made_of})",
        GentleWarning,
        stacklevel=4,
    )
    return dropped


def _combination(dependent: Dependent, names: Sequence[str]) -> str:
    """A linear combination for print: '2 * a + 1', or 'constant'."""
    if not dependent.on:
        return (
            "constant, to the rounding of its values" if dependent.constant else "zero in every row"
        )
    if len(dependent.on) > MOST_TERMS:
        return f"a combination of {listed((names[j] for j in dependent.on), most=4)}"
    terms = [
        names[j] if abs(slope - 1) < 1e-9 else f"{slope:.6g} * {names[j]}"
        for j, slope in zip(dependent.on, dependent.slopes, strict=True)
    ]
    largest = max(map(abs, dependent.slopes))
    if abs(dependent.constant) > 1e-9 * largest:
        terms.append(f"{dependent.constant:.6g}")
    return " + ".join(terms).replace("+ -", "- ")


def _descend(
    solver: SGD,
    problem: Quadratic,
    rows: Divisible,
    penalty: Ridge,
    sample: Sample,
    *,
    tol: float,
    watch: Callable[[Progress], None] | None,
) -> Outcome:
    assert sample.batch is not None
    streamed = Streamed(rows, Squared(), penalty, problem.coordinates, sample.batch)
    return drive(
        solver,
        streamed,
        State(np.zeros_like(problem.minimiser)),
        lambda theta: certify(problem, theta),
        tol=tol,
        max_passes=MAX_PASSES,
        watch=watch,
    )


def _result(
    problem: Quadratic,
    design: Design,
    tally: Tally,
    dropped: dict[str, str],
    outcome: Outcome | None,
    *,
    solver: str,
    tol: float,
) -> Fit:
    """Everything in the user's units, in the order of the design, nan where a column was left out."""
    names = (INTERCEPT,) * design.intercept + design.names
    first = int(design.intercept)
    columns = problem.coordinates.columns
    assert columns is not None
    kept = np.concatenate([np.arange(first), columns + first]).astype(int)

    def placed(theta: Floats) -> Floats:
        values = np.full(len(names), np.nan)
        values[kept] = problem.coordinates.coef(theta)[:, 0]
        return values

    vcov = np.full((len(names), len(names)), np.nan)
    if not problem.l2:
        vcov[np.ix_(kept, kept)] = covariance(problem)
    exact = placed(problem.minimiser)
    descent = None if outcome is None else placed(outcome.theta)
    certificate = certify(problem, problem.minimiser) if outcome is None else outcome.certificate
    unit = float(problem.coordinates.target_scale[0]) ** 2
    return Fit(
        design=design,
        names=names,
        values=exact if descent is None else descent,
        solver="exact" if outcome is None else solver,
        tol=tol,
        l2=problem.l2,
        vcov=vcov,
        rss=float(problem.rss[0]) * unit,
        tss=float(problem.tss[0]) * unit,
        sigma=float(np.sqrt(sigma2(problem))),
        df_resid=problem.df_resid,
        tally=tally,
        n_rows=problem.n_rows,
        condition=problem.condition,
        certificate=certificate,
        verdict=_verdict(certificate, tuple(names[j] for j in kept), tol, outcome),
        exact_values=exact,
        descent_values=descent,
        trace=() if outcome is None else outcome.trace,
        dropped=dropped,
        interrupted=outcome is not None and outcome.stop == "interrupted",
    )


CAUSES: dict[Stop, Cause] = {
    "tolerance": "agree",
    "rounding": "precision",
    "passes": "not converged",
    "interrupted": "interrupted",
}


def _verdict(
    certificate: Certificate, names: tuple[str, ...], tol: float, outcome: Outcome | None
) -> Verdict:
    if outcome is None:
        return exact_verdict(certificate, names)
    return verdict(certificate, names, tol, CAUSES[outcome.stop])
