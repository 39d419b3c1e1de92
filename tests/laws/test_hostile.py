"""Hostile files: each gives the right answer or one sentence, read whole and in pieces alike."""

import datetime as dt
import decimal
import gzip
import json
import os
import re
import sqlite3
import warnings

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather
from threadpoolctl import threadpool_info

import gentle
import gentle.sources
from gentle.errors import GentleError
from gentle.sources import files

RIGHT = {"Intercept": 1.0, "x": 2.0}
RIGHT_IN_THOUSANDS = {"Intercept": 1_000.0, "x": 2_000.0}
X = [0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0]
LINES = [f"{x},{1 + 2 * x}" for x in X]
FRAME = pl.DataFrame({"x": X, "y": [1 + 2 * x for x in X]})
EXTRA = {"u": [1.0, -1.0, 0.5, 0.0, 0.0, 2.0, 1.0, 3.0]}


def text(*lines, head="x,y", end="\n", after="\n"):
    return (end.join([head, *lines]) + after).encode()


def with_line(line, at=3):
    return text(*LINES[:at], line, *LINES[at:])


def column(values, name="u"):
    """The rows with one more column, written as text."""
    rows = (f"{line},{value}" for line, value in zip(LINES, values, strict=True))
    return text(*rows, head=f"x,y,{name}")


def packed(data, *, cut=0):
    whole = gzip.compress(data)
    return whole[: len(whole) - cut] if cut else whole


RANDOM = np.random.default_rng(0).bytes(5_000)

