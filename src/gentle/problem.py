"""Problem: an objective and what can be asked of it. There are two kinds, and no more.

The objective, in the user's units, over n rows of mass w_i (weight times frequency) and W = sum w_i:

    F(b) = 1/(2W) sum_i w_i (y_i - x_i'b)^2  +  l2/2 sum_j b_j^2      (the constant is not penalised)

Both kinds work on theta, the coefficients in `coordinates`, and on F divided by the square of the
target's scale. `Quadratic` is already reduced to a triangle and costs no pass; `Streamed` folds over
the rows at every call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from scipy.linalg.lapack import dtrcon

from gentle.batch import Batch, Floats
from gentle.coordinates import Coordinates, Seen
from gentle.losses import Loss
from gentle.passes import fold
from gentle.penalties import Ridge
from gentle.rounding import Rounding
from gentle.shuffling import LONGEST_RUN, Walkable, shuffled
from gentle.sketch import DISTINCT, Sketch, sketch
from gentle.spectrum import Probes
from gentle.statistics import EPSILON, Slope, Triangle, invert_upper, slope, solve_upper, upper

BLOCK_COLUMNS = 64  # looked at together for what those before them explain
ROUNDINGS = 4  # spacings of a type by which a computed column may miss what it is computed from
SAFELY = 10.0  # an estimate of the norm of an inverse may be a few times too small
CHANCE = 10  # rows beyond the columns, from which on a relation to the last decimal is no chance


@dataclass(frozen=True, eq=False)
class Point:
    """The objective at theta: value and gradient, per unit of mass."""

    value: float
    gradient: Floats  # (q, k)


@dataclass(frozen=True, eq=False)
class Curvature:
    """The second-order model of an objective: its Hessian is R'R, per unit of mass."""

    r: Floats  # (q, q) upper

    @cached_property
    def spectrum(self) -> Floats:
        """The eigenvalues of the Hessian, (q,) ascending."""
        return np.asarray(np.linalg.svd(self.r, compute_uv=False)[::-1] ** 2)

    def solve(self, gradient: Floats) -> Floats:
        """H^-1 g, (q, k): the distance to the minimiser where the curvature is all there is."""
        half = solve_upper(self.r, gradient, transposed=True)
        return solve_upper(self.r, half)


class Problem(Protocol):
    """An objective to be minimised over theta (q, k)."""

    @property
    def coordinates(self) -> Coordinates: ...

    def at(self, theta: Floats) -> Point:
        """Value and gradient at a point."""

    def curvature(self) -> Curvature:
        """The second-order model."""


Relation = tuple[int, Floats, float]  # a column, its weights on the kept ones, what these miss


@dataclass(frozen=True)
class Dependent:
    """A column of x that is a combination of columns before it, and which one."""

    column: int
    on: tuple[int, ...]  # columns of x
    slopes: tuple[float, ...]
    shares: tuple[float, ...]  # the slopes in spreads of the columns: how much each one matters
    constant: float
    nearness: float  # how far the combination misses it, in units of its scale
    scale: float  # of the column: its standard deviation, or its size without an intercept


