"""What an object is, asked of its class: an attribute of the object itself may be one of its columns.

No library is imported for it: one that is not loaded has made no object.
"""

from __future__ import annotations

import sys
from typing import Any

import polars as pl
import torch
from scipy.sparse import issparse

COLUMNS = ("pandas.Series", "pandas.Index", "pyarrow.Array", "pyarrow.ChunkedArray")


def is_a(value: Any, *classes: str) -> bool:
    """Whether a value is an instance of one of these classes, each named as "module.Class"."""
    for path in classes:
        module, _, name = path.rpartition(".")
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and isinstance(value, kind):
            return True
    return False


def has_method(value: Any, name: str) -> bool:
    """Whether the class of a value defines a method, such as that of a protocol."""
    return hasattr(type(value), name)


def is_column(data: Any) -> bool:
    """Whether this is one column, which may have a name."""
    return isinstance(data, pl.Series) or is_a(data, *COLUMNS)


def is_table(data: Any) -> bool:
    """Whether this is a table of named columns in memory."""
    if isinstance(data, pl.DataFrame) or is_a(data, "pandas.DataFrame"):
        return True
    arrow = has_method(data, "__arrow_c_stream__") or has_method(data, "__arrow_c_array__")
    return arrow and not is_column(data)


def is_sparse_matrix(data: Any) -> bool:
    """Whether this is one of scipy's sparse matrices or torch's."""
    return issparse(data) or (isinstance(data, torch.Tensor) and data.layout != torch.strided)


def is_array(data: Any) -> bool:
    """Whether numpy takes this for an array."""
    return is_sparse_matrix(data) or has_method(data, "__array__")


def name_of(data: Any) -> str | None:
    """The name of a column that has one."""
    named = isinstance(data, pl.Series) or is_a(data, "pandas.Series", "pandas.Index")
    named = named or is_a(data, "dask.dataframe.Series")
    name = data.name if named else None
    return None if name is None or name == "" else str(name)


def row_labels(data: Any) -> Any:
    """The pandas index of a frame or a column that has one; else None."""
    return data.index if is_a(data, "pandas.DataFrame", "pandas.Series") else None
