"""NDJSON: an object a line, its keys the columns; a key that is lacking is a missing value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from gentle.errors import GentleError, first_line
from gentle.sources.format import Format
from gentle.sources.plan import Types
from gentle.sources.source import Schema

GUESSED_ROWS = 10_000  # from which types are guessed, where a file is not read whole


class Ndjson(Format):
    """Types are guessed from the first rows, and whole numbers widened where later ones are not."""

    endings = (".ndjson", ".jsonl")

    def read(self, path: Path) -> pl.DataFrame:
        return pl.read_ndjson(path, infer_schema_length=None)

    def plan(self, paths: Sequence[str], types: Types) -> pl.LazyFrame:
        return pl.scan_ndjson(
            list(paths), infer_schema_length=GUESSED_ROWS, schema_overrides=dict(types)
        )

    def wider(self, error: Exception, schema: Schema) -> Types:
        """polars names no column, so that all whole numbers become float64."""
        whole = [name for name, dtype in schema.items() if dtype.is_integer()]
        if "as Int64" not in str(error):
            return {}
        return dict.fromkeys(whole, pl.Float64())

    def explain(self, path: str, error: Exception) -> GentleError:
        if Path(path).is_file():
            with open(path, encoding="utf-8", errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip() and not _is_object(line):
                        return GentleError(
                            f"{path} needs a JSON object in every line, and line {number:,} is none: "
                            f"{line.strip()[:40]!r}"
                        )
        return GentleError(f"{path} cannot be read as NDJSON: {first_line(error)}")


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
