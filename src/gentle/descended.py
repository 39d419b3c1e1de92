"""Descended: a linear model by descent alone, where the exact answer is out of reach."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from gentle.batch import EXACT_COLUMNS, Floats
from gentle.certificate import Estimate
from gentle.choices import Choices
from gentle.design import Design, Features
from gentle.driver import Progress, Stop
from gentle.errors import GentleError, printable
from gentle.estimability import Unestimable
from gentle.layout import public_names
from gentle.levels import Unseen
from gentle.predicting import Asked, Kind, Written, predict, predict_to, refuse_level
from gentle.statistics import Score, Tally
from gentle.verdict import UNITS, Verdict

if TYPE_CHECKING:
    import polars as pl

    from gentle.pictures.fit import FitPictures


INTERNAL = frozenset(  # attributes that other modules use
    [
        "choices",
        "default_unestimable",
        "explained",
        "heteroskedastic",
        "predict_rows",
        "predict_x",
        "reach",
        "row_space",
        "tally",
    ]
)


@dataclass(frozen=True, eq=False, repr=False)
class Descended:
    """A linear model of more columns than the exact answer can be made for.

    Its distance from the minimiser is an estimate, from the gradient there and a sampled curvature, and
    there are no standard errors. Vectors are in the order of `names`, the constant first.
    """

    design: Design
    names: tuple[str, ...]  # (q,)
    values: Floats  # (q,)
    reach: Floats  # (q,) what one spread of each column moves the prediction
    choices: Choices
    tally: Tally
    n_rows: float  # frequencies counted
    rss: float  # residual sum of squares, weighted
    tss: float  # squares of the target about its mean; about zero without a constant
    certificate: Estimate
    stop: Stop
    verdict: Verdict
    trace: tuple[Progress, ...]
    held_out: Score | None = None

    def __post_init__(self) -> None:
        self.values.flags.writeable = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # arrays come writable out of a pickle

    def __str__(self) -> str:
        return self.summary()

    def __dir__(self) -> list[str]:
        return public_names(self, INTERNAL)

    def __repr__(self) -> str:
        rows = f"{self.n_rows:,.0f} rows"
        cause = "" if self.verdict.agrees else f", {self.verdict.cause}"
        return (
            f"<Descended {printable(self.target)}: {len(self.names):,} coefficients, {rows}{cause}>"
        )

    @property
    def target(self) -> str:
        """What is explained."""
        return self.design.targets[0]

    @property
    def references(self) -> Mapping[str, str]:
        """Column of text -> its reference level: the first that a row of the fit has."""
        return self.design.references

    @property
    def coef(self) -> Mapping[str, float]:
        """Name -> coefficient, the constant first, in the units of the data."""
        return MappingProxyType(dict(zip(self.names, map(float, self.values), strict=True)))

    @property
    def intercept(self) -> float:
        """The constant; 0 for a model without one."""
        return float(self.values[0]) if self.design.intercept else 0.0

    @property
    def slopes(self) -> Floats:
        """(p,) the coefficients of x."""
        return self.values[int(self.design.intercept) :]

    @property
    def r2(self) -> float:
        """1 - RSS / TSS, about the mean with a constant and about zero without; nan if TSS is 0."""
        return 1 - self.rss / self.tss if self.tss > 0 else float("nan")

    @property
    def tol(self) -> float:
        """How near the descent had to come, in standard errors."""
        return self.choices.tol

    @property
    def interrupted(self) -> bool:
        """Whether the descent was ended by Ctrl-C."""
        return self.stop == "interrupted"

    @property
    def std_errors(self) -> NoReturn:
        """Raises GentleError: there are none."""
        raise self._without("standard errors")

    def conf_int(self, level: float = 0.95) -> NoReturn:  # noqa: ARG002
        """Raises GentleError: there are none."""
        raise self._without("confidence intervals")

    def _without(self, what: str) -> GentleError:
        return GentleError(
            f"a descent alone, as this of {len(self.names):,} coefficients, has no {what}, which need the "
            f"exact answer: its certificate estimates how far the coefficients are from the minimiser, and "
            f"a fit of up to {EXACT_COLUMNS:,} columns has both"
        )

    def predict(
        self,
        data: Any,
        *,
        offset: Any = None,
        append: bool = False,
        unseen: Unseen = "error",
        engine: Any = "here",
    ) -> Any:
        """Predictions for the rows of a frame, a file or an array, (n,); nan where one is missing.

        See `Fit.predict`; intervals there are none.

        Raises GentleError for a column that is not there and for a level that the fit did not see.
        """
        return predict(self, data, offset, Asked(append=append, unseen=unseen, engine=engine))

    def predict_to(
        self,
        data: Any,
        path: str | os.PathLike[str],
        *,
        offset: Any = None,
        append: bool = False,
        unseen: Unseen = "error",
        engine: Any = "here",
    ) -> Written:
        """Write predictions to a file; see `Fit.predict_to`."""
        return predict_to(
            self, data, Path(path), offset, Asked(append=append, unseen=unseen, engine=engine)
        )

    @property
    def explained(self) -> tuple[str, ...]:
        """The targets: one."""
        return (self.target,)

    def caveat(self, level: float | None) -> str:  # noqa: ARG002
        """What a reader of its predictions must know; see `predicting.Model.caveat`."""
        if self.verdict.agrees:
            return ""
        return (
            f"the descent of '{self.target}' has not converged (it is about {self.certificate.within:.3g} "
            f"{UNITS[self.certificate.unit]} from the minimiser)"
        )

    row_space: ClassVar[None] = None  # rank is not known here
    default_unestimable: ClassVar[Unestimable] = "predict"
    heteroskedastic: ClassVar[bool] = False

    def predict_rows(self, features: Features, level: float | None, kind: Kind) -> Floats:  # noqa: ARG002
        """Predictions for rows of the design, as in `predicting.Model`."""
        refuse_level(level, "a descent alone")
        value = features.x @ self.slopes + self.intercept + features.offset
        return np.asarray(value)[:, None, None]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file; see `Fit.save`."""
        from gentle.model_file import save

        save(self, path)

    def summary(self) -> str:
        """The fit as a table of text, 80 columns wide: the largest coefficients and how it ended."""
        from gentle.tables import as_text, descended_summary

        return as_text(descended_summary(self))

    def to_polars(self) -> pl.DataFrame:
        """One row for each coefficient: name and value."""
        from gentle.tables import descended_to_polars

        return descended_to_polars(self)

    def trace_frame(self) -> pl.DataFrame:
        """The trace, one row for each step; see `Fit.trace_frame`."""
        from gentle.tables import trace_frame

        return trace_frame(self)

    @property
    def plot(self) -> FitPictures:
        """Pictures of the fit: plot.descent()."""
        from gentle.pictures.fit import FitPictures

        return FitPictures(self)
