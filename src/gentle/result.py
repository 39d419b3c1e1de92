"""Fit: what a fit found, as an immutable value with names on everything."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from gentle import inference
from gentle.batch import Floats
from gentle.certificate import Certificate
from gentle.choices import Choices
from gentle.comparison import Claim, Question, compare
from gentle.design import Design, Features
from gentle.driver import Progress, Stop, Watch
from gentle.errors import GentleError, listed, printable
from gentle.estimability import RowSpace, Unestimable
from gentle.exact import Exact, Placing
from gentle.given import rows_again
from gentle.inference import Contrast, Wald
from gentle.layout import public_names
from gentle.levels import Unseen
from gentle.meat import Sandwich
from gentle.predicting import Asked, Kind, Written, predict, predict_to, refuse_level
from gentle.restrictions import restrictions
from gentle.sinks import measures_like
from gentle.sparse import written_out
from gentle.statistics import (
    Moments,
    Score,
    Tally,
    Triangle,
    merged,
    solve_upper,
    subtracted,
)
from gentle.verdict import UNITS, Verdict

if TYPE_CHECKING:
    import polars as pl
    import torch

    from gentle.pictures.fit import FitPictures

Sums = Moments | Triangle
TINY = float(np.finfo(np.float64).tiny)  # below it float64 loses digits
SAME_ROWS_TOL = 1e-9  # of the target's size: fits of the same rows agree to rounding


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a descent came, by which way, and why it ended there."""

    values: Floats  # (q,) its coefficients
    certificate: Certificate
    trace: tuple[Progress, ...]
    stop: Stop
    exact_seconds: float = 0.0  # that the exact answer beside it took


