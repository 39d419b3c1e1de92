"""Which source reads what a user hands over."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch.utils.data import DataLoader, Dataset

from gentle.errors import GentleError, as_tuple, show_value
from gentle.forking import reject_lost_pool, use_own_thread
from gentle.sources.arrays import Arrays, Numbers
from gentle.sources.batches import Again, Batches, Once
from gentle.sources.dask import Partitions, is_partitioned, partitions
from gentle.sources.datasets import ArrowDataset
from gentle.sources.files import CsvFiles, Files, read_file, read_stream
from gentle.sources.frames import Frame
from gentle.sources.kinds import has_method, is_a, is_array, is_column, is_table, name_of
from gentle.sources.memory import (
    array_of,
    frame_of,
    frame_of_mapping,
    frame_of_rows,
    joined_labels,
    labels_of,
    matrix_of,
    numbers_of,
    series_of,
)
from gentle.sources.named import Named, is_of_arrays
from gentle.sources.pandas_index import index_columns
from gentle.sources.plan import Given, Plan, Types
from gentle.sources.shifted import Shifted
from gentle.sources.source import Source, Unreadable
from gentle.sources.sql import Query, file_of, is_connection, is_database, query
from gentle.sources.subset import Subset

SOURCES = (ArrowDataset, Arrays, Batches, Frame, Named, Partitions, Plan, Query, Shifted, Subset)
LOADED_ROWS = 4_096  # of a dataset of torch at a time
WEIGHTS = "(weights)"  # the name of weights that come without one
NO_DATA = {  # what may be taken for data -> what to give instead
    ("torch.nn.Module",): "a module has coefficients and no rows",
    ("sqlite3.Cursor",): "give the connection and the query, (connection, 'SELECT ...')",
    ("dask.bag.Bag", "dask.delayed.Delayed"): "Dask is read as a DataFrame: bag.to_dataframe()",
}


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
    use_own_thread()
    names = _checked_names(names)
    if isinstance(data, str | os.PathLike):
        path = os.fspath(data)
        if is_database(path):
            return query(path)
        if "~" in path[1:] and not os.path.exists(os.path.expanduser(path)):
            raise GentleError(
                f"'{path}' is a formula, and the rows come first: gentle.fit(frame, '{path}')"
            )
        return read_file(path, dtypes)
    if isinstance(data, CsvFiles):
        return data.opened(dtypes)
    if isinstance(data, list) and data and all(isinstance(it, str | os.PathLike) for it in data):
        return read_file([os.fspath(each) for each in data], dtypes)
    if isinstance(data, io.IOBase) or (has_method(data, "read") and has_method(data, "readline")):
        return read_stream(data, dtypes)
    if is_connection(data):
        return query(data)
    if isinstance(data, tuple) and len(data) == 2 and is_connection(data[0]):
        return query(*data)
    if isinstance(data, SOURCES):
        if not is_of_arrays(data):
            reject_lost_pool()
        return data
    if isinstance(data, pl.LazyFrame):
        return Plan(Given(data))
    if is_a(data, "pyarrow.dataset.Dataset"):
        return ArrowDataset(data)
    if is_partitioned(data):
        return partitions(data, frame_of)
    if (pieces := _pieces(data)) is not None:
        return Batches(pieces, partial(open_piece, names=names))
    return _open_whole(data, names)


def _open_whole(data: Any, names: Sequence[str] | None) -> Source:
    """A source for what is in memory."""
    if isinstance(data, Frame | Arrays):
        return data
    if isinstance(data, tuple) and len(data) in (2, 3):
        return _pair(*data, names=names)
    if isinstance(data, Mapping):
        return frame_of_mapping(data)
    if is_column(data) or is_table(data):
        return frame_of(data)
    if is_array(data) or _is_row_list(data):
        if isinstance(data, list) and isinstance(data[0], Mapping):
            return frame_of_rows(data)
        x = matrix_of(_stacked(data))
        return Arrays(x, _names(x, names))
    raise _refusal(data)


def _refusal(data: Any) -> GentleError:
    for classes, way_out in NO_DATA.items():
        if is_a(data, *classes):
            return GentleError(f"{type(data).__name__} cannot be read as rows: {way_out}")
    what = f"the class {data.__name__}" if isinstance(data, type) else type(data).__name__
    return GentleError(
        "data must be a frame, the path of a file, a pair (X, y) of arrays, or batches of such: "
        f"this is {what}"
    )


def open_piece(piece: Any, names: Sequence[str] | None) -> Source:
    """A source for a batch; a loader of torch gives X, or X and what belongs to it, as a list."""
    use_own_thread()
    if isinstance(piece, list | tuple) and not _is_row_list(piece):
        piece = piece[0] if len(piece) == 1 else tuple(piece)
    return _open_whole(piece, _checked_names(names))


def _pieces(data: Any) -> Once | Again | None:
    """The batches of what hands out some: a function, an iterator, a list, a loader or a dataset."""
    if has_method(data, "read_next_batch"):  # a reader of Arrow, which is a stream and no table
        return Once(iter(data))
    if is_a(data, "pyarrow.dataset.Scanner"):
        return Once(data.to_batches())
    if is_whole(data) or any(is_a(data, *classes) for classes in NO_DATA):
        return None
    if isinstance(data, type | str | bytes | bytearray | set | frozenset):
        return None
    if isinstance(data, Iterator):
        return Once(data)
    if isinstance(data, Dataset):
        own = torch.Generator()  # a loader draws a seed, if not from its own then from everyone's
        return Again(partial(DataLoader, data, batch_size=LOADED_ROWS, generator=own))
    if isinstance(data, Iterable):
        return Again(lambda: data)
    if callable(data):
        return Again(partial(_made, data))
    return None


def comes_in_pieces(data: Any) -> bool:
    """Whether data are an iterable of batches."""
    stream = has_method(data, "__arrow_c_stream__") or is_partitioned(data)
    return isinstance(data, Iterable) and not stream and _pieces(data) is not None


def is_whole(data: Any) -> bool:
    """Whether data are rows at once, and not batches of them."""
    known = isinstance(data, tuple | Mapping | Frame | Arrays)
    return known or is_column(data) or is_table(data) or is_array(data) or _is_row_list(data)


def _made(function: Any) -> Any:
    """The batches that a function makes; rows at once are one batch."""
    made = function()
    return [made] if is_whole(made) else made


def _is_row_list(data: Any) -> bool:
    """Whether a list holds rows: numbers each, or mappings from name to value, or is one itself."""
    if not isinstance(data, list) or not data:
        return False
    first = data[0]
    if isinstance(first, Mapping):
        return all(map(_is_scalar, first.values()))
    if isinstance(first, np.ndarray | torch.Tensor):
        return first.ndim == 1 and all(_shape(row) == _shape(first) for row in data)
    return _is_scalar(first) or (isinstance(first, list | tuple) and all(map(_is_scalar, first)))


def _shape(row: Any) -> tuple[int, ...] | None:
    return tuple(row.shape) if isinstance(row, np.ndarray | torch.Tensor) else None


def _is_scalar(value: Any) -> bool:
    single = isinstance(value, np.ndarray | torch.Tensor) and value.ndim == 0
    return single or value is None or isinstance(value, Number | str | np.generic)


def _stacked(data: Any) -> Any:
    """Rows of one dimension in a list as a matrix."""
    if isinstance(data, list) and data and isinstance(data[0], np.ndarray | torch.Tensor):
        return np.stack([array_of(row) for row in data])
    return data


def files_of(source: Source) -> tuple[Path, ...]:
    """The files on this machine from which the rows are read."""
    if isinstance(source, Subset | Named):
        return files_of(source.source)
    if isinstance(source, Frame):
        return source.paths
    if isinstance(source, Plan) and isinstance(source.reader, Files):
        return tuple(Path(path) for path in source.reader.paths if "://" not in path)
    file = file_of(source) if isinstance(source, Query) else None
    return () if file is None else (Path(file),)


def index_of(source: Source) -> tuple[str, ...]:
    """Columns that are features only where they are named: the index of a pandas frame, those shifted."""
    if isinstance(source, Shifted):
        return (*index_of(source.source), *(shift.name for shift in source.shifts))
    if isinstance(source, Subset | Named):
        return index_of(source.source)
    if isinstance(source, Batches):
        return index_of(source.first)
    if isinstance(source, Arrays):
        return ()
    stated = source.index if isinstance(source, ArrowDataset | Frame | Partitions | Plan) else ()
    return (*stated, *index_columns(None, source.schema()))


def pair_targets(source: Source) -> tuple[str, ...]:
    """The names of y where the data are a pair (X, y), or batches of such."""
    first = source.first if isinstance(source, Batches) else source
    return first.targets if isinstance(first, Frame | Arrays) else ()


def pair_weights(source: Source) -> str | None:
    """The name of the weights where the data are (X, y, weights), or batches of such."""
    first = source.first if isinstance(source, Batches) else source
    return first.weights if isinstance(first, Frame | Arrays) else None


def with_columns(
    source: Source, columns: Mapping[str, Any], *, labels: bool = False
) -> Frame | Arrays:
    """The source with more columns, such as weights or cluster labels that were given as arrays."""
    if not isinstance(source, Arrays | Frame):
        raise GentleError(
            f"{source.name} is read piece by piece, so {' and '.join(columns)} must be the name of one of "
            "its columns: an array beside it cannot be read in step"
        )
    arrays = {
        name: labels_of(column) if labels else numbers_of(column)
        for name, column in columns.items()
    }
    index = source.row_labels
    for name, array in arrays.items():
        if array.shape != (source.height(),):
            raise GentleError(
                f"{name} must hold one value for each of the {source.height():,} rows of "
                f"{source.name}, and has shape {array.shape}"
            )
        if not labels and array.dtype.kind not in "biuf":
            raise GentleError(f"{name} must be numbers, and holds {_held(array)}")
        index = joined_labels(index, columns[name], name, source.name)
    if isinstance(source, Frame):
        return source.joined(series_of(arrays), row_labels=index)
    if labels:
        return replace(source, labels={**source.labels, **arrays}, row_labels=index)
    return replace(source, other={**source.other, **arrays}, row_labels=index)  # type: ignore[dict-item]


def _held(array: Any) -> str:
    """What values that are no numbers are, in a message."""
    return type(array[0]).__name__ if array.dtype.kind == "O" and len(array) else str(array.dtype)


def _pair(x: Any, y: Any, weights: Any = None, *, names: Sequence[str] | None) -> Source:
    """X and y: a target has its own name where it has one, else 'y', or 'y1', 'y2', ..."""
    source: Frame | Arrays
    if is_table(x) or is_column(x) or isinstance(x, Mapping):
        source = frame_of_mapping(x) if isinstance(x, Mapping) else frame_of(x)
        own: Sequence[str] = tuple(source.schema())
    else:
        matrix = matrix_of(_stacked(x))
        source = Arrays(matrix, own := _names(matrix, names))
    targets = _targets(y, own)
    if not targets:
        raise GentleError(
            "y has no columns: give the target as an array (n,), or k of them as (n, k)"
        )
    if clash := [target for target in targets if target in own]:
        raise GentleError(
            f"X has a column '{clash[0]}' and y has that name too: rename one, or give the "
            f"frame alone with target='{clash[0]}'"
        )
    labels = joined_labels(source.row_labels, y, "y", "X")
    joined = with_columns(replace(source, row_labels=labels), targets)
    if weights is not None:
        joined = replace(with_columns(joined, {WEIGHTS: weights}), weights=WEIGHTS)
    return replace(joined, targets=tuple(targets))


def _targets(y: Any, taken: Sequence[str]) -> dict[str, Numbers]:
    """Name -> column (n,) of one target or several; one without a name gets one that is not taken."""
    if is_table(y):
        frame = frame_of(y)
        for name, kind in frame.schema().items():
            if isinstance(kind, Unreadable):
                raise GentleError(f"column '{name}' of y holds {kind.holds}: numbers are needed")
        return {name: frame.frame[name].to_numpy() for name in frame.frame.columns}
    columns = numbers_of(y)
    several = columns.ndim == 2 and columns.shape[1] > 1
    own = name_of(y)
    names = [f"y{j + 1}" for j in range(columns.shape[1])] if several else ["y"]
    if not set(names).isdisjoint(taken):
        names = [f"({name})" for name in names]
    if several:
        return dict(zip(names, columns.T, strict=True))
    flat = columns[:, 0] if columns.ndim == 2 and columns.shape[1] == 1 else columns
    return {own or names[0]: flat}


def _checked_names(names: Any) -> tuple[str, ...] | None:
    """The names of the columns of X; raises GentleError for what is no sequence of strings."""
    if names is None:
        return None
    needed = "names= must be a sequence of strings, one for each column"
    if isinstance(names, str):
        raise GentleError(f"{needed}, not {show_value(names)}")
    found = as_tuple(names, needed)
    if odd := [name for name in found if not isinstance(name, str)]:
        raise GentleError(f"names= must be strings, and one is {show_value(odd[0])}")
    return found


def _names(x: Any, names: Sequence[str] | None) -> tuple[str, ...]:
    if names is not None:
        return tuple(names)
    return tuple(f"x{j + 1}" for j in range(x.shape[1] if x.ndim == 2 else 0))
