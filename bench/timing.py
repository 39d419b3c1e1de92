"""Times of several ways to do the same thing, taken in turns on the same threads."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from threadpoolctl import threadpool_info

REPETITIONS = 5
SHORTEST = 0.1  # seconds of one measurement: what is faster runs in a loop
QUIET = 0.05  # seconds before it: threads of the one before spin on for a while
NOISY = 1.5  # slowest over fastest, above which a line on stderr says so


def threads() -> str:
    """The pools of threads and how many each may use, and how many processes wanted a core."""
    pools = [f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()]
    return (
        f"threads: torch {torch.get_num_threads()}, {', '.join(sorted(pools))}; "
        f"load before: {os.getloadavg()[0]:.1f}"
    )


def medians(ways: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each, the median of runs in turns, so that a slow moment of the machine meets all."""
    loops = {name: _loop(run) for name, run in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPETITIONS):
        for name, run in ways.items():
            taken[name].append(_timed(run, loops[name]) / loops[name])
    for name, seconds in taken.items():
        if max(seconds) > NOISY * min(seconds):
            low, high = 1e3 * min(seconds), 1e3 * max(seconds)
            print(f"  noisy: {name} took {low:.1f} to {high:.1f} ms", file=sys.stderr)
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def _loop(run: Callable[[], object]) -> int:
    """How often to run within one measurement; the runs that find out are the warm-up."""
    run()
    return max(1, math.ceil(SHORTEST / _timed(run, 1)))


def _timed(run: Callable[[], object], times: int) -> float:
    """Seconds of so many runs."""
    time.sleep(QUIET)
    began = time.perf_counter()
    for _ in range(times):
        run()
    return time.perf_counter() - began
