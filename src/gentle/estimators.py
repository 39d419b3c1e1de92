"""scikit-learn's face of a fit."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from gentle.batch import Floats
from gentle.choices import Choices
from gentle.design import Rows, learn_design
from gentle.fitting import fit_rows
from gentle.result import Fit, Fits
from gentle.sources import Arrays


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
        random_state: seed of the descent; None stands for 0.

    Attributes:
        coef_: (p,) slopes, or (k, p) for k targets; 0 for a column that the rank rule left out.
        intercept_: the constant, or (k,); 0.0 without one.
        n_iter_: readings of the rows by the descent, 0 for the exact answer.
        result_: the `Fit`, with standard errors, certificate and verdict; `Fits` for several targets.
    """

    def __init__(
        self,
        *,
        l2: float = 0.0,
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-3,
        digits: float | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.digits = digits
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit X (n, p) to y (n,) or (n, k), rows weighted by sample_weight (n,) where it is given."""
        X, y = validate_data(
            self, X, y, y_numeric=True, multi_output=True, dtype=(np.float64, np.float32)
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
            X,
            columns,
            {f"({name})": values for name, values in other.items()},
            finite=True,
            name="X",
        )
        design = learn_design(
            source,
            targets=targets,
            features=columns,
            intercept=self.fit_intercept,
            weights=None if sample_weight is None else "(weights)",
            missing="raise",
        )
        choices = Choices(
            l2=self.l2,
            solver=self.solver,
            tol=self.tol,
            digits=self.digits,
            seed=self._seed(),
        )
        fits = fit_rows(Rows(source, design), choices)
        self.result_: Fit | Fits = fits[0] if flat else Fits(fits)
        self.coef_ = fits[0].slopes if flat else np.stack([one.slopes for one in fits])
        self.intercept_ = fits[0].intercept if flat else np.array([one.intercept for one in fits])
        self.n_iter_ = max(int(one.trace[-1].passes) if one.trace else 0 for one in fits)
        return self

    def predict(self, X: Any) -> Floats:
        """Predictions for X (n, p): (n,) or (n, k)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        predictions: npt.NDArray[np.float64] = X @ self.coef_.T + self.intercept_
        return predictions

    def _seed(self) -> int:
        if self.random_state is None or isinstance(self.random_state, int | np.integer):
            return int(self.random_state or 0)
        return int(self.random_state.randint(2**31))
