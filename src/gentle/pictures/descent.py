"""A descent as it moves: snapshots side by side, and the same as an animation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from gentle.batch import Floats
from gentle.files import written
from gentle.pictures.scatter import points
from gentle.pictures.style import MODEL, blank, quiet, span

SNAPSHOTS = 6
FRAMES = 40
MILLISECONDS = 90
LAST_FRAME_MILLISECONDS = 1800


def snapshots(x: Floats, y: Floats, path: Sequence[tuple[int, Floats]]) -> Figure:
    """The line at a few steps of a path of (step, [slope, constant])."""
    figure = Figure(figsize=(9.6, 5.4), layout="constrained")
    grid = figure.subplots(2, 3, sharex=True, sharey=True)
    for axes, (step, coef) in zip(grid.flat, chosen(path, SNAPSHOTS), strict=False):
        quiet(axes)
        points(axes, x, y, "train data")
        axes.plot(span(x), coef[0] * span(x) + coef[1], color=MODEL, linewidth=2.2)
        axes.set_title(f"after step {step:,}" if step else "before the first step", fontsize=10)
    figure.suptitle("The descent: the line finds the data")
    figure.supxlabel("x, the first column of X", fontsize=10)
    figure.supylabel("y, the target", fontsize=10)
    return figure


def animate(x: Floats, y: Floats, path: Sequence[tuple[int, Floats]], to: Path) -> None:
    """Write the path as an animated GIF that pauses on its last frame."""
    figure, axes = blank(5.6, 3.8)
    canvas = FigureCanvasAgg(figure)
    lines = {step: coef[0] * span(x) + coef[1] for step, coef in chosen(path, FRAMES)}
    low = min(y.min(), *(line.min() for line in lines.values()))
    high = max(y.max(), *(line.max() for line in lines.values()))
    axes.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    axes.set(xlabel="x, the first column of X", ylabel="y, the target", title=" ")
    points(axes, x, y, "train data")
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)  # the points are drawn once, not in every frame
    (model,) = axes.plot(span(x), span(y), color=MODEL, linewidth=2.4)
    frames = []
    for step, line in lines.items():
        canvas.restore_region(background)
        model.set_ydata(line)
        axes.title.set_text(f"step {step:,}")
        axes.draw_artist(model)
        axes.draw_artist(axes.title)
        frames.append(Image.fromarray(np.array(canvas.buffer_rgba())[..., :3]).quantize(64))
    with written(to) as beside:
        frames[0].save(
            beside,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=[MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS],
            loop=0,
        )


def chosen(path: Sequence[tuple[int, Floats]], count: int) -> list[tuple[int, Floats]]:
    """The first, the last and some between, denser where a descent is fast: at its start."""
    last = len(path) - 1
    between = np.rint(last ** np.linspace(0, 1, count - 1)) if last > 0 else np.empty(0)
    return [path[at] for at in np.unique([0, *between]).astype(int)]
