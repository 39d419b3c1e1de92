"""Minima along lines: what conjugate directions and quasi-Newton steps on a quadratic have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gentle.batch import Floats
from gentle.problem import Point, Streamed
from gentle.solvers.state import State
from gentle.statistics import EPSILON

LOST = 1e-8  # of gradient or value at the last look: half of the digits of a recurrence that small are left


@dataclass(frozen=True, eq=False)
class Stand:
    """Where a descent stands, with value and gradient, and how large these were when last seen."""

    theta: Floats  # (q, k)
    point: Point
    passes: float
    seen: float  # the length of the gradient at the last look at the rows
    seen_value: float

    @classmethod
    def look(cls, problem: Streamed, theta: Floats, passes: float) -> Stand:
        """One reading of the rows."""
        point = problem.at(theta)
        return cls(theta, point, passes + 1, float(np.linalg.norm(point.gradient)), point.value)

    def state(self) -> State:
        """What the driver sees of it."""
        return State(self.theta, self.passes, self.point.value, self.point.gradient, settled=True)

    def along(self, problem: Streamed, direction: Floats) -> tuple[Stand, Floats | None]:
        """(the minimum along a direction, the change of the gradient on the way there), for one reading.

        The change is None, and the stand the same after another look, where rounding has eaten the
        direction: what was built on earlier ones is to start afresh. Where the recurrence has shrunk
        gradient or value to near its own rounding the rows are looked at again too.
        """
        found = _minimum(problem, self.theta, self.point, direction)
        if found is None:
            return Stand.look(problem, self.theta, self.passes + 1), None
        step, there = found
        change = there.gradient - self.point.gradient
        after = replace(self, theta=self.theta + step, point=there, passes=self.passes + 1)
        lost = np.linalg.norm(there.gradient) <= LOST * self.seen
        if lost or there.value <= LOST * self.seen_value:
            after = Stand.look(problem, after.theta, after.passes)
        return after, change


def _minimum(
    problem: Streamed, theta: Floats, point: Point, direction: Floats
) -> tuple[Floats, Point] | None:
    """(step along d, Point at theta + step) where the objective is least; None where it is not.

    A gradient is linear: the one at theta + d less that at theta is H d, so the least value lies at
    -g'd / d'Hd of d, and value and gradient there need no other pass. The look goes a distance of one,
    or of theta's length where that is more, however short d is: rounding of the size of theta stands
    out in the difference of near ones. Where it has eaten that difference, the direction or the step,
    there is no minimum to be seen.
    """
    size = float(np.linalg.norm(direction))
    if not 0 < size < np.inf:
        return None
    d = direction / size
    reach = max(1.0, float(np.linalg.norm(theta)))
    bent = (problem.at(theta + reach * d).gradient - point.gradient) / reach
    bend, fall = float((d * bent).sum()), -float((d * point.gradient).sum())
    if not (bend > 0 and fall > 0):
        return None
    length = fall / bend
    if not length > EPSILON * float(np.linalg.norm(theta)):
        return None
    return length * d, Point(point.value - length * fall / 2, point.gradient + length * bent)
