"""A fit as a table, for the terminal and as text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any

import numpy as np
import polars as pl
from rich.cells import cell_len, set_cell_size

from gentle.checking import Check
from gentle.contesting import REFUSED, Contest, Contestant
from gentle.descended import Descended
from gentle.driver import Progress
from gentle.errors import printable
from gentle.layout import (
    WIDTH,
    Column,
    bound,
    columns,
    count,
    estimate,
    fixed,
    number,
    shortened,
    spread,
    t_value,
)
from gentle.online import OnePass
from gentle.predicting import Written
from gentle.result import Fit
from gentle.statistics import Score, Tally
from gentle.styling import Console, Group, OverflowMethod, RenderableType, Text
from gentle.verdict import UNITS as IN_WORDS

MOST_CELLS = 24  # of a text among numbers
MOST_SHOWN = 20  # coefficients of a descent alone
UNITS = {"standard errors": "SE", "scale": "scale", "relative": "rel."}  # of a difference


def summary(fit: Fit | Descended, level: float = 0.95) -> RenderableType:
    """The head, the coefficients and the verdict; intervals are those of a level such as 0.95."""
    if isinstance(fit, Descended):
        return descended_summary(fit)
    numbers = _two_answers(fit) if _differ_visibly(fit) else _one_answer(fit, level)
    return Group(*_head(fit), _line(), *_table(fit.names, numbers), _line(), *_foot(fit))


def _differ_visibly(fit: Fit) -> bool:
    """Whether a descent has not arrived, or a digit that the table shows tells the two answers apart."""
    if fit.descent is None:
        return False
    descent, exact, _ = (column for _, column in _answers(fit))
    return not fit.converged or descent != exact


def as_text(shown: RenderableType) -> str:
    """What a terminal of 80 columns without colours would show."""
    page = StringIO()
    Console(file=page, width=WIDTH, color_system=None, force_terminal=False).print(shown)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def _head(fit: Fit) -> list[Text]:
    lines = [
        f"{fit.target}: least squares{_parts(fit)}",
        _rows(fit.tally, "rows" if fit.held_out is None else "train rows"),
        *_whose(fit),
        f"{_r2(fit)} = {fixed(fit.r2, 6)}   adjusted = {fixed(fit.r2_adjusted, 6)}   "
        f"sigma = {number(fit.sigma)} on {count(fit.df_resid)} "
        f"degree{'s' * (fit.df_resid != 1)} of freedom",
    ]
    if not fit.l2 and fit.df_resid > 0:
        joint = f"{fit.f_test}   " if fit.f_test.df_num else ""
        lines += [
            f"{joint}condition = {number(fit.condition, 3)}",
            f"log-likelihood = {number(fit.log_likelihood)}   AIC = {number(fit.aic)}   "
            f"BIC = {number(fit.bic)}",
            f"standard errors: {fit.errors}",
        ]
    if fit.held_out is not None and not fit.held_out.n_rows:
        unestimable = fit.held_out.n_unestimable
        none = "held out: rows of which none is complete, so there is no score"
        lines.append(_unestimable(fit.held_out) if unestimable else none)
    elif fit.held_out is not None:
        lines += _score(fit.held_out)
    return [_line(line) for line in lines]


def _whose(fit: Fit) -> list[str]:
    """Whose the figures are, where a descent has not come to the exact answer."""
    if fit.converged:
        return []
    score = " and of the score on held-out rows" if fit.held_out is not None else ""
    return [
        f"The descent has not converged. Apart from the column of its coefficients{score},",
        "all figures are those of the exact solution: t, p, R2, sigma, standard errors.",
    ]


def _parts(fit: Fit) -> str:
    """What the squares are of, beside the rows as they are."""
    design = fit.design
    parts = [
        f", {role}" if name == f"({role})" else f", {role} {name}"
        for role, name in (
            ("weights", design.weights),
            ("frequencies", design.frequencies),
            ("offset", design.offset),
            ("offset", design.encoder.offset or None),
        )
        if name is not None
    ]
    ridge = f" with a ridge of l2 = {fit.l2:g}" if fit.l2 else ""
    return ridge + "".join(parts)


def _score(score: Score) -> list[str]:
    line = (
        f"held out: {count(score.n_rows)} rows, mean squared error = {number(score.mse)}, "
        f"R2 = {fixed(score.r2, 6)}"
    )
    return [line, _unestimable(score)] if score.n_unestimable else [line]


def _unestimable(score: Score) -> str:
    return (
        f"not scored: {count(score.n_unestimable)} held-out rows off the linear relations below, which the "
        "fit cannot predict"
    )


def _r2(fit: Fit) -> str:
    return "R2" if fit.design.intercept else "R2 about zero"


def _rows(tally: Tally, rows: str) -> str:
    """How many rows were used, and why the others were not."""
    reasons = [f"no {name} in {count:,}" for name, count in tally.missing.items()]
    if tally.n_weightless:
        reasons.append(f"weight zero in {tally.n_weightless:,}")
    used = f"{tally.n_used:,} of {tally.n_read:,} {rows} used"
    dropped = tally.n_read - tally.n_used
    if dropped:
        used += f", {dropped:,} dropped: {', '.join(reasons)}"
    filled = [f"{name} in {count:,}" for name, count in tally.filled.items()]
    return f"{used}; filled where missing: {', '.join(filled)}" if filled else used


def _two_answers(fit: Fit) -> list[Column]:
    descent, exact, apart = _answers(fit)
    return [descent, exact, *_significance(fit), apart]


def _answers(fit: Fit) -> tuple[Column, Column, Column]:
    """The coefficients by the descent and of the exact solution, and their difference."""
    exact, descent = fit.exact.values(), (fit.descent or {}).values()
    return (
        ("descent", list(map(estimate, descent, fit.std_errors.values()))),
        ("exact", list(map(estimate, exact, fit.std_errors.values()))),
        (
            f"diff. ({UNITS[fit.certificate.unit]})",
            [difference(value) for value in fit.difference.values()],
        ),
    )


def _one_answer(fit: Fit, level: float) -> list[Column]:
    return [
        ("coefficient", list(map(estimate, fit.coef.values(), fit.std_errors.values()))),
        *_significance(fit),
        *_interval(fit, level),
    ]


def _significance(fit: Fit) -> list[Column]:
    if fit.l2:
        return []
    return [
        ("std. error", [spread(value) for value in fit.std_errors.values()]),
        ("t" if fit.choices.use_t else "z", [t_value(value) for value in fit.t_values.values()]),
        ("p", [fixed(value, 3) for value in fit.p_values.values()]),
    ]


def _interval(fit: Fit, level: float) -> list[Column]:
    """The ends of the intervals, each under its quantile."""
    if fit.l2:
        return []
    intervals, errors = fit.conf_int(level).values(), fit.std_errors.values()
    ends = zip(*intervals, strict=True) if fit.names else ((), ())
    low, high = (list(map(bound, side, errors)) for side in ends)
    tail = (1 - level) / 2
    return [(f"[{tail:.6g}", low), (f"{1 - tail:.6g}]", high)]


def _table(names: Sequence[str], numbers: Sequence[Column]) -> list[Text]:
    head, *lines = columns(names, numbers)
    return [_line(head, style="bold", whole=True), *(_line(line, whole=True) for line in lines)]


def _line(text: str = "", style: str = "", *, whole: bool = False) -> Text:
    """A line of output, which all names and values pass through; `whole` ones are never broken."""
    overflow: OverflowMethod = "ignore" if whole else "fold"
    return Text(printable(text), style, no_wrap=whole, overflow=overflow)


def _foot(fit: Fit) -> list[Text]:
    lines = _left_out(fit)
    if fit.placing.mix is not None:
        for name, made_of in fit.dependent.items():
            lines.append(_line(f"{name} is {made_of}: these are the shortest of many coefficients"))
    if fit.inference_note and not fit.l2:
        lines.append(_line(fit.inference_note))
    if fit.sandwich.clipped:
        lines.append(_line("a negative eigenvalue of this covariance was set to zero"))
    if fit.choices.digits is not None and fit.certificate.digits < fit.choices.digits:
        lines.append(
            _line(
                f"{fit.choices.digits:g} digits were asked for, and "
                f"{fit.certificate.digits:.1f} are certified"
            )
        )
    if fit.l2:
        lines.append(_line(f"minimises {fit.objective}; a ridge has no classical standard errors"))
    if fit.way is not None and fit.trace:
        beside = f"; the exact answer took {_seconds(fit.way.exact_seconds)}"
        lines.append(_line(_way(fit.trace) + beside))
        robust = fit.errors != "classical" and fit.certificate.unit == "standard errors"
        if robust and _differ_visibly(fit):
            lines.append(_line("differences are in classical standard errors"))
    lines.append(_line(str(fit.verdict), style="bold"))
    return lines


def _way(trace: Sequence[Progress]) -> str:
    """How far a descent went."""
    last = trace[-1]
    times = f"{round(last.passes, 2):,g} times" if last.passes != 1 else "once"
    return f"the descent read the rows {times} in {_seconds(last.seconds)}"


def _seconds(seconds: float) -> str:
    if seconds >= 0.1:
        return f"{seconds:.2f} s"
    return f"{float(f'{max(seconds, 1e-4) * 1e3:.1g}'):g} ms"  # 20, not 2e+01


def _left_out(fit: Fit) -> list[Text]:
    """The columns that the rank rule left out, those of one description together."""
    names: dict[str, list[str]] = {}
    for name, made_of in fit.dropped.items():
        names.setdefault(made_of, []).append(name)
    return [
        _line(f"left out: {alike[0]}, which is {made_of} (its coefficient counts as 0)")
        if len(alike) == 1
        else _line(
            f"left out: {', '.join(alike)}, each of which is {made_of} (their coefficients count as 0)"
        )
        for made_of, alike in names.items()
    ]


def difference(value: float) -> str:
    """A difference in standard errors: its size matters, not its digits."""
    return "-" if math.isnan(value) else f"{value:+.1e}"


def to_polars(fit: Fit, level: float = 0.95) -> pl.DataFrame:
    """One row for each coefficient: name, coefficient, std_error, t, p, low and high.

    Where a descent has not converged, the exact coefficient, to which t, p and the bounds belong, is in
    the column "exact", and the cause in "verdict".
    """
    return _frame(_columns(fit, level) | _verdicts(fit))


def _verdicts(fit: Fit) -> dict[str, list[Any]]:
    return {} if fit.converged else {"verdict": [fit.verdict.cause] * len(fit.names)}


def _frame(named: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
    """Columns of strings or numbers as a frame, null where there is no number.

    It is made without an expression of polars, which would need threads that a forked process lacks.
    """
    return pl.DataFrame(
        {
            name: values if any(isinstance(value, str) for value in values) else _numbers(values)
            for name, values in named.items()
        }
    )


def _numbers(values: Sequence[float | None]) -> pl.Series:
    return pl.Series(np.array(values, dtype=np.float64), nan_to_null=True)


def trace_frame(fit: Fit | Descended) -> pl.DataFrame:
    """One row for each step of the descent: where it stood, and its coefficients."""
    trace = fit.trace
    numbers = ("passes", "seconds", "objective", "within")
    shown: dict[str, pl.Series] = {
        name: pl.Series([getattr(step, name) for step in trace], dtype=pl.Float64)
        for name in numbers
    }
    shown["estimated"] = pl.Series([step.estimated for step in trace], dtype=pl.Boolean)
    coef = np.array([step.coef for step in trace]).reshape(len(trace), len(fit.names))
    for name, values in zip(fit.names, coef.T, strict=True):
        column = f"{name} (coefficient)" if name in shown else name
        shown[column] = _numbers(values.tolist())
    return pl.DataFrame(shown)


def to_one_polars(fits: Sequence[Fit], level: float = 0.95) -> pl.DataFrame:
    """The same of several targets, which stand in the first column."""
    tables = [
        _frame({"target": [fit.target] * len(fit.names)} | _columns(fit, level) | _verdicts(fit))
        for fit in fits
    ]
    return pl.concat(tables, how="diagonal")


def to_dict(fit: Fit, level: float = 0.95) -> dict[str, Any]:
    """What the summary says, as plain Python; None where there is no number."""
    plain: dict[str, Any] = _plain(_everything(fit, level))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _everything(fit: Fit, level: float) -> dict[str, Any]:
    coefficients = _columns(fit, level)
    return {
        "target": fit.target,
        "solver": fit.solver,
        "objective": fit.objective,
        "coefficients": {
            name: {key: column[at] for key, column in coefficients.items() if key != "name"}
            for at, name in enumerate(fit.names)
        },
        "errors": fit.errors,
        "level": level,
        "n_rows": _whole(fit.n_rows),
        "df_resid": _whole(fit.df_resid),
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
        "filled": dict(fit.tally.filled),
        "dependent": dict(fit.dependent),
        "digits": fit.certificate.digits,
        "in_se": fit.certificate.in_se,
        "converged": fit.converged,
        "inference_note": fit.inference_note,
        "cause": fit.verdict.cause,
        "verdict": str(fit.verdict),
    }


def _whole(value: float) -> float | int:
    """A count as the whole number that it is, unless frequencies are not whole."""
    return int(value) if value.is_integer() else value


def to_markdown(fit: Fit, level: float = 0.95) -> str:
    """The coefficients as a table of Markdown, with the verdict below it; names are plain text in it."""
    head, rows = _cells(fit, level)
    target, *heads = head
    lines = [_row(_inert(target), heads), "| --- |" + " ---: |" * len(heads)]
    lines += [_row(_inert(name), numbers) for name, *numbers in rows]
    notes = " ".join(_notes(fit)) if not fit.converged else f"{fit.inference_note} {fit.verdict}"
    return "\n".join([*lines, "", f"{_inert(_measures(fit))} {_inert(notes.strip())}"])


def _notes(fit: Fit) -> list[str]:
    """What a reader of the numbers must know: whose they are, and why some are missing."""
    notes = [fit.inference_note] if fit.inference_note else []
    return notes if fit.converged else [*notes, " ".join(_whose(fit)), str(fit.verdict)]


def _row(name: str, numbers: Sequence[str]) -> str:
    return f"| {' | '.join([name, *numbers])} |"


def _inert(text: str) -> str:
    """Text that Markdown shows as it is: no markup, HTML, mathematics or link begins in it."""
    return MARKDOWN.sub(r"\\\g<0>", printable(text))


MARKDOWN = re.compile(r"[\\`*_\[\]<>|~&$@]|(?<=:)/|(?<=[Ww])\.")


def to_latex(fit: Fit, level: float = 0.95) -> str:
    """The coefficients as a tabular with booktabs' rules, with what else is known below it."""
    head, rows = _cells(fit, level)
    lines = [
        "\\begin{tabular}{l" + "r" * (len(head) - 1) + "}",
        "\\toprule",
        " & ".join(_escaped(cell) for cell in head) + " \\\\",
        "\\midrule",
        *(" & ".join(_escaped(cell) for cell in row) + " \\\\" for row in rows),
        "\\bottomrule",
        *(
            f"\\multicolumn{{{len(head)}}}{{p{{\\linewidth}}}}{{\\footnotesize {_escaped(note)}}} \\\\"
            for note in (_measures(fit), *_notes(fit))
        ),
        "\\end{tabular}",
    ]
    return "\n".join(lines)


