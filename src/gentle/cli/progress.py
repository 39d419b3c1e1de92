"""The line that a person reads while a descent goes on, from the record that its trace keeps."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from gentle.layout import times

if TYPE_CHECKING:
    from gentle.driver import Progress

RECENT = 8  # steps that the time left is told from


class Line:
    """What has been seen of a descent, as one line: passes, objective, distance and the time left.

    The time left is the least of what the slope of the log distance says until the tolerance is met,
    and of what the limits leave. From the limits alone it is "at most".
    """

    def __init__(
        self, tol: float, max_passes: float, time_limit: float | None, unit: str = "SE"
    ) -> None:
        self._tol, self._max_passes, self._time_limit = tol, max_passes, time_limit
        self._unit = unit
        self._first: Progress | None = None
        self._last: Progress | None = None
        self._known: deque[tuple[float, float]] = deque(maxlen=RECENT)  # (seconds, log distance)

    def after(self, step: Progress) -> str:
        """The line after one more step."""
        if self._last is None or step.passes < self._last.passes:  # another target's descent
            self._first = step
            self._known.clear()
        self._last = step
        parts = [times(step.passes, "pass", "passes")]
        if step.objective is not None:
            parts.append(f"objective {step.objective:.4g}")
        if step.within is not None:
            about = "about " * step.estimated
            parts.append(f"{about}{step.within:.1g} {self._unit} away")
            if 0 < step.within < math.inf:
                self._known.append((step.seconds, math.log(step.within)))
        if left := self._left(step):
            parts.append(left)
        return ", ".join(parts)

    def _left(self, step: Progress) -> str:
        limits = [] if self._time_limit is None else [self._time_limit - step.seconds]
        assert self._first is not None
        if (passed := step.passes - self._first.passes) > 0:
            pace = (step.seconds - self._first.seconds) / passed
            limits.append((self._max_passes - step.passes) * pace)
        most = max(min(limits, default=math.inf), 0.0)
        expected = self._expected()
        if expected <= most:
            return f"about {duration(expected)} left" if expected < math.inf else ""
        return f"at most {duration(most)} left"

    def _expected(self) -> float:
        """Seconds until the tolerance is met, at the slope of the last steps; inf where it is not."""
        if len(self._known) < 2:
            return math.inf
        (began, far), (now, near) = self._known[0], self._known[-1]
        slope = (far - near) / (now - began) if now > began else 0.0
        if not slope > 0:
            return math.inf
        return max(near - math.log(self._tol), 0.0) / slope


def duration(seconds: float) -> str:
    """So many seconds, as a person says it."""
    if seconds < 9.5:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 90:
        return f"{round(seconds, -1):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.0f} h"
