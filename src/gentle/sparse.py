"""Sparse rows: as a tensor in a batch, and as scipy has them for arithmetic, over the same memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array, vstack
from torch import Tensor


def is_sparse(x: Tensor) -> bool:
    """Whether rows are sparse: torch's compressed rows are the one layout of a batch."""
    return x.layout == torch.sparse_csr


def wrapped(x: csr_array) -> Tensor:
    """Sparse rows as a tensor (n, p)."""
    starts, columns, values = (torch.from_numpy(part) for part in (x.indptr, x.indices, x.data))
    with warnings.catch_warnings():  # torch calls the layout a beta, and warns of read-only memory
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            starts, columns, values, size=x.shape, check_invariants=False
        )


def unwrapped(x: Tensor) -> csr_array:
    """The same as scipy has it."""
    starts, columns, values = x.crow_indices(), x.col_indices(), x.values()
    return _over(values.numpy(), columns.numpy(), starts.numpy(), (x.shape[0], x.shape[1]))


def taken(x: Tensor, at: slice | npt.NDArray[np.int64]) -> Tensor:
    """Some of the rows, dense or sparse."""
    if is_sparse(x):
        return wrapped(run(unwrapped(x), at) if isinstance(at, slice) else unwrapped(x)[at])
    return x[at if isinstance(at, slice) else torch.from_numpy(at).to(x.device)]


def run(x: csr_array, at: slice) -> csr_array:
    """Rows one after the other, whose numbers stay where they are."""
    start, stop, step = at.indices(x.shape[0])
    assert step == 1
    stop = max(start, stop)
    starts = x.indptr[start : stop + 1]
    numbers = slice(starts[0], starts[-1])
    shape = (stop - start, x.shape[1])
    return _over(x.data[numbers], x.indices[numbers], starts - starts[0], shape)


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """Rows under each other."""
    if is_sparse(parts[0]):
        return wrapped(vstack([unwrapped(part) for part in parts], format="csr"))
    return torch.cat(list(parts))


def written_out(x: npt.NDArray[np.float64] | csr_array) -> npt.NDArray[np.float64]:
    """Rows as a dense array of float64."""
    return x.toarray() if isinstance(x, csr_array) else np.asarray(x, dtype=np.float64)


def gathered(
    values: npt.NDArray[np.float64],
    places: npt.NDArray[np.int64],
    there: npt.NDArray[np.bool_],
    columns: int,
) -> csr_array:
    """Rows (n, columns) of few entries: value, column and whether there is one, each (n, m).

    The places of a row rise from entry to entry.
    """
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return csr_array((values[there], places[there], ends), shape=(len(values), columns))


def _over(values: npt.NDArray[Any], columns: Any, starts: Any, shape: tuple[int, int]) -> csr_array:
    """Compressed rows over this memory: the constructor copies what is less than half of an array."""
    rows = csr_array(shape, dtype=values.dtype)
    rows.data, rows.indices, rows.indptr = values, columns, starts
    return rows
