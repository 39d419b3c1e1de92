"""SQL: a table or a query of a database, read anew in every pass, and only read."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from os.path import expanduser, isfile
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import polars as pl

from gentle.errors import GentleError, first_line, listed, near
from gentle.forking import reject_lost_pool
from gentle.sources.source import Chunk, Schema, check_place, in_runs, numbered
from gentle.sources.steady import Steady

LITE = "sqlite:///"
DUCK = "duckdb:///"
FAILED = (Exception, pl.exceptions.PanicException)  # each driver raises classes of its own
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

    place: Any  # a URI, or an open connection or engine
    query: str
    name: str
    start: int = 0  # where the first row stands in the answer
    stop: int | None = None  # and the one after the last
    steady: Steady = field(default_factory=Steady)
    seeks: ClassVar[bool] = False
    divides: ClassVar[bool] = False
    sparse: ClassVar[bool] = False
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
        if lost := next((self._unread[name] for name in columns if name in self._unread), None):
            raise GentleError(lost)
        types = {name: self._schema[name] for name in columns}
        with self._connected() as connection:
            listing = ", ".join(_quoted(name, connection) for name in columns)
            for table in _frames(connection, self._part(listing), rows, types):
                for piece in table.iter_slices(rows):
                    yield Chunk(numbered(at, at + piece.height), piece)
                    at += piece.height

    def split(self, parts: int) -> Sequence[Query]:
        return in_runs(self, parts)

    @property
    def _schema(self) -> Schema:
        return self._columns[0]

    @property
    def _unread(self) -> Mapping[str, str]:
        """Column that cannot be read -> why, in a sentence."""
        return self._columns[1]

    @cached_property
    def _columns(self) -> tuple[Schema, Mapping[str, str]]:
        with self._connected() as connection:
            if isinstance(connection, sqlite3.Connection):
                return _lite_schema(connection, self.query, self.name)
            try:
                if not _is_duck(connection):  # over whose intervals polars panics aloud
                    return self._head(connection, "*"), {}
            except FAILED:
                pass
            return self._column_by_column(connection)

    def _head(self, connection: Any, listing: str) -> Schema:
        """Names and types that the first rows have."""
        text = f"{self._select(listing)} {_limit(self.place, 0, HEAD_ROWS)}"
        frames = list(_frames(connection, text, HEAD_ROWS, {}))
        return frames[0].schema if frames else {}

    def _column_by_column(self, connection: Any) -> tuple[Schema, Mapping[str, str]]:
        """The same where some column cannot be read, which matters if it is used."""
        schema: dict[str, pl.DataType] = {}
        unread: dict[str, str] = {}
        columns = _described(connection, f"{self._select('*')} {_limit(self.place, 0, 1)}")
        if _is_duck(connection) and "INTERVAL" not in columns.values():
            return self._head(connection, "*"), {}
        for name, kind in columns.items():
            try:
                if kind == "INTERVAL":
                    raise GentleError("it holds intervals")
                schema.update(self._head(connection, _quoted(name, connection)))
            except FAILED as error:
                schema[name] = pl.String()
                unread[name] = f"column '{name}' of {self.name} cannot be read: {first_line(error)}"
        if not set(schema) - set(unread):
            raise GentleError(next(iter(unread.values()), f"{self.name} answers without columns"))
        return schema, unread

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
        return f"{select} {_limit(self.place, self.start, self.stop - self.start)}"

    def _select(self, listing: str) -> str:
        return f"SELECT {listing} FROM ({self.query}\n) rows_"  # Oracle takes no AS here

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A connection, and what the database says against it in a sentence."""
        try:
            with _connection(self.place) as connection:
                yield connection
        except GentleError:
            raise
        except FAILED as error:
            raise GentleError(f"{self.name} cannot be read: {first_line(error)}") from None


