"""The same answer on every engine: a fit, its errors, predictions and a certificate, in any parts.

Same parts, same bits; other parts, the same to rounding.
"""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Lock

import dask.dataframe as dd
import distributed
import numpy as np
import polars as pl
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

import gentle
from gentle import GentleError, GentleWarning
from gentle.design import Rows, learn_design
from gentle.engines import Watched
from gentle.engines.engine import tree
from gentle.spreading import placed

ENGINES = ["here", "threads:1", "threads:8", "processes:2", "dask"]
ASKED = [{}, {"errors": "HC1"}, {"cluster": "k"}, {"weights": "w"}, {"method": "qr"}]
N = 6_007
FORMULA = "y ~ a + bs(b, df=4) + C(g) + a:b"
CLOSE = 1e-12


def table(n=N):
    rng = np.random.default_rng(11)
    frame = pl.DataFrame(
        {
            "a": rng.normal(3, 2, n),
            "b": rng.uniform(size=n),
            "g": rng.choice(["north", "south", "west"], n),
            "w": rng.uniform(0.5, 2, n),
            "k": rng.integers(0, 40, n),
        }
    )
    noise = pl.Series(rng.normal(size=n)) + (pl.col("k") / 40)
    return frame.with_columns(y=2 * pl.col("a") + (5 * pl.col("b")).sin() + noise)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("rows") / "rows.parquet"
    table().write_parquet(found, row_group_size=500)
    return found


@pytest.fixture(params=["file", "files", "csv", "frame"])
def rows(request, path, tmp_path, monkeypatch):
    """The same rows, as workers come to them in different ways."""
    if request.param == "frame":
        return table()
    monkeypatch.setattr("gentle.sources.files.SMALL", 0)
    if request.param == "file":
        return path
    if request.param == "csv":
        table().write_csv(tmp_path / "rows.csv")
        return tmp_path / "rows.csv"
    for at, start in enumerate([0, 10, 2_500, 2_501]):
        stop = [10, 2_500, 2_501, N][at]
        table()[start:stop].write_parquet(tmp_path / f"{at}.parquet")
    return tmp_path


def numbers(fit):
    return np.array([*fit.coef.values(), *fit.std_errors.values(), fit.r2, fit.sigma])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fit_is_the_same_however_workers_come_to_the_rows(rows, engine):
    same(rows, engine, {"errors": "HC1"})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_a_fit_is_the_same_with_any_errors(path, engine, asked):
    same(path, engine, asked)


def same(rows, engine, asked):
    whole = gentle.fit(rows, FORMULA, **asked)
    found = gentle.fit(rows, FORMULA, engine=engine, parts=8, **asked)
    np.testing.assert_allclose(numbers(found), numbers(whole), rtol=CLOSE)
    assert found.tally == whole.tally
    with threadpool_limits(1):
        here = gentle.fit(rows, FORMULA, parts=8, **asked)
    np.testing.assert_array_equal(numbers(found), numbers(here))


@pytest.mark.parametrize("engine", ENGINES)
def test_arrays_and_a_test_set_are_the_same(engine):
    frame = table()
    pair = frame.select("a", "b", "w").to_numpy(), frame["y"].to_numpy()
    whole, found = (
        gentle.fit(pair, test=0.25, shuffle=True, cluster=frame["k"].to_numpy(), **where)
        for where in ({}, {"engine": engine, "parts": 5})
    )
    np.testing.assert_allclose(numbers(found), numbers(whole), rtol=CLOSE)
    assert found.held_out.r2 == pytest.approx(whole.held_out.r2, rel=CLOSE)


