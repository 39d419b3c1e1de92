"""Several descents in one picture: how far each is from the exact answer after each of its passes."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gentle.batch import Floats
from gentle.contesting import NOT_RUN, REFUSED, Contest, Contestant
from gentle.errors import GentleError
from gentle.pictures.fit import DISTANCES
from gentle.pictures.style import CONTESTANTS, EXACT, blank, label

FEW = 12  # points of a line, up to which each has its mark
MARKS = 8  # along a longer one
WIDEST, NARROWEST = 3.6, 1.4  # lines
SAID = {REFUSED: "could not run", NOT_RUN: "did not run"}


def distances(contest: Contest) -> Figure:
    """A line for each solver, the soonest to arrive first in the legend; a cross where one did not.

    The large mark is the nearest point of each, whose distance the table has; it stands at the left edge
    where that is the start.

    Raises GentleError where no descent has a point to draw.
    """
    descents = contest.contestants[1:]
    looks = {it.name: look for it, look in zip(descents, cycle(CONTESTANTS), strict=False)}
    lines = sorted((it for it in descents if _path(it)[0].size), key=_place)
    if not lines:
        raise GentleError("this contest has no descent to draw")
    figure, axes = blank(8.6, 4.8)
    for one, width in zip(lines, np.linspace(WIDEST, NARROWEST, len(lines)), strict=True):
        _line(axes, one, *looks[one.name], width=width)
    tol = contest.choices.tol
    axes.axhline(tol, color=EXACT, linestyle="--", linewidth=1.2, label=f"tolerance: {tol:g}")
    for one in descents:
        if one.fit is None:
            axes.plot([], linestyle="", label=f"{one.name}: {SAID[one.cause]}")
    axes.set(
        title=f"Solvers against the exact answer: {label(contest.exact.target)}",
        xlabel="readings of the rows (log scale)",
        ylabel=f"{DISTANCES[contest.exact.certificate.unit]} (log scale)",
        xscale="log",
        yscale="log",
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda passes, _: f"{passes:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(
        title="large mark: the nearest point",
        loc="outside right center",
        frameon=False,
        handlelength=3.2,
    )
    return figure


def _place(one: Contestant) -> tuple[bool, float, float]:
    """Those who arrived by passes, then the others by how far they are."""
    assert one.fit is not None
    passes = one.passes or 0.0
    return (not one.arrived, passes if one.arrived else 0.0, one.fit.certificate.within)


def _path(one: Contestant) -> tuple[Floats, Floats]:
    """Passes and distances, where these are known and can be drawn on logarithms."""
    known = [
        (step.passes, step.within)
        for step in (one.fit.trace if one.fit is not None else ())
        if step.passes > 0 and step.within and np.isfinite(step.within)
    ]
    found = np.array(known).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _nearest(one: Contestant) -> float:
    """Passes up to the nearest point, whose distance the table has; 0 where it is the start."""
    way = None if one.fit is None else one.fit.way
    steps = () if way is None else way.trace
    values = () if way is None else way.values
    same = (it for it in reversed(steps) if np.array_equal(it.coef, values, equal_nan=True))
    return next((it.passes for it in same), 0.0)


def _line(
    axes: Axes, one: Contestant, color: str, marker: str, dashes: str, *, width: float
) -> None:
    """The way of one solver; lines narrow one after the other, so that none hides another."""
    assert one.fit is not None
    passes, within = _path(one)
    spent = f"{one.passes:.4g} pass{'es' * (one.passes != 1)}"
    axes.plot(
        passes,
        within,
        color=color,
        linestyle=dashes,
        linewidth=width,
        marker=marker,
        markersize=width + 4,
        markeredgecolor="white",
        markeredgewidth=0.6,
        markevery=1 if len(passes) <= FEW else 1 / MARKS,
        label=f"{one.name}: {spent}" if one.arrived else f"{one.name}: not in {spent}",
    )
    nearest = _nearest(one)
    axes.plot(
        nearest,
        one.fit.certificate.within,
        transform=axes.transData if nearest else axes.get_yaxis_transform(),  # 0 is its left edge
        clip_on=False,
        color=color,
        marker=marker if one.arrived else "x",
        markersize=width + 7,
        markeredgecolor="white" if one.arrived else color,
        markeredgewidth=1.0 if one.arrived else 2.2,
        linestyle="",
        zorder=3,
    )
