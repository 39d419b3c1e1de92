"""Comparison: two answers to what should be one question, and why they differ where they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gentle.batch import Floats, Integers
from gentle.certificate import Certificate, certify_all
from gentle.errors import GentleError, is_number, listed, show_value
from gentle.exact import Exact
from gentle.statistics import EPSILON, Moments, Triangle
from gentle.verdict import Cause, Verdict, verdict

SAME = 1e-9  # numbers nearer than this, in their own size, are taken to be the same
ALIKE = 1e-3  # likewise for spreads of data that were shifted: a far offset rounds them
SINGLE = 2.0**-23  # the rounding of float32: a mean may move by as much of its size
HARDLY = 1e-4  # of the target's spread: a change of the predictions that says little
FLAT = 1e-2  # of the steepest direction: one in which coefficients are loosely held
NEARLY_ALL = 0.99  # of a difference, that must lie in flat directions for these to be its cause
WORSE = 1.1  # times its first loss: more than a noisy last minibatch adds to a descent that settled
INFLATED = 10.0  # a variance inflation that names a column as a culprit (Marquardt 1970)


@dataclass(frozen=True, eq=False)
class Claim:
    """An answer, and what is known of how it was made; None where that is not known.

    Raises GentleError for coefficients, losses, rows or penalties that are no numbers.
    """

    coef: Floats  # (all,) in the order of the model's names; nan where a column was left out
    n_rows: float | None = None
    l2: float | None = None
    single: bool | None = None  # whether its data were float32
    log_weights: float | None = None  # sum of log w, the weights scaled to mean 1; 0 without any
    sums: Moments | Triangle | None = None  # of its rows
    converged: bool | None = None
    losses: Sequence[float] = ()  # of its descent, from first to last

    def __post_init__(self) -> None:
        for name in ("coef", "losses"):
            object.__setattr__(self, name, _numbers(getattr(self, name), name))
        for name in ("n_rows", "l2"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and 0 <= value < np.inf):
                raise GentleError(
                    f"{name} of a claim must be a number of at least 0, and is {show_value(value)}"
                )


def _numbers(given: Any, name: str) -> Floats:
    """The values of a claim as float64 (n,); GentleError for what is not a sequence of numbers."""
    try:
        return np.asarray(given, dtype=np.float64).ravel()
    except Exception:  # whatever an object of anybody's raises that is no array
        raise GentleError(
            f"{name} of a claim must be numbers, in a sequence, not {show_value(given)}"
        ) from None


@dataclass(frozen=True, eq=False)
class Question:
    """What an answer is held against: the exact one, and how that was made."""

    exact: Exact  # of one target
    claim: Claim
    target: str
    names: tuple[str, ...]  # of all coefficients, the constant first
    kept: Integers  # places of those that were solved for
    made_of: Mapping[str, str]  # dependent column -> its combination
    constant: frozenset[str]  # those of them that do not vary
    inflation: Mapping[str, float]  # column -> its variance inflation factor
    tol: float


def compare(question: Question, other: Claim) -> tuple[Certificate, Verdict]:
    """How far another answer is from the exact one, and why.

    What is known of both is looked at first, since it tells apart what coefficients cannot. From bare
    coefficients only their own shape can be told: that they ran away, that they share out what
    dependent or collinear columns have in common. All else is another objective or other rows.

    Raises GentleError for a claim with another number of coefficients.
    """
    if len(other.coef) != len(question.names):
        raise GentleError(
            f"the model has {len(question.names)} coefficients, {listed(question.names)}, and the claim "
            f"has {len(other.coef)}"
        )
    finite = bool(np.isfinite(other.coef[question.kept]).all() and not np.isinf(other.coef).any())
    with np.errstate(over="ignore", invalid="ignore"):
        coef = np.nan_to_num(other.coef, posinf=0.0, neginf=0.0)
        certificate = certify_all(question.exact, coef)
    if not finite:
        bad = ~np.isfinite(other.coef[question.kept])
        nowhere = np.where(bad if bad.any() else True, np.inf, certificate.distance)
        certificate = replace(certificate, distance=nowhere, gap=float("inf"))
    cause, why = _cause(question, other, certificate)
    another = cause in ("penalty", "rows", "weights", "float32", "shifted", *DEPENDENT)
    # That they answer different questions stands also where the answers happen to be near.
    tol = 0.0 if another else max(question.tol, certificate.floor if cause == "agree" else 0.0)
    kept = tuple(question.names[at] for at in question.kept)
    return certificate, verdict(certificate, kept, tol, cause, why or None)


DEPENDENT: tuple[Cause, Cause] = ("dependent column", "constant column")


def _cause(question: Question, other: Claim, certificate: Certificate) -> tuple[Cause, str]:
    """The first cause that holds, and why in words where the cause does not say it all."""
    found = _another_question(question, other)
    if found and not (found[0] == "float32" and _is_rounding(certificate)):
        return found
    near = certificate.within <= question.tol or _hardly_matters(question.exact, certificate)
    if near and (found := _another_share(question, other)):
        return found
    if certificate.within <= question.tol:
        return "agree", ""
    if _ran_away(other, certificate):
        if not len(other.losses):
            bad = [question.names[at] for at in np.flatnonzero(~np.isfinite(other.coef))]
            return "step too large", (
                f"the coefficient of {listed(bad)} is no finite number, as where the steps of a descent "
                "are too large and it runs away"
            )
        return "step too large", (
            "the steps of its descent were too large for these data, and it ran away"
        )
    if _is_rounding(certificate):
        return "precision", "what is left between them is the rounding of float64"
    if other.converged is False:
        return "not converged", ""
    if _in_flat_directions(question.exact, other.coef[question.kept]):
        culprits = sorted(question.inflation, key=lambda name: -question.inflation[name])
        named = [name for name in culprits if question.inflation[name] > INFLATED][:4]
        return "collinear", (
            f"{listed(named or culprits[:2])} follow each other so closely that coefficients may move "
            "far while predictions hardly do"
        )
    return "other", ""


def _another_question(question: Question, other: Claim) -> tuple[Cause, str] | None:
    """In which way the other answer belongs to another objective or to other rows."""
    ours = question.claim
    if _differ(ours.n_rows, other.n_rows):
        return "rows", f"one is of {ours.n_rows:,.0f} rows and the other of {other.n_rows:,.0f}"
    if _differ(ours.log_weights, other.log_weights, ours.n_rows):
        if 0.0 in (ours.log_weights, other.log_weights):
            return "weights", "one weights its rows and the other does not"
        return "weights", "they weight the rows differently"
    if ours.log_weights and other.log_weights and not _alike(ours.sums, other.sums):
        return "weights", "they weight the rows differently"
    if _differ(ours.l2, other.l2):
        return "penalty", (
            f"one has a ridge of l2 = {ours.l2:g} and the other of {other.l2:g}, and a ridge draws "
            "coefficients to zero"
        )
    rounded = None not in (ours.single, other.single) and ours.single != other.single
    if shifted := _shifted(question, other, SINGLE if rounded else SAME):
        return (
            "shifted",
            f"in one, {listed(shifted)} stands apart from that of the other by an offset",
        )
    if rounded:
        return "float32", "the data of one are float32, which rounds them after about 7 digits"
    return None


def _another_share(question: Question, other: Claim) -> tuple[Cause, str] | None:
    """Which dependent column has another part of what it shares with others."""
    ours, theirs = (np.nan_to_num(claim.coef) for claim in (question.claim, other))
    for name, one, two in zip(question.names, ours, theirs, strict=True):
        if name not in question.made_of or abs(one - two) <= SAME * max(abs(one), abs(two)):
            continue
        made_of = question.made_of[name]
        if name in question.constant:
            return "constant column", (
                f"'{name}' is {made_of}, and the intercept makes up for whatever its coefficient is"
            )
        return "dependent column", (
            f"'{name}' is {made_of}, so any share of its effect may go to either side"
        )
    return None


def _hardly_matters(exact: Exact, certificate: Certificate) -> bool:
    """Whether the other coefficients predict nearly what the exact ones do."""
    return bool(np.sqrt(2 * exact.total * certificate.gap) <= HARDLY * np.sqrt(exact.tss[0]))


def _in_flat_directions(exact: Exact, coef: Floats) -> bool:
    """Whether the difference in predictions lies where the curvature is least, to nearly all of it.

    There collinear columns let rounding and early stops show; other rows or another objective move
    predictions in every direction.
    """
    coordinates = exact.problem.coordinates
    apart = (coordinates.theta(coef[:, None]) - coordinates.theta(exact.coef))[:, 0]
    _, sizes, directions = np.linalg.svd(exact.problem.factor)
    moved = (sizes * (directions @ apart)) ** 2
    flat = sizes < FLAT * sizes[0]
    return bool(moved[flat].sum() >= NEARLY_ALL * moved.sum() > 0)


def _is_rounding(certificate: Certificate) -> bool:
    """Whether float64 could hardly have come nearer."""
    least = 2 * certificate.rounding + 4 * EPSILON * certificate.size
    return bool((certificate.distance <= least).all())


def _ran_away(other: Claim, certificate: Certificate) -> bool:
    if not np.isfinite(certificate.within):
        return True
    return len(other.losses) > 1 and not other.losses[-1] <= WORSE * other.losses[0]


def _differ(one: float | None, two: float | None, size: float | None = None) -> bool:
    if one is None or two is None:
        return False
    return abs(one - two) > SAME * (size or max(abs(one), abs(two)))


def _alike(ours: Moments | Triangle | None, theirs: Moments | Triangle | None) -> bool:
    """Whether two data have the same spreads and correlations; so, where that is not known."""
    if ours is None or theirs is None:
        return True
    one, two = (it.triangle() for it in (ours, theirs))
    if one.r.shape != two.r.shape:
        return False
    scales = [
        np.concatenate([it.coordinates.scale, it.coordinates.target_scale]) for it in (one, two)
    ]
    roots = [
        it.r[1:, 1:] / np.sqrt(it.total) * scale
        for it, scale in zip((one, two), scales, strict=True)
    ]
    signs = [np.where(np.diag(root) < 0, -1.0, 1.0)[:, None] for root in roots]
    apart = np.abs(roots[0] * signs[0] - roots[1] * signs[1])
    return bool((apart <= ALIKE * scales[0]).all())


def _shifted(question: Question, other: Claim, rounding: float) -> list[str]:
    """The columns whose means differ while all spreads and correlations are alike."""
    ours, theirs = question.claim.sums, other.sums
    if ours is None or theirs is None or not _alike(ours, theirs):
        return []
    one, two = ours.triangle(), theirs.triangle()
    centres = [
        np.concatenate([it.coordinates.centre, it.coordinates.target_centre]) for it in (one, two)
    ]
    scale = np.concatenate([one.coordinates.scale, one.coordinates.target_scale])
    apart = np.abs(centres[0] - centres[1])
    far = apart > SAME**0.5 * scale + rounding * np.maximum(*np.abs(centres))
    names = (*question.names[int(question.exact.fitted.intercept) :], question.target)
    return [name for name, is_far in zip(names, far, strict=True) if is_far]
