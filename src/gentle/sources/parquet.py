"""Parquet: names and types stand in the file."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from gentle.errors import GentleError

SEEKS = True  # a file knows where its groups of rows stand


def read(path: Path) -> pl.DataFrame:
    """The whole file as a frame."""
    return scan(path).collect()


def scan(path: Path) -> pl.LazyFrame:
    """The file as a plan, for one that is read in pieces."""
    return pl.scan_parquet(path, glob=False)


def explain(path: Path, error: Exception) -> GentleError:
    """What polars could not read, in one sentence."""
    reason = str(error).splitlines()[0].removeprefix("parquet: ")
    return GentleError(f"{path} is not a complete Parquet file ({reason}): write or fetch it again")
