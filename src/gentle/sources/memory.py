"""Tables, columns and matrices in memory, as polars and numpy have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from scipy.sparse import csc_array, csc_matrix, csr_array, csr_matrix, issparse

from gentle.batch import Labels
from gentle.errors import GentleError, first_line, is_number, is_real_number, listed
from gentle.forking import reject_lost_pool
from gentle.sources.arrays import Numbers
from gentle.sources.frames import Frame
from gentle.sources.kinds import is_a, is_column, is_sparse_matrix, name_of, row_labels
from gentle.sources.pandas_index import index_columns
from gentle.sources.source import Unreadable

REFUSED = (
    *(TypeError, ValueError, OverflowError, NotImplementedError),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)
PANDAS_MISSING = ("pandas._libs.missing.NAType", "pandas._libs.tslibs.nattype.NaTType")
LONGEST_INTEGER = 127  # bits, those of polars' Int128 and its sign
NAMED_TYPES = 4  # of a column of several types, that an error names

Columns = Mapping[str, pl.Series | Unreadable]


def frame_of(data: Any) -> Frame:
    """A table in memory as a frame; a column that cannot be read is an error only where it is used."""
    reject_lost_pool()
    if isinstance(data, Frame):
        return data
    if isinstance(data, pl.DataFrame):
        return Frame(data)
    if is_column(data):
        return frame_of_columns({name_of(data) or "x": _series(name_of(data) or "x", data)})
    if is_a(data, "pandas.DataFrame"):
        return _of_pandas(data)
    return _of_arrow(data)


def frame_of_columns(columns: Columns, **more: Any) -> Frame:
    """Columns by name as a frame, also where some cannot be read."""
    reject_lost_pool()
    read = {name: column for name, column in columns.items() if isinstance(column, pl.Series)}
    if len(read) == len(columns):
        return Frame(pl.DataFrame(read), **more)
    types = {
        name: column.dtype if isinstance(column, pl.Series) else column
        for name, column in columns.items()
    }
    return Frame(pl.DataFrame(read), types=types, **more)


def frame_of_mapping(data: Mapping[Any, Any]) -> Frame:
    """Columns by name, such as arrays, tensors or lists; of single values it has one row."""
    arrays = {str(name): array_of(column) for name, column in data.items()}
    if all(column.ndim == 0 for column in arrays.values()):
        arrays = {name: column[None] for name, column in arrays.items()}
    lengths = {name: len(column) for name, column in arrays.items() if column.ndim == 1}
    if len(lengths) < len(arrays) or len(set(lengths.values())) > 1:
        shapes = listed(f"{name}: {column.shape}" for name, column in arrays.items())
        raise GentleError(f"columns by name need one length, one number a row, and are {shapes}")
    labels = None
    for name, column in data.items():
        labels = joined_labels(labels, column, str(name), "the other columns")
    return frame_of_columns(
        {
            name: _series(name, column if isinstance(column, pl.Series) else array)
            for column, (name, array) in zip(data.values(), arrays.items(), strict=True)
        },
        row_labels=labels,
    )


def frame_of_rows(data: Sequence[Any]) -> Frame:
    """Rows as mappings from name to value; a row that lacks a name has a missing value there."""
    if odd := [row for row in data if not isinstance(row, Mapping)]:
        raise GentleError(
            f"rows must all be mappings from name to value, and one is {type(odd[0]).__name__}"
        )
    names = dict.fromkeys(str(name) for row in data for name in row)
    rows = [{str(name): value for name, value in row.items()} for row in data]
    return frame_of_mapping({name: _objects([row.get(name) for row in rows]) for name in names})


def joined_labels(known: Any, value: Any, name: str, others: str) -> Any:
    """The pandas index that values have in common, or None where none of them has one.

    Raises GentleError where they differ: rows are paired by position.
    """
    labels = row_labels(value)
    if known is None or labels is None or len(known) != len(labels):
        return labels if known is None else known
    if not known.equals(labels):
        raise GentleError(
            f"the pandas index of {name} differs from that of {others}, and rows are paired by position: "
            "align it with .reindex(X.index), or give .to_numpy() where the positions are right"
        )
    return known


def array_of(data: Any) -> Numbers:
    """Numbers as a numpy array, without a copy where the memory can be shared."""
    if is_sparse_matrix(data):
        raise GentleError(
            "X may be sparse, and nothing else: give targets, weights and the like as dense arrays"
        )
    try:
        if isinstance(data, np.ma.MaskedArray):
            return np.asarray(np.ma.filled(data.astype(np.float64), np.nan))
        if isinstance(data, torch.Tensor):
            data = data.detach().cpu()
            return np.asarray(data.float() if data.dtype == torch.bfloat16 else data)
        if isinstance(data, pl.Series):
            return data.to_numpy()
        if is_a(data, "pandas.Series", "pandas.Index") and not isinstance(data.dtype, np.dtype):
            return _of_extension(data)
        return np.asarray(data)
    except GentleError:
        raise
    except Exception as error:  # whatever the library raises that the values are of
        if isinstance(data, list | tuple) and isinstance(error, ValueError):
            raise GentleError(
                "lists in lists must be of one length each, a row or a column of numbers, and these are not"
            ) from None
        raise GentleError(
            f"{type(data).__name__} cannot be read as an array: {first_line(error)}"
        ) from None


def matrix_of(data: Any) -> Numbers | csr_array:
    """X as a numpy array, or where it is sparse by compressed rows with each entry once."""
    if not is_sparse_matrix(data):
        return numbers_of(data)
    rows: Any
    if issparse(data):
        if isinstance(data, csr_array | csr_matrix | csc_array | csc_matrix):
            _check_places(data)
        rows = csr_array(data)  # type: ignore[call-overload]
    else:
        parts = data.detach().cpu()
        blocked = parts.layout in (torch.sparse_bsr, torch.sparse_bsc)
        parts = (parts.to_dense() if blocked else parts).to_sparse_csr()
        numbers = (parts.values(), parts.col_indices(), parts.crow_indices())
        rows = csr_array(tuple(part.numpy() for part in numbers), shape=tuple(parts.shape))
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows  # type: ignore[no-any-return]


def numbers_of(data: Any) -> Numbers:
    """An array as `array_of` has it; objects that are numbers, or missing, as float64 with NaN."""
    values = array_of(data)
    if values.dtype.kind != "O":
        return values
    own = [np.nan if _is_missing(value) else value for value in values.ravel()]
    if not all(is_real_number(value) for value in own):
        return values
    try:
        return np.array(own, dtype=np.float64).reshape(values.shape)
    except OverflowError:
        raise GentleError("a number is beyond float64, whose largest is about 1.8e308") from None


def labels_of(data: Any) -> Labels:
    """Labels of clusters: integers, numbers or strings; where some are missing, numbers with NaN there."""
    if isinstance(data, list | tuple):  # numpy would make one text of nan and another of a number
        data = _objects(data)
    labels = np.asarray(array_of(data))
    if labels.dtype.kind == "O":
        missing = np.array([_is_missing(label) for label in labels.ravel()]).reshape(labels.shape)
        texts = {isinstance(label, str) for label in labels[~missing]}
        if len(texts) > 1:
            raise GentleError("some clusters are texts and others are not: make all of them texts")
        if missing.any():
            return _numbered(labels, missing)
        labels = labels.astype(str) if texts == {True} else array_of(labels.tolist())
    if labels.dtype.kind == "M":
        if (missing := np.isnat(labels)).any():
            return _numbered(labels, missing)
        labels = labels.astype(np.int64)
    if labels.dtype.kind in "biu":
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "ifU":
        raise GentleError(f"clusters must be whole numbers or texts, and hold {labels.dtype}")
    return labels


def _numbered(labels: npt.NDArray[Any], missing: npt.NDArray[np.bool_]) -> Labels:
    """Labels (n,) as the numbers of their groups, NaN where they are missing."""
    groups: dict[Any, int] = {}
    numbers = np.full(labels.shape, np.nan)
    try:
        numbers[~missing] = [groups.setdefault(label, len(groups)) for label in labels[~missing]]
    except TypeError as error:
        raise GentleError(f"clusters must be whole numbers or texts: {first_line(error)}") from None
    return numbers


def series_of(columns: Mapping[str, Any]) -> dict[str, pl.Series]:
    """Arrays by name as columns; raises GentleError for one that cannot be read."""
    found = {}
    for name, array in columns.items():
        column = _series(name, array)
        if isinstance(column, Unreadable):
            raise GentleError(f"column '{name}' holds {column.holds}: give it one type")
        found[name] = column
    return found


def _of_pandas(data: Any) -> Frame:
    """A pandas frame, column by column where pyarrow is absent or one column cannot be read."""
    names = [str(name) for name in data.columns]
    if len(set(names)) == len(names):
        declared = [_declared(name, data[own]) for name, own in zip(names, data, strict=True)]
        try:
            frame = pl.DataFrame(data)
            frame.columns = names
            frame = frame.with_columns([column for column in declared if column is not None])
            return Frame(frame, row_labels=data.index)
        except (ImportError, *REFUSED):
            pass
    columns = (data.iloc[:, at] for at in range(len(names)))
    return frame_of_columns(_each(names, columns), row_labels=data.index)


def _of_arrow(data: Any) -> Frame:
    """A table that speaks Arrow, column by column where one cannot be read."""
    try:
        frame = pl.DataFrame(data)
        return Frame(frame, index=index_columns(_pandas_metadata(data), frame.columns))
    except ImportError as error:
        raise GentleError(
            f"{type(data).__name__} cannot be read: {first_line(error)} (pip install pyarrow)"
        ) from None
    except REFUSED as error:
        broken = error
    try:
        table = import_module("pyarrow").table(data)
    except Exception:  # pyarrow is absent, or this is no table
        raise GentleError(
            f"{type(data).__name__} holds what cannot be read ({first_line(broken)}): give it as a table "
            "whose columns have one type each"
        ) from None
    columns = _each(table.column_names, table.columns)
    index = index_columns(_pandas_metadata(table), table.column_names)
    return frame_of_columns(columns, index=index)


def _pandas_metadata(data: Any) -> bytes | None:
    """What pandas wrote about its index into the schema of an Arrow table."""
    if not is_a(data, "pyarrow.Table", "pyarrow.RecordBatch"):
        return None
    found: bytes | None = (data.schema.metadata or {}).get(b"pandas")
    return found


def _each(names: Sequence[str], columns: Iterable[Any]) -> Columns:
    """Columns by name, each read by itself."""
    times = Counter(names)
    found: dict[str, pl.Series | Unreadable] = {}
    for name, column in zip(names, columns, strict=True):
        if times[name] > 1:
            reason = f"two columns of the name '{name}': rename one of them"
            found[name] = Unreadable("two columns", reason)
        else:
            found[name] = _series(name, column)
    return found


def _series(name: str, column: Any) -> pl.Series | Unreadable:
    """A column by itself."""
    if isinstance(column, np.ndarray):
        column = column if column.dtype.kind == "O" else np.ascontiguousarray(column)
    if (declared := _declared(name, column)) is not None:
        return declared
    try:
        if is_a(column, "pandas.Series") and is_a(column.dtype, "pandas.SparseDtype"):
            column = column.to_numpy()
        if isinstance(column, np.ndarray) and column.dtype.kind == "O":
            return _of_one_type(name, column)
        return pl.Series(name, column)
    except ImportError:
        return _of_one_type(name, np.asarray(column, dtype=object))
    except REFUSED:
        return _unreadable(column)


def _unreadable(column: Any) -> Unreadable:
    if is_a(column, "pyarrow.Array", "pyarrow.ChunkedArray"):
        return Unreadable(str(column.type))
    if column.dtype != object:
        return Unreadable(str(column.dtype))
    kinds = dict.fromkeys(type(value).__name__ for value in column if value is not None)
    named = ", ".join(list(kinds)[:NAMED_TYPES])
    return Unreadable(f"values of {'several types' if len(kinds) > 1 else 'type'} ({named})")


def _of_one_type(name: str, values: Numbers) -> pl.Series:
    """Python's own values as a column of their one type, None a missing value."""
    own = [
        None if value is not None and _is_missing(value) and not is_number(value) else value
        for value in values.tolist()
    ]
    if any(isinstance(value, int) and value.bit_length() > LONGEST_INTEGER for value in own):
        raise OverflowError  # polars prints such a value before it refuses it
    fractions = any(isinstance(value, float) for value in own)
    if fractions and all(value is None or is_number(value) for value in own):
        return pl.Series(name, own, dtype=pl.Float64, strict=False)  # whole numbers among them
    return pl.Series(name, own, strict=True)


