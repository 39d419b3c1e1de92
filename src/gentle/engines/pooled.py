"""Pools of workers: threads, processes, and whatever else speaks `concurrent.futures`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures import Executor as Pool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from loky import get_reusable_executor
from loky.backend.utils import kill_process_tree
from loky.process_executor import ShutdownExecutorError

from gentle.engines.engine import (
    BLOCKS_PER_WORKER,
    Done,
    P,
    S,
    blocks,
    in_order,
    reduced,
    silent,
    tree,
)
from gentle.engines.onethread import ONE_THREAD
from gentle.engines.telling import Told, heard, second, told, told_together
from gentle.errors import GentleError, first_line, is_number, show_value

ATTEMPTS = 4  # at a pass whose workers are lost or hang
IDLE = 300  # seconds after which processes that wait for work end
WORKER = {  # environment of a process that works: one thread, and memory kept for the next batch
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
    ),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
}
LEAK = {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e18"}  # loky would end a process that keeps its buffers

T = TypeVar("T")


class LateError(Exception):
    """No worker has answered within the deadline."""


LOST = (BrokenExecutor, ShutdownExecutorError, LateError)  # and what they had is to be done again


def _refuse_numbers(workers: Any, deadline: Any = None) -> None:
    """Raises GentleError for what is no number of workers, and no time."""
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise GentleError(
            f"an engine has a whole number of workers, 1 or more, and not {show_value(workers)}"
        )
    if deadline is not None and not (is_number(deadline) and deadline > 0):
        raise GentleError(
            f"a deadline is a number of seconds above 0, and not {show_value(deadline)}"
        )


def refuse_forked(pool: Pool) -> None:
    """Raises GentleError for processes that are forked: they hang where this one has used threads."""
    context = getattr(pool, "_mp_context", None)
    if isinstance(pool, ProcessPoolExecutor) and context and context.get_start_method() == "fork":
        raise GentleError(
            "the processes of this pool are forked, and hang in threads that are not theirs: make it with "
            "ProcessPoolExecutor(4, mp_context=multiprocessing.get_context('spawn')), or take "
            "engine='processes:4'"
        )


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Threads:
    """Threads of this process, each with a block of parts and one thread of arithmetic."""

    workers: int = field(default_factory=cores)
    near: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _refuse_numbers(self.workers)

    def reduce(
        self,
        work: Callable[[P], S],
        parts: Sequence[P],
        merge: Callable[[S, S], S],
        done: Done = silent,
    ) -> S:
        with ONE_THREAD, self._pool() as pool:
            return Executor(pool, self.workers).reduce(work, parts, merge, done)

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        with ONE_THREAD, self._pool() as pool:
            yield from Executor(pool, self.workers).map(work, parts)

    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,))


@dataclass(frozen=True)
class Executor:
    """A pool that the caller has made, and ends."""

    pool: Pool
    workers: int = field(default_factory=cores)
    deadline: float | None = None  # seconds within which some block of parts must come back

    def __post_init__(self) -> None:
        _refuse_numbers(self.workers, self.deadline)

    @property
    def near(self) -> bool:
        return isinstance(self.pool, ThreadPoolExecutor)

    def reduce(
        self,
        work: Callable[[P], S],
        parts: Sequence[P],
        merge: Callable[[S, S], S],
        done: Done = silent,
    ) -> S:
        runs = dict(enumerate(blocks(parts, BLOCKS_PER_WORKER * self.workers)))
        submit, came = self._submit, _told_of(runs, done)
        try:
            if self.near:
                jobs = {at: submit(reduced, work, run, merge) for at, run in runs.items()}
                found: dict[int, S] = _gathered(jobs, self.deadline, came)
                return tree((found[at] for at in runs), merge)
            apart: dict[int, Future[Told[S]]] = {
                at: submit(told, work, run, merge) for at, run in runs.items()
            }
            return _merged(_gathered(apart, self.deadline, came), merge)
        except LOST as error:
            raise _lost(error, self.deadline) from None

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        most, result = BLOCKS_PER_WORKER * self.workers, _within(self.deadline)
        try:
            if self.near:
                yield from in_order(lambda part: self._submit(work, part), parts, most, result)
                return
            for found in in_order(_apart(self._submit, work), parts, most, result):
                yield heard(found)
        except LOST as error:
            raise _lost(error, self.deadline) from None

    def _submit(self, *task: Any) -> Future[Any]:
        try:
            return self.pool.submit(*task)
        except BrokenExecutor:
            raise
        except RuntimeError as error:
            raise GentleError(
                f"the pool of engine= takes no more work ({first_line(error)}): give one that is open"
            ) from None


@dataclass(frozen=True)
class Processes:
    """Processes of their own, started afresh and kept for later passes; each has one thread.

    Where one is lost, or none has answered within the deadline, all are replaced, and what they had not
    done is done again.
    """

    workers: int = field(default_factory=cores)
    deadline: float | None = None  # seconds within which some block of parts must come back
    near: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _refuse_numbers(self.workers, self.deadline)

    def reduce(
        self,
        work: Callable[[P], S],
        parts: Sequence[P],
        merge: Callable[[S, S], S],
        done: Done = silent,
    ) -> S:
        left = runs = dict(enumerate(blocks(parts, BLOCKS_PER_WORKER * self.workers)))
        found: dict[int, Told[S]] = {}
        for attempt in range(1, ATTEMPTS + 1):
            jobs: dict[int, Future[Told[S]]] = {}
            try:
                with self._pool() as pool:
                    jobs = {at: pool.submit(told, work, run, merge) for at, run in left.items()}
                    came = _gathered(jobs, self.deadline, _told_of(runs, done))
                    return _merged(found | came, merge)
            except LOST as error:
                if attempt == ATTEMPTS:
                    raise _lost(error, self.deadline) from None
                found |= {at: job.result() for at, job in jobs.items() if _succeeded(job)}
                left = {at: run for at, run in left.items() if at not in found}
        raise AssertionError  # the last attempt ends in one way or the other

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        at, most = 0, BLOCKS_PER_WORKER * self.workers
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._pool() as pool:
                    submit, result = _apart(pool.submit, work), _within(self.deadline)
                    for found in in_order(submit, parts[at:], most, result):
                        at += 1
                        yield heard(found)
                return
            except LOST as error:
                if attempt == ATTEMPTS:
                    raise _lost(error, self.deadline) from None

    @contextmanager
    def _pool(self) -> Iterator[Any]:
        """The processes, which end where some are lost, hang, or work for nobody after Ctrl-C."""
        with unheard():
            pool = get_reusable_executor(self.workers, timeout=IDLE, env=WORKER | LEAK)
            ready = pool.submit(cores)  # they start with the first job
        try:
            ready.result()  # a deadline is for the work, not for their start
            yield pool
        except (*LOST, KeyboardInterrupt):
            for process in [*pool._processes.values()]:
                kill_process_tree(
                    process
                )  # kill_workers= of the shutdown fails where a job was cancelled
            pool.shutdown(wait=True)
            raise


@contextmanager
def unheard() -> Iterator[None]:
    """Processes that start meanwhile do not hear Ctrl-C: it is for this one, which ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _apart(
    submit: Callable[..., Future[Any]], work: Callable[[P], S]
) -> Callable[[P], Future[Told[S]]]:
    """How a part is handed to a worker that does not see this memory."""
    return lambda part: submit(told, work, [part], second)