# name -> (ending, bytes, what comes: a right answer, or a part of the sentence)
CSV = {
    "plain": (".csv", text(*LINES), RIGHT),
    "a short row": (".csv", with_line("4"), "row 4 .line 5. has 1 field"),
    "a long row": (".csv", with_line("4,9,1"), "row 4 .line 5. has 3 fields"),
    "a word among numbers": (".csv", with_line("four,9"), "'four' in row 4"),
    "a word in the target": (".csv", with_line("4,nine"), "'nine' in row 4"),
    "latin-1 in a row": (".csv", with_line("4,9é").decode().encode("latin-1"), "UTF-8.*line 5"),
    "latin-1 in the header": (".csv", text(*LINES, head="café,y").decode().encode("latin-1"), "UTF-8"),
    "utf-16": (".csv", text(*LINES).decode().encode("utf-16"), RIGHT),
    "nul in a number": (".csv", with_line("4\0,9"), "row 4|NUL|cannot be read"),
    "nul in the header": (".csv", text(*LINES, head="x\0,y"), "NUL|no column"),
    "a byte order mark": (".csv", b"\xef\xbb\xbf" + text(*LINES), RIGHT),
    "carriage returns and newlines": (".csv", text(*LINES, end="\r\n", after="\r\n"), RIGHT),
    "carriage returns alone": (".csv", text(*LINES, end="\r", after="\r"), "carriage returns alone"),
    "no newline at the end": (".csv", text(*LINES, after=""), RIGHT),
    "blank lines at the end": (".csv", text(*LINES, after="\n\n\n"), RIGHT),
    "blank lines at the beginning": (".csv", b"\n\r\n" + text(*LINES), RIGHT),
    "blank lines around what is packed": (".csv.gz", packed(b"\n" + text(*LINES, after="\n\n\n")), RIGHT),
    "a short row after blank lines": (".csv", b"\n\n" + with_line("4"), "row 4 .line 7. has 1 field"),
    "a blank line": (".csv", with_line(""), RIGHT),
    "spaces around numbers": (".csv", text(*(line.replace(",", " , ") for line in LINES)), RIGHT),
    "quoted numbers": (".csv", text(*(f'"{x}","{1 + 2 * x}"' for x in X)), RIGHT),
    "quoted newlines": (".csv", column(['"a\nb"', '"c"'] * 4), RIGHT),
    "quoted commas": (".csv", column(['"a,b"', "c"] * 4), RIGHT),
    "an open quote": (".csv", with_line('"4,9'), "quote without its other half in row 4 .line 5"),
    "an open quote that is packed": (".csv.gz", packed(with_line('4,"9')), "quote .* row 4 .line 5"),
    "a quote inside of a text": (".csv", column(['5"', "6"] * 4), "quote .* row 1 .line 2"),
    "packed, and latin-1 in a row": (".csv.gz", packed(with_line("4,9") + b"4,9\xe9"), "UTF-8.*line 11"),
    "packed by its bytes alone": (".csv", packed(text(*LINES)), "as gzip does.*end in .csv.gz"),
    "zip by its bytes alone": (".csv", b"PK\x03\x04" + RANDOM, "as zip does.*unpack it"),
    "names twice": (".csv", text(*LINES, head="y,y"), "more than one column 'y'"),
    "an empty name": (".csv", column([1] * 8, name=""), "no name for column '3'"),
    "no names": (".csv", text(*LINES, head="0.5,2"), "first line with the names"),
    "a name with spaces": (".csv", column(EXTRA["u"], name="my u"), RIGHT),
    "a name with quotes": (".csv", column(EXTRA["u"], name='"my ""u"""'), RIGHT),
    "a name with a newline": (".csv", column(EXTRA["u"], name='"my\nu"'), RIGHT),
    "a name with operators": (".csv", column(EXTRA["u"], name="x*2 + I(y) ~ 1"), RIGHT),
    "a name with brackets": (".csv", column(EXTRA["u"], name="u[T.a]"), RIGHT),
    "semicolons": (".csv", text(*LINES).replace(b",", b";"), RIGHT),
    "tabs": (".csv", text(*LINES).replace(b",", b"\t"), RIGHT),
    "1e308": (".csv", column([1e308, -1e308, 0, 1, 2, 3, 4, 5]), "1e\\+?140|beyond|too large"),
    "5e-324": (".csv", column([5e-324, 0, 0, 0, 5e-324, 0, 0, 0]), "squares are beyond float64"),
    "beyond float64": (".csv", column(["1e400", *range(7)]), "infinite in row 1"),
    "whole numbers beyond 2^53": (".csv", column([2**53 + at for at in range(8)]), RIGHT),
    "whole numbers beyond 2^64": (".csv", column([2**70 + 2**30 * at * at for at in range(8)]), RIGHT),
    "infinity": (".csv", with_line("inf,9"), "infinite in row 4"),
    "minus infinity": (".csv", with_line("4,-inf"), "infinite in row 4"),
    "missing values": (".csv", text(*LINES, "NA,3", "nan,4", ",5", "6,"), RIGHT),
    "truths": (".csv", column(["true", "false"] * 4), RIGHT),
    "dates": (".csv", column([f"2020-01-0{at + 1}" for at in range(8)]), "holds dates:"),
    "times with zones": (".csv", column([f"2020-01-01T0{at}:00:00Z" for at in range(8)]), "holds dates"),
    "an empty column": (".csv", column([""] * 8), "is empty: every value is missing|8 with a missing 'u'"),
    "comma decimals": (".csv", text(*(f'"{x:.0f},5","{2 + 2 * x:.0f},0"' for x in X)), RIGHT),
    "thousands": (".csv", text(*(f'{x},"{1e3 + 2e3 * x:,.0f}"' for x in X)), RIGHT_IN_THOUSANDS),
    "thousands or not": (".csv", text(*(f'{x:.0f},"1,00{at}"' for at, x in enumerate(X))), "must be num"),
    "percent": (".csv", text(*(f"{x},{1 + 2 * x}%" for x in X)), RIGHT),
    "hexadecimal": (".csv", text(*(f"{x},0x1{at}" for at, x in enumerate(X))), "must be numbers"),
    "a long field": (".csv", column(["a" * 1_000_000, "b"] * 4), RIGHT),
    "no rows": (".csv", text(), "no rows|0 were read"),
    "one row": (".csv", text(LINES[0]), {"Intercept": 1.0}),
    "two rows": (".csv", text(*LINES[:2]), RIGHT),
    "no bytes": (".csv", b"", "is empty"),
    "one newline": (".csv", b"\n", "no rows"),
    "random bytes": (".csv", RANDOM, "."),
    "packed": (".csv.gz", packed(text(*LINES)), RIGHT),
    "packed, with a byte order mark": (".csv.gz", packed(b"\xef\xbb\xbf" + text(*LINES)), RIGHT),
    "packed and cut": (".csv.gz", packed(text(*LINES), cut=12), "packed and cut short"),
    "not packed": (".csv.gz", text(*LINES), RIGHT),
    "a Parquet file in disguise": (".csv", b"PAR1\x15" + RANDOM + b"PAR1", "end in .parquet"),
    "a name as Parquet begins": (".csv", text(*LINES, head="PAR1,y"), {"Intercept": 1.0, "PAR1": 2.0}),
    "of no known ending": (".txt", text(*LINES), "must end in"),
    "a CSV as Parquet": (".parquet", text(*LINES), "not a complete Parquet file"),
    "a CSV as Arrow": (".arrow", text(*LINES), "not a complete Arrow file"),
    "a CSV as NDJSON": (".ndjson", text(*LINES), "JSON object in every line"),
    "a list as NDJSON": (".ndjson", b'[{"x": 1, "y": 2}]\n', "JSON object|cannot be read"),
    "a broken line of NDJSON": (".ndjson", FRAME.write_ndjson().encode() + b'{"x": 1, "y"\n', "line 9"),
    "NDJSON without a key": (".ndjson", FRAME.write_ndjson().encode() + b'{"x": 1}\n', RIGHT),
    "NDJSON of late fractions": (".ndjson", b'{"x":0,"y":1}\n{"x":1,"y":3}\n{"x":2.5,"y":6.0}\n', RIGHT),
}  # fmt: skip


