"""Laws that attacks found to be broken: odd weights of new rows, sizes of numbers, names of columns."""

import datetime
import sqlite3
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest

import gentle
from gentle import GentleError
from gentle.sources import sql

FRAME = pl.DataFrame(
    {"x": [1.0, 2, 3, 4], "y": [1.0, 3, 4, 9], "g": ["a", "b", "a", "b"], "w": [1.0, 2, 3, 4]}
)
NO_NUMBERS = {
    "strings": pl.col("g"),
    "strings of digits": pl.col("w").cast(pl.String),
    "dates": pl.lit(datetime.date(2020, 1, 1)),
    "categories": pl.col("g").cast(pl.Categorical),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
@pytest.mark.parametrize("name", ["w", None])
def test_weights_of_new_rows_that_are_no_numbers_are_refused_by_name(kind, name):
    fit = gentle.fit(FRAME, "y ~ x", weights="w")
    rows = FRAME.with_columns(NO_NUMBERS[kind].alias("w"))
    with pytest.raises(GentleError, match="column 'w' of the frame"):
        fit.predict(rows, interval=0.9, kind="new", weights=name)


def test_a_number_far_above_its_error_is_written():
    from gentle.layout import estimate

    assert estimate(1e308, 1e-8) == "1e+308"
    assert estimate(-1e308, 5e-324) == "-1e+308"


READS = (
    *(
        "select x, y from t",
        "with a as (select * from t) select * from a",
        "-- into\nselect x, y from t",
    ),
    *(
        "select x, y from t where g <> 'insert into t'",
        'select x, y as "into", y from t',
        "values (1, 2)",
    ),
    *(
        "with a as (select * from t), b as (select * from a) select replace(g, 'a', 'b') g, x, y from b",
    ),
    *(
        "with recursive a(x) as (select 1 union select x + 1 from a where x < 9) select x, x * x y from a",
    ),
)
WRITES = (
    *("with a as (select 1) delete from t", "with a as (select 1) insert into t select 1, 2, 'a'"),
    "with a(x) as (select 1) update t set x = 3",
    "with a as (select 1) replace into t values (1, 2, 'a')",
    "with a as (select 1) delete /* from */ from t",
    *("select * into copy from t", "with d as (delete from t returning *) select * from d"),
    *("with u as ( /* c */ update t set x = 1 returning *) select * from u", "delete from t"),
    "WITH a AS (SELECT '(') -- select\n DELETE FROM t",
    "with a as not materialized (select 1) delete from t",
)  # fmt: skip


@pytest.fixture
def base():
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t(x real, y real, g text)")
    rows = [(float(at), float(at * at % 7), "ab"[at % 2]) for at in range(12)]
    connection.executemany("insert into t values (?, ?, ?)", rows)
    connection.commit()
    return connection


@pytest.mark.parametrize("text", WRITES)
def test_a_statement_that_writes_is_refused_on_a_connection_too(text, base):
    with pytest.raises(GentleError, match="only"):
        gentle.fit((base, text), target="y")
    assert base.execute("select count(*), sum(x), sum(y) from t").fetchone() == (12, 66, 23)


@pytest.mark.parametrize("text", READS)
def test_a_query_that_reads_is_taken(text, base):
    sql.check_statement(text)
    if "x, y from" in text or "x * x" in text:
        assert gentle.fit((base, text), target="y").n_rows > 5


def test_categories_of_pandas_may_be_missing_declared_and_unused():
    frame = pd.DataFrame({"x": range(12), "y": [at * at % 7 for at in range(12)]})
    frame["g"] = pd.Categorical(["a", "b", None, "c"] * 3, categories=["c", "z", "b", "a"])
    fit = gentle.fit(frame, "y ~ x + g")
    assert (fit.n_rows, list(fit.coef)) == (9, ["Intercept", "x", "g[T.b]", "g[T.a]"])


def test_a_field_beyond_what_is_read_and_many_columns_end_in_a_sentence(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('x,y\n1,2\n"' + "a" * 200_000)
    with pytest.raises(GentleError, match="line 3"):
        gentle.fit(path, target="y")
    names = [f"c{at}" for at in range(30_000)]
    path.write_text(",".join([*names, "c0"]) + "\n")
    started = time.process_time()
    with pytest.raises(GentleError, match="more than one column 'c0'"):
        gentle.fit(path, target="y")
    assert time.process_time() - started < 2


RELATIONS = {
    "degrees": lambda c, _: np.float32(1.8) * c + np.float32(32),
    "a sum": lambda c, d: c + d,
    "a tenth": lambda c, _: np.float32(0.1) * c,
}


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_of_float32_are_seen_in_its_decimals_too(relation, proofs, tmp_path):
    for seed in range(100 if proofs else 3):
        rng = np.random.default_rng(seed)
        c, d = (rng.normal(*at, size=80).astype(np.float32) for at in ((20, 5), (3, 1)))
        frame = pl.DataFrame(
            {"c": c, "d": d, "f": RELATIONS[relation](c, d), "y": rng.normal(size=80)}
        )
        frame.write_csv(tmp_path / "a.csv")
        read = pl.read_csv(tmp_path / "a.csv")
        for data in (tmp_path / "a.csv", read, read.select("f", "d", "c", "y"), read.to_pandas()):
            with pytest.warns(gentle.RankWarning):
                fit = gentle.fit(data, target="y")
            assert sum(np.isnan(list(fit.coef.values()))) == 1


def test_decimals_that_are_no_float32_keep_their_columns(proofs):
    rng = np.random.default_rng(0)
    for _ in range(300 if proofs else 10):
        x, z = np.round(rng.normal(20, 5, size=(2, 60)), 6)
        near = np.round(x * 1.8 + 32 + 3e-6 * rng.normal(size=60), 6)
        fit = gentle.fit((np.stack([x, z, near], axis=1), rng.normal(size=60)))
        assert np.isfinite(list(fit.coef.values())).all()
