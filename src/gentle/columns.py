"""What the columns of a source may hold, and what is refused of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from gentle.batch import Floats, rows_per_batch
from gentle.disguise import way_to_read
from gentle.errors import GentleError, warn_of_rounding
from gentle.sources import Source
from gentle.sources.source import Unreadable, described, reads_as_number

LONG = (pl.Int64, pl.UInt64, pl.Int128)
SPACING: Mapping[type[pl.DataType], float] = {
    pl.Float16: 2.0**-10,
    pl.Float32: 2.0**-23,
}  # at 1, of types coarser than float64
WHOLE = 2**53  # the last whole number up to which float64 has them all


def is_text(dtype: pl.DataType) -> bool:
    """Whether a column holds texts, which become levels."""
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum)


def is_empty(dtype: pl.DataType) -> bool:
    """Whether every value of a column is missing, and its type unknown."""
    return dtype == pl.Null


def refuse_other_than_numbers(source: Source, name: str) -> None:
    """Raises GentleError where a column that must be numbers is not, with the first row that shows it."""
    refuse_types(source, [name])
    if not is_text(source.schema()[name]):
        return
    where = f"column '{name}' of {source.name} must be numbers, but is text"
    if source.replayable:
        for rows, table in source.scan([name], rows_per_batch(1)):
            assert isinstance(table, pl.DataFrame)
            for row, text in zip(rows, table[name].cast(pl.String), strict=True):
                if text is not None and not reads_as_number(text):
                    way = way_to_read(text)
                    raise GentleError(f"{where}: '{text}' in row {row + 1:,}{way and '; '}{way}")
    raise GentleError(f"{where}, of digits: cast it to float, or read it so with dtypes= (--dtype)")


def refuse_other_than_dates(source: Source, name: str) -> None:
    """Raises GentleError where a column that must be dates or durations is not."""
    dtype = source.schema()[name]
    if not dtype.is_temporal():
        raise GentleError(
            f"column '{name}' of {source.name} must be dates, as it was in the fit, but holds "
            f"{described(dtype)}"
        )


def refuse_types(source: Source, names: Sequence[str]) -> None:
    """Raises GentleError for a column that is neither numbers, booleans nor text."""
    schema = source.schema()
    for name in names:
        dtype = schema[name]
        if isinstance(dtype, pl.Float64 | pl.Float32):
            continue  # there may be a hundred thousand of them
        if dtype.is_temporal():
            raise GentleError(
                f"column '{name}' of {source.name} holds {described(dtype)}: give a number made "
                "of it, such as days since a start, or leave it out with a formula"
            )
        if dtype == pl.Null:
            raise GentleError(f"column '{name}' of {source.name} is empty: every value is missing")
        if isinstance(dtype, Unreadable) and dtype.reason:
            raise GentleError(f"{source.name} has {dtype.reason}")
        if not (dtype.is_numeric() or dtype == pl.Boolean or is_text(dtype)):
            raise GentleError(
                f"column '{name}' of {source.name} holds {described(dtype)}: numbers, booleans or text are "
                "needed. Convert it, or leave it out by naming others in features= or a formula"
            )


def numbers(frame: pl.DataFrame, names: Sequence[str]) -> Floats:
    """Columns of numbers and truths as a matrix (n, p), one after the other in memory; nan for a null."""
    columns = [frame[name] for name in names]
    for column in columns:
        if column.dtype in LONG and column.len() - column.null_count():
            low, high = column.cast(pl.Float64).min(), column.cast(pl.Float64).max()
            if max(-low, high) > WHOLE:  # type: ignore[operator, type-var]
                warn_of_rounding(column.name)
    found = np.empty((len(columns), frame.height))
    for row, column in zip(found, columns, strict=True):
        row[:] = (column if column.dtype == pl.Float64 else column.cast(pl.Float64)).to_numpy()
    return found.T