@dataclass(frozen=True, eq=False)
class Quadratic:
    """Penalised least squares, reduced to a triangle: ||factor theta - rhs||^2 + rest, over 2W."""

    coordinates: Coordinates  # of the columns that are kept
    factor: Floats  # (q, q) upper
    rhs: Floats  # (q, k)
    rest: Floats  # (k,) what no theta can remove
    tss: Floats  # (k,) squares of the target about its mean, about zero without a constant
    n_rows: float
    total: float  # W
    l2: float
    squared: bool  # whether it comes from cross-products, which square the condition
    growth: float  # of rounding, in the sums it comes from
    dependent: tuple[Dependent, ...] = ()

    def of(self, target: int) -> Quadratic:
        """The problem of one of the targets."""
        one = slice(target, target + 1)
        return replace(
            self,
            coordinates=self.coordinates.of(target),
            rhs=np.ascontiguousarray(self.rhs[:, one]),
            rest=self.rest[one],
            tss=self.tss[one],
        )

    def at(self, theta: Floats) -> Point:
        short = self.factor @ theta - self.rhs
        value = float((short**2).sum() + self.rest.sum()) / (2 * self.total)
        return Point(value, self.factor.T @ short / self.total)

    def curvature(self) -> Curvature:
        return Curvature(self.factor / np.sqrt(self.total))

    @cached_property
    def minimiser(self) -> Floats:
        """The exact answer, (q, k)."""
        return solve_upper(self.factor, self.rhs)

    @cached_property
    def inverse_root(self) -> Floats:
        """factor^-1, (q, q): times its transpose it is H^-1 / W."""
        return invert_upper(self.factor)

    @property
    def rss(self) -> Floats:
        """Residual sum of squares of the exact answer, the penalty not among it, (k,)."""
        if not self.l2:
            return self.rest
        slopes = self.minimiser[int(self.coordinates.intercept) :]
        penalty = self.l2 * self.total * ((slopes / self.coordinates.scale[:, None]) ** 2).sum(0)
        return np.asarray(np.clip(self.rest - penalty, 0, None))

    @cached_property
    def condition(self) -> float:
        """The condition number of the shifted and scaled design."""
        values = np.linalg.svd(self.factor, compute_uv=False)
        return float(values[0] / values[-1]) if len(values) else 1.0

    @property
    def residual_rounding(self) -> Floats:
        """A bound on what rounding makes of the root of `rest`, (k,); see `rounding`."""
        return (np.sqrt(self._unit) if self.squared else self._unit) * self._misfit

    @property
    def _lengths(self) -> Floats:
        return np.asarray(np.linalg.norm(self.factor, axis=0)[:, None])

    @property
    def _misfit(self) -> Floats:
        """The sizes of the terms that the residual is a difference of, (k,)."""
        target = np.sqrt((self.rhs**2).sum(axis=0) + self.rest)
        return np.asarray((self._lengths * np.abs(self.minimiser)).sum(axis=0) + target)

    @property
    def _unit(self) -> float:
        """How far factoring moves a column, in its length."""
        steps = 8 + np.sqrt(len(self.factor)) + np.log2(max(self.n_rows, 2))
        return float(steps * EPSILON * self.growth)

    @property
    def rounding(self) -> Floats:
        """A bound on what rounding hides of the minimiser, (q, k).

        Factoring moves each column by a few units in the last place of its length (Higham 2002, section
        19.3): the misfit that makes, seen through the inverse. Where the residual does not vanish a term
        with the square of the inverse comes to it; for cross-products all of it is seen squared.
        """
        inverse = np.abs(self.inverse_root)
        lengths = self._lengths
        misfit, unit = self._misfit, self._unit
        squared = inverse @ (inverse.T @ lengths)
        if self.squared:
            strain = unit * float(np.linalg.norm(inverse) * lengths.max(initial=0.0)) ** 2
            if strain >= 1:  # cross-products this near to singular say nothing
                return np.full_like(self.minimiser, np.inf)
            return np.asarray(unit * squared * misfit)
        rows = np.linalg.norm(inverse, axis=1)[:, None]
        return np.asarray(unit * (rows * misfit + squared * np.sqrt(self.rest)))


def distinctness(triangle: Triangle, *, intercept: bool) -> Floats:
    """How far each column, the target last, lies from the span of those before it, (p + k,).

    In units of its own spread, or of its size without a constant: 1 is orthogonal, 0 is dependent.
    """
    r = _placed(triangle, intercept=intercept).r
    distances = np.abs(np.diag(r))[1:] if intercept else np.abs(np.diag(upper(r[:, 1:])))
    return np.asarray(distances / np.sqrt(triangle.total))


