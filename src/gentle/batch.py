"""Batch, the one currency of the numerical rooms: some rows of the design, as tensors."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gentle.sparse import stacked, taken

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Labels = npt.NDArray[np.generic]  # integers, floats or text

INTERCEPT = "Intercept"  # what the constant is called, here and in formulas
EXACT_COLUMNS = 4_096  # of which the exact answer is made beside a descent
BATCH_NUMBERS = 2**20  # float64 numbers in a batch: 8 MiB, enough that threads are worth starting
LEAST_ROWS = 4096  # in a batch as wide as that or wider: a factor of few rows costs as one of many
DEVICE_NUMBERS = 2**25  # in a block on another device, where each step costs a launch
BLOCK_NUMBERS = 2**18  # in a block that is gone over several times: it stays in a core's cache


def rows_per_batch(columns: int) -> int:
    """How many rows of so many columns make a batch."""
    return max(1, BATCH_NUMBERS // max(1, columns), min(columns, LEAST_ROWS))


@dataclass(frozen=True)
class Batch:
    """Rows of a design. The constant column is not among them: the model has it or has it not."""

    x: Tensor  # (n, p) float64, dense or in compressed sparse rows
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
    filled: Mapping[str, int] = field(
        default_factory=dict
    )  # column -> rows where something stands for it

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

    def to(self, device: str, dtype: torch.dtype) -> Batch:
        """The batch with x of a type on a device, and what goes with it in float64 there."""
        return replace(
            self,
            x=self.x.to(device, dtype),
            y=self.y.to(device),
            weight=None if self.weight is None else self.weight.to(device),
            frequency=None if self.frequency is None else self.frequency.to(device),
            y_low=None if self.y_low is None else self.y_low.to(device),
        )

    def y_minus(self, center: Tensor) -> Tensor:
        """y - center, (n, k), with the digits that an offset left below those of y."""
        return minus(self.y, self.y_low, center)

    def only(self, target: int) -> Batch:
        """The batch with one of its targets."""
        one = slice(target, target + 1)
        y_low = None if self.y_low is None else self.y_low[:, one]
        return replace(self, y=self.y[:, one], y_low=y_low)

    def taken(self, at: slice | Integers) -> Batch:
        """Some of the rows, as views for a slice; what was left out beside them is not counted."""
        index = at if isinstance(at, slice) else torch.from_numpy(at).to(self.y.device)

        def part(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[index]

        return Batch(
            taken(self.x, at),
            self.y[index],
            rows := self.rows[at],
            part(self.weight),
            part(self.frequency),
            n_read=len(rows),
            groups=tuple(labels[at] for labels in self.groups),
            low=part(self.low),
            y_low=part(self.y_low),
        )

    def blocks(self, rows: int) -> Iterator[Batch]:
        """The rows in runs of so many, as views; rows that were left out count with the first."""
        if len(self.x) <= rows:
            yield self
            return
        for start in range(0, len(self.x), rows):
            block = self.taken(slice(start, start + rows))
            if start == 0:
                left_out = self.n_read - len(self.x)
                block = replace(
                    block,
                    n_read=block.n_read + left_out,
                    missing=self.missing,
                    filled=self.filled,
                    n_weightless=self.n_weightless,
                )
            yield block


def minus(y: Tensor, low: Tensor | None, center: Tensor) -> Tensor:
    """(y + low) - center: low adds digits only once the level of y is gone."""
    centered = y - center
    return centered if low is None else centered + low


def together(batches: Sequence[Batch]) -> Batch:
    """The rows of several batches, one after the other, as a copy."""
    if len(batches) == 1:
        return batches[0]

    def joined(parts: Sequence[Tensor | None]) -> Tensor | None:
        return None if parts[0] is None else torch.cat([part for part in parts if part is not None])

    return Batch(
        stacked([batch.x for batch in batches]),
        torch.cat([batch.y for batch in batches]),
        np.concatenate([batch.rows for batch in batches]),
        joined([batch.weight for batch in batches]),
        joined([batch.frequency for batch in batches]),
        sum(batch.n_read for batch in batches),
        added(batch.missing for batch in batches),
        sum(batch.n_weightless for batch in batches),
        tuple(np.concatenate(keys) for keys in zip(*(b.groups for b in batches), strict=True)),
        joined([batch.low for batch in batches]),
        joined([batch.y_low for batch in batches]),
        added(batch.filled for batch in batches),
    )


def added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums of counts by name."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return {name: count for name, count in total.items() if count}


def scratch(rows: int, columns: int) -> Floats:
    """Memory to work in, (rows, columns), which the next call in this thread takes again.

    Fresh pages cost more than the arithmetic that is done in them.
    """
    size = rows * columns
    held: Floats | None = getattr(_SCRATCH, "held", None)
    if held is None or not size <= held.size <= 4 * max(size, BATCH_NUMBERS):
        held = _SCRATCH.held = np.empty(size)
    return held[:size].reshape(rows, columns)


_SCRATCH = threading.local()
