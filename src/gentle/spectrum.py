"""Spectrum: how flat an objective can be, as random directions show it that are carried along on each pass.

With P the preconditioner and A = P^-1/2 H P^-1/2, a gradient g bounds the distance to the minimiser only
through the smallest eigenvalue of A: g'H^-1 g <= g'P^-1 g / lambda_min. Conjugate directions from the
target alone do not show it, since a flat direction hardly appears in g. A Lanczos process from a Gaussian
start does, whatever lambda is: its component along each eigenvector is N(0, 1).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gentle.batch import Floats
from gentle.coordinates import Coordinates
from gentle.sketch import Sketch
from gentle.statistics import EPSILON

PROBES = 2  # independent starts
RISK = 1e-4  # that an eigenvalue lies below the bound: both starts would have to miss it
LEAST = 1e-12  # eigenvalues below, and noise in units of rounding, are not distinguished from zero
MOST, RATIO = (
    4.0,
    2**-0.25,
)  # the first of the values that are tried as a bound, and between neighbours
RESOLVED = 0.5  # of the smallest Ritz value: a bound that near to it needs no further pass
LARGE = 1e100


class Lanczos:
    """The Lanczos process of a symmetric A from one random start, a product with A a step.

    Its coefficients are those of the polynomials p_j that are orthonormal for the spectral measure of the
    start, and these are followed at some values: the roots of p_j are the Ritz values, so that a value
    lies below all of them where p_0, p_1, ... alternate in sign (Golub and Meurant 2010, chapter 2).

    No vectors are kept, so they lose orthogonality; Ritz values then come in copies, as of a matrix
    whose eigenvalues are small clusters (Greenbaum 1989), which does no harm here.
    """

    def __init__(self, start: Floats, values: Floats) -> None:
        self.square = float(start @ start)
        self.vector = start / math.sqrt(self.square)  # (q,) to be multiplied by A next
        self.below = np.ones(len(values), dtype=bool)  # which values lie below every Ritz value
        self._values = values  # (m,)
        self._before = np.zeros_like(start)
        self._largest = self._beside = 0.0
        self._p = np.ones_like(values), np.zeros_like(values)
        self._squares = np.ones_like(values)  # sum_j p_j^2

    def take(self, image: Floats) -> None:
        """A times `vector`, (q,)."""
        rest = image - self._beside * self._before
        diagonal = float(rest @ self.vector)
        rest -= diagonal * self.vector
        length = float(np.linalg.norm(rest))
        self._largest = max(self._largest, abs(diagonal))
        beside = max(length, EPSILON * self._largest, 1 / LARGE)
        self._before, self.vector = self.vector, rest / (length or 1.0)
        now, before = self._p
        further = ((self._values - diagonal) * now - self._beside * before) / beside
        self.below &= np.signbit(further) != np.signbit(now)
        self._squares = np.minimum(self._squares + np.minimum(np.abs(further), LARGE) ** 2, LARGE)
        self._p = np.clip(further, -LARGE, LARGE), np.clip(now, -LARGE, LARGE)
        self._beside = beside

    @property
    def largest_component(self) -> Floats:
        """The largest square that the start can have along a unit eigenvector of each value, (m,).

        That square is a mass of the spectral measure, and a mass at lambda is at most
        1 / sum_j p_j(lambda)^2 (Christoffel's function). It increases with lambda up to the smallest
        Ritz value.
        """
        return np.asarray(self.square / self._squares)


class Probes:
    """Random directions whose products with the Hessian are taken in passes that are made anyway."""

    def __init__(self, sketch: Sketch, coordinates: Coordinates, seed: int) -> None:
        self._preconditioner = sketch.preconditioner
        far = np.abs(coordinates.centre / coordinates.scale).max(initial=0.0)
        self.noise = max(1.0, far, float(self._preconditioner.spreads.max(initial=0.0)))
        least = max(LEAST, 1e3 * EPSILON * self.noise)
        steps = np.arange(math.ceil(math.log(least / MOST) / math.log(RATIO)) + 1)
        self._values = np.asarray(MOST * RATIO**steps, dtype=np.float64)  # descending
        rng = np.random.default_rng((seed, PROBES))
        starts = rng.standard_normal((PROBES, coordinates.width))
        self._each = [Lanczos(start, self._values) for start in starts]

    @property
    def flat(self) -> bool:
        """Whether there is a direction whose curvature is not distinguished from zero."""
        return not all(one.below[-1] for one in self._each)

    @property
    def bound(self) -> float:
        """A lower bound on the eigenvalues of A, but for a chance of RISK; 0 while there is none.

        The square of a standard normal number is below t with a chance of at most sqrt(2 t / pi).
        """
        chance = np.ones_like(self._values)
        for one in self._each:
            chance *= np.minimum(np.sqrt(2 / np.pi * one.largest_component), 1.0)
        return float(self._values[self._below & (chance <= RISK)].max(initial=0.0))

    @property
    def _below(self) -> npt.NDArray[np.bool_]:
        """Which values lie below every Ritz value, (m,)."""
        return np.asarray(np.logical_and.reduce([one.below for one in self._each]))

    def directions(self) -> Floats | None:
        """What the next pass is to multiply by H, (q, m); None where that would show no more."""
        smallest = float(self._values[~self._below].min(initial=np.inf))
        if self.flat or self.bound >= RESOLVED * smallest:
            return None
        vectors = np.stack([one.vector for one in self._each], axis=1)
        return self._preconditioner.half(vectors)

    def take(self, images: Floats) -> None:
        """H times the directions, (q, m)."""
        for one, image in zip(self._each, self._preconditioner.half_adjoint(images).T, strict=True):
            one.take(image)
