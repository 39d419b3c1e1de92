"""Text: a file of lines and fields, unpacked and in UTF-8 however it came."""

from __future__ import annotations

import atexit
import codecs
import csv
import gzip
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count, dropwhile, takewhile
from os import SEEK_END
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, NamedTuple, cast

import polars as pl

from gentle.errors import GentleError
from gentle.sources.dialect import NAMES, Dialect, infer_separator
from gentle.sources.format import Remark

GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # the first bytes of packed files
HEAD_BYTES = 2**16  # of a file, in which its first line ends
PIECE = 2**20  # characters that are recoded at a time
UTF8 = ("utf-8", "utf-8-sig")
BYTE_ORDER_MARKS = {  # the longer ones first
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Record(NamedTuple):
    """A row of a file as it stands between its lines."""

    row: int  # from 1; the header is 0
    line: int  # on which it begins, from 1
    fields: list[str]
    quotes: int  # an odd number leaves one open


@dataclass(frozen=True)
class Text:
    """A file and how it is to be read."""

    path: Path
    dialect: Dialect

    @property
    def separator(self) -> str:
        return self.dialect.separator or self._inferred[0]

    @property
    def mark(self) -> str:
        """What stands between columns, in a sentence."""
        return NAMES.get(self.separator, repr(self.separator)).removesuffix("s")

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What was inferred of the file as a whole."""
        found = []
        if self.dialect.separator is None:
            mark, other = self._inferred
            if mark != "," and self.path.suffix.lower() != ".tsv":
                found.append(Remark(f"{mark!r} between columns", f"separator={mark!r}"))
            if other is not None:
                found.append(
                    Remark(f"',' between columns, where {other!r} would do too", "separator=','")
                )
        if self.dialect.encoding is None and self._encoding is not None:
            found.append(Remark(f"encoding {self._encoding}", f"encoding={self._encoding!r}"))
        return tuple(found)

    def scan(self, schema: Mapping[str, pl.DataType] | None = None) -> pl.LazyFrame:
        """The rows, each column as a text or of these types."""
        return pl.scan_csv(
            self.utf8,
            separator=self.separator,
            schema=schema,
            infer_schema=False,
            null_values=list(self.dialect.null_values),
            glob=False,
        )

    def frame(self) -> pl.DataFrame:
        """All rows, each column as a text."""
        return pl.read_csv(
            self.utf8,
            separator=self.separator,
            infer_schema=False,
            null_values=list(self.dialect.null_values),
            glob=False,
        )

    def header(self) -> list[str]:
        """The names of the columns, in the first line that is not blank."""
        try:
            return next(csv.reader(self.from_header(), delimiter=self.separator), [])
        except csv.Error as error:
            raise GentleError(f"{self.path} cannot be read as CSV: {error}") from None

    def records(self) -> Iterator[Record]:
        """The header and the rows; a blank line among them is one without a field."""
        quotes = 0

        def counted() -> Iterator[str]:
            nonlocal quotes
            for line in self.from_header():
                quotes += line.count('"')
                yield line

        before = sum(1 for _ in takewhile(_is_blank, self._lines()))
        reader = csv.reader(counted(), delimiter=self.separator)
        line = 0
        try:
            for row, fields in enumerate(reader):
                yield Record(row, before + line + 1, fields, quotes)
                line, quotes = reader.line_num, 0
        except csv.Error as error:
            raise GentleError(
                f"{self.path} cannot be read as CSV at line {before + line + 1}: {error}"
            ) from None

    def from_header(self) -> Iterator[str]:
        """The lines of a file but for blank ones at its beginning."""
        return dropwhile(_is_blank, self._lines())

    def blank_end(self) -> int:
        """How many blank lines end the file: they are no rows."""
        path = self.utf8
        with open(path, "rb") as file:
            packed = file.read(len(ZSTANDARD)).startswith((GZIP, ZSTANDARD))
            file.seek(-min(HEAD_BYTES, path.stat().st_size), SEEK_END)
            tail = file.read()
        if not packed and tail.strip(b"\r\n"):  # most files end here
            return max(tail[len(tail.rstrip(b"\r\n")) :].count(b"\n") - 1, 0)
        lines = pl.scan_lines(path, glob=False)
        lines = lines.select(blank=pl.col("line").str.strip_chars("\r") == "")
        last = pl.col("blank").not_().arg_true().max()
        ends = lines.select(last=last, height=pl.len()).collect(engine="streaming")
        return int(ends["height"][0] - 1 - ends["last"][0])

    @property
    def utf8(self) -> Path:
        """The file itself, or a copy in UTF-8, which lasts as long as the process."""
        encoding = self._encoding
        if encoding is None:
            return self.path
        seen = self.path.stat()
        return _recoded(self.path, encoding, seen.st_mtime_ns, seen.st_size)

    @cached_property
    def _inferred(self) -> tuple[str, str | None]:
        return infer_separator(self.from_header())

    @cached_property
    def _encoding(self) -> str | None:
        """That of a file that is not in UTF-8."""
        if self.dialect.encoding is not None:
            name = codecs.lookup(self.dialect.encoding).name
            return None if name in UTF8 else name
        with opened(self.path) as file:
            return byte_order_encoding(file.read(4))

    def _lines(self) -> Iterator[str]:
        """The lines of a file with their ends, unpacked where it is compressed."""
        path = self.utf8
        with open(path, "rb") as file:
            packed = file.read(len(ZSTANDARD)).startswith((GZIP, ZSTANDARD))
        if not packed:
            with open(path, newline="", encoding="utf-8-sig", errors="replace") as lines:
                yield from lines
        else:
            for table in pl.scan_lines(path, glob=False).collect_batches(maintain_order=True):
                yield from (f"{line}\n" for line in table["line"].str.strip_prefix("\ufeff"))


def byte_order_encoding(head: bytes) -> str | None:
    """The encoding that a byte order mark states, if it is not UTF-8."""
    marks = (name for mark, name in BYTE_ORDER_MARKS.items() if head.startswith(mark))
    return next(marks, None)


def opened(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked where its first ones say that they are packed by gzip."""
    with open(path, "rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    return cast("IO[bytes]", gzip.open(path)) if packed else open(path, "rb")


@lru_cache(maxsize=1)
def scratch_folder() -> Path:
    """A folder of this process, which is removed at its end."""
    folder = TemporaryDirectory(prefix="gentle-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


_numbers = count()


def scratch_file(ending: str) -> Path:
    """A path in `scratch_folder` that nothing has."""
    return scratch_folder() / f"{next(_numbers)}{ending}"


@lru_cache(maxsize=256)
def _recoded(path: Path, encoding: str, changed: int, size: int) -> Path:  # noqa: ARG001
    """A copy of a file in UTF-8."""
    copy = scratch_file(".csv")
    done = False
    try:
        with (
            opened(path) as packed,
            codecs.getreader(encoding)(packed) as reader,
            open(copy, "w", encoding="utf-8", newline="") as out,
        ):
            while piece := reader.read(PIECE):
                out.write(piece)
        done = True
    except UnicodeError as error:
        raise GentleError(
            f"{path} is not encoded in {encoding} ({error}): pass the encoding that it has"
        ) from None
    finally:
        if not done:
            with suppress(OSError):
                copy.unlink()
    return copy


def _is_blank(line: str) -> bool:
    return not line.strip("\r\n")
