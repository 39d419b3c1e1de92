"""Laws of sources: they can be read again, in chunks of the size asked for, and split covers once.

A new source is tested by being listed in `SOURCES`.
"""

import sys

import dask.dataframe as dd
import numpy as np
import polars as pl
import pytest
import torch

from gentle.errors import GentleError
from gentle.sources import (
    Arrays,
    Frame,
    Matrix,
    Plan,
    Subset,
    hold_out,
    open_source,
    pair_targets,
    read_file,
    with_columns,
)
from gentle.sources.files import FORMATS, Files

N = 1_003


def table():
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {"a": rng.normal(size=N), "b": rng.integers(0, 9, N), "y": np.arange(N) * 0.5}
    )


def arrays(_folder):
    frame = table()
    x = frame.select(pl.col("a", "b").cast(pl.Float64)).to_numpy()
    return Arrays(x, ("a", "b"), {"y": frame["y"].to_numpy()})


def frame(_folder):
    return Frame(table())


def streamed(*paths):
    """Files as if they were too large for memory."""
    return Plan(Files(FORMATS[paths[0].suffix], tuple(map(str, paths))), name=paths[0].name)


def of_dask(_folder):
    return open_source(dd.from_pandas(table().to_pandas(), npartitions=40))


def csv_read(folder):
    table().write_csv(folder / "t.csv")
    return read_file(folder / "t.csv")


def csv_streamed(folder):
    table().write_csv(folder / "t.csv")
    return streamed(folder / "t.csv")


def parquet_read(folder):
    table().write_parquet(folder / "t.parquet", row_group_size=100)
    return read_file(folder / "t.parquet")


def parquet_streamed(folder):
    table().write_parquet(folder / "t.parquet", row_group_size=100)
    return streamed(folder / "t.parquet")


def subset_of(make):
    def subset(folder):
        keep = np.random.default_rng(1).random(N) < 0.6
        return Subset(make(folder), keep)

    subset.__name__ = f"subset_of_{make.__name__}"
    return subset


PLAIN = [arrays, frame, of_dask, csv_read, csv_streamed, parquet_read, parquet_streamed]
SOURCES = [*PLAIN, *(subset_of(make) for make in PLAIN)]


@pytest.fixture(params=SOURCES, ids=lambda make: make.__name__)
def source(request, tmp_path):
    return request.param(tmp_path)


def chunks(source, rows=100, columns=("a", "b", "y")):
    """(rows, values) of each chunk, whatever its table is."""
    for numbers, table in source.scan(columns, rows):
        if isinstance(table, Matrix):
            others = [table.other[name] for name in columns if name in table.other]
            yield numbers, np.column_stack([table.x, *others])
        else:
            assert table.columns == list(columns)
            yield numbers, table.select(pl.all().cast(pl.Float64)).to_numpy()


def whole(source, rows=100):
    pieces = list(chunks(source, rows))
    numbers = np.concatenate([numbers for numbers, _ in pieces])
    return numbers, np.concatenate([values for _, values in pieces])


def expected(source):
    values = table().select(pl.all().cast(pl.Float64)).to_numpy()
    numbers = np.flatnonzero(source.keep) if isinstance(source, Subset) else np.arange(N)
    return numbers, values[numbers]


def test_the_rows_come_in_order_with_their_numbers(source):
    numbers, values = whole(source)
    right_numbers, right_values = expected(source)
    np.testing.assert_array_equal(numbers, right_numbers)
    np.testing.assert_array_equal(values, right_values)
    assert source.height() == len(right_numbers)


def test_it_can_be_read_again(source):
    for one, two in zip(whole(source), whole(source), strict=True):
        np.testing.assert_array_equal(one, two)
    half = chunks(source, 10)
    next(half)
    np.testing.assert_array_equal(whole(source)[0], expected(source)[0])


