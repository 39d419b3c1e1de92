"""Laws of engines: the parts fix the answer, the engine does not; each part comes back once.

A new engine is tested by being listed in `ENGINES`.
"""

import logging
import os
import shutil
import signal
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from operator import add
from threading import Thread
from typing import ClassVar

import distributed
import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

import gentle
from gentle.design import Held, Rows, learn_design
from gentle.engines import Dask, Executor, Here, Processes, Ray, Spark, Threads, Watched
from gentle.engines.engine import reduced, tree
from gentle.engines.telling import told
from gentle.errors import GentleError, GentleWarning
from gentle.exact import polish, solve
from gentle.passes import fold
from gentle.problem import reduce
from gentle.sources import Arrays
from gentle.statistics import Moments, Opening, Sample, Tally, Triangle


@dataclass(frozen=True)
class Backwards:
    """Works through the parts in the opposite order."""

    near: ClassVar[bool] = True

    def reduce(self, work, parts, merge):
        found = {at: work(parts[at]) for at in reversed(range(len(parts)))}
        return tree((found[at] for at in range(len(parts))), merge)


@dataclass(frozen=True)
class Wrong:
    """Brings back other parts than it was given."""

    change: Callable[[list], list]
    near: ClassVar[bool] = True

    def reduce(self, work, parts, merge):
        return reduced(work, self.change(list(parts)), merge)

    def map(self, work, parts):
        return map(work, self.change(list(parts)))


@pytest.fixture(scope="session")
def pool():
    with ThreadPoolExecutor(3) as threads:
        yield threads


@pytest.fixture(scope="session")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, protocol="tcp://"
    ) as made:
        yield made


@pytest.fixture(scope="session")
def ray():
    made = pytest.importorskip("ray", reason="Ray is not installed")
    made.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield made
    made.shutdown()


@pytest.fixture(scope="session")
def spark():
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not installed")
    return Spark()


ENGINES = {
    "here": lambda _: Here(),
    "backwards": lambda _: Backwards(),
    **{f"{n} threads": partial(lambda n, _: Threads(n), n) for n in (1, 2, 5, 8)},
    **{f"{n} processes": partial(lambda n, _: Processes(n), n) for n in (1, 2)},
    "a pool": lambda of: Executor(of("pool")),
    "dask": lambda of: Dask(of("cluster").scheduler_address),
    "ray": lambda of: of("ray") and Ray(),
    "spark": lambda of: of("spark"),
}


@pytest.fixture(params=ENGINES)
def engine(request):
    return ENGINES[request.param](request.getfixturevalue)


def rows(n=500, batch_rows=17):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)) * [1, 100, 1e-3] + [0, 1e4, 5]
    y = x @ [1, 0.5, 200] + rng.normal(size=n)
    source = Arrays(x, ("a", "b", "c"), {"y": y})
    return Rows(source, learn_design(source, targets=("y",)), batch_rows)


def numbers(opening):
    triangle = opening.sums.triangle()
    return np.concatenate(
        [[opening.tally.n_used], opening.sample.batch.rows, np.abs(triangle.r).ravel()]
    )


def opening():
    return Opening(Tally(), Moments(), Sample(40))


@pytest.mark.parametrize("parts", [1, 2, 3, 8, 64])
def test_where_the_work_runs_does_not_change_a_bit(engine, parts):
    with threadpool_limits(1):
        here = numbers(fold(opening(), replace(rows(), parts=parts)))
    there = numbers(fold(opening(), replace(rows(), parts=parts, engine=engine)))
    np.testing.assert_array_equal(there, here)


def test_where_a_polish_runs_does_not_change_a_bit(engine):
    triangle = fold(Moments(), rows()).triangle()
    coarse = solve(reduce(triangle, intercept=True, l2=0.0, n_used=500))
    here = polish(coarse, rows())
    there = polish(coarse, replace(rows(), engine=engine))
    assert here.polished
    for one, two in ((here.coef, there.coef), (here.low, there.low), (here.basis, there.basis)):
        np.testing.assert_array_equal(one, two)