def frame(**columns):
    return FRAME.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


ZONED = [dt.datetime(2020, 1, day + 1, tzinfo=dt.UTC) for day in range(8)]
TYPED = {
    "decimals": (frame(u=[decimal.Decimal(f"{u:.2f}") for u in EXTRA["u"]]), RIGHT),
    "bytes as numbers": (FRAME.with_columns(pl.col("x").cast(pl.UInt8)), RIGHT),
    "float32": (FRAME.cast(pl.Float32), RIGHT),
    "categories": (frame(u=["a", "b"] * 4).with_columns(pl.col("u").cast(pl.Categorical)), RIGHT),
    "enums": (frame(u=["a", "b"] * 4).with_columns(pl.col("u").cast(pl.Enum(["b", "a"]))), RIGHT),
    "whole numbers beyond 2^53": (frame(u=[2**53 + at for at in range(8)]), RIGHT),
    "zones": (frame(u=ZONED), "holds dates with times:"),
    "durations": (frame(u=[dt.timedelta(days=at) for at in range(8)]), "holds durations:"),
    "lists": (frame(u=[[1.0]] * 8), "holds lists"),
    "structures": (frame(u=[{"a": 1}] * 8), "holds structures"),
    "binary": (frame(u=[b"a"] * 8), "holds bytes"),
    "nulls": (
        FRAME.with_columns(u=pl.lit(None)),
        "is empty: every value is missing|8 with a missing 'u'",
    ),
    "no rows": (FRAME.head(0), "no rows|0 were read"),
    "nan and infinity": (frame(u=[np.nan, np.inf, *EXTRA["u"][:6]]), "infinite in row 2"),
}


def outcome(path, monkeypatch, *, pieces):
    """Coefficients or the sentence, the file read whole or as if it were large."""
    if pieces:
        monkeypatch.setattr(files, "SMALL", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gentle.GentleWarning)
        try:
            return gentle.fit(path, target="y").coef
        except GentleError as error:
            return str(error)


