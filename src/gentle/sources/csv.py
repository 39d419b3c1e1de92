"""CSV: a header, then rows of equal length. What polars would mend in silence is refused here."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import dropwhile, islice, takewhile
from os import SEEK_END
from pathlib import Path
from typing import IO, ClassVar, NamedTuple, cast

import polars as pl

from gentle.errors import GentleError, first_line, listed
from gentle.sources.format import Format, stacked
from gentle.sources.plan import Types
from gentle.sources.source import Schema, reads_as_number

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL"]  # texts that stand for a missing value
GUESSED_ROWS = 10_000  # from which types are guessed, where a file is not read whole
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # the first bytes of packed files
OTHERS = {  # first bytes of what is no text -> what it is, and the way out
    b"PK\x03\x04": ("zip", "unpack it, or save a workbook as CSV"),
    b"BZh91AY&SY": ("bzip2", "unpack it"),
    b"\xfd7zXZ": ("xz", "unpack it"),
    b"PAR1\x15": ("Parquet", "let its name end in .parquet"),
    b"ARROW1\0\0": ("Arrow", "let its name end in .arrow"),
}
PLAIN = {  # the same, of a file whose name says nothing of packing
    GZIP: ("gzip", "let its name end in .csv.gz"),
    ZSTANDARD: ("zstandard", "let its name end in .csv.zst"),
}
HEAD_BYTES = 2**16  # of a file, in which its first line ends
_UNFIT = re.compile(
    r"could not parse `(?P<text>.*)` as dtype `(?P<type>[^`]+)` at column '(?P<name>.*)' \(column"
    r"|conversion from `str` to `(?P<to>\w+)` failed in column '(?P<cast>.*)' for",
    re.DOTALL,
)


@dataclass(frozen=True)
class Csv(Format):
    """Also compressed; types are guessed, from all rows where the file is read whole."""

    dtypes: tuple[tuple[str, pl.DataType], ...] = ()  # of columns by name, instead of a guess
    endings: ClassVar[tuple[str, ...]] = (".csv", ".csv.gz", ".csv.zst")

    def typed(self, dtypes: Types) -> Csv:
        return replace(self, dtypes=tuple({**dict(self.dtypes), **dtypes}.items()))

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
        if not any(line.strip() for line in islice(_from_header(path), 1, None)):
            raise GentleError(f"{path} has columns but no rows: there is nothing to fit")

    def read(self, path: Path) -> pl.DataFrame:
        names = _header(path)
        frame = pl.read_csv(
            path,
            infer_schema_length=None,
            null_values=MISSING,
            try_parse_dates=True,
            glob=False,
            schema_overrides=self._raw_types(path, names),
        )
        if frame.to_series(frame.width - 1).null_count():  # a short row ends in nulls
            self.check_rows(path)
            frame = frame[: frame.height - _blank_end(path)]
        frame.columns = names
        asked = dict(self.dtypes)
        return frame.with_columns(
            _as_numbers(column)
            for column in frame
            if column.dtype == pl.String and column.name not in asked
        )

    def _raw_types(self, path: Path, names: Sequence[str]) -> Types:
        """The types that were asked for, by what polars calls the columns."""
        asked = dict(self.dtypes)
        if asked.keys().isdisjoint(names):
            return {}
        raw = pl.scan_csv(path, infer_schema=False, glob=False).collect_schema().names()
        return {of: asked[name] for of, name in zip(raw, names, strict=True) if name in asked}

    def plan(self, paths: Sequence[str], types: Types) -> pl.LazyFrame:
        return stacked([_plan(path, {**dict(self.dtypes), **types}) for path in paths])

    def telling(self, path: Path) -> tuple[str, ...]:
        return tuple(_header(path)[-1:])

    def check_rows(self, path: Path) -> None:
        width = len(_header(path))
        for at in _records(path):
            if at.fields and len(at.fields) != width:
                if at.quotes % 2:
                    raise _open_quote(path, at)
                raise GentleError(
                    f"{path} has {width} columns, but row {at.row} (line {at.line}) has "
                    f"{len(at.fields)} field{'s' * (len(at.fields) != 1)}: every row needs as many as "
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
        if "utf8" in str(error).lower().replace("-", ""):
            return GentleError(f"{path} must be UTF-8, and {_first_not_utf8(Path(path))}")
        try:
            self.check_rows(Path(path))
        except GentleError as ragged:
            return ragged
        for at in _records(Path(path)):
            if at.quotes % 2:
                return _open_quote(Path(path), at)
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
    plan = plan.with_columns(
        pl.col([name for name in guess.spaced if name not in types])
        .str.strip_chars()
        .cast(pl.Float64),
        pl.col([name for name in guess.empty if name not in types]).cast(pl.Null),
    )
    return plan if guess.height is None else plan.head(guess.height)


class Guess(NamedTuple):
    """What the first rows of a file say of its columns, and where its rows end."""

    schema: Schema
    raw: Mapping[str, str]  # what polars calls them, which leaves quotes in a name doubled
    spaced: list[str]  # texts that are numbers between spaces
    empty: list[str]  # columns without a value in any row, read as texts
    height: int | None  # of rows, where blank lines that are none come after them


@lru_cache(maxsize=256)
def _guessed(path: str, changed: int) -> Guess:  # noqa: ARG001  # a file that changed is another
    """A column without a value in the first rows is guessed from the first values that it has."""
    plan = pl.scan_csv(path, infer_schema=False, glob=False)
    first = _typed(plan.head(GUESSED_ROWS).collect())
    later = [column.name for column in first if column.dtype == pl.Null]
    found = _first_values(path, later)
    columns = [found.get(column.name, column) for column in first]
    names = _header(Path(path))
    schema: dict[str, pl.DataType] = {}
    spaced, empty = [], []
    for name, column in zip(names, columns, strict=True):
        number = column.dtype == pl.String and _as_numbers(column).dtype == pl.Float64
        schema[name] = pl.String() if column.dtype == pl.Null else column.dtype
        spaced += [name] * number
        empty += [name] * (column.dtype == pl.Null)
    blank = _blank_end(Path(path))
    height = plan.select(pl.len()).collect(engine="streaming").item() - blank if blank else None
    return Guess(schema, dict(zip(names, first.columns, strict=True)), spaced, empty, height)


def _first_values(path: str, names: Sequence[str]) -> dict[str, pl.Series]:
    """So many values of each column as types are guessed from, wherever they begin."""
    if not names:
        return {}
    texts = pl.scan_csv(path, infer_schema=False, null_values=MISSING, glob=False)
    values = pl.col(names).drop_nulls().head(GUESSED_ROWS).implode()
    found = texts.select(values).collect(engine="streaming")
    return {name: _typed(found.select(name).explode(name))[name] for name in names}


def _typed(texts: pl.DataFrame) -> pl.DataFrame:
    """Texts as the types that all of them allow, Null where there is none."""
    found = pl.read_csv(
        texts.write_csv().encode(),
        infer_schema_length=None,
        null_values=MISSING,
        try_parse_dates=True,
    )
    found.columns = texts.columns  # one pair of quotes in a name went
    return found.cast({each.name: pl.Null for each in found if each.null_count() == found.height})


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
    """Raises GentleError for a file of another kind, and a first line that is no line of text."""
    with open(path, "rb") as file:
        first = file.read(HEAD_BYTES)
    for start, (kind, way_out) in (
        OTHERS | (PLAIN if path.suffix.lower() == ".csv" else {})
    ).items():
        if first.startswith(start):
            raise GentleError(f"{path} begins as {kind} does, and no CSV: {way_out}")
    try:
        with _opened(path) as file:
            head = file.read(HEAD_BYTES)
    except (EOFError, zlib.error):
        raise GentleError(f"{path} is packed and cut short: write or fetch it again") from None
    if head.startswith(ZSTANDARD):
        return
    line = head.lstrip(b"\r\n").partition(b"\n")[0]
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
    """The names of the columns, in the first line that is not blank."""
    try:
        return next(csv.reader(_from_header(path)), [])
    except csv.Error as error:
        raise GentleError(f"{path} cannot be read as CSV: {error}") from None


class Record(NamedTuple):
    """A row of a file as it stands between its lines."""

    row: int  # from 1; the header is 0
    line: int  # on which it begins, from 1
    fields: list[str]
    quotes: int  # an odd number leaves one open


def _records(path: Path) -> Iterator[Record]:
    """The header and the rows; a blank line among them is one without a field."""
    quotes = 0

    def counted() -> Iterator[str]:
        nonlocal quotes
        for line in _from_header(path):
            quotes += line.count('"')
            yield line

    before = sum(1 for _ in takewhile(_is_blank, _lines(path)))
    reader = csv.reader(counted())
    line = 0
    for row, fields in enumerate(reader):
        yield Record(row, before + line + 1, fields, quotes)
        line, quotes = reader.line_num, 0


def _open_quote(path: Path, at: Record) -> GentleError:
    return GentleError(
        f"{path} has a quote without its other half in row {at.row} (line {at.line}): close it, and write "
        'a quote inside of a text twice, such as "5"" wide"'
    )


def _from_header(path: Path) -> Iterator[str]:
    """The lines of a file but for blank ones at its beginning."""
    return dropwhile(_is_blank, _lines(path))


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file with their ends, unpacked where it is compressed."""
    if path.suffix.lower() == ".csv":
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as lines:
            yield from lines
    else:
        for table in pl.scan_lines(path, glob=False).collect_batches(maintain_order=True):
            yield from (f"{line}\n" for line in table["line"].str.strip_prefix("\ufeff"))


def _is_blank(line: str) -> bool:
    return not line.strip("\r\n")


def _blank_end(path: Path) -> int:
    """How many blank lines end the file: they are no rows."""
    with open(path, "rb") as file:
        packed = file.read(len(ZSTANDARD)).startswith((GZIP, ZSTANDARD))
        file.seek(-min(HEAD_BYTES, path.stat().st_size), SEEK_END)
        tail = file.read()
    if not packed and tail.strip(b"\r\n"):  # most files end here
        return max(tail[len(tail.rstrip(b"\r\n")) :].count(b"\n") - 1, 0)
    lines = pl.scan_lines(path, glob=False).select(blank=pl.col("line").str.strip_chars("\r") == "")
    last = pl.col("blank").not_().arg_true().max()
    ends = lines.select(last=last, height=pl.len()).collect(engine="streaming").row(0, named=True)
    return int(ends["height"] - 1 - ends["last"])


def _opened(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked where its first ones say that they are packed by gzip."""
    with open(path, "rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    return cast("IO[bytes]", gzip.open(path)) if packed else open(path, "rb")


def _first_not_utf8(path: Path) -> str:
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            if number == 1 and line.startswith(ZSTANDARD):
                break
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
