"""statsmodels as an oracle: coefficients, errors, tests and intervals, also on the flights."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gentle

sm = pytest.importorskip("statsmodels.api")
RTOL = 1e-9


def made(seed, n=80, p=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * 10.0 ** rng.uniform(-3, 3, p) + rng.normal(size=p)
    y = 3 + x @ (rng.normal(size=p) / x.std(axis=0)) + rng.normal(size=n)
    return rng, x, y


def listed(mapping):
    return np.array(list(mapping.values()))


def same(found, oracle):
    np.testing.assert_allclose(found.values, oracle.params, rtol=RTOL, atol=1e-11)
    np.testing.assert_allclose(listed(found.std_errors), oracle.bse, rtol=RTOL)
    np.testing.assert_allclose(listed(found.t_values), oracle.tvalues, rtol=RTOL, atol=1e-10)
    np.testing.assert_allclose(listed(found.p_values), oracle.pvalues, rtol=1e-7, atol=1e-290)
    for level in (0.5, 0.95, 0.999):
        np.testing.assert_allclose(
            listed(found.conf_int(level)), oracle.conf_int(1 - level), rtol=1e-8, atol=1e-10
        )
    np.testing.assert_allclose(found.vcov, oracle.cov_params(), rtol=1e-8, atol=1e-14)
    assert found.r2 == pytest.approx(oracle.rsquared, rel=RTOL)
    assert found.df_resid == oracle.df_resid
    assert found.sigma**2 == pytest.approx(oracle.scale, rel=RTOL)


@given(seed=st.integers(0, 10**6))
def test_least_squares(seed):
    _, x, y = made(seed)
    same(gentle.fit((x, y)), sm.OLS(y, sm.add_constant(x)).fit(method="qr"))


@given(seed=st.integers(0, 10**6))
def test_without_a_constant(seed):
    _, x, y = made(seed)
    same(gentle.fit((x, y), intercept=False), sm.OLS(y, x).fit(method="qr"))


@given(seed=st.integers(0, 10**6))
def test_weights(seed):
    rng, x, y = made(seed)
    w = rng.uniform(0.1, 10, len(y))
    same(gentle.fit((x, y), weights=w), sm.WLS(y, sm.add_constant(x), weights=w).fit(method="qr"))


@given(seed=st.integers(0, 10**6))
def test_frequencies(seed):
    rng, x, y = made(seed)
    times = rng.integers(1, 5, len(y)).astype(float)
    oracle = sm.GLM(y, sm.add_constant(x), freq_weights=times).fit(tol=1e-14)
    found = gentle.fit((x, y), frequencies=times)
    np.testing.assert_allclose(found.values, oracle.params, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(listed(found.std_errors), oracle.bse, rtol=1e-8)


def test_predictions():
    _, x, y = made(1)
    oracle = sm.OLS(y, sm.add_constant(x)).fit()
    np.testing.assert_allclose(gentle.fit((x, y)).predict(x), oracle.fittedvalues, rtol=RTOL)


@pytest.fixture(scope="module")
def complete(flights):
    return pl.read_parquet(flights).drop_nulls(["arr_delay", "dep_delay", "distance"])


def test_flights(flights, complete):
    found = gentle.fit(flights, "arr_delay ~ dep_delay + distance")
    assert found.tally.n_used == 327_346
    assert found.tally.n_read == 336_776
    x = complete.select("dep_delay", "distance").cast(pl.Float64).to_numpy()
    y = complete["arr_delay"].cast(pl.Float64).to_numpy()
    same(found, sm.OLS(y, sm.add_constant(x)).fit(method="qr"))


def test_flights_by_carrier_and_month(flights, complete):
    formula = "arr_delay ~ dep_delay + carrier + C(month)"
    found = gentle.fit(flights, formula)
    pandas = complete.select("arr_delay", "dep_delay", "carrier", "month").to_dict(as_series=False)
    smf = pytest.importorskip("statsmodels.formula.api")
    oracle = smf.ols(formula, __import__("pandas").DataFrame(pandas)).fit(method="qr")
    theirs = {name.replace("C(month)[T.", "C(month)[T."): b for name, b in oracle.params.items()}
    assert set(theirs) == set(found.names)
    for name, b in theirs.items():
        assert found.coef[name] == pytest.approx(b, rel=1e-8, abs=1e-8)
        assert found.std_errors[name] == pytest.approx(oracle.bse[name], rel=1e-8)


def test_flights_by_descent(flights):
    found = gentle.fit(flights, "arr_delay ~ dep_delay + distance + carrier", solver="sgd")
    assert found.certificate.in_se <= 1e-3
    assert found.verdict.agrees
    assert np.abs(listed(found.difference)).max() <= 1e-3
