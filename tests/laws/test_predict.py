"""Predictions: the same numbers through every door, in the order of the rows, in memory that stays."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

import gentle
from gentle.predicting import COLUMNS
from gentle.sources import files

N = 90
ENDINGS = ("csv", "parquet", "arrow", "ipc", "feather", "ndjson", "jsonl")
HOLES = (3, 50)


def read(path):
    ending = path.suffix[1:]
    if ending in ("arrow", "ipc", "feather"):
        return pl.read_ipc(path.read_bytes())
    return {"csv": pl.read_csv, "parquet": pl.read_parquet}.get(ending, pl.read_ndjson)(path)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    a = [None if at in HOLES else value for at, value in enumerate(rng.normal(size=N))]
    return pl.DataFrame(
        {
            "id": [f"row {at}" for at in range(N)],
            "a": a,
            "g": [("north", 'south, "far"', "größe")[at % 3] for at in range(N)],
            "day": pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 3, 30), eager=True),
            "flag": rng.random(N) > 0.5,
            "whole": rng.integers(0, 9, size=N),
        }
    )


@pytest.fixture(scope="module")
def fit(rows):
    rng = np.random.default_rng(6)
    y = rows["a"].fill_null(0) * 2 + rows["whole"] + pl.Series(rng.normal(size=N))
    return gentle.fit(rows.with_columns(y=y), "y ~ a * C(g) + whole + flag", errors="HC1")


@pytest.fixture(scope="module")
def wanted(fit, rows):
    return fit.predict(rows, interval=0.9, kind="new")


# --- frames -------------------------------------------------------------------------------------


def test_without_an_interval_every_door_gives_numbers(fit, rows, wanted, tmp_path):
    rows.write_parquet(tmp_path / "new.parquet")
    for data in (rows, rows.to_pandas(), rows.to_arrow(), tmp_path / "new.parquet"):
        found = fit.predict(data)
        assert isinstance(found, np.ndarray)
        assert found.shape == (N,)
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(found)), HOLES)
        np.testing.assert_array_equal(found, wanted["prediction"].fill_null(np.nan).to_numpy())


def test_an_array_has_arrays_for_an_answer():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2))
    fit = gentle.fit((x, x[:, 0] + rng.normal(size=50)))
    found = fit.predict(x, interval=0.9)
    np.testing.assert_array_equal(found.value, fit.predict(x))
    frame = fit.predict(pl.DataFrame(x, schema=["x1", "x2"]), interval=0.9)
    assert [frame[name].to_numpy().tolist() for name in COLUMNS] == [
        it.tolist() for it in (found.value, found.std_error, found.low, found.high)
    ]


def test_a_frame_has_a_frame_of_its_kind_for_an_answer(fit, rows, wanted):
    pandas = rows.to_pandas().set_index(pd.Index(range(1000, 1000 + N), name="key"))
    for append in (False, True):
        asked = {"interval": 0.9, "kind": "new", "append": append}
        own = list(rows.columns) if append else []
        polars = fit.predict(rows, **asked)
        assert_frame_equal(polars, pl.concat([rows.select(own), wanted], how="horizontal"))
        table = fit.predict(rows.to_arrow(), **asked)
        assert isinstance(table, pa.Table)
        assert_frame_equal(pl.DataFrame(table), polars)
        found = fit.predict(pandas, **asked)
        assert isinstance(found, pd.DataFrame)
        pd.testing.assert_index_equal(found.index, pandas.index)
        assert list(found.columns) == [*own, *COLUMNS]
        pd.testing.assert_frame_equal(found[own], pandas[own])
        np.testing.assert_array_equal(found["high"], wanted["high"].fill_null(np.nan).to_numpy())


def test_columns_of_any_type_may_stay_beside_those_of_the_fit(rows):
    fit = gentle.fit(rows.with_columns(y=pl.int_range(N)), "y ~ C(whole)")
    beside = rows.with_columns(many=pl.Series([[1, 2]] * N), empty=pl.lit(None))
    found = fit.predict(beside, append=True)
    assert_frame_equal(found.drop("prediction"), beside)
    np.testing.assert_array_equal(found["prediction"], fit.predict(rows))


def test_nobody_s_frame_is_changed(fit, rows):
    for data in (rows.clone(), rows.to_pandas(), rows.to_arrow()):
        before = list(pl.DataFrame(data).columns)
        fit.predict(data, append=True)
        assert list(pl.DataFrame(data).columns) == before


def test_a_plan_is_answered_with_a_plan(fit, rows, wanted):
    found = fit.predict(rows.lazy(), interval=0.9, kind="new", append=True)
    assert isinstance(found, pl.LazyFrame)
    assert_frame_equal(found.collect(), pl.concat([rows, wanted], how="horizontal"))
    np.testing.assert_array_equal(fit.predict(rows.lazy()), fit.predict(rows))


def test_rows_that_come_once_are_predicted_as_they_come(fit, rows, wanted, tmp_path):
    pieces = (piece for piece in rows.iter_slices(7))
    fit.predict_to(pieces, tmp_path / "out.parquet", interval=0.9, kind="new", append=True)
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert_frame_equal(found, pl.concat([rows, wanted], how="horizontal"))


class Speaker:
    """A table of a library that nobody knows, which speaks Arrow."""

    def __init__(self, frame):
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema=None):
        return self._frame.__arrow_c_stream__(requested_schema)


def test_any_other_frame_is_answered_with_one_that_speaks_arrow_too(fit, rows, wanted):
    assert_frame_equal(fit.predict(Speaker(rows), interval=0.9, kind="new"), wanted)
    reader = pa.RecordBatchReader.from_stream(rows)  # is read once
    assert_frame_equal(fit.predict(reader, append=True), fit.predict(rows, append=True))


def test_several_targets_have_columns_each(rows):
    rng = np.random.default_rng(1)
    frame = rows.with_columns(y=pl.Series(rng.normal(size=N)), z=pl.Series(rng.normal(size=N)))
    fits = gentle.fit(frame, target=["y", "z"], features=["a", "whole"])
    found = fits.predict(rows, interval=0.9)
    assert found.columns == [f"{column}_{target}" for target in "yz" for column in COLUMNS]
    for target, one in fits.items():
        alone = one.predict(rows, interval=0.9)
        assert_frame_equal(
            found.select(pl.col(f"{column}_{target}").alias(column) for column in COLUMNS), alone
        )
    numbers = fits.predict(rows)
    assert numbers.shape == (N, 2)
    np.testing.assert_array_equal(numbers[:, 1], fits["z"].predict(rows))


def test_a_constant_alone_predicts_itself_for_every_row(rows):
    frame = rows.with_columns(y=pl.int_range(N))
    fit = gentle.fit(frame, "y ~ 1")
    np.testing.assert_array_equal(fit.predict(rows), np.full(N, fit.coef["Intercept"]))
    assert fit.predict(rows, append=True)["prediction"].to_list() == fit.predict(rows).tolist()


UNSEEN = [1, 4, 50]  # row 50 lacks a value too


@pytest.fixture
def strange(rows):
    """The rows with a level that the fit did not see."""
    return rows.with_columns(
        g=pl.when(pl.int_range(N).is_in(UNSEEN)).then(pl.lit("nowhere")).otherwise("g")
    )


def test_a_level_that_was_not_seen_is_refused_or_answered_as_asked_and_warned_of(
    fit, rows, strange, tmp_path
):
    with pytest.raises(gentle.GentleError, match=r"'nowhere' in row 2.*did not see.*--unseen"):
        fit.predict(strange)
    reference = rows.with_columns(
        g=pl.when(pl.int_range(N).is_in(UNSEEN)).then(pl.lit("größe")).otherwise("g")
    )
    with pytest.warns(gentle.GentleWarning, match=r"2 have a level .* the reference level"):
        found = fit.predict(strange, unseen="reference")
    np.testing.assert_array_equal(found, fit.predict(reference))
    with pytest.warns(gentle.GentleWarning, match=r"2 have a level .* and so no prediction"):
        found = fit.predict(strange, unseen="missing")
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found)), sorted({*HOLES, *UNSEEN}))
    with pytest.warns(gentle.GentleWarning):
        written = fit.predict_to(strange, tmp_path / "out.csv", unseen="missing")
    assert pl.read_csv(tmp_path / "out.csv")["prediction"].null_count() == 4
    assert (written.n_rows, written.n_missing, written.n_unseen) == (N, 4, 2)
    assert str(written).startswith("90 rows, of which 2 have no prediction")
    with pytest.warns(gentle.GentleWarning):
        written = fit.predict_to(strange[:3], tmp_path / "out.csv", unseen="missing")
    assert str(written) == ("3 rows; 1 has a level that the fit did not see, and so no prediction")
    with pytest.raises(gentle.GentleError, match="'error', 'reference' or 'missing'"):
        fit.predict(strange, unseen="ignore")


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_holds_what_a_frame_would(ending, fit, rows, wanted, tmp_path):
    out = tmp_path / f"out.{ending}"
    written = fit.predict_to(rows, out, interval=0.9, kind="new")
    assert (written.n_rows, written.n_missing) == (N, len(HOLES))
    assert_frame_equal(read(out), wanted)
    fit.predict_to(rows, out, append=True)
    assert read(out).columns == [*rows.columns, "prediction"]
    assert read(out)["id"].to_list() == rows["id"].to_list()
    assert os.listdir(tmp_path) == [out.name]


@pytest.mark.parametrize("into", ["csv", "parquet"])
@pytest.mark.parametrize("of", ["csv", "parquet"])
def test_from_file_to_file(of, into, fit, rows, wanted, tmp_path):
    source, out = tmp_path / f"new.{of}", tmp_path / f"out.{into}"
    rows.write_csv(source) if of == "csv" else rows.write_parquet(source)
    fit.predict_to(source, out, interval=0.9, kind="new", append=True)
    assert_frame_equal(read(out).select(COLUMNS), wanted)
    assert_frame_equal(read(out).select("id", "g", "whole"), rows.select("id", "g", "whole"))


@pytest.mark.parametrize("into", ["csv", "parquet"])
@pytest.mark.parametrize("late", ["0.5", "A17"])
def test_types_that_change_late_in_a_file_are_known_before(late, into, tmp_path, monkeypatch):
    """A file that is not read whole is guessed from its first 10,000 rows."""
    n = 30_000
    x = np.random.default_rng(0).normal(size=n)
    fit = gentle.fit((x[:, None], x + 1), names=["x"])
    ids = [*map(str, range(n - 1)), late]
    pl.DataFrame({"id": ids, "x": x}).write_csv(tmp_path / "new.csv")
    for size, name in ((files.SMALL, "small"), (0, "large")):
        monkeypatch.setattr(files, "SMALL", size)
        fit.predict_to(tmp_path / "new.csv", tmp_path / f"{name}.{into}", append=True)
    if into == "csv":
        assert (tmp_path / "large.csv").read_text() == (tmp_path / "small.csv").read_text()
    else:
        assert_frame_equal(read(tmp_path / "large.parquet"), read(tmp_path / "small.parquet"))
    pl.DataFrame({"x": ids}).write_csv(tmp_path / "text.csv")
    if late == "A17":
        with pytest.raises(
            gentle.GentleError, match=r"'x' of text\.csv must be numbers.* row 30,000"
        ):
            fit.predict_to(tmp_path / "text.csv", tmp_path / "out.csv", append=True)


def test_batches_of_other_types_are_refused_where_they_are_to_stay(tmp_path):
    fit = gentle.fit((np.arange(9.0)[:, None], np.arange(9.0)), names=["x"])
    pieces = [pl.DataFrame({"x": [1.0] * 20_000, "id": kind}) for kind in (1, 0.5)]
    with pytest.raises(gentle.GentleError, match=r"'id' holds Int.* Float64 later: give it one"):
        fit.predict_to(pieces, tmp_path / "out.csv", append=True)


def test_a_file_that_is_replaced_keeps_its_mode(fit, rows, tmp_path):
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.touch()
    for mode in (0o640, 0o600, 0o444):
        old.chmod(mode)
        fit.predict_to(rows, old)
        assert old.stat().st_mode & 0o777 == mode
        fit.save(old)
        assert old.stat().st_mode & 0o777 == mode
    before = os.umask(0o027)
    try:
        fit.predict_to(rows, new)
        fit.save(tmp_path / "a.gentle")
    finally:
        os.umask(before)
    assert [it.stat().st_mode & 0o777 for it in (new, tmp_path / "a.gentle")] == [0o640, 0o640]


def test_predictions_are_appended_to_a_copy_alone(fit, rows, tmp_path):
    """What is read is never replaced; tests/laws/test_writing.py has all the ways to name it."""
    path = tmp_path / "rows.parquet"
    rows.write_parquet(path)
    with pytest.raises(gentle.GentleError, match="would be replaced"):
        fit.predict_to(path, path, append=True)
    fit.predict_to(path, tmp_path / "out.parquet", append=True)
    assert_frame_equal(pl.read_parquet(tmp_path / "out.parquet").drop("prediction"), rows)
    with pytest.raises(gentle.GentleError, match="'prediction' already"):
        fit.predict_to(tmp_path / "out.parquet", tmp_path / "more.parquet", append=True)


def test_what_goes_wrong_on_the_way_leaves_nothing(fit, rows, tmp_path):
    late = rows.with_columns(
        whole=pl.when(pl.int_range(N) == N - 1).then(np.inf).otherwise("whole")
    )
    (tmp_path / "out.csv").write_text("before")
    with pytest.raises(gentle.GentleError, match="row 90"):
        fit.predict_to(late, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "before"
    assert os.listdir(tmp_path) == ["out.csv"]


@pytest.mark.parametrize(
    ("name", "change", "asked", "words"),
    [
        ("a.xls", {}, {}, ("a.xls", ".parquet")),
        ("no/a.csv", {}, {}, ("no directory",)),
        ("a.csv", {"whole": pl.lit("many")}, {}, ("'whole'", "'many'", "row 1")),
        ("a.csv", {"g": pl.lit("nowhere")}, {}, ("'g'", "'nowhere'", "row 1")),
        ("a.csv", {"low": pl.lit(1)}, {"interval": 0.9, "append": True}, ("'low'", "already")),
        ("a.csv", {"many": pl.lit([1, 2])}, {"append": True}, ("a.csv", "CSV")),
        ("a.csv", {}, {"kind": "old"}, ("'old'", "'new'")),
        ("a.csv", {}, {"interval": 95}, ("95",)),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_no_file(
    name, change, asked, words, fit, rows, tmp_path
):
    with pytest.raises(gentle.GentleError) as told:
        fit.predict_to(rows.with_columns(**change), tmp_path / name, **asked)
    assert "\n" not in str(told.value)
    for word in words:
        assert word in str(told.value)
    assert os.listdir(tmp_path) == []


def test_an_array_has_no_columns_to_keep(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 2))
    fit = gentle.fit((x, x[:, 0] ** 2))
    for ask in (
        lambda: fit.predict(x, append=True),
        lambda: fit.predict_to(x, tmp_path / "a.csv", append=True),
    ):
        with pytest.raises(gentle.GentleError, match="append keeps the columns of a frame"):
            ask()
    fit.predict_to(x, tmp_path / "a.csv")
    np.testing.assert_array_equal(pl.read_csv(tmp_path / "a.csv")["prediction"], fit.predict(x))


def test_models_without_standard_errors_have_no_intervals(tmp_path):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(20_000, 2))
    pair = (x, x[:, 0] + rng.normal(size=20_000))
    ridge = gentle.fit(pair, l2=0.1)
    once = gentle.fit(pair, passes=1, errors="random-scaling")
    new = pl.DataFrame(x[:5], schema=["x1", "x2"])
    with pytest.raises(gentle.GentleError, match="ridge has no standard errors"):
        ridge.predict_to(new, tmp_path / "out.csv", interval=0.9)
    for one in (ridge, once):
        one.predict_to(new, tmp_path / "out.parquet", append=True)
        found = pl.read_parquet(tmp_path / "out.parquet")
        np.testing.assert_allclose(found["prediction"], one.predict(x[:5]), rtol=1e-14)


FULL = """
import resource, sys
import gentle
fit = gentle.fit(sys.argv[1], "y ~ x")
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for ending in sys.argv[3:]:
    try:
        fit.predict_to(sys.argv[1], f"{sys.argv[2]}/out.{ending}", append=True)
    except gentle.GentleError as error:
        print(error)
