"""Laws of the certificate: the certified distance is never below the true one, nor far above it."""

import importlib.util
import sys
import warnings
from pathlib import Path

import mpmath
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gentle
from gentle.answering import least_squares
from gentle.certificate import certify
from gentle.choices import Choices
from gentle.design import Rows, learn_design
from gentle.exact import solve
from gentle.sources import Arrays

DIGITS = 120
BENCH = Path(__file__).parents[2] / "bench" / "certificate.py"

seeds = st.integers(0, 10**6)
conditions = st.floats(0, 12).map(lambda exponent: 10**exponent)
nearnesses = st.floats(-17, 6)
ways = pytest.mark.parametrize("polished", [True, False], ids=["polished", "triangle"])


def made(seed, condition, *, offset=0.0, noise=1.0, n=None, p=None):
    """(x, y) with singular values of x, once centred and scaled, that span the condition."""
    rng = np.random.default_rng(seed)
    p = p or int(rng.integers(1, 5))
    n = n or int(rng.integers(p + 3, 25))
    u, _ = np.linalg.qr(rng.normal(size=(n, p)))
    v, _ = np.linalg.qr(rng.normal(size=(p, p)))
    x = u * np.geomspace(1, 1 / condition, p) @ v * np.sqrt(n)
    x = x * 10.0 ** rng.uniform(-3, 3, p) + offset * rng.normal(size=p)
    y = x @ (rng.normal(size=p) / np.abs(x).max(axis=0)) + noise * rng.normal(size=n) + offset
    return x, y


def matrix(values):
    """Of many digits."""
    if isinstance(values, mpmath.matrix):
        return values
    return mpmath.matrix(np.asarray(values, dtype=float).tolist())


class Truth:
    """The objective of the numbers as they stand, in many digits, and its minimiser."""

    def __init__(self, x, y, *, intercept=True, l2=0.0, mass=None, known=None, columns=None):
        with mpmath.workdps(DIGITS):
            x = matrix(x)
            kept = range(x.cols) if columns is None else map(int, columns)
            parts = [mpmath.ones(len(y), 1)] * intercept + [x[:, j] for j in kept]
            self.a = mpmath.matrix(len(y), len(parts))
            for j, part in enumerate(parts):
                self.a[:, j] = part
            self.y = matrix(y) if known is None else matrix(y) - matrix(known)
            self.w = [mpmath.mpf(1)] * len(y) if mass is None else [mpmath.mpf(m) for m in mass]
            self.total = sum(self.w)
            self.l2 = [mpmath.mpf(0 if j < intercept else l2) for j in range(self.a.cols)]
            weighted = mpmath.matrix(self.a.rows, self.a.cols)
            for i, w in enumerate(self.w):
                weighted[i, :] = w * self.a[i, :]
            normal = weighted.T * self.a
            for j, strength in enumerate(self.l2):
                normal[j, j] += strength * self.total
            self.coef = mpmath.lu_solve(normal, weighted.T * self.y)

    @property
    def nearest(self):
        """The minimiser in float64."""
        return np.array([float(b) for b in self.coef])

    def distance(self, coef):
        """|b - b*| of each coefficient, (q,), in many digits."""
        with mpmath.workdps(DIGITS):
            return [abs(b - e) for b, e in zip(matrix(coef), self.coef, strict=True)]

    def objective(self, coef):
        """F(b)."""
        with mpmath.workdps(DIGITS):
            rest = self.y - self.a * coef
            squares = sum(w * r * r for w, r in zip(self.w, rest, strict=True)) / self.total
            return (squares + sum(s * b * b for s, b in zip(self.l2, coef, strict=True))) / 2

    def gap(self, coef):
        """F(b) - F(b*)."""
        with mpmath.workdps(DIGITS):
            return float(self.objective(matrix(coef)) - self.objective(self.coef))


def never_below(certified, true):
    """Whether no certified distance is below the true one, which has many digits."""
    return all(t <= mpmath.mpf(float(c)) for c, t in zip(certified, true, strict=True))


def known(x, y, polished=True, *, intercept=True, l2=0.0, method="auto", **beside):
    """The minimiser as a fit knows it: polished over the rows, or as their triangle gives it."""
    targets = {"y": y} if y.ndim == 1 else {f"y{k}": column for k, column in enumerate(y.T)}
    names = tuple(f"x{j}" for j in range(x.shape[1]))
    source = Arrays(x, names, {**targets, **beside})
    parts = {part: part for part in beside}
    design = learn_design(
        source, targets=tuple(targets), features=names, intercept=intercept, **parts
    )
    exact = least_squares(Rows(source, design), Choices(l2=l2, method=method))
    return exact if polished else solve(exact.problem)


