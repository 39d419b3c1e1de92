"""Workers of a Ray cluster, which merge among themselves: one result comes back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any, ClassVar

from gentle.engines.engine import BLOCKS_PER_WORKER, Done, P, S, blocks, in_order, silent, tree
from gentle.engines.pooled import ATTEMPTS, WORKER, cores
from gentle.engines.telling import Told, heard, second, told, told_together
from gentle.errors import GentleError, first_line

CONNECTED: list[str] = []  # the address that this process was connected by, as it was given
LOOKS = 1  # seconds between two looks at how many blocks are done


@dataclass(frozen=True)
class Ray:
    """A cluster by the address of its head, such as 10.0.0.5:6379; without one the cluster that this
    process is connected to, or one that is made here.

    A task whose worker is lost is run again by Ray, on another worker.
    """

    address: str | None = None
    deadline: float | None = None  # seconds for a pass, or for a part of predictions
    near: ClassVar[bool] = False

    def reduce(
        self,
        work: Callable[[P], S],
        parts: Sequence[P],
        merge: Callable[[S, S], S],
        done: Done = silent,
    ) -> S:
        most, join = _most(self.address), told_together(merge)
        tasks: list[_Task] = []

        def submit(*task: Any) -> _Task:
            tasks.append(_submitted(*task))
            return tasks[-1]

        with _in_sentences(self.deadline):
            try:
                runs = {submit(told, work, run, merge): len(run) for run in blocks(parts, most)}
                whole = tree(runs, lambda one, two: submit(join, one.reference, two.reference))
                found: Told[S] = _awaited(whole, runs, self.deadline, done)
            except BaseException:
                for task in tasks:
                    task.cancel()
                raise
        return heard(found)

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        most = _most(self.address)
        with _in_sentences(self.deadline):
            for found in in_order(
                lambda part: _submitted(told, work, [part], second),
                parts,
                most,
                lambda task: task.result(self.deadline),
            ):
                yield heard(found)


@dataclass(frozen=True)
class _Task:
    """A task of Ray with the methods of a future."""

    reference: Any

    def result(self, timeout: float | None) -> Any:
        import ray

        return ray.get(self.reference, timeout=timeout)

    def cancel(self) -> None:
        import ray

        ray.cancel(self.reference, force=True)  # its worker too, which may hang


def _awaited(whole: _Task, runs: dict[_Task, int], deadline: float | None, done: Done) -> Any:
    """The result of the whole, its blocks told of meanwhile."""
    import ray

    left = {task.reference: size for task, size in runs.items()}
    until = inf if deadline is None else monotonic() + deadline
    while left and (rest := until - monotonic()) > 0:
        came, _ = ray.wait([*left], num_returns=len(left), timeout=min(LOOKS, rest))
        done(sum(map(left.pop, came)))
    return whole.result(None if deadline is None else max(until - monotonic(), 0))


def _submitted(task: Callable[..., Any], *given: Any) -> _Task:
    import ray

    settings = {"max_retries": ATTEMPTS - 1, "runtime_env": {"env_vars": WORKER}}
    return _Task(ray.remote(num_cpus=1, **settings)(_called).remote(task, *given))


def _called(task: Callable[..., Any], *given: Any) -> Any:
    """A partial as a function, which is what Ray runs."""
    return task(*given)


def _most(address: str | None) -> int:
    """How many blocks of parts are handed in at a time; connects to the cluster where that is due."""
    try:
        import ray
    except ImportError:
        raise GentleError(
            "engine='ray' needs Ray, which is not here: pip install 'gentle-linear[ray]'"
        ) from None
    if not ray.is_initialized():
        _connect(ray, address)
    elif address not in (None, here := ray.get_runtime_context().gcs_address, *CONNECTED):
        raise GentleError(
            f"this process is connected to Ray at {here}, and cannot be to {address} as well: leave "
            "the address out, or end that with ray.shutdown()"
        )
    return BLOCKS_PER_WORKER * max(1, int(ray.cluster_resources().get("CPU", 1)))


def _connect(ray: Any, address: str | None) -> None:
    """To the cluster of an address or of the environment, else to one of this machine's cores."""
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    address = address or os.environ.get("RAY_ADDRESS")
    if not address:
        ray.init("local", num_cpus=cores(), include_dashboard=False, **quiet)
        return
    try:
        ray.init(address, **quiet)
        CONNECTED[:] = [address]
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise GentleError(
            f"no cluster of Ray answers at {address} ({first_line(error)}): give the address that "
            "`ray start --head` shows, such as 10.0.0.5:6379"
        ) from None


@contextmanager
def _in_sentences(deadline: float | None) -> Iterator[None]:
    """What a cluster that does not bring a result back raises, as GentleError."""
    from ray.exceptions import GetTimeoutError, RayError, RayTaskError

    try:
        yield
    except GetTimeoutError:
        raise GentleError(
            f"the cluster of Ray did not finish a pass within {deadline} seconds: give it more time, "
            "or look at its dashboard for what holds it up"
        ) from None
    except RayError as error:
        cause: BaseException = error
        while isinstance(cause, RayTaskError):  # of the task itself, or of one that it waited for
            cause = cause.cause
        if not isinstance(cause, RayError):
            raise cause from None
        raise GentleError(
            f"workers of Ray were lost at the same part, more often than it allows "
            f"({first_line(cause)}); often they were out of memory: take more and smaller parts "
            "(parts=), or look at the workers' logs"
        ) from None