def _columns(fit: Fit, level: float) -> dict[str, list[Any]]:
    bounds = list(fit.conf_int(level).values())
    return {
        "name": list(fit.names),
        "coefficient": list(fit.coef.values()),
        **({} if fit.converged else {"exact": list(fit.exact.values())}),
        "std_error": list(fit.std_errors.values()),
        "t": list(fit.t_values.values()),
        "p": list(fit.p_values.values()),
        "low": [low for low, _ in bounds],
        "high": [high for _, high in bounds],
    }


def _cells(fit: Fit, level: float) -> tuple[list[str], list[list[str]]]:
    """The head of the table of coefficients, and its rows, as text."""
    numbers = _one_answer(fit, level) if fit.converged else _two_answers(fit)
    rows = zip(fit.names, *(cells for _, cells in numbers), strict=True)
    return [fit.target, *(head for head, _ in numbers)], [list(row) for row in rows]


def _measures(fit: Fit) -> str:
    errors = f"ridge of l2 = {fit.l2:g}" if fit.l2 else f"{fit.errors} standard errors"
    return f"{_r2(fit)} = {fixed(fit.r2, 6)}, n = {count(fit.n_rows)}, {errors}."


def _escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    escaped = "".join(LATEX.get(sign, sign) for sign in printable(text))
    return f"{{}}{escaped}" if escaped[:1] in ("[", "*") else escaped  # options of the line before


LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
}


def one_pass_summary(one: OnePass, level: float = 0.95) -> RenderableType:
    """Coefficients of one stochastic pass, with intervals by random scaling."""
    low, high = zip(*one.conf_int(level).values(), strict=True)
    tail = (1 - level) / 2
    numbers: list[Column] = [
        ("coefficient", list(map(estimate, one.values, one.scales))),
        ("p", [fixed(value, 3) for value in one.p_values.values()]),
        (f"[{tail:.6g}", list(map(bound, low, one.scales))),
        (f"{1 - tail:.6g}]", list(map(bound, high, one.scales))),
    ]
    weights = one.design.weights
    part = "" if weights is None else ", weights" + f" {weights}" * (weights != "(weights)")
    head = [
        f"{one.target}: least squares{part}, by one averaged stochastic pass",
        _rows(one.tally, "rows"),
        f"{one.steps:,} steps; intervals by random scaling, for rows in random order",
    ]
    foot = (
        []
        if one.trustworthy
        else [f"fewer than {one.least_steps:,} steps: these intervals may be too narrow"]
    )
    return Group(*map(_line, head), _line(), *_table(one.names, numbers), *map(_line, foot))


def one_pass_to_polars(one: OnePass, level: float = 0.95) -> pl.DataFrame:
    """One row for each coefficient of one stochastic pass: name, coefficient, p, low and high."""
    bounds = list(one.conf_int(level).values())
    return pl.DataFrame(
        {
            "name": list(one.names),
            "coefficient": list(one.coef.values()),
            "p": list(one.p_values.values()),
            "low": [low for low, _ in bounds],
            "high": [high for _, high in bounds],
        }
    )