@pytest.mark.parametrize("rows", [1, 7, 100, N, 10 * N])
def test_no_chunk_is_larger_than_asked_for(source, rows):
    pieces = list(chunks(source, rows))
    assert all(len(numbers) == len(values) <= rows for numbers, values in pieces)
    np.testing.assert_array_equal(np.concatenate([n for n, _ in pieces]), expected(source)[0])


@pytest.mark.parametrize("parts", [1, 2, 3, 10, 64, 2 * N])
def test_split_covers_each_row_once_in_order(source, parts):
    if parts > N and not isinstance(source, Arrays | Frame):
        parts = 50  # files open once a part: enough is enough
    pieces = source.split(parts)
    assert len(pieces) == parts
    right_numbers, right_values = expected(source)
    seen = [chunk for piece in pieces for chunk in chunks(piece)]
    np.testing.assert_array_equal(np.concatenate([n for n, _ in seen]), right_numbers)
    np.testing.assert_array_equal(np.concatenate([v for _, v in seen]), right_values)


@pytest.mark.parametrize("parts", [1, 2, 3, 10])
def test_a_part_is_as_high_as_the_rows_it_holds(source, parts):
    for piece in source.split(parts):
        assert piece.height() == len(whole(piece)[0])


def test_parts_split_again_and_keep_their_row_numbers(source):
    numbers = [whole(p)[0] for part in source.split(3) for p in part.split(4)]
    np.testing.assert_array_equal(np.concatenate(numbers), expected(source)[0])


def test_the_schema_names_the_columns_and_hides_none(source):
    assert list(source.schema()) == ["a", "b", "y"]
    assert all(dtype.is_numeric() for dtype in source.schema().values())
    assert all(part.schema() == source.schema() for part in source.split(2))
    assert isinstance(source.name, str)


def test_columns_come_as_they_are_asked_for(source):
    for columns in (("a",), ("y", "a"), ("b", "y")):
        for numbers, table in source.scan(columns, 100):
            if isinstance(table, Matrix):
                assert table.x.shape == (len(numbers), len([c for c in columns if c != "y"]))
                assert table.other["y"].shape == (len(numbers),)
            else:
                assert table.columns == list(columns)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("share", [0.001, 0.25, 0.5, 0.999])
def test_train_and_test_cover_each_row_once(source, share, shuffle):
    if isinstance(source, Subset):
        return
    train, test = hold_out(source, share, shuffle=shuffle, seed=4)
    one, two = whole(train)[0], whole(test)[0]
    np.testing.assert_array_equal(np.sort(np.concatenate([one, two])), np.arange(N))
    assert len(two) == round(N * share)
    if not shuffle:
        assert one[-1] < two[0]
    again = whole(hold_out(source, share, shuffle=shuffle, seed=4)[1])[0]
    np.testing.assert_array_equal(again, two)
    if shuffle and share == 0.5:
        assert (whole(hold_out(source, share, shuffle=True, seed=5)[1])[0] != two).any()


@pytest.mark.parametrize("share", [0, 1, -0.2, 1.5, 1e-9, float("nan"), float("inf"), "0.2"])
def test_a_share_that_leaves_a_side_empty_is_refused(share):
    with pytest.raises(GentleError, match="test share"):
        hold_out(Frame(table()), share, shuffle=False, seed=0)


@pytest.mark.parametrize("kind", ["frame", "flat", "column", "tensors", "frame and series"])
def test_what_users_hand_over_becomes_the_same_rows(kind):
    x, y = table().select("a", "b"), table()["y"]
    data = {
        "frame": table(),
        "flat": (x.to_numpy(), y.to_numpy()),
        "column": (x.to_numpy(), y.to_numpy()[:, None]),
        "tensors": (torch.tensor(x.to_numpy()), torch.tensor(y.to_numpy())),
        "frame and series": (x, y),
    }[kind]
    source = open_source(data)
    pieces = list(chunks(source, columns=tuple(source.schema())))
    values = np.concatenate([values for _, values in pieces])
    np.testing.assert_array_equal(values, expected(Frame(table()))[1])


