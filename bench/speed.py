"""How long gentle's fits take beside other libraries' on the same rows, and how much memory.

    python bench/speed.py [--quick] [--only CASE]

Each figure after gentle's own milliseconds is a ratio: another's time over gentle's (more is better for
gentle), the target in brackets beside it. X is float64 in memory; all run in turns, warmed up, on
the same threads; times are medians. gentle computes standard errors and a certificate each time.
The answers are compared before any time is taken: where they disagree, the run ends.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn.linear_model as sk
import statsmodels.api as sm
import torch
from statsmodels.regression.linear_model import RegressionResultsWrapper as RegressionResults
from threadpoolctl import threadpool_limits
from timing import medians, threads

import gentle

Floats = npt.NDArray[np.float64]
Contestants = dict[str, Callable[[], Any]]  # gentle among them

THREADS = 2
AGREE = 1e-6  # standard errors that two libraries' coefficients may lie apart
PEERS = ("sklearn", "statsmodels", "Ridge", "X'X")
HEADING = f"{'rows':>10} x {'columns':8}{'gentle, ms':>10}" + "".join(
    f"{p:>12}{'':6}" for p in PEERS
)
MiB = 2**20


@dataclass(frozen=True)
class Data:
    """A seeded least-squares problem."""

    X: Floats  # (n, p)
    y: Floats  # (n,)

    @classmethod
    def draw(cls, n: int, p: int) -> Data:
        """Normal rows and noise, drawn in place: nothing as large as X stands beside it."""
        rng = np.random.default_rng(n + p)
        X, y = np.empty((n, p)), np.empty(n)
        rng.standard_normal(out=X)
        rng.standard_normal(out=y)
        coef = rng.standard_normal(p)
        for at in range(0, n, 1000):
            y[at : at + 1000] += 1 + X[at : at + 1000] @ coef
        return cls(X, y)


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows: a smoke run")
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)  # whose fit, of how many rows
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    with threadpool_limits(THREADS):
        if asked.peak:
            print(peak(FITS[asked.peak[0]], int(asked.peak[1])))
            return
        print(threads())
        for name in [asked.only] if asked.only else CASES:
            print(f"\n{name}: {CASES[name].__doc__}")
            CASES[name](10 if asked.quick else 1)


# The cases. Each divides its rows by `less`.


def memory(less: int) -> None:
    """Peak above X and y at p = 50, MiB, each in a process of its own (target for gentle: 100)."""
    n = 1_000_000 // less
    for name in FITS:
        # Before other cases: Linux hands a parent's peak on to its children.
        command = [sys.executable, __file__, "--peak", name, str(n)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"{n:10,} x {50:<8}{name:>10}{float(done.stdout):8.0f}")


def tall(less: int) -> None:
    """Many rows, 50 columns."""
    targets = {"sklearn": 7, "statsmodels": 20, "Ridge": 1.5, "X'X": 1 / 3}
    print(HEADING.rstrip())
    race(1_000_000 // less, 50, targets)


def shapes(less: int) -> None:
    """X of 400 MB in several shapes, a square one without a constant, and a small one."""
    numbers = 50_000_000 // less
    print(HEADING.rstrip())
    race(numbers // 5, 5)
    race(numbers // 200, 200)
    race(numbers // 1000, 1000, without=["statsmodels"])  # half a minute a fit
    side = 2000 // math.isqrt(less)
    race(side, side, intercept=False, without=["statsmodels", "Ridge"])
    race(100, 3, {"sklearn": 1 / 5})


def robust(less: int) -> None:
    """Classical errors beside HC1; the ratio is HC1's time over classical (target: at most 3)."""
    data = Data.draw(1_000_000 // less, 50)
    pair = (data.X, data.y)
    theirs = sm.OLS(data.y, sm.add_constant(data.X)).fit(cov_type="HC1").bse
    ours = np.array(list(gentle.fit(pair, errors="HC1").std_errors.values()))
    agree("HC1 standard errors of statsmodels", ours, theirs, AGREE * theirs)
    times = medians(
        {"gentle": lambda: gentle.fit(pair), "HC1": lambda: gentle.fit(pair, errors="HC1")}
    )
    ratio = times["HC1"] / times["gentle"]
    print(f"{len(data.X):10,} x {50:<8}{1e3 * times['gentle']:10.2f}{ratio:10.2f} [<=3]")


def growth(less: int) -> None:
    """gentle's time by itself, and in nanoseconds for each number of X."""
    rows = [(n, 20) for n in (1_000, 10_000, 100_000, 1_000_000)]
    columns = [(100_000, p) for p in (5, 20, 50, 200, 500)]
    print(f"{'rows':>10} x {'columns':8}{'gentle, ms':>10}{'ns/number':>12}")
    for n, p in [(n // less, p) for n, p in rows + columns]:
        data = Data.draw(n, p)
        seconds = medians({"gentle": lambda data=data: FITS["gentle"](data.X, data.y)})["gentle"]
        print(f"{n:10,} x {p:<8}{1e3 * seconds:10.2f}{1e9 * seconds / (n * p):12.2f}")


CASES = {case.__name__: case for case in (memory, tall, shapes, robust, growth)}

FITS: dict[str, Callable[[Floats, Floats], object]] = {
    "gentle": lambda X, y: gentle.LinearRegression().fit(X, y),
    "sklearn": lambda X, y: sk.LinearRegression().fit(X, y),
}


# A race: answers, then times, then a line.


def race(
    n: int,
    p: int,
    targets: Mapping[str, float] | None = None,
    *,
    intercept: bool = True,
    without: Sequence[str] = (),
) -> None:
    """Fit the same rows by all, compare the answers, and print the line of the times."""
    data = Data.draw(n, p)
    running = contestants(data, intercept)
    for name in without:
        del running[name]
    check(data, running, intercept)
    times = medians(running)
    line = f"{n:10,} x {p:<8}{1e3 * times['gentle']:10.2f}"
    for peer in PEERS:
        ratio = f"{times[peer] / times['gentle']:.2f}" if peer in times else "-"
        target = f"[{targets[peer]:.2g}]" if targets and peer in targets else ""
        line += f"{ratio:>11} {target:6}"
    print(line.rstrip(), flush=True)


def contestants(data: Data, intercept: bool) -> Contestants:
    """Who runs; the column of ones that statsmodels needs is at hand and not counted."""
    X, y = data.X, data.y
    design = sm.add_constant(X) if intercept else X
    return {
        "gentle": lambda: gentle.LinearRegression(fit_intercept=intercept).fit(X, y),
        "sklearn": lambda: sk.LinearRegression(fit_intercept=intercept).fit(X, y),
        "statsmodels": lambda: with_errors(sm.OLS(y, design).fit()),
        # the ridge is too small to be seen: the library's fastest way to least squares
        "Ridge": lambda: sk.Ridge(1e-8, solver="cholesky", fit_intercept=intercept).fit(X, y),
        "X'X": lambda: X.T @ X,
    }


def with_errors(fit: RegressionResults) -> RegressionResults:
    """A fit of statsmodels that has computed its standard errors, which it keeps."""
    _ = fit.bse
    return fit


def check(data: Data, running: Contestants, intercept: bool) -> None:
    """End the run where standard errors, or coefficients in these units, differ visibly.

    A square design has no standard errors: its coefficients are held against the largest of them.
    """
    fit = running["gentle"]()
    ours = coefficients(fit, intercept)
    yardstick = np.full(len(ours), np.abs(ours).max())
    if len(data.X) > len(ours):
        yardstick = standard_errors(data, ours, intercept)
        claimed = np.array(list(fit.result_.std_errors.values()))
        agree("the textbook's standard errors", claimed, yardstick, AGREE * yardstick)
    for name in set(running) - {"gentle", "X'X"}:
        theirs = coefficients(running[name](), intercept)
        agree(name, ours, theirs, AGREE * yardstick)


def coefficients(fit: Any, intercept: bool) -> Floats:
    """(q,) the constant first where there is one."""
    if isinstance(fit, RegressionResults):
        return np.asarray(fit.params)
    return np.concatenate([[fit.intercept_] * intercept, fit.coef_])


def standard_errors(data: Data, coef: Floats, intercept: bool) -> Floats:
    """sqrt(s^2 diag (Z'Z)^-1) with Z = [1 X], or X, from numpy alone, (q,)."""
    design = sm.add_constant(data.X) if intercept else data.X
    residual = data.y - design @ coef
    variance = residual @ residual / (len(design) - len(coef))
    return np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))


def agree(whom: str, ours: Floats, theirs: Floats, within: Floats) -> None:
    """End the run with a message where two answers lie further apart than `within`."""
    apart = np.abs(ours - theirs)
    if not (apart <= within).all():  # nan disagrees
        worst = int(np.argmax(np.nan_to_num(apart / within, nan=np.inf)))
        sys.exit(
            f"no times: gentle and {whom} disagree at coefficient {worst}, "
            f"{ours[worst]:.15g} against {theirs[worst]:.15g}"
        )


def peak(fit: Callable[[Floats, Floats], object], n: int) -> float:
    """MiB that a fit adds to the most this process has held, with libraries and data in place."""
    small = Data.draw(1_000, 50)
    fit(small.X, small.y)
    data = Data.draw(n, 50)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fit(data.X, data.y)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (most - before) * (1 if sys.platform == "darwin" else 1024) / MiB


if __name__ == "__main__":
    main()
