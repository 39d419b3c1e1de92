"""The exact minimum of a quadratic along a direction, for one pass."""

from __future__ import annotations

import numpy as np

from gentle.batch import Floats
from gentle.problem import Point, Streamed
from gentle.statistics import EPSILON


def along(
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
    if not size > 0:
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
