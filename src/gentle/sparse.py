"""Sparse rows: as a tensor in a batch, and as scipy has them for arithmetic, over the same memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

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
    parts = (x.values(), x.col_indices(), x.crow_indices())
    return csr_array(tuple(part.numpy() for part in parts), shape=(x.shape[0], x.shape[1]))


def taken(x: Tensor, at: slice | npt.NDArray[np.int64]) -> Tensor:
    """Some of the rows, dense or sparse."""
    if is_sparse(x):
        return wrapped(unwrapped(x)[at])
    return x[at if isinstance(at, slice) else torch.from_numpy(at).to(x.device)]


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """Rows under each other."""
    if is_sparse(parts[0]):
        return wrapped(vstack([unwrapped(part) for part in parts], format="csr"))
    return torch.cat(list(parts))


def written_out(x: npt.NDArray[np.float64] | csr_array) -> npt.NDArray[np.float64]:
    """Rows as a dense array of float64."""
    return x.toarray() if isinstance(x, csr_array) else np.asarray(x, dtype=np.float64)
