"""Statistics: everything that touches rows is a fold of one of these.

A fresh instance is the zero; `add` takes in a batch; `merge` is the statistic of the union of the rows.
Streaming, parts and workers follow from those two methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg.lapack import dtrtri, dtrtrs
from torch import Tensor

from gentle.batch import (
    BLOCK_NUMBERS,
    DEVICE_NUMBERS,
    Batch,
    Floats,
    Integers,
    added,
    scratch,
    together,
)
from gentle.coordinates import Coordinates, Seen
from gentle.errors import GentleError
from gentle.losses import Loss
from gentle.sparse import is_sparse, unwrapped

EPSILON = float(np.finfo(np.float64).eps)
LARGEST = 1e140  # of a number, and of the inverse of a spread
SPARSE_ROWS = 2**14  # in a block, at least
STEP = 0.125  # of the bound on rounding: what it is of a single sum
SAFE = 1e75  # squares of numbers within 1/SAFE and SAFE neither overflow nor vanish in sums


class Statistic(Protocol):
    """What a pass over rows adds up."""

    def add(self, batch: Batch) -> Self:
        """The statistic with the rows of a batch as well."""

    def merge(self, other: Self) -> Self:
        """The statistic of the union of both sets of rows."""


@dataclass(frozen=True)
class Tally:
    """How many rows were read and used, and why the others were not."""

    n_read: int = 0
    n_used: int = 0
    n_weightless: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)  # column -> rows where it is missing
    log_weights: float = 0.0  # sum of log w, for the likelihood
    filled: Mapping[str, int] = field(
        default_factory=dict
    )  # column -> rows used where it was missing

    def negative(self) -> Tally:
        """What takes these rows away again when it is merged."""
        return Tally(
            -self.n_read,
            -self.n_used,
            -self.n_weightless,
            {name: -count for name, count in self.missing.items()},
            -self.log_weights,
            {name: -count for name, count in self.filled.items()},
        )

    def add(self, batch: Batch) -> Tally:
        logs = 0.0
        if batch.weight is not None:
            each = batch.weight.log()
            logs = float(each.sum() if batch.frequency is None else each @ batch.frequency)
        return self.merge(
            Tally(batch.n_read, len(batch.x), batch.n_weightless, batch.missing, logs, batch.filled)
        )

    def merge(self, other: Tally) -> Tally:
        return Tally(
            self.n_read + other.n_read,
            self.n_used + other.n_used,
            self.n_weightless + other.n_weightless,
            added((self.missing, other.missing)),
            self.log_weights + other.log_weights,
            added((self.filled, other.filled)),
        )


@dataclass(frozen=True, eq=False)
class Moments:
    """Counts, sums and cross-products of z = [x y], shifted by a point inside the data.

    With c the shift, e the unit (powers of two, one unless the numbers are extreme) and w the mass:

        total = sum w,    first = sum w (z - c) e,    second = sum w (z - c)(z - c)' e e'.

    Two of them merge exactly by moving one to the other's shift (Chan, Golub and LeVeque 1983).
    """

    n_rows: float = 0.0
    total: float = 0.0
    shift: Floats = field(default_factory=lambda: np.empty(0))  # (p + k,)
    unit: Floats = field(default_factory=lambda: np.empty(0))  # (p + k,)
    first: Floats = field(default_factory=lambda: np.empty(0))  # (p + k,)
    second: Floats = field(default_factory=lambda: np.empty((0, 0)))  # (p + k, p + k)
    n_targets: int = 1
    rounded: Floats | None = None  # (1 + p + k,) see `held`; None where no rows were taken away

    def add(self, batch: Batch) -> Moments:
        if not len(batch.x):
            return self
        mass = None if batch.mass is None else batch.mass.numpy()
        start = self if self.total else self._around(batch.x.numpy(), batch.y.numpy(), mass)
        total = float(len(batch.x)) if mass is None else float(mass.sum())
        squares = start._products(batch, mass)
        q = len(start.shift)
        return replace(
            start,
            n_rows=start.n_rows + batch.n_rows,
            total=start.total + total,
            first=start.first + squares[:q, q],
            second=start.second + squares[:q, :q],
        )

    def merge(self, other: Moments) -> Moments:
        if not self.total or not other.total:
            return self if self.total else other
        d = (other.shift - self.shift) * self.unit
        change = self.unit / other.unit
        first = other.first * change
        second = other.second * np.outer(change, change)
        cross = np.outer(first, d)
        merged = replace(
            self,
            n_rows=self.n_rows + other.n_rows,
            total=self.total + other.total,
            first=self.first + first + other.total * d,
            second=self.second + second + cross + cross.T + other.total * np.outer(d, d),
        )
        if self.rounded is None and other.rounded is None and other.total > 0:
            return merged
        moved = _held_from(other.held, d, change)
        step = STEP * (self._squares + moved)
        return replace(merged, rounded=np.sqrt(self.held**2 + moved**2 + step**2))

    @property
    def held(self) -> Floats:
        """How large the squares of [1 z-c] are whose rounding is in the sums, (1 + p + k,).

        Those of the rows; and where rows were taken away also of these, and of the sums on the way. Each of
        them was rounded by itself, so they add up as independent errors do: what came and went a
        thousand times does not count a thousand times.
        """
        return self._squares if self.rounded is None else np.maximum(self._squares, self.rounded)

    @property
    def _squares(self) -> Floats:
        """Those of [1 z-c] of the rows, (1 + p + k,)."""
        return np.asarray(np.abs(np.append(self.total, np.diag(self.second))))

    def of(self, target: int) -> Moments:
        """The moments of x and one of the targets."""
        if self.n_targets == 1:
            return self
        p = len(self.shift) - self.n_targets
        return replace(self.at([*range(p), p + target]), n_targets=1)

    def at(self, kept: Sequence[int]) -> Moments:
        """The moments of some of the columns, and of the targets after them."""
        return replace(
            self,
            shift=self.shift[kept],
            unit=self.unit[kept],
            first=self.first[kept],
            second=self.second[np.ix_(kept, kept)],
            rounded=None if self.rounded is None else self.rounded[[0, *(1 + j for j in kept)]],
        )

    def subtract(self, other: Moments) -> Moments:
        """The moments of the rows that are not among those of `other`: exact but for rounding.

        Raises GentleError where that would lose more than half of the digits, since the rows that stay
        are then too few, or too near to each other, beside those that go.
        """
        if not other.total:
            return self
        if other.n_rows >= self.n_rows or other.total >= self.total:
            raise GentleError(
                f"{other.n_rows:,.0f} rows cannot be taken from {self.n_rows:,.0f}: none would be left"
            )
        left = self.merge(other.negative())
        share = _share_left(self.centred, left.centred)
        if share < np.sqrt(EPSILON):
            raise GentleError(
                f"taking away {other.n_rows:,.0f} of {self.n_rows:,.0f} rows would lose more than half "
                "of the digits of what is left: fit the rows that stay instead"
            )
        return left._about_means()

    def negative(self) -> Moments:
        """What takes these rows away again when it is merged."""
        return replace(
            self,
            n_rows=-self.n_rows,
            total=-self.total,
            first=-self.first,
            second=-self.second,
        )

    def _about_means(self) -> Moments:
        """The same, shifted to the means where these have moved far from the shift.

        What goes and what comes may drift: about a far point its spread would be lost.
        """
        mean = self.first / self.total
        if (np.abs(mean) <= self._scale).all():
            return self
        shift = self.shift + mean / self.unit
        d = (self.shift - shift) * self.unit
        cross = np.outer(self.first, d)
        return replace(
            self,
            shift=shift,
            first=self.first + self.total * d,
            second=self.second + cross + cross.T + self.total * np.outer(d, d),
            rounded=_held_from(self.held, d, np.ones_like(d)),
        )

    @property
    def centred(self) -> Floats:
        """sum w (z - mean)(z - mean)' e e', (p + k, p + k)."""
        return self.second - np.outer(self.first, self.first / self.total)

    @cached_property
    def coordinates(self) -> Coordinates:
        """About the means, in units of the standard deviations; of its size where a column is constant."""
        squares = np.diag(self.centred) / self.total
        return _standard(self.shift, self.unit, self.first / self.total, squares, self.n_targets)

    @property
    def growth(self) -> float:
        """By how much sums about the shift, and of rows since taken away, exceed those about the means."""
        far = float(np.abs(self.first / self.total / self._scale).max(initial=0.0))
        if self.rounded is None:
            return 1 + far**2
        now = self.total * np.append(1.0, self._scale**2)
        return max(1 + far**2, float((self.held / now).max()))

    @property
    def _scale(self) -> Floats:
        """The scales of the coordinates, in units."""
        coordinates = self.coordinates
        return np.concatenate([coordinates.scale, coordinates.target_scale]) * self.unit

    def correlation(self, coordinates: Coordinates) -> Floats:
        """The mean of (u v)(u v)', (p + k, p + k); a column that does not vary has zeros."""
        scale = np.concatenate([coordinates.scale, coordinates.target_scale]) * self.unit
        correlation = self.centred / np.outer(scale, scale) / self.total
        flat = np.diag(correlation) < 0.5  # it is 1 or rounding
        correlation[flat] = correlation[:, flat] = 0.0
        return correlation

    def triangle(self) -> Triangle:
        """The triangle of the rows, by a Cholesky factor of the centred and scaled cross-products."""
        return self.definite_triangle() or self._triangle(_semidefinite_root)

    def definite_triangle(self) -> Triangle | None:
        """The same; None where a column is, to rounding, a combination of others."""
        try:
            return self._triangle(_definite_root)
        except np.linalg.LinAlgError:
            return None

    def _triangle(self, root: Callable[[Floats], Floats]) -> Triangle:
        coordinates = self.coordinates
        q = len(self.shift)
        r = np.zeros((q + 1, q + 1))
        r[0, 0] = 1.0
        r[1:, 1:] = root(self.correlation(coordinates)).T
        growth = self.growth
        return Triangle(
            coordinates,
            np.sqrt(self.total) * r,
            self.n_rows,
            self.total,
            resolution=4 * np.sqrt(q * EPSILON * growth),
            squared=True,
            growth=growth,
        )

    def _products(self, batch: Batch, mass: Floats | None) -> Floats:
        """[z 1]'[z 1] of rows, shifted, in units and weighted, (p + k + 1, p + k + 1)."""
        x = batch.x.numpy()
        p, q = x.shape[1], len(self.shift)
        z = _room(x, q + 1)
        with np.errstate(over="ignore"):
            np.subtract(x, self.shift[:p], out=z[:, :p])
            z[:, p:q] = batch.y_minus(torch.from_numpy(self.shift[p:])).numpy()
        z[:, q] = 1.0
        if (self.unit != 1).any():
            z[:, :q] *= self.unit
        if mass is not None:
            z *= np.sqrt(mass)[:, None]
        return np.asarray(z.T @ z)

    def _around(self, x: Floats, y: Floats, mass: Floats | None) -> Moments:
        """The zero, shifted to the middle of the first rows seen."""
        shift, unit = _middle(np.concatenate([x, y], axis=1), mass)
        q = len(shift)
        zeros, squares = np.zeros(q), np.zeros((q, q))
        return Moments(shift=shift, unit=unit, first=zeros, second=squares, n_targets=y.shape[1])