def reduce(
    triangle: Triangle,
    *,
    intercept: bool,
    l2: float,
    n_used: int,
    rounding: Rounding | None = None,
    rank_tol: float | None = None,
) -> Quadratic:
    """The least-squares problem of a triangle of so many rows, on the columns that are identified.

    A column that is, to rounding, a combination of the intercept and of columns before it is dropped, and
    `dependent` says of which; see `Tolerance`. By default all columns have the rounding of float64.
    """
    triangle = _placed(triangle, intercept=intercept)
    coordinates = replace(triangle.coordinates, intercept=intercept)
    first = 0 if intercept else 1  # of the triangle's columns
    p, n = len(coordinates.scale), 1 + len(coordinates.scale)
    r = triangle.r
    if l2 or first:
        r = upper(np.vstack([r, _penalty_rows(triangle, l2)])[:, first:])
    n -= first

    unit = np.sqrt(triangle.total)
    tolerance = _tolerance(triangle, rounding, rank_tol, n, n_used)
    most = n if l2 else min(n, n_used)
    kept, missed = _independent(r[:, :n] / unit, tolerance, most)
    targets = np.arange(n, r.shape[1])
    if missed:
        r = upper(r[:, [*kept, *missed, *targets]])
    q = len(kept)
    by = np.zeros((n, len(missed)))
    by[kept] = solve_upper(r[:q, :q], r[:q, q:n])
    relations = zip(missed, by.T, missed.values(), strict=True)
    columns = np.array([column - (n - p) for column in kept if column >= n - p], dtype=np.int64)
    tss = (triangle.r[int(intercept) :, 1 + p :] ** 2).sum(axis=0)
    return Quadratic(
        coordinates.only(columns),
        r[:q, :q],
        r[:q, n:],
        (r[q:, n:] ** 2).sum(axis=0),
        tss,
        triangle.n_rows,
        triangle.total,
        l2,
        triangle.squared,
        triangle.growth,
        tuple(_named(relation, coordinates, n - p) for relation in relations),
    )


@dataclass(frozen=True, eq=False)
class Tolerance:
    """When a combination w'z of columns, in units of their scales, is zero to rounding.

    With d_j the rounding of column j in units of its scale that is |w'z| <= |d w|, the roundings of all of
    them taken together. It does not depend on which of the columns is called a combination of the others,
    so neither does it on their order.

    A column written in decimals has the standard deviation of that rounding instead, which counts
    where all columns of the combination are written so, or are whole numbers.
    """

    own: Floats  # (n,) by arithmetic and by type
    decimal: Floats | None  # (n,) by decimals; nan where a column has none
    slack: float  # by which a sample of the rounding by decimals may exceed its deviation
    fixed: int  # columns, the first, that are always kept: the intercept

    def clear(self, r: Floats) -> bool:
        """Whether no column of r (n, n) upper is a combination of those before it."""
        if not np.diag(r).all():
            return False
        own = self.own
        if self.decimal is not None:
            own = np.maximum(own, self.slack * np.nan_to_num(self.decimal))
        if SAFELY * float(own.max(initial=0.0)) < 1 / _inverse_norm(r):
            return True
        squares = invert_upper(r) ** 2  # of w / |w'z|, for each column and those before it
        return bool((own**2 @ squares < 1).all())

    def holds(self, weights: Floats, length: float) -> bool:
        """Whether a combination (n,) that has this length is zero to rounding."""
        if length <= np.linalg.norm(self.own * weights):
            return True
        if self.decimal is None or length > DISTINCT * np.linalg.norm(weights):
            return False  # decimals this coarse are data
        involved = np.abs(weights) > length
        rounded = np.hypot(self.own, self.slack * self.decimal)[involved] * weights[involved]
        return bool(length <= np.linalg.norm(rounded))  # nan where one of them has none