def descended_summary(one: Descended) -> RenderableType:
    """The coefficients of a descent alone whose columns move the prediction most, and how it ended."""
    first = int(one.design.intercept)
    shown = first + np.argsort(-one.reach[first:])[: MOST_SHOWN - first]
    names = tuple(one.names[at] for at in (*range(first), *sorted(shown)))
    numbers: list[Column] = [("coefficient", [number(one.coef[name]) for name in names])]
    ridge = f" with a ridge of l2 = {one.choices.l2:g}" if one.choices.l2 else ""
    left = len(one.names) - len(names)
    head = [
        f"{one.target}: least squares{ridge}, by descent alone",
        _rows(one.tally, "rows" if one.held_out is None else "train rows"),
        f"R2 = {fixed(one.r2, 6)}   {len(one.names):,} coefficients, without standard errors",
    ]
    if one.held_out is not None:
        head += _score(one.held_out)
    more = f"and {left:,} whose columns move it less: to_polars() has all of them"
    foot = [*([more] if left else []), "", str(one.verdict), _way(one.trace)]
    if not one.choices.l2:
        foot.append(_of_many(one))
    return Group(*map(_line, head), _line(), *_table(names, numbers), *map(_line, foot))


def _of_many(one: Descended) -> str:
    """What a descent alone cannot say of single coefficients."""
    if one.n_rows < len(one.names):
        return (
            f"{len(one.names):,} coefficients of {one.n_rows:,.0f} rows: there are many least-squares "
            "answers, and this is one of them; a ridge (l2) leaves a single one"
        )
    return (
        "columns that are combinations of others are not looked for among so many: where there are some, "
        "their coefficients are one answer of many"
    )


