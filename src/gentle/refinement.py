"""Refinement: what a polish asks of the rows, in double-double."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from gentle.batch import Batch, Floats, Integers
from gentle.doubled import BITS, Doubled, Sliced, cut, doubled
from gentle.statistics import invert_upper

BLOCK_NUMBERS = 2**15  # float64 numbers worked on at a time: their slices stay in a core's cache
BLOCK_ROWS = 512  # at least so many where columns are many: the basis is cut anew for each block
SPARE_BITS = 6


@dataclass(frozen=True, eq=False)
class Refinement:
    """Residuals, gradient and, with a basis, curvature of least squares at b, over rows a = [1 x].

    Rows enter times the power of two nearest to the root of their mass, which is exact: what a row is
    worth, and not its size alone, says how many of its bits matter.

        r = y - a'b,    squares = sum w r^2,    gradient = sum w a r,    gram = sum w (B'a)(B'a)'.

    r, the gradient and B'a are formed in double-double. The columns of B'a are meant to be nearly
    orthonormal, so that their sums in float64 lose nothing.
    """

    columns: Integers  # (m,) which columns of x the model keeps
    intercept: bool
    coef: Doubled  # b, (q, k)
    basis: Doubled | None = None  # B, (q, q)
    total: float = 1.0  # the mass of all rows: how small B'a is to be told apart
    squares: Floats = field(default_factory=lambda: np.zeros(1))  # (k,)
    gradient: Doubled | None = None  # (q, k)
    gram: Floats | None = None  # (q, q)

    def add(self, batch: Batch) -> Refinement:
        found = self
        q = len(self.coef.high)
        rows = max(BLOCK_NUMBERS // (q + 1), min(q, BLOCK_ROWS), 1)
        for block in batch.blocks(rows):
            found = found.merge(self._of(block))
        return found

    def merge(self, other: Refinement) -> Refinement:
        if self.gradient is None or other.gradient is None:
            return other if self.gradient is None else self
        both = self.gram is not None and other.gram is not None
        return replace(
            self,
            squares=self.squares + other.squares,
            gradient=self.gradient.plus(other.gradient),
            gram=self.gram + other.gram if both else None,  # type: ignore[operator]
        )

    def _of(self, batch: Batch) -> Refinement:
        """Of a block of rows alone."""
        a, residual, rest = self._scaled(batch)
        weighted = residual if rest is None else residual.times(rest)
        return replace(
            self,
            squares=(residual.high * weighted.high).sum(axis=0),
            gradient=self._narrowed(batch, a.transposed_times(weighted)),
            gram=None if self.basis is None else self._gram(batch, a, self.basis, rest),
        )

    def seen(self, batch: Batch) -> tuple[Floats, Floats, Floats | float]:
        """(u r (n, k), u X B (n, q), w / u^2) of the rows of a batch, u the power of two near sqrt(w).

        All are rounded to float64 from double-double.
        """
        assert self.basis is not None
        a, residual, rest = self._scaled(batch)
        directions = self._directions(batch, a, self.basis)
        return residual.high, directions, 1.0 if rest is None else rest.high

    def reach(self, batch: Batch) -> Floats:
        """u (|y| + |a| |b|) of the rows of a batch, (n, k): the terms that residuals are made of."""
        mass = _mass(batch)
        unit = np.ones((len(batch.x), 1)) if mass is None else _even_power(mass.high)
        terms = np.abs(self._rows(batch)) @ np.abs(self._widened(batch, self.coef).high)
        return np.asarray((np.abs(batch.y.numpy()) + terms) * unit)

    def _scaled(self, batch: Batch) -> tuple[Sliced, Doubled, Doubled | None]:
        """(u a, u r, w / u^2) of the rows of a batch; None for rows of mass 1."""
        mass = _mass(batch)
        unit = np.ones((len(batch.x), 1)) if mass is None else _even_power(mass.high)
        a = cut(self._rows(batch) * unit)
        y = Doubled(*(part * unit for part in _target(batch)))
        residual = y.minus(a.times(self._widened(batch, self.coef)))
        return a, residual, None if mass is None else Doubled(*(part / unit**2 for part in mass))

    def _gram(self, batch: Batch, a: Sliced, basis: Doubled, mass: Doubled | None) -> Floats:
        directions = self._directions(batch, a, basis)
        if mass is not None:
            directions *= np.sqrt(mass.high)
        return np.asarray(directions.T @ directions)

    def _directions(self, batch: Batch, a: Sliced, basis: Doubled) -> Floats:
        size = a.sizes @ np.abs(self._widened(batch, basis).high)
        spare = SPARE_BITS + np.log2(max(float(size.max(initial=0.0)) * np.sqrt(self.total), 1.0))
        return a.times(self._widened(batch, basis), BITS + int(np.ceil(spare))).high

    def _rows(self, batch: Batch) -> Floats:
        """[1 x low] of a batch: low parts, where there are any, are columns of their own."""
        parts = [batch.x, *([] if batch.low is None else [batch.low])]
        ones = [np.ones((len(batch.x), 1))] if self.intercept else []
        return np.hstack([*ones, *(part.numpy()[:, self.columns] for part in parts)])

    def _widened(self, batch: Batch, matrix: Doubled) -> Doubled:
        """Coefficients (q, k) of [1 x] as those of [1 x low]."""
        if batch.low is None:
            return matrix
        return Doubled(*(np.vstack([part, part[int(self.intercept) :]]) for part in matrix))

    def _narrowed(self, batch: Batch, matrix: Doubled) -> Doubled:
        """The sum of the parts of a gradient that belong to one column."""
        if batch.low is None:
            return matrix
        q, width = len(self.coef.high), len(self.columns)
        lows = Doubled(
            *(np.vstack([np.zeros((q - width, part.shape[1])), part[q:]]) for part in matrix)
        )
        return Doubled(*(part[:q] for part in matrix)).plus(lows)


def orthonormal(gram: Floats) -> Floats | None:
    """T upper with T'gram T = I; None where the gram is singular to rounding."""
    try:
        root = np.asarray(np.linalg.cholesky(gram))
    except np.linalg.LinAlgError:
        return None
    return invert_upper(root.T)


def _mass(batch: Batch) -> Doubled | None:
    """Weight times frequency, (n, 1)."""
    if batch.mass is None:
        return None
    columns = [
        doubled(part.numpy()[:, None])
        for part in (batch.weight, batch.frequency)
        if part is not None
    ]
    return columns[0] if len(columns) == 1 else columns[0].times(columns[1])


def _even_power(mass: Floats) -> Floats:
    """The power of two whose square is nearest to the mass."""
    return np.exp2(np.round(np.log2(mass) / 2))


def _target(batch: Batch) -> Doubled:
    """y, (n, k)."""
    y = batch.y.numpy()
    return doubled(y) if batch.y_low is None else Doubled(y, batch.y_low.numpy())
