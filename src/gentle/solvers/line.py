"""The exact minimum of a quadratic along a direction, for one pass."""

from __future__ import annotations

from gentle.batch import Floats
from gentle.problem import Point, Streamed


def along(
    problem: Streamed, theta: Floats, point: Point, direction: Floats
) -> tuple[float, Point] | None:
    """(length, Point at theta + length direction) where the objective is least; None where it is not.

    A gradient is linear: the one at theta + d less that at theta is H d, so the least value lies at
    length -g'd / d'Hd, and value and gradient there need no other pass. Where rounding has eaten that
    difference, or the direction, there is no minimum to be seen.
    """
    bent = problem.at(theta + direction).gradient - point.gradient
    bend, fall = float((direction * bent).sum()), -float((direction * point.gradient).sum())
    if not (bend > 0 and fall > 0):
        return None
    length = fall / bend
    return length, Point(point.value - length * fall / 2, point.gradient + length * bent)
