"""Which source reads what a user hands over."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csc_array, csc_matrix, csr_array, csr_matrix, issparse
from torch.utils.data import DataLoader, Dataset

from gentle.batch import Labels
from gentle.errors import GentleError, first_line, is_number, listed
from gentle.sources.arrays import Arrays, Numbers
from gentle.sources.batches import Again, Batches, Once
from gentle.sources.dask import Partitions, is_partitioned, partitions
from gentle.sources.files import CsvFiles, check_place, read_file, read_stream
from gentle.sources.frames import Frame
from gentle.sources.plan import Given, Plan, Types
from gentle.sources.source import Source
from gentle.sources.sql import Query, is_database, query

SOURCES = (Arrays, Batches, Frame, Partitions, Plan, Query)
REFUSED = (
    *(TypeError, ValueError, OverflowError, NotImplementedError),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)
LOADED_ROWS = 4_096  # of a dataset of torch at a time


def open_source(
    data: Any, names: Sequence[str] | None = None, dtypes: Types | None = None
) -> Source:
    """A source for a path, a frame, an array or a pair (X, y).

    Args:
        names: of the columns of an array.
        dtypes: types of columns by name, for files that do not state them (CSV), such as
            {"zip": pl.String()} where a fit has texts; names that a file lacks are ignored.

    Raises GentleError for anything else, and says what would do.
    """
    if isinstance(data, str | os.PathLike):
        path = os.fspath(data)
        if "~" in path[1:] and not os.path.exists(os.path.expanduser(path)):
            raise GentleError(
                f"'{path}' is a formula, and the rows come first: gentle.fit(frame, '{path}')"
            )
        check_place(path)
        return query(path) if is_database(path) else read_file(path, dtypes)
    if isinstance(data, CsvFiles):
        return data.opened(dtypes)
    if isinstance(data, list) and data and all(isinstance(it, str | os.PathLike) for it in data):
        return read_file([os.fspath(each) for each in data], dtypes)
    if isinstance(data, io.IOBase) or (hasattr(data, "read") and hasattr(data, "readline")):
        return read_stream(data, dtypes)
    if isinstance(data, SOURCES):
        return data
    if isinstance(data, pl.LazyFrame):
        return Plan(Given(data))
    if is_partitioned(data):
        return partitions(data, _open_frame)
    if (pieces := _pieces(data)) is not None:
        return Batches(pieces, partial(_open_piece, names=names))
    return _open_whole(data, names)


def _open_whole(data: Any, names: Sequence[str] | None) -> Source:
    """A source for what is in memory."""
    if isinstance(data, tuple) and len(data) == 2:
        return _pair(*data, names)
    if isinstance(data, Mapping):
        return Frame(_of_columns(data))
    if _is_frame(data):
        return _open_frame(data)
    if hasattr(data, "__array__") or is_sparse_matrix(data):
        x = _matrix(data)
        return Arrays(x, _names(x, names))
    raise GentleError(
        "data must be a frame, the path of a file, a pair (X, y) of arrays, or batches of such: "
        f"this is {type(data).__name__}"
    )


def _open_frame(data: Any) -> Frame:
    return Frame(_frame(data))


def _open_piece(piece: Any, names: Sequence[str] | None) -> Source:
    """A source for a batch; a loader of torch gives a pair as a list."""
    return _open_whole(tuple(piece) if isinstance(piece, list) else piece, names)


def _pieces(data: Any) -> Once | Again | None:
    """The batches of what hands out some: a function, an iterator, a list, a loader or a dataset."""
    if hasattr(data, "read_next_batch"):  # a reader of Arrow, which is a stream and no table
        return Once(iter(data))
    whole = hasattr(data, "__array__") or _is_frame(data) or is_sparse_matrix(data)
    if whole or isinstance(data, tuple | Mapping):
        return None
    if callable(data):
        return Again(data)
    if isinstance(data, Iterator):
        return Once(data)
    if isinstance(data, Dataset):
        return Again(partial(DataLoader, data, batch_size=LOADED_ROWS))
    if isinstance(data, Iterable):
        return Again(lambda: data)
    return None


def _of_columns(data: Mapping[str, Any]) -> pl.DataFrame:
    """A frame of columns by name, such as arrays, tensors or lists; of single values it has one row."""
    columns = {str(name): _array(column) for name, column in data.items()}
    if all(column.ndim == 0 for column in columns.values()):
        columns = {name: column[None] for name, column in columns.items()}
    lengths = {name: len(column) for name, column in columns.items() if column.ndim == 1}
    if len(lengths) < len(columns) or len(set(lengths.values())) > 1:
        shapes = listed(f"{name}: {column.shape}" for name, column in columns.items())
        raise GentleError(f"columns by name need one length, one number a row, and are {shapes}")
    return pl.DataFrame(_series(columns))


def pair_targets(data: Any, source: Source | None = None) -> tuple[str, ...]:
    """The names of y where the data are a pair (X, y), or batches of such."""
    if isinstance(data, tuple) and len(data) == 2:
        return tuple(_targets(data[1]))
    first = source.first if isinstance(source, Batches) else None
    return tuple(first.other) if isinstance(first, Arrays) else ()


def with_columns(source: Source, columns: dict[str, Any], *, labels: bool = False) -> Source:
    """The source with more columns, such as weights or cluster labels that were given as arrays."""
    if not isinstance(source, Arrays | Frame):
        raise GentleError(
            f"{source.name} is read piece by piece, so {' and '.join(columns)} must be the name of one of "
            "its columns: an array beside it cannot be read in step"
        )
    arrays = {
        name: _labels(column) if labels else _with_nan(_array(column))
        for name, column in columns.items()
    }
    for name, array in arrays.items():
        if array.shape != (source.height(),):
            raise GentleError(
                f"{name} must hold one value for each of the {source.height():,} rows of "
                f"{source.name}, and has shape {array.shape}"
            )
    if isinstance(source, Arrays):
        if labels:
            return replace(source, labels={**source.labels, **arrays})
        return replace(source, other={**source.other, **arrays})  # type: ignore[dict-item]
    return Frame(source.frame.with_columns(**_series(arrays)), source.name)


def _pair(x: Any, y: Any, names: Sequence[str] | None) -> Source:
    """X and y: a target is called by its own name where it has one, else 'y', or 'y1', 'y2', ..."""
    targets = _targets(y)
    if _is_frame(x):
        frame = _frame(x)
        for target in targets:
            if target in frame.columns:
                raise GentleError(
                    f"X has a column '{target}' and y goes by that name too: rename one, or give the "
                    f"frame alone with target='{target}'"
                )
        return with_columns(Frame(frame), targets)
    x = _matrix(x)
    return Arrays(x, _names(x, names), targets)


def _targets(y: Any) -> dict[str, Numbers]:
    """Name -> column (n,) of one target or several."""
    if _is_frame(y) and not hasattr(y, "name"):
        frame = _frame(y)
        return {name: frame[name].to_numpy() for name in frame.columns}
    columns = _with_nan(_array(y))
    if columns.ndim == 2 and columns.shape[1] > 1:
        return {f"y{j + 1}": column for j, column in enumerate(columns.T)}
    name = str(getattr(y, "name", None) or "y")
    return {name: columns[:, 0] if columns.ndim == 2 and columns.shape[1] == 1 else columns}


def _labels(data: Any) -> Labels:
    """Labels of clusters: integers, numbers or strings; where some are missing, numbers with NaN there."""
    if isinstance(data, list | tuple):  # numpy would make one text of nan and another of a number
        data = np.array(data, dtype=object)
    labels = np.asarray(data.detach().cpu() if hasattr(data, "detach") else data)
    if labels.dtype.kind == "O":
        missing = np.array([_is_missing(label) for label in labels.ravel()]).reshape(labels.shape)
        texts = {isinstance(label, str) for label in labels[~missing]}
        if len(texts) > 1:
            raise GentleError("some clusters are texts and others are not: make all of them texts")
        if missing.any():
            return _numbered(labels, missing)
        labels = labels.astype(str) if texts == {True} else _array(labels.tolist())
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
    numbers[~missing] = [groups.setdefault(label, len(groups)) for label in labels[~missing]]
    return numbers


def _is_missing(value: Any) -> bool:
    """Whether a value of Python's or of pandas' is none: None, NaN or NA."""
    try:
        return value is None or bool(value != value)
    except TypeError:  # NA is neither equal nor unequal
        return True


def _with_nan(values: Numbers) -> Numbers:
    """Objects that are numbers, or missing, as float64 with NaN; other values stay."""
    if values.dtype.kind != "O":
        return values
    own = [np.nan if _is_missing(value) else value for value in values.ravel()]
    if all(is_number(value) for value in own):
        return np.array(own, dtype=np.float64).reshape(values.shape)
    return values


def _is_frame(data: Any) -> bool:
    arrow = hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")
    return isinstance(data, pl.DataFrame) or arrow


def _frame(data: Any) -> pl.DataFrame:
    """The frame as polars has it; a pandas frame enters column by column where pyarrow is absent."""
    if isinstance(data, pl.DataFrame):
        return data
    if hasattr(data, "name"):  # a series is a frame of one column
        return pl.DataFrame({str(data.name): data.to_numpy()})
    names = Counter(map(str, _pandas_names(data)))
    if twice := sorted(name for name, times in names.items() if times > 1):
        raise GentleError(
            f"the frame has two columns of the name {listed(twice)}: rename one of them"
        )
    try:
        return pl.DataFrame(data).with_columns(_declared(data))
    except ImportError:
        return pl.DataFrame({str(name): data[name].to_list() for name in data.columns})
    except REFUSED as error:
        raise GentleError(
            f"a column of the frame holds what cannot be read ({first_line(error)}): give it one type"
        ) from None


def _pandas_names(data: Any) -> Sequence[Any]:
    """The names of a pandas frame; nothing of any other."""
    return list(data.columns) if hasattr(data, "iloc") else []


def _declared(data: Any) -> list[pl.Series]:
    """The categories of a pandas frame as texts in their declared order, numbers among them too."""
    found = []
    for name in _pandas_names(data):
        column = data[name]
        if str(column.dtype) == "category":
            levels = [str(level) for level in column.cat.categories]
            if len(set(levels)) == len(levels):
                texts = np.array([*levels, None], dtype=object)[column.cat.codes.to_numpy()]
                found.append(pl.Series(str(name), texts, dtype=pl.Enum(levels)))
    return found


def _array(data: Any) -> Numbers:
    """Numbers as a numpy array, without a copy where the memory can be shared."""
    if is_sparse_matrix(data):
        raise GentleError(
            "X may be sparse, and nothing else: give targets, weights and the like as dense arrays"
        )
    if isinstance(data, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(data.astype(np.float64), np.nan))
    if not hasattr(data, "detach"):
        try:
            return np.asarray(data)
        except ValueError:
            raise GentleError(
                "lists in lists must be of one length each, a row or a column of numbers, and these are not"
            ) from None
    data = data.detach().cpu()
    return np.asarray(data.float() if "bfloat16" in str(data.dtype) else data)


def _matrix(data: Any) -> Numbers | csr_array:
    """X as a numpy array, or where it is sparse by compressed rows with each entry once."""
    if not is_sparse_matrix(data):
        return _with_nan(_array(data))
    if hasattr(data, "layout"):
        parts = data.detach().cpu()
        blocked = "sparse_bs" in str(parts.layout)
        parts = (parts.to_dense() if blocked else parts).to_sparse_csr()
        numbers = (parts.values(), parts.col_indices(), parts.crow_indices())
        rows = csr_array(tuple(part.numpy() for part in numbers), shape=tuple(parts.shape))
    else:
        if isinstance(data, csr_array | csr_matrix | csc_array | csc_matrix):
            _check_places(data)
        rows = csr_array(data)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def _check_places(data: Any) -> None:
    """Raises GentleError for places outside of the matrix, which scipy would read and write there."""
    try:
        type(data)((data.data, data.indices, data.indptr), data.shape).check_format(full_check=True)
    except ValueError as error:
        raise GentleError(f"X is sparse and damaged ({error}): make the matrix anew") from None


def is_sparse_matrix(data: Any) -> bool:
    """Whether this is one of scipy's sparse matrices or torch's."""
    return issparse(data) or "sparse" in str(getattr(data, "layout", ""))


def _names(x: Numbers | csr_array, names: Sequence[str] | None) -> tuple[str, ...]:
    if names is not None:
        return tuple(names)
    return tuple(f"x{j + 1}" for j in range(x.shape[1] if x.ndim == 2 else 0))


def _series(arrays: Mapping[str, Any]) -> dict[str, pl.Series]:
    return {
        name: _plain(name, array) if array.dtype.kind == "O" else pl.Series(name, array)
        for name, array in arrays.items()
    }


def _plain(name: str, values: Numbers) -> pl.Series:
    """Python's own values as a column of their one type, None a missing value."""
    own = values.tolist()
    fractions = any(isinstance(value, float) for value in own)
    try:
        if fractions and all(value is None or is_number(value) for value in own):
            return pl.Series(name, own, dtype=pl.Float64, strict=False)  # whole numbers among them
        return pl.Series(name, own, strict=True)
    except REFUSED as error:
        raise GentleError(
            f"column '{name}' holds values of several types ({first_line(error)}): give it one type"
        ) from None