def _told_of(runs: dict[int, Sequence[P]], done: Done) -> Done:
    """What tells of the parts of a block by its number."""
    return lambda at: done(len(runs[at]))


def _gathered(
    jobs: dict[int, Future[T]], deadline: float | None, done: Done = silent
) -> dict[int, T]:
    """The results of all jobs, each told of by its number; on the first error those that have not begun
    are cancelled.

    Raises LateError where none comes back within the deadline.
    """
    numbers = {job: at for at, job in jobs.items()}
    waiting = set(numbers)
    try:
        while waiting:
            came, waiting = wait(waiting, deadline, FIRST_COMPLETED)
            if not came:
                raise LateError
            for job in came:
                job.result()
                done(numbers[job])
        return {at: job.result() for at, job in jobs.items()}
    finally:
        for job in waiting:
            job.cancel()


def _within(deadline: float | None) -> Callable[[Future[T]], T]:
    """How the result of one job is had."""
    return lambda job: _gathered({0: job}, deadline)[0]


def _succeeded(job: Future[T]) -> bool:
    return job.done() and not job.cancelled() and job.exception() is None


def _merged(found: dict[int, Told[S]], merge: Callable[[S, S], S]) -> S:
    return heard(tree((found[at] for at in sorted(found)), told_together(merge)))


def _lost(error: Exception, deadline: float | None) -> GentleError:
    """What is said where workers do not bring back what they were given."""
    if isinstance(error, LateError):
        return GentleError(
            f"no worker answered within the deadline of {deadline:g} seconds: give it more time, or look "
            "at what holds it up"
        )
    return GentleError(
        f"workers were lost in the middle of their work, more than once ({first_line(error)}); often they "
        "were out of memory: "
        "take fewer of them, or more and smaller parts (parts=)"
    )
