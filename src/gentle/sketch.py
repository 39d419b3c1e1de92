"""Sketch: what some of the rows say of the objective: its curvature, a first answer and a step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from gentle.batch import Batch, Floats
from gentle.coordinates import Coordinates, Seen
from gentle.statistics import EPSILON, invert_upper, solve_upper, upper

DENSE_COLUMNS = 2_048  # beyond, curvature is guessed along single columns alone
HARDLY_SEEN = 1e-2  # of a column's mean square: less of it in a sample shows no curvature
DISTINCT = 1e-3  # a column nearer than this to others costs cross-products half of the digits
POWERS = 30  # of the power method, at most
DIGITS = 1e-2  # of what it finds are enough for a step


class Preconditioner(Protocol):
    """A guess P of the Hessian that is easy to solve with."""

    def solve(self, gradient: Floats) -> Floats:
        """P^-1 g, (q, k)."""

    def square(self, step: Floats) -> float:
        """d'P d."""

    def half(self, vectors: Floats) -> Floats:
        """P^-1/2 v, (q, m), for a root P^1/2 with (P^1/2)'P^1/2 = P."""

    def half_adjoint(self, gradients: Floats) -> Floats:
        """(P^-1/2)'g, (q, m): its length is sqrt(g'P^-1 g)."""

    def lengths(self, seen: Seen) -> Floats:
        """u'P^-1 u of each row u, (n,)."""

    @property
    def spreads(self) -> Floats:
        """sqrt((P^-1)_jj), (q,)."""


@dataclass(frozen=True, eq=False)
class Rooted:
    """P = R'R."""

    r: Floats  # (q, q) upper

    def solve(self, gradient: Floats) -> Floats:
        return solve_upper(self.r, solve_upper(self.r, gradient, transposed=True))

    def square(self, step: Floats) -> float:
        return float(((self.r @ step) ** 2).sum())

    def half(self, vectors: Floats) -> Floats:
        return solve_upper(self.r, vectors)

    def half_adjoint(self, gradients: Floats) -> Floats:
        return solve_upper(self.r, gradients, transposed=True)

    @cached_property
    def spreads(self) -> Floats:
        return np.asarray(np.linalg.norm(invert_upper(self.r), axis=1))

    def lengths(self, seen: Seen) -> Floats:
        w = solve_upper(self.r, seen.written_out().T, transposed=True)
        return np.asarray((w**2).sum(axis=0))


@dataclass(frozen=True, eq=False)
class Diagonal:
    """P is diagonal."""

    values: Floats  # (q,)

    def solve(self, gradient: Floats) -> Floats:
        return gradient / self.values[:, None]

    def square(self, step: Floats) -> float:
        return float(self.values @ (step**2).sum(axis=1))

    def half(self, vectors: Floats) -> Floats:
        return np.asarray(vectors / np.sqrt(self.values)[:, None])

    def half_adjoint(self, gradients: Floats) -> Floats:
        return self.half(gradients)

    @property
    def spreads(self) -> Floats:
        return 1 / np.sqrt(self.values)

    def lengths(self, seen: Seen) -> Floats:
        return seen.squares(1 / self.values)


@dataclass(frozen=True, eq=False)
class Sketch:
    """The objective as a sample of the rows shows it, in `coordinates`."""

    preconditioner: Preconditioner
    start: Floats  # (q, k) the minimiser for the sample, or zero
    least: float  # eigenvalue of P^-1 H that a ridge alone makes sure of; 0 where none does
    largest: float  # eigenvalue of the mean of (u'P^-1 u) P^-1 u u': few rows bear smaller steps


def sketch(sample: Batch, coordinates: Coordinates, l2: float) -> Sketch:
    """The curvature that a sample shows, with the true one along every single column.

    In coordinates each column has a mean square of one over all rows. One that the sample shows
    otherwise is scaled to it; one that the sample hardly shows, such as a rare level, is taken to stand
    alone: it would seem flat, and a step along it would have no bound.
    """
    penalty = coordinates.ridge(l2)
    if coordinates.width > DENSE_COLUMNS:
        diagonal = Diagonal(1 + penalty)
        start = np.zeros((coordinates.width, sample.y.shape[1]))
        return Sketch(
            diagonal,
            start,
            _sure(penalty[int(coordinates.intercept) :]),
            _fourth(diagonal, coordinates.see(sample)),
        )
    u, v = (part.numpy() for part in coordinates.apply(sample))
    total = float(len(u))
    if sample.mass is not None:
        root = np.sqrt(sample.mass.numpy())[:, None]
        u, v, total = u * root, v * root, float(sample.mass.sum())
    u, v = u / np.sqrt(total), v / np.sqrt(total)
    square = (u**2).sum(axis=0)
    u /= np.sqrt(np.maximum(square, HARDLY_SEEN))
    alone = np.clip(1 - square / HARDLY_SEEN, 0, None) + penalty
    rooted = _rooted(u, alone)
    return Sketch(rooted, rooted.solve(u.T @ v), 0.0, _fourth(rooted, coordinates.see(sample)))


def _sure(penalty: Floats) -> float:
    """The least share that a ridge has in 1 + penalty along a column; 0 without."""
    least = float(penalty.min(initial=np.inf))
    return least / (1 + least) if least < np.inf else 0.0


def _rooted(u: Floats, diagonal: Floats) -> Rooted:
    """P = u'u + diagonal: from cross-products, or where these lose half of the digits from the rows.

    A multiple of the rounding keeps P from being singular: a gradient that should vanish along a
    direction that no row has is rounding too, and must not become a long step.
    """
    rounding = 4 * EPSILON * u.shape[1]
    try:
        r = np.linalg.cholesky(u.T @ u + np.diag(diagonal + 16 * rounding)).T
        if (np.diag(r) > DISTINCT).all():
            return Rooted(np.asarray(r))
    except np.linalg.LinAlgError:
        pass
    return Rooted(upper(np.vstack([u, np.diag(np.sqrt(diagonal + rounding))])))


def stable_step(largest: float, size: int) -> float:
    """Half the largest step at which minibatches of this size contract in the mean square.

    With w the rows in coordinates of curvature one and B rows at a time that is 2 over the largest
    eigenvalue of (1 - 1/B) I + E[|w|^2 w w'] / B, and `largest` that of the expectation (Defossez and
    Bach 2015).
    """
    return 1 / (1 + (largest - 1) / size) if largest > 1 else 1.0


def _fourth(preconditioner: Preconditioner, seen: Seen) -> float:
    """The largest eigenvalue of the mean of (u'P^-1 u) P^-1 u u', by the power method.

    Weights are left aside: a stochastic pass bounds its steps where they matter.
    """
    lengths = torch.from_numpy(preconditioner.lengths(seen)[:, None] / len(seen.v))
    direction = np.full((seen.coordinates.width, 1), 1 / np.sqrt(seen.coordinates.width))
    found = 0.0
    for _ in range(POWERS):
        image = preconditioner.solve(seen.adjoint(lengths * seen.times(direction)))
        before, found = found, float(np.linalg.norm(image))
        if not found > (1 + DIGITS) * before:
            break
        direction = image / found
    return found
