"""gentle.certify: how far off is somebody else's fit?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gentle.certificate import Certificate
from gentle.coefficients import coefficients
from gentle.comparison import Claim, compare
from gentle.errors import GentleError, listed
from gentle.fitting import fit
from gentle.result import Fit, Fits
from gentle.verdict import Verdict


@dataclass(frozen=True, eq=False)
class Check:
    """Coefficients from anywhere, held against the exact answer on the same rows."""

    coef: Mapping[str, float]
    certificate: Certificate
    verdict: Verdict
    fit: Fit  # the exact answer

    @property
    def in_se(self) -> float:
        """The largest distance of a coefficient, in standard errors."""
        return self.certificate.in_se

    @property
    def distances(self) -> Mapping[str, float]:
        """Name -> at most so many standard errors from the exact coefficient, rounding included."""
        kept = [self.fit.names[at] for at in self.fit.placing.kept]
        each = self.certificate.distance / self.certificate.yardstick
        return MappingProxyType(dict(zip(kept, map(float, each), strict=True)))

    def __str__(self) -> str:
        return str(self.verdict)


def certify(
    coef: Any,
    data: Any,
    formula: str | None = None,
    *,
    losses: Sequence[float] = (),
    claimed_rows: float | None = None,
    claimed_l2: float | None = None,
    **asked: Any,
) -> Check:
    """How far coefficients from any library are from the exact minimiser, in standard errors, and why.

    Args:
        coef: name -> coefficient, the constant called "Intercept" or "const"; or values in the order of
            the model, the constant first; or an estimator with `coef_` and `intercept_`; or a
            `torch.nn.Linear`; or results with `params`; or a `Fit`.
        data, formula, asked: what `gentle.fit` takes for the rows and the objective.
        losses: what a descent reported on its way, if that is known; it may show that it ran away.
        claimed_rows: how many rows the other fit says it used, likewise.
        claimed_l2: the strength of its ridge in our objective, likewise.

    Raises GentleError for coefficients that are not those of the model, beside what `fit` raises.
    """
    exact = fit(data, formula, **{**asked, "solver": "exact"})
    if not isinstance(exact, Fit):
        raise GentleError(
            "coefficients are certified for one target at a time: name one of "
            + listed(exact if isinstance(exact, Fits) else (exact.target,), last="or")
        )
    values = coefficients(coef, exact.names, intercept=exact.design.intercept)
    claim = Claim(values, n_rows=claimed_rows, l2=claimed_l2, losses=losses)
    certificate, verdict = compare(exact.question, claim)
    named = dict(zip(exact.names, map(float, values), strict=True))
    return Check(MappingProxyType(named), certificate, verdict, exact)
