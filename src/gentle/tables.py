"""A fit as a table, for the terminal and as text."""

from __future__ import annotations

import math
import re
from io import StringIO
from typing import Any

import polars as pl
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gentle.checking import Check
from gentle.result import Fit
from gentle.statistics import Tally

WIDTH = 80
LONG_EXPONENT = re.compile(r"e.\d{3}")


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
    lines = [
        Text(f"{fit.target}: least squares{ridge}"),
        Text(_rows(fit.tally, "rows" if fit.held_out is None else "train rows")),
        Text(
            f"{_r2(fit)} = {fit.r2:.6f}   adjusted = {_short(fit.r2_adjusted, '.6f')}   "
            f"sigma = {number(fit.sigma)} on {fit.df_resid:,.0f} "
            f"degree{'s' * (fit.df_resid != 1)} of freedom"
        ),
    ]
    if not fit.l2 and fit.df_resid > 0:
        lines.append(
            Text(
                f"log-likelihood = {number(fit.log_likelihood)}   AIC = {number(fit.aic)}   "
                f"BIC = {number(fit.bic)}"
            )
        )
        lines.append(Text(f"{_joint(fit)}standard errors: {fit.errors}"))
    if fit.held_out is not None:
        if not fit.held_out.n_rows:
            return [*lines, Text("held out: rows of which none is complete, so there is no score")]
        lines.append(
            Text(
                f"held out: {fit.held_out.n_rows:,.0f} rows, mean squared error = "
                f"{number(fit.held_out.mse)}, R2 = {fit.held_out.r2:.6f}"
            )
        )
    return lines


def _r2(fit: Fit) -> str:
    return "R2" if fit.design.intercept else "R2 about zero"


