"""The driver: runs any solver, keeps its trace, stops it on its certificate and shows progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np

from gentle.batch import Floats
from gentle.coordinates import Coordinates
from gentle.problem import Problem
from gentle.solvers import Solver, Stall, State

P = TypeVar("P", bound=Problem)
J = TypeVar("J", bound="Judgement")
Stop = Literal["tolerance", "rounding", "wandering", "passes", "time", "interrupted"]
PATIENCE = 8  # states without a nearer one before a solver is taken to have stalled
STILL = 1e-14  # of theta: less than that a step that has arrived moves it
TRACE_NUMBERS = 2**20  # coefficients in a trace: thinned to so many, in these bounds of steps
LEAST_STEPS, MOST_STEPS = 16, 1_000


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

    def spent(self, step: Progress) -> Stop | None:
        """Which of them has run out at a step."""
        if step.passes >= self.max_passes:
            return "passes"
        if self.time_limit is not None and step.seconds >= self.time_limit:
            return "time"
        return None


Watch = Callable[[Progress], None]  # is shown each step


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
    coef: Floats  # (q,) of it, in the user's units
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
    watch: Watch | None = None,
    seconds_before: float = 0.0,
) -> Outcome[J]:
    """Let a solver go until it is judged to be within tol, or there is nothing to be gained or spent.

    That is when rounding is all that is left, or the passes or the time are used up, seconds before
    among it. An interrupt (Ctrl-C) ends it too: the best point so far is the outcome.
    """
    began = time.perf_counter() - seconds_before
    course = _Course(start, judge(start))
    trace = _Trace(len(start.theta))
    stop: Stop = "interrupted"
    try:
        for state in solver.steps(problem, start):
            seen = judge(state)
            seconds = time.perf_counter() - began
            course.take(state, seen)
            step = _progress(problem.coordinates, state, seconds, seen)
            trace.take(step)
            if watch is not None:
                watch(step)
            if ended := course.ended(limits, solver.stall) or limits.spent(step):
                stop = ended
                break
    except KeyboardInterrupt:
        pass
    coef = problem.coordinates.coef(course.best.theta)[:, 0]
    return Outcome(course.best, coef, course.nearest, trace.steps, stop)


def joined(before: Sequence[Progress], later: Sequence[Progress]) -> tuple[Progress, ...]:
    """One trace of a descent and of the one that went on from it: passes and seconds go on counting."""
    trace = _Trace(len(before[-1].coef) if before else 0)
    for step in before:
        trace.take(step)
    for step in later:
        trace.take(after(before, step))
    return trace.steps


def after(before: Sequence[Progress], step: Progress) -> Progress:
    """A step of a descent that goes on from another one, counted from the start of that."""
    if not before:
        return step
    last = before[-1]
    return replace(step, passes=last.passes + step.passes, seconds=last.seconds + step.seconds)


class _Course(Generic[J]):
    """The best state so far, and whether there is more to be gained."""

    def __init__(self, start: State, judged: J | None) -> None:
        self.best, self.nearest = start, judged
        self._theta = start.theta
        self._since_best = self._still = 0

    def take(self, state: State, judged: J | None) -> None:
        """The next state; while none is judged, the last one is the best."""
        moved = np.abs(state.theta - self._theta).max(initial=0.0)
        still = moved <= STILL * np.abs(state.theta).max(initial=0.0)
        self._still = self._still + 1 if still else 0
        self._since_best += judged is not None
        if self.nearest is None or (judged is not None and judged.within < self.nearest.within):
            self.best, self.nearest, self._since_best = state, judged, 0
        elif judged is not None and judged.within == np.inf == self.nearest.within:
            self.best, self.nearest = state, judged  # for want of a distance the last one
        self._theta = state.theta

    def ended(self, limits: Limits, stall: Stall | None) -> Stop | None:
        """Why nothing is to be gained any more, where that is so."""
        if self.nearest is None:
            return None
        if self.nearest.within <= limits.tol:
            return "tolerance"
        if self.nearest.within <= 2 * self.nearest.floor:
            return "rounding"
        stalled = self._since_best if stall else min(self._since_best, self._still)
        return (stall or "rounding") if stalled >= PATIENCE else None


class _Trace:
    """The steps of a descent, so thinned that their number is bounded; the first and last are there."""

    def __init__(self, q: int) -> None:
        self._most = max(LEAST_STEPS, min(MOST_STEPS, TRACE_NUMBERS // max(q, 1)))
        self._kept: list[Progress] = []
        self._every = 1
        self._taken = 0
        self._last: list[Progress] = []

    def take(self, step: Progress) -> None:
        """One more: every so many are kept, and where they become too many, half of them."""
        self._last = [step]
        if self._taken % self._every == 0:
            self._kept.append(step)
            self._last = []
        self._taken += 1
        if len(self._kept) > self._most:
            self._last = [] if self._kept[-1] is self._kept[::2][-1] else [step]
            self._kept = self._kept[::2]
            self._every *= 2

    @property
    def steps(self) -> tuple[Progress, ...]:
        return (*self._kept, *self._last)


def _progress(units: Coordinates, state: State, seconds: float, seen: Judgement | None) -> Progress:
    coef = units.coef(state.theta)[:, 0]
    coef.flags.writeable = False
    objective = None if state.value is None else state.value * float(units.target_scale[0]) ** 2
    within = None if seen is None or (seen.estimated and np.isinf(seen.within)) else seen.within
    estimated = seen is not None and seen.estimated
    return Progress(state.passes, seconds, objective, within, coef, estimated)
