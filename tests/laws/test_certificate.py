"""Laws of the certificate: the certified distance is never below the true one, nor far above it."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gentle
from gentle.certificate import certify, covariance
from gentle.design import Rows, learn_design
from gentle.fitting import least_squares
from gentle.sources import Arrays

DIGITS = 60
SQUARED = (False, True)


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


def exactly(x, y, *, intercept=True, l2=0.0, weights=None):
    """The minimiser of the float64 numbers as they stand, in 60 digits."""
    with mpmath.workdps(DIGITS):
        n = len(x)
        columns = np.hstack([np.ones((n, 1)), x]) if intercept else x
        a = mpmath.matrix(columns.tolist())
        w = mpmath.matrix([1.0] * n if weights is None else list(map(float, weights)))
        left = mpmath.matrix(n, a.cols)
        for i in range(n):
            for j in range(a.cols):
                left[i, j] = w[i] * a[i, j]
        normal = left.T * a
        for j in range(int(intercept), a.cols):
            normal[j, j] += mpmath.mpf(l2) * sum(w)
        return list(mpmath.lu_solve(normal, left.T * mpmath.matrix(list(map(float, y)))))


def reduced(x, y, *, intercept=True, l2=0.0, weights=None):
    names = tuple(f"x{j}" for j in range(x.shape[1]))
    other = {"y": y} if weights is None else {"y": y, "w": weights}
    source = Arrays(x, names, other)
    design = learn_design(
        source,
        target="y",
        features=names,
        intercept=intercept,
        weights=None if weights is None else "w",
    )
    return least_squares(Rows(source, design), l2=l2)


def true_distance(coef, exact):
    with mpmath.workdps(DIGITS):
        return np.array(
            [float(abs(mpmath.mpf(float(b)) - e)) for b, e in zip(coef, exact, strict=True)]
        )


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("l2", [0.0, 1e-3])
@given(
    seed=st.integers(0, 10**6),
    exponent=st.floats(0, 7),
    offset=st.sampled_from([0.0, 1.0, 1e3, 1e6]),
    noise=st.sampled_from([0.0, 1e-6, 1.0, 100.0]),
    nearness=st.floats(-17, 1),
)
def test_the_true_distance_is_never_above_the_certified_one(
    intercept, l2, seed, exponent, offset, noise, nearness
):
    x, y = made(seed, 10**exponent, offset=offset, noise=noise)
    problem = reduced(x, y, intercept=intercept, l2=l2)
    if problem.dependent:  # columns are left out: the minimiser is not the one of all columns
        return
    exact = exactly(x, y, intercept=intercept, l2=l2)
    rng = np.random.default_rng(seed)
    away = np.array([float(e) for e in exact]) * (1 + 10**nearness * rng.normal(size=len(exact)))
    theta = problem.coordinates.theta(away[:, None])
    coef = problem.coordinates.coef(theta)[:, 0]
    certificate = certify(problem, theta)
    assert (true_distance(coef, exact) <= certificate.distance).all()


@given(seed=st.integers(0, 10**6), exponent=st.floats(0, 7))
def test_the_exact_answer_is_within_its_own_rounding(seed, exponent):
    x, y = made(seed, 10**exponent)
    problem = reduced(x, y)
    if problem.dependent:
        return
    certificate = certify(problem, problem.minimiser)
    coef = problem.coordinates.coef(problem.minimiser)[:, 0]
    assert (true_distance(coef, exactly(x, y)) <= certificate.rounding).all()
    assert certificate.within <= 2 * certificate.floor


@given(seed=st.integers(0, 10**6), exponent=st.floats(0, 5), nearness=st.floats(-6, 1))
def test_the_certified_distance_is_no_more_than_it_must_be(seed, exponent, nearness):
    """Beyond rounding it is the distance itself, not a multiple of it."""
    x, y = made(seed, 10**exponent)
    problem = reduced(x, y)
    exact = exactly(x, y)
    away = np.array([float(e) for e in exact]) * (1 + 10**nearness)
    theta = problem.coordinates.theta(away[:, None])
    certificate = certify(problem, theta)
    distance = true_distance(problem.coordinates.coef(theta)[:, 0], exact)
    assert (certificate.distance <= distance + 3 * certificate.rounding).all()


@given(seed=st.integers(0, 10**6), exponent=st.floats(0, 6))
def test_weights_are_certified_like_any_other_problem(seed, exponent):
    x, y = made(seed, 10**exponent)
    weights = np.random.default_rng(seed).uniform(0.01, 10, len(y))
    problem = reduced(x, y, weights=weights)
    if problem.dependent:
        return
    exact = exactly(x, y, weights=weights)
    theta = problem.minimiser * (1 + 1e-9)
    coef = problem.coordinates.coef(theta)[:, 0]
    assert (true_distance(coef, exact) <= certify(problem, theta).distance).all()


@given(seed=st.integers(0, 10**6), nearness=st.floats(-6, 1))
def test_the_gap_is_the_difference_of_the_objectives(seed, nearness):
    x, y = made(seed, 10.0)
    problem = reduced(x, y, l2=0.1)
    theta = problem.minimiser + 10**nearness
    difference = problem.at(theta).value - problem.at(problem.minimiser).value
    gap = certify(problem, theta).gap / float(problem.coordinates.target_scale[0]) ** 2
    assert gap == pytest.approx(difference, rel=1e-6, abs=1e-12)


def test_the_yardstick_is_the_standard_error():
    x, y = made(3, 10.0, n=20, p=3)
    problem = reduced(x, y)
    a = np.hstack([np.ones((20, 1)), x])
    b = np.array([float(e) for e in exactly(x, y)])
    s2 = ((y - a @ b) ** 2).sum() / 16
    se = np.sqrt(np.diag(s2 * np.linalg.inv(a.T @ a)))
    certificate = certify(problem, problem.minimiser)
    np.testing.assert_allclose(certificate.yardstick, se, rtol=1e-8)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance(problem))), se, rtol=1e-8)
    assert certificate.unit == "standard errors"
    assert certify(reduced(x, y, l2=0.1), problem.minimiser).unit == "scale"
    one_se_off = problem.coordinates.theta((b + se)[:, None])
    assert certify(problem, one_se_off).in_se == pytest.approx(1, rel=1e-6)


def test_without_noise_the_yardstick_is_relative():
    x, y = made(4, 10.0, n=20, p=3, noise=0.0, offset=1.0)
    certificate = certify(problem := reduced(x, y), problem.minimiser)
    assert certificate.unit == "relative"
    assert np.isnan(certificate.in_se)
    assert certificate.within < 1e-12
    assert certificate.digits > 10


def test_digits_count_what_agrees():
    x, y = made(5, 2.0, n=20, p=2)
    problem = reduced(x, y)
    coef = problem.coordinates.coef(problem.minimiser)
    off = certify(problem, problem.coordinates.theta(coef * (1 + 1e-6)))
    assert off.digits == pytest.approx(6, abs=0.01)
    assert certify(problem, problem.minimiser).digits > 12


@pytest.mark.parametrize("exponent", [1, 3, 5, 6])
def test_a_fit_by_descent_is_as_near_as_it_says(exponent):
    x, y = made(exponent, 10.0**exponent, n=60, p=3)
    found = gentle.fit((x, y), solver="sgd", tol=1e-6)
    if found.dropped:
        return
    distance = true_distance(found.values, exactly(x, y))
    assert (distance <= found.certificate.distance).all()
    assert found.verdict.agrees or found.verdict.cause == "precision"
