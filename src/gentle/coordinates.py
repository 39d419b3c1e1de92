"""Coordinates: the units in which the numbers are worked on, and the way back to the user's.

A column that runs from 1e9 to 1e9 + 1, or one in millionths beside one in millions, is harmless once it
is shifted by its mean and divided by its spread. Sums over rows, descent and solve all see

    u_j = (x_j - centre_j) / scale_j,    v = (y - target_centre) / target_scale,

and the coefficients theta of v on [1 u] become those of y on [1 x] by `coef`. Without a constant
column in the model there is nothing to take up a shift, and every centre is zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from gentle.batch import Batch, Floats, Integers, minus, scratch
from gentle.sparse import is_sparse, unwrapped

NEAR = (
    2**10
)  # spreads from zero to a mean: sums that are centred afterwards lose three digits there


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
        x = batch.x.to_dense() if is_sparse(batch.x) else batch.x
        x = x if self.columns is None else x[:, torch.from_numpy(self.columns)]
        torch.sub(x, torch.from_numpy(self.centre), out=slopes)
        slopes /= torch.from_numpy(self.scale)
        return u, self._target(batch.y, batch.y_low)

    def see(self, batch: Batch, at: Integers | None = None) -> Seen:
        """The rows of a batch, or those at some places in it, as a linear map.

        What is seen of dense rows of a processor stands in memory that the next call in this thread
        takes again.
        """
        x, y, low, mass = batch.x, batch.y, batch.y_low, batch.mass
        if at is not None:
            index = torch.from_numpy(at).to(y.device)
            y = y[index]
            low, mass = (None if part is None else part[index] for part in (low, mass))
        target = self._target(y, low)
        if is_sparse(x):
            return Seen(self, self._sparse(unwrapped(x), at), target, mass)
        if x.is_cpu and at is None and x.dtype == torch.float64 and self._near:
            return Seen(self, x.numpy(), target, mass)
        if x.is_cpu:
            return Seen(self, self._centred(x.numpy(), at), target, mass, centred=True)
        return Seen(self, self._on_device(x, at), target, mass, centred=True)

    def about_zero(self) -> Coordinates:
        """The coordinates of a model without a constant: nothing in it could take up a shift."""
        return replace(
            self,
            centre=np.zeros_like(self.centre),
            scale=np.hypot(self.centre, self.scale),
            target_centre=np.zeros_like(self.target_centre),
            target_scale=np.hypot(self.target_centre, self.target_scale),
            intercept=False,
        )

    @cached_property
    def _near(self) -> bool:
        """Whether all columns of x are near enough to zero to be centred in sums instead of row by row."""
        return self.columns is None and bool((np.abs(self.centre) <= NEAR * self.scale).all())

    def _centred(self, x: Floats, at: Integers | None) -> Floats:
        if self.columns is not None and len(self.columns) != x.shape[1]:
            x = x[:, self.columns] if at is None else x[np.ix_(at, self.columns)]
            return np.asarray(x - self.centre)
        if at is not None and x.dtype == np.float64:
            rows = np.take(x, at, axis=0, out=scratch(len(at), x.shape[1]), mode="clip")
            rows -= self.centre
            return rows
        x = x if at is None else x[at]
        return np.subtract(x, self.centre, out=scratch(*x.shape))

    def _on_device(self, x: Tensor, at: Integers | None) -> Tensor:
        if at is not None:
            x = x[torch.from_numpy(at).to(x.device)]
        if self.columns is not None:
            x = x[:, torch.from_numpy(self.columns).to(x.device)]
        return x.double() - torch.from_numpy(self.centre).to(x.device)

    def _sparse(self, x: csr_array, at: Integers | None) -> csr_array:
        rows = x if at is None else x[at]
        return rows if self.columns is None else rows[:, self.columns]

    def _target(self, y: Tensor, low: Tensor | None) -> Tensor:
        centre, scale = (torch.from_numpy(it) for it in (self.target_centre, self.target_scale))
        return minus(y, low, centre.to(y.device)) / scale.to(y.device)

    @property
    def units(self) -> Floats:
        """What one unit of theta is in the user's slopes, (p, k)."""
        return self.target_scale / self.scale[:, None]

    def ridge(self, l2: float) -> Floats:
        """The diagonal that a ridge of this strength adds to the Hessian in theta, (q,)."""
        return np.concatenate([np.zeros(int(self.intercept)), l2 / self.scale**2])

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

    def of(self, target: int) -> Coordinates:
        """These coordinates with one of the targets."""
        one = slice(target, target + 1)
        return replace(
            self, target_centre=self.target_centre[one], target_scale=self.target_scale[one]
        )

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


