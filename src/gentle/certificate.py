"""Certificate: how far a set of coefficients is from the exact minimiser, and in which unit that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gentle.batch import Floats
from gentle.exact import Exact
from gentle.problem import Streamed
from gentle.solvers import State
from gentle.statistics import EPSILON

Unit = Literal["standard errors", "scale", "relative"]
SAFETY = 2.0  # an estimate is so much larger than the sampled curvature says
NOISE_FREE = 1e-12  # of the target's spread: residuals below are taken for none
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

    estimated: ClassVar[bool] = False

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


@dataclass(frozen=True)
class Estimate:
    """About how far a point is from the minimiser, as its gradient and a sampled curvature say."""

    within: float
    floor: float
    unit: Unit
    estimated: ClassVar[bool] = True

    @property
    def in_se(self) -> float:
        """The distance in yardsticks; nan where those are relative sizes."""
        return self.within if self.unit != "relative" else float("nan")


class Estimator:
    """Estimates at the states of a descent whose value and gradient the solver has seen.

    P^-1 g stands for the distance H^-1 g, divided by the least d'Hd / d'Pd of the steps d so far, at
    most 1: P is a guess, and late steps go where it is too large. SAFETY is for directions that no step
    went; where there are more of those than rows, a ridge is all the curvature that they have. The
    yardstick is s sqrt((P^-1)_jj / W), where s^2 = W misfit / df_resid, so that W need not be known.
    Without degrees of freedom or noise it is the size of the coefficient.
    """

    def __init__(self, problem: Streamed, df_resid: float) -> None:
        self._problem = problem
        self._df_resid = df_resid
        self._least = problem.sketch.least if df_resid <= 0 else 1.0
        self._last: tuple[Floats, Floats] | None = None  # theta and the gradient there

    def __call__(self, state: State) -> Estimate | None:
        if state.gradient is None or state.value is None:
            return None
        self._look(state.theta, state.gradient)
        problem, q = self._problem, len(state.theta)
        guess = problem.sketch.preconditioner
        apart = SAFETY / self._least * np.abs(guess.solve(state.gradient)[:, 0])
        square = problem.misfit(state.theta, state.value)
        if self._df_resid <= 0 or square <= NOISE_FREE**2:
            size = np.maximum(np.abs(state.theta[:, 0]), 1.0)
            return Estimate(_largest(apart, size), 4 * q * EPSILON, "relative")
        yardstick = np.sqrt(square / self._df_resid) * guess.spreads
        floor = 4 * EPSILON * float(np.sqrt(q * self._df_resid / square))
        unit: Unit = "scale" if problem.penalty.l2 else "standard errors"
        return Estimate(_largest(apart, yardstick), floor, unit)

    def _look(self, theta: Floats, gradient: Floats) -> None:
        """What the step from the last state says of the curvature."""
        if self._last is not None:
            step, change = theta - self._last[0], gradient - self._last[1]
            guessed = self._problem.sketch.preconditioner.square(step)
            bend = float((step * change).sum())
            if guessed > 0 and bend > 0:
                self._least = min(self._least, bend / guessed)
        self._last = theta, gradient


def certify(exact: Exact, coef: Floats) -> Certificate:
    """How far coefficients (q,) in the user's units are from the minimiser of one target.

    The distance to the minimiser as it is known, plus the bound on what is not known of it.
    """
    apart = (coef - exact.coef[:, 0]) - exact.low[:, 0]
    rounding = exact.floor[:, 0].copy()
    distance = (np.abs(apart) + rounding) * (1 + 4 * EPSILON)
    yardstick, unit = _yardstick(exact)
    size = yardstick if unit == "relative" else np.abs(exact.coef[:, 0])
    for values in (distance, rounding, yardstick, size):
        values.flags.writeable = False
    return Certificate(distance, rounding, yardstick, size, unit, exact.gap(apart))


def _yardstick(exact: Exact) -> tuple[Floats, Unit]:
    if exact.df_resid > 0 and not exact.noise_free[0]:
        se = np.sqrt(exact.rss[0] / exact.df_resid) * exact.lengths
        return se, "scale" if exact.l2 else "standard errors"
    # A coefficient that is zero has no size of its own: it is held against the spread of the
    # target over the spread of its column.
    return np.maximum(np.abs(exact.coef[:, 0]), exact.sizes[:, 0]), "relative"


def _largest(distance: Floats, yardstick: Floats) -> float:
    return float((distance / yardstick).max(initial=0.0))