def _tolerance(
    triangle: Triangle, rounding: Rounding | None, rank_tol: float | None, n: int, n_used: int
) -> Tolerance:
    """The tolerance of the n columns of a triangle, the intercept among them where there is one."""
    coordinates, p = triangle.coordinates, len(triangle.coordinates.scale)
    fixed = n - p
    resolution = np.full(n, triangle.resolution * np.sqrt(1 + n / 64))
    if rank_tol is not None:
        return Tolerance(np.maximum(resolution, rank_tol), None, 1.0, fixed)
    relative = EPSILON if rounding is None else rounding.relative
    size = np.hypot(coordinates.centre, coordinates.scale) / coordinates.scale
    resolution[fixed:] += ROUNDINGS * relative * size
    decimal = None
    if rounding is not None and rounding.decimal is not None and n_used >= n + CHANCE:
        decimal = np.concatenate([np.zeros(fixed), rounding.decimal / coordinates.scale])
    return Tolerance(resolution, decimal, 1.2 + 2 / np.sqrt(max(n_used, 1)), fixed)


def _placed(triangle: Triangle, *, intercept: bool) -> Triangle:
    """The triangle as it is; without a constant, which would take up a shift, about zero."""
    if intercept:
        return triangle
    return triangle.moved(replace(triangle.coordinates.about_zero(), intercept=True))