@dataclass(frozen=True, eq=False)
class Seen:
    """[1 u] of some rows as a linear map, and their v; what u would be is not written out.

    The scale is folded into the coefficients, and so is the centre of sparse rows and near ones. What has
    an entry a row is a tensor where the rows are, what has one a coefficient an array, in float64.
    """

    coordinates: Coordinates
    rows: Floats | csr_array | Tensor  # (n, p) x, or less its centre
    v: Tensor  # (n, k)
    mass: Tensor | None  # (n,)
    centred: bool = False  # whether the rows are about the centre; sparse ones would be full there

    @property
    def total(self) -> float:
        """The mass of these rows."""
        return float(len(self.v)) if self.mass is None else float(self.mass.sum())

    def times(self, theta: Floats) -> Tensor:
        """[1 u] theta, (n, k) from (q, k)."""
        at = self.coordinates
        first = int(at.intercept)
        columns = []
        for column in theta.T:
            slopes = column[first:] / at.scale
            constant = float(column[0]) if at.intercept else 0.0
            if not self.centred:
                constant -= float(at.centre @ slopes)
            eta = self._rows_times(slopes)
            eta += constant
            columns.append(eta)
        return columns[0][:, None] if len(columns) == 1 else torch.stack(columns, dim=1)

    def adjoint(self, d: Tensor) -> Floats:
        """[1 u]'d, (q, k) from (n, k)."""
        at = self.coordinates
        columns = []
        for column in d.T:
            slopes = self._rows_adjoint(column)
            total = float(column.sum())
            if not self.centred:
                slopes -= total * at.centre
            slopes /= at.scale
            columns.append(np.concatenate([[total], slopes]) if at.intercept else slopes)
        return columns[0][:, None] if len(columns) == 1 else np.stack(columns, axis=1)

    def squared_times(self, directions: Floats) -> Floats:
        """[1 u]'M [1 u] d of directions d (q, m), with M the masses of the rows: (q, m)."""
        at = self.coordinates
        first = int(at.intercept)
        slopes = directions[first:] / at.scale[:, None]
        eta = self._rows_times(slopes)
        shift = directions[:first].sum(axis=0)
        if not self.centred:
            shift = shift - at.centre @ slopes
        eta += torch.from_numpy(shift).to(eta.device)
        if self.mass is not None:
            eta *= self.mass[:, None]
        total = eta.sum(dim=0).cpu().numpy()
        products = self._rows_adjoint(eta.T).T
        if not self.centred:
            products = products - np.outer(at.centre, total)
        products = products / at.scale[:, None]
        return np.vstack([total, products]) if first else products

    def squares(self, weights: Floats) -> Floats:
        """sum_j weights_j [1 u]_j^2 of each row, (n,) from (q,)."""
        at = self.coordinates
        first = int(at.intercept)
        w = weights[first:] / at.scale**2
        found = (self.rows * self.rows) @ w + weights[:first].sum()
        if not self.centred:
            found += at.centre**2 @ w - 2 * (self.rows @ (at.centre * w))
        return np.asarray(found)

    def written_out(self) -> Floats:
        """[1 u] itself, (n, q)."""
        at = self.coordinates
        rows = np.asarray(self.rows.toarray() if isinstance(self.rows, csr_array) else self.rows)
        u = (rows if self.centred else rows - at.centre) / at.scale
        return np.hstack([np.ones((len(u), int(at.intercept))), u])

    def _rows_times(self, slopes: Floats) -> Tensor:
        if isinstance(self.rows, Tensor):
            return self.rows @ torch.from_numpy(slopes).to(self.rows.device)
        return torch.from_numpy(self.rows @ slopes)

    def _rows_adjoint(self, d: Tensor) -> Floats:
        if isinstance(self.rows, Tensor):
            return (d @ self.rows).cpu().numpy()
        return np.asarray((self.rows.T @ d.numpy().T).T)
