"""Processes made by fork: the threads of polars and of torch's arithmetic do not exist there.

A fork copies the memory of a process and one of its threads. A thread pool that had started seems to run
in the copy and does not, so that whoever gives it work waits forever. The hook only looks and remembers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gentle.errors import GentleError

THREADS = Path("/proc/self/task")  # of this process, where the system lists them
POOL = "polars-"  # the names of the threads of polars' pool, "polars-0" the first


class _Fork:
    """What this process was when it was last forked, and what it lacks if it is a child."""

    def __init__(self) -> None:
        self.is_child = False
        self.lost_pool = False  # whether polars' pool is believed to run and does not
        self._had_pool = False

    def before(self) -> None:
        self._had_pool = _has_pool()

    def in_child(self) -> None:
        self.is_child = True
        self.lost_pool = self.lost_pool or self._had_pool


FORK = _Fork()


def _has_pool() -> bool:
    """Whether polars' threads run; where the system does not list them, whether it is loaded."""
    if "polars" not in sys.modules:
        return False
    try:
        names = [(task / "comm").read_text() for task in THREADS.iterdir()]
    except OSError:
        return True
    return any(name.startswith(POOL) and name[len(POOL) :].strip().isdigit() for name in names)


def watch_forks() -> None:
    """Remember at each fork which threads the child will lack."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=FORK.before, after_in_child=FORK.in_child)


def reject_lost_pool() -> None:
    """Raises GentleError where polars would wait forever for threads that a fork did not copy."""
    if FORK.lost_pool:
        raise GentleError(
            "this process was forked after polars had started its threads, which do not exist here: "
            "frames, files and formulas would wait for them forever. Start it with "
            "multiprocessing.get_context('spawn'), or give arrays without a formula, which work here too"
        )


def use_own_thread() -> None:
    """In a forked process torch computes in the one thread that there is, as torch's own workers do."""
    torch = sys.modules.get("torch")
    if FORK.is_child and torch is not None and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
