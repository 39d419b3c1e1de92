"""Files: one, many, a folder of them or an object store's, through polars. Small ones are read once."""

from __future__ import annotations

import glob
import os
import re
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import polars as pl

from gentle.errors import GentleError, ReadingWarning, first_line, listed, near
from gentle.forking import reject_lost_pool
from gentle.sources.csv import Csv
from gentle.sources.dialect import ANY, MISSING, Dialect, as_dtype
from gentle.sources.format import Format, stacked
from gentle.sources.frames import Frame
from gentle.sources.ipc import Ipc
from gentle.sources.ndjson import Ndjson
from gentle.sources.parquet import Parquet
from gentle.sources.plan import BROKEN, UNREADABLE, Plan, Types, counted
from gentle.sources.source import Schema, check_place, described, joinable
from gentle.sources.text import GZIP, PIECE, ZSTANDARD, scratch_file

FORMATS: dict[str, Format] = {
    ending: kind for kind in (Csv(), Parquet(), Ipc(), Ndjson()) for ending in kind.endings
}
ARROW = b"ARROW1\0\0"
BY_CONTENT: dict[bytes, Format] = {b"PAR1": Parquet(), ARROW: Ipc()}
Stamp = tuple[int, int]
SMALL = 2**28  # bytes: up to here a file is read into memory, once
TOGETHER = 64  # files that are counted at a time: each takes polars a thread
PACKED = 8  # times what a compressed file may be unpacked


@dataclass(frozen=True, eq=False)
class Files:
    """What a plan reads: files of a kind, in order."""

    kind: Format
    paths: tuple[str, ...]
    checked: set[str] = field(default_factory=set)  # of which each row was looked at
    stamps: Mapping[Path, Stamp] = field(
        default_factory=dict
    )  # of those that are to stay as they are
    lent: bool = False  # whether they stand for rows in memory

    @property
    def seeks(self) -> bool:
        return self.kind.seeks

    @property
    def divides(self) -> bool:
        return len(self.paths) > 1 or not any(_unpacked(Path(path)) > 1 for path in self.paths)

    @cached_property
    def beside(self) -> tuple[str, ...]:
        telling = (self.kind.telling(Path(path)) for path in self.paths) if self._local else ()
        return tuple(dict.fromkeys(name for names in telling for name in names))

    @cached_property
    def index(self) -> tuple[str, ...]:
        return self.kind.index(self.paths[0])

    def plan(self, types: Types) -> pl.LazyFrame:
        return self.kind.plan(self.paths, types)

    def height(self, types: Types) -> int:
        return counted(self.plan(types)) if len(self.paths) == 1 else self._ends[-1]

    def wider(self, error: Exception, schema: Schema) -> Types:
        return self.kind.wider(error, schema)

    def settled(self) -> Types:
        return self.kind.settled(self.paths)

    def check(self, table: pl.DataFrame) -> None:
        if any(name in table.columns and table[name].null_count() for name in self.beside):
            for path in self.paths:
                if path not in self.checked:
                    self.kind.check_rows(Path(path))
                    self.checked.add(path)

    def explain(self, error: Exception) -> GentleError:
        return _explained(self.kind, self._guilty(), error)

    def unchanged(self) -> None:
        for path, stamp in self.stamps.items():
            if self.lent and not path.exists():
                raise GentleError(
                    "rows in memory reach processes of this machine, and a worker runs on another one: put "
                    "them in a file that it can open"
                )
            if not path.exists():
                raise GentleError(
                    f"{path} was there when it was opened, and is there no more, or not where a worker runs"
                )
            if _stamp(path) != stamp:
                raise GentleError(
                    f"{path} was changed while it was read, or a worker has a copy of another time: read "
                    "it again once it stays, from where all workers reach it"
                )

    def anywhere(self) -> Files:
        """The same files by paths that hold wherever a worker has its own."""
        if not self._local:
            return self
        stamps = {path.absolute(): stamp for path, stamp in self.stamps.items()}
        return replace(self, paths=tuple(map(str, stamps)), stamps=stamps)

    def part(self, start: int, stop: int) -> tuple[Files, int]:
        ends = self._ends
        first = min(bisect_right(ends, start), len(ends) - 1)
        last = max(first, bisect_left(ends, stop))
        paths = self.paths[first : last + 1]
        stamps = {Path(path): self.stamps[Path(path)] for path in paths} if self.stamps else {}
        return replace(self, paths=paths, stamps=stamps), ends[first - 1] if first else 0

    @cached_property
    def _ends(self) -> list[int]:
        """The rows up to the end of each file: all together may be more than polars counts."""
        if len(self.paths) == 1:
            return [0]  # it is not asked for
        plans = [self.kind.plan([path], {}).select(pl.len()) for path in self.paths]
        some = (plans[at : at + TOGETHER] for at in range(0, len(plans), TOGETHER))
        return list(accumulate(each.item() for few in some for each in pl.collect_all(few)))

    @property
    def _local(self) -> bool:
        return not any("://" in path for path in self.paths)

    def _guilty(self) -> str:
        """The first file that cannot be read."""
        for path in self.paths[:-1]:
            try:
                for _ in self.kind.plan([path], {}).collect_batches():
                    pass
            except UNREADABLE:
                return path
        return self.paths[-1]