@dataclass(frozen=True, eq=False)
class Spread:
    """Counts, sums and squares of z = [x y], shifted by a point inside the data: O(p) numbers.

    With shift c, unit e and mass w as in `Moments`: first = sum w (z - c) e, second = sum w ((z - c) e)^2.
    The zeros of sparse columns are shifted too, without being written out: their shift is zero.
    """

    n_rows: float = 0.0
    total: float = 0.0
    shift: Floats = field(default_factory=lambda: np.empty(0))  # (p + k,)
    unit: Floats = field(default_factory=lambda: np.empty(0))  # (p + k,)
    first: Floats = field(default_factory=lambda: np.empty(0))  # (p + k,)
    second: Floats = field(default_factory=lambda: np.empty(0))  # (p + k,)
    n_targets: int = 1

    def add(self, batch: Batch) -> Spread:
        found = self
        for block in batch.blocks(block_rows(batch.x)):
            found = found._with(block)
        return found

    def merge(self, other: Spread) -> Spread:
        if not self.total or not other.total:
            return self if self.total else other
        d = (other.shift - self.shift) * self.unit
        change = self.unit / other.unit
        first, second = other.first * change, other.second * change**2
        return replace(
            self,
            n_rows=self.n_rows + other.n_rows,
            total=self.total + other.total,
            first=self.first + first + other.total * d,
            second=self.second + second + d * (2 * first + other.total * d),
        )

    @property
    def varies(self) -> npt.NDArray[np.bool_]:
        """Whether a column does, beyond the rounding of its values, (p + k,)."""
        mean = self.first / self.total
        return ~_flat(self.shift, self.unit, mean, self.second / self.total - mean**2)

    def of(self, target: int) -> Spread:
        """That of x and one of the targets."""
        p = len(self.shift) - self.n_targets
        kept = [*range(p), p + target]
        parts = {name: getattr(self, name)[kept] for name in ("shift", "unit", "first", "second")}
        return replace(self, n_targets=1, **parts)

    @cached_property
    def coordinates(self) -> Coordinates:
        """About the means, in units of the standard deviations; of its size where a column is constant."""
        mean = self.first / self.total
        squares = self.second / self.total - mean**2
        return _standard(self.shift, self.unit, mean, squares, self.n_targets)

    def _with(self, batch: Batch) -> Spread:
        if not len(batch.x):
            return self
        y, mass = batch.y.numpy(), None if batch.mass is None else batch.mass.numpy()
        start = self if self.total else _spread_around(batch, mass)
        w = np.ones(len(y)) if mass is None else mass
        p = batch.x.shape[1]
        of_x = _sums(batch.x, start.shift[:p], start.unit[:p], w)
        shift = start.shift[p:]
        of_y = _sums(
            batch.y_minus(torch.from_numpy(shift)), np.zeros_like(shift), start.unit[p:], w
        )
        first, second = (np.concatenate(parts) for parts in zip(of_x, of_y, strict=True))
        return replace(
            start,
            n_rows=start.n_rows + batch.n_rows,
            total=start.total + float(w.sum()),
            first=start.first + first,
            second=start.second + second,
        )


