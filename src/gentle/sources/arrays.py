"""Arrays, sparse matrices and tensors in memory: read in views, copied only where the type must change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from gentle.batch import Floats, Labels
from gentle.errors import GentleError, listed, warn_of_rounding
from gentle.sources.source import Chunk, Matrix, Schema, bounds, numbered

Numbers = npt.NDArray[np.number]
TYPES = {np.dtype(np.float32): pl.Float32(), np.dtype(np.float16): pl.Float16()}


@dataclass(frozen=True, eq=False)
class Arrays:
    """A design matrix in memory, with named columns beside it."""

    x: Numbers | csr_array  # (n, p)
    names: tuple[str, ...]  # (p,)
    other: Mapping[str, Numbers] = field(default_factory=dict)  # each (n,)
    labels: Mapping[str, Labels] = field(default_factory=dict)  # clusters, each (n,)
    finite: bool = False  # whether x is known to hold no NaN and no infinity
    start: int = 0  # where the first row stands in the whole
    name: str = "the arrays"
    targets: tuple[str, ...] = ()  # columns that were given as y
    weights: str | None = None  # the column that was given as weights beside X and y
    row_labels: Any = None  # the pandas index of what was given
    single: frozenset[str] = frozenset()  # columns of x that came as float32
    seeks: ClassVar[bool] = True
    divides: ClassVar[bool] = True
    replayable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.x.ndim != 2:
            raise GentleError(
                f"X must have two dimensions, rows and columns, and has shape {self.x.shape}: "
                "X.reshape(-1, 1) makes one column of a flat array"
            )
        if len(self.names) != (width := self.x.shape[1]):
            needed = len(self.names)
            names = f", for the names {listed(self.names)}" if needed else ""
            raise GentleError(
                f"X has {width:,} column{'s' * (width != 1)}, and {needed:,} "
                f"{'is' if needed == 1 else 'are'} needed{names}"
            )
        known = Counter((*self.names, *self.other, *self.labels))
        if twice := sorted(name for name, times in known.items() if times > 1):
            raise GentleError(
                f"each column needs a name of its own, and two are called {listed(twice)}"
            )
        for name, column in {**self.other, **self.labels}.items():
            if column.shape != (self.height(),):
                raise GentleError(
                    f"{name} must hold one value for each of the {self.height():,} rows of X, "
                    f"and has shape {column.shape}"
                )
        numbers = self.x.data if isinstance(self.x, csr_array) else self.x
        for name, column in {"X": numbers, **self.other}.items():
            if column.dtype.kind not in "biuf":
                raise GentleError(f"{name} must hold real numbers, and holds {column.dtype}")
            wide = column.dtype.kind in "iu" and column.dtype.itemsize == 8 and column.size
            if wide and max(-int(column.min()), int(column.max())) > 2**53:
                warn_of_rounding(name)

    @property
    def sparse(self) -> bool:
        return isinstance(self.x, csr_array)

    def schema(self) -> Schema:
        return self._schema

    @cached_property
    def _schema(self) -> Schema:
        x = TYPES.get(self.x.dtype, pl.Float64())
        return (
            dict.fromkeys(self.names, x)
            | {name: pl.Float64() for name in (*self.other, *self.labels)}
            | dict.fromkeys(self.single, pl.Float32())
        )

    def height(self) -> int:
        return int(self.x.shape[0])

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        places = {name: at for at, name in enumerate(self.names)}
        chosen = [places[name] for name in columns if name in places]
        every = chosen == list(range(len(self.names)))
        for start in range(0, self.height(), rows):
            piece = slice(start, start + rows)
            other = {name: _floats(column[piece]) for name, column in self.other.items()}
            x = self.x if rows >= self.height() else self.x[piece]
            x = x if every else x[:, chosen]
            labels = {name: column[piece] for name, column in self.labels.items()}
            if isinstance(x, csr_array):
                x = x.astype(np.float64, copy=False)
            elif x.dtype != np.float32:
                x = _floats(x)
            table = Matrix(x, other, labels, self.finite)  # type: ignore[arg-type]  # or float32
            yield Chunk(numbered(self.start + start, self.start + start + x.shape[0]), table)

    def split(self, parts: int) -> Sequence[Arrays]:
        return [
            replace(
                self,
                x=self.x[a:b],
                other={name: column[a:b] for name, column in self.other.items()},
                labels={name: column[a:b] for name, column in self.labels.items()},
                start=self.start + a,
                row_labels=None,
            )
            for a, b in bounds(self.height(), parts)
        ]


def _floats(values: Numbers) -> Floats:
    return np.asarray(values, dtype=np.float64)
