"""Certificate: how far a set of coefficients is from the exact minimiser, and in which unit that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gentle.batch import Floats
from gentle.exact import Exact
from gentle.problem import Streamed
from gentle.solvers import State
from gentle.spectrum import Probes
from gentle.statistics import EPSILON

Unit = Literal["standard errors", "scale", "relative"]
SAFETY = 2.0  # an estimate is so much larger than the sampled curvature says
SHARE = 1 / 8  # of a bound on the distance of all coefficients, for that of a single one
LOST_VALUE = (
    1e-7  # of an objective: what rounding may have made of it since the last look at the rows
)
FLAT = (
    "along some combination of columns the objective is flat to rounding, as where columns are nearly or "
    "exactly combinations of others: remove those, or add a ridge (l2=)"
)
UNSEEN = "the passes so far do not rule out directions in which the objective is nearly flat"
FAR = "so far from the minimiser the gradient does not say how much of the residuals is noise"
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
    """About how far a point is from the minimiser; inf, with a reason, where that is not certified."""

    within: float
    floor: float
    unit: Unit
    reason: str = ""  # why there is no number
    estimated: ClassVar[bool] = True

    @property
    def certified(self) -> bool:
        """Whether there is a number: nothing that was not seen can make it much larger."""
        return not self.reason

    @property
    def in_se(self) -> float:
        """The distance in standard errors, or scales of a ridge; nan if relative or not certified."""
        return self.within if self.unit != "relative" and self.certified else float("nan")


class Estimator:
    """Estimates at the states of a descent whose value and gradient the solver has seen.

    1. P^-1 g stands for the distance H^-1 g, divided by the least d'Hd / d'Pd of the steps d so far, at
       most 1: P is a guess, and late steps go where it is too large. SAFETY is for directions that no
       step went. The yardstick is s sqrt((P^-1)_jj / W), where s^2 = W misfit / df_resid, so that W
       need not be known. Without degrees of freedom or noise it is the size of the coefficient.
    2. Steps do not go where g is small although the distance is large, along flat directions. With a
       lower bound lambda on the eigenvalues of P^-1 H (`spectrum`, or a ridge) no coefficient is
       further away than

           sqrt(W g'H^-1 g) / s <= sqrt(W g'P^-1 g / lambda) / s    yardsticks,

       by the inequality of Cauchy and Schwarz: |e_j| <= sqrt((H^-1)_jj e'H e). W g'H^-1 g is also what
       the residual sum of squares still falls by, which makes s^2 smaller.

    Where the problem has probes the estimate is the first, but not above the second, nor below its SHARE:
    many coefficients share the second, and no estimate is below an eighth of the truth. While there is no
    lambda there is no number. Without probes it is the first alone, for an exact answer to confirm.
    """

    def __init__(self, problem: Streamed, df_resid: float) -> None:
        self._problem = problem
        self._df_resid = df_resid
        self._ridge = problem.sketch.least  # 0 where there is none
        self._least = 1.0
        if df_resid <= 0 and self._ridge:
            self._least = self._ridge
        self._last: tuple[Floats, Floats] | None = None  # theta and the gradient there

    def __call__(self, state: State) -> Estimate | None:
        if state.gradient is None or state.value is None:
            return None
        self._look(state.theta, state.gradient)
        square = self._problem.misfit(state.theta, state.value)
        relative = self._df_resid <= 0 or square <= NOISE_FREE**2
        guessed = self._guessed(state, state.gradient, square, relative=relative)
        probes = self._problem.probes
        if probes is None:
            return guessed
        return self._bounded(guessed, probes, state, state.gradient, state.value, square)

    def _guessed(
        self, state: State, gradient: Floats, square: float, *, relative: bool
    ) -> Estimate:
        """1."""
        problem, q = self._problem, len(state.theta)
        guess = problem.sketch.preconditioner
        apart = SAFETY / self._least * np.abs(guess.solve(gradient)[:, 0])
        if relative:
            return Estimate(_largest(apart, _sizes(state)), 4 * q * EPSILON, "relative")
        yardstick = np.sqrt(square / self._df_resid) * guess.spreads
        floor = 4 * EPSILON * float(np.sqrt(q * self._df_resid / square))
        unit: Unit = "scale" if problem.penalty.l2 else "standard errors"
        return Estimate(_largest(apart, yardstick), floor, unit)

    def _bounded(
        self,
        guessed: Estimate,
        probes: Probes,
        state: State,
        gradient: Floats,
        value: float,
        square: float,
    ) -> Estimate:
        """2. Rounding of the gradient, and of the coefficients in the user's units, is part of it."""
        guess = self._problem.sketch.preconditioner
        length = float(np.linalg.norm(guess.half_adjoint(gradient)))
        rounding = 4 * EPSILON * probes.noise * (1 + float(np.abs(state.theta).max(initial=0.0)))
        rounding *= len(state.theta) ** 0.5
        ended = length <= 2 * rounding
        bound = max(probes.bound, self._ridge)
        if not bound > 0:
            reason = FLAT if probes.flat else UNSEEN
            return Estimate(np.inf, np.inf if ended else 0.0, guessed.unit, reason)
        digits = 2 * EPSILON * self._digits(state)
        if guessed.unit == "relative":
            unit = _largest(guess.spreads, _sizes(state)) / bound
            own = _largest(digits, _sizes(state))
        else:
            least = square - length**2 / bound - LOST_VALUE * value
            if not least > 0:
                return Estimate(np.inf, 0.0, guessed.unit, FAR)
            unit = float(np.sqrt(self._df_resid / least / bound))
            own = _largest(digits, float(np.sqrt(least / self._df_resid)) * guess.spreads)
        most, floor = length * unit + own, max(guessed.floor, rounding * unit, own)
        within = max(SHARE * most, min(most, guessed.within), floor)
        return Estimate(within, floor, guessed.unit)

    def _digits(self, state: State) -> Floats:
        """What the last digits of the coefficients in the user's units are digits of, in theta, (q,)."""
        at, theta = self._problem.coordinates, np.abs(state.theta[:, 0])
        if not at.intercept:
            return theta
        shift = float(np.abs(at.centre / at.scale) @ theta[1:] + theta[0])
        shift += float(np.abs(at.target_centre[0] / at.target_scale[0]))
        return np.concatenate([[shift], theta[1:]])

    def _look(self, theta: Floats, gradient: Floats) -> None:
        """What the step from the last state says of the curvature."""
        if self._last is not None:
            step, change = theta - self._last[0], gradient - self._last[1]
            guessed = self._problem.sketch.preconditioner.square(step)
            bend = float((step * change).sum())
            if guessed > 0 and bend > 0:
                self._least = min(self._least, bend / guessed)
        self._last = theta, gradient


def _sizes(state: State) -> Floats:
    """The size of each coefficient (q,), at least that of the target's spread."""
    return np.maximum(np.abs(state.theta[:, 0]), 1.0)


def certify_all(exact: Exact, coef: Floats) -> Certificate:
    """The same of coefficients of all columns (all,), those of dependent ones folded into the kept."""
    return certify(exact, exact.folded(coef), exact.folding_error(coef))


def certify(exact: Exact, coef: Floats, error: Floats | None = None) -> Certificate:
    """How far coefficients (q,) in the user's units are from the minimiser of one target.

    The distance to the minimiser as it is known, plus the bound on what is not known of it, and of the
    coefficients where they are only known to an error (q,).
    """
    apart = (coef - exact.coef[:, 0]) - exact.low[:, 0]
    rounding = exact.floor[:, 0] + (0.0 if error is None else error)
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
