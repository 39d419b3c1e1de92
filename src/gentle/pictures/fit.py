"""Pictures of a `Fit`, as the methods of its `plot`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gentle.descended import Descended
from gentle.errors import GentleError
from gentle.pictures.style import EXACT, MODEL, blank, label, labels
from gentle.result import Fit

DISTANCES = {
    "standard errors": "distance in standard errors",
    "scale": "distance in yardsticks of the ridge",
    "relative": "relative distance",
}
MOST_MARKERS = 60  # of steps in a line: more run into one another


@dataclass(frozen=True)
class FitPictures:
    """fit.plot.coefficients() and fit.plot.descent(): each returns a matplotlib Figure."""

    of: Fit | Descended

    def coefficients(self, level: float = 0.95) -> Figure:
        """Each coefficient in its own standard errors, with its interval, and zero for comparison."""
        if not isinstance(self.of, Fit):
            raise GentleError("a descent alone has no standard errors to draw")
        names = [name for name in self.of.names if np.isfinite(self.of.std_errors[name])]
        if not names:
            raise GentleError("this fit has no standard errors to draw: a ridge or too few rows")
        t = np.array([self.of.t_values[name] for name in names])
        bounds = self.of.conf_int(level)
        low, high = np.array([bounds[name] for name in names]).T
        se = np.array([self.of.std_errors[name] for name in names])
        half = (high - low) / 2 / se
        figure, axes = blank(7.0, 1.4 + 0.34 * len(names))
        places = np.arange(len(names))[::-1]
        axes.errorbar(t, places, xerr=half, fmt="o", color=EXACT, capsize=3, linewidth=1.4)
        axes.axvline(0, color=MODEL, linewidth=1)
        axes.set_yticks(places, labels(names))
        axes.set(
            title=f"Coefficients of {label(self.of.target)}, {100 * level:g} % intervals",
            xlabel="coefficient, in its standard errors",
        )
        return figure

    def descent(self) -> Figure:
        """How far the descent was from the exact answer after each reading of the rows."""
        trace = self.of.trace
        if not trace:
            descended = isinstance(self.of, Descended) or self.of.way is not None
            way_out = "it ended before a step" if descended else "fit with solver='sgd'"
            raise GentleError(f"this fit has no descent to draw: {way_out}")
        known = [step for step in trace if step.within and np.isfinite(step.within)]
        if not known:
            raise GentleError(
                "no distance of this descent is known as a number above 0, so there is none to draw"
            )
        figure, axes = blank()
        axes.plot(
            [step.passes for step in known],
            [step.within or 0.0 for step in known],
            color=MODEL,
            marker="o" if len(known) <= MOST_MARKERS else None,
            markersize=4,
            label="largest distance of a coefficient",
        )
        axes.axhline(self.of.tol, color=EXACT, linestyle="--", linewidth=1.2, label="tolerance")
        held = "held against the exact answer"
        if isinstance(self.of, Descended):
            held = "as far as gradients and a sample say"
        axes.set(
            title=f"The descent, {held}",
            xlabel="readings of the rows",
            ylabel=DISTANCES[self.of.certificate.unit],
            yscale="log",
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(known) == 1:
            axes.set_xlim(0, 2 * known[0].passes)
        axes.legend(frameon=False)
        return figure