def check(found, expected):
    if isinstance(expected, dict):
        assert not isinstance(found, str), found
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-6)
    else:
        assert isinstance(found, str), found
        assert re.search(expected, found), found
        assert "\n" not in found.strip()
        assert len(found) < 500


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name", CSV)
def test_text(name, pieces, tmp_path, monkeypatch):
    ending, data, expected = CSV[name]
    path = tmp_path / f"t{ending}"
    path.write_bytes(data)
    check(outcome(path, monkeypatch, pieces=pieces), expected)


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
@pytest.mark.parametrize("name", TYPED)
def test_typed(name, ending, pieces, tmp_path, monkeypatch):
    rows, expected = TYPED[name]
    path = tmp_path / f"t{ending}"
    rows.write_parquet(path) if ending == ".parquet" else rows.write_ipc(path)
    check(outcome(path, monkeypatch, pieces=pieces), expected)


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
@pytest.mark.parametrize("left", [0.1, 0.5, 0.9, 0.99])
def test_cut_short(ending, left, pieces, tmp_path, monkeypatch):
    path = tmp_path / f"t{ending}"
    FRAME.write_parquet(path) if ending == ".parquet" else FRAME.write_ipc(path)
    path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    check(outcome(path, monkeypatch, pieces=pieces), "is not a complete")


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(GentleError, match="not a file that can be read twice"):
        gentle.fit(tmp_path / "t.csv", target="y")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(text(*LINES))
    (tmp_path / "t.csv").chmod(0)
    with pytest.raises(GentleError, match="Permission denied"):
        gentle.fit(tmp_path / "t.csv", target="y")


def test_what_is_not_there_is_refused_with_its_neighbours(tmp_path):
    FRAME.write_csv(tmp_path / "sales.csv")
    with pytest.raises(GentleError, match=r"there is no file .*beside it are 'sales.csv'"):
        gentle.fit(tmp_path / "sale.csv", target="y")
    with pytest.raises(GentleError, match="there is no directory"):
        gentle.fit(tmp_path / "deep" / "sale.csv", target="y")
    with pytest.raises(GentleError, match="no file goes by"):
        gentle.fit(tmp_path / "*.parquet", target="y")


def test_a_folder_must_hold_tables_of_one_kind_and_shape(tmp_path):
    with pytest.raises(GentleError, match="directory without a file"):
        gentle.fit(tmp_path, target="y")
    FRAME.write_csv(tmp_path / "a.csv")
    FRAME.write_parquet(tmp_path / "b.parquet")
    with pytest.raises(GentleError, match=r"several kinds, '.csv' and '.parquet'"):
        gentle.fit(tmp_path, target="y")
    (tmp_path / "b.parquet").unlink()
    FRAME.rename({"x": "z"}).write_csv(tmp_path / "b.csv")
    with pytest.raises(GentleError, match="different columns: 'x' and 'z'"):
        gentle.fit(tmp_path, target="y")
    FRAME.with_columns(x=pl.lit("word")).write_csv(tmp_path / "b.csv")
    with pytest.raises(GentleError, match=r"column 'x' holds numbers in .* and text in"):
        gentle.fit(tmp_path, target="y")


def test_folders_named_by_a_value_are_a_column(tmp_path):
    for at, part in enumerate(FRAME.iter_slices(4)):
        (tmp_path / f"u={at}").mkdir()
        part.write_parquet(tmp_path / f"u={at}" / "t.parquet")
    assert "u" in gentle.fit(tmp_path, target="y").names


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
def test_types_that_were_guessed_too_narrow_are_widened(pieces, tmp_path, monkeypatch):
    """Whole numbers for longer than types are guessed from, then a fraction; and a word."""
    n = 120_000
    x = np.arange(n) % 1_000
    lines = [f"{a},{1 + 2 * a}" for a in x]
    path = tmp_path / "t.csv"
    path.write_bytes(text(*lines, "0.5,2"))
    check(outcome(path, monkeypatch, pieces=pieces), RIGHT)
    path.write_bytes(text(*lines, "0.5,2", "word,2"))
    check(outcome(path, monkeypatch, pieces=pieces), f"'word' in row {n + 2:,}")


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
def test_blank_lines_at_the_end_are_no_rows(pieces, tmp_path, monkeypatch):
    """Neither in a file of one column, where a blank line before a row is a missing value."""
    monkeypatch.setattr(files, "SMALL", 0 if pieces else files.SMALL)
    (tmp_path / "t.csv").write_bytes(text("1", "", "4", head="y", after="\n\n\n"))
    found = gentle.fit(tmp_path / "t.csv", target="y")
    assert (found.n_rows, dict(found.tally.missing)) == (2, {"y": 1})
    (tmp_path / "t.csv").write_bytes(text(*LINES, end="\r\n", after="\r\n\r\n\r\n"))
    assert not gentle.fit(tmp_path / "t.csv", target="y").tally.missing