def away(seed, truth, nearness):
    """A candidate that is off by so much of each coefficient."""
    rng = np.random.default_rng(seed)
    return truth.nearest * (1 + 10**nearness * rng.normal(size=len(truth.nearest)))


@ways
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("l2", [0.0, 1e-3])
@given(
    seed=seeds,
    condition=conditions,
    offset=st.sampled_from([0.0, 1.0, 1e3, 1e6]),
    noise=st.sampled_from([0.0, 1e-6, 1.0, 100.0]),
    nearness=nearnesses,
)
def test_the_true_distance_is_never_above_the_certified_one(
    polished, intercept, l2, seed, condition, offset, noise, nearness
):
    x, y = made(seed, condition, offset=offset, noise=noise)
    exact = known(x, y, polished, intercept=intercept, l2=l2)
    truth = Truth(x, y, intercept=intercept, l2=l2, columns=exact.fitted.columns)
    for coef in (away(seed, truth, nearness), truth.nearest, exact.coef[:, 0]):
        assert never_below(certify(exact, coef).distance, truth.distance(coef))


@ways
@given(seed=seeds, condition=conditions)
def test_the_exact_answer_is_within_its_own_rounding(polished, seed, condition):
    x, y = made(seed, condition)
    exact = known(x, y, polished)
    truth = Truth(x, y, columns=exact.fitted.columns)
    coef = exact.coef[:, 0]
    certificate = certify(exact, coef)
    assert never_below(certificate.distance, truth.distance(coef))
    with mpmath.workdps(DIGITS):  # what is known beyond float64 counts as well
        apart = matrix(coef) + matrix(exact.low[:, 0]) - truth.coef
        beyond = [abs(one) for one in apart]
    assert never_below(certificate.rounding, beyond)
    if not polished:
        assert certificate.within <= 2 * certificate.floor


@given(seed=seeds, condition=conditions)
def test_a_polished_answer_is_the_nearest_float64(seed, condition):
    x, y = made(seed, condition)
    exact = known(x, y)
    if exact.polished:
        truth = Truth(x, y, columns=exact.fitted.columns)
        np.testing.assert_allclose(exact.coef[:, 0], truth.nearest, rtol=2.3e-16)


@ways
@given(seed=seeds, condition=conditions, nearness=st.floats(-6, 6))
def test_the_certified_distance_is_no_more_than_it_must_be(polished, seed, condition, nearness):
    """Beyond rounding it is the distance itself, not a multiple of it."""
    x, y = made(seed, condition)
    exact = known(x, y, polished)
    truth = Truth(x, y, columns=exact.fitted.columns)
    coef = away(seed, truth, nearness)
    certificate = certify(exact, coef)
    true = np.array([float(apart) for apart in truth.distance(coef)])
    assert (certificate.distance <= (true + 3 * certificate.rounding) * (1 + 1e-14)).all()


@ways
@given(
    seed=seeds,
    condition=conditions,
    spread=st.sampled_from([0.0, 1.0, 6.0]),
    l2=st.sampled_from([0.0, 1e-6, 10.0]),
    nearness=nearnesses,
)
def test_weights_and_frequencies_are_certified_like_any_other_problem(
    polished, seed, condition, spread, l2, nearness
):
    rng = np.random.default_rng(seed)
    x, y = made(seed, condition)
    weights = 10.0 ** (spread * rng.uniform(-1, 1, len(y)))
    frequencies = rng.integers(1, 5, len(y)).astype(float)
    exact = known(x, y, polished, l2=l2, weights=weights, frequencies=frequencies)
    with mpmath.workdps(DIGITS):
        mass = [mpmath.mpf(w) * f for w, f in zip(weights.tolist(), frequencies, strict=True)]
    truth = Truth(x, y, l2=l2, mass=mass, columns=exact.fitted.columns)
    for coef in (away(seed, truth, nearness), exact.coef[:, 0]):
        assert never_below(certify(exact, coef).distance, truth.distance(coef))


