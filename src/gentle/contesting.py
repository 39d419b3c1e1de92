"""gentle.compare: every solver on the same rows, held against one exact answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from gentle.answering import Answered, answer
from gentle.choices import DESCENTS, Choices
from gentle.descending import refuse_wide
from gentle.design import Rows, learn_design
from gentle.driver import Progress
from gentle.errors import GentleError, as_tuple, is_choice, listed, near, show_value
from gentle.fitting import fit_answered, refuse_constant_target
from gentle.given import Column, open_rows, with_shifts
from gentle.result import Fit
from gentle.sieve import Missing
from gentle.sources import open_source, pair_targets

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

EXACT = "exact"
WARM_ROWS = 64
REFUSED, NOT_RUN = "refused", "not run"  # causes, beside those of a verdict

WatchAll = Callable[[str, Progress], None]  # the solver's name, and where it stands


@dataclass(frozen=True, eq=False)
class Contestant:
    """One solver: how far it came and what that took; no fit where it could not run."""

    name: str
    cause: str  # of its verdict, or why it has none
    why: str  # in a sentence
    fit: Fit | None = None
    passes: float | None = None  # readings of the rows
    seconds: float | None = None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it or came before it; it may have arrived nevertheless."""
        return self.cause == NOT_RUN or (self.fit is not None and self.fit.interrupted)

    @property
    def arrived(self) -> bool:
        """Whether it is a descent that came within the tolerance."""
        return self.cause == "agree"

    @property
    def in_se(self) -> float | None:
        """The largest distance of a coefficient in standard errors, where those have a meaning."""
        return None if self.fit is None else self.fit.certificate.in_se

    @property
    def gap(self) -> float | None:
        """F(b) - F(b*), in the user's units."""
        return None if self.fit is None else self.fit.certificate.gap


@dataclass(frozen=True, eq=False, repr=False)
class Contest:
    """The exact answer first, then the solvers in the order in which they ran.

    The textbook's rules are given the columns' scales, and all but "cg" and "lbfgs" the curvature, by the
    exact answer, whose readings and seconds stand in its own line; "sgd" makes do with a sample, whose
    reading is among its own.
    """

    contestants: tuple[Contestant, ...]
    choices: Choices  # that all have in common

    def __repr__(self) -> str:
        return self.summary()

    @property
    def exact(self) -> Fit:
        """The exact answer, which all are held against."""
        fit = self.contestants[0].fit
        assert fit is not None
        return fit

    @property
    def fits(self) -> Mapping[str, Fit]:
        """Solver -> its `Fit`, for those that could run; "exact" among them."""
        return MappingProxyType({it.name: it.fit for it in self.contestants if it.fit is not None})

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return any(it.interrupted for it in self.contestants)

    @property
    def first(self) -> tuple[tuple[Contestant, ...], Contestant] | None:
        """Who came within the tolerance in the fewest passes, and who in the least time."""
        there = [it for it in self.contestants if it.arrived]
        if not there:
            return None
        passes = min(it.passes or 0.0 for it in there)
        soonest = min(there, key=lambda it: it.seconds or 0.0)
        return tuple(it for it in there if it.passes == passes), soonest

    def summary(self) -> str:
        """The contest as a table of text, 80 columns wide."""
        from gentle.tables import as_text, contest_summary

        return as_text(contest_summary(self))

    def to_polars(self) -> pl.DataFrame:
        """One row for each solver; see `compare` for its columns."""
        from gentle.tables import contest_to_polars

        return contest_to_polars(self)

    def plot(self) -> Figure:
        """The distance of each solver from the exact answer, after each of its passes."""
        from gentle.pictures.contest import distances

        return distances(self)


def compare(data: Any, formula: str | None = None, **asked: Any) -> pl.DataFrame:
    """Every solver on the same rows, side by side, against the exact answer: a frame.

    Args:
        data, formula, asked: what `gentle.contest` takes, which returns the same with every `Fit` and
            with the picture: `gentle.contest(data, target="y").plot()`.

    Returns:
        one row for each solver, "exact" first: solver; passes over the rows; seconds; gap, which is
        F(b) - F(b*) of the objective; in_se, the largest distance of a coefficient in standard errors
        (null where residuals vanish or no degree of freedom is left); digits that agree; cause, how
        it ended: "agree", "not converged", "wandering", "precision", "interrupted", "refused" by a rule
        that could not run, "not run" after Ctrl-C; and verdict, that in a sentence.

    >>> import gentle, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> gentle.compare((x, x[:, 0] + x[:, 1] ** 2), solvers=["cg", "newton"])["cause"].to_list()
    ['exact only', 'agree', 'agree']
    """
    return contest(data, formula, **asked).to_polars()


