"""CSV: a header, then rows of equal length. What polars would mend in silence is refused here."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from gentle.errors import GentleError, listed
from gentle.sources.format import Format, first_line, together
from gentle.sources.plan import Types
from gentle.sources.source import Schema, is_number

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL"]  # texts that stand for a missing value
GUESSED_ROWS = 100_000  # from which types are guessed, where a file is not read whole
_UNFIT = re.compile(
    r"could not parse `(.*)` as dtype `[iu]\d+` at column '(.*)' \(column", re.DOTALL
)


class Csv(Format):
    """Also compressed; types are guessed, from all rows where the file is read whole."""

    endings = (".csv", ".csv.gz", ".csv.zst")

    def check(self, path: Path) -> None:
        names = _header(path)
        if names and all(is_number(name) for name in names):
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
            raise GentleError(f"{path} has no name for column {listed(empty)} in its first line")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise GentleError(
                f"{path} names more than one column {listed(twice)}: rename all but one"
            )

    def read(self, path: Path) -> pl.DataFrame:
        frame = pl.read_csv(
            path, infer_schema_length=None, null_values=MISSING, try_parse_dates=True, glob=False
        )
        if frame.to_series(frame.width - 1).null_count():  # a short row ends in nulls
            self.check_rows(path)
            frame = frame[: frame.height - _blank_end(path)]
        return frame.with_columns(
            _as_numbers(column) for column in frame if column.dtype == pl.String
        )

    def plan(self, paths: Sequence[str], types: Types) -> pl.LazyFrame:
        return together(
            [
                pl.scan_csv(
                    path,
                    infer_schema_length=GUESSED_ROWS,
                    null_values=MISSING,
                    try_parse_dates=True,
                    schema_overrides=dict(types),
                    glob=False,
                )
                for path in paths
            ]
        )

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
        if found is None or found[2] not in schema:
            return {}
        return {found[2]: pl.Float64() if is_number(found[1]) else pl.String()}

    def explain(self, path: str, error: Exception) -> GentleError:
        if "://" in path:
            return GentleError(f"{path} cannot be read: {first_line(error)}")
        if "utf-8" in str(error).lower():
            return GentleError(f"{path} must be UTF-8, and {_first_not_utf8(Path(path))}")
        try:
            self.check_rows(Path(path))
        except GentleError as ragged:
            return ragged
        return GentleError(f"{path} cannot be read as CSV: {first_line(error)}")


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
            yield from (f"{line}\n" for line in table["line"])


def _blank_end(path: Path) -> int:
    """How many blank lines end the file: they are no rows."""
    blank = 0
    for line in _lines(path):
        blank = 0 if line.strip("\r\n") else blank + 1
    return blank


def _first_not_utf8(path: Path) -> str:
    with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as lines:
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