def _room(x: Floats, columns: int) -> Floats:
    """Memory for as many rows as x has, which lie in it as they lie in x."""
    if abs(x.strides[0]) < abs(x.strides[1]):
        return scratch(columns, len(x)).T
    return scratch(len(x), columns)


def _spread_around(batch: Batch, mass: Floats | None) -> Spread:
    """The zero, shifted to the middle of the first rows seen; sparse columns stay where they are."""
    shift, unit = _middle(batch.y.numpy(), mass)
    if is_sparse(batch.x):
        rows = unwrapped(batch.x)
        zero = np.zeros(rows.shape[1])
        largest = abs(rows).max(axis=0).toarray().ravel() if _extreme(rows.data) else zero
        of_x = (zero, _units(largest))
    else:
        of_x = _middle(np.asarray(batch.x.numpy(), dtype=np.float64), mass)
    zeros = np.zeros(batch.x.shape[1] + len(shift))
    return Spread(
        shift=np.concatenate([of_x[0], shift]),
        unit=np.concatenate([of_x[1], unit]),
        first=zeros,
        second=zeros,
        n_targets=len(shift),
    )


def _sums(x: Tensor, shift: Floats, unit: Floats, w: Floats) -> tuple[Floats, Floats]:
    """sum w (x - shift) unit and the same of its squares, (p,) each."""
    if is_sparse(x):
        rows = unwrapped(x)
        return np.asarray(rows.T @ w) * unit, np.asarray(rows.power(2).T @ w) * unit**2
    z = scratch(*x.shape)
    with np.errstate(over="ignore"):
        np.subtract(x.numpy(), shift, out=z)
    if (unit != 1).any():
        z *= unit
    return w @ z, np.einsum("i,ij,ij->j", w, z, z)