INTERNAL = frozenset(  # attributes that other modules use
    [
        "answer",
        "choices",
        "coarse",
        "default_unestimable",
        "descent_values",
        "exact_values",
        "explained",
        "heteroskedastic",
        "placing",
        "predict_rows",
        "predict_x",
        "question",
        "row_space",
        "sandwich",
        "single",
        "sums",
        "tally",
        "way",
    ]
)


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A fitted linear model. Vectors are in the order of `names`, the constant first.

    A column that the rank rule left out has nan everywhere, and counts as 0 in predictions.
    """

    design: Design
    target: str
    names: tuple[str, ...]  # (q,)
    values: Floats  # (q,) the coefficients, by the solver that was asked for
    answer: Exact  # on the columns that are kept
    placing: Placing  # of those among all
    choices: Choices
    sandwich: Sandwich
    tally: Tally
    sums: Sums  # of its rows, with which fits join
    certificate: Certificate
    verdict: Verdict
    exact_values: Floats  # (q,)
    way: Descent | None = None  # of the descent, where there was one
    held_out: Score | None = None  # on rows that were held out
    single: bool = False  # whether data came as float32
    coarse: Mapping[str, float] = field(
        default_factory=dict
    )  # column of x -> spacing of its type at
    # 1, where that is coarser than float64

    def __post_init__(self) -> None:
        for values in (self.values, self.exact_values, self.descent_values):
            if values is not None:
                values.flags.writeable = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # arrays come writable out of a pickle

    def __str__(self) -> str:
        return self.summary()

    def __dir__(self) -> list[str]:
        return public_names(self, INTERNAL)

    def __repr__(self) -> str:
        rows = f"{self.n_rows:,.0f} rows"
        solver = self.solver if self.converged else f"{self.solver}: {self.verdict.cause}"
        return (
            f"<Fit of {printable(self.target)}: {len(self.names)} coefficients, {rows}, {solver}>"
        )

    # Coefficients and how sure they are

    @property
    def references(self) -> Mapping[str, str]:
        """Column of text -> its reference level: the first that a row of the fit has."""
        return self.design.references

    @property
    def coef(self) -> Mapping[str, float]:
        """Name -> coefficient, the constant first, in the units of the data."""
        return self._named(self.values)

    @property
    def exact(self) -> Mapping[str, float]:
        """Name -> the exact minimiser."""
        return self._named(self.exact_values)

    @property
    def descent(self) -> Mapping[str, float] | None:
        """Name -> where the descent ended; None where there was none."""
        return None if self.descent_values is None else self._named(self.descent_values)

    @property
    def descent_values(self) -> Floats | None:
        """(q,) where the descent ended; None where there was none."""
        return None if self.way is None else self.way.values

    @property
    def trace(self) -> tuple[Progress, ...]:
        """The way of the descent, from its first to its last point; empty where there was none."""
        return () if self.way is None else self.way.trace

    @property
    def interrupted(self) -> bool:
        """Whether the descent was ended by Ctrl-C."""
        return self.way is not None and self.way.stop == "interrupted"

    @property
    def converged(self) -> bool:
        """Whether the coefficients are those of the exact solution, to within `tol`."""
        return self.way is None or self.verdict.agrees

    @property
    def noise_free(self) -> bool:
        """Whether the fit is essentially perfect: residuals no larger than the rounding of the data.

        Then t, p, F and intervals are undefined, since only rounding would make them.
        """
        return bool(self.answer.perfect[0])

    @property
    def inference_note(self) -> str:
        """Why there are no t, p and intervals, in a sentence; empty where there are."""
        if self.l2:
            return "A ridge has no classical standard errors."
        if self.df_resid <= 0:
            return self._saturated
        if self.noise_free:
            return (
                "The fit is essentially perfect: its residuals are no larger than the rounding of the "
                "data, so t, p, F and intervals are undefined."
            )
        return ""

    @property
    def _saturated(self) -> str:
        """That no degree of freedom is left, and why."""
        none = "so no degree of freedom is left, and there are no error bars"
        q, n = len(self.answer.coef), self.n_rows
        if n < self.tally.n_used:
            return (
                f"The frequencies of {self.tally.n_used:,} rows sum to {n:.6g}, no more than the {q:,} "
                f"coefficients, {none}: frequencies count rows, and weights= takes precisions."
            )
        return f"There are no more rows than coefficients, {none}."

    @property
    def difference(self) -> Mapping[str, float]:
        """Name -> (descent - exact) in the certificate's yardstick; nan where there is no descent.

        That is the classical standard error whatever `errors` are asked for.
        """
        if self.descent_values is None:
            return self._named(np.full(len(self.names), np.nan))
        return self._named((self.descent_values - self.exact_values) / self._yardstick)

    @cached_property
    def vcov(self) -> Floats:
        """(q, q) covariance of the exact coefficients, by `choices.errors`; nan under a ridge.

        It is nan as well where float64 cannot hold the number, in units that are far from 1.
        """
        q = len(self.names)
        if self.l2:
            return np.full((q, q), np.nan)
        lengths, scaled = self._scaled_covariance
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            vcov = (lengths[:, None] * scaled) * lengths
            beyond = (scaled != 0) & ~((np.abs(vcov) >= TINY) & np.isfinite(vcov))
        vcov[beyond] = np.nan
        vcov.flags.writeable = False
        return vcov

    @property
    def std_errors(self) -> Mapping[str, float]:
        """Name -> standard error, of the kind that `errors` says."""
        return self._named(self._std_errors)

    @property
    def t_values(self) -> Mapping[str, float]:
        """Name -> exact coefficient in standard errors; nan for an essentially perfect fit."""
        return self._named(self._t_values)

    @property
    def p_values(self) -> Mapping[str, float]:
        """Name -> two-sided probability of such a t under a coefficient of zero."""
        return self._named(inference.p_values(self._t_values, self.df))

    def conf_int(self, level: float = 0.95) -> Mapping[str, tuple[float, float]]:
        """Name -> (low, high) of the t interval, or of the normal one where use_t is False.

        Intervals are those of the exact solution, also where a descent has not converged.

        Raises GentleError for a level that is not between 0 and 1.
        """
        none = self.noise_free | (self._std_errors == 0)
        std_errors = np.where(none, np.nan, self._std_errors)
        bounds = inference.intervals(self.exact_values, std_errors, self.df, level)
        pairs = zip(*(map(float, side) for side in bounds), strict=True)
        return MappingProxyType(dict(zip(self.names, pairs, strict=True)))

    def test(self, restrictions_text: str) -> Contrast:
        """Linear restrictions such as "a = b, c = 0", each alone and all together (Wald 1943).

        They are tested on the exact solution.

        Raises GentleError for a name that is no coefficient's, and for one that was left out.
        """
        if self.l2:
            raise GentleError(
                "a ridge has no standard errors, so its coefficients cannot be tested"
            )
        if not isinstance(restrictions_text, str):
            raise GentleError("restrictions are a text, such as 'a = b, c = 0'")
        matrix, values, labels = restrictions(restrictions_text, self.names)
        return self._tested(matrix, values, labels)

    @property
    def f_test(self) -> Wald:
        """F test that all slopes of the exact solution are zero, by the covariance of `errors`.

        The root is triangular with the constant first, so that in its coordinates the slopes stand
        apart and their covariance is the meat: collinear columns lose no digits.
        """
        n_slopes = len(self.answer.fitted.columns)
        if self._untestable:
            return Wald(math.nan, n_slopes, self.df, math.nan, self._untestable)
        first = int(self.design.intercept)
        kept = self._std_errors[self.placing.kept[first:]]
        if np.isnan(kept).any():
            reason = "some of these coefficients have no standard error"
            return Wald(math.nan, n_slopes, self.df, math.nan, reason)
        fitted = self.answer.fitted
        slopes = solve_upper(fitted.root[first:, first:], fitted.coef[first:, 0])
        return inference.wald(slopes, self.sandwich.meat[first:, first:], self.df, alike=True)

    @property
    def _untestable(self) -> str:
        """Why no test of this fit has a meaning; empty where tests have one."""
        if self.l2:
            return "a ridge has no standard errors"
        if self.df_resid <= 0:
            return "no degrees of freedom are left"
        return "the fit is essentially perfect" if self.noise_free else ""

    @property
    def _t_values(self) -> Floats:
        t = inference.t_values(self.exact_values, self._std_errors)
        return np.where(self.noise_free | (self._std_errors == 0), np.nan, t)

    def _tested(self, matrix: Floats, values: Floats, labels: Sequence[str]) -> Contrast:
        """Restrictions R b = r of the exact solution: R (m, q), r (m,) and their texts."""
        lengths, scaled = self._scaled_covariance
        unit = np.ldexp(1.0, np.frexp(np.where(lengths > 0, lengths, 1.0))[1])
        scaled = scaled * np.outer(lengths / unit, lengths / unit)
        if self._untestable:
            scaled = np.full_like(scaled, np.nan)
        return inference.contrast(
            matrix,
            values,
            self.exact_values,
            scaled,
            self.df,
            labels,
            self.names,
            unit=unit,
            reason=self._untestable,
        )

    # The fit as a whole

    @property
    def solver(self) -> str:
        """Which solver the coefficients are by."""
        return self.choices.solver if self.choices.descends else "exact"

    @property
    def tol(self) -> float:
        """How near a descent had to come, in standard errors."""
        return self.choices.tol

    @property
    def l2(self) -> float:
        """The strength of the ridge."""
        return self.choices.l2

    @property
    def errors(self) -> str:
        """Which standard errors these are, in words."""
        return self.sandwich.description

    @property
    def dropped(self) -> Mapping[str, str]:
        """Column -> what it is made of, for the columns that the rank rule left out."""
        return self.placing.made_of if self.placing.mix is None else MappingProxyType({})

    @property
    def dependent(self) -> Mapping[str, str]:
        """Column -> what it is made of, for those that are combinations of columns before."""
        return self.placing.made_of

    @property
    def n_rows(self) -> float:
        """Rows, frequencies counted."""
        return self.answer.n_rows

    @property
    def df_resid(self) -> float:
        """Rows less coefficients."""
        return self.answer.df_resid

    @property
    def df(self) -> float:
        """Degrees of freedom of t and F: of the residuals, or groups less one; inf for the normal."""
        return self.sandwich.df if self.choices.use_t else float("inf")

    @property
    def rss(self) -> float:
        """Residual sum of squares, weighted."""
        return float(self.answer.rss[0])

    @property
    def tss(self) -> float:
        """Squares of the target about its mean; about zero without a constant."""
        return float(self.answer.tss[0])

    @property
    def sigma(self) -> float:
        """Residual standard deviation of the exact solution; nan without degrees of freedom."""
        return float(np.sqrt(self.answer.sigma2[0]))

    @property
    def condition(self) -> float:
        """Condition number of the shifted and scaled columns."""
        return self.answer.problem.condition

    @property
    def r2(self) -> float:
        """1 - RSS / TSS, about the mean with a constant and about zero without; nan if TSS is 0."""
        return 1 - self.rss / self.tss if self.tss > 0 else float("nan")

    @property
    def r2_adjusted(self) -> float:
        """1 - (RSS / (n - q)) / (TSS / (n - 1)), or over n without a constant (Theil 1961)."""
        spare = self.n_rows - int(self.design.intercept)
        return 1 - (1 - self.r2) * spare / self.df_resid if self.df_resid else float("nan")

    @property
    def log_likelihood(self) -> float:
        """Gaussian, at its maximum; nan under a ridge, and without `sigma` for want of digits."""
        if self.l2 or (self.df_resid > 0 and math.isnan(self.sigma)):
            return math.nan
        return inference.log_likelihood(self.rss, self.n_rows, self.tally.log_weights)

    @property
    def aic(self) -> float:
        """Akaike's criterion, with coefficients counted as statsmodels does."""
        return inference.aic(self.log_likelihood, len(self.answer.coef))

    @property
    def bic(self) -> float:
        """Schwarz's criterion, likewise."""
        return inference.bic(self.log_likelihood, len(self.answer.coef), self.n_rows)

    @property
    def vif(self) -> Mapping[str, float]:
        """Column -> variance inflation factor; nan for one that was left out, and under a ridge."""
        if self.l2:
            return MappingProxyType(dict.fromkeys(self.design.names, math.nan))
        first = int(self.design.intercept)
        squares = self.answer.total * self.answer.problem.coordinates.scale**2
        found = np.full(len(self.names), np.nan)
        inflated = inference.vif(self.answer.lengths[first:] ** 2, squares)
        found[self.placing.kept[first:]] = inflated
        pairs = list(zip(self.names, map(float, found), strict=True))
        return MappingProxyType(dict(pairs[first:]))

    @property
    def objective(self) -> str:
        """What was minimised, as it stands in the docs."""
        squares = "1/(2W) sum_i w_i (y_i - x_i'b)^2"
        return squares if not self.l2 else f"{squares} + {self.l2:g}/2 sum_j b_j^2"

    @property
    def intercept(self) -> float:
        """The constant; 0 for a model without one."""
        return float(self.values[0]) if self.design.intercept else 0.0

    @property
    def slopes(self) -> Floats:
        """(p,) the coefficients of x as predictions use them: 0 for a column that was left out."""
        return np.nan_to_num(self.values[int(self.design.intercept) :])

    # Rows

    def predict(
        self,
        data: Any,
        *,
        offset: Any = None,
        interval: float | None = None,
        kind: Kind = "mean",
        append: bool = False,
        unseen: Unseen = "error",
        unestimable: Unestimable | None = None,
        weights: Any = None,
        engine: Any = "here",
    ) -> Any:
        """Predictions for the rows of a frame, a file or an array, (n,); nan where one is missing.

        With `interval` or `append` a frame is answered with a frame of its kind, polars, pandas or
        pyarrow, whose columns are prediction, std_error, low and high; null where a value is missing.
        All else is answered with `Predictions`.

        Args:
            data: rows with the columns that the fit needs.
            offset: the known part of the target, (n,), where the fit had one that was no column.
            interval: a level such as 0.95, for standard errors and bounds.
            kind: whether these are of the "mean" of such rows, or of a "new" row, whose own noise
                comes to it.
            append: whether the columns of a frame stay, with these after them.
            unseen: what becomes of a row with a level that the fit did not see: "error" refuses it,
                "reference" predicts it as of the reference level, where there is one, "missing" has no
                prediction for it.
                Such rows are counted, and warned of.
            unestimable: what becomes of a row that a rank-deficient fit cannot predict, since it violates
                a linear relation that held in all rows of the fit: "nan" has no prediction for it, "raise"
                refuses it, "predict" takes the coefficients as they are, without bounds. By default "nan",
                and with rank="minimum-norm", which makes the coefficients unique, "predict". Such rows
                are counted, and warned of.
            weights: of new rows, in the units of the weights of the fit, for kind="new": a column's name,
                an array (n,) or one number for all. By default the column of the fit's weights, where the
                rows have it; a weighted fit has no bounds for a new row of unknown weight.
            engine: where the rows are worked on, as in `gentle.fit`.

        Predictions by a descent that has not converged are x'coef with its coefficients, and a
        GentleWarning says so; they have no intervals, which belong to the exact solution.

        Raises GentleError for a column that is not there, for a level that the fit did not see, and for an
        interval of a descent that has not converged.
        """
        asked = Asked(interval, kind, append, unseen, engine, unestimable, weights)
        return predict(self, data, offset, asked)

    def predict_to(
        self,
        data: Any,
        path: str | os.PathLike[str],
        *,
        offset: Any = None,
        interval: float | None = None,
        kind: Kind = "mean",
        append: bool = False,
        unseen: Unseen = "error",
        unestimable: Unestimable | None = None,
        weights: Any = None,
        engine: Any = "here",
    ) -> Written:
        """Write predictions to a file, a line for each row in their order; see `predict`.

        Rows are read and written a batch at a time: memory does not grow with them. The ending says the
        format: .csv, .parquet, .arrow, .ipc, .feather, .ndjson or .jsonl. The file is whole or not there.
        With `append` the columns are written as they were read: NA of a CSV as a missing value. A file
        that is read here is not replaced. Returns how many rows there were, and how many of them have no
        prediction.

        Raises GentleError as `predict` does, and where the file cannot be written.
        """
        asked = Asked(interval, kind, append, unseen, engine, unestimable, weights)
        return predict_to(self, data, Path(path), offset, asked)

    @property
    def explained(self) -> tuple[str, ...]:
        """The targets: one."""
        return (self.target,)

    def caveat(self, level: float | None) -> str:
        """What a reader of its predictions must know; see `predicting.Model.caveat`."""
        if not self.converged:
            return (
                f"the descent of '{self.target}' has not converged (it is at most "
                f"{self.certificate.within:.3g} {UNITS[self.certificate.unit]} from the exact solution), "
                "and these predictions are by its coefficients"
            )
        note = self.inference_note if level is not None else ""
        if level is not None and self.sandwich.pinned is not None:
            note = note or "Predictions that hang on rows of leverage 1 have no bounds."
        return f"{note[:1].lower()}{note[1:].removesuffix('.')}"

    @cached_property
    def row_space(self) -> RowSpace | None:
        """The relations that hold in all rows of the fit; None where its columns have full rank."""
        return RowSpace(self.answer, self.dependent) if self.dependent else None

    @property
    def default_unestimable(self) -> Unestimable:
        """What `predict` does with rows that are not estimable, unless it is told."""
        return "predict" if self.choices.rank == "minimum-norm" else "nan"

    @property
    def heteroskedastic(self) -> bool:
        """Whether the standard errors allow for noise that differs between rows."""
        return self.choices.errors != "classical"

    def predict_rows(self, features: Features, level: float | None, kind: Kind) -> Floats:
        """Predictions for rows of the design, as in `predicting.Model`."""
        if self.l2:
            refuse_level(level, "a ridge")
        if level is not None and not self.converged:
            raise GentleError(
                f"the descent of '{self.target}' has not converged, and intervals belong to the exact "
                "solution: fit with solver='exact', or go on with fit.continue_(data)"
            )
        x = written_out(features.x)
        centered, z = self.answer.fitted.see(x)
        value = self._linear_predictor(x, centered[:, 0]) + features.offset
        if level is None:
            return value[:, None, None]
        square = self.sandwich.variances(z)
        noise = self._noise(features.weight) if kind == "new" else 0.0
        with np.errstate(invalid="ignore"):  # a two-way clustered variance may be negative
            std_error = np.sqrt(square + noise)
        spread = np.where(self.noise_free, np.nan, std_error)
        exact = value if self.way is None else centered[:, 0] + features.offset
        low, high = inference.intervals(exact, spread, self.df, level)
        return np.stack([value, std_error, low, high], axis=1)[:, None]

    def influence(
        self,
        data: Any,
        *,
        weights: Any = None,
        frequencies: Any = None,
        offset: Any = None,
        cluster: Any = None,
        dfbetas: bool = False,
    ) -> Any:
        """Residual, leverage, Cook's distance and the other measures of each row that was fitted.

        A frame of the kind of `data`, or else of polars: one row for each row of the fit, with its
        place in `data` in the column "row".

        Args:
            data: the rows of the fit.
            dfbetas: whether to add how far each row moves each coefficient, as columns "dfbetas_" and its
                name.
            weights, frequencies, offset, cluster: where the fit was given them as arrays, (n,).

        Raises GentleError under a ridge, and for rows that are not those of the fit.
        """
        from gentle.diagnostics import influence

        rows = rows_again(
            self.design,
            data,
            weights=weights,
            frequencies=frequencies,
            offset=offset,
            cluster=cluster,
        )
        return measures_like(data, influence(self, rows, dfbetas=dfbetas))

    def continue_(
        self,
        data: Any,
        *,
        tol: float | None = None,
        max_passes: float | None = None,
        time_limit: float | None = None,
        watch: Watch | None = None,
        **beside: Any,
    ) -> Fit:
        """The fit after a descent that goes on from where this one ended, its trace joined on.

        On other rows it is a warm start: it says so, and its trace begins anew. Momentum and directions
        of before are not kept.

        Args:
            data: the rows of the fit, which does not hold them.
            tol: a new tolerance.
            max_passes, time_limit: how much more may be spent; by default as much as before.
            watch: called with each step.
            beside: weights, frequencies, offset, cluster, where the fit was given them as arrays, (n,).

        Raises GentleError for a fit without a descent, and for a column that is not there.
        """
        from gentle.continuing import continued

        limits = {"tol": tol, "max_passes": max_passes, "time_limit": time_limit}
        return continued((self,), data, limits, watch, beside)[0]

    # Other answers

    def compare(self, other: Fit | Claim) -> Verdict | Wald:
        """Compare with another fit: nested models by an F test, and the same model by a verdict.

        Of two fits whose columns are nested, with the same target and rows, the F test of the columns that
        only one of them has, as by R's anova; it takes the covariance of the larger model. Otherwise how
        far another answer to this question is from the exact one, and why they differ.

        Raises GentleError for models that are not nested, and for nested ones of other rows.
        """
        if isinstance(other, Fit) and self._nests(other):
            return self._nested_test(other)
        if isinstance(other, Fit) and other._nests(self):
            return other._nested_test(self)
        if isinstance(other, Fit):
            other = self._aligned(other)
        if not isinstance(other, Claim):
            raise GentleError(
                f"fits are compared with a Fit or a gentle.Claim, and this is {type(other).__name__}: "
                "gentle.certify takes coefficients of other libraries"
            )
        return compare(self.question, other)[1]

    def __add__(self, other: Fit) -> Fit:
        """The fit of the rows of both: of their moments, without reading a row."""
        return self._joined(other, merged, negative=False)

    def __sub__(self, other: Fit) -> Fit:
        """The fit of the rows that are not among those of the other."""
        return self._joined(other, subtracted, negative=True)

    # Ways out

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fit to a model file, which `gentle.load` reads: about p^2 numbers, and no rows.

        Raises GentleError where it cannot be written; nothing half-written is left behind.
        """
        from gentle.model_file import save

        save(self, path)

    def summary(self, level: float = 0.95) -> str:
        """The fit as a table of text, 80 columns wide, with intervals of that level."""
        from gentle.tables import as_text, summary

        return as_text(summary(self, level))

    def to_polars(self, level: float = 0.95) -> pl.DataFrame:
        """The table of coefficients, one row for each."""
        from gentle.tables import to_polars

        return to_polars(self, level)

    def trace_frame(self) -> pl.DataFrame:
        """The trace, one row for each step: passes, seconds, objective, within, estimated, coefficients.

        Null where a solver has not seen the objective, or a distance is not known. A coefficient whose
        name is that of another of these columns is called "name (coefficient)".
        """
        from gentle.tables import trace_frame

        return trace_frame(self)

    def to_dict(self, level: float = 0.95) -> dict[str, Any]:
        """Everything that the summary says, in plain Python types that JSON takes."""
        from gentle.tables import to_dict

        return to_dict(self, level)

    def to_latex(self, level: float = 0.95) -> str:
        """The table of coefficients for LaTeX, with booktabs' rules."""
        from gentle.tables import to_latex

        return to_latex(self, level)

    def to_markdown(self, level: float = 0.95) -> str:
        """The table of coefficients for Markdown."""
        from gentle.tables import to_markdown

        return to_markdown(self, level)

    def to_module(self) -> torch.nn.Linear:
        """The fit as a torch.nn.Linear of float64 that predicts what it predicts."""
        from gentle.modules import to_module

        return to_module(self)

    @property
    def plot(self) -> FitPictures:
        """Pictures of the fit: plot.coefficients(), plot.descent()."""
        from gentle.pictures.fit import FitPictures

        return FitPictures(self)

    # Within

    def _linear_predictor(self, x: Floats, centered: Floats) -> Floats:
        """x'b of rows x (n, p), (n,), without cancellation in columns that lie far from zero.

        `centered` is the same from the columns that were solved for, about their center.
        """
        if self.way is not None:
            return x @ self.slopes + self.intercept
        if self.placing.mix is None:
            return centered
        fitted = self.answer.fitted
        center = np.zeros(x.shape[1])
        center[fitted.columns] = fitted.centre
        for relation in self.answer.problem.dependent:
            on = center[list(relation.on)]
            center[relation.column] = relation.constant + on @ np.array(relation.slopes)
        level = float(fitted.coef[0, 0]) if fitted.intercept else 0.0
        return level + (x - center) @ self.slopes

    def _noise(self, weight: Floats | None) -> Any:
        """The variance of a new row's own noise: sigma^2 over its weight; nan where that is not known."""
        if weight is None:
            return self.sigma**2 if self.design.weights is None else math.nan
        with np.errstate(divide="ignore"):
            return self.sigma**2 / weight

    @property
    def _yardstick(self) -> Floats:
        """What the certificate measures by, for all coefficients (q,)."""
        if self.placing.mix is None:
            return self.placing.coef(self.certificate.yardstick)
        return np.asarray(np.linalg.norm(self.placing.mix * self.certificate.yardstick, axis=1))

    @cached_property
    def _std_errors(self) -> Floats:
        """Of unit rows of the basis, times their lengths: squares of far units are never formed."""
        if self.l2:
            return np.full(len(self.names), np.nan)
        lengths, scaled = self._scaled_covariance
        with np.errstate(invalid="ignore"):
            return np.asarray(lengths * np.sqrt(np.diag(scaled)))

    @cached_property
    def _scaled_covariance(self) -> tuple[Floats, Floats]:
        """(lengths (q,) of the rows of the basis, covariance (q, q) of the coefficients over these)."""
        if not len(self.answer.coef):
            q = len(self.names)
            return np.full(q, np.nan), np.full((q, q), np.nan)
        basis = self.placing.rows(self.answer.basis)
        lengths = np.linalg.norm(basis, axis=1)
        if self.sandwich.scaled is not None:
            return lengths, self.sandwich.scaled
        along = basis / np.where(lengths == 0, 1.0, lengths)[:, None]
        with np.errstate(invalid="ignore"):
            scaled = along @ self.sandwich.meat @ along.T
            np.fill_diagonal(scaled, ((along @ self.sandwich.meat) * along).sum(axis=1))
        return lengths, (scaled + scaled.T) / 2

    def _named(self, values: Floats) -> Mapping[str, float]:
        return MappingProxyType(dict(zip(self.names, map(float, values), strict=True)))

    @property
    def _claim(self) -> Claim:
        return Claim(
            coef=self.values,
            n_rows=self.n_rows,
            l2=self.l2,
            single=self.single,
            log_weights=self._log_weights,
            sums=self.sums,
            converged=self.verdict.cause not in ("not converged", "interrupted"),
            losses=[step.objective for step in self.trace if step.objective is not None],
        )

    @property
    def _log_weights(self) -> float:
        """Sum of the logarithms of the weights, scaled to mean 1; 0 where they are all alike."""
        if self.design.weights is None:
            return 0.0
        return self.tally.log_weights - self.n_rows * math.log(self.answer.total / self.n_rows)

    @property
    def _constant(self) -> frozenset[str]:
        """The dependent columns that do not vary."""
        relations = self.answer.problem.dependent
        flat = [it.column for it in relations if max(map(abs, it.shares), default=0) <= it.nearness]
        return frozenset(self.design.names[at] for at in flat)

    def _nests(self, other: Fit) -> bool:
        """Whether the other model has some of these columns, and no others."""
        return self.target == other.target and set(other.names) < set(self.names)

    def _nested_test(self, smaller: Fit) -> Wald:
        """F test that the coefficients which the smaller model lacks are zero."""
        sizes = [float(one.answer.target_size[0]) for one in (self, smaller)]
        same = (
            self.n_rows == smaller.n_rows and abs(sizes[0] - sizes[1]) <= SAME_ROWS_TOL * sizes[0]
        )
        if not same:
            raise GentleError(
                f"an F test of nested models needs fits of the same rows, and these have "
                f"{self.n_rows:,.0f} and {smaller.n_rows:,.0f}: rows that lack a value of one of the "
                "columns are not in both, or weights and offsets differ"
                if self.n_rows != smaller.n_rows
                else "an F test of nested models needs fits of the same rows, and these have other "
                "targets, weights or offsets"
            )
        kept = [self.names[at] for at in self.placing.kept]
        lacking = [name for name in kept if name not in smaller.names]
        matrix = np.array([[float(name == one) for name in self.names] for one in lacking])
        return self._tested(
            matrix.reshape(len(lacking), len(self.names)), np.zeros(len(lacking)), lacking
        ).wald

    def _aligned(self, other: Fit) -> Claim:
        """What another fit claims, its coefficients in the order of these names."""
        if other.target != self.target or set(other.names) != set(self.names):
            raise GentleError(
                "only fits of the same target, and of the same or nested columns, can be compared: these "
                f"explain '{self.target}' by {listed(self.names)}, and '{other.target}' by "
                f"{listed(other.names)}"
            )
        claim = other._claim
        if other.names == self.names:
            return claim
        values = np.array([other.coef[name] for name in self.names])
        return replace(claim, coef=values, sums=None)

    @property
    def question(self) -> Question:
        """What another answer is held against."""
        return Question(
            exact=self.answer,
            claim=self._claim,
            names=self.names,
            target=self.target,
            kept=self.placing.kept,
            made_of=self.placing.made_of,
            constant=self._constant,
            inflation={name: value for name, value in self.vif.items() if value == value},
            tol=self.tol,
        )

    def _joined(self, other: Fit, sums: Callable[[Sums, Sums], Sums], *, negative: bool) -> Fit:
        from gentle.fitting import from_sums

        if not isinstance(other, Fit):
            return NotImplemented
        ours, theirs = (
            {"target": one.target, **one.design.meaning, "ridge": one.l2} for one in (self, other)
        )
        if apart := [name for name in ours if ours[name] != theirs[name]]:
            raise GentleError(
                f"only fits of one model can be joined, and these differ in {', '.join(apart)}: fit both "
                "with the same choices and formula, on rows that show every level, and without "
                "functions that learn from them"
            )
        tally = self.tally.merge(other.tally.negative() if negative else other.tally)
        like = replace(
            self,
            single=self.single or other.single,
            coarse={**self.coarse, **other.coarse},
        )
        return from_sums(like, sums(self.sums, other.sums), tally)