LATE = {
    "text": (["a", "b"] * 4, RIGHT),
    "numbers": ([1, 4, 9.5, 16, 25, 36, 49, 64], RIGHT),
    "spaced numbers": ([f" {at * at} " for at in range(8)], RIGHT),
    "truths": (["true", "false"] * 4, RIGHT),
    "dates": ([f"2020-01-0{at + 1}" for at in range(8)], "holds dates:"),
}


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("files_of", [1, 2])
@pytest.mark.parametrize("kind", LATE)
def test_a_column_may_be_empty_for_long(kind, files_of, pieces, tmp_path, monkeypatch):
    """For the rows from which types are guessed, or in the first of two files."""
    values, expected = LATE[kind]
    empty = [f"{at % 97},{1 + 2 * (at % 97)}," for at in range(12_000)]
    late = [f"{line},{value}" for line, value in zip(LINES, values, strict=True)]
    parts = [empty + late] if files_of == 1 else [empty, late]
    for at, lines in enumerate(parts):
        (tmp_path / f"{at}.csv").write_bytes(text(*lines, head="x,y,u"))
    check(outcome(tmp_path, monkeypatch, pieces=pieces), expected)
    if isinstance(expected, dict):
        found = gentle.fit(tmp_path, target="y")
        assert (found.n_rows, found.tally.missing["u"]) == (8, 12_000)
        assert found.names[2:] == (("u[T.b]",) if kind == "text" else ("u",))


ODD = {
    "long decimals": pa.array([decimal.Decimal(at) for at in range(8)], pa.decimal256(60, 2)),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([4, 8], pa.int32()), pa.array([1.0, 2.0])),
    "intervals": pa.array([pa.MonthDayNano([1, 2, 3])] * 8),
}


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name", ODD)
def test_types_over_which_polars_panics_are_refused(name, pieces, tmp_path, monkeypatch):
    table = pa.table({"x": X, "y": FRAME["y"].to_list(), "u": ODD[name]})
    feather.write_feather(table, tmp_path / "t.arrow", compression="uncompressed")
    found = outcome(tmp_path / "t.arrow", monkeypatch, pieces=pieces)
    check(found, "a type that cannot be read")
    check(outcome(table, monkeypatch, pieces=pieces), "column 'u' of the frame holds")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"x": [[1], [1, 2]], "y": [1, 2]}, "one length each"),
        (([[1, 2], [1]], [1, 2]), "one length each"),
        ({"x": [1, "a", None], "y": [1, 2, 3]}, "'x' of the frame holds values of several types"),
        ({"x": [None, None], "y": [1, 2]}, "is empty"),
        ("http://[::1", "no place to read from"),
        ("postgresql://me:hunter2@[::1/t", r"^\[::1/t is no place"),
        ("sqlite://", "names no database"),
        (f"sqlite:///{'a' * 300}", "there is no file"),
    ],
)  # fmt: skip
def test_what_cannot_be_rows_is_refused(data, sentence):
    with pytest.raises(GentleError, match=sentence):
        gentle.fit(data, target="y") if not isinstance(data, tuple) else gentle.fit(data)


DECIMALS = [decimal.Decimal(0), None, decimal.Decimal(2), decimal.Decimal(3)]


def test_none_in_a_list_is_a_missing_value():
    for holes in ([0.0, None, 2.0, 3.0], [0, None, 2, 3], [0, None, 2.0, 3], DECIMALS):
        found = gentle.fit({"x": holes, "y": [1.0, 3.0, 5.0, 7.0]}, target="y")
        assert found.tally.missing == {"x": 1}
        check(found.coef, RIGHT)


