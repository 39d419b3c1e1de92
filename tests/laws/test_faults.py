"""Laws of faults: whatever is lost on the way, the answer is right or a sentence says why there is none.

Workers are processes that are killed, stopped and cut off; nothing is acted.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from functools import partial
from operator import add
from pathlib import Path
from threading import Event, Thread, Timer

import distributed
import numpy as np
import polars as pl
import psutil
import pytest

import gentle
from gentle.engines import Dask, Processes, pooled
from gentle.engines import dask as dask_engine
from gentle.errors import GentleError, GentleWarning
from gentle.sources import files

LONG = 120  # seconds, after which a test has hung
KINDS = {"exact": {"errors": "HC1"}, "sgd": {"solver": "sgd"}}

LONG_EVIDENCE = pytest.mark.skipif(
    not os.environ.get("GENTLE_PROOFS"), reason="minutes of lost workers: GENTLE_PROOFS=1"
)


@pytest.fixture(scope="module")
def made():
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        protocol="tcp://",
        silence_logs=50,
    ) as cluster:
        yield cluster


@pytest.fixture
def cluster(made):
    """Two workers, whatever became of those of the test before: a nanny may give up its own for good."""
    made.scale(2)
    with distributed.Client(made, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=LONG)
    return made


@pytest.fixture(params=["processes", "dask"])
def engine(request):
    if request.param == "processes":
        return Processes(2)
    return Dask(request.getfixturevalue("cluster").scheduler_address)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A file that is read anew in every pass."""
    monkeypatch.setattr(files, "SMALL", 0)
    return written(tmp_path / "rows.parquet")


