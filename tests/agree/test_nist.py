"""NIST's certified values (StRD) on all eleven linear sets, from exact rational solutions in 50 digits.

Two questions are kept apart. How many certified digits come out: those of the decimals that NIST
printed. And whether the answer is the one of the float64 numbers that were given, to their last digit:
on Filip the rounding of ten powers costs half of the certified digits before anything is computed.
"""

import json
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import mpmath
import numpy as np
import polars as pl
import pytest

import gentle
from gentle.certificate import certify
from gentle.choices import Choices
from gentle.design import Held, Rows, learn_design
from gentle.exact import Exact, polish, solve
from gentle.fitting import fit_rows
from gentle.passes import fold
from gentle.problem import distinctness, reduce
from gentle.sketch import DISTINCT
from gentle.sources import open_source
from gentle.statistics import Moments, Triangle

HERE = Path(__file__).parent / "nist"
SETS = sorted(path.stem for path in HERE.glob("*.json"))
EXACT_FIT = ("Wampler1", "Wampler2")  # certified standard errors of zero
ENOUGH_DIGITS = 120
MERGED = {  # digits that are certified of two halves that merge: cross-products square the condition
    "NoInt1": 13,
    "NoInt2": 13,
    "Norris": 10,
    "Longley": 9,
    "Pontius": 8,
    "Filip": 0,
    "Wampler1": 1,
    "Wampler2": 6,
    "Wampler3": 1,
    "Wampler4": 1,
    "Wampler5": 0,
}
TABLES = {
    "Norris": ("y", ["x"]),
    "Longley": (
        "employed",
        ["deflator", "gnp", "unemployed", "armed_forces", "population", "year"],
    ),
}
FORMS = ("columns", "I(x**k)", "poly(x, k)")  # float64 powers, and exact ones by either formula
sets = pytest.mark.parametrize("name", SETS)
forms = pytest.mark.parametrize("form", FORMS)
tables = pytest.mark.parametrize("name", TABLES)


@cache
def certified(name):
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def digits(found, exact):
    """The fewest significant digits in which numbers agree with those of many digits."""
    with mpmath.workdps(50):
        apart = [
            abs(mpmath.mpf(float(f)) - mpmath.mpf(e)) / abs(mpmath.mpf(e))
            for f, e in zip(found, exact, strict=True)
        ]
        return float(-mpmath.log10(max(apart))) if max(apart) else 17.0


class Solution(NamedTuple):
    """What least squares is for numbers as they stand, each (q,) in many digits."""

    coef: list
    std_errors: list


def solved(a, y):
    """The solution for a (n, q) and y (n,), in many digits."""
    n, q = a.rows, a.cols
    inverse = (a.T * a) ** -1
    b = inverse * (a.T * y)
    rest = y - a * b
    sigma2 = sum(r * r for r in rest) / (n - q) if n > q else mpmath.mpf(0)
    return Solution(list(b), [mpmath.sqrt(sigma2 * inverse[j, j]) for j in range(q)])


def powers(x, degree):
    """The columns of a polynomial as float64 rounds them, or x as it is."""
    return x if degree == 1 else np.hstack([x**power for power in range(1, degree + 1)])


@cache
def solution(name, form="columns", kept=None):
    """That of the float64 numbers of a set: of its rounded powers, or of exact ones."""
    data = certified(name)
    x, y = np.array(data["x"], dtype=float), np.array(data["y"], dtype=float)
    with mpmath.workdps(ENOUGH_DIGITS):
        if form == "columns":
            a = mpmath.matrix(powers(x, data["degree"]).tolist())
        elif data["degree"] == 1:
            a = mpmath.matrix(x.tolist())
        else:
            exponents = range(1, data["degree"] + 1)
            a = mpmath.matrix([[mpmath.mpf(v) ** k for k in exponents] for (v,) in x.tolist()])
        columns = [a[:, j] for j in (range(a.cols) if kept is None else kept)]
        if data["intercept"]:
            columns.insert(0, mpmath.ones(a.rows, 1))
        joined = mpmath.matrix(a.rows, len(columns))
        for j, column in enumerate(columns):
            joined[:, j] = column
        return solved(joined, mpmath.matrix(y.tolist()))


def expected(name, form):
    """Certified, except that Filip's columns of float64 have another solution."""
    if (name, form) == ("Filip", "columns"):
        return solution(name)
    exact = certified(name)["exact_50"]
    return Solution(exact["coef"], exact["se"])