@pytest.mark.parametrize(
    ("solver", "engine"),
    [*(("sgd", each) for each in ENGINES), ("cg", "threads:2"), ("gd", "threads:2")],
)
def test_a_descent_comes_to_its_tolerance(path, solver, engine):
    found = gentle.fit(path, "y ~ a + b + C(g)", solver=solver, engine=engine, parts=4)
    assert found.way.stop == "tolerance"
    assert found.certificate.in_se <= 1e-3
    here = gentle.fit(path, "y ~ a + b + C(g)", solver=solver, parts=4)
    assert found.certificate.in_se == pytest.approx(here.certificate.in_se, rel=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_predictions_and_a_certificate_are_the_same(engine, monkeypatch, tmp_path):
    rows = table()
    monkeypatch.setattr("gentle.spreading.PART_NUMBERS", 6_000)
    fit = gentle.fit(rows, FORMULA)
    np.testing.assert_allclose(fit.predict(rows, engine=engine), fit.predict(rows), rtol=CLOSE)
    written = fit.predict_to(rows, tmp_path / "out.csv", append=True, engine=engine)
    assert written.n_rows == N
    assert pl.read_csv(tmp_path / "out.csv")["a"].to_list() == table()["a"].to_list()
    assert gentle.certify(fit, rows, FORMULA, engine=engine, parts=3).in_se < 1e-6


def test_a_pool_of_the_caller_works_too():
    frame = table()
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = gentle.fit(frame, FORMULA, engine=pool, parts=4, errors="HC3")
    np.testing.assert_array_equal(
        numbers(found), numbers(gentle.fit(frame, FORMULA, engine="threads", parts=4, errors="HC3"))
    )


def test_ranks_of_torchrun_all_have_the_answer(path, tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text(
        textwrap.dedent(f"""
        import gentle
        import gentle.engines
        for asked in ({{}}, {{"errors": "HC1"}}, {{"solver": "sgd"}}):
            here, ranks = (
                gentle.fit({str(path)!r}, {FORMULA!r}, engine=engine, parts=6, **asked)
                for engine in ("here", "torchrun")
            )
            assert here.coef == ranks.coef and here.std_errors == ranks.std_errors
        assert (ranks.predict({str(path)!r}, engine="torchrun") == ranks.predict({str(path)!r})).all()
        try:
            gentle.fit({str(path)!r}, "y ~ log(a - 3)", engine="torchrun", parts=6, missing="raise")
        except gentle.GentleError as error:
            assert "row" in str(error)
            print("refused")
        try:
            gentle.fit({str(path)!r}, "y ~ a", engine="torchrun", time_limit=1, solver="sgd")
        except gentle.GentleError as error:
            assert "max_passes" in str(error)
            print("bounded")
        engine, add = gentle.engines.Torchrun(), lambda one, two: one + two
        for n in (1, 2, 3, 7, 100):
            assert engine.reduce(lambda part: [part], range(n), add) == list(range(n))
            assert list(engine.map(lambda part: part**2, range(n))) == [at**2 for at in range(n)]
        try:
            engine.reduce(lambda part: part, ["a", "b", 3, "d"], add)
        except TypeError:
            print("unmerged")
        """)
    )
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3", str(script)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert (
        run.stdout.count("refused")
        == run.stdout.count("bounded")
        == run.stdout.count("unmerged")
        == 3
    )


def test_parts_follow_from_the_rows_and_not_from_the_workers(path, monkeypatch):
    monkeypatch.setattr("gentle.sources.files.SMALL", 0)
    monkeypatch.setattr("gentle.spreading.PART_NUMBERS", 6_000)
    source = gentle.sources.open_source(path)
    counts = set()
    for engine in ("threads:1", "threads:7", "processes:2"):
        with placed(source, engine) as place:
            counts.add(place.parts)
    assert counts == {N * 6 // 6_000}
    with placed(source, "here") as place:
        assert place.parts == 1


def test_rows_in_memory_are_lent_and_given_back():
    with placed(gentle.sources.open_source(table()), "processes:2", 2) as place:
        (file,) = place.source.reader.paths
        assert Path(file).exists()
    assert not Path(file).exists()


def test_predictions_that_somebody_watches_go_to_processes(path, tmp_path):
    fit, lock, seen = gentle.fit(path, "y ~ a"), Lock(), []

    def watch(*told):
        with lock:  # which cannot be sent
            seen.append(told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gentle.spreading.PART_NUMBERS", 6_000)
        fit.predict_to(path, tmp_path / "out.parquet", engine=Watched("processes:2", watch))
    np.testing.assert_array_equal(
        pl.read_parquet(tmp_path / "out.parquet")["prediction"], fit.predict(path)
    )
    assert seen[-1] == (6, 6)


@pytest.mark.parametrize("engine", [gentle.engines.Threads, gentle.engines.Processes])
def test_numbers_of_workers_and_deadlines_are_looked_at(engine):
    for workers in (0, -1, 2.5, "a", True):
        with pytest.raises(GentleError, match="whole number of workers"):
            engine(workers)
    for deadline in (0, -1, "x", float("nan")):
        with pytest.raises(GentleError, match="number of seconds"):
            gentle.engines.Processes(2, deadline=deadline)


def test_a_pool_that_is_shut_down_is_refused():
    with ThreadPoolExecutor(2) as pool:
        pass
    with pytest.raises(GentleError, match="takes no more work"):
        gentle.fit(table(50), "y ~ a", engine=pool)


def test_rows_that_do_not_divide_stay_here_and_say_so():
    pieces = list(table().select("a", "b", "y").iter_slices(1_000))
    for data in (lambda: iter(pieces), iter(pieces)):
        with pytest.warns(GentleWarning, match=r"engine= does nothing for it"):
            found = gentle.fit(data, target="y", engine="processes:2")
        assert found.n_rows == N


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"engine": "thread"}, "there is no engine 'thread': did you mean 'threads'"),
        ({"engine": "threads:0"}, "'threads:4' or 'processes:4'"),
        ({"engine": "dask:4"}, "'threads:4' or 'processes:4'"),
        ({"engine": 4}, "a pool of concurrent.futures, and this is int"),
        ({"engine": "dask://127.0.0.1:9"}, r"no scheduler of Dask answers at tcp://127.0.0.1:9"),
        ({"engine": "torchrun"}, "torchrun --nproc-per-node"),
        ({"engine": "dask://tcp://127.0.0.1:9"}, "answers at tcp://127.0.0.1:9 "),
        ({"engine": "dask://127.0.0.1"}, "answers at tcp://127.0.0.1:8786 "),
        ({"engine": "dask://"}, "named by its scheduler"),
        ({"engine": gentle.engines.Threads}, "a pool of concurrent.futures, and this is type"),
        ({"engine": ProcessPoolExecutor(2, mp_context=get_context("fork"))}, "forked.*spawn"),
        ({"parts": 4_097}, "1 to 4,096, and is 4097"),
        ({"parts": 0}, "1 to 4,096, and is 0"),
        ({"parts": 1.5}, "1 to 4,096, and is 1.5"),
        ({"parts": True}, "1 to 4,096, and is True"),
    ],
)
def test_what_is_no_engine_is_refused(asked, sentence):
    with pytest.raises(GentleError, match=sentence):
        gentle.fit(table(50), "y ~ a", **asked)


