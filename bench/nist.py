"""Digits of agreement with the certified values of NIST's linear sets (StRD), beside other libraries.

    python bench/nist.py

Each figure is the least over the coefficients, by default settings: of gentle on float64 columns, with
the certified values and with the exact solution of those columns as they were given; of gentle by a
formula with exact powers, and of its standard errors; of its descent; and of others on those columns.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from certificate import Problem

import gentle

Floats = npt.NDArray[np.float64]

SETS = Path(__file__).parent.parent / "tests" / "agree" / "nist"
HEADINGS = ("coef", "as given", "formula", "errors", "descent", "statsmodels", "sklearn")


def columns(data: dict[str, Any]) -> Floats:
    """X (n, p) of a set without its constant: columns, or the powers of one column."""
    x = np.array(data["x"], dtype=float)
    degree = data["degree"]
    return x if degree == 1 else np.hstack([x**power for power in range(1, degree + 1)])


def by_formula(data: dict[str, Any]) -> gentle.Fit:
    """The fit of y on the columns of x, or on exact powers of the one column."""
    x = np.array(data["x"], dtype=float)
    names = [f"x{j + 1}" for j in range(x.shape[1])]
    frame = pl.DataFrame(dict(zip(names, x.T, strict=True)) | {"y": data["y"]})
    powers = f"poly(x1, {data['degree']}, raw=True)"
    right = " + ".join(names) if data["degree"] == 1 else powers
    return gentle.fit(frame, f"y ~ {right}" + ("" if data["intercept"] else " - 1"))


def statsmodels(x: Floats, y: Floats, *, intercept: bool) -> Floats:
    """OLS, by a pseudo-inverse."""
    import statsmodels.api as sm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Filip is singular to it, as it says
        return np.asarray(sm.OLS(y, sm.add_constant(x) if intercept else x).fit().params)


def sklearn(x: Floats, y: Floats, *, intercept: bool) -> Floats:
    """LinearRegression."""
    from sklearn.linear_model import LinearRegression

    found = LinearRegression(fit_intercept=intercept).fit(x, y)
    return np.append([found.intercept_] if intercept else [], found.coef_)


PEERS: tuple[Callable[..., Floats], ...] = (statsmodels, sklearn)


def digits(found: Any, exact: Any) -> float:
    """Correct digits of the worst number; nan where an exact one is zero."""
    found, exact = (np.array(list(values), dtype=float) for values in (found, exact))
    if not exact.all():
        return float("nan")
    with np.errstate(divide="ignore"):
        return float(np.clip(-np.log10(np.abs(found / exact - 1)), 0, 16).min())


def figures(data: dict[str, Any]) -> tuple[float, ...]:
    """The condition of a set, and the digits under each heading."""
    x, y, intercept = columns(data), np.array(data["y"], dtype=float), data["intercept"]
    exact, errors = data["exact_50"]["coef"], data["exact_50"]["se"]
    default = gentle.fit((x, y), intercept=intercept)
    given = Problem(x, y, intercept).minimiser(np.arange(x.shape[1]))
    formula = by_formula(data)
    descent = gentle.fit((x, y), intercept=intercept, solver="sgd")
    return (
        default.condition,
        digits(default.values, exact),
        digits(default.values, given),
        digits(formula.values, exact),
        digits(formula.std_errors.values(), errors),
        digits(descent.values, exact),
        *(digits(peer(x, y, intercept=intercept), exact) for peer in PEERS),
    )


def main() -> None:
    """Print the table."""
    print(f"{'set':10}{'condition':>11}" + "".join(f"{heading:>12}" for heading in HEADINGS))
    for path in sorted(SETS.glob("*.json")):
        condition, *found = figures(json.loads(path.read_text(encoding="utf-8")))
        shown = ("-" if value != value else f"{value:.1f}" for value in found)
        print(f"{path.stem:10}{condition:11.1e}" + "".join(f"{one:>12}" for one in shown))
    print("-: the certified standard errors are zero")


if __name__ == "__main__":
    main()
