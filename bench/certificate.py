"""The certificate never lies: certified distances beside true ones, on random problems.

    python bench/certificate.py [--count 10000] [--first 0]

The truth is the minimiser of the numbers as they were given, in rational arithmetic. Each problem is
certified three ways: polished over its rows; as its triangle alone gives it; and from cross-products
alone, as fits merge that have no rows. No certified distance may be below the true one, and where the
certificate is above its own floor, the part of it that is rounding, it should be hardly more.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gentle.batch import Floats, Integers
from gentle.certificate import certify
from gentle.choices import Choices
from gentle.design import Rows, learn_design
from gentle.engines import fold
from gentle.exact import Exact, solve
from gentle.fitting import least_squares, open_rows
from gentle.problem import reduce
from gentle.statistics import Moments

Generator = np.random.Generator
Numbers = npt.NDArray[np.object_]  # Python's own, without rounding

WAYS = ("polished", "triangle", "moments")
DECADES = 13


@dataclass(frozen=True, eq=False)
class Problem:
    """1/(2W) sum w (y - o - x'b)^2 + l2/2 |slopes|^2 over a few rows."""

    x: npt.NDArray[np.floating[Any]]  # (n, p)
    y: npt.NDArray[np.floating[Any]]  # (n,)
    intercept: bool = True
    l2: float = 0.0
    beside: dict[str, Floats] = field(default_factory=dict)  # weights, frequencies, offset

    @property
    def rows(self) -> Rows:
        """The problem as gentle reads it."""
        source, parts = open_rows((self.x, self.y), **self.beside)
        return Rows(source, learn_design(source, targets=("y",), intercept=self.intercept, **parts))

    def answers(self) -> Iterator[tuple[str, Exact]]:
        """Each way to know the minimiser."""
        rows = self.rows
        polished = least_squares(rows, Choices(l2=self.l2))
        yield "polished", polished
        yield "triangle", solve(polished.problem)
        triangle = fold(Moments(), rows, parts=min(3, len(self.y))).triangle()
        yield "moments", solve(reduce(triangle, intercept=self.intercept, l2=self.l2))

    def minimiser(self, columns: Integers) -> list[Fraction]:
        """The exact one over these columns of x, the constant first, (q,)."""
        one = np.ones(len(self.y))
        known = self.beside.get("offset", 0 * one)
        masses = [whole(self.beside.get(part, one))[0] for part in ("weights", "frequencies")]
        mass = masses[0] * masses[1]
        constant = one[:, None][:, : int(self.intercept)]
        a, unit = whole(np.hstack([constant, self.x[:, columns]]))
        (y, known), target_unit = whole(np.stack([self.y, known]))
        normal = (a.T * mass) @ a
        for j in range(int(self.intercept), len(normal)):
            normal[j, j] += Fraction(self.l2) * mass.sum() * unit**2
        found = eliminate(normal, (a.T * mass) @ (y - known))
        return [Fraction(unit, target_unit) * value for value in found]


def whole(values: npt.NDArray[np.floating[Any]]) -> tuple[Numbers, int]:
    """(whole numbers, unit) with values = whole numbers / unit, a power of two."""
    ratios = [float(value).as_integer_ratio() for value in values.flat]
    unit = max((below for _, below in ratios), default=1)
    numbers = np.empty(len(ratios), dtype=object)
    numbers[:] = [above * (unit // below) for above, below in ratios]
    return numbers.reshape(values.shape), unit


def eliminate(matrix: Numbers, right: Numbers) -> list[Fraction]:
    """The solution of a symmetric positive definite system (q, q), (q,) of rational numbers."""
    system = [[Fraction(value) for value in (*row, last)] for row, last in zip(matrix, right)]
    for i, pivot in enumerate(system):
        for j, row in enumerate(system):
            if j != i and row[i]:
                factor = row[i] / pivot[i]
                row[i:] = [below - factor * above for below, above in zip(row[i:], pivot[i:])]
    return [row[-1] / row[i] for i, row in enumerate(system)]


def draw(seed: int) -> Problem:
    """A problem of condition 1 to 1e12: any precision, masses, ridge, offsets and noise."""
    rng = np.random.default_rng(seed)
    intercept = bool(rng.random() < 0.7)
    p = int(rng.integers(0 if intercept else 1, 5))
    q = p + intercept
    n = q + int(rng.integers(0, 3) if rng.random() < 0.2 else rng.integers(3, 30))
    x = columns(rng, n, p)
    if rng.random() < 0.5:
        x += 10.0 ** rng.uniform(0, 7) * rng.normal(size=p)  # far from zero
    x *= 10.0 ** (rng.uniform(-3, 3, p) if rng.random() < 0.9 else rng.uniform(-40, 40, p))
    y = x @ (rng.normal(size=p) / np.abs(x).max(axis=0, initial=1e-300))
    y += rng.choice([0.0, 10.0 ** rng.uniform(0, 6)])
    y += rng.choice([0.0, 1.0, 10.0 ** rng.uniform(-14, 4)]) * rng.normal(size=n)
    if not np.ptp(y):
        y += rng.normal(size=n)
    beside = {}
    if rng.random() < 0.3:
        spread = rng.choice([0.5, 4.0])
        beside["weights"] = 10.0 ** rng.uniform(-spread, spread, n)
    if rng.random() < 0.3:
        beside["frequencies"] = rng.integers(1, 6, n).astype(float)
    if rng.random() < 0.2:
        beside["offset"] = rng.normal(size=n) * 10.0 ** rng.uniform(-3, 3)
    l2 = 10.0 ** rng.uniform(-14, 2) if p and rng.random() < 0.3 else 0.0
    single = rng.random() < 0.3
    if single and p and np.abs(np.log10(np.abs(x).max(axis=0))).max() < 30:
        x, y = x.astype(np.float32), y.astype(np.float32)
    return Problem(x, y, intercept, l2, beside)


def columns(rng: Generator, n: int, p: int) -> Floats:
    """(n, p) of a condition up to 1e12: by singular values, near copies, powers, or small counts."""
    closeness = 10.0 ** -rng.uniform(0, 12)
    if p < 2 or n < p or rng.random() < 0.5:
        u, _ = np.linalg.qr(rng.normal(size=(max(n, p), p)))
        v, _ = np.linalg.qr(rng.normal(size=(p, p)))
        return u[:n] * np.geomspace(1, closeness, p) @ v * np.sqrt(n)
    kind = rng.integers(3)
    if kind == 0:
        x = rng.normal(size=(n, p))
        x[:, 1:] = x[:, :1] + closeness * x[:, 1:]
        return x
    if kind == 1:
        return (rng.uniform(0, 3) + rng.uniform(size=(n, 1))) ** np.arange(1, p + 1)
    return rng.integers(0, 4, (n, p)).astype(float)
