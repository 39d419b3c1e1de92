"""Source: rows with names, handed out in chunks, never all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from gentle.batch import Floats, Integers, Labels
from gentle.errors import GentleError

Schema = Mapping[str, pl.DataType]  # column name -> type, in the order of the source

WORDS: Mapping[tuple[type[pl.DataType], ...], str] = {
    (pl.Boolean,): "booleans",
    (pl.String, pl.Categorical, pl.Enum): "text",
    (pl.Date,): "dates",
    (pl.Datetime,): "dates with times",
    (pl.Time,): "times",
    (pl.Duration,): "durations",
    (pl.List, pl.Array, pl.Map): "lists",
    (pl.Struct,): "structures",
    (pl.Binary,): "bytes",
    (pl.Object,): "values of several types",
    (pl.Null,): "no value",
}


class Unreadable(pl.Object):
    """The type of a column that cannot be read, which matters where a model uses it."""

    def __init__(self, holds: str, reason: str = "") -> None:
        self.holds = holds  # what it holds, in words
        self.reason = reason  # what is wrong, where it is not that

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        return self is other or other is pl.Object

    def __hash__(self) -> int:
        return hash(pl.Object)


class Matrix(NamedTuple):
    """Columns that are numbers already: no names to look up, no text to encode."""

    x: Floats | csr_array  # (n, p) float64, or float32 where it comes so
    other: Mapping[str, Floats]  # targets, weights, frequencies and offset by name, each (n,)
    labels: Mapping[str, Labels] = MappingProxyType({})  # clusters by name, each (n,)
    finite: bool = False  # whether x is known to hold no NaN and no infinity


class Chunk(NamedTuple):
    """Some rows of a source."""

    rows: Integers  # (n,) where each row stands in the source, from 0
    table: pl.DataFrame | Matrix


class Source(Protocol):
    """Rows with names, read in order as often as asked, or once."""

    @property
    def name(self) -> str:
        """What an error calls it: a file's name, or what kind of value it is."""

    @property
    def start(self) -> int:
        """Where its first row stands in the whole, from 0: a part knows its place."""

    @property
    def replayable(self) -> bool:
        """Whether the rows can be read again."""

    @property
    def seeks(self) -> bool:
        """Whether a part can be read without reading what stands before it."""

    @property
    def divides(self) -> bool:
        """Whether all parts together cost about as much as the whole."""

    @property
    def sparse(self) -> bool:
        """Whether its numbers are sparse."""

    def schema(self) -> Schema:
        """Names and types of the columns."""

    def height(self) -> int:
        """The number of rows."""

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The named columns in chunks of at most `rows` rows, in order."""

    def split(self, parts: int) -> Sequence[Source]:
        """The same rows as so many sources, in order, each row in exactly one."""


def bounds(height: int, parts: int) -> list[tuple[int, int]]:
    """(start, stop) of so many runs of nearly equal length that cover 0 to height."""
    edges = [height * part // parts for part in range(parts + 1)]
    return list(pairwise(edges))


def in_runs(source: Any, parts: int) -> list[Any]:
    """A source that has fields `start` and `stop` as so many runs of its rows, in order."""
    return [
        replace(source, start=source.start + a, stop=source.start + b)
        for a, b in bounds(source.height(), parts)
    ]


def numbered(start: int, stop: int) -> Integers:
    """Row numbers from start up to stop."""
    return np.arange(start, stop, dtype=np.int64)


def joinable(one: pl.DataType, other: pl.DataType) -> bool:
    """Whether columns of these types can stand under each other: numbers do, and one without a value."""
    return one == other or pl.Null in (one, other) or (one.is_numeric() and other.is_numeric())


def unreadable(schema: Schema) -> list[str]:
    """The columns that cannot be read."""
    return [name for name, dtype in schema.items() if isinstance(dtype, Unreadable)]


def described(dtype: pl.DataType) -> str:
    """What a column of this type holds, in words."""
    if isinstance(dtype, Unreadable):
        return dtype.holds
    if dtype.is_numeric():
        return "numbers"
    return next((words for kinds, words in WORDS.items() if isinstance(dtype, kinds)), str(dtype))


def reads_as_number(text: str) -> bool:
    """Whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_place(uri: str) -> None:
    """Raises GentleError for a URI that cannot be parsed."""
    try:
        urlsplit(uri)
    except ValueError as error:
        raise GentleError(f"{uri.rpartition('@')[2]} is no place to read from: {error}") from None
