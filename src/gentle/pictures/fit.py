"""Pictures of a `Fit`, as the methods of its `plot`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from gentle.errors import GentleError
from gentle.pictures.style import EXACT, MODEL, blank

if TYPE_CHECKING:
    from gentle.result import Fit


@dataclass(frozen=True)
class FitPictures:
    """fit.plot.coefficients() and fit.plot.descent(): each returns a matplotlib Figure."""

    fit: Fit

    def coefficients(self, level: float = 0.95) -> Figure:
        """Each coefficient in its own standard errors, with its interval, and zero for comparison."""
        names = [name for name in self.fit.names if np.isfinite(self.fit.std_errors[name])]
        if not names:
            raise GentleError("this fit has no standard errors to draw: a ridge or too few rows")
        t = np.array([self.fit.t_values[name] for name in names])
        low, high = (
            np.array([self.fit.conf_int(level)[name][side] for name in names]) for side in (0, 1)
        )
        se = np.array([self.fit.std_errors[name] for name in names])
        half = (high - low) / 2 / se
        figure, axes = blank(7.0, 1.4 + 0.34 * len(names))
        places = np.arange(len(names))[::-1]
        axes.errorbar(t, places, xerr=half, fmt="o", color=EXACT, capsize=3, linewidth=1.4)
        axes.axvline(0, color=MODEL, linewidth=1)
        axes.set_yticks(places, names)
        axes.set(
            title=f"Coefficients of {self.fit.design.target}, {100 * level:g} % intervals",
            xlabel="coefficient, in its standard errors",
        )
        return figure

    def descent(self) -> Figure:
        """How far the descent was from the exact answer after each reading of the rows."""
        trace = self.fit.trace
        if not trace:
            raise GentleError("this fit has no descent to draw: fit with solver='sgd'")
        figure, axes = blank()
        relative = self.fit.certificate.unit == "relative"
        axes.plot(
            [step.passes for step in trace],
            [step.within for step in trace],
            color=MODEL,
            marker="o",
            markersize=4,
            label="largest distance of a coefficient",
        )
        axes.axhline(self.fit.tol, color=EXACT, linestyle="--", linewidth=1.2, label="tolerance")
        axes.set(
            title="The descent, held against the exact answer",
            xlabel="readings of the rows",
            ylabel="relative distance" if relative else "distance in standard errors",
            yscale="log",
        )
        axes.legend(frameon=False)
        return figure