def written(path, n=100_000, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    y = x @ np.arange(1, 6) + rng.normal(size=n)
    pl.DataFrame(x, schema=list("abcde")).with_columns(y=y).write_parquet(path)
    return path


def fit(path, engine, kind="exact"):
    return gentle.fit(path, target="y", engine=engine, parts=8, **KINDS[kind])


def coefs(found):
    return np.array(list(found.coef.values()))


def within(seconds, call):
    """What a call returns or raises; an AssertionError where it hangs."""
    came = []

    def run():
        try:
            came.append((call(), None))
        except BaseException as error:
            came.append((None, error))

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert came, f"nothing after {seconds} seconds"
    found, error = came[0]
    if error is not None:
        raise error
    return found


# --- work that goes wrong -----------------------------------------------------------------------


def killed(part, mark=None):
    """Its worker is killed: once where there is a file for a mark, else always."""
    if mark is None or not mark.exists():
        if mark is not None:
            mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return part


def hung(part, mark=None):
    if mark is None or not mark.exists():
        if mark is not None:
            mark.touch()
        time.sleep(LONG)
    return part


def slow(part):
    time.sleep(0.3)
    return part


def raised(error, part):
    if part == 5:
        raise error
    return part


def warned(part):
    warnings.warn("some rows are odd", GentleWarning, stacklevel=2)
    return part


def passes(engine):
    """Both ways to work through parts, each as a sum."""
    yield lambda work: engine.reduce(work, range(8), add)
    yield lambda work: sum(engine.map(work, range(8)))


def test_a_worker_that_is_killed_once_is_made_up_for(engine, tmp_path):
    for at, run in enumerate(passes(engine)):
        mark = tmp_path / str(at)
        assert within(LONG, partial(run, partial(killed, mark=mark))) == 28
        assert mark.exists()


@LONG_EVIDENCE
def test_a_part_that_kills_its_worker_each_time_is_refused_and_the_next_pass_works(
    engine, monkeypatch
):
    monkeypatch.setattr(pooled, "ATTEMPTS", 2)
    for run in passes(engine):
        with pytest.raises(GentleError, match=r"lost.*parts="):
            within(LONG, partial(run, killed))
        assert within(LONG, partial(run, slow)) == 28


@LONG_EVIDENCE
def test_a_worker_that_hangs_is_replaced(tmp_path):
    for at, run in enumerate(passes(Processes(2, deadline=15))):
        assert within(LONG, partial(run, partial(hung, mark=tmp_path / str(at)))) == 28


@LONG_EVIDENCE
def test_workers_that_hang_each_time_are_refused_at_the_deadline(cluster, monkeypatch):
    monkeypatch.setattr(pooled, "ATTEMPTS", 2)
    for engine in (Processes(2, deadline=2), Dask(cluster.scheduler_address, deadline=2)):
        for run in passes(engine):
            with pytest.raises(GentleError, match="2 seconds"):
                within(LONG / 2, partial(run, hung))
    assert within(LONG, lambda: Processes(2).reduce(slow, range(8), add)) == 28


@pytest.mark.parametrize(
    "error",
    [
        GentleError("row 1,000,007 of t.csv is odd"),
        KeyError("k"),
        TimeoutError("the store is slow"),
    ],
)
def test_what_work_raises_arrives_as_it_is(engine, error):
    for run in passes(engine):
        with pytest.raises(type(error)) as seen:
            within(LONG, partial(run, partial(raised, error)))
        assert str(seen.value) == str(error)


class UnsentError(Exception):
    """One that cannot be made again from its message."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def unsent(part):
    raise UnsentError("this", part)


def test_what_cannot_be_sent_arrives_in_words(engine):
    for run in passes(engine):
        with pytest.raises(RuntimeError, match="UnsentError: this and"):
            within(LONG, partial(run, unsent))


def test_what_workers_warn_of_is_said_once_a_pass(engine):
    with pytest.warns(GentleWarning) as seen:
        assert engine.reduce(warned, range(8), add) == 28
    assert [str(each.message) for each in seen] == ["some rows are odd"]


# --- files --------------------------------------------------------------------------------------


def test_a_row_that_cannot_be_read_has_its_number_in_the_whole(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SMALL", 0)
    path = tmp_path / "t.csv"
    lines = [f"{i % 7},{i % 5}" for i in range(60_000)]
    lines[51_234] = "1,2,3"
    path.write_text("\n".join(["x,y", *lines]))
    with pytest.raises(GentleError) as here:
        fit(path, "here")
    with pytest.raises(GentleError) as there:
        fit(path, engine)
    assert str(there.value) == str(here.value)


@pytest.mark.parametrize(
    "change", [Path.unlink, partial(written, n=100_001), partial(written, seed=1)]
)
def test_a_file_that_changes_between_passes_is_refused(engine, table, change):
    seen = []

    def watch(_):
        seen.append(len(seen) or change(table))

    with pytest.raises(GentleError, match=r"rows\.parquet (was changed|.*no more)"):
        gentle.fit(table, target="y", engine=engine, parts=8, solver="sgd", tol=1e-9, watch=watch)
    assert seen


# --- a cluster ----------------------------------------------------------------------------------


def kill_some(cluster, kills, over):
    """Kills that many workers, one by one at random times, then says so."""
    chance = random.Random(1)
    while kills:
        time.sleep(chance.uniform(0.1, 3))
        cluster.scale(2)  # in place of a nanny that has given up
        running = [one.pid for one in cluster.workers.values() if one.status.name == "running"]
        if running:
            os.kill(chance.choice(running), signal.SIGKILL)
            kills -= 1
    over.set()


@LONG_EVIDENCE
def test_whichever_workers_are_killed_a_fit_is_right_or_refused(cluster, table):
    engine, over = Dask(cluster.scheduler_address), Event()
    true = {kind: fit(table, "here", kind) for kind in KINDS}
    errors = np.array(list(true["exact"].std_errors.values()))
    ends = {"right": 0, "refused": 0}
    Thread(target=kill_some, args=(cluster, 50, over), daemon=True).start()
    while not over.is_set():
        for kind, bound in (("exact", 1e-12), ("sgd", 2e-3 * errors)):
            try:
                found = within(LONG, partial(fit, table, engine, kind))
            except GentleError:
                ends["refused"] += 1
            else:
                assert (np.abs(coefs(found) - coefs(true[kind])) <= bound).all()
                ends["right"] += 1
    assert ends["right"] >= ends["refused"]
    np.testing.assert_allclose(
        coefs(within(LONG, partial(fit, table, engine))), coefs(true["exact"]), rtol=1e-12
    )


@LONG_EVIDENCE
def test_a_worker_that_stands_still_and_comes_back_is_waited_for(cluster, table):
    engine = Dask(cluster.scheduler_address)
    fit(table, engine)
    pid = next(iter(cluster.workers.values())).pid
    os.kill(pid, signal.SIGSTOP)
    Timer(2, os.kill, (pid, signal.SIGCONT)).start()
    found = within(LONG, partial(fit, table, engine))
    np.testing.assert_allclose(coefs(found), coefs(fit(table, "here")), rtol=1e-12)


def test_no_scheduler_at_the_address_is_refused():
    with pytest.raises(GentleError, match="no scheduler of Dask answers at tcp://127"):
        within(LONG, lambda: Dask(f"tcp://127.0.0.1:{free_port()}").reduce(slow, range(8), add))


@LONG_EVIDENCE
def test_a_scheduler_that_goes_away_is_said_and_found_again_once_it_is_back(monkeypatch):
    port = free_port()
    engine = Dask(f"tcp://127.0.0.1:{port}")
    for _ in range(2):
        scheduler = started("scheduler", "--host", "127.0.0.1", "--port", port)
        worker = started("worker", engine.address, "--nthreads", 1)
        try:
            monkeypatch.setattr(dask_engine, "CONNECTED_WITHIN", 30)
            assert within(LONG, lambda: engine.reduce(slow, range(8), add)) == 28
            Timer(0.7, scheduler.kill).start()
            with pytest.raises(GentleError, match="scheduler of Dask went away"):
                within(LONG, lambda: engine.reduce(slow, range(8), add))
            monkeypatch.setattr(dask_engine, "CONNECTED_WITHIN", 1)
            with pytest.raises(GentleError, match="no scheduler of Dask answers"):
                within(LONG, lambda: engine.reduce(slow, range(8), add))
        finally:
            ended(scheduler, worker)


def test_a_cluster_without_a_worker_is_said(monkeypatch):
    monkeypatch.setattr(dask_engine, "WORKERLESS", 1)
    monkeypatch.setattr(dask_engine, "LOOKS", 1)
    port = free_port()
    scheduler = started("scheduler", "--host", "127.0.0.1", "--port", port)
    try:
        with pytest.raises(GentleError, match="had no worker"):
            within(LONG, lambda: Dask(f"tcp://127.0.0.1:{port}").reduce(slow, range(8), add))
    finally:
        ended(scheduler)


def test_a_cluster_with_another_version_is_refused(tmp_path):
    old = tmp_path / "gentle_linear-0.0.1.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: gentle-linear\nVersion: 0.0.1\n")
    for newer, older in (("worker", "scheduler"), ("scheduler", "worker")):
        address = f"tcp://127.0.0.1:{(port := free_port())}"
        given = {"scheduler": ("--host", "127.0.0.1", "--port", port), "worker": (address,)}
        before = {newer: (), older: (tmp_path,)}
        cluster = [started(kind, *given[kind], before=before[kind]) for kind in given]
        try:
            with distributed.Client(address, timeout=LONG, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=LONG)
            with pytest.raises(GentleError, match=r"scheduler has 0\.0\.1|tcp://.* has 0\.0\.1"):
                within(LONG, partial(Dask(address).reduce, slow, range(8), add))
        finally:
            ended(*cluster)


def mounts():
    """Whether a process may have a /dev/shm of its own here."""
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/dev/shm"]
    return shutil.which("unshare") and not subprocess.run(command, capture_output=True).returncode


@pytest.mark.skipif(not mounts(), reason="a worker with a memory of its own needs root")
def test_rows_in_memory_are_refused_where_a_worker_is_on_another_machine():
    """One that has another /dev/shm."""
    address = f"tcp://127.0.0.1:{(port := free_port())}"
    apart = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev/shm && exec "$@"', "sh")
    cluster = [
        started("scheduler", "--host", "127.0.0.1", "--port", port),
        started("worker", address, inside=apart),
    ]
    rows = (np.arange(8.0)[:, None] ** 2, np.arange(8.0))
    try:
        with pytest.raises(GentleError, match="another one: put them in a file"):
            within(LONG, lambda: gentle.fit(rows, engine=Dask(address), parts=2))
    finally:
        ended(*cluster)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(kind, *arguments, before=(), inside=()):
    """A process of Dask, with folders before the others on Python's path, inside of what runs it."""
    return subprocess.Popen(
        [
            *inside,
            sys.executable,
            "-m",
            f"distributed.cli.dask_{kind}",
            *map(str, arguments),
            "--no-dashboard",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*before, *sys.path]))},
    )


def ended(*processes):
    for process in processes:
        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            one.kill()
        process.wait()


# --- Ctrl-C -------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["here", "threads:2", "processes:2", "dask"])
def test_ctrl_c_ends_a_fit_and_its_workers(engine, tmp_path, environment):
    """The terminal sends it to the whole group of processes."""
    path = written(tmp_path / "t.parquet", 2_000_000)
    command = "from gentle.cli import main; print('here', flush=True); main()"
    arguments = ["fit", path, "--target", "y", "--engine", engine]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    process.stdout.readline()
    workers = wait_for_workers(process, 0 if engine in ("here", "threads:2") else 2)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.startswith("Interrupted")
    assert err.count("\n") == 1
    assert not psutil.wait_procs(workers, timeout=5)[1]
    memory = Path("/dev/shm")
    assert not memory.exists() or not [*memory.glob(f"*-{process.pid}-*")]


def wait_for_workers(process, number):
    """The processes below one, once there are so many."""
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        found = psutil.Process(process.pid).children(recursive=True)
        if len(found) >= number:
            return found
        time.sleep(0.05)
    raise AssertionError("no workers")
