"""scikit-learn's face of a fit."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from gentle.batch import Floats
from gentle.design import Rows, learn_design
from gentle.fitting import fit_rows
from gentle.result import Fit
from gentle.sources import Arrays


class LinearRegression(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Least squares with scikit-learn's conventions, and the whole `Fit` in `result_`.

    Minimises 1/(2W) sum_i w_i (y_i - x_i'b)^2 + l2/2 sum_j b_j^2 with w the sample weights and W their
    sum; the constant is not penalised.

    Args:
        l2: strength of the ridge.
        fit_intercept: whether the model has a constant.
        solver: "exact" or "auto" for the exact answer, "sgd" for the descent.
        tol: how near the descent must come to the exact answer, in standard errors.
        random_state: seed of the descent; None stands for 0.

    Attributes:
        coef_: (p,) slopes, 0 for a column that the rank rule left out.
        intercept_: the constant, 0.0 without one.
        n_iter_: readings of the rows by the descent, 0 for the exact answer.
        result_: the `Fit`, with standard errors, certificate and verdict.
    """

    def __init__(
        self,
        *,
        l2: float = 0.0,
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-3,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit X (n, p) to y (n,), rows weighted by sample_weight (n,) where it is given."""
        X, y = validate_data(self, X, y, y_numeric=True, dtype=(np.float64, np.float32))
        other = {"y": y}
        if sample_weight is not None:
            other["weights"] = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        names = getattr(self, "feature_names_in_", [f"x{j + 1}" for j in range(X.shape[1])])
        columns = tuple(f"{name}" for name in names)
        source = Arrays(
            X, columns, {f"({name})": values for name, values in other.items()}, name="X"
        )
        design = learn_design(
            source,
            target="(y)",
            features=columns,
            intercept=self.fit_intercept,
            weights=None if sample_weight is None else "(weights)",
            missing="raise",
        )
        self.result_: Fit = fit_rows(
            Rows(source, design),
            l2=self.l2,
            solver=self.solver,
            tol=self.tol,
            seed=self._seed(),
        )
        self.coef_ = self.result_.slopes
        self.intercept_ = self.result_.intercept
        self.n_iter_ = int(self.result_.trace[-1].passes) if self.result_.trace else 0
        return self

    def predict(self, X: Any) -> Floats:
        """Predictions for X (n, p), (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        predictions: npt.NDArray[np.float64] = X @ self.coef_ + self.intercept_
        return predictions

    def _seed(self) -> int:
        if self.random_state is None or isinstance(self.random_state, int | np.integer):
            return int(self.random_state or 0)
        return int(self.random_state.randint(2**31))
