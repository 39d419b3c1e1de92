"""NIST's certified values (StRD), from exact rational solutions in 50 digits."""

import json
from pathlib import Path

import mpmath
import numpy as np
import polars as pl
import pytest

import gentle

HERE = Path(__file__).parent / "nist"
NAMES = {
    "Norris": ("y", ["x"]),
    "Longley": (
        "employed",
        ["deflator", "gnp", "unemployed", "armed_forces", "population", "year"],
    ),
}
sets = pytest.mark.parametrize("name", NAMES)


def certified(name):
    with open(HERE / f"{name}.json", encoding="utf-8") as file:
        return json.load(file)


def digits(found, exact):
    """The fewest significant digits in which numbers agree with 50-digit ones."""
    with mpmath.workdps(50):
        apart = [
            abs(mpmath.mpf(float(f)) - mpmath.mpf(e)) / abs(mpmath.mpf(e))
            for f, e in zip(found, exact, strict=True)
        ]
        return float(-mpmath.log10(max(apart))) if max(apart) else 17.0


def fitted(name, **options):
    data = certified(name)
    return gentle.fit((np.array(data["x"]), np.array(data["y"])), **options)


@sets
def test_coefficients(name):
    found = fitted(name)
    assert digits(found.values, certified(name)["exact_50"]["coef"]) >= 12


@sets
def test_standard_errors(name):
    found = fitted(name)
    assert digits(found.std_errors.values(), certified(name)["exact_50"]["se"]) >= 10


@sets
def test_residuals_and_r2(name):
    found, exact = fitted(name), certified(name)["exact_50"]
    assert digits([found.rss], [exact["rss"]]) >= 10
    assert digits([found.r2], [exact["r2"]]) >= 13
    assert digits([found.sigma], [certified(name)["resid_sd"]]) >= 10
    assert found.df_resid == int(certified(name)["anova"]["residual"]["df"])


@sets
def test_the_certificate_covers_the_true_distance(name):
    for options in ({}, {"solver": "sgd"}, {"solver": "sgd", "tol": 1e-9}):
        found = fitted(name, **options)
        with mpmath.workdps(50):
            exact = certified(name)["exact_50"]["coef"]
            apart = [
                float(abs(mpmath.mpf(float(f)) - mpmath.mpf(e)))
                for f, e in zip(found.values, exact, strict=True)
            ]
        assert (np.array(apart) <= found.certificate.distance).all()
        assert found.verdict.agrees


@sets
@pytest.mark.parametrize("seed", range(5))
def test_descent_arrives_within_its_tolerance(name, seed):
    found = fitted(name, solver="sgd", tol=1e-6, seed=seed)
    exact = np.array(certified(name)["exact_50"]["coef"], dtype=float)
    errors = np.array(certified(name)["exact_50"]["se"], dtype=float)
    assert np.abs((found.values - exact) / errors).max() <= 1e-6


@sets
def test_rows_in_any_order_and_columns_in_other_units(name):
    data = certified(name)
    x, y = np.array(data["x"]), np.array(data["y"])
    exact = data["exact_50"]["coef"]
    assert digits(gentle.fit((x[::-1], y[::-1])).values, exact) >= 12
    other = gentle.fit((x * 2.0**20, y))
    assert digits(other.slopes * 2.0**20, exact[1:]) >= 12


@sets
def test_the_example_tables_hold_these_numbers(name, examples):
    target, features = NAMES[name]
    table = pl.read_csv(examples / f"{name.lower()}.csv")
    data = certified(name)
    assert sorted(table.columns) == sorted([target, *features])
    np.testing.assert_array_equal(table[target].to_numpy(), data["y"])
    np.testing.assert_array_equal(table.select(features).to_numpy(), data["x"])


@sets
def test_the_example_files_give_the_certified_answer(name, examples):
    target, features = NAMES[name]
    found = gentle.fit(examples / f"{name.lower()}.csv", f"{target} ~ {' + '.join(features)}")
    assert digits(found.values, certified(name)["exact_50"]["coef"]) >= 12
    assert found.names == ("Intercept", *features)
