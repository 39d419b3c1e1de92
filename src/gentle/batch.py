"""Batch, the one currency of the numerical rooms: some rows of the design, as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Labels = npt.NDArray[np.generic]  # integers, floats or text

INTERCEPT = "Intercept"  # what the constant is called, here and in formulas
BATCH_NUMBERS = 2**20  # float64 numbers in a batch: 8 MiB, enough that threads are worth starting
LEAST_ROWS = 4096  # in a batch as wide as that or wider: a factor of few rows costs as one of many


def rows_per_batch(columns: int) -> int:
    """How many rows of so many columns make a batch."""
    return max(1, BATCH_NUMBERS // max(1, columns), min(columns, LEAST_ROWS))


@dataclass(frozen=True)
class Batch:
    """Rows of a design. The constant column is not among them: the model has it or has it not."""

    x: Tensor  # (n, p) float64
    y: Tensor  # (n, k) float64
    rows: Integers  # (n,) where each row stands in its source, from 0
    weight: Tensor | None = None  # (n,) precision, up to a common factor
    frequency: Tensor | None = None  # (n,) how many rows each one stands for
    n_read: int = 0  # rows read to make this batch, those left out included
    missing: Mapping[str, int] = field(default_factory=dict)  # column -> rows where it is missing
    n_weightless: int = 0  # rows left out for a weight or a frequency of zero
    groups: tuple[Labels, ...] = ()  # each (n,): the cluster that each row belongs to, by each key
    low: Tensor | None = None  # (n, p) what x lacks of computed powers, for double-double work
    y_low: Tensor | None = None  # (n, k) what y lacks where an offset was taken off it

    @property
    def mass(self) -> Tensor | None:
        """What a row counts in a sum, (n,): weight times frequency; None stands for ones."""
        if self.weight is None or self.frequency is None:
            return self.weight if self.frequency is None else self.frequency
        return self.weight * self.frequency

    @property
    def n_rows(self) -> float:
        """How many rows the batch stands for: a row of frequency 3 stands for three."""
        return len(self.x) if self.frequency is None else float(self.frequency.sum())
