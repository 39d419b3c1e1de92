"""gentle.fit: rows to model to pass to solve to result, in one reading."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any, TypeVar

import numpy as np

from gentle.answering import POLISHED_NUMBERS, Answered, answer, answer_sums, check_rows, first_pass
from gentle.approach import Approach
from gentle.batch import EXACT_COLUMNS, INTERCEPT, Batch, Floats
from gentle.certificate import certify
from gentle.choices import DESCENTS, Choices, canonical_errors
from gentle.coefficients import starts
from gentle.descended import Descended
from gentle.descending import approaches, confirm, descend, descend_rows, is_wide, of_target
from gentle.design import UNSEEN, Design, Held, Rows, learn_design
from gentle.driver import Watch
from gentle.engines import Torchrun, open_engine, unwatched
from gentle.errors import (
    CovarianceWarning,
    GentleError,
    GentleWarning,
    PrecisionWarning,
    check_seed,
    listed,
    show_value,
)
from gentle.estimability import EstimableScore
from gentle.exact import Exact, Placing, polish
from gentle.given import Column, open_rows, with_shifts
from gentle.levels import Unseen, check_unseen
from gentle.meat import SLACK_POWERS, Sandwich, exact_scores, sandwich, scaled_covariance
from gentle.online import RANDOM_SCALING, OnePass, one_pass
from gentle.passes import Divisible, fold
from gentle.result import Descent, Fit, Fits
from gentle.shuffling import Changed
from gentle.sieve import Missing
from gentle.sources import Source, hold_out, pair_targets
from gentle.spreading import placed
from gentle.statistics import EPSILON, Moments, Opening, Score, Tally, Triangle, merged
from gentle.verdict import descent_verdict, exact_verdict
from gentle.widening import read_once

OF_ONE_PASS = ("data", "formula", "target", "features", "names", "intercept", "weights", "missing")
ONE_PASS_KNOWS = ("passes", "errors", "solver", "seed")  # it draws nothing

CANCELLED = 1e-6  # of the trace of a meat: a variance below it lost digits in the sum
TEN_DIGITS = 1e-10
SQUARABLE = 1e60  # scales whose squares, times those of residuals, float64 holds

F = TypeVar("F", bound=Fit | Descended)


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
    cluster: Column | Sequence[Column] | None = None,
    lags: int | None = None,
    use_t: bool = True,
    rank: str = "drop",
    rank_tol: float | None = None,
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
    dtype: Any = None,
    start: Any = None,
    test: float | None = None,
    shuffle: bool = False,
    unseen: Unseen = "error",
    watch: Watch | None = None,
    passes: int | None = None,
    engine: Any = "here",
    parts: int | None = None,
) -> Fit | Fits | Descended | OnePass:
    """Fit a linear model by least squares and say how far its coefficients are from the exact ones.

    Minimises 1/(2W) sum_i w_i (y_i - o_i - x_i'b)^2 + l2/2 sum_j b_j^2 over n rows of mass w_i and
    offset o_i, W = sum w_i; the constant is not penalised.

    Args:
        data: a frame (anything that speaks the Arrow C stream) or a mapping of columns; a path, a
            pattern, a folder or an object store of .csv, .parquet, .arrow or .ndjson files; the URI of
            a database and after '#' its table or query; a pair (X, y) of arrays or tensors, X (n, p)
            and y (n,), or (n, k) for k targets; a polars LazyFrame; a loader or dataset of torch; an
            iterable of pairs or frames, or a function that makes one. An iterator is read once.
        formula: a Wilkinson formula such as "price ~ carat + C(cut)"; powers such as I(x**3) and
            poly(x, 3, raw=True) are taken exactly, not as float64 rounds them. Functions that learn,
            such as poly, bs and scale, learn from all rows; offset(x) is a part of the target that is
            known.
        target: the column to explain, where there is no formula; several make several fits. Beside
            a frame or an array it may be an array (n,) as well.
        features: the columns that explain it; by default every column that has no other part.
        names: names for the columns of X, where X is an array.
        intercept: whether the model has a constant; a formula says so by itself ("- 1").
        weights: precisions (n,), or the name of their column. A row of weight 0 is absent.
        frequencies: how many rows each row stands for, likewise.
        offset: a part of the target that is known, (n,) or a column's name; its coefficient is 1.
        l2: strength of the ridge.
        solver: "exact" or "auto" for the exact answer; "sgd" for the descent, with the exact
            answer beside it. Beyond 4,096 columns "auto" is the descent, and a descent goes alone.
            The textbook's rules, to learn from and to compare: "gd" for gradient descent, "momentum"
            for the heavy ball, "nesterov", "minibatch", "lbfgs", "cg" for conjugate gradients, and
            "newton"; most are slow where columns are nearly dependent.
        tol: how near to the exact answer, in standard errors: a descent goes on until it is certified
            to be there, and an exact answer is polished where rounding may have moved it further.
        digits: how many digits every coefficient must be certified to have; asks for a polish.
        errors: "classical" standard errors; "HC0", "HC1", "HC2" or "HC3", in any case, where the variance
            differs from row to row, and "robust" for HC1, as in Stata; "cluster" where rows of a group
            belong together, which `cluster` asks for by itself; "HAC" (Newey and West 1987) where
            neighbouring rows do; "random-scaling" of one pass.
        cluster: the groups, as a column's name or labels (n,); a list of two columns, or a tuple of two
            columns or labels, for two-way clusters.
        lags: how many neighbours "HAC" looks at; by default floor(4 (n/100)^(2/9)).
        use_t: t intervals and p-values; False takes the normal distribution.
        rank: "drop" leaves out a column that is a combination of those before it, as R does, and
            names it; "minimum-norm" shares its part among them so that the slopes are the shortest;
            "raise" refuses it.
        rank_tol: when columns are dependent: where a combination of them, each in units of its standard
            deviation and with coefficients of length 1, has a standard deviation of at most this. By
            default that is the rounding of the values as they came: of float64 or float32, or of their
            decimals.
        method: "auto" makes cross-products and reads the rows again for a QR triangle where these
            lose too many digits; "qr" makes the triangle at once.
        missing: "drop" leaves out rows with a null or NaN, and counts them; "raise" refuses them. "mean"
            takes the column's mean over the rows that are used, and "indicator" adds a column
            "x[missing]" of 0 and 1 to that; a text that is missing then has that column for its level.
            A row without its target, weight, offset or cluster is left out all the same.
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
            "cuda" and "float32" or torch.float32; by default here and as they are. Sums and the certificate
            are in float64 anyway, and the exact answer is made here.
        test: the share of the rows to hold out and score: the last ones, or with shuffle random ones.
        shuffle: whether the held-out rows are drawn at random.
        unseen: what becomes of a held-out row with a level that no train row has: "error" refuses it,
            "reference" scores it as the reference level, "missing" leaves it out of the score.
        watch: called with each step of the descent.
        passes: 1, with errors="random-scaling", for one stochastic pass in the order of the rows, which
            are met once and not kept: `data` may then also be an iterator of pairs or of frames. The
            rows must be in random order; sorted ones break it.
        engine: where passes work: "here"; "threads" or "processes" of this machine, "processes:4" for so
            many; "dask" for the cluster at hand or one made here, "dask://scheduler:8786" for that of a
            scheduler; "torchrun" among the ranks that torchrun started; "ray", "spark"; or a
            pool of `concurrent.futures`. Workers read files themselves, and rows in memory
            from a file that they share; only sums travel.
        parts: how many parts a pass makes of the rows. They fix the arithmetic, the engine only the place:
            the same parts give the same bits. By default one here, and elsewhere as the rows are many.

    Returns:
        a `Fit`, or for several targets `Fits`, which has one for each; a `Descended` of a descent that
        goes alone; of one pass a `OnePass`.

    Raises:
        GentleError (a ValueError): with one sentence that says what is needed, what was found and
            where, and the way out.
    """
    if errors is not None and not isinstance(errors, str):
        raise GentleError(f"errors must be a string such as 'HC1', not {type(errors).__name__}")
    if not isinstance(passes, int | None):
        raise GentleError(
            f"passes must be 1, not {type(passes).__name__}: max_passes bounds a descent"
        )
    if not (watch is None or callable(watch)):
        raise GentleError(f"watch must be a function of a step, not {type(watch).__name__}")
    errors = canonical_errors(errors)
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
        rank_tol=rank_tol,
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
    place_meant = unwatched(open_engine(engine))  # before anything is read
    if time_limit is not None and isinstance(place_meant, Torchrun):
        raise GentleError(
            "time_limit= would end one rank before another, and engine='torchrun' needs the same passes of "
            "all of them: bound the descent with max_passes="
        )
    if not isinstance(formula, str | None):
        raise GentleError(
            f"a formula is a text, and this is {type(formula).__name__}: X and y go together in a pair, "
            "gentle.fit((X, y))"
        )
    if target is not None and not _named(target):
        data, target = (data, target), None
    tested: Source | None = None
    source, beside = open_rows(
        data,
        names=names,
        named=formula is not None,
        weights=weights,
        frequencies=frequencies,
        offset=offset,
        cluster=cluster,
    )
    if formula is None and target is None:
        target = pair_targets(source)
    source = with_shifts(source, formula)
    check_unseen(unseen)
    if test is None and (shuffle or unseen != "error"):
        raise GentleError(
            f"{'shuffle' if shuffle else 'unseen'}= is for rows that are held out: give test=, their "
            "share, or leave it out"
        )
    if test is not None:
        check_seed(seed)
        source, tested = hold_out(source, test, shuffle=shuffle, seed=seed)
    found: list[Fit | Descended] = []
    with placed(source, engine, parts) as place:
        design = learn_design(
            source,
            formula,
            targets=(target,) if isinstance(target, str) else tuple(target or ()),
            features=features,
            intercept=intercept,
            missing=missing,
            place=place,
            **beside,
        )
        begin = None if start is None else _starts(start, design, choices)
        rows = Rows(source, design).at(place)
        if not source.replayable:
            found += fit_once(rows, choices)
        elif is_wide(design, choices):
            found += [descend_rows(rows, choices, watch=watch, begin=begin)]
        else:
            found += fit_rows(rows, choices, watch=watch, begin=begin)
    for one in found:
        refuse_constant_target(one, source)
    if tested is not None:
        with placed(tested, engine, parts) as place:
            rows = replace(Rows(tested, design).at(place), unseen=unseen)
            warn_of_unseen(rows)
            found = [_scored(one, at, rows) for at, one in enumerate(found)]
    return found[0] if len(found) == 1 else Fits(tuple(found))  # type: ignore[arg-type]  # several are fits


def _named(target: Any) -> bool:
    """Whether a target is named, rather than at hand as an array."""
    several = isinstance(target, list | tuple) and all(isinstance(name, str) for name in target)
    return isinstance(target, str) or several


def _starts(start: Any, design: Design, choices: Choices) -> tuple[Floats, ...]:
    """Where the descent of each target starts, (q,)."""
    if not choices.descends and not is_wide(design, choices):
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
            f"{show_value(asked['passes'])} and {show_value(asked['errors'])}: one pass has no other "
            "intervals, and these need one pass; max_passes bounds a descent"
        )
    if asked["solver"] not in ("auto", "sgd"):
        raise GentleError(
            f"one pass is a stochastic descent, and solver is {show_value(asked['solver'])}: leave it out"
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


def fit_rows(
    rows: Rows,
    choices: Choices,
    *,
    watch: Watch | None = None,
    begin: Sequence[Floats | None] | None = None,
) -> tuple[Fit, ...]:
    """Fit rows whose design is known, a fit for each target; a descent may begin (q,) somewhere."""
    begin = begin or [None] * len(rows.design.targets)
    walked = rows.held() if choices.descends else rows
    ways = approaches(walked, rows, choices, begin, watch) if choices.samples else ()
    sampled = choices.descends and not choices.samples
    return _fits(answer(rows, walked, choices, sampled=sampled), ways, choices, begin, watch)


def fit_answered(
    answered: Answered,
    choices: Choices,
    *,
    watch: Watch | None = None,
) -> tuple[Fit, ...]:
    """The same as `fit_rows`, where the exact answer is there and had a sample taken."""
    begin = [None] * len(answered.rows.design.targets)
    ways: tuple[Approach, ...] = ()
    if choices.samples:
        ways = approaches(answered.walked, answered.rows, choices, begin, watch)
    return _fits(answered, ways, choices, begin, watch)


def _fits(
    answered: Answered,
    ways: Sequence[Approach],
    choices: Choices,
    begin: Sequence[Floats | None],
    watch: Watch | None,
) -> tuple[Fit, ...]:
    """The fit of each target: its exact answer, and the descent that is asked for or was begun."""
    design, opening = answered.rows.design, answered.opening
    descents: Sequence[Descent | None] = [None] * len(design.targets)
    if ways:
        descents = confirm(ways, answered, choices, watch)
    elif choices.descends:
        descents = descend(answered, choices, begin, watch)
    fits = []
    for at, exact in enumerate(answered.each):
        rows, way, single = (
            of_target(answered.written, design, at),
            descents[at],
            answered.rows.single,
        )
        found = _result(
            exact,
            answered.placing,
            design,
            at,
            opening,
            rows,
            way,
            choices,
            single=single,
            at_start=way is not None and _is_start(way, exact, begin[at]),
        )
        fits.append(replace(found, coarse=answered.coarse))
    _warn_of_digits(fits, choices)
    return tuple(fits)


def from_sums(one: Fit, sums: Moments | Triangle, tally: Tally) -> Fit:
    """A fit like `one` of other rows, of which only the sums are there."""
    if one.choices.errors != "classical":
        warnings.warn(
            f"sums of rows have only classical standard errors, not {one.choices.errors}",
            CovarianceWarning,
            stacklevel=4,
        )
    choices = replace(one.choices, solver="exact", errors="classical", lags=None, digits=None)
    at = one.design.targets.index(one.target)
    opening = Opening(tally, sums)
    exact, placing = answer_sums(opening, one.design, one.target, choices, one.coarse)
    found = _result(exact, placing, one.design, at, opening, None, None, choices, single=one.single)
    return replace(found, coarse=one.coarse)


def fit_once(rows: Rows, choices: Choices) -> tuple[Fit, ...]:
    """The exact fits of rows that can be read only once, for each target.

    Raises GentleError for what reads them again: a descent, and errors that are not classical.
    """
    source = rows.source
    if choices.descends or choices.errors != "classical":
        what = f"solver='{choices.solver}'" if choices.descends else f"errors='{choices.errors}'"
        raise GentleError(
            f"{what} reads the rows more than once, and {source.name} cannot be: leave it out, or give a "
            "file, a frame, or a function that makes the batches anew"
        )
    most = float("inf") if choices.solver == "exact" else EXACT_COLUMNS
    if len(rows.design.names) > most:
        raise GentleError(
            f"beyond {EXACT_COLUMNS:,} columns a fit is a descent, which reads the rows more than once, "
            f"and {source.name} cannot be: give a file or a frame"
        )
    zero = Moments() if choices.method == "auto" else Triangle.unplaced()
    design, opening = read_once(source, rows.design, zero, most=most)
    learned = replace(rows, design=design)
    check_rows(opening.tally, learned)
    fits = []
    for at, target in enumerate(design.targets):
        alone = replace(opening, sums=opening.sums.of(at))
        exact, placing = answer_sums(alone, design, target, choices, learned.coarse)
        found = _result(
            exact, placing, design, at, alone, None, None, choices, single=learned.single
        )
        fits.append(replace(found, coarse=learned.coarse))
    _warn_of_digits(fits, choices)
    return tuple(fits)


def fit_more(before: Sequence[Fit], rows: Rows, choices: Choices) -> tuple[Fit, ...]:
    """The exact fits of rows and of those before, of which only the sums are there, for each target."""
    opening = first_pass(rows, choices, sampled=False)
    check_rows(opening.tally, rows)
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
            coarse={**one.coarse, **rows.coarse},
        )
        found.append(from_sums(like, sums, one.tally.merge(opening.tally)))
    return tuple(found)


def refuse_constant_target(found: Fit | Descended, source: Source) -> None:
    """Raises GentleError for a target that does not vary."""
    if found.design.intercept and found.n_rows > 1 and found.tss <= 0:
        raise GentleError(
            f"the target '{found.target}' of {source.name} has the same value in every row: "
            "there is nothing for columns to explain"
        )


def warn_of_unseen(rows: Rows) -> None:
    """Warn of held-out rows with a level that no train row has, where these are taken all the same."""
    if rows.unseen == "error":
        return
    tally = fold(Tally(), rows)
    if n := tally.filled.get(UNSEEN, 0):
        done = (
            "scored as if it were the reference level"
            if rows.unseen == "reference"
            else "and so left out of the score"
        )
        warnings.warn(
            f"of the {tally.n_read:,} held-out rows of {rows.source.name}, {n:,} "
            f"{'has' if n == 1 else 'have'} a level that no train row has, {done}",
            GentleWarning,
            stacklevel=3,
        )


def _scored(found: F, at: int, rows: Rows) -> F:
    """The fit with its score on rows that were held out."""
    score = Score(found.slopes, found.intercept)
    of_target = Changed(rows, partial(Batch.only, target=at))
    if found.row_space is None or found.default_unestimable == "predict":
        return replace(found, held_out=fold(score, of_target))
    return replace(found, held_out=fold(EstimableScore(found.row_space, score), of_target).score)


def _errors(errors: str | None, cluster: Any) -> str:
    """Which errors are meant: `cluster` alone asks for clustered ones."""
    if cluster is None:
        if errors == "cluster":
            raise GentleError(
                "errors='cluster' needs the groups: name their column with cluster, or give labels (n,)"
            )
        return "classical" if errors is None else errors
    if errors not in (None, "cluster"):
        raise GentleError(
            f"cluster asks for clustered errors, and errors is '{errors}': leave one out"
        )
    return "cluster"


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
    at_start: bool = False,
) -> Fit:
    """Everything in the user's units, in the order of the design."""
    names = (INTERCEPT,) * design.intercept + design.names
    coef = exact.coef[:, 0]
    certificate = certify(exact, coef) if way is None else way.certificate
    kept = tuple(names[j] for j in placing.kept)
    if way is None:
        verdict = exact_verdict(certificate, kept)
    else:
        rounded = choices.dtype == "float32" and not single
        verdict = descent_verdict(
            certificate,
            kept,
            choices.tol,
            way.stop,
            way.trace[-1:],
            rounded=rounded,
            at_start=at_start,
        )
    found = Fit(
        design=design,
        target=design.targets[at],
        names=names,
        values=placing.coef(coef) if way is None else way.values,
        answer=exact,
        placing=placing,
        choices=choices,
        sandwich=_sandwich(exact, placing, design, rows, choices),
        sums=opening.sums
        if len(opening.sums.coordinates.target_scale) == 1
        else opening.sums.of(at),
        tally=opening.tally,
        certificate=certificate,
        verdict=verdict,
        single=single,
        exact_values=placing.coef(coef),
        way=way,
    )
    if found.df_resid <= 0 and found.n_rows < found.tally.n_used and not found.l2:
        warnings.warn(found.inference_note, CovarianceWarning, stacklevel=6)
    return found


def _is_start(way: Descent, exact: Exact, begin: Floats | None) -> bool:
    """Whether the nearest point of a descent is the one it started from, slopes of 0 by default."""
    first = int(exact.fitted.intercept)
    kept = exact.fitted.columns + first
    if begin is None:
        return not np.any(way.values[kept])
    start = exact.folded(np.nan_to_num(begin))[first:]
    return bool(np.allclose(way.values[kept], start, rtol=1e-12, atol=0))


def _sandwich(
    exact: Exact, placing: Placing, design: Design, rows: Divisible | None, choices: Choices
) -> Sandwich:
    """What the standard errors are made of; under a ridge there are none."""
    errors = "classical" if rows is None else choices.errors
    if exact.l2 and errors != "classical":
        raise GentleError(
            f"a ridge has no standard errors, and errors='{errors}' asks for some: leave out one of them"
        )
    q = len(exact.coef)
    if errors != "classical" and exact.df_resid > 0 and exact.perfect[0]:
        meat = np.full((q, q), 0.0 if exact.rss[0] == 0 else np.nan)  # scores of rounding
        return Sandwich(meat, exact.df_resid, f"{errors}, of an essentially perfect fit")
    found = sandwich(
        rows if rows is not None else Held(()),
        exact.fitted,
        errors,
        exact.n_rows,
        sigma2=float(exact.sigma2[0]),
        clusters=design.clusters,
        lags=choices.lags,
    )
    plain = design.weights is None and not SLACK_POWERS.get(errors, 0)
    robust = errors != "classical" and exact.df_resid > 0
    if robust and _needs_exact_scores(exact, found, plain=plain):
        found = _with_exact_scores(rows, exact, placing, found, errors, design, choices)
    if errors == "cluster" and exact.df_resid > 0 and found.df < len(exact.coef) - 1:
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


def _needs_exact_scores(exact: Exact, found: Sandwich, *, plain: bool) -> bool:
    """Whether scores in double-double are needed, or cost milliseconds and may be.

    They are needed where some variance is a difference of much larger terms, and where HC2 or HC3 meet
    rows of leverage 1. Where scores are `plain`, without weights and leverages, it is known when they
    are not.
    """
    q = len(exact.coef)
    if not q or found.clipped:
        return False
    unit = exact.basis / exact.lengths[:, None]
    variances = ((unit @ found.meat) * unit).sum(axis=1)
    differs = not bool((variances > CANCELLED * np.trace(found.meat)).all())
    if differs or found.pinned is not None:
        return True
    small = exact.n_rows * q <= POLISHED_NUMBERS
    return small and not (plain and _float64_suffices(exact, variances))


def _float64_suffices(exact: Exact, variances: Floats) -> bool:
    """Whether sums of scores in float64 have ten digits of these variances (q,), of unit directions.

    Scores lose the digits of the residuals, and of the rows in coordinates in which the columns are
    orthonormal; squares of numbers in far units lose all.
    """
    scale = exact.problem.coordinates.scale
    if not ((scale > 1 / SQUARABLE) & (scale < SQUARABLE)).all():
        return False
    rounding = exact.residual_rounding[0] / np.sqrt(exact.rss[0])
    rounding += EPSILON * exact.problem.condition
    least = np.sqrt(variances.min() / exact.sigma2[0])
    return bool(rounding < TEN_DIGITS * least)


def _with_exact_scores(
    rows: Divisible | None,
    exact: Exact,
    placing: Placing,
    found: Sandwich,
    errors: str,
    design: Design,
    choices: Choices,
) -> Sandwich:
    """The sandwich with the variances of its coefficients to eight digits, or nan and a warning."""
    assert rows is not None
    sigma2 = float(exact.sigma2[0])
    polished = exact if exact.polished else polish(exact, rows)
    if not polished.polished:
        return found
    scores = exact_scores(rows, polished.fitted, placing.rows, exact.total, sigma2)
    if scores is None:
        return found
    found = scaled_covariance(
        rows,
        found,
        scores,
        errors,
        exact.n_rows,
        fitted=polished.fitted,
        sigma2=sigma2,
        clusters=design.clusters,
        lags=choices.lags,
    )
    assert found.scaled is not None
    names = (INTERCEPT,) * design.intercept + design.names
    kept = [names[at] for at in placing.kept] if placing.mix is None else names
    places = placing.kept if placing.mix is None else range(len(names))
    lost = [name for name, at in zip(kept, places, strict=True) if np.isnan(found.scaled[at, at])]
    if lost:
        warnings.warn(
            f"{errors} errors of {listed(lost, most=6)} are not known: they are zero to rounding, or hang "
            "on rows of leverage 1",
            CovarianceWarning,
            stacklevel=7,
        )
        note = f"; none for {len(lost):,} that rounding or rows of leverage 1 hide"
        found = replace(found, description=found.description + note)
    return found
