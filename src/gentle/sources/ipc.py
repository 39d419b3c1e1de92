"""Arrow IPC, which is Feather's second version too: names and types stand in the file."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from gentle.errors import GentleError, first_line
from gentle.sources.format import Format, together
from gentle.sources.plan import Types


class Ipc(Format):
    """A file knows where its batches of rows stand."""

    endings = (".arrow", ".ipc", ".feather")
    seeks = True

    def plan(self, paths: Sequence[str], types: Types) -> pl.LazyFrame:  # noqa: ARG002
        return together([pl.scan_ipc(path, glob=False) for path in paths])

    def explain(self, path: str, error: Exception) -> GentleError:
        return GentleError(
            f"{path} is not a complete Arrow file ({first_line(error)}): write or fetch it again"
        )
