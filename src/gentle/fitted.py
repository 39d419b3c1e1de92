"""Fitted: a solved linear model as a pass over its rows sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gentle.batch import Batch, Floats, Integers
from gentle.doubled import Doubled, doubled, total


@dataclass(frozen=True, eq=False)
class Fitted:
    """Coefficients b of y on [1 x], kept about a centre c so that far columns do not cancel.

    With g = (level, slopes) the prediction is level + (x - c)'slopes, and with mass w the root has

        root root' = (sum w [1 x-c][1 x-c]' + penalty)^-1,

    so that z = [1 x-c] root has sum w z z' = I without a penalty: w |z|^2 is a row's leverage.
    """

    columns: Integers  # (m,) which columns of x the model keeps
    centre: Floats  # (m,) zero without a constant
    intercept: bool
    coef: Floats  # (q, k) about the centre, the constant first where there is one
    root: Floats  # (q, q)
    low: Floats | None = None  # (q, k) what float64 lacks of coef

    def rows(self, batch: Batch) -> Tensor:
        """[1 x-c] of the rows of a batch, (n, q)."""
        return self._centred(batch.x)

    def see(self, x: Floats) -> tuple[Floats, Floats]:
        """(predictions (n, k), z (n, q)) of rows x (n, p)."""
        rows = self._centred(torch.from_numpy(x)).numpy()
        return rows @ self.coef, rows @ self.root

    def _centred(self, x: Tensor) -> Tensor:
        width = len(self.columns)
        if width != x.shape[1]:  # columns are in order, each once
            x = x[:, torch.from_numpy(self.columns)]
        centred = torch.empty((len(x), self.intercept + width), dtype=torch.float64)
        centred[:, : int(self.intercept)] = 1.0
        torch.sub(x, torch.from_numpy(self.centre), out=centred[:, int(self.intercept) :])
        return centred

    def residuals(self, batch: Batch, rows: Tensor) -> Tensor:
        """y less its prediction, (n, k); `rows` are those of `rows(batch)`.

        The level goes first: where it is far above the residuals, they keep the digits that y has.
        """
        first = int(self.intercept)
        level, slopes = torch.tensor(self.coef).split([first, len(self.coef) - first])
        left: Tensor = batch.y_minus(level.sum(dim=0)) - rows[:, first:] @ slopes
        if self.low is not None:
            left = left - rows @ torch.tensor(self.low)
        return left

    def reach(self, centred: Floats) -> Floats:
        """Bounds (q,) on what bounds of coefficients on [1 x-c] make of those on [1 x]."""
        if not self.intercept:
            return centred
        return np.concatenate([[centred[0] + np.abs(self.centre) @ centred[1:]], centred[1:]])

    def uncentred(self, centred: Floats) -> Floats:
        """Coefficients on [1 x] of those on [1 x-c], (q, k)."""
        if not self.intercept:
            return centred
        return np.vstack([centred[0] - self.centre @ centred[1:], centred[1:]])

    def uncentred_exactly(self, centred: Doubled) -> Doubled:
        """The same, (q, k), in double-double."""
        if not self.intercept:
            return centred
        shift = doubled(np.concatenate([[1.0], -self.centre])[:, None])
        level = total(centred.times(shift))
        return Doubled(
            *(np.vstack([top[None, :], rest[1:]]) for top, rest in zip(level, centred, strict=True))
        )
