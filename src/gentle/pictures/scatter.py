"""Rows of one column against the target, with the predictions of a line."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gentle.batch import Floats
from gentle.pictures.style import DATA, MODEL, blank, some, span


def scatter(
    x: Floats,
    y: Floats,
    *,
    line: tuple[float, float] | None = None,
    title: str,
) -> Figure:
    """Points (n,) and (n,), and where it is given the line (slope, constant) of a model."""
    figure, axes = blank()
    points(axes, x, y, "data")
    if line is not None:
        axes.plot(
            span(x), line[0] * span(x) + line[1], color=MODEL, linewidth=2.2, label="predictions"
        )
    axes.set(title=title, xlabel="x, the first column of X", ylabel="y, the target")
    legend = axes.legend(frameon=False, loc="best")
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    return figure


def points(axes: Axes, x: Floats, y: Floats, label: str) -> None:
    """The rows as points, some of them where there are many."""
    axes.scatter(
        some(x), some(y), s=5, color=DATA, alpha=0.35, linewidths=0, label=label, rasterized=True
    )
