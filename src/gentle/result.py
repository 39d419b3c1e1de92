"""Fit: what a fit found, as an immutable value with names on everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from gentle import inference
from gentle.batch import Floats, rows_per_batch
from gentle.certificate import Certificate
from gentle.design import Design, refuse_other_than_numbers
from gentle.driver import Progress
from gentle.errors import GentleError, near
from gentle.sources import Arrays, open_source
from gentle.statistics import Score, Tally
from gentle.verdict import Verdict

if TYPE_CHECKING:
    from gentle.pictures.fit import FitPictures


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A fitted linear model. Vectors are in the order of `names`, the constant first.

    A column that the rank rule left out has nan everywhere, and counts as 0 in predictions.
    """

    design: Design
    names: tuple[str, ...]  # (q,)
    values: Floats  # (q,) the coefficients, by the solver that was asked for
    solver: str
    tol: float
    l2: float
    vcov: Floats = field(
        repr=False
    )  # (q, q) covariance of the exact coefficients; nan under a ridge
    rss: float  # residual sum of squares
    tss: float  # of the target about its mean; about zero without a constant
    sigma: float  # residual standard deviation
    df_resid: float
    tally: Tally
    n_rows: float  # frequencies counted
    condition: float  # of the shifted and scaled design
    certificate: Certificate
    verdict: Verdict
    exact_values: Floats | None = None  # (q,)
    descent_values: Floats | None = None  # (q,)
    trace: tuple[Progress, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)  # column -> what it is made of
    test: Score | None = None  # on rows that were held out
    interrupted: bool = False

    def __post_init__(self) -> None:
        for values in (self.values, self.vcov, self.exact_values, self.descent_values):
            if values is not None:
                values.flags.writeable = False

    def __repr__(self) -> str:
        rows = f"{self.n_rows:,.0f} rows"
        return (
            f"<Fit of {self.design.target}: {len(self.names)} coefficients, {rows}, {self.solver}>"
        )

    @property
    def coef(self) -> Mapping[str, float]:
        """Name -> coefficient, the constant first, in the units of the data."""
        return self._named(self.values)

    @property
    def exact(self) -> Mapping[str, float] | None:
        """Name -> the exact minimiser."""
        return None if self.exact_values is None else self._named(self.exact_values)

    @property
    def descent(self) -> Mapping[str, float] | None:
        """Name -> where the descent ended; None where there was none."""
        return None if self.descent_values is None else self._named(self.descent_values)

    @property
    def std_errors(self) -> Mapping[str, float]:
        """Name -> classical standard error (Gauss 1823)."""
        return self._named(self._std_errors)

    @property
    def t_values(self) -> Mapping[str, float]:
        """Name -> coefficient in standard errors."""
        return self._named(inference.t_values(self.values, self._std_errors))

    @property
    def p_values(self) -> Mapping[str, float]:
        """Name -> two-sided probability of such a t under a coefficient of zero."""
        t = inference.t_values(self.values, self._std_errors)
        return self._named(inference.p_values(t, self.df_resid))

    def conf_int(self, level: float = 0.95) -> Mapping[str, tuple[float, float]]:
        """Name -> (low, high) of the classical t interval.

        Raises GentleError for a level that is not between 0 and 1.
        """
        bounds = inference.intervals(self.values, self._std_errors, self.df_resid, level)
        pairs = zip(*(map(float, side) for side in bounds), strict=True)
        return MappingProxyType(dict(zip(self.names, pairs, strict=True)))

    @property
    def difference(self) -> Mapping[str, float]:
        """Name -> (descent - exact) in standard errors; nan where there is no descent."""
        if self.exact_values is None or self.descent_values is None:
            return self._named(np.full(len(self.names), np.nan))
        apart = self.descent_values - self.exact_values
        return self._named(inference.t_values(apart, self._std_errors))

    @property
    def r2(self) -> float:
        """1 - RSS / TSS, about the mean with a constant and about zero without; nan if TSS is 0."""
        return 1 - self.rss / self.tss if self.tss > 0 else float("nan")

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

    def predict(self, data: Any) -> Floats:
        """Predictions for the rows of a frame, a file or an array, (n,); nan where one is missing.

        Raises GentleError for a column that is not there and for a level that the fit did not see.
        """
        source = open_source(data, self.design.columns)
        if isinstance(source, Arrays) and not self.design.takes_arrays:
            raise GentleError(
                "this fit has a formula or texts, so it predicts for rows with named columns: "
                "give a frame or a file, not an array"
            )
        schema = source.schema()
        for name in self.design.columns:
            if name in schema and name not in self.design.levels:
                refuse_other_than_numbers(source, name)
            if name not in schema:
                raise GentleError(
                    f"{source.name} has no column '{name}', which the fit needs: {near(name, schema)}"
                )
        if not self.design.columns:
            return np.full(source.height(), self.intercept)
        predictions = np.full(source.height(), np.nan)
        size = rows_per_batch(len(self.names))
        for chunk in source.scan(self.design.columns, size):
            x, rows = self.design.features(chunk, source.name)
            predictions[rows] = x @ self.slopes + self.intercept
        return predictions

    def summary(self) -> str:
        """The fit as a table of text, 80 columns wide."""
        from gentle.tables import as_text, summary

        return as_text(summary(self))

    @property
    def plot(self) -> FitPictures:
        """Pictures of the fit: plot.coefficients(), plot.descent()."""
        from gentle.pictures.fit import FitPictures

        return FitPictures(self)

    @cached_property
    def _std_errors(self) -> Floats:
        return np.sqrt(np.diag(self.vcov))

    def _named(self, values: Floats) -> Mapping[str, float]:
        return MappingProxyType(dict(zip(self.names, map(float, values), strict=True)))
