"""Levels: the values of a text column, of which each but the first becomes a column."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from gentle.batch import Integers, rows_per_batch
from gentle.disguise import check_categories
from gentle.errors import GentleError, GentleWarning, is_choice, listed, near, show_value
from gentle.sieve import Mask, Selection
from gentle.sources import Chunk, Source
from gentle.spreading import Placed

MOST_LEVELS = 1_000_000  # of one column, which are all in memory
MOST_COMPARED = 10_000  # levels that a level unknown is compared with

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII)

Unseen = Literal["error", "reference", "missing"]
Levels = Mapping[str, tuple[str, ...]]  # text column -> its levels in order, the reference first


SEEN = pl.Schema({"text": pl.String(), "n": pl.Int64(), "row": pl.Int64()})


@dataclass(frozen=True)
class Texts:
    """The distinct texts of a column: a fold over its rows."""

    name: str
    where: str  # the source
    declared: bool = False  # whether its type, or C(), says that it is a category
    order: tuple[str, ...] = ()  # that was declared, where it was
    # in rows that are used: each text, how often, and in which row it comes first
    seen: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SEEN))
    left_out: pl.Series = field(default_factory=lambda: pl.Series([], dtype=pl.String))

    @classmethod
    def of(cls, name: str, source: Source, *, declared: bool = False) -> Texts:
        """The zero for a column of a source; a categorical column declares that it is a category."""
        dtype = source.schema()[name]
        order = tuple(dtype.categories) if isinstance(dtype, pl.Enum) else ()
        declared = declared or isinstance(dtype, pl.Categorical | pl.Enum)
        return cls(name, source.name, declared, order)

    def add(self, used: Chunk, chunk: Chunk) -> Texts:
        """The fold with the rows of a chunk, of which some are used; GentleError for too many texts."""
        rows = pl.DataFrame({"text": _texts(used, self.name), "row": used.rows})
        counts = rows.drop_nulls().group_by("text").agg(n=pl.len(), row=pl.col("row").min())
        left_out = self.left_out
        if used is not chunk:
            left_out = _distinct(left_out, _texts(chunk, self.name))
        return self._with(counts.cast(SEEN), left_out)

    def merge(self, other: Texts) -> Texts:
        """The fold with that of other rows; GentleError for too many texts."""
        return self._with(other.seen, _distinct(self.left_out, other.left_out))

    def _with(self, counts: pl.DataFrame, left_out: pl.Series) -> Texts:
        both = pl.concat([self.seen, counts]).group_by("text")
        seen = both.agg(pl.col("n").sum(), pl.col("row").min())
        if seen.height > MOST_LEVELS:
            check_categories(seen, self.name, self.where)
            raise GentleError(
                f"column '{self.name}' of {self.where} is text with more than {MOST_LEVELS:,} levels: "
                "leave it out with a formula or features="
            )
        return replace(self, seen=seen, left_out=left_out)

    def levels(self) -> tuple[str, ...]:
        """The texts in the order declared, else sorted; warns of levels that no row that is used has.

        Raises GentleError where most are numbers, and so all should be.
        """
        if not self.declared:
            check_categories(self.seen, self.name, self.where)
        seen = set(self.seen["text"].to_list())
        levels = tuple(level for level in self.order if level in seen) or tuple(sorted(seen))
        lost = [level for level in self.left_out.sort().to_list() if level not in seen]
        if lost and levels:
            warn_of_lost(lost, self.name, self.where, levels[0])
        return levels


class LeftOut:
    """The distinct values that some columns have in rows that a fit leaves out."""

    def __init__(self, names: Iterable[str]) -> None:
        self.values: dict[str, pl.Series] = {}
        self._names = sorted(names)

    def add(self, used: Chunk, chunk: Chunk) -> None:
        """Take in the rows of a chunk that are not among those that are used."""
        if used is chunk or not self._names:
            return
        assert isinstance(chunk.table, pl.DataFrame)
        rest = chunk.table.filter(~pl.Series(np.isin(chunk.rows, used.rows, assume_unique=True)))
        for name in self._names:
            values = rest[name].unique().drop_nulls()
            known = self.values.get(name, values.clear())
            self.values[name] = pl.concat([known, values]).unique()


def warn_of_lost(lost: Sequence[str], name: str, where: str, reference: str | None) -> None:
    """Warn of values of a category that no row of the fit has."""
    kept = f", in which the reference is '{reference}'" if reference is not None else ""
    warnings.warn(
        f"no row that is used has {listed(lost, 'or')} in column '{name}' of {where}: "
        f"{'they are no levels' if len(lost) > 1 else 'it is no level'} of the fit{kept}",
        GentleWarning,
        stacklevel=2,
    )


def _texts(chunk: Chunk, name: str) -> pl.Series:
    assert isinstance(chunk.table, pl.DataFrame)
    return chunk.table[name].cast(pl.String).alias("")


def _distinct(known: pl.Series, texts: pl.Series) -> pl.Series:
    return pl.concat([known, texts.unique().drop_nulls()]).unique()


def levels_of(
    rows: Placed,
    names: Sequence[str],
    selection: Selection = Selection(),  # noqa: B008  # frozen
    declared: Iterable[str] = (),
) -> Levels:
    """The levels of text columns over the rows that are used, in order; the first is the reference.

    Args:
        rows: the rows.
        names: the columns.
        selection: which rows are used.
        declared: columns that the model says are categories, whatever they read as.
    """
    if not names:
        return {}
    zero = [Texts.of(name, rows.source, declared=name in set(declared)) for name in names]
    work = partial(_seen, zero, selection)
    return {seen.name: seen.levels() for seen in rows.reduce(work, _merged)}


def _seen(zero: list[Texts], selection: Selection, source: Source) -> list[Texts]:
    """The texts of some columns of a part."""
    texts = zero
    columns = selection.columns(*(text.name for text in zero))
    for chunk in source.scan(columns, rows_per_batch(len(columns))):
        used = selection.used(chunk, source.name)
        texts = [text.add(used, chunk) for text in texts]
    return texts


def _merged(one: list[Texts], two: list[Texts]) -> list[Texts]:
    return [a.merge(b) for a, b in zip(one, two, strict=True)]


def check_unseen(unseen: str) -> None:
    """Raises GentleError for what is no choice of what becomes of a level that the fit did not see."""
    if not is_choice(unseen, get_args(Unseen)):
        raise GentleError(
            f"unseen must be {listed(get_args(Unseen), 'or')}, and is {show_value(unseen)}"
        )


class Foreign(NamedTuple):
    """Rows of a chunk with a value of a category that the fit did not see."""

    name: str  # of the column, or the expression
    values: Any  # (n,)
    other: Mask  # (n,) which of them are no level
    known: Iterable[Any]  # the levels


def with_levels(
    frame: pl.DataFrame, kinds: Mapping[str, pl.Enum]
) -> tuple[pl.DataFrame, list[Foreign]]:
    """(a frame, its categories as the levels that a fit saw; the rows that had others).

    These are null in it, which has zeros like the reference.
    """
    foreign = []
    for name in [name for name in kinds if name in frame.columns]:
        values = frame[name]
        known = _coded(values, kinds[name])
        if known.null_count() > values.null_count():
            other = (known.is_null() & values.is_not_null()).to_numpy()
            foreign.append(Foreign(name, values, other, kinds[name].categories))
        frame = frame.with_columns(known)
    return frame, foreign


def _coded(values: pl.Series, kind: pl.Enum) -> pl.Series:
    """A column as levels, null where it has none of them."""
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        return values.cast(pl.String).cast(kind, strict=False)
    levels = kind.categories.to_list()
    codes = pl.Series(level_codes(values, levels))
    texts = codes.replace_strict(range(len(levels)), kind.categories, default=None)
    return texts.cast(kind).alias(values.name)


def level_codes(values: pl.Series, levels: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Which of the levels each value is, by its value whatever the types; -1 for none, (n,).

    True, 1, 1.0 and the string "1" are one value, as are False, 0 and "0"; integers are compared exactly.
    Strings are compared with strings character by character, so that "01" and "1" are two. A number is the
    string that is written like it, "1" before "01", else the only one that reads as it.
    """
    exact = {level: place for place, level in enumerate(levels)}
    read = _readings(levels)
    distinct = values.unique().drop_nulls()
    written = distinct.cast(pl.String).to_list()
    codes = []
    for value, text in zip(distinct.to_list(), written, strict=True):
        code = exact.get(value, exact.get(text, -1))
        if code < 0 and isinstance(value, str):
            code = exact.get(_number(value), -1)
        codes.append(read.get(value, -1) if code < 0 else code)
    places = values.replace_strict(distinct, codes, default=-1, return_dtype=pl.Int64)
    return places.fill_null(-1).to_numpy()


