"""Levels: the values of a text column, of which each but the first becomes a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from gentle.batch import rows_per_batch
from gentle.errors import GentleError, listed, near
from gentle.sieve import Mask
from gentle.sources import Chunk, Source
from gentle.spreading import Placed

MOST_LEVELS = 1_000_000  # of one column, which are all in memory
MOST_COMPARED = 10_000  # levels that a level unknown is compared with
MOSTLY_NUMBERS = 0.5  # a text column of which more than this share are numbers is a mistake

Unseen = Literal["error", "reference", "missing"]
Levels = Mapping[str, tuple[str, ...]]  # text column -> its levels in order, the reference first


@dataclass(frozen=True)
class Texts:
    """The distinct texts of a column: a fold over its rows."""

    name: str
    where: str  # the source
    seen: pl.Series = field(default_factory=lambda: pl.Series([], dtype=pl.String))
    n_texts: int = 0
    n_numbers: int = 0
    word: str | None = None  # the first that is no number, and its row
    row: int = 0
    order: tuple[str, ...] = ()  # that was declared, where it was

    @classmethod
    def of(cls, name: str, source: Source) -> Texts:
        """The zero for a column of a source."""
        dtype = source.schema()[name]
        order = tuple(dtype.categories) if isinstance(dtype, pl.Enum) else ()
        return cls(name, source.name, order=order)

    def add(self, chunk: Chunk) -> Texts:
        """The fold with a chunk; GentleError once there are too many texts."""
        assert isinstance(chunk.table, pl.DataFrame)
        texts = chunk.table[self.name].cast(pl.String).alias("")
        seen = pl.concat([self.seen, texts.unique().drop_nulls()]).unique()
        numbers = texts.str.strip_chars().cast(pl.Float64, strict=False)
        found = replace(
            self,
            seen=seen,
            n_texts=self.n_texts + len(texts) - texts.null_count(),
            n_numbers=self.n_numbers + len(numbers) - numbers.null_count(),
        )
        if self.word is None and numbers.null_count() > texts.null_count():
            at = int((texts.is_not_null() & numbers.is_null()).arg_max() or 0)
            found = replace(found, word=str(texts[at]), row=int(chunk.rows[at]))
        return found._bounded()

    def merge(self, other: Texts) -> Texts:
        """The fold with that of the rows after these; GentleError once there are too many texts."""
        first = self if self.word is not None else other
        return replace(
            self,
            seen=pl.concat([self.seen, other.seen]).unique(),
            n_texts=self.n_texts + other.n_texts,
            n_numbers=self.n_numbers + other.n_numbers,
            word=first.word,
            row=first.row,
        )._bounded()

    def _bounded(self) -> Texts:
        if len(self.seen) > MOST_LEVELS:
            self.levels()  # where these should be numbers, it says so
            raise GentleError(
                f"column '{self.name}' of {self.where} is text with more than {MOST_LEVELS:,} levels: "
                "leave it out with a formula or features="
            )
        return self

    def levels(self) -> tuple[str, ...]:
        """The texts in the order declared, else sorted.

        Raises GentleError where most are numbers, and so all should be.
        """
        if self.order:
            seen = set(self.seen.to_list())
            return tuple(level for level in self.order if level in seen)
        if self.word is not None and self.n_numbers > MOSTLY_NUMBERS * self.n_texts:
            raise GentleError(
                f"column '{self.name}' of {self.where} should be numbers, as {self.n_numbers:,} of its "
                f"{self.n_texts:,} values are, but holds '{self.word}' in row {self.row + 1:,}: mend it, "
                "or leave it empty for a missing value"
            )
        return tuple(self.seen.sort().to_list())


def levels_of(rows: Placed, names: Sequence[str]) -> Levels:
    """The levels of text columns over all rows, in one reading, in order; the first is the reference."""
    if not names:
        return {}
    zero = [Texts.of(name, rows.source) for name in names]
    return {seen.name: seen.levels() for seen in rows.reduce(partial(_seen, zero), _merged)}


def _seen(zero: list[Texts], source: Source) -> list[Texts]:
    """The texts of some columns of a part."""
    texts = zero
    for chunk in source.scan([text.name for text in zero], rows_per_batch(len(zero))):
        texts = [text.add(chunk) for text in texts]
    return texts


def _merged(one: list[Texts], two: list[Texts]) -> list[Texts]:
    return [a.merge(b) for a, b in zip(one, two, strict=True)]


def check_unseen(unseen: str) -> None:
    """Raises GentleError for what is no choice of what becomes of a level that the fit did not see."""
    if unseen not in get_args(Unseen):
        raise GentleError(f"unseen must be {listed(get_args(Unseen), 'or')}, and is {unseen!r}")


def with_levels(
    chunk: Chunk, kinds: Mapping[str, pl.Enum], where: str, unseen: Unseen = "error"
) -> tuple[pl.DataFrame, Mask]:
    """(the chunk's frame, its texts as the levels that a fit saw; which rows (n,) had others).

    With unseen="error" others are refused, else they are null, which has zeros like the reference.
    """
    check_unseen(unseen)
    assert isinstance(chunk.table, pl.DataFrame)
    frame = chunk.table
    foreign = np.zeros(frame.height, dtype=bool)
    for name in [name for name in kinds if name in frame.columns]:
        texts = frame[name].cast(pl.String)
        known = texts.cast(kinds[name], strict=False)
        if known.null_count() > texts.null_count():
            other = known.is_null() & texts.is_not_null()
            if unseen == "error":
                raise unseen_level(
                    name, chunk, texts, other.to_numpy(), kinds[name].categories, where
                )
            foreign |= other.to_numpy()
        frame = frame.with_columns(known)
    return frame, foreign


def unseen_level(
    name: str, chunk: Chunk, values: Any, other: Mask, known: Iterable[Any], where: str
) -> GentleError:
    """What is said of the first value (n,) that is no level."""
    at, levels = int(other.argmax()), [str(level) for level in known]
    value = str(values[at])
    way = near(value, levels) if len(levels) <= MOST_COMPARED else f"it saw {len(levels):,} others"
    return GentleError(
        f"column '{name}' of {where} has '{value}' in row {chunk.rows[at] + 1:,}, "
        f"a level that the fit did not see: {way}; to predict it all the same, take unseen='reference' "
        "or 'missing' (--unseen)"
    )