def test_a_pandas_frame_is_read_too():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({name: table()[name].to_numpy() for name in table().columns})
    frame.index = frame.index * 7 + 3  # an index of its own does not matter
    seen = whole(open_source(frame))[1]
    np.testing.assert_array_equal(seen, expected(Frame(table()))[1])


def test_a_pandas_frame_is_read_where_pyarrow_is_not_installed(monkeypatch):
    import pandas as pd

    frame = pd.DataFrame({name: table()[name].to_numpy() for name in table().columns})
    numbers = frame.copy()
    frame["text"] = pd.Series([f"level {at % 3}" for at in range(len(frame))], dtype=object)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError):
        frame.__arrow_c_stream__()
    source = open_source(frame)
    assert source.schema()["text"] == pl.String
    np.testing.assert_array_equal(whole(open_source(numbers))[1], expected(Frame(table()))[1])


@pytest.mark.parametrize("kind", ["array", "tensor", "frame"])
def test_several_targets_have_names_of_their_own(kind):
    x, y = table().select("a", "b").to_numpy(), table().select("y", z=-pl.col("y"))
    y = {"array": y.to_numpy(), "tensor": torch.tensor(y.to_numpy()), "frame": y}[kind]
    names = ("y", "z") if kind == "frame" else ("y1", "y2")
    source = open_source((x, y))
    assert pair_targets(source) == names
    assert list(source.schema()) == ["x1", "x2", *names]
    values = np.concatenate([v for _, v in chunks(source, columns=tuple(source.schema()))])
    right = expected(Frame(table()))[1]
    np.testing.assert_array_equal(values, np.column_stack([right, -right[:, 2]]))


def test_a_pair_that_is_none_names_no_target():
    assert pair_targets(open_source(table())) == ()
    assert pair_targets(open_source((table().select("a", "b"), table()["y"]))) == ("y",)


LABELS = {
    "texts": [f"firm {row % 7}" for row in range(N)],
    "integers": np.arange(N) % 7,
    "floats": np.arange(N) % 7 / 2,
    "truths": np.arange(N) % 2 == 1,
}


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("make", [arrays, frame], ids=lambda make: make.__name__)
def test_columns_that_were_given_beside_stay_with_their_rows(make, labels):
    """In chunks, parts and subsets; numbers as numbers, labels of clusters as what they are."""
    given, weights = np.asarray(LABELS[labels]), np.arange(N) * 2.0
    source = with_columns(make(None), {"w": weights})
    source = with_columns(source, {"g": LABELS[labels]}, labels=True)
    keep = np.random.default_rng(2).random(N) < 0.4
    for part in (source, Subset(source, keep), *source.split(7), *Subset(source, keep).split(3)):
        for numbers, found in part.scan(("a", "w", "g"), 100):
            if isinstance(found, Matrix):
                seen, mass = found.labels["g"], found.other["w"]
            else:
                seen, mass = found["g"].to_numpy(), found["w"].to_numpy()
            np.testing.assert_array_equal(mass, weights[numbers])
            assert seen.tolist() == given[numbers].tolist()


@pytest.mark.parametrize("labels", [np.arange(N - 1), np.zeros((N, 2))], ids=["short", "wide"])
def test_a_column_beside_has_one_value_for_each_row(labels):
    for options in ({}, {"labels": True}):
        with pytest.raises(GentleError, match=f"g must hold one value for each of the {N:,} rows"):
            with_columns(frame(None), {"g": labels}, **options)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_label_is_a_missing_value(missing):
    source = with_columns(frame(None), {"g": [missing, *["a"] * (N - 1)]}, labels=True)
    found = np.concatenate([table["g"].to_numpy() for _, table in source.scan(["g"], N)])
    assert np.isnan(found[0])
    assert (found[1:] == found[1]).all()


@pytest.mark.parametrize("thing", [None, 3, object(), (1, 2, 3, 4)])
def test_what_is_no_table_is_refused(thing):
    with pytest.raises(GentleError, match="data must be"):
        open_source(thing)