def test_a_word_among_truths_is_said_as_it_is(tmp_path, monkeypatch):
    """Where types are guessed from the first rows, a later word is refused, and no truth is blamed."""
    lines = [f"{'true' if at % 2 else 'false'},{at}" for at in range(12_000)]
    (tmp_path / "t.csv").write_bytes(text(*lines, "maybe,3"))
    check(outcome(tmp_path / "t.csv", monkeypatch, pieces=True), "`maybe`.* column 'x'")


def database(path, rows, columns="x, y", name="t"):
    with sqlite3.connect(path) as connection:
        name = name.replace('"', '""')
        connection.execute(f'CREATE TABLE "{name}" ({columns})')
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f'INSERT INTO "{name}" VALUES ({marks})', rows)
    connection.close()
    return f"sqlite:///{path}"


SQL = {
    "plain": ([(x, 1 + 2 * x) for x in X], RIGHT),
    "whole numbers and fractions": ([(0, 1), (1, 3), (2.5, 6)], RIGHT),
    "a null": ([(0, 1), (1, 3), (2, 5), (None, 5)], RIGHT),
    "a word": ([(0, 1), (1, 3), ("two", 5)], "column 'x' of t.db holds 'integer' and 'text'"),
    "a blob": ([(b"0", 1), (b"1", 3)], "holds bytes"),
    "nulls alone": (
        [(None, 1), (None, 3)],
        "is empty: every value is missing|8 with a missing 'u'",
    ),
}


@pytest.mark.parametrize("name", SQL)
def test_databases(name, tmp_path, monkeypatch):
    rows, expected = SQL[name]
    uri = database(tmp_path / "t.db", rows)
    check(outcome(uri, monkeypatch, pieces=False), expected)


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+pysqlite"])
@pytest.mark.parametrize(
    "asked",
    [
        "SELECT x, y FROM t -- all of it",
        "SELECT x, y FROM t;",
        "SELECT x, y FROM t; -- all of it",
        "SELECT x, y FROM t -- all of it\n;\n",
        "SELECT x, y FROM t WHERE '; -- a text' <> ''",
        "WITH a AS (SELECT * FROM t) SELECT * FROM a",
    ],
)
def test_a_query_may_end_in_a_comment(asked, driver, tmp_path):
    uri = database(tmp_path / "t.db", SQL["plain"][0]).replace("sqlite", driver, 1)
    source = gentle.sources.open_source(f"{uri}#{asked}")
    tables = [chunk.table for part in source.split(3) for chunk in part.scan(["x"], 2)]
    assert pl.concat(tables)["x"].to_list() == X
    check(gentle.fit(source, target="y").coef, RIGHT)


def test_what_is_no_database_or_has_no_such_table_is_refused(tmp_path):
    uri = database(tmp_path / "t.db", SQL["plain"][0], name='my "odd" table')
    assert gentle.fit(uri, target="y").coef["x"] == pytest.approx(2)
    database(tmp_path / "t.db", SQL["plain"][0], name="other")
    for asked, sentence in {
        "": "say which table or query",
        "#othre": "no table 'othre': did you mean 'other'",
        "#SELECT z FROM other": "no such column: z",
        "#DROP TABLE other": "only one query is taken",
    }.items():
        with pytest.raises(GentleError, match=sentence):
            gentle.fit(uri + asked, target="y")
    assert gentle.fit(uri + "#other", target="y").n_rows == len(X)
    assert gentle.fit(uri + "#SELECT\n*\nFROM\nother", target="y").n_rows == len(X)
    (tmp_path / "none.db").write_bytes(RANDOM)
    with pytest.raises(GentleError, match="not a database"):
        gentle.fit(f"sqlite:///{tmp_path / 'none.db'}", target="y")
    with pytest.raises(GentleError, match="there is no file"):
        gentle.fit(f"sqlite:///{tmp_path / 'lost.db'}", target="y")


@pytest.mark.parametrize(
    ("batches", "sentence"),
    [
        ([], "came to an end before the first one"),
        ([FRAME, FRAME.drop("x")], "batch 2 has no 'x'"),
        ([FRAME, FRAME.with_columns(z=1)], "batch 2 has 'z', which the first one has not"),
        ([FRAME, FRAME.with_columns(x=pl.lit("a"))], "column 'x' holds numbers .* text in batch 2"),
        ([3], "X must have two dimensions"),
        ([{"x": [1, 2], "y": [1]}], "columns by name need one length"),
    ],
)  # fmt: skip
def test_batches_that_do_not_go_together_are_refused(batches, sentence):
    with pytest.raises(GentleError, match=sentence):
        gentle.fit(batches, target="y")