def contest(
    data: Any,
    formula: str | None = None,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    intercept: bool = True,
    weights: Column | None = None,
    frequencies: Column | None = None,
    offset: Column | None = None,
    l2: float = 0.0,
    rank_tol: float | None = None,
    tol: float = 1e-3,
    max_passes: float = 100,
    time_limit: float | None = None,
    seed: int = 0,
    missing: Missing = "drop",
    solvers: Sequence[str] | None = None,
    watch: WatchAll | None = None,
) -> Contest:
    """Let every solver descend on the same rows, each until it is within tol of the exact answer.

    The rows are read once and kept where they fit in memory; the exact answer is made once. A rule
    that cannot run is a line that says why. Ctrl-C ends the contest, and what there is so far is
    the result.

    Args:
        data, formula, target, features, names, intercept, weights, frequencies, offset, l2, rank_tol,
            missing: the rows and the objective, as `gentle.fit` takes them; one target.
        tol: how near each has to come, in standard errors.
        max_passes, time_limit: how many readings of the rows and how many seconds each may take.
        seed: of everything that is drawn.
        solvers: some of them by name, in the order in which they run; by default all.
        watch: called with a solver's name and each of its steps.

    Raises:
        GentleError (a ValueError): for what the exact answer cannot be made of, with one sentence that
            says what is needed, what was found and where, and the way out.
    """
    choices = Choices(
        l2=l2,
        rank_tol=rank_tol,
        tol=tol,
        max_passes=max_passes,
        time_limit=time_limit,
        seed=seed,
        solver=EXACT,
    )
    entered = _named(solvers)
    source, parts = open_rows(
        data,
        names=names,
        named=formula is not None,
        weights=weights,
        frequencies=frequencies,
        offset=offset,
    )
    given = pair_targets(source) if formula is None and target is None else target
    source = with_shifts(source, formula)
    design = learn_design(
        source,
        formula,
        targets=(given,) if isinstance(given, str) else tuple(given or ()),
        features=features,
        intercept=intercept,
        missing=missing,
        **parts,
    )
    if len(design.targets) > 1:
        raise GentleError(
            "solvers are compared on one target at a time: name one of "
            + listed(design.targets, last="or")
        )
    refuse_wide(design)
    rows = Rows(source, design)
    _warm_up(entered)
    answered = answer(rows, rows.held(), choices, sampled=True)
    (exact,) = fit_answered(answered, choices)
    refuse_constant_target(exact, source)
    found = [_ran(EXACT, exact, answered.passes, answered.seconds)]
    for name in entered:
        stopped = any(it.interrupted for it in found)
        found.append(_unrun(name) if stopped else _run(name, answered, choices, watch))
    return Contest(tuple(found), choices)


def _named(solvers: Sequence[str] | None) -> tuple[str, ...]:
    """The descents that were asked for, each once; the exact answer is always there."""
    if solvers is None:
        return tuple(DESCENTS)
    names = as_tuple(solvers, "solvers must be names of solvers")
    if not names:
        raise GentleError(f"name at least one solver to compare: there are {listed(DESCENTS)}")
    for name in names:
        if not is_choice(name, (EXACT, *DESCENTS)):
            named = name if isinstance(name, str) else show_value(name)
            raise GentleError(f"there is no solver '{named}' to compare: {near(named, DESCENTS)}")
    return tuple(name for name in dict.fromkeys(names) if name != EXACT)


def _warm_up(entered: Sequence[str]) -> None:
    """Every solver once on a few made-up rows: what libraries set up on a first call is nobody's time."""
    x = np.random.default_rng(0).normal(size=(WARM_ROWS, 2))
    pair = (x, x.sum(axis=1) + x[:, 0] ** 2)
    source = open_source(pair)
    rows = Rows(source, learn_design(source, targets=pair_targets(source)))
    answered = answer(rows, rows.held(), Choices(), sampled=True)
    for name in entered:
        fit_answered(answered, Choices(solver=name, max_passes=3))


def _run(name: str, answered: Answered, choices: Choices, watch: WatchAll | None) -> Contestant:
    """One descent, from its first reading of the rows to its certificate."""

    def seen(step: Progress) -> None:
        if watch is not None:
            watch(name, step)

    began = time.perf_counter()
    try:
        (fit,) = fit_answered(answered, replace(choices, solver=name), watch=seen)
    except GentleError as error:
        seconds = time.perf_counter() - began
        return Contestant(name, REFUSED, f"It could not run: {error}.", seconds=seconds)
    except KeyboardInterrupt:
        return _unrun(name)
    passes = fit.trace[-1].passes if fit.trace else 0.0
    return _ran(name, fit, passes, time.perf_counter() - began)


def _ran(name: str, fit: Fit, passes: float, seconds: float) -> Contestant:
    return Contestant(name, fit.verdict.cause, str(fit.verdict), fit, float(passes), seconds)


def _unrun(name: str) -> Contestant:
    return Contestant(name, NOT_RUN, "It was interrupted before its first step.")
