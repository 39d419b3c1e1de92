"""Format: what is particular to a kind of file. To add one: a file with a class, its line in `files`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import polars as pl

from gentle.errors import GentleError
from gentle.sources.plan import Types
from gentle.sources.source import Schema


class Remark(NamedTuple):
    """Something that was inferred of a file."""

    phrase: str  # what comes after "was read with"
    option: str  # of `read_csv`, which says so


class Format:
    """How files of a kind are read. A path may be the URI of an object store, where there is no file."""

    endings: ClassVar[tuple[str, ...]]
    seeks: ClassVar[bool] = False  # whether a slice is read without reading what stands before it

    def typed(self, dtypes: Types) -> Format:  # noqa: ARG002
        """The same, reading columns as these types where a file does not state its types."""
        return self

    def check(self, path: Path) -> None:
        """Raises GentleError for a file whose beginning says that it is no table."""

    def read(self, path: Path) -> pl.DataFrame:
        """The whole file as a frame."""
        return self.plan([str(path)], {}).collect()

    def schema(self, path: Path) -> Schema:
        """Names and types of the columns."""
        return self.plan([str(path)], {}).collect_schema()

    def index(self, path: str) -> tuple[str, ...]:  # noqa: ARG002
        """Columns that are the index of the pandas frame that was written to a file."""
        return ()

    def plan(self, paths: Sequence[str], types: Types) -> pl.LazyFrame:
        """The rows of files in order, some columns taken to be of these types."""
        raise NotImplementedError

    def remarks(self, path: Path) -> tuple[Remark, ...]:  # noqa: ARG002
        """What was inferred of a file that does not state it."""
        return ()

    def telling(self, path: Path) -> tuple[str, ...]:  # noqa: ARG002
        """Columns whose nulls may come from rows that polars has mended in silence."""
        return ()

    def check_rows(self, path: Path) -> None:
        """Raises GentleError for the first row that is none."""

    def wider(self, error: Exception, schema: Schema) -> Types:  # noqa: ARG002
        """The types with which the rows may be read after this error; none where that is no help."""
        return {}

    def settled(self, paths: Sequence[str]) -> Types:  # noqa: ARG002
        """Types of columns that hold for all rows, where `plan` guesses them from the first ones."""
        return {}

    def explain(self, path: str, error: Exception) -> GentleError:
        """What polars could not read, in one sentence."""
        raise NotImplementedError


def stacked(plans: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """The rows of several plans with the same names, whose numbers may be of different types."""
    if len(plans) == 1:
        return plans[0]
    names = plans[0].collect_schema().names()
    return pl.concat([plan.select(names) for plan in plans], how="vertical_relaxed")
