"""CSV: a header, then rows of equal length. What polars would mend in silence is refused here."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, cast

import polars as pl

from gentle.errors import GentleError, first_line, listed
from gentle.sources.format import Format, together
from gentle.sources.plan import Types
from gentle.sources.source import Schema, reads_as_number

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL"]  # texts that stand for a missing value
GUESSED_ROWS = 10_000  # from which types are guessed, where a file is not read whole
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # the first bytes of packed files
HEAD_BYTES = 2**16  # of a file, in which its first line ends
_UNFIT = re.compile(
    r"could not parse `(?P<text>.*)` as dtype `(?P<type>[^`]+)` at column '(?P<name>.*)' \(column"
    r"|conversion from `str` to `(?P<to>\w+)` failed in column '(?P<cast>.*)' for",
    re.DOTALL,
)


class Csv(Format):
    """Also compressed; types are guessed, from all rows where the file is read whole."""

    endings = (".csv", ".csv.gz", ".csv.zst")

    def check(self, path: Path) -> None:
        _check_bytes(path)
        names = _header(path)
        if names and all(reads_as_number(name) for name in names):
            raise GentleError(
                f"{path} needs a first line with the names of its columns, "
                f"and that line holds numbers: {', '.join(names[:6])}"
            )
        other = [mark for mark in ";\t|" if len(names) == 1 and mark in names[0]]
        if other:
            raise GentleError(
                f"{path} separates its columns with {other[0]!r}, and commas are needed: save it with "
                "commas"
            )
        empty = [str(at + 1) for at, name in enumerate(names) if not name.strip()]
        if empty:
            raise GentleError(
                f"{path} has no name for column {listed(empty)} in its first line: name it, or write the "
                "file without its index (in pandas to_csv(index=False))"
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise GentleError(
                f"{path} names more than one column {listed(twice)}: rename all but one"
            )
        if not any(line.strip() for line in islice(_lines(path), 1, None)):
            raise GentleError(f"{path} has columns but no rows: there is nothing to fit")

    def read(self, path: Path) -> pl.DataFrame:
        frame = pl.read_csv(
            path, infer_schema_length=None, null_values=MISSING, try_parse_dates=True, glob=False
        )
        if frame.to_series(frame.width - 1).null_count():  # a short row ends in nulls
            self.check_rows(path)
            frame = frame[: frame.height - _blank_end(path)]
        frame.columns = _header(path)
        return frame.with_columns(
            _as_numbers(column) for column in frame if column.dtype == pl.String
        )

    def plan(self, paths: Sequence[str], types: Types) -> pl.LazyFrame:
        return together([_plan(path, types) for path in paths])

    def telling(self, path: Path) -> tuple[str, ...]:
        return tuple(_header(path)[-1:])

    def check_rows(self, path: Path) -> None:
        width = len(_header(path))
        reader = csv.reader(_lines(path))
        for number, fields in enumerate(reader):
            if fields and len(fields) != width:
                raise GentleError(
                    f"{path} has {width} columns, but row {number} (line {reader.line_num}) has "
                    f"{len(fields)} field{'s' * (len(fields) != 1)}: every row needs as many as "
                    "the first line, and a field that holds a comma needs quotes"
                )

    def wider(self, error: Exception, schema: Schema) -> Types:
        found = _UNFIT.search(str(error))
        if not found or found["name"] not in schema or found["type"][0] not in "iu":
            return {}
        return {found["name"]: pl.Float64()} if reads_as_number(found["text"]) else {}

    def settled(self, paths: Sequence[str]) -> Types:
        schema = self.plan(paths, {}).collect_schema()
        guessed = [name for name, dtype in schema.items() if dtype != pl.String]
        types: dict[str, pl.DataType] = {}
        while True:
            try:
                for _ in self.plan(paths, types).select(guessed).collect_batches():
                    pass
                return types
            except pl.exceptions.PolarsError as error:
                found = _UNFIT.search(str(error))
                name = str(found["name"]) if found else ""
                if name not in schema or types.get(name) == pl.String:
                    raise
                types |= self.wider(error, schema) or {name: pl.String()}

    def explain(self, path: str, error: Exception) -> GentleError:
        if "://" in path:
            return GentleError(f"{path} cannot be read: {first_line(error)}")
        if "utf-8" in str(error).lower():
            return GentleError(f"{path} must be UTF-8, and {_first_not_utf8(Path(path))}")
        try:
            self.check_rows(Path(path))
        except GentleError as ragged:
            return ragged
        found = _UNFIT.search(str(error))
        numeric = found and (found["type"] or found["to"])[0] in "iuf"
        if found and numeric and (word := _first_word(path, found)):
            return word
        return GentleError(f"{path} cannot be read as CSV: {first_line(error)}")


def _plan(path: str, types: Types) -> pl.LazyFrame:
    """The rows of one file, its names as they stand between quotes and its numbers without spaces."""
    if "://" in path:
        return pl.scan_csv(path, null_values=MISSING, try_parse_dates=True, schema_overrides=types)
    guess = _guessed(path, Path(path).stat().st_mtime_ns)
    schema = {name: types.get(name, dtype) for name, dtype in guess.schema.items()}
    raw = {guess.raw[name]: dtype for name, dtype in schema.items()}
    plan = pl.scan_csv(path, schema=raw, null_values=MISSING, glob=False)
    if list(raw) != list(schema):
        plan = plan.rename(dict(zip(raw, schema, strict=True)))
    return plan.with_columns(pl.col(guess.spaced).str.strip_chars().cast(pl.Float64))


class Guess(NamedTuple):
    """What the first rows of a file say of its columns."""

    schema: Schema
    raw: Mapping[str, str]  # what polars calls them, which leaves quotes in a name doubled
    spaced: list[str]  # texts that are numbers between spaces


@lru_cache(maxsize=256)
def _guessed(path: str, changed: int) -> Guess:  # noqa: ARG001  # a file that changed is another
    """A column without a value in the first rows is taken for numbers."""
    frame = pl.scan_csv(
        path,
        infer_schema_length=GUESSED_ROWS,  # None would read the whole file, whatever n_rows says
        n_rows=GUESSED_ROWS,
        null_values=MISSING,
        try_parse_dates=True,
        glob=False,
    ).collect()
    raw = frame.columns
    frame.columns = _header(Path(path))
    numbers = {
        column.name: _as_numbers(column).dtype for column in frame if column.dtype == pl.String
    }
    empty = [name for name, dtype in numbers.items() if dtype == pl.Null]
    spaced = [name for name, dtype in numbers.items() if dtype == pl.Float64]
    schema = {**frame.schema, **dict.fromkeys(empty, pl.Float64())}
    return Guess(schema, dict(zip(frame.columns, raw, strict=True)), spaced)


def _first_word(path: str, unfit: re.Match[str]) -> GentleError | None:
    """Where the first text stands in a column of numbers."""
    name = unfit["name"] or unfit["cast"]
    texts = pl.scan_csv(path, infer_schema=False, null_values=MISSING, glob=False).select(name)
    number = pl.col(name).str.strip_chars().cast(pl.Float64, strict=False)
    words = texts.with_row_index("row").filter(number.is_null() & pl.col(name).is_not_null())
    found = words.head(1).collect()
    if not found.height:
        return None
    return GentleError(
        f"column '{name}' of {path} must be numbers, but holds '{found[name][0]}' in row "
        f"{found['row'][0] + 1:,}"
    )


def _check_bytes(path: Path) -> None:
    """Raises GentleError for a first line that is no line of text."""
    try:
        with _opened(path) as file:
            head = file.read(HEAD_BYTES)
    except (EOFError, zlib.error):
        raise GentleError(f"{path} is packed and cut short: write or fetch it again") from None
    if head.startswith(ZSTANDARD):
        return
    line = head.partition(b"\n")[0]
    if b"\0" in line or line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise GentleError(
            f"{path} must be UTF-8, and has a NUL in its first line: save it as UTF-8"
        )
    if b"\r" in head and b"\n" not in head:
        raise GentleError(
            f"{path} ends its lines with carriage returns alone: save it with newlines"
        )
    try:
        line.decode()
    except UnicodeDecodeError:
        raise GentleError(f"{path} must be UTF-8, and {_first_not_utf8(path)}") from None


def _header(path: Path) -> list[str]:
    try:
        return next(csv.reader(_lines(path)), [])
    except csv.Error as error:
        raise GentleError(f"{path} cannot be read as CSV: {error}") from None


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file with their ends, unpacked where it is compressed."""
    if path.suffix.lower() == ".csv":
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as lines:
            yield from lines
    else:
        for table in pl.scan_lines(path, glob=False).collect_batches(maintain_order=True):
            yield from (f"{line}\n" for line in table["line"].str.strip_prefix("\ufeff"))


def _blank_end(path: Path) -> int:
    """How many blank lines end the file: they are no rows."""
    blank = 0
    for line in _lines(path):
        blank = 0 if line.strip("\r\n") else blank + 1
    return blank


def _opened(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked where its first ones say that they are packed by gzip."""
    with open(path, "rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    return cast("IO[bytes]", gzip.open(path)) if packed else open(path, "rb")


def _first_not_utf8(path: Path) -> str:
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number} holds the byte {line[error.start]:#04x}: save it as UTF-8"
    return "it is not: save it as UTF-8"


def _as_numbers(column: pl.Series) -> pl.Series:
    """A text column of which every value is a number (' 2', 'inf') as numbers; else unchanged."""
    if column.null_count() == len(column):
        return column.cast(pl.Null)
    numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == column.null_count() else column
