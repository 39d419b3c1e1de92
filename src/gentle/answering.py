"""The exact answer for rows: sums, solve, rank and polish, in as few readings as its digits need."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gentle.batch import Batch
from gentle.certificate import certify
from gentle.choices import Choices
from gentle.coordinates import Coordinates
from gentle.design import Design, Held, Rows
from gentle.errors import GentleError, RankWarning, listed
from gentle.exact import Exact, Placing, dropping, least_norm, polish, solve
from gentle.passes import Divisible, fold
from gentle.problem import Dependent, Quadratic, distinctness, reduce
from gentle.rounding import Decimals, Rounding
from gentle.sketch import DISTINCT
from gentle.statistics import EPSILON, LARGEST, Moments, Opening, Sample, Tally, Triangle

GROWN = 1e3  # growth of rounding in sums, from which the rows are read again about their means
SAMPLE_ROWS = 20_000  # that say which rate minibatches bear
POLISHED_NUMBERS = 1e6  # up to so many numbers a polish costs milliseconds, and is always made
RESIDUAL_TOL = 1e-6  # of the squares of residuals: a bound, which real errors are far below
MOST_TERMS = 3  # of a combination that is written out


@dataclass(frozen=True, eq=False)
class Answered:
    """The exact answer for some rows, which any number of descents may be held against."""

    rows: Rows
    walked: Rows | Held  # the same, as a descent walks them
    written: Rows | Held  # the same, dense and of float64
    opening: Opening
    exact: Exact
    placing: Placing
    coarse: Mapping[str, float]  # column of x -> spacing of its type at 1, coarser than float64
    passes: int  # readings of the rows that it took
    seconds: float

    @cached_property
    def each(self) -> tuple[Exact, ...]:
        """The exact answer of each target; what it works out is there for every descent."""
        return tuple(self.exact.of(at) for at in range(len(self.rows.design.targets)))


def answer(rows: Rows, walked: Rows | Held, choices: Choices, *, sampled: bool) -> Answered:
    """The exact answer for rows; with a sample of them, where a textbook's rule is to descend."""
    began = time.perf_counter()
    written = walked if isinstance(walked, Held) and walked.plain else rows
    counted = _Counted(written)
    opening = first_pass(counted, choices, sampled=sampled)
    check_rows(opening.tally, rows)
    coarse = rows.coarse
    problem = _reduced(opening, counted, rows.design, choices, coarse)
    exact = solve(problem)
    placing = _placing(exact, rows.design.names, choices.rank, rows.source.name)
    exact = _polished(exact, counted, opening.tally, choices)
    seconds = time.perf_counter() - began
    return Answered(rows, walked, written, opening, exact, placing, coarse, counted.passes, seconds)


def least_squares(rows: Rows, choices: Choices | None = None) -> Exact:
    """The exact answer for rows, polished where that is cheap or asked for."""
    choices = choices or Choices()
    opening = first_pass(rows, choices, sampled=False)
    exact = solve(_reduced(opening, rows, rows.design, choices, rows.coarse))
    return _polished(exact, rows, opening.tally, choices)


def answer_sums(
    opening: Opening,
    design: Design,
    target: str,
    choices: Choices,
    coarse: Mapping[str, float],
) -> tuple[Exact, Placing]:
    """The exact solution for rows of which only the sums of one target are kept."""
    triangle = _with_rounding(opening.sums.triangle(), design)
    check_sizes(triangle.coordinates, triangle.total, design.names, (target,))
    rounding = _type_rounding(design, coarse)
    problem = _reduce(triangle, opening, design, choices, rounding)
    exact = solve(problem)
    if exact.perfect.all():
        exact = exact.zeroed()
    return exact, _placing(exact, design.names, choices.rank, "the rows")


