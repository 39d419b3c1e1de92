"""SQL: a table or a query of a database, read anew in every pass."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from os.path import isfile
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import polars as pl

from gentle.errors import GentleError, first_line, listed, near
from gentle.sources.source import Chunk, Schema, in_runs, numbered
from gentle.sources.steady import Steady

LITE = "sqlite:///"
HEAD_ROWS = 1_000  # from which a database's types are seen
LIMITS = {  # database -> how a run of rows is asked for, where that is not LIMIT
    "mssql": "ORDER BY (SELECT NULL) OFFSET {start} ROWS FETCH NEXT {rows} ROWS ONLY",
    "oracle": "OFFSET {start} ROWS FETCH NEXT {rows} ROWS ONLY",
}
_END = re.compile(r"(;\s*(--[^\n'\"]*(\n|$)\s*)*)+$")  # semicolons, and comments behind them
ADBC = {"postgres": "postgresql"}  # scheme -> what its driver goes by, where that is another name
LITE_TYPES = {"integer": pl.Int64(), "real": pl.Float64(), "text": pl.String(), "blob": pl.Binary()}


@dataclass(frozen=True, eq=False)
class Query:
    """What a database answers to a query; the rows come in the order in which it gives them."""

    uri: str
    query: str
    name: str
    start: int = 0  # where the first row stands in the answer
    stop: int | None = None  # and the one after the last
    steady: Steady = field(default_factory=Steady)
    seeks: ClassVar[bool] = False
    divides: ClassVar[bool] = False
    sparse: ClassVar[bool] = False
    index: ClassVar[tuple[str, ...]] = ()
    replayable: ClassVar[bool] = True

    def schema(self) -> Schema:
        return self._schema

    def height(self) -> int:
        return self._height

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        again = (self.start, self.stop) == (0, None)
        chunks = self._chunks(columns, rows)
        yield from self.steady.watched(chunks, self.name) if again else chunks

    def _chunks(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        at = self.start
        types = {name: self._schema[name] for name in columns}
        with self._connected() as connection:
            listing = ", ".join(_quoted(name, connection) for name in columns)
            for table in _frames(connection, self._part(listing), rows, types):
                for piece in table.iter_slices(rows):
                    yield Chunk(numbered(at, at + piece.height), piece)
                    at += piece.height

    def split(self, parts: int) -> Sequence[Query]:
        return in_runs(self, parts)

    @cached_property
    def _schema(self) -> Schema:
        with self._connected() as connection:
            if isinstance(connection, sqlite3.Connection):
                return _lite_schema(connection, self.query, self.name)
            head = f"{self._select('*')} {_limit(self.uri, 0, HEAD_ROWS)}"
            frames = list(_frames(connection, head, HEAD_ROWS, {}))
            return frames[0].schema if frames else {}

    @cached_property
    def _height(self) -> int:
        if self.stop is not None:
            return self.stop - self.start
        with self._connected() as connection:
            found = int(next(_frames(connection, self._select("COUNT(*) AS n"), 1, {})).item())
        return self.steady.count(found, self.name)

    def _part(self, listing: str) -> str:
        select = self._select(listing)
        if self.stop is None:
            return select
        return f"{select} {_limit(self.uri, self.start, self.stop - self.start)}"

    def _select(self, listing: str) -> str:
        return f"SELECT {listing} FROM ({self.query}\n) rows_"  # Oracle takes no AS here

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A connection, and what the database says against it in a sentence."""
        try:
            with _connection(self.uri) as connection:
                yield connection
        except GentleError:
            raise
        except Exception as error:  # each driver raises classes of its own
            raise GentleError(f"{self.name} cannot be read: {first_line(error)}") from None


def _limit(uri: str, start: int, rows: int) -> str:
    asked = LIMITS.get(urlsplit(uri).scheme.split("+")[0], "LIMIT {rows} OFFSET {start}")
    return asked.format(start=start, rows=rows)


def is_database(uri: str) -> bool:
    """Whether a text is the URI of a database: of SQLite, or one that SQLAlchemy or ADBC knows."""
    scheme = urlsplit(uri).scheme.split("+")[0]
    return scheme in DATABASES and "://" in uri


DATABASES = (
    "sqlite", "postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle", "duckdb", "snowflake",
    "bigquery", "redshift", "trino", "clickhouse", "databricks",
)  # fmt: skip


