"""Parquet: names and types stand in the file."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from gentle.errors import GentleError, first_line
from gentle.sources.format import Format, stacked
from gentle.sources.pandas_index import index_columns
from gentle.sources.plan import Types


class Parquet(Format):
    """A file knows where its groups of rows stand; folders such as year=2020 are a column."""

    endings = (".parquet", ".pq")
    seeks = True

    def index(self, path: str) -> tuple[str, ...]:
        metadata = pl.read_parquet_metadata(path).get("pandas")
        return index_columns(metadata, pl.read_parquet_schema(path))

    def plan(self, paths: Sequence[str], types: Types) -> pl.LazyFrame:  # noqa: ARG002
        return stacked(
            [pl.scan_parquet(path, glob=False, hive_partitioning="=" in path) for path in paths]
        )

    def explain(self, path: str, error: Exception) -> GentleError:
        reason = first_line(error).removeprefix("parquet: ")
        return GentleError(
            f"{path} is not a complete Parquet file ({reason}): write or fetch it again"
        )