def test_a_function_must_make_its_batches_anew():
    same = iter([FRAME, FRAME])
    with pytest.raises(GentleError, match="the same iterator again"):
        gentle.fit(lambda: same, target="y")


def test_a_batch_without_a_value_in_a_column_goes_with_the_others():
    holes = FRAME.with_columns(x=pl.lit(None))
    found = gentle.fit([FRAME, holes, FRAME], target="y")
    assert found.tally.missing == {"x": len(X)}
    check(found.coef, RIGHT)


def test_a_short_row_is_found_where_files_have_their_columns_in_another_order(
    tmp_path, monkeypatch
):
    (tmp_path / "a.csv").write_bytes(text(*LINES))
    (tmp_path / "b.csv").write_bytes(text("1,0", "3", "5,2", head="y,x"))
    for pieces in (False, True):
        check(outcome(tmp_path, monkeypatch, pieces=pieces), "row 2 .line 3. has 1 field")


def test_pairs_that_do_not_go_together_are_refused():
    pairs = [(np.ones((3, 2)), np.arange(3)), (np.ones((3, 3)), np.arange(3))]
    with pytest.raises(GentleError, match="batch 2 has 4 columns, and the first one has 3"):
        gentle.fit(pairs)


def test_a_key_that_comes_late_is_a_column(tmp_path, monkeypatch):
    lines = [json.dumps({"x": a, "y": 1 + 2 * a}) for a in range(20_000)]
    late = '{"x": 0.5, "y": 2, "u": 1}\n'
    (tmp_path / "t.ndjson").write_text("\n".join(lines) + "\n" + late)
    monkeypatch.setattr(files, "SMALL", 0)
    found = gentle.fit(tmp_path / "t.ndjson", "y ~ x")
    assert found.coef["x"] == pytest.approx(2)
    with pytest.raises(GentleError, match=r"column 'u' of t.ndjson has a missing value in row 1"):
        gentle.fit(tmp_path / "t.ndjson", target="y", missing="raise")


def test_plans_that_are_read_in_turns_give_the_threads_back(tmp_path):
    FRAME.write_parquet(tmp_path / "t.parquet")
    before = [pool["num_threads"] for pool in threadpool_info()]
    one, two = (
        gentle.sources.open_source(pl.scan_parquet(tmp_path / "t.parquet")).scan(["x"], 2)
        for _ in range(2)
    )
    next(one), next(two)
    one.close(), two.close()
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_what_would_be_lost_in_silence_is_refused(tmp_path):
    numbered = FRAME.rename({"x": "1"})
    for formula in ("y ~ .", "y ~ `1`"):  # a quoted name is a column, and no number
        assert gentle.fit(numbered, formula).names[:2] == ("Intercept", "1")
    with pytest.raises(GentleError, match="batch 2 and the first one are of two kinds"):
        gentle.fit([(np.ones((3, 1)), np.arange(3)), FRAME], target="y")
    uri = database(tmp_path / "t.db", SQL["plain"][0])
    with pytest.raises(GentleError, match="two columns of the name 'y'"):
        gentle.fit(uri + "#SELECT x AS y, y FROM t", target="y")
    words = [("zabz", 1.0, 3.0), ("zabz", 2.0, 5.0), ("q", 9.0, 9.0)]
    uri = database(tmp_path / "words.db", words, columns="w, x, y")
    found = gentle.fit(uri + "#SELECT x, y FROM t WHERE w LIKE '%ab%'", target="y")
    assert found.n_rows == 2


def test_a_sentence_holds_no_password():
    with pytest.raises(GentleError) as refused:
        gentle.fit("s3://me:hunter2@nowhere/t.txt?sig=secret", target="y")
    assert "hunter2" not in str(refused.value)
    assert "secret" not in str(refused.value)
