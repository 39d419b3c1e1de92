"""Verdict: one sentence on two answers, with the cause where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentle.certificate import Certificate

Cause = Literal[
    "agree", "exact only", "not converged", "interrupted", "precision", "flat", "wandering"
]

ENDINGS: dict[Cause, str] = {
    "not converged": "the descent was stopped before it got there, and more steps bring it nearer",
    "interrupted": "the descent was interrupted on its way",
    "precision": "what is left between them is rounding, which collinear columns magnify",
    "flat": "the loss is too flat there for its last digits to show the way",
    "wandering": "at a constant rate minibatches keep a descent wandering about the minimum",
}


@dataclass(frozen=True)
class Verdict:
    """Whether a descent and the exact answer agree, and if not, why."""

    cause: Cause
    sentence: str

    @property
    def agrees(self) -> bool:
        return self.cause in ("agree", "exact only")

    def __str__(self) -> str:
        return self.sentence


def verdict(certificate: Certificate, names: tuple[str, ...], tol: float, cause: Cause) -> Verdict:
    """The verdict on a descent that ended as `cause` says unless it is within tol of the exact answer.

    names are those of the certificate's coefficients.
    """
    apart = distance(certificate, names)
    if certificate.within <= tol:
        return Verdict("agree", f"The two answers agree: apart by {apart}.")
    return Verdict(cause, f"The two answers differ: apart by {apart}; {ENDINGS.get(cause, cause)}.")


def distance(certificate: Certificate, names: tuple[str, ...]) -> str:
    """How far apart two answers are, in standard errors and in digits."""
    if not names:
        return "there is no coefficient to compare"
    digits = f"{certificate.digits:.1f} digits agree"
    where = names[certificate.furthest]
    if certificate.unit == "relative":
        return f"at most {certificate.within:.1e} of its size, at {where}, {digits}"
    unit = (
        "standard errors" if certificate.unit == "standard errors" else "of the ridge's yardstick"
    )
    return f"at most {_short(certificate.within)} {unit}, at {where}, {digits}"


def _short(value: float) -> str:
    return f"{value:.1e}" if value < 1e-3 else f"{value:.3g}"
