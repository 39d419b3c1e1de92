"""Certificate: how far a set of coefficients is from the exact minimiser, and in which unit that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gentle.batch import Floats
from gentle.problem import Quadratic
from gentle.statistics import EPSILON

Unit = Literal["standard errors", "scale", "relative"]
MOST_DIGITS = -np.log10(EPSILON)


@dataclass(frozen=True, eq=False)
class Certificate:
    """An upper bound on |b - b*| for each coefficient, beside the yardstick that gives it meaning.

    The yardstick of a coefficient is s sqrt((H^-1)_jj / W): its standard error, or under a ridge the
    same expression as a scale without a claim of inference. Where the residuals vanish or no degree
    of freedom is left it is the size of the coefficient.
    """

    distance: Floats  # (q,) in the user's units, rounding included
    rounding: Floats  # (q,) the part of it that float64 cannot see below
    yardstick: Floats  # (q,)
    size: Floats  # (q,) of the exact coefficients; the yardstick where that is relative
    unit: Unit
    gap: float  # F(b) - F(b*)

    @property
    def in_se(self) -> float:
        """The largest distance in yardsticks; nan where those are relative sizes."""
        return self.within if self.unit != "relative" else float("nan")

    @property
    def within(self) -> float:
        """The largest distance in yardsticks, whatever they are: what a tolerance is held against."""
        return _largest(self.distance, self.yardstick)

    @property
    def floor(self) -> float:
        """The rounding part of `within`: no float64 computation of this kind can promise less."""
        return _largest(self.rounding, self.yardstick)

    @property
    def digits(self) -> float:
        """Digits in which every coefficient agrees with the exact one."""
        with np.errstate(divide="ignore", invalid="ignore"):
            digits = -np.log10(self.distance / self.size)
        digits = np.where(self.distance == 0, MOST_DIGITS, np.nan_to_num(digits, nan=0.0))
        return float(np.clip(digits, 0, MOST_DIGITS).min(initial=MOST_DIGITS))

    @property
    def furthest(self) -> int:
        """Which coefficient is furthest from its exact value, in yardsticks."""
        return int(np.argmax(self.distance / self.yardstick)) if len(self.distance) else 0


def certify(problem: Quadratic, theta: Floats) -> Certificate:
    """How far theta (q, 1) is from the minimiser of a reduced problem.

    With gradient g at theta and Hessian H the distance is H^-1 g and the gap in the objective
    g'H^-1 g / 2, exactly; what rounding may hide is bounded and added.
    """
    coordinates = problem.coordinates
    jacobian = coordinates.jacobian()
    scale = coordinates.target_scale[0]
    step = problem.distance(theta)
    exact = coordinates.coef(problem.minimiser)[:, 0]
    size = np.maximum(np.abs(exact), np.abs(coordinates.coef(theta)[:, 0]))
    rounding = np.abs(jacobian) @ problem.rounding(theta)[:, 0] * scale
    rounding += _conversion(problem, size)
    distance = np.abs(jacobian @ step[:, 0]) * scale + rounding
    yardstick, unit = _yardstick(problem, jacobian, exact)
    gap = float(((problem.factor @ step) ** 2).sum()) / (2 * problem.total) * scale**2
    size = yardstick if unit == "relative" else np.abs(exact)
    for values in (distance, rounding, yardstick, size):
        values.flags.writeable = False
    return Certificate(distance, rounding, yardstick, size, unit, gap)


def sigma2(problem: Quadratic) -> float:
    """The residual variance, RSS / (n - q); nan where no degree of freedom is left."""
    if problem.df_resid <= 0:
        return float("nan")
    return float(problem.rss[0] / problem.df_resid * problem.coordinates.target_scale[0] ** 2)


def covariance(problem: Quadratic) -> Floats:
    """sigma^2 (X'WX)^-1 of the coefficients in the user's units, (q, q): Gauss 1823."""
    root = problem.coordinates.jacobian() @ problem.inverse_root
    return np.asarray(sigma2(problem) * (root @ root.T))


def noise_free(problem: Quadratic) -> bool:
    """Whether the residuals are no larger than the rounding of the target."""
    floor = (8 * EPSILON) ** 2 * (problem.tss[0] + _level(problem) ** 2 * problem.total)
    return bool(problem.rss[0] <= floor)


def _conversion(problem: Quadratic, size: Floats) -> Floats:
    """What the last step may round, from coordinates to the user's units, (q,)."""
    rounded = size.copy()
    if problem.coordinates.intercept:
        rounded[0] += np.abs(problem.coordinates.centre) @ rounded[1:]
        rounded[0] += abs(problem.coordinates.target_centre[0])
    return np.asarray((4 + np.sqrt(len(size))) * EPSILON * rounded)


def _level(problem: Quadratic) -> float:
    """The target's mean in units of its spread."""
    return float(problem.coordinates.target_centre[0] / problem.coordinates.target_scale[0])


def _yardstick(problem: Quadratic, jacobian: Floats, exact: Floats) -> tuple[Floats, Unit]:
    if problem.df_resid > 0 and not noise_free(problem):
        se = np.sqrt(np.diag(covariance(problem)))
        return se, "scale" if problem.l2 else "standard errors"
    # A coefficient that is zero has no size of its own: it is held against the spread of the
    # target over the spread of its column.
    spread = np.abs(jacobian).sum(axis=1) * problem.coordinates.target_scale[0]
    return np.maximum(np.abs(exact), spread), "relative"


def _largest(distance: Floats, yardstick: Floats) -> float:
    return float((distance / yardstick).max(initial=0.0))
