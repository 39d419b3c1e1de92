"""Descents of a fit: towards the exact answer beside them, or alone where that is out of reach."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from gentle.answering import Answered, check_rows, check_sizes
from gentle.approach import Approach, approach, confirmed, survey
from gentle.batch import EXACT_COLUMNS, INTERCEPT, Batch, Floats
from gentle.certificate import Certificate, certify
from gentle.choices import Choices
from gentle.descended import Descended
from gentle.design import Design, Held, Rows
from gentle.driver import Outcome, Progress, Watch, drive
from gentle.errors import GentleError, RankWarning, listed
from gentle.exact import Exact
from gentle.losses import Squared
from gentle.penalties import Ridge
from gentle.problem import Streamed
from gentle.result import Descent
from gentle.shuffling import Changed, Walkable
from gentle.solvers import State
from gentle.sparse import is_sparse
from gentle.verdict import alone_verdict

ALONE = ("sgd", "lbfgs", "cg")  # that go without the Hessian of all rows

W = TypeVar("W", bound=Walkable)


def is_wide(design: Design, choices: Choices) -> bool:
    """Whether the exact answer is out of reach: it takes the square of the columns in memory and time."""
    return len(design.names) > EXACT_COLUMNS and choices.solver != "exact"


def descend_rows(
    rows: Rows,
    choices: Choices,
    *,
    watch: Watch | None = None,
    begin: Sequence[Floats | None] | None = None,
) -> Descended:
    """Fit rows of too many columns for an exact answer, by descent alone.

    Raises GentleError for what needs an exact answer, and for several targets.
    """
    design = rows.design
    choices = _refuse_what_is_exact(design, choices)
    (way,) = approaches(rows.held(), rows, choices, begin or (None,), watch, alone=True)
    state, units, tally = way.outcome.state, way.coordinates, way.seen.tally
    found = way.outcome.judgement
    if found is None or state.value is None:
        raise GentleError(
            f"the descent was ended ({way.outcome.stop}) before it came to a whole pass that says where it "
            "stands: give it more passes or time"
        )
    names = (INTERCEPT,) * design.intercept + design.names
    if not choices.l2 and tally.n_used < len(names):
        warnings.warn(
            f"{len(names):,} coefficients of {tally.n_used:,} rows: there are many least-squares answers, "
            "and this is one of them; l2= leaves a single one",
            RankWarning,
            stacklevel=4,
        )
    square = way.seen.spread.total * float(units.target_scale[0]) ** 2
    return Descended(
        design=design,
        names=names,
        values=units.coef(state.theta)[:, 0],
        reach=np.abs(state.theta[:, 0]) * float(units.target_scale[0]),
        choices=choices,
        tally=tally,
        n_rows=way.seen.spread.n_rows,
        rss=square * way.problem.misfit(state.theta, state.value),
        tss=square if way.seen.spread.varies[-1] or not design.intercept else 0.0,
        certificate=found,
        stop=way.outcome.stop,
        verdict=alone_verdict(found, choices.tol, way.outcome.stop, way.outcome.trace[-1:]),
        trace=way.outcome.trace,
    )


def approaches(
    walked: Rows | Held,
    rows: Rows,
    choices: Choices,
    begin: Sequence[Floats | None],
    watch: Watch | None,
    *,
    alone: bool = False,
) -> tuple[Approach, ...]:
    """Descents that know the curvature of a sample alone, one for each target.

    `alone` says that no exact answer confirms them.
    """
    design = rows.design
    seen = survey(walked, len(design.names), choices.seed)
    check_rows(seen.tally, rows)
    check_sizes(seen.spread.coordinates, seen.spread.total, design.names, design.targets)
    placed = _placed(walked, choices)
    found: list[Approach] = []
    for at in range(len(design.targets)):
        ended = any(way.outcome.stop == "interrupted" for way in found)
        way = approach(
            of_target(placed, design, at),
            seen.of(at),
            choices.descent(),
            replace(choices.limits, max_passes=0) if ended else choices.limits,
            intercept=design.intercept,
            l2=choices.l2,
            start=begin[at],
            watch=watch,
            alone=alone,
        )
        if ended:  # one Ctrl-C ends the descents of all targets
            way = replace(way, outcome=replace(way.outcome, stop="interrupted"))
        found.append(way)
    return tuple(found)


def descend(
    answered: Answered, choices: Choices, begin: Sequence[Floats | None], watch: Watch | None
) -> tuple[Descent, ...]:
    """Descents that know the Hessian, one for each target: the textbook's rules."""
    placed = _placed(answered.walked, choices)
    found = []
    for at, exact in enumerate(answered.each):
        problem = _streamed(answered, exact, of_target(placed, answered.rows.design, at), at)
        found.append(_descend(problem, answered, exact, choices, begin[at], watch))
    return tuple(found)