def descended_to_polars(one: Descended) -> pl.DataFrame:
    """One row for each coefficient of a descent alone: name and coefficient."""
    return pl.DataFrame({"name": list(one.names), "coefficient": one.values})


def descended_to_dict(one: Descended) -> dict[str, Any]:
    """The coefficients of a descent alone and how it ended, as plain Python."""
    plain: dict[str, Any] = _plain(
        {
            "target": one.target,
            "solver": one.choices.solver,
            "coefficients": {
                name: {"coefficient": float(value)}
                for name, value in zip(one.names, one.values, strict=True)
            },
            "n_rows": _whole(float(one.n_rows)),
            "r2": one.r2,
            "rows_read": one.tally.n_read,
            "rows_used": one.tally.n_used,
            "cause": one.verdict.cause,
            "verdict": str(one.verdict),
        }
    )
    return plain


def predictions(first: pl.DataFrame, written: Written) -> RenderableType:
    """The first rows of predictions, as many columns as there is room for, and how many rows there are."""
    rows = [f"{row:,}" for row in range(1, first.height + 1)]
    heads = shortened(list(map(printable, first.columns)), MOST_CELLS)
    cells: list[Column] = [
        (head, list(map(_cell, column))) for head, column in zip(heads, first, strict=True)
    ]
    room = WIDTH - max(map(len, rows), default=0)
    widths = [2 + max(map(cell_len, (head, *texts))) for head, texts in cells]
    shown: list[Column] = []
    for column, width in zip(
        reversed(cells), reversed(widths), strict=True
    ):  # predictions stand last
        if width > room:
            break
        shown.insert(0, column)
        room -= width
    more = [f"and {written.n_rows - len(rows):,} more rows"] * (written.n_rows > len(rows))
    if left := len(cells) - len(shown):
        more.append(f"{left} more column{'s' * (left > 1)} to the left")
    foot = [f"{', '.join(more)}; -o FILE writes all of them"] if more else []
    return Group(*_table(rows, shown), _line(), *map(_line, [*foot, f"{written}."]))