@dataclass(frozen=True, eq=False)
class Streamed:
    """Any loss and a ridge over rows: each question is a fold."""

    rows: Walkable
    loss: Loss
    penalty: Ridge
    coordinates: Coordinates
    sample: Batch  # some of the rows, for the curvature
    n_rows: int  # as they are read, frequencies not counted
    total: float  # W, their mass
    hessian: Curvature | None = None  # that of all rows, where it is known
    probes: Probes | None = None  # random directions that each pass multiplies by the Hessian too

    def at(self, theta: Floats) -> Point:
        directions = None if self.probes is None else self.probes.directions()
        seen = fold(Slope(theta, self.loss, self.coordinates, directions), self.rows)
        if self.probes is not None and directions is not None and seen.products is not None:
            ridge = self.coordinates.ridge(self.penalty.l2)
            self.probes.take(seen.products + ridge[:, None] * directions)
        value, gradient = self._penalty(theta)
        return Point(seen.value + value, seen.gradient + gradient)

    def gradient(self, theta: Floats, seen: Seen, total: float | None = None) -> Floats:
        """The gradient that a few rows show, (q, k); their mass is what it is, or taken to be `total`."""
        return slope(self.loss, theta, seen)[1] / (total or seen.total) + self._penalty(theta)[1]

    def sampled(self, theta: Floats) -> float:
        """The objective as the sample shows it."""
        seen = self.coordinates.see(self.sample)
        return slope(self.loss, theta, seen)[0] / seen.total + self._penalty(theta)[0]

    def minibatches(
        self, size: int, rng: np.random.Generator, longest_run: int = LONGEST_RUN
    ) -> Iterator[Seen]:
        """All rows once, so many at a time, in random order; each is gone with the next."""
        for pool in self.rows.pools(rng):
            for at in shuffled(len(pool.x), size, rng, longest_run):
                yield self.coordinates.see(pool, at)

    def parted(self) -> list[tuple[int, Streamed]]:
        """The problem over each part of the rows, by number; what the sample says stays here."""
        of_part = replace(
            self,
            n_rows=max(1, self.n_rows // self.rows.parts),
            total=self.total / self.rows.parts,
            sample=self.sample.taken(np.array([], int)),  # no view, which would be sent whole
            hessian=None,
            probes=None,
        )
        return [
            (number, replace(of_part, rows=rows))
            for number, rows in enumerate(self.rows.split(self.rows.parts))
        ]

    def curvature(self) -> Curvature:
        """The second-order model of all rows, where it was made; the rules that need it are given it."""
        assert self.hessian is not None
        return self.hessian

    @cached_property
    def sketch(self) -> Sketch:
        """What the sample says."""
        return sketch(self.sample, self.coordinates, self.penalty.l2)

    def misfit(self, theta: Floats, value: float) -> float:
        """The mean square of the residuals at a point where the objective has this value."""
        return 2 * (value - self._penalty(theta)[0])

    def _penalty(self, theta: Floats) -> tuple[float, Floats]:
        """Value and gradient of the penalty at theta, in units of the target's scale squared."""
        if not self.penalty.l2:
            return 0.0, np.zeros_like(theta)
        at = torch.from_numpy(theta).clone().requires_grad_()
        slopes = at[int(self.coordinates.intercept) :] * torch.from_numpy(self.coordinates.units)
        value = self.penalty.value(slopes) / float(self.coordinates.target_scale[0]) ** 2
        (gradient,) = torch.autograd.grad(value, at)
        return value.item(), gradient.numpy()


def _penalty_rows(triangle: Triangle, l2: float) -> Floats:
    """The ridge as further rows of a triangle: their squares add W l2 theta_j^2 / scale_j^2."""
    p = len(triangle.coordinates.scale)
    rows = np.zeros((p, triangle.r.shape[1]))
    rows[:, 1 : 1 + p] = np.diag(np.sqrt(l2 * triangle.total) / triangle.coordinates.scale)
    return rows[:0] if l2 == 0 else rows


def _independent(r: Floats, tolerance: Tolerance, most: int) -> tuple[list[int], dict[int, float]]:
    """Columns of r (m, n) that no earlier ones explain, and for the others how much of them is left.

    A column is explained when a combination of it and the kept ones is zero to rounding, and when there
    are as many kept ones as there can be.
    """
    m, n = r.shape
    most = min(most, m)
    if most >= n and tolerance.clear(r[:n]):
        return list(range(n)), {}
    basis, root = np.zeros((m, min(most, n))), np.zeros((min(most, n),) * 2)
    kept: list[int] = []
    missed: dict[int, float] = {}
    for start in range(0, n, BLOCK_COLUMNS):
        since = len(kept)
        along, block = _split(r[:, start : start + BLOCK_COLUMNS], basis[:, :since])
        shares = solve_upper(root[:since, :since], along)
        inside: list[int] = []  # kept ones of this block
        for at, column in enumerate(range(start, start + block.shape[1])):
            now = len(kept)
            near, rest = _split(block[:, at], basis[:, since:now])
            length = float(np.linalg.norm(rest))
            on = solve_upper(root[since:now, since:now], near)
            weights = np.zeros(n)
            weights[kept] = np.concatenate([shares[:, at] - shares[:, inside] @ on, on])
            weights[column] = 1.0
            explained = column >= tolerance.fixed and tolerance.holds(weights, length)
            if explained or now >= most:
                missed[column] = length
                continue
            basis[:, now] = rest / length
            root[:since, now], root[since:now, now], root[now, now] = along[:, at], near, length
            kept.append(column)
            inside.append(at)
    return kept, missed


def _inverse_norm(r: Floats) -> float:
    """About the largest column sum of R^-1 (Higham 1988), in n^2 operations."""
    if not r.size:
        return 1.0
    reciprocal, _ = dtrcon(r)
    return float(1 / max(reciprocal * np.abs(r).sum(axis=0).max(), np.finfo(np.float64).tiny))


def _split(columns: Floats, basis: Floats) -> tuple[Floats, Floats]:
    """(coordinates in a basis, what lies outside its span): twice is enough (Kahan and Parlett)."""
    along = basis.T @ columns
    rest = columns - basis @ along
    more = basis.T @ rest
    return along + more, np.asarray(rest - basis @ more)


def _named(relation: Relation, coordinates: Coordinates, first: int) -> Dependent:
    """A relation between shifted and scaled columns, in the user's units."""
    column, weights, length = relation
    j = column - first
    slopes = coordinates.scale[j] * weights[first:] / coordinates.scale
    on = np.flatnonzero(weights[first:])
    constant = coordinates.centre[j] - float(coordinates.centre[on] @ slopes[on])
    if first:
        constant += coordinates.scale[j] * weights[0]
    nearness = max(length, EPSILON)
    shares = tuple(map(float, weights[first:][on]))
    slopes_on = tuple(map(float, slopes[on]))
    scale = float(coordinates.scale[j])
    return Dependent(j, tuple(map(int, on)), slopes_on, shares, float(constant), nearness, scale)
