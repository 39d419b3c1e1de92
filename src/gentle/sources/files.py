"""Files: one, many, a folder of them or an object store's, through polars. Small ones are read once."""

from __future__ import annotations

import glob
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polars as pl

from gentle.errors import GentleError, first_line, listed
from gentle.sources.csv import Csv
from gentle.sources.format import Format, stacked
from gentle.sources.frames import Frame
from gentle.sources.ipc import Ipc
from gentle.sources.ndjson import Ndjson
from gentle.sources.parquet import Parquet
from gentle.sources.plan import BROKEN, UNREADABLE, Plan, Types, counted
from gentle.sources.source import Schema, described, joinable

FORMATS: dict[str, Format] = {
    ending: kind for kind in (Csv(), Parquet(), Ipc(), Ndjson()) for ending in kind.endings
}
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


def read_file(place: str | Path) -> Frame | Plan:
    """The rows of a file, of those that a pattern such as data/*.csv names, or of a folder.

    Raises GentleError for what is not there, is empty or cannot be read, in one sentence.
    """
    path = str(place)
    check_place(path)
    if urlsplit(path).scheme == "file":
        path = unquote(urlsplit(path).path)
    if "://" in path:
        return Plan(Files(_kind(path), (path,)), name=_plain(path))
    try:
        paths = _found(path)
        if not paths[0].exists():
            raise GentleError(f"there is no file {path}{_alternatives(paths[0])}")
        kind = _kind_of_all(path, paths)
        size = sum(_checked_size(each, kind) * _unpacked(each) for each in paths)
        name = paths[0].name if len(paths) == 1 else path
        if size <= SMALL:
            return Frame(_read(kind, paths), name, index=kind.index(str(paths[0])))
        _check_alike(paths, [_schema(kind, each) for each in paths])
        return scanned(paths, name)
    except OSError as error:
        raise GentleError(f"{path} cannot be read: {error.strerror or error}") from None


def _stamp(path: Path) -> Stamp:
    """(bytes, time of the last change in ns), which change when a file does."""
    seen = path.stat()
    return seen.st_size, seen.st_mtime_ns


def scanned(paths: Sequence[Path], name: str, *, lent: bool = False) -> Plan:
    """The rows of files that are read anew in each pass."""
    stamps = {each: _stamp(each) for each in paths}
    kind = FORMATS[_ending(paths[0])]
    return Plan(Files(kind, tuple(map(str, paths)), stamps=stamps, lent=lent), name=name)


def check_place(uri: str) -> None:
    """Raises GentleError for a URI that is none."""
    try:
        urlsplit(uri)
    except ValueError as error:
        raise GentleError(f"{uri.rpartition('@')[2]} is no place to read from: {error}") from None


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


def _found(path: str) -> list[Path]:
    """The files that are meant, in order; raises GentleError where there is none."""
    place = Path(path)
    if place.is_dir():
        below = (each for each in sorted(place.rglob("*")) if each.is_file())
        paths = [each for each in below if not each.name.startswith((".", "_"))]
        paths = [each for each in paths if _ending(each) in FORMATS]
        if not paths:
            raise GentleError(f"{path} is a directory without a file that ends in {_endings()}")
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
