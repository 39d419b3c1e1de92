"""Least squares and its covariances in exact rational arithmetic, for small problems."""

import math
from dataclasses import dataclass
from fractions import Fraction

ZERO, ONE = Fraction(0), Fraction(1)


def rational(values):
    return [Fraction(value) for value in values]


def dot(a, b):
    return sum((x * y for x, y in zip(a, b, strict=True)), ZERO)


def independent(columns):
    """Places of the columns that are no combination of those before them, by elimination."""
    kept, basis = [], []
    for place, column in enumerate(columns):
        rest = list(column)
        for pivot, row in basis:
            if rest[pivot]:
                factor = rest[pivot] / row[pivot]
                rest = [a - factor * b for a, b in zip(rest, row, strict=True)]
        pivot = next((i for i, value in enumerate(rest) if value), None)
        if pivot is not None:
            basis.append((pivot, rest))
            kept.append(place)
    return kept


def inverse(matrix):
    """By Gauss and Jordan."""
    q = len(matrix)
    rows = [[*row, *(ONE if i == j else ZERO for j in range(q))] for i, row in enumerate(matrix)]
    for i in range(q):
        pivot = next(k for k in range(i, q) if rows[k][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for k in range(q):
            if k != i and rows[k][i]:
                factor = rows[k][i]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [row[q:] for row in rows]


def product(a, b):
    columns = list(zip(*b, strict=True))
    return [[dot(row, column) for column in columns] for row in a]


def outer_sum(vectors, q):
    """Sum of v v', (q, q)."""
    total = [[ZERO] * q for _ in range(q)]
    for v in vectors:
        for i in range(q):
            if v[i]:
                for j in range(q):
                    total[i][j] += v[i] * v[j]
    return total


@dataclass
class Exact:
    """Weighted least squares of y - offset on columns; a row counts `frequency` times."""

    kept: list  # places of the columns that are not dropped
    coef: list
    residual: list
    rss: Fraction
    tss: Fraction
    n_rows: Fraction
    bread: list  # (X'WX)^-1
    rows: list
    weight: list
    frequency: list

    @property
    def q(self):
        return len(self.kept)

    @property
    def df(self):
        return self.n_rows - self.q

    @property
    def least_distance(self):
        """The least distance of a kept column from the span of the others, over its length."""
        mass = [w * f for w, f in zip(self.weight, self.frequency, strict=True)]
        shares = [
            1
            / (
                self.bread[j][j]
                * sum(m * row[j] ** 2 for m, row in zip(mass, self.rows, strict=True))
            )
            for j in range(self.q)
        ]
        return math.sqrt(min(shares, default=ONE))

    @property
    def leverage(self):
        return [
            w * dot(x, [dot(row, x) for row in self.bread])
            for x, w in zip(self.rows, self.weight, strict=True)
        ]

    def scores(self):
        return [
            [w * e * value for value in x]
            for x, w, e in zip(self.rows, self.weight, self.residual, strict=True)
        ]

    def covariance(self, kind, clusters=(), lags=0):
        """The covariance of the kept coefficients, as docs/exact.md defines it; None where undefined."""
        n, q, df = self.n_rows, self.q, self.df
        if kind == "classical":
            if df <= 0:
                return None
            return [[value * self.rss / df for value in row] for row in self.bread]
        if kind == "cluster":
            return self._clustered(clusters)
        if kind == "HAC":
            meat, factor = self._bartlett(lags), (n / (n - q) if df > 0 else None)
        else:
            meat, factor = self._white(kind), (n / (n - q) if df > 0 else None)
            factor = factor if kind == "HC1" else ONE
        return None if factor is None else self._sandwich(meat, factor)

    def _sandwich(self, meat, factor):
        covariance = product(product(self.bread, meat), self.bread)
        return [[factor * value for value in row] for row in covariance]

    def _white(self, kind):
        power = {"HC2": 1, "HC3": 2}.get(kind, 0)
        total = [[ZERO] * self.q for _ in range(self.q)]
        for score, f, h in zip(self.scores(), self.frequency, self.leverage, strict=True):
            if power and h == 1:
                continue
            one = outer_sum([score], self.q)
            factor = f / (1 - h) ** power
            for i in range(self.q):
                for j in range(self.q):
                    total[i][j] += factor * one[i][j]
        return total

    def _by_group(self, labels):
        sums = {}
        for score, f, label in zip(self.scores(), self.frequency, labels, strict=True):
            before = sums.get(label, [ZERO] * self.q)
            sums[label] = [a + f * b for a, b in zip(before, score, strict=True)]
        return sums

    def _clustered(self, clusters):
        keys = [*clusters, list(zip(*clusters, strict=True))] if len(clusters) == 2 else clusters
        parts = [self._by_group(labels) for labels in keys]
        fewest = min(len(set(labels)) for labels in clusters)
        if self.df <= 0 or fewest < 2:
            return None
        meats = [outer_sum(part.values(), self.q) for part in parts]
        meat = meats[0]
        if len(meats) == 3:
            meat = [
                [a + b - c for a, b, c in zip(*rows, strict=True)]
                for rows in zip(*meats, strict=True)
            ]
        factor = (self.n_rows - 1) / self.df * Fraction(fewest, fewest - 1)
        return self._sandwich(meat, factor)

    def _bartlett(self, lags):
        scores = self.scores()
        total = outer_sum(scores, self.q)
        for lag in range(1, lags + 1):
            share = 1 - Fraction(lag, lags + 1)
            for later, earlier in zip(scores[lag:], scores[:-lag], strict=True):
                for i in range(self.q):
                    for j in range(self.q):
                        total[i][j] += share * (later[i] * earlier[j] + earlier[i] * later[j])
        return total


def least_squares(columns, y, weight, frequency, *, intercept):
    """The exact fit of y on columns, each a list of fractions; the first column is the intercept's."""
    mass = [w * f for w, f in zip(weight, frequency, strict=True)]
    kept = independent(columns)
    x = [columns[place] for place in kept]
    weighted = [[m * value for m, value in zip(mass, column, strict=True)] for column in x]
    bread = inverse([[dot(a, b) for b in x] for a in weighted])
    moments = [dot(a, y) for a in weighted]
    coef = [dot(row, moments) for row in bread]
    rows = list(zip(*x, strict=True)) if x else [()] * len(y)
    residual = [value - dot(row, coef) for value, row in zip(y, rows, strict=True)]
    mean = dot(mass, y) / sum(mass) if intercept else ZERO
    tss = sum((m * (value - mean) ** 2 for m, value in zip(mass, y, strict=True)), ZERO)
    rss = sum((m * e * e for m, e in zip(mass, residual, strict=True)), ZERO)
    return Exact(
        kept, coef, residual, rss, tss, sum(frequency, ZERO), bread, rows, weight, frequency
    )