@dataclass(frozen=True)
class CsvFiles:
    """CSV files and the options with which they are read; see `read_csv`."""

    place: Any  # a path, several, or a file object
    dialect: Dialect

    def opened(self, dtypes: Types | None = None) -> Frame | Plan:
        """The rows, more columns of these types."""
        dialect = self.dialect.typed({**(dtypes or {}), **self.dialect.asked})
        if hasattr(self.place, "read"):
            source = read_stream(self.place, dialect=dialect)
        else:
            source = read_file(self.place, kind=Csv(dialect))
        columns = source.schema()
        if missing := [name for name in self.dialect.asked if name not in columns]:
            raise GentleError(
                f"dtypes names {listed(missing)}, which {source.name} lacks: {near(missing[0], columns)}"
            )
        return source


def read_csv(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | IO[Any],
    *,
    separator: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str | None = None,
    null_values: str | Sequence[str] = (),
    dtypes: Mapping[str, Any] | None = None,
    symbols: str | None = None,
    parentheses: bool | None = None,
) -> CsvFiles:
    """CSV files with options, wherever rows are taken: `gentle.fit(gentle.read_csv(path, decimal=","))`.

    Nothing is read yet. What is None is inferred from each file where the file is unambiguous, and a
    `ReadingWarning` says what was inferred.

    Args:
        path: a file, a pattern, a folder, a list of files, or a file object; compressed by gzip or
            zstandard too.
        separator: the character between columns, such as ";", "\\t" or "|".
        decimal: the decimal mark, "." or ",".
        thousands: the mark between groups of digits: ",", ".", " " (any kind of space) or "'".
        encoding: such as "latin-1", "cp1252" or "utf-16"; by default UTF-8, or what a byte order mark says.
        null_values: strings that stand for a missing value, such as ".", beside the empty field, NA,
            N/A, NaN, nan, null and NULL.
        dtypes: column -> "text", "number", "integer", "boolean", "date", "datetime", or polars' type.
        symbols: characters that may stand beside a number and are left out, such as "%$€"; 12% is 12.
        parentheses: whether (3) is -3.

    Raises:
        GentleError: for an option that is no such character, type or encoding.
    """
    own = (null_values,) if isinstance(null_values, str) else tuple(null_values)
    types = {name: as_dtype(name, dtype) for name, dtype in (dtypes or {}).items()}
    dialect = Dialect(
        separator,
        decimal,
        thousands,
        encoding,
        (*MISSING, *own),
        symbols,
        parentheses,
        tuple(types.items()),
    )
    place = tuple(path) if isinstance(path, list | tuple) else path
    return CsvFiles(place, dialect)


def read_file(
    place: str | Path | Sequence[str | Path],
    dtypes: Types | None = None,
    kind: Format | None = None,
    name: str | None = None,
) -> Frame | Plan:
    """The rows of a file, of several, of those that a pattern such as data/*.csv names, or of a folder.

    Args:
        dtypes: types of columns by name, for files that do not state them (CSV); names that no
            file has are ignored.
        kind: how they are read, whatever their endings.
        name: what an error calls them.

    Raises GentleError for what is not there, is empty or cannot be read, in one sentence.
    """
    reject_lost_pool()
    source, said = _opened(place, dtypes or {}, kind, name)
    if said:
        warnings.warn(said, ReadingWarning, stacklevel=2)
    return source


