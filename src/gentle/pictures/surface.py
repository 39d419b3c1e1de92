"""The loss over two coefficients, the path of a descent on it, and where it is least."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from gentle.batch import Floats
from gentle.pictures.style import EXACT, MODEL, blank

POINTS = 160  # of the grid, along each side


def surface(hessian: Floats, least: Floats, floor: float, path: Floats) -> Figure:
    """A quadratic loss, floor + (b - least)' hessian (b - least) / 2, with a path (n, 2) over it."""
    low = np.minimum(path.min(axis=0), least)
    high = np.maximum(path.max(axis=0), least)
    margin = 0.25 * max(*(high - low), 1e-9)
    slope, constant = np.meshgrid(
        *(np.linspace(low[j] - margin, high[j] + margin, POINTS) for j in range(2))
    )
    away = np.stack([slope, constant], axis=-1) - least
    loss = floor + np.einsum("...i,ij,...j->...", away, hessian, away) / 2
    figure, axes = blank(7.0, 5.2)
    axes.grid(visible=False)
    ground = max(floor, 1e-12 * loss.max())
    levels = np.geomspace(max(loss.min(), ground), loss.max(), 18)
    shaded = axes.contourf(slope, constant, np.log10(loss), np.log10(levels), cmap="Greys_r")
    axes.contour(slope, constant, loss, levels, colors="white", linewidths=0.5, alpha=0.7)
    axes.plot(*path.T, color=MODEL, marker=".", markersize=5, linewidth=1.4, label="descent")
    axes.plot(*path[0], marker="o", color=MODEL, markersize=9, linestyle="", label="start")
    axes.plot(
        *least,
        marker="*",
        color=EXACT,
        markeredgecolor="white",
        markersize=17,
        linestyle="",
        label="exact minimum",
    )
    axes.set(
        title="The loss surface, and the way down",
        xlabel="slope (coefficient of x)",
        ylabel="constant (coefficient of 1)",
    )
    bar = figure.colorbar(shaded, ax=axes, label="mean squared error")
    ticks = np.arange(np.ceil(np.log10(levels[0])), np.floor(np.log10(levels[-1])) + 1)
    bar.set_ticks(list(ticks), labels=[f"{10.0**tick:g}" for tick in ticks])
    axes.legend(frameon=True, framealpha=0.9, edgecolor="none")
    return figure