def query(uri: str, text: str | None = None) -> Query:
    """The rows of a table, or of a query, which may also stand behind a '#' of the URI.

    Raises GentleError for a database that is not there and for a table that it has not.
    """
    place, _, behind = uri.partition("#")
    name = _name(place)
    if place == LITE[:-1]:
        raise GentleError(f"{place} names no database: {LITE}data.db does")
    asked = _END.sub("", (text or behind).strip())
    if place.startswith(LITE):
        _check_file(place)
    found = Query(place, "", name)
    with found._connected() as connection:
        tables = _tables(connection)
        if not asked and (tables is None or len(tables) != 1):
            there = (
                ""
                if tables is None
                else f"; there are {listed(tables)}"
                if tables
                else "; it has none"
            )
            raise GentleError(f"say which table or query of {name} after a '#'{there}")
        asked = asked or (tables or [""])[0]
        if len(asked.split()) == 1 or asked in (tables or ()):
            if tables is not None and asked not in tables:
                raise GentleError(f"{name} has no table '{asked}': {near(asked, tables)}")
            asked = f"SELECT * FROM {_quoted(asked, connection)}"
    return replace(found, query=asked)


def _check_file(uri: str) -> None:
    path = uri.removeprefix(LITE)
    if not isfile(path):
        raise GentleError(f"there is no file {path}: {LITE} needs the path of a database")


@contextmanager
def _connection(uri: str) -> Iterator[Any]:
    """A connection: SQLite's own, which writes nothing, one of ADBC, or one of SQLAlchemy."""
    if uri.startswith(LITE):
        path = Path(uri.removeprefix(LITE)).resolve()
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            yield connection
        return
    if (driver := _adbc(uri)) is not None:
        place = uri.replace("+adbc:", ":", 1).removeprefix(LITE)
        with closing(driver.connect(place)) as connection:
            yield connection
        return
    try:
        from sqlalchemy import create_engine
    except ImportError:
        raise GentleError(
            f"{_name(uri)} is read through ADBC or SQLAlchemy, and neither is here: pip install sqlalchemy "
            "and the database's driver, or its adbc-driver"
        ) from None
    engine = create_engine(uri)
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            yield connection
    finally:
        engine.dispose()


def _adbc(uri: str) -> Any:
    """The module of ADBC's driver for a database, where it is here and the URI names no other."""
    database, _, driver = urlsplit(uri).scheme.partition("+")
    if driver not in ("", "adbc"):
        return None
    name = f"adbc_driver_{ADBC.get(database, database)}"
    return import_module(f"{name}.dbapi") if find_spec(name) else None


def _frames(connection: Any, text: str, rows: int, types: Schema) -> Iterator[pl.DataFrame]:
    """The answer to a query, so many rows at a time."""
    found = pl.read_database(
        text,
        connection,
        iter_batches=True,
        batch_size=rows,
        schema_overrides=dict(types),
        infer_schema_length=None,
    )
    yield from found


def _tables(connection: Any) -> list[str] | None:
    """The tables and views; None where a driver does not list them."""
    if isinstance(connection, sqlite3.Connection):
        found = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
        )
        return sorted(name for (name,) in found)
    if not hasattr(connection, "dialect"):
        return None
    from sqlalchemy import inspect

    seen = inspect(connection)
    return sorted([*seen.get_table_names(), *seen.get_view_names()])


def _quoted(name: str, connection: Any) -> str:
    if not hasattr(connection, "dialect"):
        return '"' + name.replace('"', '""') + '"'
    return str(connection.dialect.identifier_preparer.quote_identifier(name))


def _lite_schema(connection: sqlite3.Connection, text: str, where: str) -> Schema:
    """SQLite types values, not columns: the type that holds all values of a column."""
    names = [each[0] for each in connection.execute(text).description]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise GentleError(
            f"{where} answers with two columns of the name {listed(twice)}: rename one with AS"
        )
    kinds = ", ".join(
        f"GROUP_CONCAT(DISTINCT TYPEOF({_quoted(name, connection)}))" for name in names
    )
    found = connection.execute(f"SELECT {kinds} FROM ({text}\n)").fetchone()
    schema: dict[str, pl.DataType] = {}
    for name, kind in zip(names, found, strict=True):
        own = set((kind or "null").split(",")) - {"null"}
        if own == {"integer", "real"}:
            own = {"real"}
        if len(own) > 1:
            raise GentleError(
                f"column '{name}' of {where} holds {listed(sorted(own))} values: one type is needed"
            )
        schema[name] = LITE_TYPES[own.pop()] if own else pl.Null()
    return schema


def _name(uri: str) -> str:
    """What an error calls a database: its place, without a password."""
    parts = urlsplit(uri)
    place = parts.netloc.rpartition("@")[2] + parts.path
    return place.rpartition("/")[2] or place