def _joint(fit: Fit) -> str:
    """The test that all slopes are zero, where there are slopes."""
    return f"{fit.f_test}   " if fit.f_test.df_num else ""


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
    table = _table(
        "coefficient", "std. error", "t" if fit.choices.use_t else "z", "p", "[0.025", "0.975]"
    )
    intervals = fit.conf_int(0.95)
    for name in fit.names:
        table.add_row(
            Text(name),
            number(fit.coef[name]),
            number(fit.std_errors[name]),
            _t(fit.t_values[name]),
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
    if fit.placing.mix is not None:
        for name, made_of in fit.dependent.items():
            lines.append(Text(f"{name} is {made_of}: these are the shortest of many coefficients"))
    if fit.df_resid <= 0:
        lines.append(
            Text(
                "no degree of freedom is left: the rows are met exactly and there are no error bars"
            )
        )
    if fit.sandwich.clipped:
        lines.append(Text("a negative eigenvalue of this covariance was set to zero"))
    if fit.choices.digits is not None and fit.certificate.digits < fit.choices.digits:
        lines.append(
            Text(
                f"{fit.choices.digits:g} digits were asked for, and "
                f"{fit.certificate.digits:.1f} are certified"
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
    """Six significant digits, fewer where the exponent is long; a dash where there is no number."""
    text = "-" if math.isnan(value) else f"{value:.6g}"
    return f"{value:.4g}" if LONG_EXPONENT.search(text) else text


def difference(value: float) -> str:
    """A difference in standard errors: its size matters, not its digits."""
    return "-" if math.isnan(value) else f"{value:+.1e}"


def _t(value: float) -> str:
    """A coefficient in standard errors: two decimals, while that is short."""
    return _short(value, ".2f" if abs(value) < 1e5 else ".1e")


def _short(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def to_polars(fit: Fit) -> pl.DataFrame:
    """One row for each coefficient: name, coefficient, std_error, t, p, low and high of 95 %."""
    columns = pl.col(pl.Float64).fill_nan(None)
    return pl.DataFrame(_columns(fit)).with_columns(columns)


def to_dict(fit: Fit) -> dict[str, Any]:
    """What the summary says, as plain Python; None where there is no number."""
    plain: dict[str, Any] = _without_nan(_everything(fit))
    return plain


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _everything(fit: Fit) -> dict[str, Any]:
    return {
        "target": fit.target,
        "solver": fit.solver,
        "objective": fit.objective,
        "coefficients": {
            name: {key: column[at] for key, column in _columns(fit).items() if key != "name"}
            for at, name in enumerate(fit.names)
        },
        "errors": fit.errors,
        "n_rows": fit.n_rows,
        "df_resid": fit.df_resid,
        "r2": fit.r2,
        "r2_adjusted": fit.r2_adjusted,
        "sigma": fit.sigma,
        "log_likelihood": fit.log_likelihood,
        "aic": fit.aic,
        "bic": fit.bic,
        "condition": fit.condition,
        "rows_read": fit.tally.n_read,
        "rows_used": fit.tally.n_used,
        "missing": dict(fit.tally.missing),
        "dependent": dict(fit.dependent),
        "digits": fit.certificate.digits,
        "in_se": fit.certificate.in_se,
        "cause": fit.verdict.cause,
        "verdict": str(fit.verdict),
    }


def to_markdown(fit: Fit) -> str:
    """The coefficients as a table of Markdown, with the verdict below it."""
    head, rows = _cells(fit)
    lines = [_row(head), "| --- |" + " ---: |" * (len(head) - 1), *map(_row, rows)]
    return "\n".join([*lines, "", f"{_measures(fit)} {fit.verdict}"])


def _row(cells: list[str]) -> str:
    """A row of a table in Markdown, in which a bar ends a cell."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def to_latex(fit: Fit) -> str:
    """The coefficients as a tabular with booktabs' rules, with what else is known below it."""
    head, rows = _cells(fit)
    lines = [
        "\\begin{tabular}{l" + "r" * (len(head) - 1) + "}",
        "\\toprule",
        " & ".join(_escaped(cell) for cell in head) + " \\\\",
        "\\midrule",
        *(" & ".join(_escaped(cell) for cell in row) + " \\\\" for row in rows),
        "\\bottomrule",
        f"\\multicolumn{{{len(head)}}}{{l}}{{\\footnotesize {_escaped(_measures(fit))}}} \\\\",
        "\\end{tabular}",
    ]
    return "\n".join(lines)


def _columns(fit: Fit) -> dict[str, list[Any]]:
    bounds = list(fit.conf_int(0.95).values())
    return {
        "name": list(fit.names),
        "coefficient": list(fit.coef.values()),
        "std_error": list(fit.std_errors.values()),
        "t": list(fit.t_values.values()),
        "p": list(fit.p_values.values()),
        "low": [low for low, _ in bounds],
        "high": [high for _, high in bounds],
    }


def _cells(fit: Fit) -> tuple[list[str], list[list[str]]]:
    """The head of the table of coefficients, and its rows, as text."""
    columns = _columns(fit)
    head = [fit.target, "coefficient", "std. error", "t", "p", "[0.025", "0.975]"]
    rows = []
    for at, name in enumerate(fit.names):
        coefficient, std_error, low, high = (
            number(columns[key][at]) for key in ("coefficient", "std_error", "low", "high")
        )
        t, p = _t(columns["t"][at]), _short(columns["p"][at], ".3f")
        rows.append([name, coefficient, std_error, t, p, low, high])
    return head, rows


def _measures(fit: Fit) -> str:
    return f"{_r2(fit)} = {fit.r2:.6f}, n = {fit.n_rows:,.0f}, {fit.errors} standard errors."


def _escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    escaped = "".join(LATEX.get(sign, sign) for sign in " ".join(text.split()))
    return f"{{}}{escaped}" if escaped[:1] in ("[", "*") else escaped  # options of the line before


LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
}


def check_summary(check: Check) -> RenderableType:
    """Coefficients from elsewhere beside the exact ones, and the verdict on them."""
    table = _table("given", "exact", "std. error", "apart (SE)")
    for name in check.fit.names:
        distance = check.distances.get(name, math.nan)
        numbers = [check.coef[name], check.fit.coef[name], check.fit.std_errors[name]]
        table.add_row(Text(name), *map(number, numbers), _at_most(distance))
    verdict = Text(str(check.verdict), style="bold")
    return Group(*_head(check.fit), Text(), table, Text(), verdict)


def _at_most(distance: float) -> str:
    return "-" if math.isnan(distance) else f"{distance:.1e}"
