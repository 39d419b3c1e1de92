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
    however short d is, since rounding stands out in the difference of near ones. Where it has eaten
    that difference, the direction or the step, there is no minimum to be seen.
    """
    size = float(np.linalg.norm(direction))
    if not size > 0:
        return None
    d = direction / size
    bent = problem.at(theta + d).gradient - point.gradient
    bend, fall = float((d * bent).sum()), -float((d * point.gradient).sum())
    if not (bend > 0 and fall > 0):
        return None
    length = fall / bend
    if not length > EPSILON * float(np.linalg.norm(theta)):
        return None
    return length * d, Point(point.value - length * fall / 2, point.gradient + length * bent)
