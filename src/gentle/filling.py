"""Filling: what stands for the values that are missing, where their rows are not to be left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array
from scipy.sparse import hstack as hstack_sparse

from gentle.batch import Floats, rows_per_batch
from gentle.columns import numbers
from gentle.errors import GentleError, is_number, listed
from gentle.sieve import Mask, Missing, Selection, Sight, column_of, lacking
from gentle.sources import Chunk, Matrix, Source
from gentle.sparse import written_out
from gentle.spreading import Placed


@dataclass(frozen=True)
class Filling:
    """Numbers that stand for missing ones, and columns of 0 and 1 that say where something was missing."""

    fills: Mapping[str, float] = field(default_factory=dict)  # column -> the mean of what is there
    indicators: tuple[str, ...] = ()  # columns that have another beside them

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called that say where others are missing."""
        return tuple(f"{name}[missing]" for name in self.indicators)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Those that may be missing in a row that goes on, (t,)."""
        return tuple(dict.fromkeys((*self.fills, *self.indicators)))

    def required(self, columns: Sequence[str]) -> list[str]:
        """Those of the columns that a row must have to go on."""
        return [name for name in columns if name not in self.columns]

    def filled(self, chunk: Chunk, names: Sequence[str]) -> tuple[Chunk, Mask | None]:
        """(the chunk without missing numbers, where they and texts were missing (n, t)).

        `names` are those of x, where the chunk is a matrix.
        """
        if not self.columns:
            return chunk, None
        if isinstance(chunk.table, Matrix):
            at = [names.index(name) for name in self.columns]
            x = written_out(chunk.table.x)
            gone = np.isnan(x[:, at])
            if gone.any():
                x = x.copy()
                x[:, at] = np.where(gone, list(self.fills.values()), x[:, at])
            return chunk._replace(table=chunk.table._replace(x=x)), gone
        frame = chunk.table
        gone = np.stack([lacking(frame[name]) for name in self.columns], axis=1)
        lacks = [name for at, name in enumerate(self.columns) if gone[:, at].any()]
        frame = frame.with_columns(
            pl.col(name).cast(pl.Float64).fill_nan(None).fill_null(self.fills[name])
            for name in lacks
            if name in self.fills
        )
        return chunk._replace(table=frame), gone

    def beside(self, x: Sight, gone: Mask | None) -> Sight:
        """x with the columns that say what was missing, (n, p)."""
        if gone is None or not self.indicators:
            return x
        more = gone[:, [self.columns.index(name) for name in self.indicators]]
        if isinstance(x, csr_array):
            return csr_array(hstack_sparse([x, csr_array(more.astype(np.float64))], format="csr"))
        return np.concatenate([x, more], axis=1)

    def counts(self, gone: Mask | None, keep: Mask) -> dict[str, int]:
        """Column -> how many of the rows that are kept have something stand for it."""
        if gone is None:
            return {}
        counts = zip(self.columns, map(int, gone[keep].sum(axis=0)), strict=True)
        return {name: count for name, count in counts if count}

    def state(self) -> dict[str, Any]:
        """The same for JSON."""
        return {"fills": dict(self.fills), "indicators": list(self.indicators)}


def from_state(state: Any) -> Filling:
    """The filling whose `state` this is; GentleError for what is none."""
    try:
        fills, indicators = dict(state["fills"]), list(state["indicators"])
    except (LookupError, TypeError, ValueError):
        raise GentleError("what stands for missing values is damaged") from None
    sound = all(is_number(value) and np.isfinite(value) for value in fills.values())
    if not sound or not all(isinstance(name, str) for name in (*fills, *indicators)):
        raise GentleError("what stands for missing values must be numbers of columns")
    return Filling({name: float(value) for name, value in fills.items()}, tuple(indicators))


@dataclass(frozen=True)
class _Means:
    """Count and mean of columns where they are there, and how often they are not: a fold over rows."""

    count: Floats  # (t,)
    mean: Floats  # (t,)
    gone: Floats  # (t,)

    def add(self, x: Floats, gone: Mask, mass: Floats) -> _Means:
        there = mass[:, None] * ~gone
        n = there.sum(axis=0)
        with np.errstate(invalid="ignore", over="ignore"):
            mean = np.where(n > 0, np.einsum("ij,ij->j", there, np.where(gone, 0, x)) / n, 0.0)
        return self.merge(_Means(n, mean, gone.sum(axis=0)))

    def merge(self, other: _Means) -> _Means:
        count = self.count + other.count
        with np.errstate(invalid="ignore", over="ignore"):
            share = np.where(count > 0, other.count / count, 0.0)
            mean = self.mean + (other.mean - self.mean) * share
        return _Means(count, mean, self.gone + other.gone)


def learn(
    rows: Placed,
    missing: Missing,
    selection: Selection,
    *,
    plain: Sequence[str],
    texts: Sequence[str],
) -> Filling:
    """What stands for missing values of a source: the means over the rows that will be used.

    Args:
        rows: the rows.
        missing: "mean" or "indicator", else nothing stands for them.
        selection: which rows are used; the means count frequencies.
        plain: columns of numbers that may be filled.
        texts: columns of texts, to which an indicator gives a level of its own.

    Raises GentleError for a column of which no value is there.
    """
    tracked = fillable(missing, plain=plain, texts=texts)
    if missing not in ("mean", "indicator"):
        return Filling()
    source = rows.source
    if not source.replayable:
        raise GentleError(
            f"missing='{missing}' reads the rows to learn their means, and then to fit them, and "
            f"{source.name} can be read only once: give a file or a frame, or leave such rows out"
        )
    if source.sparse:
        raise GentleError(
            f"missing='{missing}' needs dense columns, and {source.name} is sparse: fill it before"
        )
    if not tracked:
        return Filling()
    work = partial(_means, tracked=tracked, plain=plain, selection=selection)
    means = rows.reduce(work, _Means.merge)
    if not (means.count + means.gone).any():
        return Filling()  # no row is used at all, which the fit says with its reason
    if empty := [name for name, n in zip(plain, means.count, strict=False) if not n]:
        raise GentleError(
            f"column {listed(empty)} of {source.name} has no value in any row that is used: leave it out"
        )
    for name, mean in zip(plain, means.mean, strict=False):
        if not np.isfinite(mean):
            raise GentleError(
                f"column '{name}' of {source.name} has values whose sum is beyond float64, and so no mean "
                "to stand for missing ones: give it in another unit"
            )
    lacks = [name for name, gone in zip(tracked, means.gone, strict=True) if gone]
    fills = dict(zip(plain, map(float, means.mean), strict=False))
    if missing == "mean":
        return Filling(fills)
    return Filling({name: fills[name] for name in plain if name in lacks}, tuple(lacks))


def fillable(missing: Missing, *, plain: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """The columns that a row may lack and be used all the same: numbers first."""
    numeric = plain if missing in ("mean", "indicator") else ()
    return (*numeric, *(texts if missing == "indicator" else ()))


def _means(
    source: Source, *, tracked: Sequence[str], plain: Sequence[str], selection: Selection
) -> _Means:
    """Those of a part."""
    zeros = np.zeros(len(tracked))
    means = _Means(zeros, zeros, zeros)
    columns = selection.columns(*tracked)
    for chunk in source.scan(columns, rows_per_batch(len(columns))):
        means = means.add(*_seen(chunk, source.name, tracked, plain, selection, columns))
    return means


def _seen(
    chunk: Chunk,
    where: str,
    tracked: Sequence[str],
    plain: Sequence[str],
    selection: Selection,
    columns: Sequence[str],
) -> tuple[Floats, Mask, Floats]:
    """(x, gone, frequency) of the rows of a chunk that will be used: (n, t), (n, t) and (n,)."""
    sieve = selection.sieve(chunk, where)
    if isinstance(chunk.table, Matrix):
        beside = {*chunk.table.other, *chunk.table.labels}
        names = [name for name in columns if name not in beside]
        x = written_out(chunk.table.x)[:, [names.index(name) for name in tracked]]
        gone = np.isnan(x)
    else:
        x = np.zeros((chunk.table.height, len(tracked)))
        if plain:
            x[:, : len(plain)] = numbers(chunk.table, plain)
        gone = np.stack([lacking(chunk.table[name]) for name in tracked], axis=1)
    sieve.finite(tracked, np.where(gone, 0.0, x))
    sieve.settle()
    keep = sieve.keep
    mass = np.ones(len(x))
    if selection.frequencies is not None:
        mass = column_of(chunk, selection.frequencies)
    return x[keep], gone[keep], mass[keep]
