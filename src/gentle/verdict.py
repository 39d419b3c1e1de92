"""Verdict: one sentence on two answers, with the cause where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gentle.certificate import Certificate, Estimate, Unit
from gentle.driver import Progress, Stop
from gentle.errors import printable
from gentle.layout import times

Cause = Literal[
    "agree",
    "exact only",
    "not converged",
    "not certified",
    "interrupted",
    "precision",
    "flat",
    "wandering",
    "step too large",
    "dependent column",
    "constant column",
    "collinear",
    "penalty",
    "rows",
    "weights",
    "float32",
    "shifted",
    "other",
]

ENDINGS: dict[Cause, str] = {
    "not converged": "the descent was stopped before it got there, and more steps may bring it nearer",
    "interrupted": "the descent was interrupted on its way",
    "precision": "what is left between them is rounding, which collinear columns and far starts magnify",
    "flat": "the loss is too flat there for its last digits to show the way",
    "wandering": "at a constant rate minibatches keep a descent wandering about the minimum: with "
    "schedule '1/t' or a smaller rate it settles",
    "other": "it is the answer to another objective or to other rows, or it was rounded or stopped early",
}

UNITS: dict[Unit, str] = {
    "standard errors": "standard errors",
    "scale": "yardsticks of the ridge",
    "relative": "of the coefficient's size",
}
STOPS: dict[Stop, Cause] = {
    "tolerance": "agree",
    "rounding": "precision",
    "wandering": "wandering",
    "passes": "not converged",
    "time": "not converged",
    "interrupted": "interrupted",
}

SINGLE = "the descent held its rows in float32, which rounds them after about 7 digits"
AT_START = "no point that it visited is nearer than its start, so these coefficients are those of the start"
CUT_SHORT: dict[Stop, str] = {  # ends that came from outside, in words
    "passes": "max_passes",
    "time": "time_limit",
    "interrupted": "Ctrl-C",
}


@dataclass(frozen=True)
class Verdict:
    """Whether two answers agree, and if not, why."""

    cause: Cause
    sentence: str

    @property
    def agrees(self) -> bool:
        return self.cause in ("agree", "exact only")

    def __str__(self) -> str:
        return printable(self.sentence)


def verdict(
    certificate: Certificate,
    names: tuple[str, ...],
    tol: float,
    cause: Cause,
    why: str | None = None,
) -> Verdict:
    """The verdict on an answer that is as `cause` says, unless it is within tol of the exact one.

    names are those of the certificate's coefficients; `why` says the cause with what is known of it.
    """
    digits = f"{certificate.digits:.1f} digits"
    apart = f"at most {_distance(certificate, names)} apart, rounding included"
    if certificate.within <= tol:
        return Verdict("agree", f"The two answers agree to {digits}: they are {apart}.")
    why = why or ENDINGS[cause]
    return Verdict(cause, f"The two answers differ after {digits}: they are {apart}; {why}.")


def descent_verdict(
    certificate: Certificate,
    names: tuple[str, ...],
    tol: float,
    stop: Stop,
    last: Sequence[Progress] = (),
    *,
    rounded: bool = False,
    at_start: bool = False,
) -> Verdict:
    """The verdict on a descent that the driver has stopped, after its last step if there was one.

    `rounded` says that it was given rows in float32 for rows of more digits; `at_start` that no point it
    visited was nearer than the one it started from.
    """
    if rounded and stop == "rounding":
        return verdict(certificate, names, tol, "float32", SINGLE)
    why = _why(stop, last)
    return verdict(certificate, names, tol, STOPS[stop], f"{why}; {AT_START}" if at_start else why)


def _why(stop: Stop, last: Sequence[Progress]) -> str:
    """Why a descent ended where it did."""
    if not last or stop not in CUT_SHORT:
        return ENDINGS.get(STOPS[stop], "")
    seconds = last[-1].seconds
    shown = f"{seconds:.1f}" if seconds >= 0.1 else f"{seconds:.1g}"
    spent = f"after {shown} s and {times(last[-1].passes, 'reading', 'readings')} of the rows"
    return f"the descent was stopped by {CUT_SHORT[stop]} {spent}, and more may bring it nearer"


def alone_verdict(estimate: Estimate, tol: float, stop: Stop, last: Sequence[Progress]) -> Verdict:
    """The verdict on a descent without an exact answer, from the estimate it was stopped on."""
    if not estimate.certified:
        ended = f"; {_why(stop, last)}" if stop in CUT_SHORT else ""
        return Verdict(
            "not certified",
            f"How far the descent is from the minimiser is not certified: {estimate.reason}{ended}.",
        )
    distance = (
        f"The descent is about {_size(estimate.within)} {UNITS[estimate.unit]} from the minimiser"
    )
    how = "as the gradient there and the curvature of a sample say"
    cause = STOPS[stop]
    if estimate.within <= tol:
        return Verdict("agree", f"{distance}, {how}.")
    return Verdict(cause, f"{distance}, {how}; {_why(stop, last)}.")


def exact_verdict(certificate: Certificate, names: tuple[str, ...]) -> Verdict:
    """The verdict on an exact answer alone: how far rounding can have moved it."""
    return Verdict(
        "exact only",
        f"The exact answer: rounding can have moved it by at most {_distance(certificate, names)}, "
        f"so {certificate.digits:.1f} digits are sure.",
    )


def _distance(certificate: Certificate, names: tuple[str, ...]) -> str:
    """The largest distance of a coefficient, in its yardstick, and which coefficient that is."""
    if not names:
        return "nothing (there is no coefficient)"
    where = names[certificate.furthest]
    return f"{_size(certificate.within)} {UNITS[certificate.unit]} (at {where})"


def _size(within: float) -> str:
    return f"{within:.1e}" if within < 1e-3 else f"{within:.3g}"
