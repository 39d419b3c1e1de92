"""Rows with columns of the rows before them: what lag() and diff() in a formula need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from gentle.batch import rows_per_batch
from gentle.errors import GentleError, near
from gentle.sources.derived import Derived, check_order
from gentle.sources.source import Chunk, Schema, Source


@dataclass(frozen=True)
class Shift:
    """A column as it is so many rows before."""

    name: str  # of the new column
    column: str
    back: int


@dataclass(frozen=True, eq=False)
class Shifted(Derived):
    """A source with more columns, each of another column some rows before; missing in the first rows.

    They follow the order of the rows in the source, whatever the chunks: a part reads the rows before it.
    """

    shifts: tuple[Shift, ...]
    before: tuple[Source, ...] = ()  # the parts before this one, as far back as the shifts go

    @classmethod
    def of(cls, source: Source, shifts: tuple[Shift, ...]) -> Source:
        """The source with these columns; GentleError where it lacks theirs, or has no order."""
        schema = source.schema()
        for shift in shifts:
            if shift.column not in schema:
                raise GentleError(
                    f"{source.name} has no column '{shift.column}', which {shift.name} needs: "
                    f"{near(shift.column, schema)}"
                )
            if shift.name in schema:
                raise GentleError(f"{source.name} has a column '{shift.name}': rename it")
        if not shifts:
            return source
        check_order(source, "lag() and diff() need")
        return cls(source, shifts)

    def schema(self) -> Schema:
        own = self.source.schema()
        return {**own, **{shift.name: own[shift.column] for shift in self.shifts}}

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        shifts = [shift for shift in self.shifts if shift.name in columns]
        if not shifts:
            yield from self.source.scan(columns, rows)
            return
        bases = list(dict.fromkeys(shift.column for shift in shifts))
        new = {shift.name for shift in shifts}
        own = [name for name in columns if name not in new]
        most = max(shift.back for shift in shifts)
        tail = self._rows_before(bases, most)
        for numbers, table in self.source.scan(list(dict.fromkeys((*own, *bases))), rows):
            assert isinstance(table, pl.DataFrame)
            whole = table.select(bases)
            whole = whole if tail is None else pl.concat([tail, whole], how="vertical_relaxed")
            added = [
                whole[shift.column].shift(shift.back).tail(table.height).alias(shift.name)
                for shift in shifts
            ]
            yield Chunk(numbers, table.with_columns(added).select(columns))
            tail = whole.tail(most)

    def split(self, parts: int) -> Sequence[Shifted]:
        pieces = self.source.split(parts)
        most = max(shift.back for shift in self.shifts)
        return [
            replace(
                self,
                source=piece,
                before=self._nearest([*self.before, *pieces[:at]], piece.start - most),
            )
            for at, piece in enumerate(pieces)
        ]

    def _nearest(self, before: Sequence[Source], first: int) -> tuple[Source, ...]:
        """The last of the parts before, from the one on that holds the first row that is needed."""
        at = max((at for at, part in enumerate(before) if part.start <= first), default=0)
        return tuple(before[at:])

    def _rows_before(self, columns: list[str], most: int) -> pl.DataFrame | None:
        """The last rows before those of this part, at most `most`; None at the start."""
        tail: pl.DataFrame | None = None
        for part in self.before:
            for _, table in part.scan(columns, rows_per_batch(len(columns))):
                assert isinstance(table, pl.DataFrame)
                whole = table if tail is None else pl.concat([tail, table], how="vertical_relaxed")
                tail = whole.tail(most)
        return tail
