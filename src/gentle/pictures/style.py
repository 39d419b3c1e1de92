"""How every picture looks: sizes, colours that survive print and colour blindness, and saving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gentle.batch import Floats
from gentle.errors import printable
from gentle.files import written
from gentle.layout import shortened

DATA = "#8a8f98"
MODEL = "#d1495b"
EXACT = "#00587a"
CONTESTANTS = (  # colour, mark and dashes: each tells them apart without the others
    (MODEL, "o", "-"),
    ("#8c510a", "s", "--"),
    ("#e69f00", "^", "-"),
    ("#56b4e9", "v", "-"),
    ("#cc79a7", "P", "-"),
    ("#009e73", "D", "-."),
    ("#222222", ">", ":"),
    ("#5e3c99", "*", "-"),
)
MOST_POINTS = 4_000  # of a scatter: more only make it darker
MOST_LABEL = 40  # columns of a name
DPI = 120


def blank(width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """A figure with one quiet pair of axes; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    quiet(axes)
    return figure, axes


def quiet(axes: Axes) -> None:
    """Two spines and a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def some(values: Floats) -> Floats:
    """Evenly chosen entries, at most as many as a scatter needs."""
    return values[:: max(1, -(-len(values) // MOST_POINTS))]


def span(values: Floats) -> Floats:
    """The two ends of an axis, for a straight line."""
    return np.array([values.min(), values.max()])


def label(text: str) -> str:
    """A name for matplotlib: printable, at most 40 columns, and none of it read as mathematics."""
    return labels([text])[0]


def labels(names: Sequence[str]) -> list[str]:
    """Names for matplotlib, likewise; those that differ still do."""
    short = shortened(list(map(printable, names)), MOST_LABEL)
    return [name.replace("$", r"\$") for name in short]


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with written(path) as beside:
        figure.savefig(beside, format="png", dpi=DPI)