@given(parts=st.integers(1, 700), n=st.integers(5, 600))
def test_any_number_of_parts_gives_the_same_answer(parts, n):
    whole = numbers(fold(opening(), rows(n)))
    np.testing.assert_allclose(
        numbers(fold(opening(), replace(rows(n), parts=parts))), whole, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("parts", [1, 2, 5, 40])
def test_batches_in_memory_split_into_the_same_rows(parts):
    held = Held(tuple(rows()))
    seen = np.concatenate([b.rows for part in held.split(parts) for b in part])
    np.testing.assert_array_equal(seen, np.arange(500))
    whole = numbers(fold(opening(), rows()))
    np.testing.assert_allclose(
        numbers(fold(opening(), replace(held, parts=parts))), whole, rtol=1e-9
    )


def test_a_triangle_folds_in_parts():
    coordinates = fold(Moments(), rows()).triangle().coordinates
    whole = fold(Triangle.zero(coordinates), rows()).r
    parted = fold(Triangle.zero(coordinates), replace(rows(), parts=7)).r
    np.testing.assert_allclose(parted.T @ parted, whole.T @ whole, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("parts", [2, 3, 5, 8])
@pytest.mark.parametrize(
    "change",
    [
        lambda parts: [*parts, parts[0]],
        lambda parts: [parts[0], *parts],
        lambda parts: parts[:-1],
        lambda parts: parts[1:],
        lambda parts: parts[::-1],
        lambda parts: [parts[0], *parts[2:]],
        lambda parts: [parts[0]] * len(parts),
    ],
)
def test_parts_that_come_twice_or_not_at_all_or_out_of_order_are_an_error(parts, change):
    with pytest.raises(RuntimeError, match="a pass"):
        fold(Moments(), replace(rows(), parts=parts, engine=Wrong(change)))


def test_no_rows_give_the_zero():
    assert fold(Moments(), Held(())).total == 0
    assert fold(Tally(), Held((), parts=3)).n_read == 0
    assert torch.get_default_dtype() == torch.float32  # nobody has changed it on the way


@pytest.fixture(params=["ray", "spark"])
def far(request):
    return ENGINES[request.param](request.getfixturevalue)


def test_what_the_work_refuses_is_said_as_it_is(far):
    def refused(part):
        raise GentleError(f"part {part} holds no number")

    with pytest.raises(GentleError, match=r"^part \d holds no number$"):
        far.reduce(refused, range(8), lambda one, two: one + two)
    with pytest.raises(GentleError, match=r"^part 0 holds no number$"):
        list(far.map(refused, range(8)))


def test_a_worker_that_is_killed_does_not_change_the_answer(far, tmp_path):
    def once_lost(part):
        if part == 3 and not (mark := tmp_path / "lost").exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [part]

    assert far.reduce(once_lost, range(9), lambda one, two: one + two) == list(range(9))
    assert (tmp_path / "lost").exists()


def test_workers_that_are_killed_again_and_again_are_told_of(far):
    def lost(_):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(GentleError, match=r"parts="):
        far.reduce(lost, range(2), lambda one, two: one + two)


def test_a_part_that_takes_too_long_on_ray_is_given_up(ray):
    assert ray.is_initialized()
    with pytest.raises(GentleError, match="within 2 seconds"):
        Ray(deadline=2).reduce(time.sleep, [60], lambda one, _: one)
    assert Ray(deadline=30).reduce(abs, [-1], lambda one, _: one) == 1


def test_parts_come_back_in_their_order(far):
    assert list(far.map(abs, range(-20, 0))) == list(range(20, 0, -1))


# --- how far a pass is --------------------------------------------------------------------------


def rested(part):
    time.sleep(0.1)
    return part


@pytest.mark.parametrize("name", ["here", "threads:2", "processes:2", "dask"])
def test_a_watched_pass_tells_of_all_its_parts_as_they_are_done(name, cluster, caplog):
    seen = []
    engine = Dask(cluster.scheduler_address) if name == "dask" else name
    watched = Watched(engine, lambda done, parts: seen.append((done, parts)))
    for run in (partial(watched.reduce, merge=add), lambda *given: sum(watched.map(*given))):
        assert run(rested, range(32)) == sum(range(32))
        done = [so_far for so_far, parts in seen if parts == 32]
        assert len(done) == len(seen) > 1
        assert done == sorted(set(done))
        assert done[-1] == 32
        seen.clear()
    failed = [log for log in caplog.records if log.levelno >= logging.ERROR]
    assert not [
        log for log in failed if log.name != "distributed.client"
    ]  # of a cluster that is gone


def test_who_watches_does_not_change_how_many_parts_there_are():
    rows = (np.arange(40.0).reshape(20, 2) ** 2, np.arange(20.0))
    seen = []
    watched = gentle.fit(rows, engine=Watched("here", lambda *told: seen.append(told)))
    assert set(seen) == {(1, 1)}
    assert watched.coef == gentle.fit(rows).coef
    with pytest.raises(GentleError, match="no engine 'there'"):
        gentle.fit(rows, engine=Watched("there", print))


KEPT = []


def kept(_):
    """The process that worked, which has 400 MB more than when it began."""
    if not KEPT:
        KEPT.append(np.ones(50_000_000))
    time.sleep(0.6)
    return {os.getpid()}


def test_processes_that_keep_memory_stay(recwarn):
    workers = Processes(2).reduce(kept, range(8), set.union)
    assert len(workers) == 2
    assert not recwarn


def test_executors_of_spark_merge_branches_in_order(spark, monkeypatch):
    monkeypatch.setattr("gentle.engines.spark._most", lambda _: 100)
    for n in (8, 9, 64, 70, 200):
        assert spark.reduce(lambda part: [part], range(n), add) == list(range(n))


# --- at the same time ---------------------------------------------------------------------------


def within_a_task(address):
    return Dask(address).reduce(rested, range(6), add)


def test_a_task_of_dask_may_make_a_pass_on_its_own_cluster(cluster):
    with distributed.Client(cluster, set_as_default=False) as client:
        tasks = [
            client.submit(within_a_task, cluster.scheduler_address, pure=False) for _ in range(3)
        ]
        assert client.gather(tasks) == [15] * 3


def warned_of(part):
    time.sleep(0.01)
    warnings.warn(f"row {part} is odd", GentleWarning, stacklevel=2)
    return [part]


def test_warnings_of_threads_of_one_worker_are_kept_apart(recwarn):
    with ThreadPoolExecutor(4) as threads:
        runs = [[at, at + 1] for at in range(0, 64, 2)]
        found = list(threads.map(lambda run: told(warned_of, run, add), runs))
    for run, one in zip(runs, found, strict=True):
        assert [str(warning) for warning in one.warnings] == [f"row {at} is odd" for at in run]
    assert not recwarn


def limits():
    pools = sorted((pool["filepath"], pool["num_threads"]) for pool in threadpool_info())
    return torch.get_num_threads(), pools


def test_threads_that_overlap_leave_as_many_threads_of_arithmetic_as_there_were():
    before, ends = limits(), []
    slow, slower = (
        Thread(target=lambda n=n: ends.append(Threads(2).reduce(rested, range(n), add)))
        for n in (6, 12)
    )
    for one in (slower, slow):
        one.start()
        time.sleep(0.15)
    for one in (slow, slower):
        one.join()
    assert ends == [15, 66]
    assert limits() == before
    own = Threads(2).reduce(lambda _: {torch.get_num_threads()}, range(4), set.union)
    assert own == {1}


def test_a_part_that_comes_twice_is_an_error_in_passes_that_learn():
    rows = {"x": [1.0, None, 3.0, 5.0] * 5, "g": list("abcd") * 5, "y": range(20)}
    for asked in ({"missing": "mean"}, {}):
        with pytest.raises(RuntimeError, match="got parts"):
            gentle.fit(
                pl.DataFrame(rows),
                target="y",
                engine=Wrong(lambda parts: [*parts[:1], *parts]),
                parts=4,
                **asked,
            )
