"""Arrow IPC, which is Feather's second version too: names and types stand in the file."""

from __future__ import annotations

from collections.abc import Sequence
from io import SEEK_END
from pathlib import Path

import polars as pl

from gentle.errors import GentleError, first_line
from gentle.sources.format import Format, stacked
from gentle.sources.pandas_index import index_columns, metadata_in
from gentle.sources.plan import Types
from gentle.sources.source import Schema

MAGIC = b"ARROW1"


class Ipc(Format):
    """A file knows where its batches of rows stand."""

    endings = (".arrow", ".ipc", ".feather")
    seeks = True

    def schema(self, path: Path) -> Schema:
        """A first row shows whether polars has the types: it panics over some."""
        return self.plan([str(path)], {}).head(1).collect().schema

    def index(self, path: str) -> tuple[str, ...]:
        footer = b"" if "://" in path else _footer(Path(path))
        return index_columns(metadata_in(footer), pl.scan_ipc(path, glob=False).collect_schema())

    def plan(self, paths: Sequence[str], types: Types) -> pl.LazyFrame:  # noqa: ARG002
        return stacked([pl.scan_ipc(path, glob=False) for path in paths])

    def explain(self, path: str, error: Exception) -> GentleError:
        return GentleError(
            f"{path} is not a complete Arrow file ({first_line(error)}): write or fetch it again"
        )


def _footer(path: Path) -> bytes:
    """The end of an Arrow file, where its schema stands: a length of four bytes and "ARROW1" close it."""
    with path.open("rb") as file:
        size = file.seek(0, SEEK_END)
        file.seek(max(0, size - len(MAGIC) - 4))
        length = int.from_bytes(file.read(4), "little", signed=True)
        if not 0 < length < size:
            return b""
        file.seek(max(0, size - len(MAGIC) - 4 - length))
        return file.read(length)
