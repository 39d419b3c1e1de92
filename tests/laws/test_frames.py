"""What data in memory may be: columns of any name, unused ones of any type, a pandas index, lists, loaders.

An object is asked what it is, not which attributes it has: a column may have the name of any of them.
"""

import sqlite3

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.feather
import pytest
import torch
from scipy import sparse as scipy_sparse
from torch.utils.data import DataLoader, TensorDataset

import gentle
from gentle import GentleError

N = 40
RNG = np.random.default_rng(14)
X = RNG.normal(size=(N, 2))
Y = 1 + X @ [2.0, -1.0] + 0.1 * RNG.normal(size=N)
FRAME = pd.DataFrame({"x": X[:, 0], "z": X[:, 1], "y": Y})
RIGHT = dict(gentle.fit((X, Y), names=["x", "z"]).coef)

KINDS = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "lazy": lambda frame: pl.from_pandas(frame).lazy(),
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "record batch": lambda frame: pa.RecordBatch.from_pandas(frame, preserve_index=False),
    "dataset": lambda frame: ds.dataset(pa.Table.from_pandas(frame, preserve_index=False)),
    "dask": lambda frame: dd.from_pandas(frame, npartitions=2),
    "duckdb": duckdb.from_df,
    "mapping": lambda frame: {name: frame[name].to_numpy() for name in frame},
    "batches": lambda frame: [frame[:15], frame[15:]],
    "reader": lambda frame: pa.Table.from_pandas(frame, preserve_index=False).to_reader(),
}
NAMES = (
    *("name", "schema", "columns", "shape", "dtype", "dtypes", "values", "index", "T", "self", "data"),
    *("scan", "split", "read", "fetchmany", "read_next_batch", "detach", "layout", "items", "coef_"),
    *("params", "weight", "bias", "client", "iloc", "cat", "__array__", "__arrow_c_stream__"),
    *("__dask_graph__", "map_partitions", "literal", "exprs", "readline", "target", "description", "first"),
)  # fmt: skip


def close(found, right=RIGHT):
    assert list(found) == list(right)
    np.testing.assert_allclose(list(found.values()), list(right.values()), rtol=1e-9)