def formula(name, form):
    """In terms of x, or of x1 to xp where there are several columns."""
    data = certified(name)
    degree, several = data["degree"], len(data["x"][0])
    if form == "poly(x, k)" and degree > 1:
        right = f"poly(x, {degree}, raw=True)"
    elif degree > 1:
        right = " + ".join(["x", *(f"I(x**{k})" for k in range(2, degree + 1))])
    else:
        right = "x" if several == 1 else " + ".join(f"x{j + 1}" for j in range(several))
    return f"y ~ {right}" + ("" if data["intercept"] else " - 1")


def given(name, form, order=slice(None), single=False):
    """(data, options) for gentle.fit; None where float32 cannot hold the columns."""
    data = certified(name)
    x, y = np.array(data["x"], dtype=float)[order], np.array(data["y"], dtype=float)[order]
    if form == "columns":
        x = powers(x, data["degree"])
    if single:
        if not same_in_float32(x):
            return None
        x = x.astype(np.float32)
        y = y.astype(np.float32) if same_in_float32(y) else y
    if form == "columns":
        return (x, y), {"intercept": data["intercept"]}
    names = ["x"] if x.shape[1] == 1 else [f"x{j + 1}" for j in range(x.shape[1])]
    frame = pl.DataFrame(dict(zip(names, x.T, strict=True)) | {"y": y})
    return frame, {"formula": formula(name, form)}


def same_in_float32(values):
    return bool((values.astype(np.float32) == values).all())


def fitted(name, form="columns", **options):
    data, model = given(name, form)
    return gentle.fit(data, **model, **options)


def rows(name, form, batch_rows=None):
    """A set seen through its design."""
    data, model = given(name, form)
    source = open_source(data)
    if form != "columns":
        return Rows(source, learn_design(source, model["formula"]), batch_rows)
    return Rows(source, learn_design(source, targets=("y",), **model), batch_rows)


@cache
def one_by_one(name, form):
    """The rows as batches of one row each."""
    return Held(tuple(rows(name, form, batch_rows=1)))


def polished(name, form, parts, sums):
    """The rows one by one, in so many parts whose sums merge, and then polished."""
    singly, design = one_by_one(name, form), rows(name, form).design
    triangle = fold(sums, replace(singly, parts=parts)).triangle()
    near = distinctness(triangle, intercept=design.intercept).min(initial=1.0) < DISTINCT
    if triangle.squared and near:  # as a fit does
        triangle = fold(Triangle.zero(triangle.coordinates), replace(singly, parts=parts))
    problem = reduce(triangle, intercept=design.intercept, l2=0.0, n_used=certified(name)["n"])
    return polish(solve(problem), singly)


def in_memory(name, form):
    return fitted(name, form)


def permuted(name, form):
    order = np.random.default_rng(len(name)).permutation(certified(name)["n"])
    data, model = given(name, form, order)
    return gentle.fit(data, **model)


def float32(name, form):
    data, model = given(name, form, single=True) or (None, None)
    return None if data is None else gentle.fit(data, **model)


def in_batches(name, form):
    """gentle.fit reads large batches; the room below it takes any."""
    if form == "columns":
        return fit_rows(rows(name, form, batch_rows=1), Choices())[0]
    return polished(name, form, 1, Moments())


def in_parts(name, form):
    return polished(name, form, certified(name)["n"], Moments())


def in_parts_by_qr(name, form):
    return polished(name, form, certified(name)["n"], Triangle.unplaced())


MODES = (in_memory, permuted, float32, in_batches, in_parts, in_parts_by_qr)


@pytest.fixture(params=MODES, ids=lambda mode: mode.__name__)
def answer(request, name, form):
    """(coefficients, standard errors, certificate) of a set in a form, by each mode."""
    found = request.param(name, form)
    if found is None:
        assert name not in ("NoInt1", "NoInt2", "Wampler1", "Wampler4")  # these are whole numbers
        pytest.skip("float32 cannot hold these numbers")
    if isinstance(found, Exact):
        coef = found.coef[:, 0]
        return coef, np.sqrt(found.sigma2[0]) * found.lengths, certify(found, coef)
    return found.values, np.array(list(found.std_errors.values())), found.certificate


@sets
@forms
def test_digits_in_every_mode(name, form, answer):
    coef, std_errors, certificate = answer
    exact = expected(name, form)
    assert digits(coef, exact.coef) >= 13
    if name in EXACT_FIT:
        assert (std_errors < 1e-9 * np.abs(coef)).all()
    else:
        least = 10 if name == "Filip" and form != "columns" else 12
        assert digits(std_errors, exact.std_errors) >= least
    with mpmath.workdps(ENOUGH_DIGITS):
        given_numbers = solution(name, form).coef
        apart = [float(abs(mpmath.mpf(b) - e)) for b, e in zip(coef, given_numbers, strict=True)]
    assert (apart <= certificate.distance).all()
    assert certificate.digits >= 15