def test_a_row_that_is_refused_by_a_worker_has_its_own_number():
    frame = table().with_columns(
        a=pl.when(pl.int_range(N) == 4_321).then(float("inf")).otherwise("a")
    )
    for engine in ("threads:2", "processes:2"):
        with pytest.raises(GentleError, match="infinite in row 4,322"):
            gentle.fit(frame, "y ~ a", engine=engine, parts=5)


@pytest.mark.parametrize("engine", ["here", "threads:2", "processes:2"])
def test_sparse_rows_stay_sparse_and_their_zeros_make_no_parts(engine):
    rng = np.random.default_rng(4)
    x = sparse.random_array((4_000, 5_000), density=1e-3, rng=rng, format="csr")
    y = x @ rng.normal(size=5_000) + rng.normal(size=4_000)
    with placed(gentle.sources.open_source((x, y)), engine) as place:
        assert place.parts == 1
    whole, found = (
        gentle.fit((x, y), l2=0.1, seed=1, engine=where, parts=parts)
        for where, parts in (("here", None), (engine, 4))
    )
    assert isinstance(found, gentle.Descended)
    np.testing.assert_allclose(found.predict(x), whole.predict(x), atol=1e-2)


def test_a_stochastic_pass_over_parts_makes_no_more_fragments_than_over_all(path, monkeypatch):
    monkeypatch.setattr("gentle.sources.files.SMALL", 0)
    source = gentle.sources.open_source(path)
    rows = Rows(source, learn_design(source, "y ~ a + b"))
    for parts in (1, 4, 16, 64, 100):
        pieces = rows.split(parts)
        assert sum(piece.fragments for piece in pieces) <= max(64, parts)
        assert (
            sum(len(batch.x) for piece in pieces for batch in piece.pools(np.random.default_rng(0)))
            == N
        )


