"""How the loss fell, step by step."""

from __future__ import annotations

from matplotlib.figure import Figure

from gentle.batch import Floats
from gentle.pictures.style import EXACT, MODEL, blank


def loss_curve(steps: Floats, losses: Floats, least: float, of: str = "all train rows") -> Figure:
    """Mean squared error (n,) against step (n,), and the least that any model reaches."""
    figure, axes = blank()
    axes.plot(steps, losses, color=MODEL, linewidth=1.8, label=f"loss on {of}")
    axes.axhline(least, color=EXACT, linestyle="--", linewidth=1.2, label="least possible")
    axes.set(
        title="Loss against step",
        xlabel="step",
        ylabel="mean squared error (log scale)",
        yscale="log",
        xscale="log",
    )
    axes.legend(frameon=False)
    return figure