def _streamed(answered: Answered, exact: Exact, rows: Walkable, at: int) -> Streamed:
    """The problem of one target, in coordinates of the exact answer."""
    opening = answered.opening
    assert opening.sample is not None
    assert opening.sample.batch is not None
    return Streamed(
        rows,
        Squared(),
        Ridge(exact.l2),
        exact.problem.coordinates,
        opening.sample.batch.only(at),
        opening.tally.n_used,
        exact.total,
        exact.problem.curvature(),
    )


def _descend(
    streamed: Streamed,
    answered: Answered,
    exact: Exact,
    choices: Choices,
    begin: Floats | None,
    watch: Watch | None,
) -> Descent:
    problem = exact.problem
    theta = np.zeros_like(problem.minimiser)
    if begin is not None:
        theta = problem.coordinates.theta(exact.folded(begin)[:, None])
    outcome = drive(
        choices.descent(),
        streamed,
        State(theta),
        lambda state: certify(exact, problem.coordinates.coef(state.theta)[:, 0]),
        choices.limits,
        watch=watch,
    )
    return _descent(outcome, outcome.coef, outcome.trace, answered)


def confirm(
    ways: Sequence[Approach], answered: Answered, choices: Choices, watch: Watch | None
) -> tuple[Descent, ...]:
    """The descents with the exact certificate, on the columns that the exact answer keeps."""
    found = []
    for way, exact in zip(ways, answered.each, strict=True):
        outcome = confirmed(way, exact, choices.limits, watch)
        trace = [replace(step, coef=exact.folded(step.coef)) for step in outcome.trace]
        found.append(_descent(outcome, exact.folded(outcome.coef), trace, answered))
    return tuple(found)


def of_target(rows: W, design: Design, at: int) -> W | Changed:
    """The rows with one of their targets."""
    return rows if len(design.targets) == 1 else Changed(rows, partial(Batch.only, target=at))


def refuse_wide(design: Design) -> None:
    """Raises GentleError where the exact answer, which solvers are held against, is out of reach."""
    if len(design.names) > EXACT_COLUMNS:
        raise GentleError(
            f"of {len(design.names):,} columns, more than {EXACT_COLUMNS:,}, there is no exact answer to "
            f"hold solvers against: fit with {listed(ALONE, last='or')} one by one"
        )


def _refuse_what_is_exact(design: Design, choices: Choices) -> Choices:
    """The choices of a descent alone; GentleError for those that it cannot keep."""
    many = (
        f"of {len(design.names):,} columns, more than {EXACT_COLUMNS:,}, there is no exact answer"
    )
    asked = (choices.errors, choices.digits, choices.rank, choices.rank_tol, choices.method)
    if asked != ("classical", None, "drop", None, "auto"):
        raise GentleError(
            f"{many}, and errors, digits, rank, rank_tol and method ask for one: leave them out, or take "
            "solver='exact' and the time and memory it needs"
        )
    if len(design.targets) > 1:
        raise GentleError(f"{many}, and a descent alone has one target: fit them one by one")
    if choices.descends and choices.solver not in ALONE:
        raise GentleError(
            f"{many}, and the rule '{choices.solver}' takes its steps from it: take "
            f"{listed(ALONE, last='or')}"
        )
    return choices if choices.descends else replace(choices, solver="sgd")


def _descent(
    outcome: Outcome[Certificate], coef: Floats, trace: Sequence[Progress], answered: Answered
) -> Descent:
    """A descent on the columns that are kept, seen among all."""
    assert outcome.judgement is not None
    placing = answered.placing
    placed = tuple(replace(step, coef=_fixed(placing.coef(step.coef))) for step in trace)
    return Descent(placing.coef(coef), outcome.judgement, placed, outcome.stop, answered.seconds)


def _placed(rows: Rows | Held, choices: Choices) -> Rows | Held | Changed:
    """The rows where and in the type that a descent is to walk them."""
    if choices.device is None and choices.dtype is None:
        return rows
    device, dtype = choices.device or "cpu", getattr(torch, choices.dtype or "float64")
    if isinstance(rows, Held):
        if device != "cpu" and any(is_sparse(part.x) for part in rows.batches):
            raise GentleError(
                f"sparse rows are walked by the processor, and device is '{device}': leave it out, or "
                "give the rows dense"
            )
        _refuse_beyond(rows, dtype)
        return rows.on(device, dtype)
    return Changed(rows, partial(Batch.to, device=device, dtype=dtype))


def _refuse_beyond(rows: Held, dtype: torch.dtype) -> None:
    """Raises GentleError for numbers that a type cannot hold."""
    most = torch.finfo(dtype).max
    for part in rows.batches:
        numbers = part.x.values() if is_sparse(part.x) else part.x
        if numbers.numel() and max(map(abs, map(float, numbers.aminmax()))) > most:
            raise GentleError(
                f"some column has numbers beyond {most:.2g}, where {dtype} ends: leave dtype out, or give "
                "it in another unit"
            )


def _fixed(values: Floats) -> Floats:
    values.flags.writeable = False
    return values
