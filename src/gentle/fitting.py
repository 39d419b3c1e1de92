"""gentle.fit: rows to model to pass to solve to result, in one reading."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any, TypeVar

import numpy as np
import torch

from gentle.approach import Approach, approach, confirmed, survey
from gentle.batch import INTERCEPT, Batch, Floats
from gentle.certificate import Certificate, certify
from gentle.choices import DESCENTS, Choices
from gentle.coefficients import starts
from gentle.coordinates import Coordinates
from gentle.descended import Descended
from gentle.design import Design, Held, Missing, Rows, learn_design
from gentle.driver import Outcome, Progress, drive
from gentle.engines import Divisible, fold
from gentle.errors import (
    CovarianceWarning,
    GentleError,
    PrecisionWarning,
    RankWarning,
    check_seed,
    listed,
    near,
)
from gentle.exact import Exact, Placing, dropping, least_norm, polish, solve
from gentle.losses import Squared
from gentle.meat import Sandwich, sandwich
from gentle.online import RANDOM_SCALING, OnePass, one_pass
from gentle.penalties import Ridge
from gentle.problem import Dependent, Quadratic, Streamed, distinctness, reduce
from gentle.result import Descent, Fit, Fits
from gentle.shuffling import Changed, Walkable
from gentle.solvers import State
from gentle.sources import Source, hold_out, open_source, pair_targets, with_columns
from gentle.sparse import is_sparse
from gentle.statistics import EPSILON, Moments, Opening, Sample, Score, Tally, Triangle, merged
from gentle.verdict import alone_verdict, descent_verdict, exact_verdict

GROWN = 1e3  # growth of rounding in sums, from which the rows are read again about their means
DISTINCT = 1e-3  # cross-products lose half of the digits below this; the rows are read again
EXACT_COLUMNS = 4_096  # of which the exact answer is made beside a descent
ALONE = ("sgd", "lbfgs", "cg")  # that go without the Hessian of all rows
SAMPLE_ROWS = 20_000  # that say which rate minibatches bear
POLISHED_NUMBERS = 1e6  # up to so many numbers a polish costs milliseconds, and is always made
LARGEST = 1e140  # of a number, and of its inverse
MOST_TERMS = 3  # of a combination that is written out

BESIDE = ("weights", "frequencies", "offset", "cluster")  # what may be given as arrays
OF_ONE_PASS = ("data", "formula", "target", "features", "names", "intercept", "weights", "missing")
ONE_PASS_KNOWS = ("passes", "errors", "solver", "seed")  # it draws nothing

F = TypeVar("F", Fit, Descended)
W = TypeVar("W", bound=Walkable)
Column = str | Sequence[Any]  # the name of a column, or its values (n,)


def fit(
    data: Any,
    formula: str | None = None,
    *,
    target: str | Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    intercept: bool = True,
    weights: Column | None = None,
    frequencies: Column | None = None,
    offset: Column | None = None,
    l2: float = 0.0,
    solver: str = "auto",
    tol: float = 1e-3,
    digits: float | None = None,
    errors: str | None = None,
    cluster: Column | tuple[Column, ...] | None = None,
    lags: int | None = None,
    use_t: bool = True,
    rank: str = "drop",
    method: str = "auto",
    missing: Missing = "drop",
    seed: int = 0,
    max_passes: float = 100,
    time_limit: float | None = None,
    learning_rate: float | None = None,
    momentum: float | None = None,
    batch_size: int | None = None,
    schedule: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    start: Any = None,
    test: float | None = None,
    shuffle: bool = False,
    watch: Callable[[Progress], None] | None = None,
    passes: int | None = None,
) -> Fit | Fits | Descended | OnePass:
    """Fit a linear model by least squares and say how far its coefficients are from the exact ones.

    Minimises 1/(2W) sum_i w_i (y_i - o_i - x_i'b)^2 + l2/2 sum_j b_j^2 over n rows of mass w_i and
    offset o_i, W = sum w_i; the constant is not penalised.

    Args:
        data: a frame (anything that speaks the Arrow C stream), the path of a .csv or .parquet
            file, or a pair (X, y) of arrays or tensors, X (n, p) and y (n,), or (n, k) for k targets.
        formula: a Wilkinson formula such as "price ~ carat + C(cut)"; powers such as I(x**3) and
            poly(x, 3, raw=True) are taken exactly, not as float64 rounds them.
        target: the column to explain, where there is no formula; several make several fits.
        features: the columns that explain it; by default every column that has no other part.
        names: names for the columns of X, where X is an array.
        intercept: whether the model has a constant; a formula says so by itself ("- 1").
        weights: precisions (n,), or the name of their column. A row of weight 0 is absent.
        frequencies: how many rows each row stands for, likewise.
        offset: a part of the target that is known, (n,) or a column's name; its coefficient is 1.
        l2: strength of the ridge.
        solver: "exact" or "auto" for the exact answer; "sgd" for the descent, with the exact
            answer beside it. The textbook's rules, to learn from and to compare: "gd" for gradient
            descent, "momentum" for the heavy ball, "nesterov", "minibatch", "lbfgs", "cg" for conjugate
            gradients, and "newton"; most are slow where columns are nearly dependent.
        tol: how near to the exact answer, in standard errors: a descent goes on until it is certified
            to be there, and an exact answer is polished where rounding may have moved it further.
        digits: how many digits every coefficient must be certified to have; asks for a polish.
        errors: "classical" standard errors; "HC0", "HC1", "HC2" or "HC3" where the variance differs
            from row to row; "cluster" where rows of a group belong together, which `cluster` asks for
            by itself; "HAC" (Newey and West 1987) where neighbouring rows do; "random-scaling" of one pass.
        cluster: the groups, as a column's name or labels (n,); a tuple of two for two-way clusters.
        lags: how many neighbours "HAC" looks at; by default floor(4 (n/100)^(2/9)).
        use_t: t intervals and p-values; False takes the normal distribution.
        rank: "drop" leaves out a column that is a combination of those before it, as R does, and
            names it; "minimum-norm" shares its part among them so that the slopes are the shortest;
            "raise" refuses it.
        method: "auto" makes cross-products and reads the rows again for a QR triangle where these
            lose too many digits; "qr" makes the triangle at once.
        missing: "drop" leaves out rows with a null or NaN, and counts them; "raise" refuses them.
        seed: of everything that is drawn: the sample, the minibatches and a shuffled split.
        max_passes: how many readings of the rows a descent may take.
        time_limit: how many seconds a descent may take; it then ends at the best point so far.
        learning_rate: of "gd", "momentum", "nesterov", "minibatch" and "newton", in columns of mean 0
            and spread 1; by default each takes a good one for the data. One above the largest stable
            one is refused.
        momentum: of "momentum" and "nesterov", from 0 to below 1; by default the best for the rate.
        batch_size: of "minibatch" and "sgd": how many rows a step sees; by default 64 and 256.
        schedule: of "minibatch": "constant" or "1/t", whose rate falls so that it settles.
        start: where a descent starts: a `Fit`, name -> coefficient or an array (q,) in the order of the
            names, the constant first; of several targets target -> start, or `Fits`. The solver "sgd"
            then leaves out its stochastic pass, if the start is as near as that would bring it.
        device, dtype: where a descent walks the rows and in which type it holds them there, such as
            "cuda" and "float32"; by default here and as they are. Sums and the certificate are in
            float64 anyway, and the exact answer is made here.
        test: the share of the rows to hold out and score: the last ones, or with shuffle random ones.
        shuffle: whether the held-out rows are drawn at random.
        watch: called with each step of the descent.
        passes: 1, with errors="random-scaling", for one stochastic pass in the order of the rows, which
            are met once and not kept: `data` may then also be an iterator of pairs or of frames. The
            rows must be in random order; sorted ones break it.

    Returns:
        a `Fit`, or for several targets `Fits`, which has one for each; of one pass a `OnePass`.

    Raises:
        GentleError (a ValueError): with one sentence that says what is needed, what was found and
            where, and the way out.
    """
    if passes is not None or errors == RANDOM_SCALING:
        return _met_once(locals())
    choices = Choices(
        l2=l2,
        solver=solver,
        tol=tol,
        digits=digits,
        errors=_errors(errors, cluster),
        lags=lags,
        use_t=use_t,
        rank=rank,
        method=method,
        seed=seed,
        max_passes=max_passes,
        time_limit=time_limit,
        learning_rate=learning_rate,
        momentum=momentum,
        batch_size=batch_size,
        schedule=schedule,
        device=device,
        dtype=dtype,
    )
    tested: Source | None = None
    source, parts = open_rows(
        data,
        names=names,
        weights=weights,
        frequencies=frequencies,
        offset=offset,
        cluster=cluster,
    )
    if formula is None and target is None:
        target = pair_targets(data)
    if test is not None:
        check_seed(seed)
        source, tested = hold_out(source, test, shuffle=shuffle, seed=seed)
    design = learn_design(
        source,
        formula,
        targets=(target,) if isinstance(target, str) else tuple(target or ()),
        features=features,
        intercept=intercept,
        missing=missing,
        **parts,
    )
    rows = Rows(source, design)
    begin = None if start is None else _starts(start, design, choices)
    if is_wide(design, choices):
        alone = descend_rows(rows, choices, watch=watch, begin=begin)
        return alone if tested is None else _scored(alone, 0, Rows(tested, design))
    found = fit_rows(rows, choices, watch=watch, begin=begin)
    for one in found:
        refuse_constant_target(one, source)
    if tested is not None:
        found = tuple(_scored(one, at, Rows(tested, design)) for at, one in enumerate(found))
    return found[0] if len(found) == 1 else Fits(found)


def _starts(start: Any, design: Design, choices: Choices) -> tuple[Floats, ...]:
    """Where the descent of each target starts, (q,)."""
    if not choices.descends:
        raise GentleError(
            f"solver='{choices.solver}' is the exact answer, which needs no start: leave it out, or take a "
            f"descent: {listed(DESCENTS, last='or')}"
        )
    names = (INTERCEPT,) * design.intercept + design.names
    return starts(start, names, design.targets, intercept=design.intercept)


def _met_once(asked: Mapping[str, Any]) -> OnePass:
    """`fit` in one pass, of everything that it was asked."""
    if asked["passes"] != 1 or asked["errors"] != RANDOM_SCALING:
        raise GentleError(
            f"passes=1 and errors='{RANDOM_SCALING}' belong together, and these are "
            f"{asked['passes']!r} and {asked['errors']!r}: one pass has no other intervals, and these "
            "need one pass; max_passes bounds a descent"
        )
    if asked["solver"] not in ("auto", "sgd"):
        raise GentleError(
            f"one pass is a stochastic descent, and solver is {asked['solver']!r}: leave it out"
        )
    known = signature(fit).parameters
    other = [name for name in known if name not in (*OF_ONE_PASS, *ONE_PASS_KNOWS)]
    if beside := [name for name in other if not _same(asked[name], known[name].default)]:
        raise GentleError(
            f"one pass with errors='{RANDOM_SCALING}' has no {listed(beside, last='or')}: leave it out"
        )
    return one_pass(**{name: asked[name] for name in OF_ONE_PASS})


def _same(value: Any, default: object) -> bool:
    """Whether a choice is the default one; columns, which compare by element, are never that."""
    return value is default or (isinstance(value, str | int | float) and value == default)


def open_rows(
    data: Any,
    *,
    names: Sequence[str] | None = None,
    weights: Column | None = None,
    frequencies: Column | None = None,
    offset: Column | None = None,
    cluster: Column | tuple[Column, ...] | None = None,
) -> tuple[Source, dict[str, Any]]:
    """A source with what was given beside it, and the names its parts go by there."""
    source = open_source(data, names)
    parts: dict[str, Any] = {}
    given = {"weights": weights, "frequencies": frequencies, "offset": offset}
    for part, column in given.items():
        source, parts[part] = _beside(source, f"({part})", column)
    keys = cluster if isinstance(cluster, tuple) else () if cluster is None else (cluster,)
    if any(key is None for key in keys):
        raise GentleError(
            "a cluster was given as None: give the labels of each way, or leave it out"
        )
    if len(keys) > 2:
        raise GentleError(
            f"clusters go one way or two, and {len(keys)} were given: labels of one way belong in "
            "a list or an array"
        )
    clusters = []
    for at, key in enumerate(keys):
        name = "(cluster)" if len(keys) == 1 else f"(cluster {at + 1})"
        source, found = _beside(source, name, key, labels=True)
        clusters.append(found)
    return source, {**parts, "clusters": tuple(clusters)}


def rows_again(design: Design, data: Any, **beside: Any) -> Rows:
    """Rows that are given again to a fit, with all the columns that it needs.

    Raises GentleError for a column that is not there.
    """
    if foreign := [name for name in beside if name not in BESIDE]:
        raise GentleError(f"rows have no {listed(foreign)} beside them: {near(foreign[0], BESIDE)}")
    source, _ = open_rows(data, names=design.names, **beside)
    schema = source.schema()
    for name in design.needed:
        if name not in schema:
            raise GentleError(
                f"{source.name} has no column '{name}', which the fit needs: {near(name, schema)}; "
                "what the fit was given as an array must be given again"
            )
    return Rows(source, design)


def fit_rows(
    rows: Rows,
    choices: Choices,
    *,
    watch: Callable[[Progress], None] | None = None,
    begin: Sequence[Floats | None] | None = None,
) -> tuple[Fit, ...]:
    """Fit rows whose design is known, a fit for each target; a descent may begin (q,) somewhere."""
    begin = begin or [None] * len(rows.design.targets)
    walked = rows.held() if choices.descends else rows
    ways = _approaches(walked, rows, choices, begin, watch) if choices.samples else ()
    sampled = choices.descends and not choices.samples
    return _fits(answer(rows, walked, choices, sampled=sampled), ways, choices, begin, watch)


@dataclass(frozen=True, eq=False)
class Answered:
    """The exact answer for some rows, which any number of descents may be held against."""

    rows: Rows
    walked: Rows | Held  # the same, as a descent walks them
    written: Rows | Held  # the same, dense and of float64
    opening: Opening
    exact: Exact
    placing: Placing
    passes: int  # readings of the rows that it took
    seconds: float


def answer(rows: Rows, walked: Rows | Held, choices: Choices, *, sampled: bool) -> Answered:
    """The exact answer for rows; with a sample of them, where a textbook's rule is to descend."""
    began = time.perf_counter()
    written = walked if isinstance(walked, Held) and walked.plain else rows
    counted = _Counted(written)
    opening = _opening(counted, choices, sampled=sampled)
    _check_rows(opening.tally, rows)
    problem = _reduced(opening, counted, rows.design, choices)
    exact = solve(problem)
    placing = _placing(exact, problem, rows, choices.rank)
    exact = _polished(exact, counted, opening.tally, choices)
    seconds = time.perf_counter() - began
    return Answered(rows, walked, written, opening, exact, placing, counted.passes, seconds)


def fit_answered(
    answered: Answered,
    choices: Choices,
    *,
    watch: Callable[[Progress], None] | None = None,
) -> tuple[Fit, ...]:
    """The same as `fit_rows`, where the exact answer is there and had a sample taken."""
    begin = [None] * len(answered.rows.design.targets)
    ways: tuple[Approach, ...] = ()
    if choices.samples:
        ways = _approaches(answered.walked, answered.rows, choices, begin, watch)
    return _fits(answered, ways, choices, begin, watch)


def _fits(
    answered: Answered,
    ways: Sequence[Approach],
    choices: Choices,
    begin: Sequence[Floats | None],
    watch: Callable[[Progress], None] | None,
) -> tuple[Fit, ...]:
    """The fit of each target: its exact answer, and the descent that is asked for or was begun."""
    rows, design, opening = answered.rows, answered.rows.design, answered.opening
    fits = []
    for at in range(len(design.targets)):
        mine = answered.exact.of(at)
        written = _of_target(answered.written, design, at)
        placing = answered.placing
        way = None
        if ways:
            way = _confirmed(ways[at], mine, placing, choices, watch)
        elif choices.descends:
            one = _of_target(_placed(answered.walked, choices), design, at)
            way = _descend(mine, placing, one, opening, at, choices, begin[at], watch)
        if way is not None:
            way = replace(way, exact_seconds=answered.seconds)
        fits.append(
            _result(mine, placing, design, at, opening, written, way, choices, single=rows.single)
        )
    _warn_of_digits(fits, choices)
    return tuple(fits)


def is_wide(design: Design, choices: Choices) -> bool:
    """Whether the exact answer is out of reach: it takes the square of the columns in memory and time."""
    return len(design.names) > EXACT_COLUMNS and choices.solver != "exact"


def descend_rows(
    rows: Rows,
    choices: Choices,
    *,
    watch: Callable[[Progress], None] | None = None,
    begin: Sequence[Floats | None] | None = None,
) -> Descended:
    """Fit rows of too many columns for an exact answer, by descent alone.

    Raises GentleError for what needs an exact answer, and for several targets.
    """
    design = rows.design
    choices = _refuse_what_is_exact(design, choices)
    (way,) = _approaches(rows.held(), rows, choices, begin or (None,), watch)
    state, units, tally = way.outcome.state, way.coordinates, way.seen.tally
    found = way.outcome.judgement
    if found is None or state.value is None:
        raise GentleError(
            f"the descent was ended ({way.outcome.stop}) before it had read the rows once to see where it "
            "stands: give it more passes or time"
        )
    names = (INTERCEPT,) * design.intercept + design.names
    square = way.seen.spread.total * float(units.target_scale[0]) ** 2
    return Descended(
        design=design,
        names=names,
        values=units.coef(state.theta)[:, 0],
        choices=choices,
        tally=tally,
        n_rows=way.seen.spread.n_rows,
        rss=square * way.problem.misfit(state.theta, state.value),
        tss=square,
        certificate=found,
        stop=way.outcome.stop,
        verdict=alone_verdict(
            found.within, found.unit, choices.tol, way.outcome.stop, way.outcome.trace[-1:]
        ),
        trace=way.outcome.trace,
    )


def _refuse_what_is_exact(design: Design, choices: Choices) -> Choices:
    """The choices of a descent alone; GentleError for those that it cannot keep."""
    many = (
        f"of {len(design.names):,} columns, more than {EXACT_COLUMNS:,}, there is no exact answer"
    )
    if choices.errors != "classical" or choices.digits is not None or choices.rank != "drop":
        raise GentleError(
            f"{many}, and errors, digits and rank ask for one: leave them out, or take solver='exact' "
            "and the time and memory it needs"
        )
    if len(design.targets) > 1:
        raise GentleError(f"{many}, and a descent alone has one target: fit them one by one")
    if choices.descends and choices.solver not in ALONE:
        raise GentleError(
            f"{many}, and the rule '{choices.solver}' takes its steps from it: take "
            f"{listed(ALONE, last='or')}"
        )
    return choices if choices.descends else replace(choices, solver="sgd")


class _Counted:
    """Rows that count how often they are read."""

    def __init__(self, rows: Divisible) -> None:
        self.rows, self.passes = rows, 0

    def split(self, parts: int) -> Sequence[Any]:
        self.passes += 1
        return self.rows.split(parts)


def _approaches(
    walked: Rows | Held,
    rows: Rows,
    choices: Choices,
    begin: Sequence[Floats | None],
    watch: Callable[[Progress], None] | None,
) -> tuple[Approach, ...]:
    """Descents that know the curvature of a sample alone, one for each target."""
    design = rows.design
    seen = survey(walked, len(design.names), choices.seed)
    _check_rows(seen.tally, rows)
    _check_sizes(seen.spread.coordinates, seen.spread.total, design.names, design.targets)
    placed = _placed(walked, choices)
    return tuple(
        approach(
            _of_target(placed, design, at),
            seen.of(at),
            choices.descent(),
            choices.limits,
            intercept=design.intercept,
            l2=choices.l2,
            start=begin[at],
            watch=watch,
        )
        for at in range(len(design.targets))
    )


def least_squares(rows: Rows, choices: Choices | None = None) -> Exact:
    """The exact answer for rows, polished where that is cheap or asked for."""
    choices = choices or Choices()
    opening = _opening(rows, choices, sampled=False)
    exact = solve(_reduced(opening, rows, rows.design, choices))
    return _polished(exact, rows, opening.tally, choices)


def from_sums(one: Fit, sums: Moments | Triangle, tally: Tally) -> Fit:
    """A fit like `one` of other rows, of which only the sums are there."""
    if one.choices.errors != "classical":
        warnings.warn(
            f"sums of rows have only classical standard errors, not {one.choices.errors}",
            CovarianceWarning,
            stacklevel=4,
        )
    choices = replace(one.choices, solver="exact", errors="classical", lags=None, digits=None)
    triangle = _with_rounding(sums.triangle(), one.design)
    names = one.design.names
    _check_sizes(triangle.coordinates, triangle.total, names, (one.target,))
    problem = reduce(triangle, intercept=one.design.intercept, l2=choices.l2, n_used=tally.n_used)
    exact = solve(problem)
    placing = _placing(exact, problem, None, choices.rank, names=one.design.names)
    opening = Opening(tally, sums)
    at = one.design.targets.index(one.target)
    return _result(exact, placing, one.design, at, opening, None, None, choices, single=one.single)


def fit_more(before: Sequence[Fit], rows: Rows, choices: Choices) -> tuple[Fit, ...]:
    """The exact fits of rows and of those before, of which only the sums are there, for each target."""
    opening = _opening(rows, choices, sampled=False)
    _check_rows(opening.tally, rows)
    found = []
    for at, one in enumerate(before):
        sums = merged(one.sums, opening.sums if len(before) == 1 else opening.sums.of(at))
        design = rows.design if one.design.weights is None else one.design
        like = replace(
            one,
            design=design,
            target=design.targets[at],
            choices=choices,
            single=one.single or rows.single,
        )
        found.append(from_sums(like, sums, one.tally.merge(opening.tally)))
    return tuple(found)


def refuse_constant_target(found: Fit, source: Source) -> None:
    """Raises GentleError for a target that does not vary."""
    if found.design.intercept and found.n_rows > 1 and found.tss <= 0:
        raise GentleError(
            f"the target '{found.target}' of {source.name} has the same value in every row: "
            "there is nothing for columns to explain"
        )


def _scored(found: F, at: int, rows: Rows) -> F:
    """The fit with its score on rows that were held out."""
    score = Score(found.slopes, found.intercept)
    return replace(found, held_out=fold(score, Changed(rows, partial(Batch.only, target=at))))


def _of_target(rows: W, design: Design, at: int) -> W | Changed:
    """The rows with one of their targets."""
    return rows if len(design.targets) == 1 else Changed(rows, partial(Batch.only, target=at))


def _placed(rows: Rows | Held, choices: Choices) -> Rows | Held | Changed:
    """The rows where and in the type that a descent is to walk them."""
    if choices.device is None and choices.dtype is None:
        return rows
    device, dtype = choices.device or "cpu", getattr(torch, choices.dtype or "float64")
    if isinstance(rows, Held):
        if device != "cpu" and any(is_sparse(part.x) for part in rows.batches):
            raise GentleError(
                f"sparse rows are walked by the processor, and device is '{device}': leave it out, or "
                "give the rows dense"
            )
        return rows.on(device, dtype)
    return Changed(rows, partial(Batch.to, device=device, dtype=dtype))


def _errors(errors: str | None, cluster: Any) -> str:
    """Which errors are meant: `cluster` alone asks for clustered ones."""
    if cluster is None:
        if errors == "cluster":
            raise GentleError(
                "errors='cluster' needs the groups: name their column with cluster, or give labels (n,)"
            )
        return errors or "classical"
    if errors not in (None, "cluster"):
        raise GentleError(
            f"cluster asks for clustered errors, and errors is '{errors}': leave one out"
        )
    return "cluster"


def _beside(
    source: Source, part: str, given: Column | None, *, labels: bool = False
) -> tuple[Source, str | None]:
    """The name of a column that was given by name, or as an array, which joins the source."""
    if given is None or isinstance(given, str):
        return source, given
    return with_columns(source, {part: given}, labels=labels), part


def _opening(rows: Divisible, choices: Choices, *, sampled: bool) -> Opening:
    """The first pass; with method="qr" it makes a triangle where it would make moments."""
    sample = Sample(SAMPLE_ROWS, choices.seed) if sampled else None
    sums = Moments() if choices.method == "auto" else Triangle.unplaced()
    return fold(Opening(Tally(), sums, sample), rows)


def _check_rows(tally: Tally, rows: Rows) -> None:
    """Raises GentleError where there is nothing to fit, or nothing to fit it to."""
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


def _reduced(opening: Opening, rows: Divisible, design: Design, choices: Choices) -> Quadratic:
    """From the cross-products, or where these lose too many digits from the rows, read again."""
    sums = opening.sums if isinstance(opening.sums, Moments) else opening.sums.triangle()
    _check_sizes(sums.coordinates, sums.total, design.names, design.targets)
    triangle = sums if isinstance(sums, Triangle) else sums.definite_triangle()
    coordinates = sums.coordinates
    if sums.growth > GROWN:  # these sums know the means badly, and the spreads worse
        coordinates = fold(Triangle.zero(coordinates), rows).triangle().coordinates
    if triangle is None or sums.growth > GROWN or _too_near(triangle, design):
        triangle = fold(Triangle.zero(coordinates), rows)
    triangle = _with_rounding(triangle, design)
    return reduce(triangle, intercept=design.intercept, l2=choices.l2, n_used=opening.tally.n_used)


def _with_rounding(triangle: Triangle, design: Design) -> Triangle:
    """The triangle of numbers that float64 rounded in units of their size, not of their spread.

    Powers are such numbers, and what an offset leaves of a target.
    """
    at = triangle.coordinates
    far = 0.0
    if design.encoder.computes:
        far = float(np.abs(at.centre / at.scale).max(initial=0.0))
    if design.offset is not None:
        far = max(far, float(np.abs(at.target_centre / at.target_scale).max()))
    return replace(triangle, growth=triangle.growth * (1 + far))


def _too_near(triangle: Triangle, design: Design) -> bool:
    """Whether some column is so near to the span of others that its cross-products say too little."""
    if not triangle.squared:
        return False
    near = distinctness(triangle, intercept=design.intercept)
    return bool(near.min(initial=1.0) < DISTINCT)


def _check_sizes(
    units: Coordinates, total: float, names: Sequence[str], targets: Sequence[str]
) -> None:
    """Raises GentleError for numbers whose squares float64 cannot hold."""
    centre = np.abs(np.concatenate([units.centre, units.target_centre, [0.0]]))
    scale = np.concatenate([units.scale, units.target_scale, [total]])
    for factor, beside in ((1.0, ""), (total**0.5, " times the root of the weights")):
        largest, least = np.maximum(centre, scale) * factor, scale * factor
        bad = np.flatnonzero(~((largest <= LARGEST) & (least >= 1 / LARGEST)))
        if len(bad):
            name = (*names, *targets, "the sum of the weights")[bad[0]]
            raise GentleError(
                f"{name}{beside} has values of about {largest[bad[0]]:.1e}, whose squares are beyond "
                "float64: give it in another unit"
            )


def _polished(exact: Exact, rows: Divisible, tally: Tally, choices: Choices) -> Exact:
    """The answer polished over the rows, where that takes milliseconds or its certificate asks for it."""
    small = tally.n_used * len(exact.coef) <= POLISHED_NUMBERS
    if not small and all(_sure(exact.of(at), choices) for at in range(len(exact.rss))):
        return exact
    return polish(exact, rows)


def _sure(exact: Exact, choices: Choices) -> bool:
    """Whether rounding cannot have moved the answer further than it may be."""
    certificate = certify(exact, exact.coef[:, 0])
    return certificate.within <= choices.tol and certificate.digits >= (choices.digits or 0.0)


def _warn_of_digits(fits: Sequence[Fit], choices: Choices) -> None:
    if choices.digits is None:
        return
    for one in fits:
        if one.certificate.digits < choices.digits:
            warnings.warn(
                f"{one.target}: {choices.digits:g} digits were asked for, and "
                f"{one.certificate.digits:.1f} are certified",
                PrecisionWarning,
                stacklevel=5,
            )


def _placing(
    exact: Exact, problem: Quadratic, rows: Rows | None, rank: str, names: tuple[str, ...] = ()
) -> Placing:
    """Where the coefficients that were solved for stand among all, and what became of the others."""
    names = rows.design.names if rows is not None else names
    made_of = {names[it.column]: combination(it, names) for it in problem.dependent}
    if not made_of:
        return dropping(exact, len(names))
    where = "the rows" if rows is None else rows.source.name
    first, combined = next(iter(made_of.items()))
    if rank == "raise":
        raise GentleError(
            f"column '{first}' of {where} is {combined}, so its coefficient cannot be "
            "told: leave it out, or let rank='drop' do so"
        )
    what = "left out" if rank == "drop" else "of the shortest coefficients, not the only ones:"
    warnings.warn(
        f"{what} {listed(made_of)}: a combination of the columns before ({first} = {combined})",
        RankWarning,
        stacklevel=5,
    )
    placing = dropping if rank == "drop" else least_norm
    return replace(placing(exact, len(names)), made_of=made_of)


def combination(dependent: Dependent, names: Sequence[str]) -> str:
    """A linear combination for print, with how exactly it holds: '2 * a + 1', or 'constant'."""
    matter = [
        (names[j], slope)
        for j, slope, share in zip(dependent.on, dependent.slopes, dependent.shares, strict=True)
        if abs(share) > max(dependent.nearness, 4 * EPSILON)
    ]
    if not matter:
        return (
            "constant, to the rounding of its values" if dependent.constant else "zero in every row"
        )
    if len(matter) > MOST_TERMS:
        return f"a combination of {listed((name for name, _ in matter), most=4)}"
    terms = [name if abs(slope - 1) < 1e-9 else f"{slope:.6g} * {name}" for name, slope in matter]
    largest = max(abs(slope) for _, slope in matter)
    if abs(dependent.constant) > 1e-9 * largest:
        terms.append(f"{dependent.constant:.6g}")
    return " + ".join(terms).replace("+ -", "- ") + f", to {dependent.nearness:.0e}"


def _descend(
    exact: Exact,
    placing: Placing,
    rows: Rows | Held | Changed,
    opening: Opening,
    at: int,
    choices: Choices,
    begin: Floats | None,
    watch: Callable[[Progress], None] | None,
) -> Descent:
    """A descent that knows the Hessian: the textbook's rules, in coordinates of the exact answer."""
    assert opening.sample is not None
    assert opening.sample.batch is not None
    problem = exact.problem
    streamed = Streamed(
        rows,
        Squared(),
        Ridge(choices.l2),
        problem.coordinates,
        opening.sample.batch.only(at),
        opening.tally.n_used,
        exact.total,
        problem.curvature(),
    )
    theta = np.zeros_like(problem.minimiser)
    if begin is not None:
        theta = problem.coordinates.theta(exact.folded(begin)[:, None])
    outcome = drive(
        choices.descent(),
        streamed,
        State(theta),
        lambda state: certify(exact, problem.coordinates.coef(state.theta)[:, 0]),
        choices.limits,
        watch=watch,
    )
    return _descent(outcome, outcome.coef, outcome.trace, placing)


def _confirmed(
    way: Approach,
    exact: Exact,
    placing: Placing,
    choices: Choices,
    watch: Callable[[Progress], None] | None,
) -> Descent:
    """The descent with the exact certificate, on the columns that the exact answer keeps."""
    outcome = confirmed(way, exact, choices.limits, watch)
    trace = [replace(step, coef=exact.folded(step.coef)) for step in outcome.trace]
    return _descent(outcome, exact.folded(outcome.coef), trace, placing)


def _descent(
    outcome: Outcome[Certificate], coef: Floats, trace: Sequence[Progress], placing: Placing
) -> Descent:
    """A descent on the columns that are kept, seen among all."""
    assert outcome.judgement is not None
    placed = tuple(replace(step, coef=_fixed(placing.coef(step.coef))) for step in trace)
    return Descent(placing.coef(coef), outcome.judgement, placed, outcome.stop)


def _fixed(values: Floats) -> Floats:
    values.flags.writeable = False
    return values


def _result(
    exact: Exact,
    placing: Placing,
    design: Design,
    at: int,
    opening: Opening,
    rows: Divisible | None,
    way: Descent | None,
    choices: Choices,
    *,
    single: bool,
) -> Fit:
    """Everything in the user's units, in the order of the design."""
    names = (INTERCEPT,) * design.intercept + design.names
    found = exact.coef[:, 0]
    certificate = certify(exact, found) if way is None else way.certificate
    kept = tuple(names[j] for j in placing.kept)
    if way is None:
        verdict = exact_verdict(certificate, kept)
    else:
        rounded = choices.dtype == "float32" and not single
        verdict = descent_verdict(
            certificate, kept, choices.tol, way.stop, way.trace[-1:], rounded=rounded
        )
    return Fit(
        design=design,
        target=design.targets[at],
        names=names,
        values=placing.coef(found) if way is None else way.values,
        answer=exact,
        placing=placing,
        choices=choices,
        sandwich=_sandwich(exact, design, rows, choices),
        sums=opening.sums
        if len(opening.sums.coordinates.target_scale) == 1
        else opening.sums.of(at),
        tally=opening.tally,
        certificate=certificate,
        verdict=verdict,
        single=single,
        exact_values=placing.coef(found),
        way=way,
    )


def _sandwich(exact: Exact, design: Design, rows: Divisible | None, choices: Choices) -> Sandwich:
    """What the standard errors are made of; under a ridge there are none."""
    errors = "classical" if rows is None else choices.errors
    if exact.l2 and errors != "classical":
        raise GentleError(
            f"a ridge has no standard errors, and errors='{errors}' asks for some: leave out one of them"
        )
    found = sandwich(
        rows if rows is not None else Held(()),
        exact.fitted,
        errors,
        exact.n_rows,
        sigma2=float(exact.sigma2[0]),
        clusters=design.clusters,
        lags=choices.lags,
    )
    if errors == "cluster" and found.df < len(exact.coef) - 1:
        warnings.warn(
            f"{found.df + 1:.0f} groups say little about {len(exact.coef)} coefficients: standard errors "
            "by few clusters are too small",
            CovarianceWarning,
            stacklevel=6,
        )
    if found.clipped:
        warnings.warn(
            f"the covariance {found.description} had a negative eigenvalue, which was set to zero",
            CovarianceWarning,
            stacklevel=6,
        )
    return found
