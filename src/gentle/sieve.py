"""Sieve: which rows of a chunk are complete, why the others are not, and what is an error."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from gentle.batch import Floats, Integers
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


def _whole(column: pl.Series, *, nan: bool) -> bool:
    """Whether a glance tells that a column has a value in every row, NaN looked for or not."""
    if column.null_count():
        return False
    if not nan or not column.dtype.is_float():
        return True
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
    """Which rows of a chunk go on, why the others do not, and what is an error."""

    def __init__(self, rows: Integers, where: str, missing: Missing) -> None:
        self.rows = rows
        self.keep: Mask = np.ones(len(rows), dtype=bool)  # of the rows that are still complete
        self.missing_by_column: dict[str, int] = {}
        self.n_weightless = 0
        self.where = where
        self._missing = missing

    def complete(self, chunk: Chunk, columns: Sequence[str], later: Container[str] = ()) -> Chunk:
        """The chunk without the rows that have a null or a NaN in one of these columns.

        The NaN of those that become numbers as they are may be left to `finite`, later.
        """
        if isinstance(chunk.table, Matrix):
            return chunk  # numbers already: `finite` sees their NaN
        for name in columns:
            column = chunk.table[name]
            if _whole(column, nan=name not in later):
                continue
            gone = lacking(column)
            if gone.any():
                self._leave_out(name, gone)
        if self.keep.all():
            return chunk
        chunk = Chunk(self.rows[self.keep], chunk.table.filter(pl.Series(self.keep)))
        self.rows, self.keep = chunk.rows, np.ones(len(chunk.rows), dtype=bool)
        return chunk

    def finite(self, names: Sequence[str], values: Sight) -> None:
        """Leave out rows of values (n, m) with a NaN; refuse an infinity."""
        with np.errstate(invalid="ignore", over="ignore"):
            if np.isfinite(values.sum()):  # one number that is not finite spoils the sum
                return
        if isinstance(values, csr_array):
            bad = np.unique(values.indices[~np.isfinite(values.data)])
            names, values = [names[at] for at in bad], values[:, bad].toarray()
        keep = self.keep.copy()  # a row that lacks several columns counts for each
        for name, column in zip(names, values.T, strict=True):
            infinite = np.isinf(column) & keep
            if infinite.any():
                raise GentleError(
                    f"column '{name}' of {self.where} is infinite in row {self._first(infinite)}: "
                    f"{_way_out(name)}"
                )
            gone = np.isnan(column) & keep
            if gone.any():
                self._leave_out(name, gone)

    def positive(self, name: str, values: Floats) -> None:
        """Leave out rows of weight zero, as if they were not there; refuse a weight below zero."""
        below = values < 0
        if below.any():
            raise GentleError(
                f"weights and frequencies must be 0 or more, but '{name}' of {self.where} is "
                f"{values[below][0]:g} in row {self._first(below)}"
            )
        zero = (values == 0) & self.keep
        self.n_weightless += int(zero.sum())
        self.keep &= ~zero

    def _leave_out(self, name: str, gone: Mask) -> None:
        if self._missing == "raise":
            raise GentleError(
                f"column '{name}' of {self.where} has a missing value in row {self._first(gone)}, "
                "and missing is to be refused ('raise'): 'drop' leaves such rows out"
            )
        self.missing_by_column[name] = self.missing_by_column.get(name, 0) + int(gone.sum())
        self.keep &= ~gone

    def _first(self, mask: Mask) -> str:
        """The first row of a mask as people count: from 1, the header not among them."""
        return f"{self.rows[int(mask.argmax())] + 1:,}"
