"""A polars plan: rows that are read anew in every pass, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Protocol

import polars as pl

from gentle.engines.onethread import ONE_THREAD
from gentle.errors import GentleError, first_line
from gentle.forking import reject_lost_pool
from gentle.sources.pandas_index import index_columns
from gentle.sources.source import Chunk, Schema, bounds, numbered
from gentle.sources.steady import Steady

Types = Mapping[str, pl.DataType]
WIDE = 128  # columns, from which arithmetic takes longer than reading
BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
UNREADABLE = (*BROKEN, OSError)


class Reader(Protocol):
    """What is particular to where a plan reads from."""

    @property
    def seeks(self) -> bool:
        """Whether a slice can be read without reading what stands before it."""

    @property
    def divides(self) -> bool:
        """Whether parts cost about as much as the whole."""

    @property
    def beside(self) -> tuple[str, ...]:
        """Columns that are read along, for `check`."""

    @property
    def index(self) -> tuple[str, ...]:
        """Columns that are the index of the pandas frame that was written."""

    def plan(self, types: Types) -> pl.LazyFrame:
        """The rows, some columns of them taken to be of these types."""

    def height(self, types: Types) -> int:
        """How many rows there are."""

    def wider(self, error: Exception, schema: Schema) -> Types:
        """The types with which the rows may be read after this error; none where that is no help."""

    def settled(self) -> Types:
        """The types of columns that hold for all rows, where they were guessed from the first ones."""

    def check(self, table: pl.DataFrame) -> None:
        """Raises GentleError for rows that polars has mended in silence."""

    def explain(self, error: Exception) -> GentleError:
        """What polars could not read, in one sentence."""

    def part(self, start: int, stop: int) -> tuple[Reader, int]:
        """(what is enough to read the rows from start up to stop, the first row that it reads)."""

    def unchanged(self) -> None:
        """Raises GentleError where what is read is no longer what it was when it was opened."""


def counted(plan: pl.LazyFrame) -> int:
    """How many rows a plan has."""
    return int(plan.select(pl.len()).collect(engine="streaming").item())


@dataclass(frozen=True, eq=False)
class Given:
    """A plan as a user hands it over."""

    table: pl.LazyFrame
    seeks: ClassVar[bool] = False
    divides: ClassVar[bool] = False
    beside: ClassVar[tuple[str, ...]] = ()

    @property
    def index(self) -> tuple[str, ...]:
        return index_columns(None, self.table.collect_schema())

    def plan(self, types: Types) -> pl.LazyFrame:  # noqa: ARG002
        return self.table

    def height(self, types: Types) -> int:
        return counted(self.plan(types))

    def wider(self, error: Exception, schema: Schema) -> Types:  # noqa: ARG002
        return {}

    def settled(self) -> Types:
        return {}

    def check(self, table: pl.DataFrame) -> None:
        """A user's plan is as it is."""

    def explain(self, error: Exception) -> GentleError:
        return GentleError(f"the LazyFrame cannot be collected: {first_line(error)}")

    def part(self, start: int, stop: int) -> tuple[Given, int]:  # noqa: ARG002
        return self, 0

    def unchanged(self) -> None:
        """Its rows are counted, which says as much as can be said."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A plan that is collected batch by batch, only the columns that are asked for.

    Types that were guessed from the first rows and do not hold for later ones are widened on the way.
    """

    reader: Reader
    name: str = "the LazyFrame"
    start: int = 0  # where the first row stands in the whole
    stop: int | None = None  # and the one after the last
    origin: int = 0  # where the first row stands that the reader reads
    types: dict[str, pl.DataType] = field(default_factory=dict)  # widened so far
    known: dict[int, Schema] = field(default_factory=dict)  # by how many were widened
    steady: Steady = field(default_factory=Steady)
    sparse: ClassVar[bool] = False
    replayable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        reject_lost_pool()

    @property
    def seeks(self) -> bool:
        return self.reader.seeks

    @property
    def divides(self) -> bool:
        return self.reader.divides

    @property
    def index(self) -> tuple[str, ...]:
        try:
            return self.reader.index
        except UNREADABLE as error:
            raise self.reader.explain(error) from None

    def schema(self) -> Schema:
        n_widened = len(self.types)  # which another part may do meanwhile
        if n_widened not in self.known:
            try:
                self.known[n_widened] = self._from(self.start).collect_schema()
            except UNREADABLE as error:
                raise self.reader.explain(error) from None
        return self.known[n_widened]

    def height(self) -> int:
        return self._height

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        with (
            ONE_THREAD if len(columns) < WIDE else nullcontext()
        ):  # polars reads ahead on the others
            yield from self._chunks(columns, rows)

    def _chunks(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        at = self.start
        own = list(columns)
        also = [name for name in self.reader.beside if name not in own]
        while True:
            try:
                plan = self._from(at, dict.fromkeys(also, pl.String())).select(own + also)
                for table in plan.collect_batches(chunk_size=rows, maintain_order=True):
                    self.reader.check(table)
                    mine = table.select(own) if also else table
                    for piece in [mine] if mine.height <= rows else mine.iter_slices(rows):
                        yield Chunk(numbered(at, at + piece.height), piece)
                        at += piece.height
                self.reader.unchanged()
                self._whole(at)
                if self.stop is None:
                    self.steady.count(at, self.name)
                return
            except UNREADABLE as error:
                self.reader.unchanged()
                if not (wider := self.reader.wider(error, self.schema())):
                    raise self.reader.explain(error) from None
                self.types.update(wider)

    def settled(self) -> Plan:
        """The same rows with types that hold for all of them, for which they may be read once more."""
        try:
            return replace(self, types={**self.types, **self.reader.settled()}, known={})
        except UNREADABLE as error:
            raise self.reader.explain(error) from None

    def split(self, parts: int) -> Sequence[Plan]:
        return [self._part(self.start + a, self.start + b) for a, b in bounds(self.height(), parts)]

    def _part(self, start: int, stop: int) -> Plan:
        reader, skipped = self.reader.part(start - self.origin, stop - self.origin)
        origin = self.origin + skipped
        return replace(self, reader=reader, start=start, stop=stop, origin=origin)

    def _whole(self, at: int) -> None:
        """Raises GentleError where polars stopped in the middle and says nothing, as after a panic."""
        if (self.seeks or at == self.start) and at - self.start != self.height():
            raise GentleError(
                f"{self.name} cannot be read beyond row {at:,}: some column has a type that polars does "
                "not read"
            )

    @cached_property
    def _height(self) -> int:
        if self.stop is not None:
            return self.stop - self.start
        try:
            return self.steady.count(self.reader.height(self.types), self.name)
        except UNREADABLE as error:
            raise self.reader.explain(error) from None

    def _from(self, row: int, types: Types | None = None) -> pl.LazyFrame:
        """The rows from one on, up to the end of this part; columns that are read along are text."""
        plan = self.reader.plan({**self.types, **(types or {})})
        if self.stop is not None:
            return plan.slice(row - self.origin, self.stop - row)
        return plan.slice(row - self.origin) if row > self.origin else plan