@dataclass(frozen=True, eq=False, repr=False)
class Fits(Mapping[str, Fit]):
    """Fits of several targets on the same columns and rows: target -> `Fit`."""

    fits: tuple[Fit, ...] = field()

    def __getitem__(self, target: str) -> Fit:
        for one in self.fits:
            if one.target == target:
                return one
        raise KeyError(target)

    def __iter__(self) -> Iterator[str]:
        return iter(one.target for one in self.fits)

    def __len__(self) -> int:
        return len(self.fits)

    def __str__(self) -> str:
        return self.summary()

    def __dir__(self) -> list[str]:
        return public_names(self, INTERNAL | {"fits"})

    def __repr__(self) -> str:
        return (
            f"<Fits of {printable(', '.join(self))}: {len(self.fits[0].names)} coefficients each>"
        )

    @property
    def coef(self) -> Mapping[str, Mapping[str, float]]:
        """Target -> name -> coefficient."""
        return MappingProxyType({name: one.coef for name, one in self.items()})

    @property
    def std_errors(self) -> Mapping[str, Mapping[str, float]]:
        """Target -> name -> standard error."""
        return MappingProxyType({name: one.std_errors for name, one in self.items()})

    def predict(
        self,
        data: Any,
        *,
        offset: Any = None,
        interval: float | None = None,
        kind: Kind = "mean",
        append: bool = False,
        unseen: Unseen = "error",
        unestimable: Unestimable | None = None,
        weights: Any = None,
        engine: Any = "here",
    ) -> Any:
        """Predictions of every target, (n, k); see `Fit.predict`.

        In a frame each target has its columns, as prediction_y1.
        """
        asked = Asked(interval, kind, append, unseen, engine, unestimable, weights)
        return predict(self, data, offset, asked)

    def predict_to(
        self,
        data: Any,
        path: str | os.PathLike[str],
        *,
        offset: Any = None,
        interval: float | None = None,
        kind: Kind = "mean",
        append: bool = False,
        unseen: Unseen = "error",
        unestimable: Unestimable | None = None,
        weights: Any = None,
        engine: Any = "here",
    ) -> Written:
        """Write predictions of every target to a file; see `Fit.predict_to`."""
        asked = Asked(interval, kind, append, unseen, engine, unestimable, weights)
        return predict_to(self, data, Path(path), offset, asked)

    @property
    def design(self) -> Design:
        """That of all targets."""
        return self.fits[0].design

    @property
    def names(self) -> tuple[str, ...]:
        """Of the coefficients of each, (q,)."""
        return self.fits[0].names

    @property
    def explained(self) -> tuple[str, ...]:
        """The targets, (k,)."""
        return tuple(self)

    def caveat(self, level: float | None) -> str:
        """What a reader of their predictions must know; see `predicting.Model.caveat`."""
        return "; ".join(filter(None, (one.caveat(level) for one in self.fits)))

    def predict_rows(self, features: Features, level: float | None, kind: Kind) -> Floats:
        """Predictions for rows of the design; see `Fit.predict_rows`."""
        return np.concatenate(
            [one.predict_rows(features, level, kind) for one in self.fits], axis=1
        )

    @property
    def row_space(self) -> RowSpace | None:
        """That of each fit."""
        return self.fits[0].row_space

    @property
    def default_unestimable(self) -> Unestimable:
        """That of each fit."""
        return self.fits[0].default_unestimable

    @property
    def heteroskedastic(self) -> bool:
        """That of each fit."""
        return self.fits[0].heteroskedastic

    def __add__(self, other: Fits) -> Fits:
        """The fits of the rows of both, as `Fit.__add__` has them."""
        return self._joined(other, Fit.__add__)

    def __sub__(self, other: Fits) -> Fits:
        """The fits of the rows that are not among those of the other."""
        return self._joined(other, Fit.__sub__)

    def continue_(
        self,
        data: Any,
        *,
        tol: float | None = None,
        max_passes: float | None = None,
        time_limit: float | None = None,
        watch: Watch | None = None,
        **beside: Any,
    ) -> Fits:
        """The fits after descents that go on from where these ended, as `Fit.continue_` has it."""
        from gentle.continuing import continued

        limits = {"tol": tol, "max_passes": max_passes, "time_limit": time_limit}
        return Fits(continued(self.fits, data, limits, watch, beside))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fits to one model file; see `Fit.save`."""
        from gentle.model_file import save

        save(self, path)

    def summary(self, level: float = 0.95) -> str:
        """The tables of all targets, one after the other."""
        return "\n\n".join(one.summary(level) for one in self.fits)

    def to_polars(self, level: float = 0.95) -> pl.DataFrame:
        """The tables of coefficients of all targets, one row for each coefficient of each."""
        from gentle.tables import to_one_polars

        return to_one_polars(self.fits, level)

    def _joined(self, other: Fits, join: Callable[[Fit, Fit], Fit]) -> Fits:
        if not isinstance(other, Fits):
            return NotImplemented
        if tuple(other) != tuple(self):
            raise GentleError(
                f"only fits of the same targets can be joined: these are {listed(self)}, and those "
                f"{listed(other)}"
            )
        return Fits(tuple(map(join, self.fits, other.fits)))