EVERY = pd.concat([FRAME, pd.DataFrame({name: RNG.normal(size=N) for name in NAMES})], axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_may_have_any_name_used_or_not(kind):
    data = KINDS[kind](EVERY)
    names = [name for name in EVERY if name != "y"]
    fit = gentle.fit(data, target="y")
    close(fit.coef, dict(gentle.fit((EVERY[names].to_numpy(), Y), names=names).coef))
    if kind != "reader":
        close(gentle.fit(data, "y ~ x + z").coef)
        np.testing.assert_allclose(fit.predict(data), fit.predict(EVERY[names].to_numpy()))


@pytest.mark.parametrize("kind", ["pandas", "dask", "duckdb", "pyarrow"])
@pytest.mark.parametrize("name", ["name", "read_next_batch", "detach", "self", "columns"])
def test_a_column_of_such_a_name_may_be_the_only_one(kind, name):
    data = KINDS[kind](FRAME[["x", "y"]].rename(columns={"x": name}))
    right = list(gentle.fit((X[:, :1], Y)).coef.values())
    np.testing.assert_allclose(list(gentle.fit(data, target="y").coef.values()), right, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_target_and_coefficients_may_have_any_name(name):
    found = gentle.fit((FRAME[["z"]], pd.DataFrame({name: Y})))
    assert found.target == name
    assert gentle.fit((FRAME[["z"]], FRAME["y"].rename(name))).target == name
    frame = FRAME.rename(columns={"z": name, "x": "used"})
    exact = gentle.fit(frame, target="y")
    assert gentle.certify(pd.Series(dict(exact.coef)), frame, target="y").in_se < 1e-6


UNREADABLE = {
    "mixed": [1, "a"] * (N // 2),
    "objects": [object()] * N,
    "complex": [1j] * N,
    "structures": [{"a": 1}, 2] * (N // 2),
    "lists": [[1], [2, 3]] * (N // 2),
    "durations": pd.to_timedelta(np.arange(N), unit="D"),
    "dates": pd.date_range("2020-01-01", periods=N),
    "periods": pd.period_range("2020-01", periods=N, freq="M"),
    "intervals": pd.interval_range(0, N),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_column_that_cannot_be_read_matters_only_where_it_is_used(kind):
    frame = FRAME.assign(odd=UNREADABLE[kind])
    partitions = dd.from_pandas(frame, npartitions=2)
    for data in (frame, partitions, [frame[:15], frame[15:]]):
        close(gentle.fit(data, "y ~ x + z").coef)
        fit = gentle.fit(data, target="y", features=["x", "z"])
        close(fit.coef)
        np.testing.assert_allclose(fit.predict(data), fit.predict(X), rtol=1e-9)
        if data is not partitions:  # Dask makes strings of objects
            with pytest.raises(GentleError, match=r"column 'odd' of .*leave it out"):
                gentle.fit(data, target="y")
    answered = fit.predict(frame, append=True)
    assert list(answered) == [*frame, "prediction"]
    assert answered.odd.equals(frame.odd)


def test_of_two_columns_of_one_name_neither_is_read():
    frame = pd.DataFrame(np.c_[X, Y, Y, Y], columns=["x", "z", "y", "u", "u"])
    close(gentle.fit(frame, "y ~ x + z").coef)
    for data in (frame, pa.table([X[:, 0], Y, Y, Y], names=["x", "y", "u", "u"])):
        with pytest.raises(GentleError, match="two columns of the name 'u': rename one"):
            gentle.fit(data, target="y")


def test_types_of_databases_without_a_number_matter_only_where_they_are_used():
    frame = FRAME  # noqa: F841  # duckdb looks for it
    data = duckdb.sql("SELECT *, INTERVAL 1 DAY AS odd FROM frame")
    close(gentle.fit(data, "y ~ x + z").coef)
    with pytest.raises(
        GentleError, match="column 'odd' of the frame holds month_day_nano_interval"
    ):
        gentle.fit(data, target="y")


def test_pandas_own_types_are_numbers():
    sparse = pd.arrays.SparseArray(X[:, 0])
    close(gentle.fit(FRAME.assign(x=sparse), target="y").coef)
    holes = pd.array([None, *range(1, N)], dtype="Int64")
    fit = gentle.fit((FRAME[["x"]], pd.Series(holes)))
    assert fit.n_rows == N - 1
    assert gentle.fit(FRAME, "y ~ x", weights=pd.Series(holes)).n_rows == N - 1


INDEXES = {
    "filtered": lambda frame: frame[np.arange(len(frame)) != 3],
    "a range": lambda frame: frame,
    "shuffled": lambda frame: frame.sample(frac=1.0, random_state=0),
    "named": lambda frame: frame.set_index(pd.Index(np.arange(N) ** 2, name="id")),
    "two levels": lambda frame: frame.set_index([np.arange(N) % 7, np.arange(N)]),
    "a column": lambda frame: frame.assign(id=np.arange(N) ** 2).set_index("id"),
}


def index_files(frame, folder):
    table = pa.Table.from_pandas(frame, preserve_index=True)
    frame.to_parquet(folder / "f.parquet")
    pyarrow.feather.write_feather(table, folder / "f.feather")
    with pa.ipc.new_file(folder / "f.arrow", table.schema) as file:
        file.write_table(table)
    yield from (folder / "f.parquet", folder / "f.feather", folder / "f.arrow")
    yield from (table, table.to_batches()[0], table.to_reader(), ds.dataset(table))
    yield from (ds.dataset(folder / "f.parquet"), [table[:15], table[15:]])
    if frame.index.nlevels == 1:
        dd.from_pandas(frame, npartitions=2, sort=False).to_parquet(folder / "dask")
        yield from (folder / "dask", dd.read_parquet(folder / "dask"))


@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_of_pandas_is_no_feature_unless_it_is_named(kind, tmp_path):
    frame = INDEXES[kind](FRAME)
    right = dict(
        gentle.fit((frame[["x", "z"]].to_numpy(), frame.y.to_numpy()), names=["x", "z"]).coef
    )
    for data in (frame, *index_files(frame, tmp_path)):
        close(gentle.fit(data, target="y").coef, right)
    names = pl.read_parquet(tmp_path / "f.parquet").columns
    if len(names) == 3:  # a range, which is no column
        return
    name = names[-1]
    close(gentle.fit(tmp_path / "f.parquet", "y ~ .").coef, right)
    named = gentle.fit(tmp_path / "f.parquet", target="y", features=["x", name])
    assert list(named.coef) == ["Intercept", "x", name]
    assert list(gentle.fit(tmp_path / "f.parquet", f"y ~ x + `{name}`").coef)[-1].strip("`") == name
    assert gentle.fit(tmp_path / "f.parquet", target=name, features=["x"]).target == name


def test_metadata_that_is_no_record_of_pandas_is_passed_over():
    table = pa.table({"x": X[:, 0], "z": X[:, 1], "y": Y})
    for text in (b"", b"[]", b"{", b"null", b'{"index_columns": 3}', b'{"index_columns": [["x"]]}'):
        close(gentle.fit(table.replace_schema_metadata({b"pandas": text}), target="y").coef)


SHUFFLED = FRAME.sample(frac=1.0, random_state=1)
FOREIGN = FRAME.set_index(np.arange(N) + 5)


@pytest.mark.parametrize("other", [SHUFFLED, FOREIGN], ids=["another order", "other labels"])
@pytest.mark.parametrize("part", ["y", "weights", "frequencies", "offset", "cluster"])
def test_rows_whose_pandas_indexes_differ_are_not_paired(part, other):
    ones = pd.Series(np.arange(N) % 5 + 1, index=other.index)
    given = {} if part == "y" else {part: ones}
    y = other.y if part == "y" else FRAME.y
    for data in ((FRAME[["x", "z"]], y), (X, y)) if part == "y" else (FRAME, (X, y)):
        if part == "y" and data[0] is X:
            data, given = (X, y), {"weights": FRAME.x**2}
        with pytest.raises(GentleError, match=r"index of .*reindex.*to_numpy"):
            gentle.fit(data, target=None if isinstance(data, tuple) else "y", **given)
        plain = {name: column.to_numpy() for name, column in given.items()}
        rows = (data[0], data[1].to_numpy()) if isinstance(data, tuple) else data
        gentle.fit(rows, target=None if isinstance(data, tuple) else "y", **plain)


def test_pandas_indexes_are_held_together_everywhere():
    with pytest.raises(GentleError, match="index of y differs"):
        gentle.Online().partial_fit(FRAME[["x"]], SHUFFLED.y)
    with pytest.raises(GentleError, match="index of y differs"):
        gentle.LinearRegression().fit(FRAME[["x"]], SHUFFLED.y)
    with pytest.raises(GentleError, match="index of sample_weight differs"):
        gentle.LinearRegression().fit(FRAME[["x"]], FRAME.y, sample_weight=SHUFFLED.y**2)
    with pytest.raises(GentleError, match="index of z differs"):
        gentle.fit({"x": FRAME.x, "z": SHUFFLED.z, "y": FRAME.y}, target="y")
    with pytest.raises(GentleError, match="index of y differs"):
        gentle.fit([(FRAME[["x", "z"]], SHUFFLED.y)])
    fit = gentle.fit(FRAME, "y ~ x", offset=FRAME.z)
    with pytest.raises(GentleError, match="differs"):
        fit.predict(FRAME, offset=SHUFFLED.z)
    close(gentle.fit((SHUFFLED[["x", "z"]], SHUFFLED.y)).coef)


def test_rows_to_predict_may_be_lists_mappings_and_loaders_of_x_alone():
    fit, right = gentle.fit((X, Y)), gentle.fit((X, Y)).predict(X)
    rows = X.tolist()
    torches = torch.tensor(X)
    for data in (
        *(rows, [tuple(row) for row in rows], list(X), list(torches), tuple(rows)[:]),
        *(DataLoader(TensorDataset(torches), batch_size=7), DataLoader(torches, batch_size=7)),
        *(TensorDataset(torches), DataLoader(rows_of(torches), batch_size=7), lambda: X),
        *([X[:15], X[15:]], iter([X[:15], X[15:]]), [[X[:15]], [X[15:]]]),
    ):
        data = list(data) if isinstance(data, tuple) else data
        np.testing.assert_allclose(fit.predict(data), right, rtol=1e-12)
    named = gentle.fit(FRAME, "y ~ x + z")
    records = FRAME.to_dict("records")
    for data in (records, FRAME.to_dict("list"), records[:1], iter([FRAME[:7], FRAME[7:]])):
        found = named.predict(data)
        np.testing.assert_allclose(found, right[: len(found)], rtol=1e-12)
    close(gentle.fit(records, target="y").coef)
    assert np.isnan(named.predict([{"x": 1.0}, {"x": 1.0, "z": 2.0}])).tolist() == [True, False]


def rows_of(tensor):
    return [row for row in tensor]  # noqa: C416  # a dataset of its own


def test_a_wrong_width_says_how_many_columns_are_needed():
    fit = gentle.fit((X, Y), names=["x", "z"])
    for data in (X[:, :1], [[1.0]], [X[:, :1]], DataLoader(torch.tensor(X[:, :1]))):
        with pytest.raises(
            GentleError, match="X has 1 column, and 2 are needed, for the names 'x' and 'z'"
        ):
            fit.predict(data)
    with pytest.raises(GentleError, match="X has 2 columns, and 3 are needed"):
        gentle.fit((X, Y), names=["a", "b", "c"])
    with pytest.raises(GentleError, match="two dimensions"):
        fit.predict([1.0, 2.0])


def test_a_formula_takes_arrays_by_the_names_of_their_columns():
    right = gentle.fit(FRAME, "y ~ x + I(z**2)")
    for data in ((X, Y), [(X[:15], Y[:15]), (X[15:], Y[15:])], (torch.tensor(X), torch.tensor(Y))):
        fit = gentle.fit(data, "y ~ x + I(z**2)", names=["x", "z"])
        close(fit.coef, dict(right.coef))
        np.testing.assert_allclose(fit.predict(FRAME), right.predict(FRAME), rtol=1e-12)
    for how in ({"solver": "sgd"}, {"errors": "HC1"}, {"engine": "threads", "parts": 3}):
        fit = gentle.fit((X, Y), "y ~ x + I(z**2)", names=["x", "z"], **how)
        close(fit.exact, dict(right.coef))
    unnamed = gentle.fit((X, Y), "y ~ x1 + I(x2**2)")
    np.testing.assert_allclose(unnamed.predict(X), right.predict(FRAME), rtol=1e-12)
    assert len(unnamed.influence((X, Y))["row"]) == N
    with pytest.raises(GentleError, match="named columns, and was given the arrays: give a frame"):
        right.predict(X)
    with pytest.raises(GentleError, match="the frame has its own"):
        gentle.fit(FRAME, target="y", names=["a", "b", "c"])


def test_x_y_and_weights_may_come_as_three():
    w = np.arange(1.0, N + 1)
    right = dict(gentle.fit((X, Y), weights=w).coef)
    torches = [torch.tensor(values) for values in (X, Y, w)]
    for data in (
        *((X, Y, w), [(X[:15], Y[:15], w[:15]), (X[15:], Y[15:], w[15:])]),
        *(DataLoader(TensorDataset(*torches), batch_size=7), TensorDataset(*torches)),
    ):
        close(gentle.fit(data).coef, right)
    with pytest.raises(GentleError, match="weights were given twice"):
        gentle.fit((X, Y, w), weights=w)


def test_an_unnamed_target_takes_a_name_that_no_column_has():
    found = gentle.fit((pd.DataFrame({"y": X[:, 0], "z": X[:, 1]}), Y))
    close(found.coef, dict(zip(("Intercept", "y", "z"), RIGHT.values(), strict=True)))
    assert found.target == "(y)"
    close(gentle.fit((X, Y), names=["y", "z"]).coef, dict(found.coef))


def test_a_dataset_reads_only_the_columns_that_are_needed():
    frame = FRAME.assign(odd=pd.to_timedelta(np.arange(N)), more=1.0)
    data = ds.dataset(pa.Table.from_pandas(frame))
    close(gentle.fit(data, "y ~ x + z", errors="HC1").coef)
    close(gentle.fit(data, "y ~ x + z", solver="sgd").exact)
    assert gentle.fit(data, "y ~ x + z", test=0.25).held_out is not None


def results():
    many = RNG.normal(size=(2_000, 2))
    y = many.sum(axis=1) + RNG.normal(size=2_000)
    yield gentle.fit((X, Y))
    yield gentle.fit((X, np.column_stack([Y, -Y])))
    yield gentle.fit((many, y), passes=1, errors="random-scaling")
    yield gentle.contest((X, Y), solvers=["gd"])


def test_printing_a_result_prints_its_summary_and_completion_shows_what_users_need():
    for result in results():
        assert str(result) == result.summary()
        names = dir(result)
        assert "summary" in names
        if isinstance(result, gentle.Contest):
            continue
        assert not {"placing", "sums", "tally", "question", "predict_x", "choices"} & set(names)
        assert all(hasattr(type(result), name) or hasattr(result, name) for name in names)
    predictions = gentle.fit((X, Y)).predict(X, interval=0.9)
    assert len(predictions) == N
    assert "prediction" in str(predictions)
    assert {"fit", "load", "certify", "LinearRegression"} <= set(dir(gentle))


ODD = {
    "a number": 1.5,
    "a long integer": 10**400,
    "nothing": None,
    "bytes": b"x",
    "an object": object(),
    "a class": int,
    "a function": lambda: 3,
    "an array": np.ones(3),
    "complex numbers": np.ones(N) * 1j,
    "objects": np.array([object()] * 3),
    "a tensor without data": torch.ones(N, device="meta"),
    "a module": torch.nn.Linear(1, 1),
    "an empty frame": pd.DataFrame(),
    "a frame": pl.DataFrame({"a": [1]}),
    "a plan": pl.LazyFrame({"a": [1]}),
    "a series": pd.Series([1.0, 2.0]),
    "missing values": pd.Series([pd.NA] * N),
    "an Arrow array": pa.array([1]),
    "a set": {1},
    "an iterator": iter([1]),
    "digits beyond what Python prints": 10**5000,
    "an array of no dimension": np.array(1.0),
    "a tensor": torch.ones(N),
    "a sparse matrix": scipy_sparse.eye_array(3),
    "a connection": sqlite3.connect(":memory:"),
    "a mapping": {"x": [1.0]},
    "Arrow strings": pa.chunked_array([["a", "b"]]),
}
FIT = gentle.fit(FRAME, "y ~ x")
ENTRIES = {
    "fit": lambda odd: gentle.fit(odd, target="y"),
    "fit a pair": lambda odd: gentle.fit((odd, Y)),
    "fit to y": lambda odd: gentle.fit((X, odd)),
    "fit batches": lambda odd: gentle.fit([odd, odd]),
    "fit columns": lambda odd: gentle.fit({"x": odd, "y": odd}, target="y"),
    "formula": lambda odd: gentle.fit(FRAME, odd),
    "predict": lambda odd: FIT.predict(odd),
    "influence": lambda odd: FIT.influence(odd),
    "test": lambda odd: FIT.test(odd),
    "certify": lambda odd: gentle.certify(odd, FRAME, "y ~ x"),
    "load": lambda odd: gentle.load(odd),
    "Online": lambda odd: gentle.Online().partial_fit(odd, Y),
    "Online y": lambda odd: gentle.Online().partial_fit(X, odd),
} | {
    f"fit, {option}": lambda odd, option=option: gentle.fit(FRAME, "y ~ x", **{option: odd})
    for option in (
        *("weights", "offset", "cluster", "l2", "solver", "tol", "digits", "errors", "lags", "rank"),
        *("method", "missing", "seed", "max_passes", "time_limit", "intercept", "names", "unseen"),
        *("features", "target", "passes", "engine", "test", "dtype", "device", "rank_tol", "use_t"),
    )
} | {
    f"descent, {option}": lambda odd, option=option: gentle.fit(
        FRAME, "y ~ x", **{"solver": "minibatch", "max_passes": 2, option: odd}
    )
    for option in ("batch_size", "learning_rate", "schedule", "momentum", "dtype", "device", "start")
} | {
    f"predict, {option}": lambda odd, option=option: FIT.predict(
        FRAME, **{"interval": 0.9, "kind": "new", option: odd}
    )
    for option in ("interval", "kind", "append", "unseen", "offset", "weights", "unestimable", "engine")
} | {
    f"certify, {option}": lambda odd, option=option: gentle.certify([1, 2], FRAME, "y ~ x", **{option: odd})
    for option in ("losses", "claimed_rows", "claimed_l2")
} | {
    "compare": lambda odd: FIT.compare(odd),
    "conf_int": lambda odd: FIT.conf_int(odd),
    "solvers": lambda odd: gentle.contest(FRAME, target="y", solvers=odd),
    "Online names": lambda odd: gentle.Online(names=odd).partial_fit(X, Y),
    "Online missing": lambda odd: gentle.Online(missing=odd).partial_fit(X, Y),
    "Online intercept": lambda odd: gentle.Online(intercept=odd).partial_fit(X, Y),
    "Online weights": lambda odd: gentle.Online().partial_fit(X, Y, odd),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("entry", ENTRIES)
def test_any_object_as_any_argument_is_taken_or_refused_in_a_sentence(entry):
    for odd in ODD.values():
        try:
            ENTRIES[entry](odd)
        except GentleError as error:
            assert 15 < len(str(error)) < 2_000  # noqa: PT017
