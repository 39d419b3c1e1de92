"""The driver: runs any solver, keeps its trace, stops it on its certificate and shows progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, Literal, Protocol, TypeVar

from gentle.batch import Floats
from gentle.coordinates import Coordinates
from gentle.problem import Problem
from gentle.solvers import Solver, State

P = TypeVar("P", bound=Problem)
J = TypeVar("J", bound="Judgement")
Stop = Literal["tolerance", "rounding", "passes", "time", "interrupted"]
PATIENCE = 8  # states without a nearer one before rounding is taken to be what is left


@dataclass(frozen=True, eq=False)
class Progress:
    """One line of a trace: where a descent stood after so many readings of the rows."""

    passes: float
    seconds: float
    objective: float | None  # where the solver has seen it, in the user's units
    within: float | None  # the distance to the minimiser, in yardsticks, where it is known
    coef: Floats  # (q,) in the user's units, the constant first; nan for a column that is left out
    estimated: bool = False  # whether that distance is an estimate


@dataclass(frozen=True)
class Limits:
    """When a descent ends: near enough, or after so many readings of the rows, or so many seconds."""

    tol: float = 1e-3  # in yardsticks
    max_passes: float = 100
    time_limit: float | None = None

    def after(self, seconds: float) -> Limits:
        """What is left of them after so many seconds."""
        if self.time_limit is None:
            return self
        return replace(self, time_limit=max(self.time_limit - seconds, 0.0))


class Judgement(Protocol):
    """How far a state is from the minimiser, in yardsticks, and how near rounding lets it come."""

    @property
    def within(self) -> float: ...
    @property
    def floor(self) -> float: ...
    @property
    def estimated(self) -> bool: ...


@dataclass(frozen=True, eq=False)
class Outcome(Generic[J]):
    """The best state a solver reached, how far it is from the minimiser, and why it stopped there."""

    state: State
    judgement: J | None
    trace: tuple[Progress, ...]
    stop: Stop


def drive(
    solver: Solver[P],
    problem: P,
    start: State,
    judge: Callable[[State], J | None],
    limits: Limits,
    *,
    watch: Callable[[Progress], None] | None = None,
) -> Outcome[J]:
    """Let a solver go until it is judged to be within tol, or there is nothing to be gained or spent.

    That is when rounding is all that is left, or the passes or the time are used up. An interrupt
    (Ctrl-C) ends it too: the best point so far is the outcome.
    """
    began = time.perf_counter()
    trace: list[Progress] = []
    best, nearest = start, judge(start)
    since_best = 0
    stop: Stop = "interrupted"
    try:
        for state in solver.steps(problem, start):
            seen = judge(state)
            seconds = time.perf_counter() - began
            trace.append(_progress(problem.coordinates, state, seconds, seen))
            since_best += seen is not None
            if nearest is None or (seen is not None and seen.within < nearest.within):
                best, nearest, since_best = state, seen, 0
            if watch is not None:
                watch(trace[-1])
            if nearest is not None and nearest.within <= limits.tol:
                stop = "tolerance"
                break
            if nearest is not None and (
                nearest.within <= 2 * nearest.floor or since_best >= PATIENCE
            ):
                stop = "rounding"
                break
            if state.passes >= limits.max_passes:
                stop = "passes"
                break
            if limits.time_limit is not None and seconds >= limits.time_limit:
                stop = "time"
                break
    except KeyboardInterrupt:
        pass
    return Outcome(best, nearest, tuple(trace), stop)


def _progress(units: Coordinates, state: State, seconds: float, seen: Judgement | None) -> Progress:
    coef = units.coef(state.theta)[:, 0]
    coef.flags.writeable = False
    objective = None if state.value is None else state.value * float(units.target_scale[0]) ** 2
    within = None if seen is None else seen.within
    estimated = seen is not None and seen.estimated
    return Progress(state.passes, seconds, objective, within, coef, estimated)
