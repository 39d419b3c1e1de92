"""The driver: runs any solver, keeps its trace, stops it on its certificate and shows progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from gentle.batch import Floats
from gentle.certificate import Certificate
from gentle.problem import Problem
from gentle.solvers import Solver, State

P = TypeVar("P", bound=Problem)
Stop = Literal["tolerance", "rounding", "wandering", "passes", "time", "interrupted"]
PATIENCE = 8  # states without a nearer one before a solver is taken to have stalled
STILL = 1e-14  # of theta: less than that a step that has arrived moves it


@dataclass(frozen=True, eq=False)
class Progress:
    """One line of a trace: where a solver stood after so many readings of the rows."""

    passes: float
    seconds: float
    objective: float | None  # where the solver has seen it
    within: float  # the distance to the minimiser, in yardsticks of the certificate
    theta: Floats  # (q, k)


@dataclass(frozen=True, eq=False)
class Outcome:
    """The best point a solver reached, how far it is from the minimiser, and why it stopped there."""

    theta: Floats  # (q, k)
    certificate: Certificate
    trace: tuple[Progress, ...]
    stop: Stop


def drive(
    solver: Solver[P],
    problem: P,
    start: State,
    judge: Callable[[Floats], Certificate],
    *,
    tol: float,
    max_passes: float,
    time_limit: float | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Let a solver go until its certificate meets tol, or there is nothing to be gained or spent.

    That is when rounding is all that is left, or max_passes or time_limit, in seconds, are used up. An
    interrupt (Ctrl-C) ends it too: the best point so far is the outcome.
    """
    began = time.perf_counter()
    trace: list[Progress] = []
    best, certificate = start, judge(start.theta)
    since_best = still = 0
    stop: Stop = "interrupted"
    try:
        for state in solver.steps(problem, start):
            state.theta.flags.writeable = False
            seen = judge(state.theta)
            seconds = time.perf_counter() - began
            last = trace[-1].theta if trace else start.theta
            still = still + 1 if _still(state.theta, last) else 0
            trace.append(Progress(state.passes, seconds, state.value, seen.within, state.theta))
            since_best += 1
            if seen.within < certificate.within:
                best, certificate, since_best = state, seen, 0
            if watch is not None:
                watch(trace[-1])
            if certificate.within <= tol:
                stop = "tolerance"
                break
            if certificate.within <= 2 * certificate.floor:
                stop = "rounding"
                break
            if (since_best if solver.stall else min(since_best, still)) >= PATIENCE:
                stop = solver.stall or "rounding"
                break
            if state.passes >= max_passes:
                stop = "passes"
                break
            if time_limit is not None and seconds >= time_limit:
                stop = "time"
                break
    except KeyboardInterrupt:
        pass
    return Outcome(best.theta, certificate, tuple(trace), stop)


def _still(theta: Floats, before: Floats) -> bool:
    """Whether a step has moved theta by no more than rounding does."""
    moved = np.abs(theta - before).max(initial=0.0)
    return bool(moved <= STILL * np.abs(theta).max(initial=0.0))
