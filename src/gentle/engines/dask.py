"""Workers of a Dask cluster, which merge among themselves: one result comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from time import monotonic
from typing import Any, ClassVar
from uuid import uuid4
from weakref import WeakSet

from gentle.engines.engine import BLOCKS_PER_WORKER, Done, P, S, blocks, in_order, silent, tree
from gentle.engines.pooled import WORKER, cores, unheard
from gentle.engines.telling import Told, heard, second, told, told_together
from gentle.errors import GentleError, first_line

CONNECTED_WITHIN = 10  # seconds, or there is no scheduler
WORKERLESS = 120  # seconds that a pass waits for a cluster to have a worker
LOOKS = 1  # seconds between two looks at how far a pass is
DISTRIBUTION = "gentle-linear"
CHECKED: WeakSet[Any] = WeakSet()  # clients whose clusters have this version of it
CLIENTS: dict[str | None, Any] = {}  # made here and kept, by the address of their scheduler


@dataclass(frozen=True)
class Dask:
    """A cluster by the address of its scheduler; without one the client at hand, or a cluster made here.

    A task whose worker is lost is run again by the scheduler, on another worker.
    """

    address: str | None = None
    deadline: float | None = None  # seconds for a pass
    near: ClassVar[bool] = False

    def reduce(
        self,
        work: Callable[[P], S],
        parts: Sequence[P],
        merge: Callable[[S, S], S],
        done: Done = silent,
    ) -> S:
        client, join = self._client(), told_together(merge)
        graph: dict[str, tuple[Any, ...]] = {}  # handed in at once: Dask keeps what is still needed

        def planned(*task: Any) -> str:
            graph[key := _key()] = task
            return key

        with _in_sentences():
            runs = blocks(parts, _most(_checked(client)))
            tasks = [planned(partial(told, work, run, merge)) for run in runs]
            *jobs, whole = client.get(
                graph, [*tasks, tree(tasks, partial(planned, join))], sync=False
            )
            left = {job: len(run) for job, run in zip(jobs, runs, strict=True)}
            try:
                found: Told[S] = _result(client, whole, self.deadline, left, done)
            finally:
                client.cancel(whole)
                for job in left:
                    job.release()
        return heard(found)

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        client = self._client()
        with _in_sentences():
            for found in in_order(
                lambda part: client.submit(told, work, [part], second, key=_key(), pure=False),
                parts,
                _most(_checked(client)),
                lambda task: _result(client, task, self.deadline, {}),
            ):
                yield heard(found)

    def _client(self) -> Any:
        try:
            from distributed import get_client
        except ImportError:
            raise GentleError(
                "engine='dask' needs dask.distributed, which is not here: pip install 'gentle-linear[dask]'"
            ) from None
        if self.address is None:
            with suppress(ValueError):
                return get_client()
        kept = CLIENTS.get(self.address)
        if kept is None or kept.status != "running":
            kept = CLIENTS[self.address] = _connected(self.address) if self.address else _own()
        return kept


def _checked(client: Any) -> Any:
    """The client, once it is known that its cluster has this version of gentle.

    A worker that cannot unpack the work would end over and over, and say so to its own log alone.
    """
    if client not in CHECKED:
        try:
            own = version(DISTRIBUTION)
        except PackageNotFoundError:
            return client  # a source tree, which has no version
        try:
            found = {"its scheduler": client.run_on_scheduler(version, DISTRIBUTION)}
        except PackageNotFoundError:
            found = {"its scheduler": None}
        found |= client.run(version, DISTRIBUTION, on_error="return")
        for place, theirs in found.items():
            if theirs != own:
                has = theirs if isinstance(theirs, str) else "none"
                raise GentleError(
                    f"a cluster of Dask needs {DISTRIBUTION} {own} everywhere, as it is here, and {place} "
                    f"has {has}: pip install '{DISTRIBUTION}[dask]=={own}' there"
                )
        CHECKED.add(client)
    return client


def _key() -> str:
    """One of its own for each task: parts that look alike to Dask are not one part."""
    return f"gentle-{uuid4().hex}"


def _most(client: Any) -> int:
    """How many blocks of parts are handed in at a time."""
    return BLOCKS_PER_WORKER * max(1, sum(_threads(client)))


def _threads(client: Any) -> list[int]:
    """The threads of each worker."""
    workers = client.scheduler_info(n_workers=-1).get("workers", {})
    return [int(worker["nthreads"]) for worker in workers.values()]


def _result(
    client: Any,
    task: Any,
    deadline: float | None,
    left: dict[Any, int],
    done: Done = silent,
) -> Any:
    """What comes of a task, told meanwhile of those that it waits for, which are let go once they are done.

    Raises GentleError where that takes longer than the deadline, or the cluster has no worker.
    """
    began = staffed = monotonic()
    while True:
        try:
            return task.result(LOOKS if deadline is None else min(LOOKS, deadline))
        except TimeoutError:
            if task.status == "error":
                raise
        now = monotonic()
        if deadline is not None and now - began >= deadline:
            raise GentleError(
                f"the cluster of Dask did not finish a pass within {deadline:g} seconds: give it more "
                "time, or look at its dashboard for what holds it up"
            )
        if came := [job for job in left if job.status == "finished"]:
            done(sum(map(left.pop, came)))
            for job in came:
                job.release()
            staffed = now
        elif _threads(client):
            staffed = now
        elif now - staffed >= WORKERLESS:
            raise GentleError(
                f"the cluster of Dask has had no worker for {WORKERLESS:g} seconds: start some, or look "
                "at why they ended"
            )


@contextmanager
def _in_sentences() -> Iterator[None]:
    """What a cluster that does not bring a result back raises, as GentleError."""
    from distributed import CancelledError, KilledWorker
    from distributed.client import ClosedClientError
    from distributed.comm.core import CommClosedError

    try:
        yield
    except KilledWorker:
        raise GentleError(
            "workers of Dask were lost at the same part, more often than it allows; often they were "
            "out of memory: take more and smaller parts (parts=), or look at the workers' logs"
        ) from None
    except (CancelledError, ClosedClientError, CommClosedError) as error:
        raise GentleError(
            f"the scheduler of Dask went away in the middle of a pass ({first_line(error)}): start it "
            "again, then the fit"
        ) from None


def _connected(address: str) -> Any:
    from distributed import Client

    try:
        return Client(address, timeout=CONNECTED_WITHIN, set_as_default=False)
    except OSError as error:
        raise GentleError(
            f"no scheduler of Dask answers at {address} ({first_line(error)}): give the address that it "
            "shows when it starts, such as dask://10.0.0.5:8786"
        ) from None


def _own() -> Any:
    """A cluster of one thread a process on this machine, which ends with this process."""
    from distributed import Client
    from distributed.deploy.subprocess import SubprocessCluster

    # not LocalCluster, whose workers would run the caller's script once more
    with unheard():
        cluster = SubprocessCluster(
            n_workers=cores(),
            threads_per_worker=1,
            dashboard_address=":0",
            worker_kwargs={"env": WORKER},
        )
        return Client(cluster, set_as_default=False)