def _middle(z: Floats, mass: Floats | None) -> tuple[Floats, Floats]:
    """A point among rows z (n, m) to shift them by, and units to bring them to, (m,) each."""
    with np.errstate(over="ignore", invalid="ignore"):
        shift = z.mean(axis=0) if mass is None else np.average(z, axis=0, weights=mass)
        shift = np.where(np.isfinite(shift), shift, z[0])
        return np.asarray(shift), _units(np.maximum(z.max(axis=0) - shift, shift - z.min(axis=0)))


def _extreme(values: Floats) -> bool:
    """Whether squares of some of the values would overflow or vanish."""
    for start in range(0, len(values), BLOCK_NUMBERS):
        size = np.abs(values[start : start + BLOCK_NUMBERS])
        least = size.min(where=size > 0, initial=1.0)
        if not (size.max() <= SAFE and least >= 1 / SAFE):
            return True
    return False


def _units(largest: Floats) -> Floats:
    """Powers of two, one unless the numbers are extreme, that keep their squares within float64."""
    extreme = (largest > SAFE) | ((largest < 1 / SAFE) & (largest > 0))
    exponent = np.where(extreme, -np.frexp(largest)[1], 0)
    return np.asarray(np.ldexp(1.0, np.clip(exponent, -1000, 1000)))


