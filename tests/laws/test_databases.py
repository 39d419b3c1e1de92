"""Databases: whatever speaks SQL is data, only what is used is read, and nothing is ever written."""

import hashlib
import sqlite3

import adbc_driver_sqlite.dbapi
import duckdb
import pytest
import sqlalchemy

import gentle
from gentle.errors import GentleError
from gentle.sources import open_source
from gentle.sources.sql import check_statement

ROWS = [(at, 1 + 2 * at) for at in range(8)]
BAD = [*ROWS[:3], ("", 7)]  # an empty text in a column of integers


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with l.db of SQLite and d.db of DuckDB, in which the process stands."""
    monkeypatch.chdir(tmp_path)
    lite = sqlite3.connect("l.db")
    lite.execute("CREATE TABLE t (x INTEGER, y INTEGER, u INTEGER)")
    lite.executemany(
        "INSERT INTO t VALUES (?, ?, ?)", [(x, y, "" if x == 3 else x) for x, y in ROWS]
    )
    lite.execute("CREATE VIEW v AS SELECT x, y FROM t")
    lite.commit()
    lite.close()
    duck = duckdb.connect("d.db")
    duck.execute(
        "CREATE TABLE t AS SELECT i AS x, 1 + 2 * i AS y, INTERVAL 1 DAY AS u FROM range(8) r(i)"
    )
    duck.execute("CREATE SCHEMA s")
    duck.execute("CREATE TABLE s.w AS SELECT x, y FROM t")
    duck.close()
    return tmp_path


def right(data):
    fit = gentle.fit(data, "y ~ x")
    assert (fit.n_rows, fit.coef["x"], fit.coef["Intercept"]) == pytest.approx((8, 2, 1))
    assert fit.predict(data) == pytest.approx([1 + 2 * at for at in range(8)])


URIS = [
    "sqlite:///l.db#t", "sqlite:///l.db#main.t", "sqlite:///l.db#v", "sqlite:///l.db#SELECT x, y FROM t",
    "sqlite:///l.db#VALUES_", "sqlite+pysqlite:///l.db#t", "sqlite+pysqlite:///l.db#main.t",
    "sqlite+adbc:///l.db#v", "duckdb:///d.db#t", "duckdb:///d.db#main.t", "duckdb:///d.db#s.w", "duckdb:///d.db",
    "duckdb:///d.db#SELECT x, y FROM t WHERE x >= 0 -- all", "duckdb:///d.db#FROM t",
    "duckdb:///d.db#WITH a AS (SELECT * FROM t) SELECT x, y FROM a",
]  # fmt: skip


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("uri", [uri for uri in URIS if "VALUES_" not in uri])
def test_a_table_or_a_query_is_data(uri):
    right(uri)


@pytest.mark.usefixtures("folder")
def test_a_query_without_a_table_is_data():
    assert (
        gentle.fit("sqlite:///l.db#VALUES (1, 2), (2, 4), (3, 7)", "column2 ~ column1").n_rows == 3
    )


@pytest.mark.usefixtures("folder")
def test_connections_are_data_and_stay_open():
    lite, duck = sqlite3.connect("l.db"), duckdb.connect("d.db")
    adbc = adbc_driver_sqlite.dbapi.connect("l.db")
    engine = sqlalchemy.create_engine("sqlite:///l.db")
    with engine.connect() as alchemy:
        for connection in (lite, duck, adbc, engine, alchemy):
            for asked in ("t", "SELECT x, y FROM t"):
                right(gentle.read_sql(asked, connection))
                right((connection, asked))
        assert lite.execute("SELECT COUNT(*) FROM t").fetchone() == (8,)
        assert duck.execute("SELECT COUNT(*) FROM t").fetchall() == [(8,)]
        assert alchemy.exec_driver_sql("SELECT COUNT(*) FROM t").fetchone() == (8,)
        right(duck)
        right(duck.sql("SELECT x, y FROM t"))
        with pytest.raises(GentleError, match=r"say which table.*read_sql.*'t' and 'v'"):
            gentle.fit(lite, "y ~ x")
        with pytest.raises(GentleError, match="no table 'tt'"):
            gentle.fit((engine, "tt"), "y ~ x")
    adbc.close()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("uri", ["sqlite:///l.db#t", "duckdb:///d.db#t"])
def test_a_column_that_cannot_be_read_matters_if_it_is_used(uri):
    right(uri)
    with pytest.raises(GentleError, match=r"column 'u' of \w.db (holds|cannot be read)"):
        gentle.fit(uri, "y ~ x + u")


@pytest.mark.usefixtures("folder")
def test_two_columns_of_one_name_matter_if_they_are_used():
    right("sqlite:///l.db#SELECT x, y, u AS z, u AS z FROM t")
    with pytest.raises(GentleError, match="two columns of the name 'z'"):
        gentle.fit("sqlite:///l.db#SELECT x, y, u AS z, u AS z FROM t", "y ~ z")


def snapshot(folder):
    """Path -> digest of all that stands below a folder."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


