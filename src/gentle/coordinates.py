"""Coordinates: the units in which the numbers are worked on, and the way back to the user's.

A column that runs from 1e9 to 1e9 + 1, or one in millionths beside one in millions, is harmless once it
is shifted by its mean and divided by its spread. Sums over rows, descent and solve all see

    u_j = (x_j - centre_j) / scale_j,    v = (y - target_centre) / target_scale,

and the coefficients theta of v on [1 u] become those of y on [1 x] by `coef`. Without a constant
column in the model there is nothing to take up a shift, and every centre is zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gentle.batch import Batch, Floats, Integers


@dataclass(frozen=True, eq=False)
class Coordinates:
    """An affine change of the columns of x and y, with the constant first where there is one."""

    centre: Floats  # (p,)
    scale: Floats  # (p,)
    target_centre: Floats  # (k,)
    target_scale: Floats  # (k,)
    intercept: bool
    columns: Integers | None = None  # (p,) which columns of x these are; None stands for all

    @property
    def width(self) -> int:
        """How many coefficients there are, the constant among them: q."""
        return len(self.scale) + self.intercept

    def apply(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """([1 u], v) of the rows of a batch: (n, q) and (n, k)."""
        u = torch.empty((len(batch.x), self.width), dtype=torch.float64)
        u[:, : self.width - len(self.scale)] = 1.0
        slopes = u[:, int(self.intercept) :]
        x = batch.x if self.columns is None else batch.x[:, torch.from_numpy(self.columns)]
        torch.sub(x, torch.from_numpy(self.centre), out=slopes)
        slopes /= torch.from_numpy(self.scale)
        v = (batch.y - torch.from_numpy(self.target_centre)) / torch.from_numpy(self.target_scale)
        return u, v

    @property
    def units(self) -> Floats:
        """What one unit of theta is in the user's slopes, (p, k)."""
        return self.target_scale / self.scale[:, None]

    def coef(self, theta: Floats) -> Floats:
        """Coefficients (q, k) in the user's units, from theta (q, k)."""
        slopes = theta[int(self.intercept) :] * self.units
        if not self.intercept:
            return slopes
        constant = theta[0] * self.target_scale + self.target_centre - self.centre @ slopes
        return np.vstack([constant, slopes])

    def theta(self, coef: Floats) -> Floats:
        """The inverse of `coef`."""
        slopes = coef[int(self.intercept) :]
        theta = slopes / self.units
        if not self.intercept:
            return theta
        constant = (coef[0] - self.target_centre + self.centre @ slopes) / self.target_scale
        return np.vstack([constant, theta])

    def only(self, columns: Integers) -> Coordinates:
        """These coordinates for some of the columns of x."""
        return replace(
            self, centre=self.centre[columns], scale=self.scale[columns], columns=columns
        )

    def jacobian(self) -> Floats:
        """d coef / d theta for a target of unit scale, (q, q): covariances pass through it."""
        if not self.intercept:
            return np.diag(1 / self.scale)
        jacobian = np.diag(np.concatenate([[1.0], 1 / self.scale]))
        jacobian[0, 1:] = -self.centre / self.scale
        return jacobian