def test_a_relative_path_leads_workers_to_the_file_and_its_folder_is_no_column(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("gentle.sources.files.SMALL", 0)
    folder = tmp_path / "run=3"
    folder.mkdir()
    table().write_parquet(folder / "rows.parquet")
    gentle.fit(table(), "y ~ a", engine="processes:2", parts=2)  # workers that began elsewhere
    monkeypatch.chdir(folder)
    here, there = (
        gentle.fit("rows.parquet", target="y", engine=engine, parts=3)
        for engine in ("here", "processes:2")
    )
    assert "run" not in here.coef
    assert there.coef == here.coef


class Where:
    """An engine that notes what it is given, and works here."""

    near = True

    def __init__(self):
        self.works = []

    def reduce(self, work, parts, merge, done=None):  # noqa: ARG002
        self.works.append((work.args[0].func.__name__, len(parts)))
        return tree(map(work, parts), merge)

    def map(self, work, parts):
        return map(work, parts)


@pytest.mark.parametrize("missing", ["drop", "mean", "indicator"])
@pytest.mark.parametrize("engine", ["here", "threads:3", "processes:2"])
def test_levels_and_means_are_learned_where_the_rows_are(missing, engine):
    """Each in one pass of its own, before that of the fit."""
    frame = table().with_columns(
        a=pl.when(pl.int_range(pl.len()) % 7 > 0).then("a"),
        g=pl.when(pl.int_range(pl.len()) % 11 > 0).then("g"),
    )
    counted = Where()
    whole, found, _ = (
        gentle.fit(frame, target="y", missing=missing, **where)
        for where in ({}, {"engine": engine, "parts": 8}, {"engine": counted, "parts": 8})
    )
    assert whole.names == found.names
    np.testing.assert_allclose(numbers(found), numbers(whole), rtol=CLOSE)
    learning = ["_means"] * (missing != "drop") + ["_seen"]
    assert counted.works[: len(learning) + 1] == [(each, 8) for each in (*learning, "_added_up")]


def test_a_text_that_should_be_numbers_has_its_first_word_of_all_parts():
    texts = [str(at) for at in range(4_000)]
    texts[3_111], texts[3_333] = "so", "what"
    frame = pl.DataFrame({"x": texts, "y": range(4_000)})
    with pytest.raises(GentleError, match="holds 'so' in row 3,112"):
        gentle.fit(frame, target="y", engine="threads:2", parts=7)


def test_a_dask_frame_that_is_persisted_is_read_where_its_workers_are():
    frame = table().to_pandas()
    whole = gentle.fit(frame, FORMULA)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, protocol="tcp://"
        ) as cluster,
        distributed.Client(cluster),
    ):
        held = dd.from_pandas(frame, npartitions=6).persist()
        for engine in ("here", "threads", "dask"):
            found = gentle.fit(held, FORMULA, engine=engine, parts=3)
            np.testing.assert_allclose(numbers(found), numbers(whole), rtol=CLOSE)
        with pytest.raises(GentleError, match="take engine='dask'"):
            gentle.fit(held, FORMULA, engine="processes:2", parts=3)
