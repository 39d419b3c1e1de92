"""scikit-learn's face of a fit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from gentle.batch import Floats
from gentle.choices import Choices
from gentle.descended import Descended
from gentle.descending import descend_rows, is_wide
from gentle.design import Design, Rows, learn_design
from gentle.errors import GentleError, RankWarning
from gentle.fitting import fit_more, fit_rows
from gentle.forking import reject_lost_pool, use_own_thread
from gentle.result import Fit, Fits
from gentle.sources import Arrays, has_method, is_a, is_table, joined_labels


class LinearRegression(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Least squares with scikit-learn's conventions, and the whole `Fit` in `result_`.

    Minimises 1/(2W) sum_i w_i (y_i - x_i'b)^2 + l2/2 sum_j b_j^2 with w the sample weights and W their
    sum; the constant is not penalised.

    Args:
        l2: strength of the ridge.
        fit_intercept: whether the model has a constant.
        solver: "exact" or "auto" for the exact answer, "sgd" for the descent; see `gentle.fit` for more.
        tol: how near to the exact answer, in standard errors; see `gentle.fit`.
        digits: how many digits every coefficient must be certified to have.
        rank: "drop", "minimum-norm" or "raise" for a column that is a combination of those before it.
        rank_tol: when it is one, by default to the rounding of its values; see `gentle.fit`.
        random_state: seed of the descent; None stands for 0.
        warm_start: whether a descent starts from the coefficients of the fit before.
        max_passes: how many readings of the rows a descent may take.
        time_limit: how many seconds a descent may take.

    Attributes:
        coef_: (p,) slopes, or (k, p) for k targets; 0 for a column that the rank rule left out.
        intercept_: the constant, or (k,); 0.0 without one.
        n_iter_: readings of the rows by the descent, 0 for the exact answer.
        result_: the `Fit`, with standard errors, certificate and verdict; `Fits` for several targets;
            `Descended` beyond some thousand columns, where a descent goes alone.
    """

    def __init__(
        self,
        *,
        l2: float = 0.0,
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-3,
        digits: float | None = None,
        rank: str = "drop",
        rank_tol: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        max_passes: float = 100,
        time_limit: float | None = None,
    ) -> None:
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.digits = digits
        self.rank = rank
        self.rank_tol = rank_tol
        self.random_state = random_state
        self.warm_start = warm_start
        self.max_passes = max_passes
        self.time_limit = time_limit

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit X (n, p), dense or sparse, to y (n,) or (n, k), with sample_weight (n,) or without.

        Warns with scikit-learn's ConvergenceWarning where a descent has not converged.
        """
        choices, before = self._choices(), self._fits if self.warm_start else ()
        rows, flat = self._rows(X, y, sample_weight)
        begin = None
        if choices.descends and before:
            self._refuse_others(before, rows)
            begin = [np.nan_to_num(one.values) for one in before]
        if is_wide(rows.design, choices):
            return self._keep((descend_rows(rows, choices, begin=begin),), flat=flat)
        return self._keep(fit_rows(rows, choices, begin=begin), flat=flat)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Take in more rows: the exact fit of all that came since the first call, or with a `fit` before.

        The rows are not kept, but their sums are, which join exactly: however rows are cut into calls, the
        fit is that of all of them. There is no descent, since that would read the rows again.
        """
        choices, before = replace(self._choices(), solver="exact", digits=None), self._fits
        rows, flat = self._rows(X, y, sample_weight, reset=not before)
        if not before:
            return self._keep(fit_rows(rows, choices), flat=flat)
        self._refuse_others(before, rows)
        kept = tuple(one for one in before if isinstance(one, Fit))
        if not kept:
            raise GentleError(
                f"the fit before is of {len(before[0].names):,} coefficients, by descent alone, which "
                "keeps no sums for more rows to join: fit all rows at once"
            )
        return self._keep(fit_more(kept, rows, choices), flat=flat)

    @property
    def _fits(self) -> tuple[Fit | Descended, ...]:
        """The fits of all targets, where there are some."""
        found = getattr(self, "result_", ())
        return (found,) if isinstance(found, Fit | Descended) else tuple(dict(found).values())

    def _refuse_others(self, before: Sequence[Fit | Descended], rows: Rows) -> None:
        """Raises GentleError for rows of another shape than those of the fits before."""
        one, other = (_shape(design) for design in (before[0].design, rows.design))
        if one != other:
            raise GentleError(
                f"the fit before is of {one}, and these rows are of {other}: a new LinearRegression "
                "begins anew"
            )

    def _choices(self) -> Choices:
        return Choices(
            l2=self.l2,
            solver=self.solver,
            tol=self.tol,
            digits=self.digits,
            rank=self.rank,
            rank_tol=self.rank_tol,
            seed=self._seed(),
            max_passes=self.max_passes,
            time_limit=self.time_limit,
        )

    def _rows(self, X: Any, y: Any, sample_weight: Any, *, reset: bool = True) -> tuple[Rows, bool]:
        """The rows with a design of their own, and whether there is one target, y (n,)."""
        labels = None
        for name, given in {"X": X, "y": y, "sample_weight": sample_weight}.items():
            labels = joined_labels(labels, given, name, "X")
        types = (
            list(X.dtypes) if is_table(X) and has_method(X, "dtypes") else []
        )  # of a frame, whose columns become one array
        _check_threads(X, y)
        X, y = validate_data(
            self,
            X,
            y,
            reset=reset,
            y_numeric=True,
            multi_output=True,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
        )
        flat = y.ndim == 1
        columns_of_y = y[:, None] if flat else y
        other = {
            f"y{j + 1}" if not flat else "y": column for j, column in enumerate(columns_of_y.T)
        }
        targets = tuple(f"({name})" for name in other)
        if sample_weight is not None:
            other["weights"] = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        names = getattr(self, "feature_names_in_", [f"x{j + 1}" for j in range(X.shape[1])])
        columns = tuple(f"{name}" for name in names)
        source = Arrays(
            csr_array(X) if issparse(X) else X,  # type: ignore[call-overload]
            columns,
            {f"({name})": values for name, values in other.items()},
            finite=True,
            name="X",
            single=frozenset(
                name
                for name, dtype in zip(columns, types, strict=False)
                if str(dtype).lower() == "float32"
            ),
        )
        design = learn_design(
            source,
            targets=targets,
            features=columns,
            intercept=self.fit_intercept,
            weights=None if sample_weight is None else "(weights)",
            missing="raise",
        )
        return Rows(source, design), flat

    def _keep(self, fits: Sequence[Fit | Descended], *, flat: bool) -> Self:
        kept = tuple(one for one in fits if isinstance(one, Fit))
        self.result_: Fit | Fits | Descended = fits[0] if flat or not kept else Fits(kept)
        self.coef_ = fits[0].slopes if flat else np.stack([one.slopes for one in fits])
        self.intercept_ = fits[0].intercept if flat else np.array([one.intercept for one in fits])
        for one in fits:
            if one.trace and not one.verdict.agrees:
                warnings.warn(str(one.verdict), ConvergenceWarning, stacklevel=3)
        self.n_iter_ = max(int(one.trace[-1].passes) if one.trace else 0 for one in fits)
        return self

    def predict(self, X: Any) -> Floats:
        """Predictions for X (n, p): (n,) or (n, k)."""
        check_is_fitted(self)
        _check_threads(X)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=(np.float64, np.float32))
        self._warn_of_unestimable(X)
        predictions: npt.NDArray[np.float64] = X @ self.coef_.T + self.intercept_
        return predictions

    def _warn_of_unestimable(self, X: Any) -> None:
        """Warn of rows whose predictions depend on which of many minimisers the coefficients are."""
        row_space = None if isinstance(self.result_, Descended) else self.result_.row_space
        if row_space is None:
            return
        rows = csr_array(X) if issparse(X) else X  # type: ignore[call-overload]
        n = int(row_space.departures(rows).any(axis=1).sum())
        if n:
            warnings.warn(
                f"{n:,} of {X.shape[0]:,} rows violate a linear relation of all rows of the fit, so that "
                "their predictions depend on how its coefficients were chosen; result_.predict has "
                "none for them",
                RankWarning,
                stacklevel=3,
            )

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _seed(self) -> int:
        if self.random_state is None or isinstance(self.random_state, int | np.integer):
            return int(self.random_state or 0)
        return int(check_random_state(self.random_state).randint(2**31))


def _check_threads(*given: Any) -> None:
    """Raises GentleError for a frame in a forked process, which lacks the threads that convert it."""
    use_own_thread()
    if any(is_a(each, "polars.DataFrame", "polars.LazyFrame") for each in given):
        reject_lost_pool()


def _shape(design: Design) -> str:
    p, k = len(design.names), len(design.targets)
    constant = "a" if design.intercept else "no"
    return f"{p} column{'s' * (p != 1)}, {k} target{'s' * (k != 1)} and {constant} constant"
