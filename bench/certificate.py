"""The certificate never lies: certified distances beside true ones, on random problems.

    python bench/certificate.py [--count 10000] [--first 0]

The truth is the minimiser of the numbers as they were given, in rational arithmetic. It is known in
three ways: polished over the rows; as their triangle alone gives it; and from cross-products that
merged, as of fits without rows. Each certifies several candidates. No certified distance may be
below the true one; where the certificate is above its floor, it should be hardly more than the truth.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gentle.answering import least_squares
from gentle.batch import Floats, Integers
from gentle.certificate import certify
from gentle.choices import Choices
from gentle.design import Rows, learn_design
from gentle.exact import Exact, solve
from gentle.fitting import fit_rows, from_sums
from gentle.given import open_rows
from gentle.passes import fold
from gentle.statistics import Moments

Numbers = npt.NDArray[Any]  # float32 or float64
Whole = npt.NDArray[np.object_]  # Python's integers, which do not round

WAYS = ("polished", "triangle", "moments")


@dataclass(frozen=True, eq=False)
class Problem:
    """1/(2W) sum w (y - o - x'b)^2 + l2/2 |slopes|^2 over a few rows."""

    x: Numbers  # (n, p)
    y: Numbers  # (n,)
    intercept: bool = True
    l2: float = 0.0
    beside: Mapping[str, Floats] = field(default_factory=dict)  # weights, frequencies, offset
    batch_rows: int | None = None
    method: str = "auto"

    @property
    def rows(self) -> Rows:
        """The problem as gentle reads it."""
        source, parts = open_rows((self.x, self.y), **self.beside)
        design = learn_design(source, targets=("y",), intercept=self.intercept, **parts)
        return Rows(source, design, self.batch_rows)

    def answers(self) -> Iterator[tuple[str, Exact]]:
        """Each way to know the minimiser."""
        rows = self.rows
        polished = least_squares(rows, Choices(l2=self.l2, method=self.method))
        yield "polished", polished
        yield "triangle", solve(polished.problem)
        fit = fit_rows(rows, Choices(l2=self.l2))[0]
        merged = fold(Moments(), replace(rows, parts=min(3, len(self.y))))
        yield "moments", from_sums(fit, merged, fit.tally).answer

    def minimiser(self, columns: Integers) -> list[Fraction]:
        """The exact one over these columns of x, the constant first, (q,)."""
        ones = np.ones(len(self.y))
        weight, _ = whole(self.beside.get("weights", ones))
        frequency, _ = whole(self.beside.get("frequencies", ones))
        (y, known), y_unit = whole(np.stack([self.y, self.beside.get("offset", 0 * ones)]))
        constant = np.ones((len(self.y), int(self.intercept)))
        a, a_unit = whole(np.hstack([constant, self.x[:, columns]]))
        weighted = a.T * (weight * frequency)
        normal = weighted @ a
        for j in range(int(self.intercept), len(normal)):
            normal[j, j] += Fraction(self.l2) * (weight @ frequency) * a_unit**2
        solution = eliminate(normal, weighted @ (y - known))
        return [value * Fraction(a_unit, y_unit) for value in solution]


class Finding(NamedTuple):
    """A certificate beside the truth."""

    seed: int
    way: str
    candidate: str
    condition: float
    short: float  # the largest ratio of true distance to certified: never above 1
    ratio: (
        float | None
    )  # the largest of certified to true, where the certificate is above its floor
    digits: float  # that are certified


def whole(values: Numbers) -> tuple[Whole, int]:
    """(whole numbers, unit) with values = whole numbers / unit, a power of two."""
    ratios = [float(value).as_integer_ratio() for value in values.flat]
    unit = max((below for _, below in ratios), default=1)
    numbers = np.empty(len(ratios), dtype=object)
    numbers[:] = [above * (unit // below) for above, below in ratios]
    return numbers.reshape(values.shape), unit


def eliminate(matrix: Whole, right: Whole) -> list[Fraction]:
    """The solution of a positive definite system (q, q), (q,) by elimination (Gauss and Jordan)."""
    system = [
        [*map(Fraction, row), Fraction(last)] for row, last in zip(matrix, right, strict=True)
    ]
    for i, pivot in enumerate(system):
        for row in system[:i] + system[i + 1 :]:
            factor = row[i] / pivot[i]
            row[i:] = [a - factor * b for a, b in zip(row[i:], pivot[i:], strict=True)]
    return [row[-1] / row[i] for i, row in enumerate(system)]


def draw(seed: int) -> Problem:
    """A problem of any condition, precision, masses, ridge, units, offsets and noise."""
    rng = np.random.default_rng(seed)

    def maybe(chance: float, value: float, otherwise: float = 0.0) -> float:
        return value if rng.random() < chance else otherwise

    intercept = bool(rng.random() < 0.7)
    p = int(rng.integers(0 if intercept else 1, 5))
    n = p + intercept + int(maybe(0.2, rng.integers(0, 3), rng.integers(3, 30)))
    x = columns(rng, n, p)
    x += maybe(0.5, 10.0 ** rng.uniform(0, 7)) * rng.normal(size=p)
    single = rng.random() < 0.3
    x *= 10.0 ** (rng.uniform(-1, 1, p) * maybe(0.1, 12 if single else 40, 3))
    y = x @ (rng.normal(size=p) / np.abs(x).max(axis=0, initial=0))
    y += maybe(0.3, 10.0 ** rng.uniform(0, 6))
    y += maybe(0.7, 10.0 ** rng.uniform(-14, 4), float(not p)) * rng.normal(size=n)
    beside = {
        "weights": 10.0 ** (rng.uniform(-1, 1, n) * maybe(0.5, 4, 0.5)),
        "frequencies": rng.integers(1, 6, n).astype(float),
        "offset": rng.normal(size=n) * 10.0 ** rng.uniform(-3, 3),
    }
    kind = np.float32 if single else np.float64
    return Problem(
        x.astype(kind),
        y.astype(kind),
        intercept,
        maybe(0.3, 10.0 ** rng.uniform(-14, 2)),
        {part: values for part, values in beside.items() if rng.random() < 0.3},
        rng.choice([None, 1, 7]),
        rng.choice(["auto", "qr"]),
    )


def columns(rng: np.random.Generator, n: int, p: int) -> Floats:
    """(n, p) of a condition up to 1e12: by singular values, near copies, powers, or small counts."""
    closeness = 10.0 ** -rng.uniform(0, 12)
    kind = rng.choice(["values", "copies", "powers", "counts"], p=[0.4, 0.3, 0.2, 0.1])
    if kind == "copies":
        x = rng.normal(size=(n, p))
        x[:, 1:] = x[:, :1] + closeness * x[:, 1:]
        return x
    if kind == "powers":
        return np.asarray((rng.uniform(0, 3) + rng.random((n, 1))) ** np.arange(1, p + 1))
    if kind == "counts":
        return rng.integers(0, 4, (n, p)).astype(float) + np.eye(n, p)
    u, _ = np.linalg.qr(rng.normal(size=(n, p)))
    v, _ = np.linalg.qr(rng.normal(size=(p, p)))
    return np.asarray(u * np.geomspace(1, closeness, p) @ v * np.sqrt(n))


def candidates(seed: int, exact: Exact, truth: list[Fraction]) -> Iterator[tuple[str, Floats]]:
    """Coefficients to be certified, each (q,): from the nearest float64 to far away."""
    rng = np.random.default_rng(seed)
    nearest = np.array([float(value) for value in truth])
    yield "nearest", nearest
    yield "own", exact.coef[:, 0]
    yield "near", nearest * (1 + 10.0 ** rng.uniform(-17, 0) * rng.normal(size=len(truth)))
    yield "far", nearest + 10.0 ** rng.uniform(-6, 6) * exact.basis @ rng.normal(size=len(truth))


def findings(seed: int) -> Iterator[Finding]:
    """Everything that is certified about one problem, beside the truth."""
    problem = draw(seed)
    truths: dict[tuple[int, ...], list[Fraction]] = {}
    for way, exact in problem.answers():
        kept = tuple(exact.fitted.columns)
        if kept not in truths:
            truths[kept] = problem.minimiser(exact.fitted.columns)
        truth = truths[kept]
        for name, coef in candidates(seed, exact, truth):
            certificate = certify(exact, coef)
            true = [abs(Fraction(b) - e) for b, e in zip(coef.tolist(), truth, strict=True)]
            shorts, ratios = [0.0], []
            bounds = zip(certificate.distance.tolist(), certificate.rounding.tolist(), strict=True)
            for apart, (certified, floor) in zip(true, bounds, strict=True):
                shorts.append(over(apart, certified))
                if np.isfinite(certified) and certified > 2 * floor and apart:
                    ratios.append(float(Fraction(certified) / apart))
            yield Finding(
                seed,
                way,
                name,
                exact.problem.condition,
                max(shorts),
                max(ratios, default=None),
                certificate.digits,
            )


def over(true: Fraction, certified: float) -> float:
    """How many times the certified distance is contained in the true one; none at all is no promise."""
    if np.isnan(certified) or (true and not certified):
        return float("inf")
    return float(true / Fraction(certified)) if true and np.isfinite(certified) else 0.0


def decade(condition: float) -> int:
    """Of a condition, those beyond 1e12 together."""
    return int(np.clip(np.log10(condition), 0, 12))


def table(found: Iterable[Finding]) -> str:
    """How many certificates are below the truth, and how sharp they are, by decades of condition."""
    found = list(found)
    head = f"{'way':10}{'condition':>10}{'certified':>11}{'below':>7}"
    lines = [head + f"{'median ratio':>14}{'worst ratio':>13}{'digits':>8}"]
    for way in WAYS:
        mine = [one for one in found if one.way == way]
        for power in [*sorted({decade(one.condition) for one in mine}), None]:
            some = [one for one in mine if power in (None, decade(one.condition))]
            ratios = [one.ratio for one in some if one.ratio is not None]
            lines.append(
                f"{way:10}{'all' if power is None else f'1e{power}':>10}{len(some):11,}"
                f"{sum(one.short > 1 for one in some):7,}"
                f"{np.median(ratios or [np.nan]):14.6f}{max(ratios, default=np.nan):13.3g}"
                f"{np.median([one.digits for one in some if one.candidate == 'own']):8.1f}"
            )
    return "\n".join(lines)


def main() -> None:
    """Print the table, and the worst of those that are below the truth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="how many problems")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    found: list[Finding] = []
    broken: list[str] = []
    for seed in range(asked.first, asked.first + asked.count):
        try:
            found.extend(findings(seed))
        except Exception as error:
            broken.append(f"seed {seed}: {error!r}")
    print(f"{asked.count:,} problems, seeds from {asked.first}\n\n{table(found)}")
    lies = sorted((one for one in found if one.short > 1), key=lambda one: -one.short)
    print(*broken, *lies[:20], sep="\n")
    raise SystemExit(bool(broken or lies))


if __name__ == "__main__":
    main()