def _limit(place: Any, start: int, rows: int) -> str:
    asked = LIMITS.get(_dialect(place), "LIMIT {rows} OFFSET {start}")
    return asked.format(start=start, rows=rows)


def _dialect(place: Any) -> str:
    """The name of a kind of database, empty where nothing says it."""
    if isinstance(place, str):
        return urlsplit(place).scheme.split("+")[0]
    return str(getattr(getattr(place, "dialect", None), "name", ""))


def is_database(uri: str) -> bool:
    """Whether a text is the URI of a database: of SQLite, or one that SQLAlchemy or ADBC knows.

    Raises GentleError for a URI that cannot be parsed.
    """
    check_place(uri)
    scheme = urlsplit(uri).scheme.split("+")[0]
    return scheme in DATABASES and "://" in uri


DATABASES = (
    "sqlite", "postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle", "duckdb", "snowflake",
    "bigquery", "redshift", "trino", "clickhouse", "databricks",
)  # fmt: skip


def query(place: Any, text: str | None = None) -> Query:
    """The rows of a table, or of a query, of a database.

    Args:
        place: a URI, behind whose '#' the query may stand too, or a connection of SQLite, DuckDB or
            ADBC, or an engine or a connection of SQLAlchemy.
        text: a table, also with its schema as `main.t`, or a query that reads: SELECT, WITH or VALUES.

    Raises GentleError for a database that is not there, for a table that it has not, and for a statement
    that is not one query.
    """
    reject_lost_pool()
    if not isinstance(text, str | None):
        raise GentleError(f"a query is a string, not {type(text).__name__}")
    behind = ""
    name = f"the {type(place).__module__.split('.')[0].lstrip('_')} connection"
    if isinstance(place, str):
        place, _, behind = place.partition("#")
        name = _name(place)
        if place == LITE[:-1]:
            raise GentleError(f"{place} names no database: {LITE}data.db does")
        _check_file(place)
    asked = _END.sub("", (text or behind).strip())
    found = Query(place, "", name)
    with found._connected() as connection:
        tables = _tables(connection)
        if not asked and (tables is None or len(tables) != 1):
            known = (
                ""
                if tables is None
                else f"; there are {listed(tables)}"
                if tables
                else "; it has none"
            )
            way_out = "after a '#'" if isinstance(place, str) else "with gentle.read_sql"
            raise GentleError(f"say which table or query of {name} {way_out}{known}")
        asked = asked or (tables or [""])[0]
        if asked in (tables or ()):
            asked = f"SELECT * FROM {_quoted(asked, connection)}"
        elif len(asked.split()) == 1 and not _READS.match(asked):
            asked = f"SELECT * FROM {_table(asked, tables, connection, name)}"
        check_statement(asked, _dialect(place))
    return replace(found, query=asked)


def read_sql(query_or_table: str, connection: Any) -> Query:
    """Rows of a database, wherever rows are taken: `gentle.fit(gentle.read_sql("sales", engine), ...)`.

    Args:
        query_or_table: a table, also with its schema as `main.sales`, or a query that reads.
        connection: a URI such as "postgresql://host/db", a connection of sqlite3, DuckDB or ADBC, or an
            engine or a connection of SQLAlchemy; one that is open stays open.

    Raises:
        GentleError: for a database or a table that is not there, and for a statement that is not one query.
    """
    return query(connection, query_or_table)


def is_connection(data: Any) -> bool:
    """Whether data are an open connection to a database (PEP 249), or an engine of SQLAlchemy."""
    kind = type(data)
    if kind.__module__.partition(".")[0] == "sqlalchemy":
        return hasattr(data, "dialect")
    return all(callable(getattr(kind, name, None)) for name in ("cursor", "commit", "close"))


