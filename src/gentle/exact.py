"""Exact: the minimiser of a reduced least-squares problem, and its polish over the rows.

A triangle gives the answer to the digits that its condition leaves. A polish takes a step of gradient
descent from there over the rows themselves, preconditioned by the triangle, with residuals and sums in
double-double: what comes out is the answer for the numbers that were given, correctly rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gentle.batch import Floats, Integers
from gentle.doubled import Doubled, doubled, total, two_product
from gentle.fitted import Fitted
from gentle.passes import Divisible, fold
from gentle.problem import Quadratic
from gentle.refinement import Refinement, orthonormal
from gentle.statistics import EPSILON, solve_upper

MOST_PASSES = 6  # of a polish: two are the rule
SETTLED = 0.25  # a basis this near to orthonormal needs no second look
LAST_BIT = 2.0**-62  # of a coefficient: what is below does not change its rounding
ZERO_TOL = 1e-8  # of the size that a coefficient may well have: bounds above it say nothing of 0
DOUBLED = 2.0**-100  # the rounding of double-double sums, and a few bits to spare


Truths = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Exact:
    """The minimiser b = coef + low of penalised least squares, and how surely it is known.

    The objective is F(b) = 1/(2W) sum w (y - x'b)^2 + l2/2 |slopes|^2; k targets share the rows.
    """

    problem: Quadratic
    fitted: Fitted
    coef: Floats  # (q, k) in the user's units, the constant first
    low: Floats  # (q, k) what float64 lacks of it
    floor: Floats  # (q, k) a bound on |coef + low - minimiser|
    basis: Floats  # (q, q): basis basis' is the inverse of X'WX + W l2 in the user's units
    rss: Floats  # (k,) residual sum of squares, the penalty not among it
    polished: bool = False

    def __post_init__(self) -> None:
        for values in (self.coef, self.low, self.floor, self.basis, self.rss):
            values.flags.writeable = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # arrays come writable out of a pickle

    def of(self, at: int) -> Exact:
        """The answer for one of the targets."""

        def one(values: Floats) -> Floats:
            return np.ascontiguousarray(values[:, at : at + 1])

        fitted, low = self.fitted, self.fitted.low
        return replace(
            self,
            problem=self.problem.of(at),
            fitted=replace(fitted, coef=one(fitted.coef), low=None if low is None else one(low)),
            coef=one(self.coef),
            low=one(self.low),
            floor=one(self.floor),
            rss=self.rss[at : at + 1],
        )

    @property
    def n_rows(self) -> float:
        """Rows, frequencies counted."""
        return self.problem.n_rows

    @property
    def total(self) -> float:
        """W, the mass of the rows."""
        return self.problem.total

    @property
    def l2(self) -> float:
        """The strength of the ridge."""
        return self.problem.l2

    @property
    def df_resid(self) -> float:
        """Rows less coefficients."""
        return max(self.n_rows - len(self.coef), 0.0)

    @property
    def tss(self) -> Floats:
        """Squares of the target about its mean, about zero without a constant, (k,)."""
        return self.problem.tss * self.problem.coordinates.target_scale**2

    @property
    def target_size(self) -> Floats:
        """sqrt(sum w y^2), (k,)."""
        level = self.problem.coordinates.target_centre
        return np.asarray(np.sqrt(self.tss + level**2 * self.total))

    @property
    def sigma2(self) -> Floats:
        """The residual variance of each target, RSS / (n - q), (k,).

        It is nan without degrees of freedom, and where only rounding is left of the residuals in sums.
        """
        if self.df_resid <= 0:
            return np.full_like(self.rss, np.nan)
        return np.where(self._lost, np.nan, self.rss / self.df_resid)

    @property
    def noise_free(self) -> Truths:
        """Whether the residuals are no larger than the rounding of the target, (k,)."""
        return np.asarray(self.rss <= (8 * EPSILON * self.target_size) ** 2)

    @property
    def perfect(self) -> Truths:
        """Whether the residuals are no larger than the rounding of the data, or of the sums, (k,).

        The rounding of the data is that of the target, and of the terms that a target of a few digits
        less may be a difference of.
        """
        rounded = np.sqrt(self.rss) <= 2 * self.residual_rounding
        return np.asarray(self.noise_free | self._lost | rounded)

    @property
    def residual_rounding(self) -> Floats:
        """Rounding of residuals in float64, the root of a sum of squares, (k,): of their terms' size."""
        terms = np.hypot(self.problem.coordinates.centre, self.problem.coordinates.scale)
        slopes = np.abs(self.coef[int(self.fitted.intercept) :])
        return np.asarray(EPSILON * (self.target_size + np.sqrt(self.total) * (terms @ slopes)))

    @property
    def _lost(self) -> Truths:
        """Whether the residuals of an unpolished answer are no larger than the rounding of its sums."""
        if self.polished:
            return np.zeros(len(self.rss), dtype=bool)
        rounding = self.problem.residual_rounding * self.problem.coordinates.target_scale
        return np.asarray(np.sqrt(self.rss) <= rounding)

    @property
    def lengths(self) -> Floats:
        """sqrt((H^-1)_jj / W) of each coefficient, (q,): times sigma it is a standard error."""
        return np.asarray(np.linalg.norm(self.basis, axis=1))

    @property
    def sizes(self) -> Floats:
        """The target's spread over each column's, (q, k): how large a coefficient may well be."""
        coordinates = self.problem.coordinates
        slopes = 1 / coordinates.scale
        constant = 1 + np.abs(coordinates.centre) @ slopes
        sizes = np.concatenate([np.full(int(coordinates.intercept), constant), slopes])
        return np.asarray(sizes[:, None] * coordinates.target_scale)

    def zeroed(self) -> Exact:
        """The same with 0 for each coefficient that its bound cannot tell from 0."""
        small = (np.abs(self.coef) <= self.floor) & (self.floor <= ZERO_TOL * self.sizes)
        if not small.any():
            return self
        return replace(
            self,
            coef=np.where(small, 0.0, self.coef),
            low=np.where(small, 0.0, self.low),
            floor=np.where(small, self.floor + np.abs(self.coef), self.floor),
        )

    def folded(self, coef: Floats) -> Floats:
        """The coefficients (q,) of the columns that are kept that predict what all of them (all,) do."""
        first = int(self.fitted.intercept)
        every = coef.copy()
        for relation in self.problem.dependent:
            share = coef[first + relation.column]
            every[first + np.array(relation.on, dtype=np.int64)] += share * np.array(
                relation.slopes
            )
            every[:first] += share * relation.constant
        return np.concatenate([every[:first], every[first + self.fitted.columns]])

    def folding_error(self, coef: Floats) -> Floats:
        """A bound (q,) on how far `folded` is from the same by exact arithmetic.

        The slopes of a relation are a least-squares solution on the kept columns, and as uncertain as
        one; their products with the coefficients are rounded as well.
        """
        first, coordinates = int(self.fitted.intercept), self.problem.coordinates
        error = np.zeros(len(self.coef))
        for relation in self.problem.dependent:
            share = abs(coef[first + relation.column])
            if not share:
                continue
            slopes = np.zeros(len(coordinates.scale))
            slopes[np.searchsorted(self.fitted.columns, relation.on)] = relation.slopes
            level = relation.constant + coordinates.centre @ slopes
            theta = np.append(np.full(first, level), slopes * coordinates.scale)[:, None]
            rhs = self.problem.factor @ theta
            rest = np.array([(relation.nearness * np.linalg.norm(rhs)) ** 2])
            lost = replace(self.problem, rhs=rhs, rest=rest).rounding[:, 0]
            sizes = np.append(np.full(first, abs(relation.constant)), np.abs(slopes))
            sizes[:first] += np.abs(coordinates.centre) @ np.abs(slopes)
            error += share * (np.abs(coordinates.jacobian()) @ lost + 8 * EPSILON * sizes)
        if error.any():
            kept = np.concatenate([coef[:first], coef[first + self.fitted.columns]])
            error += len(self.problem.dependent) * EPSILON * np.abs(kept)
        return error

    def gap(self, apart: Floats) -> float:
        """F(b + apart) - F(b) at the minimiser b, apart (q,) in the user's units."""
        centred = apart.copy()
        if self.fitted.intercept:
            centred[0] += self.fitted.centre @ apart[1:]
        moved = solve_upper(self.fitted.root, centred)
        with np.errstate(over="ignore", invalid="ignore"):
            return float(moved @ moved) / (2 * self.total)


def solve(problem: Quadratic) -> Exact:
    """The minimiser as the triangle gives it."""
    coordinates = problem.coordinates
    columns = coordinates.columns
    assert columns is not None
    intercept = coordinates.intercept
    theta = problem.minimiser
    units = np.concatenate([np.ones(int(intercept)), 1 / coordinates.scale])[:, None]
    centred = theta * units * coordinates.target_scale
    centred[: int(intercept)] += coordinates.target_centre
    root = problem.inverse_root * units
    fitted = Fitted(columns, coordinates.centre, intercept, centred, root)
    coef = coordinates.coef(theta)
    rounding = problem.rounding
    floor = np.full_like(rounding, np.inf)
    if np.isfinite(rounding).all():
        floor = np.abs(coordinates.jacobian()) @ rounding * coordinates.target_scale
    return Exact(
        problem=problem,
        fitted=fitted,
        coef=coef,
        low=np.zeros_like(coef),
        floor=floor + _conversion(problem, np.abs(coef)),
        basis=fitted.uncentred(root),
        rss=problem.rss * coordinates.target_scale**2,
    )


def polish(exact: Exact, rows: Divisible) -> Exact:
    """The minimiser for the rows as they are, to double-double; each round reads them once.

    1. basis = B with B'X'WXB near to I; the rows say how near, and B is turned until it is I.
    2. gradient g of the objective at b, times W, in double-double.
    3. b <- b + B B'g, until what a step removes of the squares is below their rounding.
    """
    fitted = exact.fitted
    if not len(exact.coef):
        return exact
    root, coef, settled = fitted.root, doubled(fitted.coef), False
    for _ in range(MOST_PASSES):
        basis, b = fitted.uncentred_exactly(doubled(root)), fitted.uncentred_exactly(coef)
        zero = Refinement(
            fitted.columns, fitted.intercept, b, None if settled else basis, exact.total
        )
        seen = fold(zero, rows)
        assert seen.gradient is not None
        if seen.gram is not None:
            gram = seen.gram + _penalty_gram(exact, root)
            turn = orthonormal(gram)
            if turn is None:
                return exact  # a triangle too coarse to start from: its own bound stands
            refined, root = basis.high @ turn, root @ turn
            basis = fitted.uncentred_exactly(doubled(root))
            settled = bool(np.abs(gram - np.eye(len(gram))).max(initial=0.0) < SETTLED)
        slope = seen.gradient.minus(_penalty_gradient(exact, b))
        along = _through(basis, slope)
        coef = coef.plus(doubled(root @ along))
        removed = (along**2).sum(axis=0)
        lengths = np.linalg.norm(basis.high, axis=1)[:, None]
        reach = fitted.reach(np.linalg.norm(root, axis=1))[:, None]
        error = reach * _step_error(exact, root) * np.sqrt(removed)
        sized = np.maximum(np.abs(b.high), EPSILON * lengths * np.sqrt(exact.tss))
        if (
            settled
            and (removed <= EPSILON * seen.squares).all()
            and (error <= LAST_BIT * sized).all()
        ):
            break
    if not settled or not np.isfinite(error).all():
        return exact
    b = fitted.uncentred_exactly(coef)
    polished = replace(
        exact,
        fitted=replace(fitted, coef=coef.high, low=coef.low, root=root),
        coef=b.high,
        low=b.low,
        floor=error
        + lengths * _sum_error(exact, basis, b, seen.squares)
        + DOUBLED * np.abs(b.high),
        basis=refined,  # of a root in float64 the constant's row would lose what the condition has
        rss=seen.squares,
        polished=True,
    )
    return polished.zeroed()


@dataclass(frozen=True, eq=False)
class Placing:
    """Where the coefficients that were solved for, q of them, stand among all that were asked for."""

    kept: Integers  # (q,) places among all
    n_all: int
    mix: Floats | None = None  # (all, q): all from those solved for; None leaves the others out
    made_of: Mapping[str, str] = field(default_factory=dict)  # dependent column -> its combination

    def coef(self, solved: Floats) -> Floats:
        """All coefficients (all,) from (q,): nan for one that was left out."""
        return self.rows(solved[:, None])[:, 0]

    def rows(self, solved: Floats) -> Floats:
        """What has one row for each coefficient, (all, m) from (q, m)."""
        if self.mix is not None:
            return self.mix @ solved
        values = np.full((self.n_all, solved.shape[1]), np.nan)
        values[self.kept] = solved
        return values

    def vcov(self, solved: Floats) -> Floats:
        """Their covariance, (all, all) from (q, q)."""
        return self.rows(self.rows(solved).T)


def dropping(exact: Exact, p: int) -> Placing:
    """Dependent columns, among p of x, are left out."""
    first = int(exact.fitted.intercept)
    kept = np.concatenate([np.arange(first), exact.fitted.columns + first]).astype(np.int64)
    return Placing(kept, p + first)


def least_norm(exact: Exact, p: int) -> Placing:
    """Of all minimisers the one with the shortest slopes, as the pseudo-inverse has it.

    With x_j = sum a_k x_k + c, slopes may go from the x_k to x_j along e_j - sum a_k e_k while the
    constant takes up c; from any one minimiser the shortest lies at right angles to all such ways.
    """
    placing = dropping(exact, p)
    first = int(exact.fitted.intercept)
    ways = np.zeros((p + first, len(exact.problem.dependent)))
    for at, relation in enumerate(exact.problem.dependent):
        ways[first + relation.column, at] = 1.0
        ways[first + np.array(relation.on, dtype=np.int64), at] = -np.array(relation.slopes)
        ways[:first, at] = -relation.constant
        ways[:, at] /= np.linalg.norm(ways[first:, at])
    slopes = ways[first:]
    mix = np.zeros((p + first, len(placing.kept)))
    mix[placing.kept, np.arange(len(placing.kept))] = 1.0
    mix -= ways @ np.linalg.lstsq(slopes, mix[first:], rcond=None)[0]
    return replace(placing, mix=mix)


def _through(basis: Doubled, slope: Doubled) -> Floats:
    """B'g, (q, k): where steps are small it nearly cancels, so that its terms are double-double."""
    columns = Doubled(*(part[:, :, None] for part in basis))
    terms = columns.times(Doubled(*(part[:, None, :] for part in slope)))
    return total(terms).high


def _penalty_gram(exact: Exact, root: Floats) -> Floats:
    slopes = root[int(exact.fitted.intercept) :]
    return np.asarray(exact.l2 * exact.total * (slopes.T @ slopes))


def _penalty_gradient(exact: Exact, b: Doubled) -> Doubled:
    """W times the gradient of the penalty at b, (q, k)."""
    strength = Doubled(*two_product(np.array(exact.l2), np.array(exact.total)))
    free = np.ones((len(b.high), 1))
    free[: int(exact.fitted.intercept)] = 0.0
    return Doubled(b.high * free, b.low * free).times(strength)


def _step_error(exact: Exact, root: Floats) -> float:
    """How far a step may be from the right one, relative to it.

    The rounding of B alone, seen through X, keeps XB from being orthonormal by as many units in the
    last place as the condition has.
    """
    units = 8 * (8 + np.sqrt(len(root)) + np.log2(max(exact.n_rows, 2)))
    return float(units * EPSILON * (1 + _through_columns(exact, root, centred=True)))


def _through_columns(exact: Exact, root: Floats, *, centred: bool) -> float:
    """The most that rounding of the columns of [1 x], or [1 x-c], in their size makes of X root."""
    coordinates = exact.problem.coordinates
    columns = coordinates.scale if centred else np.hypot(coordinates.centre, coordinates.scale)
    sizes = np.concatenate([np.ones(int(coordinates.intercept)), columns])
    return float(np.sqrt(exact.total) * (sizes @ np.abs(root)).max(initial=0.0))


def _sum_error(exact: Exact, basis: Doubled, b: Doubled, squares: Floats) -> Floats:
    """What the double-double sums may miss, in units of the basis, (k,)."""
    fitted = exact.fitted
    n = max(exact.n_rows, 1.0)
    columns = np.hypot(fitted.centre, exact.problem.coordinates.scale)
    sizes = np.sqrt(exact.total) * np.concatenate([np.ones(int(fitted.intercept)), columns])
    through = _through_columns(exact, basis.high, centred=False)
    misfit = sizes @ np.abs(b.high) + exact.target_size
    found = DOUBLED * n * (through * np.sqrt(squares) + misfit)
    slopes = b.high[int(fitted.intercept) :]
    penalty = np.sqrt(exact.l2 * exact.total) * np.hypot.reduce(slopes, axis=0)  # no square
    return np.asarray(found + 8 * EPSILON * penalty)


def _conversion(problem: Quadratic, size: Floats) -> Floats:
    """What the last step may round, from coordinates to the user's units, (q, k)."""
    rounded = size.copy()
    if problem.coordinates.intercept:
        rounded[0] += np.abs(problem.coordinates.centre) @ rounded[1:]
        rounded[0] += np.abs(problem.coordinates.target_centre)
    return np.asarray((4 + np.sqrt(len(size))) * EPSILON * rounded)