def read_stream(
    stream: Any, dtypes: Types | None = None, dialect: Dialect | None = None
) -> Frame | Plan:
    """The rows of a file object, binary or text, from where it stands: CSV, Parquet or Arrow by its bytes.

    Raises GentleError where it holds nothing, or nothing that can be read.
    """
    reject_lost_pool()
    at = stream.tell() if getattr(stream, "seekable", bool)() else None
    copy = scratch_file("")
    try:
        with open(copy, "wb") as file:
            while piece := stream.read(PIECE):
                file.write(piece.encode() if isinstance(piece, str) else piece)
        if at is not None:
            stream.seek(at)
        name = str(getattr(stream, "name", None) or "the file object")
        with open(copy, "rb") as file:
            head = file.read(len(ARROW))
        if head.startswith((GZIP, ZSTANDARD)):
            copy = copy.rename(copy.with_suffix(".gz"))
        kind = next((kind for start, kind in BY_CONTENT.items() if head.startswith(start)), None)
        source = read_file(copy, dtypes, kind or Csv(dialect or ANY), name)
    except GentleError as error:
        raise GentleError(str(error).replace(str(copy), "the file object")) from None
    except (OSError, ValueError, TypeError) as error:
        raise GentleError(f"the file object cannot be read: {first_line(error)}") from None
    if isinstance(source, Frame):
        copy.unlink()
    return source


def _opened(
    place: str | Path | Sequence[str | Path],
    dtypes: Types,
    kind: Format | None,
    name: str | None = None,
) -> tuple[Frame | Plan, str]:
    """(the rows, what was inferred of the files in a sentence)."""
    several = (
        [str(place)] if isinstance(place, str | os.PathLike) else [str(each) for each in place]
    )
    if not several:
        raise GentleError("a list of files must name at least one, and is empty")
    for each in several:
        check_place(each)
    several = [_local_path(each) for each in several]
    path = several[0]
    if any("://" in each for each in several):
        kind = (kind or _kind(path)).typed(dtypes)
        return Plan(Files(kind, tuple(several)), name=name or _plain(path)), ""
    try:
        paths = [found for each in several for found in _found(each, kind)]
        if lost := next((each for each in paths if not each.exists()), None):
            raise GentleError(f"there is no file {lost}{_alternatives(lost)}")
        kind = (kind or _kind_of_all(path, paths)).typed(dtypes)
        size = sum(_checked_size(each, kind) * _unpacked(each) for each in paths)
        name = name or (paths[0].name if len(paths) == 1 else path)
        source: Frame | Plan
        if size <= SMALL:
            source = Frame(
                _read(kind, paths), name, index=kind.index(str(paths[0])), paths=tuple(paths)
            )
        else:
            _check_alike(paths, [_schema(kind, each) for each in paths])
            source = scanned(paths, name, kind)
        return source, _said(kind, paths, name)
    except OSError as error:
        raise GentleError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # of a path with a NUL
        if isinstance(error, GentleError):
            raise
        raise GentleError(f"{path!r} is no path: {error}") from None


def _local_path(path: str) -> str:
    """The path of a file on this machine, without its scheme and with the home folder in place of ~."""
    if urlsplit(path).scheme == "file":
        return unquote(urlsplit(path).path)
    return path if "://" in path else os.path.expanduser(path)


def _said(kind: Format, paths: Sequence[Path], name: str) -> str:
    """What was inferred of the files, in a sentence; empty where that is nothing."""
    remarks = dict.fromkeys(remark for path in paths for remark in kind.remarks(path))
    if not remarks:
        return ""
    phrases = [remark.phrase for remark in remarks]
    told = phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    options = ", ".join(dict.fromkeys(remark.option for remark in remarks))
    return f"{name} was read with {told}; to state or change this: {options}"


def _stamp(path: Path) -> Stamp:
    """(bytes, time of the last change in ns), which change when a file does."""
    seen = path.stat()
    return seen.st_size, seen.st_mtime_ns


def scanned(
    paths: Sequence[Path], name: str, kind: Format | None = None, *, lent: bool = False
) -> Plan:
    """The rows of files that are read anew in each pass."""
    stamps = {each: _stamp(each) for each in paths}
    kind = kind or FORMATS[_ending(paths[0])]
    return Plan(Files(kind, tuple(map(str, paths)), stamps=stamps, lent=lent), name=name)


def _read(kind: Format, paths: Sequence[Path]) -> pl.DataFrame:
    """Whole files under each other."""
    frames = []
    for path in paths:
        try:
            frames.append(kind.read(path))
        except BROKEN as error:
            raise _explained(kind, str(path), error) from None
    _check_alike(paths, [frame.schema for frame in frames])
    if not any(frame.height for frame in frames):
        raise GentleError(f"{paths[0]} has columns but no rows: there is nothing to fit")
    return stacked([frame.lazy() for frame in frames]).collect()