def _flat(shift: Floats, unit: Floats, mean: Floats, squares: Floats) -> npt.NDArray[np.bool_]:
    """Whether columns with such means and variances, shifted, are constant to their own rounding."""
    size = np.abs(shift * unit + mean)
    return np.asarray(np.sqrt(np.clip(squares, 0, None)) <= EPSILON * size)


def _standard(
    shift: Floats, unit: Floats, mean: Floats, squares: Floats, n_targets: int
) -> Coordinates:
    """About the means, in units of the spreads, of columns with such means and variances, shifted.

    The scale of a column that does not vary is its size: small values are no zeros.
    """
    centre = shift + mean / unit
    flat = _flat(shift, unit, mean, squares)
    size = np.where(centre, np.abs(centre), 1.0)
    scale = np.where(flat, size, np.sqrt(np.clip(squares, 0, None)) / unit)
    p = len(centre) - n_targets
    return Coordinates(centre[:p], scale[:p], centre[p:], scale[p:], intercept=True)


@dataclass(frozen=True, eq=False)
class Triangle:
    """The triangular factor of the rows: R upper with R'R = sum w [1 u v]'[1 u v].

    u and v are x and y in `coordinates`. As a statistic it grows by QR of the stack [R; rows]
    (TSQR, Demmel, Grigori, Hoemmen and Langou 2012), which does not square the condition as
    cross-products do. Everything that is solved, tested or certified reads a triangle.
    """

    coordinates: Coordinates
    r: Floats = field(default_factory=lambda: np.empty((0, 0)))  # (1 + p + k, 1 + p + k)
    n_rows: float = 0.0
    total: float = 0.0
    resolution: float = (
        512 * EPSILON
    )  # a column nearer than this to others cannot be told from them
    squared: bool = False  # whether it comes from cross-products, which square the condition
    growth: float = 1.0  # of rounding, by sums about a point far from the means, or rows taken away

    @classmethod
    def zero(cls, coordinates: Coordinates) -> Triangle:
        q = 1 + len(coordinates.scale) + len(coordinates.target_scale)
        return cls(replace(coordinates, intercept=True), np.zeros((q, q)))

    @classmethod
    def unplaced(cls) -> Triangle:
        """The zero that takes its coordinates from the first rows it sees."""
        empty = np.empty(0)
        return cls(Coordinates(empty, empty, empty, empty, intercept=True))

    def add(self, batch: Batch) -> Triangle:
        if not len(self.r):
            return Triangle.zero(_around(batch)).add(batch) if len(batch.x) else self
        u, v = self.coordinates.apply(batch)
        rows = torch.cat([u, v], dim=1)
        total = float(len(rows))
        if (mass := batch.mass) is not None:
            rows *= mass.sqrt()[:, None]
            total = float(mass.sum())
        return self._stacked(rows.numpy(), batch.n_rows, total)

    def merge(self, other: Triangle) -> Triangle:
        if not len(self.r) or not len(other.r):
            return self if len(self.r) else other
        if other.coordinates is not self.coordinates:
            other = other.moved(self.coordinates)
        merged = self._stacked(other.r, other.n_rows, other.total)
        return replace(
            merged,
            resolution=max(self.resolution, other.resolution),
            squared=self.squared or other.squared,
            growth=max(self.growth, other.growth),
        )

    def triangle(self) -> Triangle:
        """The triangle about its own means and spreads: moments and triangles have one face."""
        old, root = self.coordinates, np.sqrt(self.total)
        offset = self.r[0, 1:] / self.r[0, 0]
        spread = np.linalg.norm(self.r[1:, 1:], axis=0) / root
        flat = spread <= EPSILON * (1 + np.abs(offset))
        spread = np.where(flat, 1.0, spread)
        p = len(old.scale)
        new = Coordinates(
            old.centre + old.scale * offset[:p],
            old.scale * spread[:p],
            old.target_centre + old.target_scale * offset[p:],
            old.target_scale * spread[p:],
            intercept=True,
        )
        far = 1 + float(np.abs(offset / spread).max(initial=0.0))
        moved = self.moved(new)
        moved.r[1:, 1:][:, flat] = 0.0
        return replace(moved, resolution=self.resolution * far, growth=self.growth * far)

    def of(self, target: int) -> Triangle:
        """The triangle of x and one of the targets."""
        p = len(self.coordinates.scale)
        r = upper(self.r[:, [*range(p + 1), p + 1 + target]])
        return replace(self, coordinates=self.coordinates.of(target), r=r)

    def moved(self, coordinates: Coordinates) -> Triangle:
        """The triangle of the same rows in other coordinates."""
        r = upper(self.r @ _move(self.coordinates, coordinates))
        return replace(self, coordinates=coordinates, r=r)

    def _stacked(self, rows: Floats, n_rows: float, total: float) -> Triangle:
        r = upper(np.vstack([self.r, rows]))
        return replace(self, r=r, n_rows=self.n_rows + n_rows, total=self.total + total)


