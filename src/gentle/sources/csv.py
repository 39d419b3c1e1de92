"""CSV: a header, then rows of equal length. What polars would mend in silence is refused here."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TextIO

import polars as pl

from gentle.errors import GentleError, listed
from gentle.sources.source import is_number

SEEKS = False  # where a row stands is known when all before it have been read
MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL"]  # texts that stand for a missing value


def read(path: Path) -> pl.DataFrame:
    """The whole file as a frame, columns of numbers as numbers.

    Raises GentleError for a file that is not a table with a header.
    """
    _check_header(path)
    frame = pl.read_csv(
        path, infer_schema_length=None, null_values=MISSING, try_parse_dates=True, glob=False
    )
    if frame.to_series(frame.width - 1).null_count():  # a short row ends in nulls
        _check_lengths(path, frame.width)
        frame = frame[: frame.height - _blank_end(path)]
    return frame.with_columns(_as_numbers(column) for column in frame if column.dtype == pl.String)


def scan(path: Path) -> pl.LazyFrame:
    """The file as a plan, for one that is read in pieces; every row is checked for its length first."""
    _check_header(path)
    _check_lengths(path, len(_header(path)))
    return pl.scan_csv(
        path, infer_schema_length=100_000, null_values=MISSING, try_parse_dates=True, glob=False
    )


def explain(path: Path, error: Exception) -> GentleError:
    """What polars could not read, in one sentence with its line."""
    if "utf-8" in str(error).lower():
        return GentleError(f"{path} must be UTF-8, and {_first_not_utf8(path)}")
    try:
        _check_lengths(path, len(_header(path)))
    except GentleError as ragged:
        return ragged
    return GentleError(f"{path} cannot be read as CSV: {str(error).splitlines()[0]}")


def _check_header(path: Path) -> None:
    names = _header(path)
    if names and all(is_number(name) for name in names):
        raise GentleError(
            f"{path} needs a first line with the names of its columns, "
            f"and that line holds numbers: {', '.join(names[:6])}"
        )
    other = [mark for mark in ";\t|" if len(names) == 1 and mark in names[0]]
    if other:
        raise GentleError(
            f"{path} separates its columns with {other[0]!r}, and commas are needed: save it with commas"
        )
    empty = [str(at + 1) for at, name in enumerate(names) if not name.strip()]
    if empty:
        raise GentleError(f"{path} has no name for column {listed(empty)} in its first line")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GentleError(f"{path} names more than one column {listed(twice)}: rename all but one")


def _header(path: Path) -> list[str]:
    with _text(path) as lines:
        try:
            return next(csv.reader(lines), [])
        except csv.Error as error:
            raise GentleError(f"{path} cannot be read as CSV: {error}") from None


def _check_lengths(path: Path, width: int) -> None:
    """Raises GentleError for the first row that has more or fewer fields than the header."""
    with _text(path) as lines:
        reader = csv.reader(lines)
        for number, fields in enumerate(reader):
            if fields and len(fields) != width:
                raise GentleError(
                    f"{path} has {width} columns, but row {number} (line {reader.line_num}) has "
                    f"{len(fields)} field{'s' * (len(fields) != 1)}: every row needs as many as "
                    "the first line, and a field that holds a comma needs quotes"
                )


def _blank_end(path: Path) -> int:
    """How many blank lines end the file: they are no rows."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        end = file.read().replace(b"\r\n", b"\n")
    return max(0, len(end) - len(end.rstrip(b"\n")) - 1)


def _first_not_utf8(path: Path) -> str:
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number} holds the byte {line[error.start]:#04x}: save it as UTF-8"
    return "it is not: save it as UTF-8"


def _text(path: Path) -> TextIO:
    return open(path, newline="", encoding="utf-8-sig", errors="replace")


def _as_numbers(column: pl.Series) -> pl.Series:
    """A text column of which every value is a number (' 2', 'inf') as numbers; else unchanged."""
    numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == column.null_count() else column
