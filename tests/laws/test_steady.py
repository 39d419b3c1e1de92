"""Rows that are read several times are held to be the same: a fit of rows that change is refused."""

import sqlite3

import numpy as np
import polars as pl
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import gentle
from gentle.design import Rows, learn_design
from gentle.errors import GentleError
from gentle.sources import open_source

N = 2_000
TWICE = {"errors": "HC1"}  # reads the rows twice


def table(seed=0, n=N):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    y = 1 + x @ [2.0, -1.0] + rng.normal(size=n)
    return pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y})


def pair(frame):
    return frame.select("a", "b").to_numpy(), frame["y"].to_numpy()


def turns(*answers):
    """A function that gives another of the answers each time; the first is looked at before it is read."""
    calls = []

    def make():
        calls.append(None)
        return iter(answers[max(len(calls) - 2, 0) % len(answers)])

    return make


@pytest.mark.parametrize("shape", [lambda frame: frame, pair])
def test_a_function_that_gives_other_rows_is_refused(shape):
    with pytest.raises(GentleError, match="2,000 rows in one reading and 1,999 in the next"):
        gentle.fit(turns([shape(table())], [shape(table()[1:])]), target=named(shape), **TWICE)
    with pytest.raises(GentleError, match="other values in one reading"):
        gentle.fit(turns([shape(table())], [shape(table(1))]), target=named(shape), **TWICE)


def named(shape):
    return None if shape is pair else "y"


def test_a_function_that_draws_rows_anew_is_refused_by_a_descent(monkeypatch):
    monkeypatch.setattr("gentle.design.HELD_BYTES", 0)
    rng = np.random.default_rng(0)
    with pytest.raises(GentleError, match="had other values in one"):
        gentle.fit(lambda: [pair(table(rng.integers(99))) for _ in range(3)], solver="sgd")


def test_the_order_of_rows_and_the_size_of_batches_do_not_matter():
    rng = np.random.default_rng(0)

    def make():
        frame = table().sample(fraction=1, shuffle=True, seed=int(rng.integers(99)))
        return frame.iter_slices(int(rng.integers(1, 400)))

    fit, whole = (gentle.fit(rows, target="y", **TWICE) for rows in (make, table()))
    assert fit.std_errors == pytest.approx(whole.std_errors, rel=1e-12)


def test_a_shuffled_loader_cannot_hold_rows_out():
    x, y = pair(table())
    data = TensorDataset(torch.tensor(x), torch.tensor(y))
    with pytest.raises(GentleError, match="these batches are shuffled"):
        gentle.fit(DataLoader(data, batch_size=N, shuffle=True), test=0.25)
    assert gentle.fit(DataLoader(data, batch_size=64), test=0.25).held_out.spread.total == N // 4


def write(path, frame):
    path.unlink(missing_ok=True)
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(
    "after", [table(1), table(n=N // 2), None], ids=["others", "fewer", "none"]
)
def test_a_file_that_changes_between_two_readings_is_refused(tmp_path, monkeypatch, ending, after):
    monkeypatch.setattr("gentle.sources.files.SMALL", 0)
    path = tmp_path / f"rows.{ending}"
    write(path, table())
    source = open_source(path)
    rows = Rows(source, learn_design(source, targets=["y"]))
    assert sum(batch.n_read for batch in rows) == N
    path.unlink() if after is None else write(path, after)
    said = "is there no more" if after is None else "was changed while it was read"
    with pytest.raises(GentleError, match=f"rows.{ending} .*{said}"):
        list(rows)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("gentle.sources.files.SMALL", 0)
    path = tmp_path / "rows.csv"
    write(path, table())
    chunks = open_source(path).scan(["a", "y"], 100)
    next(chunks)
    with path.open("a") as more:
        more.write("1.0,2.0,3.0\n")
    with pytest.raises(GentleError, match=r"rows.csv was changed while it was read"):
        list(chunks)


@pytest.mark.parametrize(
    "change", ["UPDATE t SET y = y + 1 WHERE a > 0", "DELETE FROM t WHERE a > 0"]
)
def test_a_table_that_changes_between_two_readings_is_refused(tmp_path, change):
    path = tmp_path / "rows.db"
    table().write_database("t", f"sqlite:///{path}", engine="sqlalchemy")
    source = open_source(f"sqlite:///{path}")
    list(source.scan(["a", "y"], 100))
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    with pytest.raises(GentleError, match=r"rows.db had .*in one reading"):
        list(source.scan(["a", "y"], 100))


def test_a_plan_whose_rows_change_in_number_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    write(path, table())
    source = open_source(pl.scan_csv(path))
    list(source.scan(["a"], 100))
    write(path, table(n=N + 1))
    with pytest.raises(GentleError, match="had 2,000 rows in one reading and 2,001 in the next"):
        list(source.scan(["a"], 100))