@dataclass(frozen=True, eq=False)
class Slope:
    """Value and gradient of the mean loss at theta, in `coordinates`: sums, divided at the end.

    And, of a squared loss, the products of its Hessian with some directions, where there are any.
    """

    theta: Floats  # (q, k)
    loss: Loss
    coordinates: Coordinates
    directions: Floats | None = None  # (q, m)
    total: float = 0.0
    value_sum: float = 0.0
    gradient_sum: Floats | None = None  # (q, k)
    product_sum: Floats | None = None  # (q, m)

    def add(self, batch: Batch) -> Slope:
        found = self
        for block in batch.blocks(block_rows(batch.x)):
            seen = self.coordinates.see(block)
            value, gradient = slope(self.loss, self.theta, seen)
            product = None if self.directions is None else seen.squared_times(self.directions)
            found = found._plus(seen.total, value, gradient, product)
        return found

    def merge(self, other: Slope) -> Slope:
        return self._plus(other.total, other.value_sum, other.gradient_sum, other.product_sum)

    @property
    def value(self) -> float:
        return self.value_sum / self.total

    @property
    def gradient(self) -> Floats:
        """(q, k)"""
        assert self.gradient_sum is not None
        return self.gradient_sum / self.total

    @property
    def products(self) -> Floats | None:
        """Hessian times each direction, (q, m); None without directions."""
        return None if self.product_sum is None else self.product_sum / self.total

    def _plus(
        self, total: float, value: float, gradient: Floats | None, product: Floats | None
    ) -> Slope:
        return replace(
            self,
            total=self.total + total,
            value_sum=self.value_sum + value,
            gradient_sum=_sum(self.gradient_sum, gradient),
            product_sum=_sum(self.product_sum, product),
        )


@dataclass(frozen=True, eq=False)
class Sample:
    """A uniform sample of the rows, the same in any chunking and any order of merging.

    Every row has a key, a hash of its number and the seed; the rows with the smallest keys are kept. Up
    to twice as many are held before the others are put away: to move rows costs more than to look at keys.
    """

    size: int
    seed: int = 0
    keys: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))  # (m,)
    pieces: tuple[Batch, ...] = ()  # (m rows in all, as the keys)

    @cached_property
    def batch(self) -> Batch | None:
        """The rows of the sample, in the order of their keys."""
        return self.settled().pieces[0] if self.pieces else None

    def add(self, batch: Batch) -> Sample:
        keys = _hash(batch.rows, self.seed)
        near = np.flatnonzero(keys < self._furthest)
        if len(near) > self.size:
            near = near[np.argpartition(keys[near], self.size - 1)[: self.size]]
        return self._joined(keys[near], (batch.taken(near),)) if len(near) else self

    def merge(self, other: Sample) -> Sample:
        return self._joined(other.keys, other.pieces)

    def only(self, target: int) -> Sample:
        """The sample with one of its targets."""
        return replace(self, pieces=tuple(piece.only(target) for piece in self.pieces))

    def settled(self) -> Sample:
        """The same sample with nothing held beside it."""
        order = np.argsort(self.keys, kind="stable")[: self.size]
        return replace(self, keys=self.keys[order], pieces=(together(self.pieces).taken(order),))

    @cached_property
    def _furthest(self) -> int:
        """No row with a larger key is in the sample."""
        if len(self.keys) < self.size:
            return int(np.iinfo(np.int64).max)
        return int(np.partition(self.keys, self.size - 1)[self.size - 1])

    def _joined(self, keys: Integers, pieces: tuple[Batch, ...]) -> Sample:
        joined = replace(
            self, keys=np.concatenate([self.keys, keys]), pieces=(*self.pieces, *pieces)
        )
        return joined.settled() if len(joined.keys) > 2 * self.size else joined


