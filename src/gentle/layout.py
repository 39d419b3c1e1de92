"""Numbers in columns of plain text, 80 wide."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

WIDTH = 80
MOST_DIGITS = 8  # of an estimate
LONG_EXPONENT = re.compile(r"e.\d{3}")

Column = tuple[str, Sequence[str]]  # its head and its cells


def columns(names: Sequence[str], numbers: Sequence[Column]) -> list[str]:
    """Lines of at most 80 columns, the head first; a name that is too long stands above its numbers."""
    widths = [max(map(len, (head, *cells))) for head, cells in numbers]
    shown = [" ".join(name.split()) for name in names]
    longest = max(map(cell_len, shown), default=0)
    gap = 2 if longest + sum(widths) + 2 * len(widths) <= WIDTH else 1
    room = WIDTH - sum(widths) - gap * len(widths)
    first = max((cell_len(name) for name in shown if cell_len(name) <= room), default=0)

    def line(name: str, cells: Sequence[str]) -> str:
        padded = (" " * gap + cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return name + " " * (first - cell_len(name)) + "".join(padded)

    lines = [line("", [head for head, _ in numbers])]
    for at, name in enumerate(shown):
        if cell_len(name) > room:
            lines += [cut for part in textwrap.wrap(name, WIDTH) for cut in chop_cells(part, WIDTH)]
            name = ""
        lines.append(line(name, [cells[at] for _, cells in numbers]))
    return lines


def number(value: float, digits: int = 6) -> str:
    """So many significant digits, four where the exponent is long; a dash where there is no number.

    Below a million no exponent is needed, which costs a digit or two more.
    """
    if math.isnan(value):
        return "-"
    if 10**digits <= abs(value) < 1e6:
        return f"{value:.0f}"
    text = f"{value:.{digits}g}"
    return f"{value:.{min(digits, 4)}g}" if LONG_EXPONENT.search(text) else text


def spread(value: float) -> str:
    """A standard error: four digits are more than it has."""
    return number(value, 4)


def estimate(value: float, std_error: float) -> str:
    """A coefficient: six digits, and more where its standard error begins below them."""
    return number(value, _digits(value, std_error, least=6))


def bound(value: float, std_error: float) -> str:
    """An end of an interval: four digits, and more where its standard error begins below them."""
    return number(value, _digits(value, std_error, least=4))


def t_value(value: float) -> str:
    """A coefficient in standard errors: two decimals, while that is short."""
    return fixed(value, 2) if abs(value) < 1e5 else number(value, 2)


def fixed(value: float, decimals: int) -> str:
    """So many decimals, and zero without a sign."""
    return "-" if math.isnan(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"


def _digits(value: float, std_error: float, least: int) -> int:
    """So many that two digits of the standard error show, if these are not too many."""
    if not (value and 0 < std_error < abs(value) < math.inf):
        return least
    return max(least, min(math.ceil(math.log10(abs(value) / std_error)) + 2, MOST_DIGITS))


def count(value: float) -> str:
    """Rows or degrees of freedom: whole where they are."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.6g}"


def times(value: float, one: str, more: str) -> str:
    """So many of something: three digits, whole numbers from a hundred on."""
    return f"{value:.3g} {one if value == 1 else more}" if value < 100 else f"{value:,.0f} {more}"
