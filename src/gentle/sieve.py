"""Sieve: which rows of a chunk a fit uses, why the others are left out, and what is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from gentle.batch import Floats, Integers, Labels
from gentle.columns import numbers
from gentle.errors import GentleError
from gentle.sources import Chunk, Matrix

Missing = Literal["drop", "raise", "mean", "indicator"]
Mask = npt.NDArray[np.bool_]
Sight = Floats | csr_array  # numbers (n, p), or sparse ones


def lacking(column: pl.Series) -> Mask:
    """Where a column has a null or a NaN, (n,)."""
    gone = column.is_null()
    if column.dtype.is_float():
        gone = gone | column.is_nan().fill_null(value=False)
    return gone.to_numpy()


def _has_all(column: pl.Series) -> bool:
    """Whether a glance tells that a column has a value in every row."""
    if column.null_count() or not column.dtype.is_float():
        return not column.null_count()
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(column.to_numpy().sum()))


def _way_out(name: str) -> str:
    """What to do about an infinity in a column, or in what a function of a formula makes of one."""
    if (function := name.partition("(")[0]) != name and name.endswith(")"):
        return (
            f"{function}() has no finite value there, so leave the row out or take another function"
        )
    return "leave the row out or give it a number"


class Sieve:
    """Which rows of a chunk a fit uses, why the others are left out, and what is an error.

    There is one rule, whatever the types and the source of the columns. A row of weight or frequency zero
    is absent. Of the others, one that lacks a value that it must have is left out, and counts for each
    column that it lacks. An infinity is an error where its row would be used.
    """

    def __init__(self, rows: Integers, where: str, missing: Missing) -> None:
        self.rows = rows
        self.keep: Mask = np.ones(len(rows), dtype=bool)  # of the rows that are used so far
        self.missing_by_column: dict[str, int] = {}
        self.n_weightless = 0
        self._present = self.keep.copy()  # the rows whose weight and frequency are not zero
        self._infinite: list[tuple[str, Mask]] = []
        self.where = where
        self._missing = missing

    def masses(self, columns: Mapping[str, Floats]) -> None:
        """Leave out rows of weight or frequency zero, as if they were not there; refuse one below zero."""
        for name, values in columns.items():
            below = values < 0
            if below.any():
                raise GentleError(
                    f"weights and frequencies must be 0 or more, but '{name}' of {self.where} is "
                    f"{values[below][0]:g} in row {self._first(below)}"
                )
            self._present &= values != 0
        self.n_weightless += int(len(self._present) - self._present.sum())
        self.keep &= self._present
        for name, values in columns.items():
            self.finite((name,), values[:, None])

    def complete(self, frame: pl.DataFrame, columns: Sequence[str]) -> None:
        """Leave out rows of a frame with a null or a NaN in one of these columns."""
        for name in columns:
            column = frame[name]
            if not _has_all(column):
                self.lacks(name, lacking(column))

    def lacks(self, name: str, gone: Mask) -> None:
        """Leave out the rows (n,) that lack a value."""
        gone = gone & self._present
        if not gone.any():
            return
        if self._missing == "raise":
            raise GentleError(
                f"column '{name}' of {self.where} has a missing value in row {self._first(gone)}, "
                "and missing is to be refused ('raise'): 'drop' leaves such rows out"
            )
        self.missing_by_column[name] = self.missing_by_column.get(name, 0) + int(gone.sum())
        self.keep &= ~gone

    def finite(self, names: Sequence[str], values: Sight) -> None:
        """Leave out rows of values (n, m) with a NaN; `settle` refuses an infinity."""
        with np.errstate(invalid="ignore", over="ignore"):
            if np.isfinite(values.sum()):  # one number that is not finite spoils the sum
                return
        if isinstance(values, csr_array):
            bad = np.unique(values.indices[~np.isfinite(values.data)])
            names, values = [names[at] for at in bad], values[:, bad].toarray()
        for name, column in zip(names, values.T, strict=True):
            if (infinite := np.isinf(column)).any():
                self._infinite.append((name, infinite))
            self.lacks(name, np.isnan(column))

    def narrow(self, chunk: Chunk) -> Chunk:
        """The chunk of a frame without the rows that are left out so far; the sieve goes on with these."""
        if self.keep.all():
            return chunk
        assert isinstance(chunk.table, pl.DataFrame)
        chunk = Chunk(self.rows[self.keep], chunk.table.filter(pl.Series(self.keep)))
        self._infinite = [(name, infinite[self.keep]) for name, infinite in self._infinite]
        self.rows, self.keep = chunk.rows, np.ones(len(chunk.rows), dtype=bool)
        self._present = self.keep.copy()
        return chunk

    def settle(self) -> None:
        """Raises GentleError for an infinity in a row that is used."""
        for name, infinite in self._infinite:
            if (used := infinite & self.keep).any():
                raise GentleError(
                    f"column '{name}' of {self.where} is infinite in row {self._first(used)}: "
                    f"{_way_out(name)}"
                )

    def _first(self, mask: Mask) -> str:
        """The first row of a mask as people count: from 1, the header not among them."""
        return f"{self.rows[int(mask.argmax())] + 1:,}"


@dataclass(frozen=True)
class Selection:
    """Which rows a fit uses, as far as the columns of their source tell.

    All that is learned from rows before the fit, such as levels, means and knots, is learned from these.
    """

    required: tuple[str, ...] = ()  # columns of which a row must have a value
    weights: str | None = None
    frequencies: str | None = None
    beside: tuple[str, ...] = ()  # other columns that `defined` reads
    defined: Callable[[pl.DataFrame], Mask] | None = None  # where a formula has a value

    @property
    def masses(self) -> tuple[str, ...]:
        """The columns of weights and frequencies."""
        return tuple(name for name in (self.weights, self.frequencies) if name is not None)

    def columns(self, *more: str) -> list[str]:
        """The columns to read, each once."""
        return list(dict.fromkeys((*more, *self.required, *self.masses, *self.beside)))

    def sieve(self, chunk: Chunk, where: str, missing: Missing = "drop") -> Sieve:
        """Which rows of a chunk are used; of a matrix the columns of x are not looked at."""
        sieve = Sieve(chunk.rows, where, missing)
        masses = {name: column_of(chunk, name) for name in self.masses}
        sieve.masses(masses)
        required = [name for name in self.required if name not in masses]
        if isinstance(chunk.table, pl.DataFrame):
            sieve.complete(chunk.table, required)
            return sieve
        for name in required:
            if name in chunk.table.labels:
                sieve.lacks(name, unlabelled(chunk.table.labels[name]))
            elif name in chunk.table.other:
                sieve.finite((name,), chunk.table.other[name][:, None])
        return sieve

    def used(self, chunk: Chunk, where: str) -> Chunk:
        """The rows of a frame's chunk that are used."""
        chunk = self.sieve(chunk, where).narrow(chunk)
        if self.defined is None:
            return chunk
        assert isinstance(chunk.table, pl.DataFrame)
        keep = self.defined(chunk.table)
        if keep.all():
            return chunk
        return Chunk(chunk.rows[keep], chunk.table.filter(pl.Series(keep)))


def column_of(chunk: Chunk, name: str) -> Floats:
    """A column of numbers beside x, (n,); nan for a null."""
    if isinstance(chunk.table, Matrix):
        return chunk.table.other[name]
    return numbers(chunk.table, [name])[:, 0]


def unlabelled(labels: Labels) -> Mask:
    """Where an array of cluster labels has NaN, (n,)."""
    if labels.dtype.kind == "f":
        return np.isnan(labels)
    return np.zeros(len(labels), dtype=bool)