@dataclass(frozen=True, eq=False)
class Score:
    """Squared error of predictions X b + a on rows the fit may not have seen, against their mean."""

    coef: Floats  # (p,) slopes, zero for columns that were dropped
    constant: float
    squares: float = 0.0  # sum w (y - prediction)^2
    spread: Moments = field(default_factory=Moments)  # of y alone
    n_unestimable: int = 0  # complete rows that the fit cannot predict, which are not scored

    def add(self, batch: Batch) -> Score:
        slopes = torch.tensor(self.coef)  # a copy: those of a result are not writable
        residual = (
            batch.y_minus(torch.tensor(self.constant, dtype=torch.float64))[:, 0] - batch.x @ slopes
        )
        mass = torch.ones_like(residual) if batch.mass is None else batch.mass
        return replace(
            self,
            squares=self.squares + float(mass @ residual.square()),
            spread=self.spread.add(replace(batch, x=batch.x[:, :0])),
        )

    def merge(self, other: Score) -> Score:
        return replace(
            self,
            squares=self.squares + other.squares,
            spread=self.spread.merge(other.spread),
            n_unestimable=self.n_unestimable + other.n_unestimable,
        )

    @property
    def n_rows(self) -> float:
        """How many rows were scored."""
        return self.spread.n_rows

    @property
    def total(self) -> float:
        """Their mass."""
        return self.spread.total

    @property
    def mse(self) -> float:
        """Mean squared error; nan without rows."""
        return self.squares / self.total if self.total else float("nan")

    @property
    def r2(self) -> float:
        """1 - squares / squares about the mean of these rows; nan where these do not vary."""
        if not self.total:
            return float("nan")
        about_mean = self.spread.centred[0, 0] / self.spread.unit[0] ** 2
        return 1 - self.squares / about_mean if about_mean > 0 else float("nan")


@dataclass(frozen=True, eq=False)
class Opening:
    """What the first pass learns: up to three statistics of the same rows in one reading."""

    tally: Tally
    sums: Moments | Triangle
    sample: Sample | None = None  # for a descent

    def add(self, batch: Batch) -> Opening:
        sample = None if self.sample is None else self.sample.add(batch)
        return Opening(self.tally.add(batch), self.sums.add(batch), sample)

    def merge(self, other: Opening) -> Opening:
        sample = None
        if self.sample is not None and other.sample is not None:
            sample = self.sample.merge(other.sample)
        return Opening(self.tally.merge(other.tally), merged(self.sums, other.sums), sample)


@dataclass(frozen=True, eq=False)
class Survey:
    """What a descent learns before its first step, in one reading and O(p) memory beside the sample."""

    tally: Tally
    spread: Spread
    sample: Sample

    def add(self, batch: Batch) -> Survey:
        return Survey(self.tally.add(batch), self.spread.add(batch), self.sample.add(batch))

    def merge(self, other: Survey) -> Survey:
        return Survey(
            self.tally.merge(other.tally),
            self.spread.merge(other.spread),
            self.sample.merge(other.sample),
        )

    def of(self, target: int) -> Survey:
        """The survey of x and one of the targets."""
        if self.spread.n_targets == 1:
            return self
        return replace(self, spread=self.spread.of(target), sample=self.sample.only(target))


def merged(one: Moments | Triangle, two: Moments | Triangle) -> Moments | Triangle:
    """The sums of the rows of both; of two kinds they become a triangle."""
    if isinstance(one, Moments) and isinstance(two, Moments):
        return one.merge(two)
    triangles = [it.triangle() if isinstance(it, Moments) else it for it in (one, two)]
    return triangles[0].merge(triangles[1])


def subtracted(one: Moments | Triangle, two: Moments | Triangle) -> Moments:
    """The sums of the rows of one that are not among those of two.

    Raises GentleError for triangles, from which no rows can be taken.
    """
    if not isinstance(one, Moments) or not isinstance(two, Moments):
        raise GentleError(
            "rows are taken from moments, and a fit with method='qr' has a triangle: fit with 'auto'"
        )
    return one.subtract(two)


def slope(loss: Loss, theta: Floats, seen: Seen) -> tuple[float, Floats]:
    """Sum over rows of mass times loss, and its gradient in theta: a number and (q, k)."""
    eta = seen.times(theta)
    value, derivative = loss.value(eta, seen.v), loss.derivative(eta, seen.v)
    if seen.mass is not None:
        value, derivative = value * seen.mass[:, None], derivative * seen.mass[:, None]
    return float(value.sum()), seen.adjoint(derivative)


def _sum(one: Floats | None, two: Floats | None) -> Floats | None:
    """The sum of two arrays, of which either may not be there yet."""
    return one if two is None else two if one is None else one + two


