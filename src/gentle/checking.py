"""gentle.certify: how far off is somebody else's fit?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from gentle.batch import INTERCEPT, Floats
from gentle.certificate import Certificate
from gentle.comparison import Claim, compare
from gentle.errors import GentleError, listed, near
from gentle.fitting import fit
from gentle.result import Fit, Fits
from gentle.verdict import Verdict

CONSTANTS = (INTERCEPT, "const", "(Intercept)", "intercept", "_cons")  # as libraries call it


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
    values = _values(coef, exact)
    claim = Claim(values, n_rows=claimed_rows, l2=claimed_l2, losses=losses)
    certificate, verdict = compare(exact.question, claim)
    named = dict(zip(exact.names, map(float, values), strict=True))
    return Check(MappingProxyType(named), certificate, verdict, exact)


def _values(coef: Any, exact: Fit) -> Floats:
    """The coefficients in the order of the model's names."""
    if isinstance(coef, Fit):
        coef = coef.coef
    if hasattr(coef, "detach"):
        coef = coef.detach().cpu().numpy()
    if hasattr(coef, "params") and not callable(coef.params):
        coef = coef.params
    if hasattr(coef, "coef_"):
        named = getattr(coef, "feature_names_in_", None)
        constant = getattr(coef, "intercept_", 0.0)
        if named is not None and set(named) == set(exact.design.names):
            pairs = zip(named, np.ravel(coef.coef_), strict=True)
            by_name = {str(name): float(value) for name, value in pairs}
            slopes = [by_name[name] for name in exact.design.names]
            coef = _joined(slopes, constant, exact)
        else:
            coef = _joined(coef.coef_, constant, exact)
    elif hasattr(coef, "weight") and hasattr(coef, "bias"):
        bias = 0.0 if coef.bias is None else coef.bias.detach().cpu().numpy()
        coef = _joined(coef.weight.detach().cpu().numpy(), bias, exact)
    if isinstance(coef, Mapping) or hasattr(coef, "items"):
        return _by_name(dict(coef.items()), exact.names)
    try:
        values = np.asarray(coef, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise GentleError(
            "coefficients must be a mapping from name to number or a sequence of numbers, and are "
            f"{type(coef).__name__}"
        ) from None
    if len(values) != len(exact.names):
        raise GentleError(
            f"the model has {len(exact.names)} coefficients, {listed(exact.names)}, and "
            f"{len(values)} were given"
        )
    return values


def _joined(slopes: Any, constant: Any, exact: Fit) -> Floats:
    """Slopes and a constant that stand apart, as one vector."""
    values = np.asarray(slopes, dtype=np.float64).ravel()
    constants = np.asarray(constant, dtype=np.float64).ravel()
    if exact.design.intercept:
        return np.concatenate([constants, values])
    if np.any(constants != 0):
        raise GentleError(
            f"the coefficients have a constant, {constants[0]:g}, and the model has none: let "
            "intercept=True, or give a formula without '- 1'"
        )
    return values


def _by_name(coef: dict[Any, Any], names: tuple[str, ...]) -> Floats:
    given = {str(name): value for name, value in coef.items()}
    if INTERCEPT in names and INTERCEPT not in given:
        for name in CONSTANTS:
            if name in given:
                given[INTERCEPT] = given.pop(name)
                break
    if missing := [name for name in names if name not in given]:
        raise GentleError(
            f"the model has a coefficient {listed(missing)} that was not given: {near(missing[0], given)}"
        )
    if foreign := [name for name in given if name not in names]:
        raise GentleError(
            f"the model has no coefficient {listed(foreign)}: {near(foreign[0], names)}"
        )
    return np.array([_number(name, given[name]) for name in names])


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise GentleError(
            f"the coefficient of '{name}' must be a number, and is {value!r}"
        ) from None