def _placing(exact: Exact, names: Sequence[str], rank: str, where: str) -> Placing:
    """Where the coefficients that were solved for stand among all, and what became of the others."""
    made_of = {names[it.column]: _combination(it, names) for it in exact.problem.dependent}
    if not made_of:
        return dropping(exact, len(names))
    first, combined = next(iter(made_of.items()))
    if rank == "raise":
        raise GentleError(
            f"column '{first}' of {where} is {combined}, so its coefficient cannot be "
            "told: leave it out, or let rank='drop' do so"
        )
    what = "left out" if rank == "drop" else "of the shortest coefficients, not the only ones:"
    warnings.warn(
        f"{what} {listed(made_of)}: a combination of the columns before ({first} = {combined})",
        RankWarning,
        stacklevel=5,
    )
    placing = dropping if rank == "drop" else least_norm
    return replace(placing(exact, len(names)), made_of=made_of)


def _combination(dependent: Dependent, names: Sequence[str]) -> str:
    """A linear combination for print, with how exactly it holds: '2 * a + 1', or 'constant'."""
    matter = [
        (names[j], slope)
        for j, slope, share in zip(dependent.on, dependent.slopes, dependent.shares, strict=True)
        if abs(share) > max(dependent.nearness, 4 * EPSILON)
    ]
    if not matter:
        return (
            "constant, to the rounding of its values" if dependent.constant else "zero in every row"
        )
    if len(matter) > MOST_TERMS:
        return f"a combination of {listed((name for name, _ in matter), most=4)}"
    least = max(1e-9, dependent.nearness)
    terms = [name if abs(slope - 1) < least else f"{slope:.6g} * {name}" for name, slope in matter]
    largest = max(abs(slope) for _, slope in matter)
    if abs(dependent.constant) > least * largest:
        terms.append(f"{dependent.constant:.6g}")
    return " + ".join(terms).replace("+ -", "- ") + f", to {dependent.nearness:.0e}"


def _with_rounding(triangle: Triangle, design: Design) -> Triangle:
    """The triangle of numbers that float64 rounded in units of their size, not of their spread.

    Powers are such numbers, and what an offset leaves of a target.
    """
    at = triangle.coordinates
    far = 0.0
    if design.encoder.computes:
        far = float(np.abs(at.centre / at.scale).max(initial=0.0))
    if design.known:
        far = max(far, float(np.abs(at.target_centre / at.target_scale).max()))
    return replace(triangle, growth=triangle.growth * (1 + far))


def check_rows(tally: Tally, rows: Rows) -> None:
    """Raises GentleError where there is nothing to fit, or nothing to fit it to."""
    if not rows.design.names and not rows.design.intercept:
        raise GentleError("the model has neither columns nor a constant: there is nothing to fit")
    if tally.n_used:
        return
    reasons = [f"{count:,} with a missing '{name}'" for name, count in tally.missing.items()]
    if tally.n_weightless:
        reasons.append(f"{tally.n_weightless:,} of weight zero")
    left = f" ({', '.join(reasons)})" if reasons else ""
    raise GentleError(
        f"no row of {rows.source.name} is left to fit: {tally.n_read:,} were read{left}"
    )


def check_sizes(
    units: Coordinates, total: float, names: Sequence[str], targets: Sequence[str]
) -> None:
    """Raises GentleError for numbers whose squares float64 cannot hold."""
    centre = np.abs(np.concatenate([units.centre, units.target_centre, [0.0]]))
    scale = np.concatenate([units.scale, units.target_scale, [total]])
    for factor, beside in ((1.0, ""), (total**0.5, " times the root of the weights")):
        largest, least = np.maximum(centre, scale) * factor, scale * factor
        bad = np.flatnonzero(~((largest <= LARGEST) & (least >= 1 / LARGEST)))
        if len(bad):
            name = (*names, *targets, "the sum of the weights")[bad[0]]
            raise GentleError(
                f"{name}{beside} has values of about {largest[bad[0]]:.1e}, whose squares are beyond "
                "float64: give it in another unit"
            )


class _Counted:
    """Rows that count how often they are read."""

    def __init__(self, rows: Divisible) -> None:
        self.rows, self.passes = rows, 0
        self.engine, self.parts = rows.engine, rows.parts

    def split(self, parts: int) -> Sequence[Any]:
        self.passes += 1
        return self.rows.split(parts)