@ways
@given(seed=seeds, size=st.floats(-3, 6), level=st.sampled_from([0.0, 1e6]))
def test_a_known_part_of_the_target_is_taken_off_without_rounding(polished, seed, size, level):
    """Also where the target is far from zero: its rounding is small beside it, not beside its spread."""
    x, y = made(seed, 10.0, noise=1e-3)
    y += level
    offset = np.random.default_rng(seed).normal(size=len(y)) * 10**size
    exact = known(x, y, polished, offset=offset)
    truth = Truth(x, y, known=offset, columns=exact.fitted.columns)
    coef = exact.coef[:, 0]
    assert never_below(certify(exact, coef).distance, truth.distance(coef))


@ways
@given(seed=seeds, spread=st.floats(0, 40))
def test_columns_may_have_any_unit(polished, seed, spread):
    x, y = made(seed, 10.0)
    unit = 2.0 ** np.round(np.random.default_rng(seed).uniform(-1, 1, x.shape[1]) * spread / 0.3)
    exact = known(x * unit, y, polished)
    truth = Truth(x * unit, y)
    coef = exact.coef[:, 0]
    assert never_below(certify(exact, coef).distance, truth.distance(coef))


@ways
@given(seed=seeds, condition=st.floats(0, 8).map(lambda exponent: 10**exponent))
def test_float32_is_taken_as_it_stands(polished, seed, condition):
    x, y = (part.astype(np.float32) for part in made(seed, condition, offset=10.0))
    exact = known(x, y, polished)
    truth = Truth(x, y, columns=exact.fitted.columns)
    coef = exact.coef[:, 0]
    assert never_below(certify(exact, coef).distance, truth.distance(coef))


@ways
@given(seed=seeds, far=st.floats(0, 4))
def test_powers_of_a_formula_are_exact_ones(polished, seed, far):
    """Also where only their triangle is known: what float64 rounds of them is among its rounding."""
    rng = np.random.default_rng(seed)
    table = pl.DataFrame({"x": 10**far + rng.random(20), "y": rng.normal(size=20)})
    fit = gentle.fit(table, "y ~ x + I(x**2)")
    exact = fit.answer if polished else solve(fit.answer.problem)
    with mpmath.workdps(DIGITS):
        x = [mpmath.mpf(value) for value in table["x"]]
        powers = mpmath.matrix([[value, value**2] for value in x])
    truth = Truth(powers, table["y"].to_numpy(), columns=exact.fitted.columns)
    coef = exact.coef[:, 0]
    assert never_below(certify(exact, coef).distance, truth.distance(coef))


