"""Arrow IPC, which is Feather's second version too: names and types stand in the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from gentle.errors import GentleError, first_line
from gentle.sources.format import Format, stacked
from gentle.sources.plan import Types
from gentle.sources.source import Schema


class Ipc(Format):
    """A file knows where its batches of rows stand."""

    endings = (".arrow", ".ipc", ".feather")
    seeks = True

    def schema(self, path: Path) -> Schema:
        """A first row shows whether polars has the types: it panics over some."""
        return self.plan([str(path)], {}).head(1).collect().schema

    def plan(self, paths: Sequence[str], types: Types) -> pl.LazyFrame:  # noqa: ARG002
        return stacked([pl.scan_ipc(path, glob=False) for path in paths])

    def explain(self, path: str, error: Exception) -> GentleError:
        return GentleError(
            f"{path} is not a complete Arrow file ({first_line(error)}): write or fetch it again"
        )