def _declared(name: str, column: Any) -> pl.Series | None:
    """The categories of pandas as texts in their declared order, numbers among them too."""
    if not (is_a(column, "pandas.Series") and is_a(column.dtype, "pandas.CategoricalDtype")):
        return None
    levels = [str(level) for level in column.cat.categories]
    if len(set(levels)) < len(levels):
        return None
    texts = np.array([*levels, None], dtype=object)[column.cat.codes.to_numpy()]
    return pl.Series(name, texts.tolist(), dtype=pl.Enum(levels))


def _of_extension(column: Any) -> Numbers:
    """A column of a type of pandas' own: numbers as floats, NaN where one is missing."""
    kind = column.dtype.kind
    if kind in "biufc" and column.isna().any():
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind in "biufc":
        return np.asarray(column.to_numpy())
    return (
        np.asarray(column.to_numpy(dtype=object, na_value=None))
        if kind == "O"
        else np.asarray(column)
    )


def _objects(values: Sequence[Any]) -> Any:
    """Values as an array (n,), each as it is."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _is_missing(value: Any) -> bool:
    """Whether a value is missing: None, NaN or pandas' NA."""
    if value is None or is_a(value, *PANDAS_MISSING):
        return True
    return isinstance(value, float | np.generic) and bool(value != value)


def _check_places(data: Any) -> None:
    """Raises GentleError for places outside of the matrix, which scipy would read and write there."""
    try:
        type(data)((data.data, data.indices, data.indptr), data.shape).check_format(full_check=True)
    except ValueError as error:
        raise GentleError(f"X is sparse and damaged ({error}): make the matrix anew") from None
