"""NDJSON: an object a line, its keys the columns; a key that is lacking is a missing value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import polars as pl

from gentle.errors import GentleError, first_line
from gentle.sources.format import Format, stacked
from gentle.sources.plan import Types


class Ndjson(Format):
    """Names and types are those of all rows, which are read for them once."""

    endings = (".ndjson", ".jsonl")

    def read(self, path: Path) -> pl.DataFrame:
        return pl.read_ndjson(path, infer_schema_length=None)

    def plan(self, paths: Sequence[str], types: Types) -> pl.LazyFrame:  # noqa: ARG002
        return stacked(
            [pl.scan_ndjson(path, schema=_schema(path, _changed(path))) for path in paths]
        )

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


def _changed(path: str) -> int:
    return Path(path).stat().st_mtime_ns if Path(path).exists() else 0


@lru_cache(maxsize=256)
def _schema(path: str, changed: int) -> pl.Schema:  # noqa: ARG001  # a file that changed is another
    """From all rows: a key may come late, and a fraction among whole numbers."""
    return pl.scan_ndjson(path, infer_schema_length=None).collect_schema()


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