def _cell(value: Any) -> str:
    """A value of any type in a table; a dash where there is none."""
    if value is None:
        return "-"
    return number(value) if isinstance(value, float) else _cut(str(value))


def _cut(text: str) -> str:
    """A text on one line, of a width that leaves room for others."""
    line = printable(text)
    return line if cell_len(line) <= MOST_CELLS else set_cell_size(line, MOST_CELLS - 1) + "…"


def check_summary(check: Check) -> RenderableType:
    """Coefficients from elsewhere beside the exact ones, and the verdict on them."""
    fit = check.fit
    errors = fit.std_errors.values()
    distances = [check.distances.get(name, math.nan) for name in fit.names]
    numbers: list[Column] = [
        ("given", list(map(estimate, check.coef.values(), errors))),
        ("exact", list(map(estimate, fit.coef.values(), errors))),
        ("std. error", list(map(spread, errors))),
        ("apart (SE)", [_at_most(value) for value in distances]),
    ]
    verdict = _line(str(check.verdict), style="bold")
    return Group(*_head(fit), _line(), *_table(fit.names, numbers), _line(), verdict)


def _at_most(distance: float) -> str:
    return "-" if math.isnan(distance) else f"{distance:.1e}"


def contest_summary(contest: Contest) -> RenderableType:
    """A line for each solver, why some could not run, and who came first."""
    fit = contest.exact
    each = contest.contestants
    how = [_ended(it, contest) for it in each]
    width = max(map(len, how))
    numbers: list[Column] = [
        ("passes", [_or_dash(it.passes, lambda passes: f"{passes:.4g}") for it in each]),
        ("seconds", [_or_dash(it.seconds, lambda seconds: f"{seconds:.2g}") for it in each]),
        ("gap", [_or_dash(it.gap, lambda gap: f"{gap:.1e}") for it in each]),
        (
            f"apart ({UNITS[fit.certificate.unit]})",
            [_at_most(math.nan if it.fit is None else it.fit.certificate.within) for it in each],
        ),
        ("".ljust(width), [text.ljust(width) for text in how]),
    ]
    head = [
        f"{fit.target}: least squares{_parts(fit)}, solver by solver",
        _rows(fit.tally, "rows"),
        f"{len(fit.names)} coefficients   condition = {number(fit.condition, 3)}",
    ]
    refused = [_line(f"{it.name}: {it.why}") for it in each if it.cause == REFUSED]
    table = [
        _line(line.plain.rstrip(), str(line.style), whole=True)
        for line in _table([it.name for it in each], numbers)
    ]
    return Group(
        *map(_line, head),
        _line(),
        *table,
        _line(),
        *_left_out(fit),
        *refused,
        _line(
            "The gap is F(b) - F(b*). sgd works from a sample, whose reading it counts; all others are "
            "given the columns' scales, and all but cg and lbfgs the curvature, by the exact answer."
        ),
        _line(_winners(contest), style="bold"),
    )


