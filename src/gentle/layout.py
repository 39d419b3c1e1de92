"""Numbers in columns of plain text, 80 wide."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Collection, Sequence

from rich.cells import cell_len, chop_cells

from gentle.errors import printable

WIDTH = 80
LEAST_ROOM = 12  # for names beside numbers
MOST_IN_FULL = 12  # shortened names that are written out below their table
MOST_DIGITS = 8  # of an estimate
LONG_EXPONENT = re.compile(r"e.\d{3}")

Column = tuple[str, Sequence[str]]  # its head and its cells


def columns(names: Sequence[str], numbers: Sequence[Column]) -> list[str]:
    """Lines of at most 80 columns, the head first; long names are shortened, and follow in full."""
    heads = [(printable(head), cells) for head, cells in numbers]
    widths = [max(map(cell_len, (head, *cells))) for head, cells in heads]
    full = list(map(printable, names))
    longest = max(map(cell_len, full), default=0)
    gap = 2 if longest + sum(widths) + 2 * len(widths) <= WIDTH else 1
    shown = shortened(full, max(WIDTH - sum(widths) - gap * len(widths), LEAST_ROOM))
    first = max(map(cell_len, shown), default=0)

    def line(name: str, cells: Sequence[str]) -> str:
        padded = (
            " " * (gap + width - cell_len(cell)) + cell
            for cell, width in zip(cells, widths, strict=True)
        )
        return name + " " * (first - cell_len(name)) + "".join(padded)

    rows = [line(name, [cells[at] for _, cells in heads]) for at, name in enumerate(shown)]
    return [line("", [head for head, _ in heads]), *rows, *_in_full(shown, full)]


def _in_full(shown: Sequence[str], full: Sequence[str]) -> list[str]:
    """The names that a table shortens, in full below it."""
    cut = [f"{short} = {name}" for short, name in zip(shown, full, strict=True) if short != name]
    lines = [line for pair in cut[:MOST_IN_FULL] for line in wrapped(pair)]
    if len(cut) > MOST_IN_FULL:
        more = len(cut) - MOST_IN_FULL
        lines += wrapped(
            f"and {more:,} more shortened names, which names, --json and --csv have in full"
        )
    return ["", *lines] if lines else []


def wrapped(text: str) -> list[str]:
    """Text in lines of at most 80 columns, broken at spaces where there are some."""
    parts = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [cut for part in parts for cut in chop_cells(part, WIDTH)]


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Names of at most `width` columns; longer ones lose their middle, and those that differ still do.

    Where the same head and tail would be left of several, the ellipsis moves; where that does not help,
    the place of the name among all stands in for the tail.
    """
    shown = [_cut(name, width, (width - 1) // 2) for name in names]
    alike: dict[str, list[int]] = {}
    for at, short in enumerate(shown):
        alike.setdefault(short, []).append(at)
    for places in alike.values():
        if len({names[at] for at in places}) > 1:
            for at, short in zip(places, _distinct(names, places, width, set(shown)), strict=True):
                shown[at] = short
    return shown


def _distinct(
    names: Sequence[str], places: Sequence[int], width: int, taken: set[str]
) -> list[str]:
    """Different short forms of names whose usual ones are the same, none of them taken."""
    middle = (width - 1) // 2
    for head in sorted(range(width), key=lambda head: abs(head - middle)):
        cut = [_cut(names[at], width, head) for at in places]
        if len(set(cut)) == len({names[at] for at in places}) and taken.isdisjoint(cut):
            return cut
    return [_marked(names[at], width, list(names).index(names[at]) + 1) for at in places]


def _marked(text: str, width: int, number: int) -> str:
    mark = f"…#{number}"
    return text if cell_len(text) <= width else _start(text, width - len(mark)) + mark


def _cut(text: str, width: int, head: int) -> str:
    """A text in `width` columns: of a longer one at most `head` columns of its start, and its end."""
    if cell_len(text) <= width:
        return text
    start = _start(text, head)
    return f"{start}…{_start(text[::-1], width - 1 - cell_len(start))[::-1]}"


def _start(text: str, width: int) -> str:
    """As much of the start of a text as `width` columns hold."""
    used = 0
    for at, sign in enumerate(text):
        used += cell_len(sign)
        if used > width:
            return text[:at]
    return text


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
    ratio = min(
        abs(float(value)) / float(std_error), 10.0**MOST_DIGITS
    )  # finite also at 1e308 / 1e-8
    return max(least, min(math.ceil(math.log10(ratio)) + 2, MOST_DIGITS))


def count(value: float) -> str:
    """Rows or degrees of freedom: whole where they are."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.6g}"


def times(value: float, one: str, more: str) -> str:
    """So many of something: three digits, whole numbers from a hundred on."""
    return f"{value:.3g} {one if value == 1 else more}" if value < 100 else f"{value:,.0f} {more}"


def public_names(value: object, internal: Collection[str]) -> list[str]:
    """What completion shows of an object: its public attributes without those that are internal."""
    names = object.__dir__(value)
    return sorted({name for name in names if not name.startswith("_")} - set(internal))
