"""A fit as a table, for the terminal and as text."""

from __future__ import annotations

import math
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gentle.result import Fit
from gentle.statistics import Tally

WIDTH = 80


def summary(fit: Fit) -> RenderableType:
    """The head, the coefficients and the verdict."""
    table = _two_answers(fit) if fit.descent is not None else _one_answer(fit)
    return Group(*_head(fit), Text(), table, Text(), *_foot(fit))


def as_text(shown: RenderableType) -> str:
    """What a terminal of 80 columns without colours would show."""
    page = StringIO()
    Console(file=page, width=WIDTH, color_system=None, force_terminal=False).print(shown)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def _head(fit: Fit) -> list[Text]:
    ridge = f" with a ridge of l2 = {fit.l2:g}" if fit.l2 else ""
    r2 = "R2" if fit.design.intercept else "R2 about zero"
    lines = [
        Text(f"{fit.design.target}: least squares{ridge}"),
        Text(_rows(fit.tally, "rows" if fit.test is None else "train rows")),
        Text(
            f"{r2} = {fit.r2:.6f}   sigma = {number(fit.sigma)} on "
            f"{fit.df_resid:,.0f} degree{'s' * (fit.df_resid != 1)} of freedom"
        ),
    ]
    if fit.test is not None:
        if not fit.test.n_rows:
            return [*lines, Text("held out: rows of which none is complete, so there is no score")]
        lines.append(
            Text(
                f"held out: {fit.test.n_rows:,.0f} rows, mean squared error = "
                f"{number(fit.test.mse)}, R2 = {fit.test.r2:.6f}"
            )
        )
    return lines


def _rows(tally: Tally, rows: str) -> str:
    """How many rows were used, and why the others were not."""
    reasons = [f"no {name} in {count:,}" for name, count in tally.missing.items()]
    if tally.n_weightless:
        reasons.append(f"weight zero in {tally.n_weightless:,}")
    used = f"{tally.n_used:,} of {tally.n_read:,} {rows} used"
    dropped = tally.n_read - tally.n_used
    return f"{used}, {dropped:,} dropped: {', '.join(reasons)}" if dropped else used


def _two_answers(fit: Fit) -> Table:
    table = _table("descent", "exact", "std. error", "diff. (SE)")
    exact, descent = fit.exact or {}, fit.descent or {}
    for name in fit.names:
        values = [descent[name], exact[name], fit.std_errors[name]]
        table.add_row(Text(name), *map(number, values), difference(fit.difference[name]))
    return table


def _one_answer(fit: Fit) -> Table:
    table = _table("coefficient", "std. error", "t", "p", "[0.025", "0.975]")
    intervals = fit.conf_int(0.95)
    for name in fit.names:
        table.add_row(
            Text(name),
            number(fit.coef[name]),
            number(fit.std_errors[name]),
            _short(fit.t_values[name], ".2f"),
            _short(fit.p_values[name], ".3f"),
            *map(number, intervals[name]),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("", overflow="fold", max_width=32)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _foot(fit: Fit) -> list[Text]:
    lines = []
    for name, made_of in fit.dropped.items():
        lines.append(Text(f"left out: {name}, which is {made_of} (its coefficient counts as 0)"))
    if fit.df_resid <= 0:
        lines.append(
            Text(
                "no degree of freedom is left: the rows are met exactly and there are no error bars"
            )
        )
    if fit.l2:
        lines.append(Text(f"minimises {fit.objective}; a ridge has no classical standard errors"))
    if fit.trace:
        last = fit.trace[-1]
        times = f"{last.passes:g} times" if last.passes != 1 else "once"
        lines.append(Text(f"the descent read the rows {times}"))
    lines.append(Text(str(fit.verdict), style="bold"))
    return lines


def number(value: float) -> str:
    """Six significant digits; a dash where there is no number."""
    return "-" if math.isnan(value) else f"{value:.6g}"


def difference(value: float) -> str:
    """A difference in standard errors: its size matters, not its digits."""
    return "-" if math.isnan(value) else f"{value:+.1e}"


def _short(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)
