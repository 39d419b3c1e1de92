"""CSV: a header, then rows of equal length. What polars would repair in silence is refused here."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import polars as pl

from gentle.errors import GentleError, first_line, listed
from gentle.sources.dialect import ANY, PLAIN_NUMBER, Dialect, Number, infer_numbers
from gentle.sources.format import Format, Remark, stacked
from gentle.sources.plan import Types
from gentle.sources.source import Schema, reads_as_number
from gentle.sources.text import (
    GZIP,
    HEAD_BYTES,
    ZSTANDARD,
    Record,
    Text,
    byte_order_encoding,
    opened,
)

GUESSED_ROWS = 10_000  # from which types are guessed, where a file is not read whole
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
_DATE = r"^\s*\d{1,4}[-/:.]\d"
_UNFIT = re.compile(
    r"could not parse `(?P<text>.*)` as dtype `(?P<type>[^`]+)` at column '(?P<name>.*)' \(column"
    r"|conversion from `str` to `(?P<to>\w+)` failed in column '(?P<cast>.*)' for",
    re.DOTALL,
)


@dataclass(frozen=True)
class Csv(Format):
    """Also compressed; what the dialect leaves open is inferred, from all rows of a small file."""

    dialect: Dialect = ANY
    inferred: dict[str, Sequence[Column]] = field(default_factory=dict, init=False, compare=False)
    endings: ClassVar[tuple[str, ...]] = tuple(
        name + packed for name in (".csv", ".tsv") for packed in ("", ".gz", ".zst")
    )

    def typed(self, dtypes: Types) -> Csv:
        return replace(self, dialect=self.dialect.typed(dtypes))

    def check(self, path: Path) -> None:
        _check_bytes(path, self.dialect)
        names = self._text(path).header()
        if names and all(reads_as_number(name) for name in names):
            raise GentleError(
                f"{path} needs a first line with the names of its columns, "
                f"and that line holds numbers: {', '.join(names[:6])}"
            )
        empty = [str(at + 1) for at, name in enumerate(names) if not name.strip()]
        if empty:
            raise GentleError(
                f"{path} has no name for column {listed(empty)} in its first line: name it, or write the "
                "file without its index (in pandas to_csv(index=False))"
            )
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            raise GentleError(
                f"{path} names more than one column {listed(twice)}: rename all but one"
            )
        if not any(line.strip() for line in islice(self._text(path).from_header(), 1, None)):
            raise GentleError(f"{path} has columns but no rows: there is nothing to fit")

    def read(self, path: Path) -> pl.DataFrame:
        text = self._text(path)
        frame = text.frame()
        if frame.to_series(frame.width - 1).null_count():  # a short row ends in nulls
            self.check_rows(path)
            frame = frame[: frame.height - text.blank_end()]
        frame.columns = text.header()
        columns = self.inferred[str(path)] = infer_columns(frame, self.dialect)
        return frame.select(column.parse(frame[column.name]) for column in columns)

    def remarks(self, path: Path) -> tuple[Remark, ...]:
        columns = self.inferred.get(str(path))
        if columns is None:
            columns = _guessed(self._text(path)).columns
        return (*self._text(path).remarks, *remarks(columns, self.dialect))

    def plan(self, paths: Sequence[str], types: Types) -> pl.LazyFrame:
        return stacked([self._plan(path, types) for path in paths])

    def telling(self, path: Path) -> tuple[str, ...]:
        return tuple(self._text(path).header()[-1:])

    def check_rows(self, path: Path) -> None:
        text = self._text(path)
        width = len(text.header())
        for at in text.records():
            if at.fields and len(at.fields) != width:
                if at.quotes % 2:
                    raise _open_quote(path, at)
                raise GentleError(
                    f"{path} has {width} columns, but row {at.row} (line {at.line}) has "
                    f"{len(at.fields)} field{'s' * (len(at.fields) != 1)}: every row needs as many as "
                    f"the first line, and a field that holds a {text.mark} needs quotes"
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
                name = str(found["name"] or found["cast"]) if found else ""
                if name not in schema or types.get(name) == pl.String:
                    raise
                types |= self.wider(error, schema) or {name: pl.String()}

    def explain(self, path: str, error: Exception) -> GentleError:
        if "://" in path:
            return GentleError(f"{path} cannot be read: {first_line(error)}")
        if "utf8" in str(error).lower().replace("-", ""):
            return _not_utf8(Path(path))
        text = self._text(Path(path))
        try:
            self.check_rows(Path(path))
        except GentleError as ragged:
            return ragged
        for at in text.records():
            if at.quotes % 2:
                return _open_quote(Path(path), at)
        found = _UNFIT.search(str(error))
        numeric = found and (found["type"] or found["to"])[0] in "iuf"
        if found and numeric and (word := _first_word(text, found["name"] or found["cast"])):
            return word
        return GentleError(f"{path} cannot be read as CSV: {first_line(error)}")

    def _text(self, path: Path | str) -> Text:
        return Text(Path(path), self.dialect)

    def _plan(self, path: str, types: Types) -> pl.LazyFrame:
        """The rows of one file, its names as they stand between quotes, its columns as their types."""
        if "://" in path:
            return self._far_plan(path, types)
        text = self._text(path)
        guess = _guessed(text)
        columns = [
            column if column.name not in types else column.typed(types[column.name])
            for column in guess.columns
        ]
        plan = text.scan(
            {of: column.raw for of, column in zip(guess.raw_names, columns, strict=True)}
        )
        plan = plan.select(
            (pl.col(of) if column.is_plain else column.parse(pl.col(of))).alias(column.name)
            for of, column in zip(guess.raw_names, columns, strict=True)
        )
        return plan if guess.height is None else plan.head(guess.height)

    def _far_plan(self, path: str, types: Types) -> pl.LazyFrame:
        """The rows of a file in an object store, whose types polars guesses."""
        if self.dialect.encoding or not self.dialect.number.is_plain:
            raise GentleError(
                f"{Path(path).name} is in an object store, where only separator, null_values and dtypes "
                "can be chosen: copy it to a local file first"
            )
        return pl.scan_csv(
            path,
            separator=self.dialect.separator or ",",
            null_values=list(self.dialect.null_values),
            try_parse_dates=True,
            schema_overrides={**self.dialect.asked, **types},
        )


@dataclass(frozen=True)
class Column:
    """How the texts of a column become its values."""

    name: str
    dtype: pl.DataType
    number: Number = PLAIN_NUMBER
    is_plain: bool = True  # whether polars reads the values from the file as this type itself
    has_leading_zeros: bool = False  # and so is text

    @property
    def raw(self) -> pl.DataType:
        """The type that is read from the file."""
        return self.dtype if self.is_plain else pl.String()

    def typed(self, dtype: pl.DataType) -> Column:
        """The same as another type."""
        plain = self.is_plain and self.dtype.is_integer() and dtype == pl.Float64
        return replace(self, dtype=dtype, is_plain=plain or dtype == pl.String)

    def parse(self, text: Any) -> Any:
        """The values of a column of texts, an expression or a series."""
        if isinstance(text, pl.Series):
            return text.to_frame().select(self.parse(pl.col(text.name)))[text.name]
        if self.dtype == pl.String:
            return text
        if self.dtype == pl.Null:
            return text.cast(pl.Null)
        if self.dtype == pl.Boolean:
            word = text.str.strip_chars().str.to_lowercase()
            return word.replace_strict({"true": True, "false": False}, return_dtype=pl.Boolean)
        if self.dtype.is_temporal():
            return text.str.strip_chars().str.strptime(self.dtype)
        if self.dtype.is_integer() and self.number.is_plain:
            return text.str.strip_chars().cast(self.dtype)
        return self.number.parse(text, strict=True).cast(self.dtype)


def infer_columns(texts: pl.DataFrame, dialect: Dialect) -> list[Column]:
    """How the texts of each column become values, where all of them are of one type."""
    asked = dialect.asked
    open_ = texts.select(name for name in texts.columns if name not in asked)
    numbers = infer_numbers(open_, dialect)
    columns = []
    for name in texts.columns:
        if name in asked:
            plain = asked[name] == pl.String
            columns.append(Column(name, asked[name], dialect.number, is_plain=plain))
        elif name in numbers:
            columns.append(_number(texts[name], numbers[name]))
        else:
            columns.append(_other(texts[name]))
    return columns


def _number(texts: pl.Series, number: Number) -> Column:
    """A column of numbers, all of them whole or not; digits that begin with a zero are text."""
    name = texts.name
    if not number.is_plain and texts.str.contains(r"[^\d\s]").any():
        return Column(name, pl.Float64(), number, is_plain=False)
    digits = texts.str.strip_chars()
    if not digits.str.contains(r"^[+-]?\d+$").all():
        plain = not texts.str.contains(r"[\s+]").any()
        return Column(name, pl.Float64(), is_plain=plain)
    if digits.str.contains(r"^0\d").any():
        return Column(name, pl.String(), has_leading_zeros=True)
    plain = not texts.str.contains(r"[\s+]").any()
    for dtype in (pl.Int64(), pl.Int128()):
        if digits.cast(dtype, strict=False).null_count() == texts.null_count():
            return Column(name, dtype, is_plain=plain)
    return Column(name, pl.Float64(), is_plain=plain)


def _other(texts: pl.Series) -> Column:
    """A column of booleans, dates or times where all of its values are such, else of texts."""
    values = texts.drop_nulls().unique(maintain_order=True)
    if not len(values):
        return Column(texts.name, pl.Null(), is_plain=False)
    if values.str.strip_chars().str.to_lowercase().is_in(["true", "false"]).all():
        return Column(texts.name, pl.Boolean(), is_plain=not values.str.contains(r"\s").any())
    if values.str.contains(_DATE).all():
        dtype = _temporal(values)
        if dtype is not None:
            return Column(texts.name, dtype)
    return Column(texts.name, pl.String())


class Guess(NamedTuple):
    """What the first rows of a file say of its columns, and where its rows end."""

    columns: tuple[Column, ...]
    raw_names: tuple[str, ...]  # what polars calls them, which leaves quotes in a name doubled
    height: int | None  # of rows, where blank lines that are none come after them


def _guessed(text: Text) -> Guess:
    return _guess(text, text.path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _guess(text: Text, changed: int) -> Guess:  # noqa: ARG001  # a file that changed is another
    """A column without a value in the first rows is guessed from the first values that it has."""
    plan = text.scan()
    first = plan.head(GUESSED_ROWS).collect()
    raw_names = tuple(first.columns)
    first.columns = text.header()
    names = dict(zip(first.columns, raw_names, strict=True))
    columns = infer_columns(first, text.dialect)
    empty = [names[column.name] for column in columns if column.dtype == pl.Null]
    if empty:
        values = pl.col(empty).drop_nulls().head(GUESSED_ROWS).implode()
        found = plan.select(values).collect(engine="streaming")
        columns = [
            column
            if names[column.name] not in empty
            else infer_columns(
                found.select(pl.col(names[column.name]).explode().alias(column.name)), text.dialect
            )[0]
            for column in columns
        ]
    whole = [names[column.name] for column in columns if column.dtype.is_integer()]
    zeros = pl.col(whole).str.strip_chars().str.contains(r"^0\d").any()
    found = plan.select(zeros).collect(engine="streaming") if whole else pl.DataFrame()
    columns = [
        Column(column.name, pl.String(), has_leading_zeros=True)
        if names[column.name] in found.columns
        and found[names[column.name]].item()
        and column.name not in text.dialect.asked
        else column
        for column in columns
    ]
    blank = text.blank_end()
    height = plan.select(pl.len()).collect(engine="streaming").item() - blank if blank else None
    return Guess(tuple(columns), raw_names, height)


def _temporal(values: pl.Series) -> pl.DataType | None:
    """The type of dates or times that all values have, as polars reads them from a file."""
    try:
        found = pl.read_csv(
            values.to_frame().write_csv().encode(), infer_schema_length=None, try_parse_dates=True
        ).to_series()
    except pl.exceptions.PolarsError:
        return None
    return found.dtype if found.dtype.is_temporal() else None


def remarks(columns: Iterable[Column], dialect: Dialect) -> Iterator[Remark]:
    """What was inferred of columns, and the options that say so."""
    marks = {column.number for column in columns if not column.is_plain}
    if dialect.decimal is None and any(number.decimal == "," for number in marks):
        yield Remark("decimal commas", "decimal=','")
    for mark in sorted({number.thousands for number in marks} - {"", dialect.thousands}):
        yield Remark(f"{mark!r} between thousands", f"thousands={mark!r}")
    if dialect.symbols is None:
        signed = {column.name: column.number.symbols for column in columns if column.number.symbols}
        for mark in sorted(set(signed.values())):
            names = listed((name for name, own in signed.items() if own == mark), most=4)
            phrase = f"{mark!r} left out of the numbers of {names}"
            yield Remark(phrase, f"symbols={''.join(sorted({*''.join(signed.values())}))!r}")
    if dialect.parentheses is None:
        closed = [column.name for column in columns if column.number.parentheses]
        if closed:
            yield Remark(f"(3) as -3 in {listed(closed, most=4)}", "parentheses=True")
    coded = [column.name for column in columns if column.has_leading_zeros]
    if coded:
        kinds = ", ".join(f"{name!r}: 'text'" for name in coded[:4])
        yield Remark(
            f"{listed(coded, most=4)} as text, as digits there begin with a zero",
            f"dtypes={{{kinds}}}",
        )


def _first_word(text: Text, name: str) -> GentleError | None:
    """Where the first text stands in a column of numbers."""
    guess = _guessed(text)
    raw = {column.name: of for of, column in zip(guess.raw_names, guess.columns, strict=True)}
    column = next((each for each in guess.columns if name in (each.name, raw[each.name])), None)
    if column is None:
        return None
    texts = text.scan().select(word=raw[column.name])
    number = column.number.parse(pl.col("word"), strict=False)
    words = texts.with_row_index("row").filter(number.is_null() & pl.col("word").is_not_null())
    found = words.head(1).collect()
    if not found.height:
        return None
    return GentleError(
        f"column '{column.name}' of {text.path} must be numbers, but holds '{found['word'][0]}' in row "
        f"{found['row'][0] + 1:,}"
    )


def _open_quote(path: Path, at: Record) -> GentleError:
    return GentleError(
        f"{path} has a quote without its other half in row {at.row} (line {at.line}): close it, and write "
        'a quote inside of a text twice, such as "5"" wide"'
    )


def _check_bytes(path: Path, dialect: Dialect) -> None:
    """Raises GentleError for a file of another kind, and a first line that is no line of text."""
    with open(path, "rb") as file:
        first = file.read(HEAD_BYTES)
    named_packed = path.suffix.lower() in (".gz", ".zst")
    for start, (kind, way_out) in (OTHERS if named_packed else OTHERS | PLAIN).items():
        if first.startswith(start):
            raise GentleError(f"{path} begins as {kind} does, and no CSV: {way_out}")
    try:
        with opened(path) as file:
            head = file.read(HEAD_BYTES)
    except (EOFError, zlib.error):
        raise GentleError(f"{path} is packed and cut short: write or fetch it again") from None
    if head.startswith(ZSTANDARD) or dialect.encoding or byte_order_encoding(head):
        return
    line = head.lstrip(b"\r\n").partition(b"\n")[0]
    if b"\0" in line:
        raise GentleError(
            f"{path} must be UTF-8, and has a NUL in its first line: save it as UTF-8, or pass "
            "encoding='utf-16'"
        )
    if b"\r" in head and b"\n" not in head:
        raise GentleError(
            f"{path} ends its lines with carriage returns alone: save it with newlines"
        )
    try:
        line.decode()
    except UnicodeDecodeError:
        raise _not_utf8(path) from None


def _not_utf8(path: Path) -> GentleError:
    where = "it is not"
    with opened(path) as lines:
        for number, line in enumerate(lines, 1):
            if number == 1 and line.startswith(ZSTANDARD):
                break
            try:
                line.decode()
            except UnicodeDecodeError as error:
                where = f"line {number} holds the byte {line[error.start]:#04x}"
                break
    return GentleError(
        f"{path} must be UTF-8, and {where}: save it as UTF-8, or pass its encoding, such as "
        "encoding='cp1252' (--encoding)"
    )