@given(
    seed=seeds,
    condition=st.floats(0, 9).map(lambda exponent: 10**exponent),
    offset=st.sampled_from([0.0, 1e3]),
    weighted=st.booleans(),
)
def test_fits_that_merge_without_rows_cover_what_their_moments_lack(
    seed, condition, offset, weighted
):
    x, y = made(seed, condition, offset=offset, n=30)
    weights = 10.0 ** np.random.default_rng(seed).uniform(-4, 4, 30) if weighted else np.ones(30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = [
            gentle.fit((x[at], y[at]), weights=weights[at]) for at in np.split(np.arange(30), 2)
        ]
        both = parts[0] + parts[1]
    kept = both.placing.kept
    truth = Truth(x, y, mass=weights.tolist(), columns=kept[1:] - 1)
    assert never_below(both.certificate.distance, truth.distance(both.values[kept]))


@given(
    seed=seeds, condition=st.floats(0, 4).map(lambda exponent: 10**exponent), far=st.floats(0, 6)
)
def test_rows_that_are_taken_away_take_their_digits_with_them(seed, condition, far):
    """The rows that go may be much larger than those that stay."""
    x, y = made(seed, condition, n=30)
    x[15:], y[15:] = x[15:] * 10**far, y[15:] * 10**far
    try:
        left = gentle.fit((x, y)) - gentle.fit((x[15:], y[15:]))
    except gentle.GentleError:
        return  # more than half of the digits would go
    kept = left.placing.kept
    truth = Truth(x[:15], y[:15], columns=kept[1:] - 1)
    assert never_below(left.certificate.distance, truth.distance(left.values[kept]))


@ways
@pytest.mark.parametrize("intercept", [True, False])
@given(
    seed=seeds, condition=st.floats(0, 5).map(lambda exponent: 10**exponent), far=st.floats(-6, 6)
)
def test_the_gap_is_the_difference_of_the_objectives(polished, intercept, seed, condition, far):
    rng = np.random.default_rng(seed)
    x, y = made(seed, condition)
    weights = rng.uniform(0.1, 3, len(y))
    exact = known(x, y, polished, intercept=intercept, l2=0.1, weights=weights)
    truth = Truth(x, y, intercept=intercept, l2=0.1, mass=weights.tolist())
    coef = truth.nearest + 10**far * exact.basis @ rng.normal(size=len(truth.nearest))
    assert certify(exact, coef).gap == pytest.approx(truth.gap(coef), rel=1e-6)


def test_each_of_several_targets_has_its_own_certificate():
    x, y = made(7, 100.0, n=20, p=3)
    both = known(x, np.stack([y, y**2], axis=1))
    for at, target in enumerate((y, y**2)):
        one, alone = both.of(at), known(x, target)
        coef = one.coef[:, 0]
        np.testing.assert_array_equal(coef, alone.coef[:, 0])
        certificate = certify(one, coef)
        assert never_below(certificate.distance, Truth(x, target).distance(coef))
        np.testing.assert_allclose(
            certificate.yardstick, certify(alone, coef).yardstick, rtol=1e-12
        )
        np.testing.assert_array_equal(certificate.size, np.abs(coef))


@ways
def test_the_yardstick_is_the_standard_error(polished):
    x, y = made(3, 10.0, n=20, p=3)
    exact = known(x, y, polished)
    a = np.hstack([np.ones((20, 1)), x])
    b = Truth(x, y).nearest
    s2 = ((y - a @ b) ** 2).sum() / 16
    se = np.sqrt(np.diag(s2 * np.linalg.inv(a.T @ a)))
    certificate = certify(exact, exact.coef[:, 0])
    np.testing.assert_allclose(certificate.yardstick, se, rtol=1e-8)
    np.testing.assert_allclose(list(gentle.fit((x, y)).std_errors.values()), se, rtol=1e-8)
    assert certificate.unit == "standard errors"
    assert certify(known(x, y, polished, l2=0.1), b).unit == "scale"
    assert certify(exact, b + se).in_se == pytest.approx(1, rel=1e-6)


@ways
def test_without_noise_the_yardstick_is_relative(polished):
    x, y = made(4, 10.0, n=20, p=3, noise=0.0, offset=1.0)
    exact = known(x, y, polished)
    certificate = certify(exact, exact.coef[:, 0])
    assert certificate.unit == "relative"
    assert np.isnan(certificate.in_se)
    assert certificate.within < 1e-12
    assert certificate.digits > 10


def test_without_degrees_of_freedom_the_yardstick_is_relative():
    x, y = made(4, 10.0, n=4, p=3)
    exact = known(x, y)
    certificate = certify(exact, exact.coef[:, 0])
    assert certificate.unit == "relative"
    assert never_below(certificate.distance, Truth(x, y).distance(exact.coef[:, 0]))


@ways
def test_digits_count_what_agrees(polished):
    x, y = made(5, 2.0, n=20, p=2)
    exact = known(x, y, polished)
    coef = exact.coef[:, 0]
    assert certify(exact, coef * (1 + 1e-6)).digits == pytest.approx(6, abs=0.01)
    assert certify(exact, coef).digits > (15 if polished else 12)


@pytest.mark.parametrize("exponent", [1, 3, 5, 6])
def test_a_fit_by_descent_is_as_near_as_it_says(exponent):
    x, y = made(exponent, 10.0**exponent, n=60, p=3)
    found = gentle.fit((x, y), solver="sgd", tol=1e-6)
    if found.dropped:
        return
    assert never_below(found.certificate.distance, Truth(x, y).distance(found.values))
    assert found.verdict.agrees or found.verdict.cause == "precision"


@given(seed=seeds, condition=conditions, nearness=nearnesses)
def test_the_coefficients_of_others_are_held_against_the_same_truth(seed, condition, nearness):
    x, y = made(seed, condition)
    truth = Truth(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gentle.RankWarning)
        check = gentle.certify(coef := away(seed, truth, nearness), (x, y))
    if not check.fit.dependent:
        assert never_below(check.certificate.distance, truth.distance(coef))


def test_the_certificate_never_lies_on_problems_of_every_kind():
    """Some of those of `python bench/certificate.py`, which looks at 10,000."""
    spec = importlib.util.spec_from_file_location("bench_certificate", BENCH)
    bench = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [one for seed in range(300) for one in bench.findings(seed)]
    assert not [one for one in found if not one.short <= 1]
    for way in bench.WAYS:
        ratios = [one.ratio for one in found if one.way == way and one.ratio is not None]
        assert len(ratios) > 300
        assert np.median(ratios) <= 2
