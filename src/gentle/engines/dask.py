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
from weakref import WeakKeyDictionary

from gentle.engines.engine import BLOCKS_PER_WORKER, Done, P, S, blocks, in_order, silent, tree
from gentle.engines.pooled import WORKER, cores, unheard
from gentle.engines.telling import Told, heard, second, told, told_together
from gentle.errors import GentleError, first_line

SCHEME = "dask://"
PORT = 8786  # of a scheduler, where none is named
CONNECTED_WITHIN = 10  # seconds, or there is no scheduler
WORKERLESS = 120  # seconds that a pass waits for a cluster to have a worker
LOOKS = 1  # seconds between two looks at how far a pass is
DISTRIBUTION = "gentle-linear"
SCHEDULER = "the scheduler"
CHECKED: WeakKeyDictionary[Any, set[str]] = (
    WeakKeyDictionary()
)  # what of a client's has this version
CHECKED_WITHIN = 10  # seconds that new workers have to tell their version
LEAST = 0.01  # seconds for one of them
CLIENTS: dict[str | None, Any] = {}  # made here and kept, by the address of their scheduler


@dataclass(frozen=True)
class Dask:
    """A cluster by the address of its scheduler, such as 10.0.0.5:8786.

    Without one it is the client at hand, or a cluster that is made here.

    A task whose worker is lost is run again by the scheduler, on another worker.
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
        client, join = self._client(), told_together(merge)
        graph: dict[str, tuple[Any, ...]] = {}  # handed in at once: Dask keeps what is still needed

        def planned(*task: Any) -> str:
            graph[key := _key()] = task
            return key

        with _at_work(client, self.deadline) as most:
            runs = blocks(parts, most)
            tasks = [planned(partial(told, work, run, merge)) for run in runs]
            ends = [*tasks, tree(tasks, partial(planned, join))]
            with _large():
                *jobs, whole = client.get(graph, ends, sync=False)
            each = zip(jobs, runs, strict=True)
            left = {job: len(run) for job, run in each if job.key != whole.key}
            try:
                found: Told[S] = _result(client, whole, self.deadline, left, done)
            finally:
                if (
                    whole.status == "pending"
                ):  # all clients hear of it, and one that connects stumbles
                    client.cancel(whole)
                for job in (whole, *left):
                    job.release()
        return heard(found)

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        client = self._client()
        with _at_work(client, self.deadline) as most:
            for found in in_order(
                lambda part: client.submit(told, work, [part], second, key=_key(), pure=False),
                parts,
                most,
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
            try:
                own = get_client()
            except ValueError:
                own = None
            if own is not None and own.asynchronous:
                raise GentleError(
                    "the client of Dask at hand is asynchronous, and a fit waits for what it asks: name "
                    "the scheduler, as engine='dask://10.0.0.5:8786'"
                )
            if own is not None:
                return own
        kept = CLIENTS.get(self.address)
        if kept is None or kept.status != "running":
            kept = CLIENTS[self.address] = _connected(self.address) if self.address else _own()
        return kept


@contextmanager
def _at_work(client: Any, deadline: float | None) -> Iterator[int]:
    """How many blocks of parts are handed in at a time, of a cluster that is fit for the work."""
    with _in_sentences(), _aside():
        workers = _workers(client)
        _check(client, [*workers], deadline)
        yield BLOCKS_PER_WORKER * max(1, sum(workers.values()))


def _large() -> Any:
    """Dask warns of graphs from 10 MB on, and the sums of some thousand columns are larger."""
    from dask import config

    return config.set({"distributed.admin.large-graph-warning-threshold": "1 GiB"})


@contextmanager
def _aside() -> Iterator[None]:
    """A task of Dask that waits for others gives them its thread."""
    from distributed import get_worker, rejoin, secede

    try:
        get_worker()
        within = True
    except ValueError:
        within = False
    if within:
        secede()
    try:
        yield
    finally:
        if within:
            rejoin()


def _check(client: Any, workers: Sequence[str], deadline: float | None) -> None:
    """Raises GentleError where the scheduler or a worker that is new has another version of gentle.

    A worker that cannot unpack the work would end over and over, and say so to its own log alone.
    """
    try:
        own = version(DISTRIBUTION)
    except PackageNotFoundError:
        return  # a source tree, which has no version
    seen = CHECKED.setdefault(client, set())
    if SCHEDULER not in seen:
        try:
            _refuse_other(own, client.run_on_scheduler(version, DISTRIBUTION), SCHEDULER)
        except PackageNotFoundError:
            _refuse_other(own, None, SCHEDULER)
        seen.add(SCHEDULER)
    new = [place for place in workers if place not in seen]
    if not new:
        return
    asked = {
        place: client.submit(version, DISTRIBUTION, workers=[place], key=_key(), pure=False)
        for place in new
    }
    until = monotonic() + min(CHECKED_WITHIN, deadline or CHECKED_WITHIN)
    for place, job in asked.items():
        with suppress(TimeoutError):  # it stands still, or is gone: it has not answered
            error = job.exception(max(until - monotonic(), LEAST))
            if error is None:
                _refuse_other(own, job.result(), place)
                seen.add(place)
            elif isinstance(error, PackageNotFoundError):
                _refuse_other(own, None, place)
        job.release()


def _refuse_other(own: str, theirs: str | None, place: str) -> None:
    if theirs != own:
        raise GentleError(
            f"a cluster of Dask needs {DISTRIBUTION} {own} everywhere, as it is here, and {place} has "
            f"{theirs or 'none'}: pip install '{DISTRIBUTION}[dask]=={own}' there"
        )


def _key() -> str:
    """One of its own for each task: parts that look alike to Dask are not one part."""
    return f"gentle-{uuid4().hex}"


def _workers(client: Any) -> dict[str, int]:
    """The threads of each worker, by its address."""
    workers = client.scheduler_info(n_workers=-1).get("workers", {})
    return {place: int(worker["nthreads"]) for place, worker in workers.items()}


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
            if task.status == "error":  # a TimeoutError of its own, or one that came just now
                return task.result()
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
        elif _workers(client):
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

    protocol, _, host = address.removeprefix(SCHEME).rpartition("://")
    if not host:
        raise GentleError(
            "a cluster of Dask is named by its scheduler, such as dask://10.0.0.5:8786"
        )
    whole = f"{protocol or 'tcp'}://{host}" + (f":{PORT}" if ":" not in host else "")
    try:
        return Client(whole, timeout=CONNECTED_WITHIN, set_as_default=False)
    except (OSError, ValueError) as error:
        raise GentleError(
            f"no scheduler of Dask answers at {whole} ({first_line(error)}): give the address that it "
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