def _schema(kind: Format, path: Path) -> Schema:
    try:
        return kind.schema(path)
    except BROKEN as error:
        raise _explained(kind, str(path), error) from None


def _found(path: str, kind: Format | None = None) -> list[Path]:
    """The files that are meant, in order; raises GentleError where there is none."""
    endings = tuple(FORMATS) if kind is None else kind.endings
    place = Path(path)
    if place.is_dir():
        below = (each for each in sorted(place.rglob("*")) if each.is_file())
        paths = [each for each in below if not each.name.startswith((".", "_"))]
        paths = [each for each in paths if _ending(each) in endings]
        if not paths:
            raise GentleError(
                f"{path} is a directory without a file that ends in {listed(endings, last='or')}"
            )
        return paths
    if not place.exists() and glob.has_magic(path):
        paths = [Path(each) for each in sorted(glob.glob(path, recursive=True))]
        if not paths:
            raise GentleError(f"no file goes by {path}{_alternatives(place)}")
        return paths
    return [place]


def _kind_of_all(path: str, paths: Sequence[Path]) -> Format:
    kinds = {_kind(str(each)) for each in paths}
    if len(kinds) > 1:
        endings = sorted({_ending(each) for each in paths})
        raise GentleError(f"{path} holds files of several kinds, {listed(endings)}: name one kind")
    return kinds.pop()


def _kind(path: str) -> Format:
    ending = _ending(Path(urlsplit(path).path if "://" in path else path))
    if ending not in FORMATS:
        place = _plain(path) if "://" in path else path
        raise GentleError(f"{place} must end in {_endings()}: the ending says how it is read")
    return FORMATS[ending]


def _ending(path: Path) -> str:
    name = path.name.lower()
    return next((ending for ending in FORMATS if name.endswith(ending)), path.suffix)


def _checked_size(path: Path, kind: Format) -> int:
    """The size of a file in bytes; raises GentleError where there is none that can be read."""
    if not path.is_file():
        raise GentleError(f"{path} is not a file that can be read twice: copy it to one first")
    if (size := path.stat().st_size) == 0:
        raise GentleError(f"{path} is empty: not one byte stands in it")
    try:
        kind.check(path)
    except BROKEN as error:
        raise _explained(kind, str(path), error) from None
    return size


def _check_alike(paths: Sequence[Path], schemas: Sequence[Schema]) -> None:
    """Raises GentleError for files of different columns, or types that are not all numbers."""
    first = schemas[0]
    for path, schema in zip(paths, schemas, strict=True):
        if apart := sorted(set(schema) ^ set(first)):
            raise GentleError(
                f"{path} and {paths[0]} have different columns: {listed(apart, most=4)} "
                f"{'is' if len(apart) == 1 else 'are'} in one of them alone"
            )
        for name, dtype in schema.items():
            if not joinable(first[name], dtype):
                raise GentleError(
                    f"column '{name}' holds {described(first[name])} in {paths[0]} and "
                    f"{described(dtype)} in {path}: one type is needed"
                )


def _unpacked(path: Path) -> int:
    return PACKED if path.suffix.lower() in (".gz", ".zst") else 1


def _explained(kind: Format, path: str, error: BaseException) -> GentleError:
    """What could not be read, in one sentence that holds no password."""
    if not isinstance(error, Exception):
        return GentleError(
            f"{path} has a column of a type that cannot be read, such as decimals of more than 38 digits "
            "or values in runs: write it as plain numbers or text"
        )
    if "://" in path:
        reason = re.sub(r"(?<=://)[^@/\s]*@|\?[^\s)]*", "", first_line(error))
        return GentleError(f"{_plain(path)} cannot be read: {reason}")
    try:
        return kind.explain(path, error)
    except pl.exceptions.PolarsError:  # it looks into the file, and is stopped there too
        return GentleError(f"{path} cannot be read: {first_line(error)}")


def _plain(uri: str) -> str:
    """A URI without a password."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _endings() -> str:
    return listed(FORMATS, last="or")


def _alternatives(path: Path) -> str:
    """What else stands beside a file that is missing."""
    if not path.parent.is_dir():
        return f": there is no directory {path.parent} either"
    there = sorted(p.name for p in path.parent.iterdir() if _ending(p) in FORMATS)
    return f": beside it are {listed(there, most=4)}" if there else ""