def _readings(levels: Sequence[Any]) -> dict[int | float, int]:
    """Number -> the place of the string that is it, among levels that are strings."""
    places: dict[int | float, list[int]] = {}
    for place, level in enumerate(levels):
        if isinstance(level, str) and (number := _number(level)) is not None:
            places.setdefault(number, []).append(place)
    found = {}
    for number, alike in places.items():
        same = [place for place in alike if levels[place] == str(number)]
        if len(alike) == 1 or same:
            found[number] = (same or alike)[0]
    return found


def _number(text: str) -> int | float | None:
    """The number that a string reads as, a boolean as 0 or 1; None for a word."""
    text = text.strip().lower()
    if text in ("true", "false"):
        return int(text == "true")
    if not NUMBER.fullmatch(text):
        return None
    return float(text) if set(text) & {*".e"} else int(text)


def refuse_foreign(foreign: Foreign, used: Mask, rows: Integers, where: str) -> None:
    """Raises GentleError for the first used row (n,) with a value that is no level."""
    other = foreign.other & used
    if not other.any():
        return
    at, levels = int(other.argmax()), [str(level) for level in foreign.known]
    value = str(foreign.values[at])
    way = near(value, levels) if len(levels) <= MOST_COMPARED else f"it saw {len(levels):,} others"
    raise GentleError(
        f"column '{foreign.name}' of {where} has '{value}' in row {rows[at] + 1:,}, "
        f"a level that the fit did not see: {way}; to take it all the same, choose unseen='reference' "
        "or 'missing' (--unseen)"
    )