def block_rows(x: Tensor) -> int:
    """How many rows to work on at a time; of sparse ones so many that a column's sum is one of few."""
    if is_sparse(x):
        return max(SPARSE_ROWS, x.shape[1] // 4)
    return max(1, (BLOCK_NUMBERS if x.is_cpu else DEVICE_NUMBERS) // max(1, x.shape[1]))


def upper(rows: Floats) -> Floats:
    """R upper triangular with R'R = rows'rows, by Householder QR."""
    return np.asarray(np.linalg.qr(rows, mode="r"))


def _around(batch: Batch) -> Coordinates:
    """Coordinates about the means of a batch, in units of its spreads."""
    z = torch.cat([batch.x, batch.y], dim=1).numpy()
    mass = None if batch.mass is None else batch.mass.numpy()
    centre = np.average(z, axis=0, weights=mass)
    centre += np.average(z - centre, axis=0, weights=mass)  # of equal values it is that value
    spread = np.sqrt(np.average((z - centre) ** 2, axis=0, weights=mass))
    far = np.where(centre, np.abs(centre), 1.0)
    scale = np.where(spread > EPSILON * np.abs(centre), spread, far)
    p = batch.x.shape[1]
    return Coordinates(centre[:p], scale[:p], centre[p:], scale[p:], intercept=True)


def _held_from(held: Floats, d: Floats, change: Floats) -> Floats:
    """`Moments.held` about a point at a distance d, in units changed by a factor."""
    return np.append(held[0], (np.sqrt(held[1:]) * change + np.abs(d) * np.sqrt(held[0])) ** 2)


def _share_left(before: Floats, after: Floats) -> float:
    """The least part of the squares before, in any direction that they fill, that is there after."""
    size = np.sqrt(np.where(np.diag(before) > 0, np.diag(before), 1.0))
    values, vectors = np.linalg.eigh(before / np.outer(size, size))
    filled = values > 64 * len(values) * EPSILON
    turn = vectors[:, filled] / np.sqrt(values[filled]) / size[:, None]
    return float(np.linalg.eigvalsh(turn.T @ after @ turn).min(initial=1.0))


def solve_upper(r: Floats, right: Floats, *, transposed: bool = False) -> Floats:
    """R^-1 right, or R^-T right, for R upper triangular (q, q) and right (q,) or (q, k).

    Straight to LAPACK: the checks of the usual door take longer than a small solve.
    """
    if not right.size:
        return right.copy()
    if right.ndim == 2 and right.shape[1] == 1:  # several columns would wake threads, at any size
        return solve_upper(r, right[:, 0], transposed=transposed)[:, None]
    found, info = dtrtrs(r, right, trans=int(transposed))
    if info:
        raise np.linalg.LinAlgError(f"the triangle has a zero in row {info}")
    return np.asarray(found)


def invert_upper(r: Floats) -> Floats:
    """R^-1 for R upper triangular (q, q)."""
    if not r.size:
        return r.copy()
    found, info = dtrtri(r)
    if info:
        raise np.linalg.LinAlgError(f"the triangle has a zero in row {info}")
    return np.asarray(np.triu(found))


def _definite_root(matrix: Floats) -> Floats:
    """L lower triangular with L L' = matrix (Cholesky 1910); LinAlgError where there is none."""
    return np.asarray(np.linalg.cholesky(matrix))


def _semidefinite_root(matrix: Floats) -> Floats:
    """L lower triangular with L L' = matrix, also where the matrix is singular to rounding."""
    values, vectors = np.linalg.eigh(matrix)
    return upper(np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T).T


def _move(old: Coordinates, new: Coordinates) -> Floats:
    """A with [1 u v] in new coordinates = [1 u v] in old ones @ A, (1 + p + k, 1 + p + k)."""
    old_centre = np.concatenate([old.centre, old.target_centre])
    old_scale = np.concatenate([old.scale, old.target_scale])
    new_centre = np.concatenate([new.centre, new.target_centre])
    new_scale = np.concatenate([new.scale, new.target_scale])
    move = np.diag(np.concatenate([[1.0], old_scale / new_scale]))
    move[0, 1:] = (old_centre - new_centre) / new_scale
    return move


def _hash(rows: Integers, seed: int) -> Integers:
    """A key for each row number: splitmix64 (Steele, Lea and Flood 2014), kept positive."""
    z = rows.astype(np.uint64) + np.uint64((int(seed) * 0x9E3779B97F4A7C15 + 1) % 2**64)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)
