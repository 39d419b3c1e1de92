"""Comparison: two answers to what should be one question, and why they differ where they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gentle.batch import Floats
from gentle.certificate import Certificate, certify
from gentle.errors import listed
from gentle.exact import Exact
from gentle.statistics import Moments
from gentle.verdict import Cause, Verdict, verdict

SAME = 1e-6  # numbers nearer than this, in their own size, are taken to be the same
ALIKE = 1e-3  # likewise for spreads of data that were shifted: a far offset rounds them
FLAT = 1e-4  # of the target's spread: a change of the predictions that says little
ILL = 1e3  # a condition from which rounding and early stops show in single coefficients
INFLATED = 10.0  # a variance inflation that names a column as a culprit (Marquardt 1970)


@dataclass(frozen=True, eq=False)
class Claim:
    """An answer, and what is known of how it was made; None where that is not known."""

    coef: Floats  # (all,) in the order of the model's names; nan where a column was left out
    n_rows: float | None = None
    l2: float | None = None
    single: bool | None = None  # whether its data were float32
    weighted: bool | None = None
    log_weights: float | None = None  # sum of the logarithms of the weights
    moments: Moments | None = None
    converged: bool | None = None
    losses: Sequence[float] = ()  # of its descent, from first to last


@dataclass(frozen=True, eq=False)
class Question:
    """What an answer is held against: the exact one, and how that was made."""

    exact: Exact  # of one target
    claim: Claim
    names: tuple[str, ...]  # of all coefficients, the constant first
    kept: tuple[str, ...]
    made_of: Mapping[str, str]  # dependent column -> its combination
    inflation: Mapping[str, float]  # column -> its variance inflation factor
    tol: float


def compare(question: Question, other: Claim) -> tuple[Certificate, Verdict]:
    """How far another answer is from the exact one, and why.

    What is known of both is looked at first, since it tells apart what coefficients cannot. From bare
    coefficients only their own shape can be told: that they ran away, that they share out what
    dependent or collinear columns have in common. All else is another objective or other rows.
    """
    finite = np.isfinite(other.coef[~np.isnan(other.coef)]).all() and not np.isnan(other.coef[0])
    folded = _folded(question.exact, np.nan_to_num(other.coef, nan=0.0, posinf=0.0, neginf=0.0))
    certificate = certify(question.exact, folded)
    if not finite or _ran_away(other.losses):
        return certificate, _ruling(
            question,
            certificate,
            "step too large",
            "the steps of its descent were too large for these data, and it ran away",
        )
    for cause, why in _different_questions(question, other):
        return certificate, _ruling(question, certificate, cause, why)
    cause, why = _different_ways(question, other, certificate)
    return certificate, _ruling(question, certificate, cause, why)


def _ruling(question: Question, certificate: Certificate, cause: Cause, why: str) -> Verdict:
    # A ruling on another question stands even where the answers happen to be near.
    if cause in ("agree", "other", "not converged", "collinear"):
        return verdict(certificate, question.kept, question.tol, cause, why or None)
    return verdict(certificate, question.kept, 0.0, cause, why)


def _different_questions(question: Question, other: Claim) -> list[tuple[Cause, str]]:
    """In which ways the other answer belongs to another objective or to other rows."""
    ours = question.claim
    found: list[tuple[Cause, str]] = []
    if _differ(ours.n_rows, other.n_rows):
        found.append(
            ("rows", f"one is of {ours.n_rows:,.0f} rows and the other of {other.n_rows:,.0f}")
        )
    weighted = (ours.weighted, other.weighted)
    if None not in weighted and weighted[0] != weighted[1]:
        found.append(("weights", "one weights its rows and the other does not"))
    elif _differ(ours.log_weights, other.log_weights):
        found.append(("weights", "they weight the rows differently"))
    if _differ(ours.l2, other.l2):
        found.append(
            (
                "penalty",
                f"one has a ridge of l2 = {ours.l2:g} and the other of {other.l2:g}, "
                "and a ridge draws coefficients to zero",
            )
        )
    if shifted := _shifted(ours.moments, other.moments, question.names):
        found.append(
            (
                "shifted",
                f"{shifted} in one is that of the other plus an offset, so the constants differ",
            )
        )
    if None not in (ours.single, other.single) and ours.single != other.single:
        found.append(
            ("float32", "the data of one are float32, which rounds them after about 7 digits")
        )
    return found


def _different_ways(
    question: Question, other: Claim, certificate: Certificate
) -> tuple[Cause, str]:
    """In which way another answer to the same question went."""
    exact = question.exact
    used = {
        name: value
        for name, value in zip(question.names, other.coef, strict=True)
        if name in question.made_of and not np.isnan(value) and value != 0
    }
    near = certificate.within <= question.tol or _hardly_matters(exact, certificate)
    if used and near:
        name = next(iter(used))
        if question.made_of[name].startswith(("constant", "zero")):
            return "constant column", (
                f"'{name}' is {question.made_of[name]}, and beside an intercept it can take any part of it"
            )
        return "dependent column", (
            f"'{name}' is {question.made_of[name]}, so any share of its effect may go to either side"
        )
    if certificate.within <= question.tol:
        return "agree", ""
    if other.converged is False:
        return "not converged", ""
    if exact.problem.condition > ILL and _hardly_matters(exact, certificate):
        culprits = sorted(question.inflation, key=lambda name: -question.inflation[name])
        named = [name for name in culprits if question.inflation[name] > INFLATED][:4]
        return "collinear", (
            f"{listed(named or culprits[:2])} follow each other so closely that coefficients may move "
            "far while predictions hardly do"
        )
    return "other", ""


def _folded(exact: Exact, coef: Floats) -> Floats:
    """The coefficients of kept columns (q,) that predict what all of them (all,) do."""
    first = int(exact.fitted.intercept)
    every = coef.copy()
    for relation in exact.problem.dependent:
        share = coef[first + relation.column]
        every[first + np.array(relation.on, dtype=np.int64)] += share * np.array(relation.slopes)
        every[:first] += share * relation.constant
    return np.concatenate([every[:first], every[first + exact.fitted.columns]])


def _hardly_matters(exact: Exact, certificate: Certificate) -> bool:
    """Whether the other coefficients predict nearly what the exact ones do."""
    moved = np.sqrt(2 * exact.total * certificate.gap)
    return bool(moved <= FLAT * np.sqrt(exact.tss[0]))


def _ran_away(losses: Sequence[float]) -> bool:
    return len(losses) > 1 and not losses[-1] <= losses[0]


def _differ(one: float | None, two: float | None) -> bool:
    if one is None or two is None:
        return False
    return abs(one - two) > SAME * 1e-6 * max(abs(one), abs(two), 1e-300)


def _shifted(one: Moments | None, two: Moments | None, names: tuple[str, ...]) -> str | None:
    """The column whose mean differs while all spreads and correlations are alike."""
    if one is None or two is None or one.second.shape != two.second.shape:
        return None
    first, second = one.triangle(), two.triangle()
    scale = first.coordinates.scale
    if not np.allclose(first.r[1:, 1:], second.r[1:, 1:], atol=ALIKE * np.sqrt(one.total), rtol=0):
        return None
    apart = np.abs(first.coordinates.centre - second.coordinates.centre) / scale
    if not (apart > SAME).any():
        return None
    return f"'{names[len(names) - len(scale) + int(apart.argmax())]}'"
