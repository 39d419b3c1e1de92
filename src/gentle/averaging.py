"""Averaged stochastic descent over rows that are met once, and the sums that say how sure it is.

In coordinates w in which the opening rows have curvature one, with m rows a step,

    phi_t = phi_{t-1} - gamma_t/m sum_i w_i (w_i'phi_{t-1} - v_i),   gamma_t = gamma (1 + t/HELD)^-DECAY,

and the estimate is the average of phi_1 .. phi_t (Polyak and Juditsky 1992). How far that average
wandered on its way is its measure (random scaling: Lee, Liao, Seo and Shin 2022): for a coefficient b
with averages bbar_s, s = 1 .. t,

    V = t^-2 sum_s s^2 (bbar_s - bbar_t)^2,
    (bbar_t - b) / sqrt(V/t)  ->  W(1) / sqrt(int_0^1 (W(r) - r W(1))^2 dr),

with W a Brownian motion. The limit knows neither the noise nor its variance, and V is held by three
sums for each coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gentle.batch import Floats
from gentle.errors import GentleError
from gentle.sketch import stable_step
from gentle.statistics import EPSILON, LARGEST, invert_upper

LEAST_OPENING = 200  # rows that show units, curvature and a start
OPENING_PER_COEFFICIENT = 10
LONGEST_OPENING = 16  # times as many, where some column does not yet stand out from the others
LEAST_ROWS = 20  # a step
COEFFICIENTS_PER_ROW = 4  # of a step, where that makes it longer
LEAST_STEPS = 400  # of LEAST_ROWS rows, or of as many as coefficients, before the limit law holds
HELD = 100  # steps after which the rate begins to fall
DECAY = 0.505  # of the rate: above 1/2, so that the average has its limit law
DISTINCT = 1e-7  # of a column's spread: less, beside the columns before it, is rounding


def opening_rows(q: int) -> int:
    """How many rows a path of q coefficients looks at before its first step."""
    return max(LEAST_OPENING, OPENING_PER_COEFFICIENT * q)


def rows_per_step(q: int) -> int:
    """How many rows a step of q coefficients looks at."""
    return max(LEAST_ROWS, q // COEFFICIENTS_PER_ROW)


def least_steps(q: int) -> int:
    """How many steps a path of q coefficients needs before the limit law is nearly its own."""
    return -(-LEAST_STEPS * max(LEAST_ROWS, q) // rows_per_step(q))


@dataclass(frozen=True, eq=False)
class Whitening:
    """What the opening rows show: coordinates of curvature one, and where in them to start.

    w = [1 x-c] root and v = (y - target_centre) / target_scale, both times sqrt(mass / mean mass).
    """

    centre: Floats  # (p,) zero without a constant
    root: Floats  # (q, q)
    target_centre: float
    target_scale: float
    mass: float  # the mean
    intercept: bool
    start: Floats  # (q,) the least-squares estimate
    rows: int  # a step
    rate: float  # the largest, gamma

    @classmethod
    def of(cls, rows: Floats, *, intercept: bool) -> Whitening | int:
        """From rows [x y mass] (n, p + 2); or the first column that is made of those before it.

        Raises GentleError for numbers whose squares float64 cannot hold.
        """
        x, y, mass = rows[:, :-2], rows[:, -2], rows[:, -1]
        share = mass / mass.sum()
        centre, scale = _placed(x, share, intercept=intercept)
        (target_centre,), (target_scale,) = _placed(y[:, None], share, intercept=intercept)
        root_share = np.sqrt(share)[:, None]
        u = root_share * _with_constant((x - centre) / scale, intercept=intercept)
        basis, r = np.linalg.qr(u)
        near = np.abs(np.diag(r)) <= DISTINCT
        if near.any():
            return int(near.argmax()) - int(intercept)
        shrink = np.concatenate([np.ones(int(intercept)), 1 / scale])
        v = root_share[:, 0] * (y - target_centre) / target_scale
        size = rows_per_step(len(r))
        return cls(
            centre,
            shrink[:, None] * invert_upper(r),
            float(target_centre),
            float(target_scale),
            float(mass.mean()),
            intercept,
            basis.T @ v,
            size,
            stable_step(_fourth(basis * np.sqrt(len(basis))), size),
        )

    def see(self, rows: Floats) -> tuple[Floats, Floats]:
        """(w, v) of rows [x y mass]: (n, q) and (n,)."""
        root_mass = np.sqrt(rows[:, -1] / self.mass)
        x = _with_constant(rows[:, :-2] - self.centre, intercept=self.intercept)
        v = (rows[:, -2] - self.target_centre) / self.target_scale
        return root_mass[:, None] * (x @ self.root), root_mass * v

    @property
    def units(self) -> Floats:
        """d coef / d phi, (q, q)."""
        units = self.target_scale * self.root
        if self.intercept:
            units = np.vstack([units[0] - self.centre @ units[1:], units[1:]])
        return units

    def level(self, phi: Floats) -> tuple[float, Floats]:
        """(level, slopes (p,)): the prediction is level + (x - centre)'slopes."""
        centred = self.target_scale * (self.root @ phi)
        if not self.intercept:
            return 0.0, centred
        return self.target_centre + float(centred[0]), centred[1:]