_READS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:(?:select|with|values|table|from)\b|\()", re.I | re.S
)
_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]\[']*\]"""
    r"""|(?P<tag>\$\w*\$).*?(?P=tag)|--[^\n]*|/\*.*?\*/|(?P<mark>[;()'"`])""",
    re.S,
)
_WRITES = re.compile(r"\binto\b|\(\s*(?:delete\s+from|update\s+\w+)\b", re.I)
WRITING = ("insert", "update", "delete", "merge", "replace")
_ESCAPED = re.compile(r"\\.", re.S)
ESCAPING = (
    "mysql",
    "mariadb",
    "bigquery",
    "databricks",
    "clickhouse",
    "snowflake",
)  # with \\ in strings


def _blank(token: re.Match[str]) -> str:
    """A token without what is quoted in it, a comment as a space; brackets stay."""
    if token["mark"] in ("(", ")"):
        return token[0]
    return " " if token[0].startswith(("--", "/*")) else " _ "


def _verb_after_names(bare: str) -> str:
    """The verb of a statement that begins with WITH, behind the queries that it names; '' of others."""
    if not re.match("with\\b", bare, re.I):
        return ""
    depth = 0
    for word in re.findall(r"[()]|\w+", bare.lower()):
        depth += (word == "(") - (word == ")")
        if depth == 0 and word in (*WRITING, "select", "values", "table", "from"):
            return str(word)
    return ""


def check_statement(text: str, dialect: str = "") -> None:
    """Raises GentleError for what is not exactly one statement that reads.

    A query becomes a subquery, so its brackets must close within itself.
    """
    if not _READS.match(text):
        raise GentleError(
            f"only one query is taken, SELECT, WITH or VALUES, and this begins with {text.split()[0]!r}"
        )
    readings = [text, _ESCAPED.sub("", text)] if dialect in ESCAPING else [text]
    for reading in readings:
        bare = _TOKEN.sub(_blank, reading).strip()
        if _WRITES.search(bare) or _verb_after_names(bare) in WRITING:
            raise GentleError(
                "only a query that reads is taken, and this one writes: leave that out"
            )
        depth = 0
        for token in _TOKEN.finditer(reading):
            mark = token["mark"]
            depth += (mark == "(") - (mark == ")")
            if mark == ";":
                raise GentleError(
                    "only one query is taken, and this holds a ';': leave out the rest"
                )
            if mark in ("'", '"', "`"):
                raise GentleError(f"the query holds a {mark} without its other half: close it")
            if depth < 0:
                raise GentleError("the query closes a bracket that it has not opened: leave it out")
        if depth:
            raise GentleError("the query opens a bracket that it does not close: close it")


def _table(asked: str, tables: Sequence[str] | None, connection: Any, where: str) -> str:
    """A table as it is named in a query, with its schema where one stands before a point."""
    parts = asked.split(".")
    if tables is not None and len(parts) == 1:
        raise GentleError(f"{where} has no table '{asked}': {near(asked, tables)}")
    quoted = ".".join(_quoted(part, connection) for part in parts)
    try:
        _described(connection, f"SELECT * FROM {quoted} WHERE 1 = 0")
    except FAILED as error:
        raise GentleError(f"{where} has no table '{asked}': {first_line(error)}") from None
    return quoted


def _described(connection: Any, text: str) -> dict[str, str]:
    """The columns that a query answers with, by name, and their types as far as a driver says them."""
    if hasattr(connection, "exec_driver_sql"):
        return dict.fromkeys(connection.exec_driver_sql(text).keys(), "")
    cursor = connection.cursor()
    try:
        cursor.execute(text)
        return {str(column[0]): str(column[1]) for column in cursor.description}
    finally:
        cursor.close()


def _is_duck(connection: Any) -> bool:
    return type(connection).__module__ in ("duckdb", "_duckdb")


def file_of(database: Query) -> str | None:
    """The file of a database that is one, where its URI says so."""
    return _path(database.place) if isinstance(database.place, str) else None


def _path(uri: str) -> str | None:
    """The file of a database that is one, if it is."""
    scheme, _, path = uri.partition(":///")
    if scheme.split("+")[0] in ("sqlite", "duckdb") and path != ":memory:":
        return expanduser(path.partition("?")[0])
    return None