def first_pass(rows: Divisible, choices: Choices, *, sampled: bool) -> Opening:
    """The first pass; with method="qr" it makes a triangle where it would make moments."""
    sample = Sample(SAMPLE_ROWS, choices.seed) if sampled else None
    sums = Moments() if choices.method == "auto" else Triangle.unplaced()
    return fold(Opening(Tally(), sums, sample), rows)


def _reduced(
    opening: Opening,
    rows: Divisible,
    design: Design,
    choices: Choices,
    coarse: Mapping[str, float],
) -> Quadratic:
    """From the cross-products, or where these lose too many digits from the rows, read again."""
    sums = opening.sums if isinstance(opening.sums, Moments) else opening.sums.triangle()
    check_sizes(sums.coordinates, sums.total, design.names, design.targets)
    triangle = sums if isinstance(sums, Triangle) else sums.definite_triangle()
    coordinates = sums.coordinates
    if sums.growth > GROWN:  # these sums know the means badly, and the spreads worse
        coordinates = fold(Triangle.zero(coordinates), rows).triangle().coordinates
    rounding = _type_rounding(design, coarse)
    if triangle is not None and sums.growth <= GROWN:
        problem = _reduce(_with_rounding(triangle, design), opening, design, choices, rounding)
        if not problem.dependent and not _too_near(triangle, design):
            return problem
    zero = _Closer(Triangle.zero(coordinates), Decimals.zero(len(design.names)))
    closer = fold(zero, rows)
    decimals = closer.decimals
    relative = np.maximum(rounding.relative, decimals.relative)
    rounding = replace(rounding, relative=relative, decimal=decimals.deviation)
    return _reduce(_with_rounding(closer.triangle, design), opening, design, choices, rounding)


@dataclass(frozen=True, eq=False)
class _Closer:
    """A closer look at rows whose columns are nearly dependent: a statistic."""

    triangle: Triangle
    decimals: Decimals

    def add(self, batch: Batch) -> _Closer:
        return _Closer(self.triangle.add(batch), self.decimals.add(batch))

    def merge(self, other: _Closer) -> _Closer:
        return _Closer(self.triangle.merge(other.triangle), self.decimals.merge(other.decimals))


def _reduce(
    triangle: Triangle, opening: Opening, design: Design, choices: Choices, rounding: Rounding
) -> Quadratic:
    """The problem of a triangle, by the choices."""
    return reduce(
        triangle,
        intercept=design.intercept,
        l2=choices.l2,
        n_used=opening.tally.n_used,
        rounding=rounding,
        rank_tol=choices.rank_tol,
    )


def _type_rounding(design: Design, coarse: Mapping[str, float]) -> Rounding:
    """The rounding of the columns of x by the types in which they came."""
    return Rounding(np.array([coarse.get(name, EPSILON) for name in design.names]))


def _too_near(triangle: Triangle, design: Design) -> bool:
    """Whether some column is so near to the span of others that its cross-products say too little."""
    near = distinctness(triangle, intercept=design.intercept)
    return bool(near.min(initial=1.0) < DISTINCT)


def _polished(exact: Exact, rows: Divisible, tally: Tally, choices: Choices) -> Exact:
    """The answer polished over the rows, where that takes milliseconds or its certificate asks for it."""
    small = tally.n_used * len(exact.coef) <= POLISHED_NUMBERS
    if not small and all(_sure(exact.of(at), choices) for at in range(len(exact.rss))):
        return exact
    return polish(exact, rows)


def _sure(exact: Exact, choices: Choices) -> bool:
    """Whether rounding cannot have moved the answer further than it may be."""
    certificate = certify(exact, exact.coef[:, 0])
    if not exact.l2 and not _knows_residuals(exact):
        return False
    return certificate.within <= choices.tol and certificate.digits >= (choices.digits or 0.0)


def _knows_residuals(exact: Exact) -> bool:
    """Whether the residual sum of squares of an unpolished answer is known to `RESIDUAL_TOL`."""
    problem = exact.problem
    rounding, residual = problem.residual_rounding, np.sqrt(problem.rest)
    squares = rounding**2 if problem.squared else 2 * rounding * residual
    return bool((squares <= RESIDUAL_TOL * problem.rest).all())