@dataclass(frozen=True, eq=False)
class Path:
    """A stochastic path after so many steps, as its sums: 5 q numbers whatever its length."""

    whitening: Whitening
    phi: Floats  # (q,) where it stands
    wandered: Floats  # (q,) sum_s (phi_s - start)
    products: Floats  # (q,) sum_s s^2 d_s, with d_s the average after s steps less the start
    squares: Floats  # (q,) sum_s s^2 d_s^2, both in the units of the coefficients
    steps: int = 0

    @classmethod
    def begin(cls, whitening: Whitening) -> Path:
        zero = np.zeros_like(whitening.start)
        return cls(whitening, whitening.start, zero, zero, zero)

    def walk(self, rows: Floats) -> Path:
        """The path some whole steps further, over rows [x y mass] (steps * whitening.rows, p + 2).

        Raises GentleError for numbers that carry it beyond float64.
        """
        if not len(rows):
            return self
        with np.errstate(over="ignore", invalid="ignore"):
            further = self._walked(*self.whitening.see(rows))
        if not np.isfinite([further.phi, further.wandered, further.squares]).all():
            raise GentleError(
                "some rows have numbers so far beyond those of the first rows that their squares are "
                "beyond float64: leave them out, or give them in another unit"
            )
        return further

    def _walked(self, w: Floats, v: Floats) -> Path:
        size, q = self.whitening.rows, len(self.phi)
        w, v = w.reshape(-1, size, q), v.reshape(-1, size)
        t = np.arange(self.steps + 1, self.steps + 1 + len(w), dtype=np.float64)
        rates = np.minimum(self.whitening.rate * (1 + t / HELD) ** -DECAY, _bounds(w))
        path = _descended(self.phi, w, v, rates / size)
        wandered = self.wandered + np.cumsum(path - self.whitening.start, axis=0)
        away = (wandered / t[:, None]) @ self.whitening.units.T
        weighted = (t**2)[:, None] * away
        return replace(
            self,
            phi=path[-1],
            wandered=wandered[-1],
            products=self.products + weighted.sum(axis=0),
            squares=self.squares + (weighted * away).sum(axis=0),
            steps=self.steps + len(w),
        )

    @property
    def average(self) -> Floats:
        """The average of the path, (q,); the start before there is a step."""
        return self.whitening.start + self.wandered / max(1, self.steps)

    @property
    def coef(self) -> Floats:
        """The coefficients in the units of the data, (q,), the constant first."""
        level, slopes = self.whitening.level(self.average)
        if not self.whitening.intercept:
            return slopes
        return np.concatenate([[level - self.whitening.centre @ slopes], slopes])

    @property
    def scales(self) -> Floats:
        """sqrt(V/t), (q,): what an error is divided by for the law of random scaling."""
        t = self.steps
        if not t:
            return np.full_like(self.phi, np.nan)
        away = self.whitening.units @ (self.wandered / t)
        squares = (
            self.squares - 2 * away * self.products + away**2 * (t * (t + 1) * (2 * t + 1) / 6)
        )
        return np.asarray(np.sqrt(np.clip(squares, 0, None) / float(t) ** 3))


def _fourth(w: Floats) -> float:
    """The largest eigenvalue of the mean of |w|^2 w w' over rows w (n, q)."""
    moment = w.T @ (w * (w**2).sum(axis=1, keepdims=True)) / len(w)
    return float(np.linalg.eigvalsh(moment)[-1]) if len(moment) else 0.0


def _descended(phi: Floats, w: Floats, v: Floats, rates: Floats) -> Floats:
    """The points (t, q) of steps over w (t, m, q) and v (t, m), from phi on; rates (t,) by row."""
    path = np.empty((len(w), len(phi)))
    for at, (some, target, rate) in enumerate(zip(w, v, rates, strict=True)):
        phi = phi - rate * ((some @ phi - target) @ some)
        path[at] = phi
    return path


def _bounds(w: Floats) -> Floats:
    """The rate of each step (t,) above which it could throw the path: 1 / |w'w / m|, Frobenius.

    A step below it contracts on its own rows, however far out these lie. It does not look at y, so it
    moves no expectation, and as the rate falls it binds no more.
    """
    across = w.swapaxes(1, 2)
    gram = across @ w if w.shape[2] <= w.shape[1] else w @ across
    norms = np.sqrt(np.einsum("tij,tij->t", gram, gram)) / w.shape[1]
    with np.errstate(divide="ignore"):
        return np.asarray(1 / norms)


def _placed(x: Floats, share: Floats, *, intercept: bool) -> tuple[Floats, Floats]:
    """(centre, scale) of columns, (p,) each: means and spreads, or zeros and sizes without a constant."""
    with np.errstate(over="ignore", invalid="ignore"):
        centre = share @ x if intercept else np.zeros(x.shape[1])
        scale = np.sqrt(share @ (x - centre) ** 2)
    rounding = 4 * EPSILON * np.abs(centre)
    scale = np.where(scale <= rounding, 1.0, scale)
    if not ((scale >= 1 / LARGEST) & (scale <= LARGEST) & (np.abs(centre) <= LARGEST)).all():
        raise GentleError(
            "some column has values whose squares are beyond float64: give it in another unit"
        )
    return centre, scale


def _with_constant(x: Floats, *, intercept: bool) -> Floats:
    return np.column_stack([np.ones(len(x)), x]) if intercept else x