def _ended(one: Contestant, contest: Contest) -> str:
    """How a solver ended, in a few words."""
    way = None if one.fit is None else one.fit.way
    if one.cause == "not converged" and way is not None:
        limit = contest.choices.time_limit
        return "out of passes" if way.stop == "passes" else f"out of time ({limit:g} s)"
    return ENDED.get(one.cause, one.cause)


ENDED = {
    "agree": "arrived",
    "exact only": "the exact answer",
    "precision": "rounding is left",
    "wandering": "wanders about it",
    REFUSED: "could not run",
}


def _winners(contest: Contest) -> str:
    unit = IN_WORDS[contest.exact.certificate.unit]
    within = f"{contest.choices.tol:g} {unit} of the exact answer"
    if contest.first is None:
        return f"No descent came within {within}."
    fewest, soonest = contest.first
    *others, last = (it.name for it in fewest)
    names = f"{', '.join(others)} and {last}" if others else last
    passes, seconds = fewest[0].passes or 0.0, soonest.seconds or 0.0
    return (
        f"First within {within}: in passes {names} ({passes:.4g}), in seconds {soonest.name} "
        f"({seconds:.2g})."
    )


def _or_dash(value: float | None, shown: Callable[[float], str]) -> str:
    return "-" if value is None else shown(value)


def contest_to_polars(contest: Contest) -> pl.DataFrame:
    """One row for each solver: solver, passes, seconds, gap, in_se, digits, cause and verdict."""
    each = contest.contestants
    return _frame(
        {
            "solver": [it.name for it in each],
            "passes": [it.passes for it in each],
            "seconds": [it.seconds for it in each],
            "gap": [it.gap for it in each],
            "in_se": [it.in_se for it in each],
            "digits": [None if it.fit is None else it.fit.certificate.digits for it in each],
            "cause": [it.cause for it in each],
            "verdict": [it.why for it in each],
        }
    )