def test_rounded_powers_cost_filip_its_certified_digits():
    """The matrix that was given has another solution; what is computed is that one."""
    exact = certified("Filip")["exact_50"]["coef"]
    assert 7 < digits(solution("Filip").coef, exact) < 9
    assert 7 < digits(fitted("Filip").values, exact) < 9


def test_the_solution_in_many_digits_is_the_certified_one():
    """Where float64 holds the decimals, the reference of these tests is NIST's."""
    for name in ("NoInt1", "NoInt2", "Wampler1", "Wampler3", "Wampler4", "Wampler5"):
        exact, found = certified(name)["exact_50"], solution(name)
        with mpmath.workdps(ENOUGH_DIGITS):
            for ours, theirs in ((found.coef, exact["coef"]), (found.std_errors, exact["se"])):
                for one, other in zip(ours, theirs, strict=True):
                    assert abs(one - mpmath.mpf(other)) <= 1e-35 * abs(mpmath.mpf(other)) + 1e-60


@sets
def test_fits_that_merge_without_rows_promise_what_their_moments_support(name):
    data, model = given(name, "columns")
    x, y = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gentle.RankWarning)  # Filip, from cross-products
        one, two = (gentle.fit((x[at::2], y[at::2]), **model) for at in (0, 1))
        both = one + two
    first = int(both.design.intercept)
    kept = tuple(int(at) - first for at in both.placing.kept[first:])
    exact = solution(name, kept=kept).coef
    coef = both.values[both.placing.kept]
    with mpmath.workdps(ENOUGH_DIGITS):
        apart = [float(abs(mpmath.mpf(b) - e)) for b, e in zip(coef, exact, strict=True)]
    assert (apart <= both.certificate.distance).all()
    assert max(digits(coef, exact), 0) >= both.certificate.digits
    assert both.certificate.digits >= MERGED[name]


@sets
def test_residuals_and_r2(name):
    found, exact = fitted(name, "I(x**k)"), certified(name)["exact_50"]
    if name in EXACT_FIT:
        assert found.rss <= 1e-25 * found.tss
        assert found.r2 == 1
    else:
        assert digits([found.rss], [exact["rss"]]) >= 10
        assert digits([found.r2], [exact["r2"]]) >= 13
        assert digits([found.sigma], [certified(name)["resid_sd"]]) >= 10
    assert found.df_resid == int(certified(name)["anova"]["residual"]["df"])


@sets
@pytest.mark.parametrize("options", [{}, {"tol": 1e-9}], ids=str)
def test_the_certificate_of_a_descent_covers_the_true_distance(name, options):
    found = fitted(name, solver="sgd", **options)
    with mpmath.workdps(ENOUGH_DIGITS):
        apart = [
            float(abs(mpmath.mpf(float(f)) - e))
            for f, e in zip(found.values, solution(name).coef, strict=True)
        ]
    assert (apart <= found.certificate.distance).all()
    assert found.verdict.agrees or name not in TABLES


@tables
@pytest.mark.parametrize("seed", range(5))
def test_descent_arrives_within_its_tolerance(name, seed):
    found = fitted(name, solver="sgd", tol=1e-6, seed=seed)
    exact = np.array(certified(name)["exact_50"]["coef"], dtype=float)
    errors = np.array(certified(name)["exact_50"]["se"], dtype=float)
    assert np.abs((found.values - exact) / errors).max() <= 1e-6


@tables
def test_columns_in_other_units(name):
    data = certified(name)
    x, y = np.array(data["x"]), np.array(data["y"])
    other = gentle.fit((x * 2.0**20, y))
    assert digits(other.slopes * 2.0**20, data["exact_50"]["coef"][1:]) >= 13


@tables
def test_the_example_tables_hold_these_numbers(name, examples):
    target, features = TABLES[name]
    table = pl.read_csv(examples / f"{name.lower()}.csv")
    data = certified(name)
    assert sorted(table.columns) == sorted([target, *features])
    np.testing.assert_array_equal(table[target].to_numpy(), data["y"])
    np.testing.assert_array_equal(table.select(features).to_numpy(), data["x"])


@tables
def test_the_example_files_give_the_certified_answer(name, examples):
    target, features = TABLES[name]
    found = gentle.fit(examples / f"{name.lower()}.csv", f"{target} ~ {' + '.join(features)}")
    assert digits(found.values, certified(name)["exact_50"]["coef"]) >= 13
    assert found.names == ("Intercept", *features)
