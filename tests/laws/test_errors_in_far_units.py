"""Standard errors to eight digits in any unit and under any weights, or nan and a sentence.

Held against the formulas in many digits, for the float64 numbers as they stand.
"""

import warnings

import mpmath
import numpy as np
import pytest

import gentle
from gentle.errors import CovarianceWarning

KINDS = ("classical", "HC0", "HC1", "HC2", "HC3", "cluster", "two ways", "HAC")
EIGHT = 1e-8
ENOUGH_DIGITS = 150
HANGS = 1e-6  # of a variance: what a row of leverage 1 may have of it


def matrix(values):
    return mpmath.matrix(np.asarray(values, dtype=float).tolist())


def power_of_two(values):
    return np.ldexp(1.0, np.frexp(np.abs(values).max(axis=0))[1])


def exactly(x, y, kind, groups, weights):
    """Standard errors (q,) of y on [1 x], by the formulas; None where one is 0/0."""
    units, unit = np.append(1.0, power_of_two(x)), power_of_two(y)
    found = in_units(x / units[1:], y / unit, kind, groups, weights)
    return [
        None if one is None else one * mpmath.mpf(float(unit)) / mpmath.mpf(float(scale))
        for one, scale in zip(found, units, strict=True)
    ]


def in_units(x, y, kind, groups, weights):
    n, q = len(y), x.shape[1] + 1
    a, t = matrix(np.column_stack([np.ones(n), x])), matrix(y[:, None])
    w = [mpmath.mpf(float(v)) for v in weights]
    weighted = matrix(np.zeros((n, q)))
    for i in range(n):
        weighted[i, :] = w[i] * a[i, :]
    inverse = (weighted.T * a) ** -1
    b = inverse * (weighted.T * t)
    e = t - a * b
    influence = [inverse * weighted[i, :].T * e[i] for i in range(n)]  # of each row on b
    leverage = [(weighted[i, :] * inverse * a[i, :].T)[0] for i in range(n)]
    # What mpmath's own rounding leaves of zeros is zero.
    e_zero = [abs(e[i]) <= mpmath.mpf(10) ** (20 - ENOUGH_DIGITS) * abs(t[i] + 0) for i in range(n)]
    influence = [
        mpmath.zeros(q, 1) if zero else one for zero, one in zip(e_zero, influence, strict=True)
    ]
    if kind == "classical":
        sigma2 = sum(w[i] * e[i] ** 2 for i in range(n)) / (n - q)
        return [mpmath.sqrt(sigma2 * inverse[j, j]) for j in range(q)]
    if kind in ("HC0", "HC1", "HC2", "HC3"):
        power = {"HC2": 1, "HC3": 2}.get(kind, 0)
        pinned = [abs(1 - h) < mpmath.mpf(10) ** (20 - ENOUGH_DIGITS) for h in leverage]
        found = []
        for j in range(q):
            reach = [inverse[j, :] * weighted[i, :].T for i in range(n)]
            shares = [r[0] ** 2 / (v * inverse[j, j]) for r, v in zip(reach, w, strict=True)]
            if power and any(p and s > HANGS for p, s in zip(pinned, shares, strict=True)):
                found.append(None)  # 0/0, and more than a trifle of the variance
                continue
            total = sum(
                influence[i][j] ** 2 / (1 if pinned[i] else (1 - leverage[i]) ** power)
                for i in range(n)
            )
            found.append(mpmath.sqrt(total * (mpmath.mpf(n) / (n - q) if kind == "HC1" else 1)))
        return found
    if kind == "HAC":
        lags, found = int(4 * (n / 100) ** (2 / 9)), []
        for j in range(q):
            s = [one[j] for one in influence]
            total = sum(v**2 for v in s)
            for lag in range(1, lags + 1):
                weight = 1 - mpmath.mpf(lag) / (lags + 1)
                total += 2 * weight * sum(s[i] * s[i - lag] for i in range(lag, n))
            found.append(mpmath.sqrt(total * n / (n - q)))
        return found

    def by(labels, j):
        sums = {}
        for i in range(n):
            sums[labels[i]] = sums.get(labels[i], mpmath.mpf(0)) + influence[i][j]
        return sum(value**2 for value in sums.values()), len(sums)

    found = []
    one, two = groups
    for j in range(q):
        total, count = by(one, j)
        if kind == "two ways":
            other, more = by(two, j)
            both, _ = by(list(zip(one, two, strict=True)), j)
            total, count = total + other - both, min(count, more)
        factor = mpmath.mpf(n - 1) / (n - q) * count / (count - 1)
        found.append(mpmath.sqrt(total * factor) if total >= 0 else None)
    return found