"""


def test_a_full_disk_leaves_nothing(tmp_path):
    """A limit on the size of files stands for the disk: the system refuses to write on, as there."""
    x = np.random.default_rng(0).normal(size=(20_000, 2))
    pl.DataFrame(x, schema=["x", "y"]).write_parquet(tmp_path / "rows.parquet")
    arguments = [tmp_path / "rows.parquet", tmp_path, "csv", "parquet", "arrow", "ndjson"]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("cannot be written") == 4
    assert done.stdout.count("\n") == 4
    assert os.listdir(tmp_path) == ["rows.parquet"]


PEAK = """
import sys, threading
import polars as pl
import gentle

def held():
    with open("/proc/self/status") as status:  # what is a file's, mapped into memory, is not held
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

def watch():
    while not done.wait(0.005):
        most.append(max(held(), most.pop()))

fit = gentle.load(sys.argv[1])
fit.predict_to(pl.DataFrame({"a": [0.5], "b": [0.5]}), sys.argv[3], interval=0.9)
before, most, done = held(), [0], threading.Event()
watching = threading.Thread(target=watch)
watching.start()
written = fit.predict_to(sys.argv[2], sys.argv[3])
done.set()
watching.join()
print(written, most[0] - before, sep=";")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_memory_does_not_grow_with_the_rows(tmp_path, proofs):
    """From file to file, in a process of its own, whose memory is bounded whatever the file's size."""
    rng = np.random.default_rng(0)
    small = pl.DataFrame({"a": rng.normal(size=1000), "b": rng.normal(size=1000)})
    fit = gentle.fit(small.with_columns(y=pl.col("a") + rng.normal(size=1000)), "y ~ a + b")
    fit.save(tmp_path / "model.gentle")
    n = 200_000_000 if proofs else 26_000_000
    path, out = tmp_path / "rows.parquet", tmp_path / "out.parquet"
    rows = pl.LazyFrame({"row": [0]}).select(pl.int_range(n).alias("row"))
    rows.select(a=pl.col("row").sin(), b=pl.col("row").cos(), c=pl.col("row").sqrt()).sink_parquet(
        path, compression="uncompressed", row_group_size=100_000
    )
    assert path.stat().st_size > 600_000_000
    done = subprocess.run(
        [sys.executable, "-c", PEAK, tmp_path / "model.gentle", path, out],
        capture_output=True,
        text=True,
        check=True,
    )
    written, grown = done.stdout.split(";")
    assert written == f"{n:,} rows, each with a prediction"
    assert pl.scan_parquet(out).select(pl.len()).collect().item() == n
    assert int(grown) < 400e6, f"{int(grown) / 1e6:,.0f} MB"