def _check_file(uri: str) -> None:
    path = _path(uri)
    if path is not None and not isfile(path):
        raise GentleError(
            f"there is no file {path}: {uri.partition(':')[0]}:/// needs the path of a database"
        )


@contextmanager
def _connection(place: Any) -> Iterator[Any]:
    """A connection that only reads: SQLite's own, DuckDB's, one of ADBC, or one of SQLAlchemy."""
    if not isinstance(place, str):
        with _begun(place) as connection:
            yield connection
        return
    path = _path(place)
    file = "" if path is None else f"{Path(path).resolve().as_uri()}?mode=ro"
    if place.startswith(LITE):
        with closing(sqlite3.connect(file, uri=True)) as connection:
            yield connection
        return
    if place.startswith(DUCK):
        with closing(_duck(path)) as connection:
            yield connection
        return
    if (driver := _adbc(place)) is not None:
        address = place.replace("+adbc:", ":", 1) if path is None else file
        with closing(driver.connect(address)) as connection:
            yield connection
        return
    try:
        from sqlalchemy import create_engine
    except ImportError:
        raise GentleError(
            f"{_name(place)} is read through ADBC or SQLAlchemy, and neither is installed: pip install "
            "sqlalchemy and the database's driver, or its adbc-driver"
        ) from None
    lite = path is not None and place.startswith("sqlite")
    engine = create_engine(f"{place.partition(':')[0]}:///{file}&uri=true" if lite else place)
    try:
        with _begun(engine) as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _begun(place: Any) -> Iterator[Any]:
    """A connection that was given, or one of an engine; what it is in the middle of stays so."""
    if _is_duck(place):  # one result at a time, and this one may wait
        with closing(place.cursor()) as connection:
            yield connection
        return
    if not hasattr(place, "connect"):
        yield place
        return
    with place.connect() as connection:
        yield connection.execution_options(stream_results=True, postgresql_readonly=True)


def _duck(path: str | None) -> Any:
    try:
        import duckdb
    except ImportError:
        raise GentleError("a DuckDB database needs its library: pip install duckdb") from None
    if path is None:
        return duckdb.connect(":memory:")
    return duckdb.connect(path, read_only=True, config={"autoinstall_known_extensions": "false"})


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
    if _is_duck(connection):
        cursor = connection.cursor()
        found = cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
        ).fetchall()
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


def _lite_schema(
    connection: sqlite3.Connection, text: str, where: str
) -> tuple[Schema, Mapping[str, str]]:
    """SQLite types values, not columns: the type of all values of a column, and why some have none."""
    names = [each[0] for each in connection.execute(text).description]
    kinds = ", ".join(
        f"GROUP_CONCAT(DISTINCT TYPEOF({_quoted(name, connection)}))" for name in names
    )
    found = connection.execute(f"SELECT {kinds} FROM ({text}\n)").fetchone()
    schema: dict[str, pl.DataType] = {}
    unread: dict[str, str] = {}
    for name, kind in zip(names, found, strict=True):
        own = set((kind or "null").split(",")) - {"null"}
        if own == {"integer", "real"}:
            own = {"real"}
        if name in schema:
            unread[name] = (
                f"{where} answers with two columns of the name '{name}': rename one with AS"
            )
        elif len(own) > 1:
            unread[name] = (
                f"column '{name}' of {where} holds {listed(sorted(own))} values: one type is needed, "
                "such as by CAST or NULLIF in a query"
            )
        schema[name] = pl.String() if len(own) > 1 else LITE_TYPES[own.pop()] if own else pl.Null()
    return schema, unread


def _name(uri: str) -> str:
    """What an error calls a database: its place, without a password."""
    parts = urlsplit(uri)
    place = parts.netloc.rpartition("@")[2] + parts.path
    return place.rpartition("/")[2] or place