STATEMENTS = [
    "ATTACH 'a.db' AS a", "ATTACH DATABASE 'a.db' AS a", "VACUUM INTO 'v.db'", "VACUUM", "DROP TABLE t",
    "DELETE FROM t", "INSERT INTO t VALUES (1, 2, 3)", "UPDATE t SET x = 0", "CREATE TABLE z (a)",
    "PRAGMA user_version = 7",
    "PRAGMA journal_mode = wal", "COPY t TO 'out.csv'", "COPY (SELECT 1) TO 'out.csv'",
    "EXPORT DATABASE 'out'",
    "INSTALL httpfs", "LOAD httpfs", "EXPLAIN SELECT 1", "BEGIN", "SET threads = 1",
    "CALL x()", "DETACH main", "CHECKPOINT",
    "REINDEX", "ANALYZE", "ALTER TABLE t RENAME TO z",
    "REPLACE INTO t VALUES (1, 2, 3)", "TRUNCATE t",
]  # fmt: skip
WRAPS = [
    "{}", "{};", "SELECT x, y FROM t; {}", "SELECT x, y FROM t;{};", "/* a */ {}", "-- a\n{}",
    "SELECT 1) a; {} --",
    "SELECT ';' ; {}", "SELECT $$;$$; {}", "SELECT 'it''s'; {}", 'SELECT "a;b"; {}', "SELECT 1 /* ; */; {}",
    "WITH a AS (SELECT 1) SELECT * FROM a; {}", "({})",
    "SELECT * FROM ({}) z", "WITH a AS ({}) SELECT * FROM a",
    "WITH a AS (SELECT 1 AS x) {}", "SELECT x, y FROM t) TO 'out.csv' --", "SELECT x FROM t) UNION ({}",
    "VALUES (1); {}", "FROM t; {}", "SELECT 1 --\n; {}", "SELECT [a;b]; {}", "SELECT `a`; {}", "\n\t {}",
]  # fmt: skip


@pytest.mark.parametrize(
    "place", ["sqlite:///l.db", "sqlite+pysqlite:///l.db", "sqlite+adbc:///l.db", "duckdb:///d.db"]
)
def test_no_query_changes_anything_on_disk(place, folder, proofs):
    before = snapshot(folder)
    queries = [wrap.format(statement) for wrap in WRAPS for statement in STATEMENTS]
    for query in queries if proofs else queries[:: 23 if "duck" in place else 3]:
        with pytest.raises(GentleError):
            gentle.fit(f"{place}#{query}", "y ~ x")
    assert snapshot(folder) == before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+pysqlite", "sqlite+adbc", "duckdb"])
def test_a_database_that_is_not_there_is_not_made(scheme, folder):
    before = snapshot(folder)
    for path in ("missing.db", "none/missing.db", str(folder / "missing.db"), "~/missing.db"):
        with pytest.raises(GentleError, match="there is no file"):
            gentle.fit(f"{scheme}:///{path}#t", "y ~ x")
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("text", "dialect"),
    [("SELECT 'a\\'; DROP TABLE t; --'", "mysql"), ("SELECT 'a\\\\'; DROP TABLE t", "mysql")],
)
def test_backslashes_in_strings_hide_nothing(text, dialect):
    with pytest.raises(GentleError):
        check_statement(text, dialect)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT ';', '--', '/*' FROM t -- ; end", "select * from (values (1), (2)) v", "(SELECT 1)",
        "SELECT 'C:\\' AS p", "/* a; */ SELECT 1", "SELECT $q$;)$q$",
        'SELECT "a""b;"', "SELECT [a;b] FROM t",
    ],
)  # fmt: skip
def test_one_query_in_any_writing_is_taken(text):
    check_statement(text)


def test_a_database_in_wal_mode_is_read_and_left_as_it_is(tmp_path):
    path = tmp_path / "w.db"
    lite = sqlite3.connect(path)
    lite.execute("PRAGMA journal_mode = wal")
    lite.execute("CREATE TABLE t (x, y)")
    lite.executemany("INSERT INTO t VALUES (?, ?)", ROWS)
    lite.commit()
    right(f"sqlite:///{path}#t")
    lite.close()
    before = path.read_bytes()
    right(f"sqlite:///{path}#t")
    assert path.read_bytes() == before


def test_the_source_says_where_it_is_from(folder):  # noqa: ARG001
    assert open_source("duckdb:///d.db#t").name == "d.db"
    assert open_source((sqlite3.connect("l.db"), "t")).name == "the sqlite3 connection"