def asked(kind, groups, weights):
    options = {} if weights is None else {"weights": weights}
    if kind == "cluster":
        return {**options, "cluster": groups[0]}
    return {**options, "cluster": groups} if kind == "two ways" else {**options, "errors": kind}


def problem(seed):
    """(x, y, groups, weights or None): scales over 280 decades, weights over many, single dummies."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(9, 22)), int(rng.integers(1, 4))
    far = rng.random() < 0.7
    x = rng.normal(size=(n, p)) + rng.choice([0, 0, 1e3], p)
    if rng.random() < 0.3:
        x[:, 0] = np.arange(n) == int(rng.integers(0, n))  # a row of leverage 1
    if p > 1 and rng.random() < 0.3:
        x[:, 1] = x[:, 0] + 10.0 ** rng.uniform(-9, 0) * rng.normal(size=n)
    y = rng.normal(size=n) * (rng.choice([0, 1]) * np.abs(x[:, -1]) + 0.1) + x.sum(axis=1)
    if far:
        x = x * 10.0 ** rng.uniform(-135, 135, p)
        y = y * 10.0 ** rng.uniform(-135, 135)
    groups = (rng.integers(0, 4, n), rng.integers(0, 3, n))
    groups[0][:4], groups[1][:3] = range(4), range(3)
    weights = None if rng.random() < 0.5 else 10.0 ** rng.uniform(-1, 1, n) ** rng.choice([1, 9])
    if weights is not None and rng.random() < 0.5:
        weights = 10.0 ** rng.uniform(-8, 8, n)
    return x, y, groups, weights


def held(seed, kind):
    """Whether each error has eight digits, or is nan and there is a word of it: (right, nan)."""
    x, y, groups, weights = problem(seed)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit = gentle.fit((x, y), **asked(kind, groups, weights))
        found = np.array(list(fit.std_errors.values()))
    if len(fit.dropped) or fit.noise_free or fit.sandwich.clipped:
        return 0, 0
    if np.isnan(found).any():
        assert any(one.category is CovarianceWarning for one in said)
    with mpmath.workdps(ENOUGH_DIGITS):
        exact = exactly(x, y, kind, groups, np.ones(len(y)) if weights is None else weights)
        for name, one, other in zip(fit.names, found, exact, strict=True):
            if np.isnan(one):
                continue
            assert other is not None, (seed, kind, name, one)
            assert abs(mpmath.mpf(float(one)) - other) <= EIGHT * other, (
                seed,
                kind,
                name,
                one,
                other,
            )
    return int(np.isfinite(found).sum()), int(np.isnan(found).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_errors_have_eight_digits_or_are_nan(kind, proofs):
    counts = np.array([held(seed, kind) for seed in range(2000 if proofs else 25)])
    right, unknown = counts.sum(axis=0)
    assert unknown < 0.2 * right  # most are known


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "scales", [(1e-139, 1e138), (1e138, 1e-139), (1e-139, 1e-139), (1e138, 1e138)]
)
def test_inference_does_not_depend_on_the_unit(kind, scales):
    rng = np.random.default_rng(2)
    x, noise = rng.normal(size=(40, 2)), rng.normal(size=40)
    y = x @ [1.0, 2.0] + noise
    groups = (np.arange(40) % 7, np.arange(40) % 5)
    near, far = (
        gentle.fit((x * one, y * two), **asked(kind, groups, None)) for one, two in ((1, 1), scales)
    )
    for name in ("t_values", "p_values"):
        ours, theirs = (np.array(list(getattr(fit, name).values())) for fit in (far, near))
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    for test in ("x1 = x2", "x1 = 0, x2 = 0"):
        ours, theirs = (fit.test(test) for fit in (far, near))
        np.testing.assert_allclose(ours.t_values, theirs.t_values, rtol=1e-8)
        assert ours.wald.statistic == pytest.approx(theirs.wald.statistic, rel=1e-8)
    assert far.f_test.statistic == pytest.approx(near.f_test.statistic, rel=1e-8)
    assert far.r2 == pytest.approx(near.r2, rel=1e-12)
    bounds = far.predict(x * scales[0], interval=0.9)
    np.testing.assert_allclose(
        bounds.std_error, near.predict(x, interval=0.9).std_error * scales[1], rtol=1e-7
    )


def test_covariances_that_float64_cannot_hold_are_nan():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 2))
    y = x.sum(axis=1) + rng.normal(size=40)
    for scale in (1e-100, 1e100):
        fit = gentle.fit((x * scale, y / scale))
        assert np.isnan(fit.vcov[1:, 1:]).all()
        assert np.isfinite(list(fit.std_errors.values())).all()


@pytest.mark.parametrize("nearness", [1e-9, 1e-11, 1e-12, 1e-13])
def test_the_error_of_the_intercept_beside_nearly_equal_columns(nearness):
    rng = np.random.default_rng(9)
    for _ in range(10):
        a = rng.normal(size=30) + 50
        x = np.column_stack([a, a + nearness * rng.normal(size=30)])
        y = x[:, 0] + rng.normal(size=30)
        fit = gentle.fit((x, y))
        if fit.dropped:
            continue
        with mpmath.workdps(80):
            exact = exactly(x, y, "classical", None, np.ones(30))
            for one, other in zip(fit.std_errors.values(), exact, strict=True):
                assert abs(one - other) <= EIGHT * other


@pytest.mark.parametrize("kind", ["HC2", "HC3"])
def test_errors_that_hang_on_a_row_of_leverage_one_are_nan(kind):
    rng = np.random.default_rng(4)
    x = np.column_stack([np.arange(30) == 7, rng.normal(size=30)]).astype(float)
    y = x.sum(axis=1) + rng.normal(size=30)
    with pytest.warns(CovarianceWarning, match="'x1' are not known.*leverage 1"):
        fit = gentle.fit((x, y), errors=kind)
    assert np.isnan(fit.std_errors["x1"])
    assert np.isnan(fit.vcov[1]).all()
    assert np.isfinite(
        [fit.std_errors["Intercept"], fit.std_errors["x2"], fit.test("x2").wald.p_value]
    ).all()
    assert "leverage 1" in " ".join(fit.summary().split())
    rest = gentle.fit((np.delete(x[:, 1:], 7, 0), np.delete(y, 7)), errors=kind)
    assert fit.std_errors["x2"] == pytest.approx(rest.std_errors["x1"], rel=1e-9)


@pytest.mark.parametrize("offset", [1e6, 1e12, 1e15])
def test_r2_under_an_offset_from_a_large_target(offset):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(50, 1))
    small = x[:, 0] + rng.normal(size=50)
    y = offset + np.round(small * 2**10) / 2**10
    known = offset + rng.normal(size=50)
    fit = gentle.fit((x, y), offset=known)
    with mpmath.workdps(60):
        target = [
            mpmath.mpf(float(a)) - mpmath.mpf(float(b)) for a, b in zip(y, known, strict=True)
        ]
        mean = sum(target) / 50
        tss = sum((value - mean) ** 2 for value in target)
        a = matrix(np.column_stack([np.ones(50), x]))
        t = mpmath.matrix(target)
        rest = t - a * ((a.T * a) ** -1 * (a.T * t))
        r2 = 1 - sum(value**2 for value in rest) / tss
        assert abs(fit.r2 - r2) <= EIGHT * abs(r2)
