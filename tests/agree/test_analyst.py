"""Two public tables end to end, as an analyst would, beside statsmodels and pyfixest."""

import numpy as np
import polars as pl
import pytest

import gentle

pf = pytest.importorskip("pyfixest")
sm = pytest.importorskip("statsmodels.formula.api")
FLIGHTS = "arr_delay ~ dep_delay + distance + carrier + C(month)"
DIAMONDS = "log(price) ~ log(carat) * cut + clarity + depth"


@pytest.fixture(scope="module")
def late(flights):
    return gentle.fit(flights, FLIGHTS)


def as_pandas(path):
    return pl.read_parquet(path).to_pandas()


def same(found, coef, errors):
    assert set(found.names) == set(coef.index)
    theirs = np.array([coef[name] for name in found.names])
    np.testing.assert_allclose(found.values, theirs, rtol=1e-8)
    apart = np.array([errors[name] for name in found.names])
    np.testing.assert_allclose([*found.std_errors.values()], apart, rtol=1e-8)


def test_flights_with_robust_errors(flights, late):
    found = gentle.fit(flights, FLIGHTS, errors="HC1")
    oracle = pf.feols(FLIGHTS, as_pandas(flights), vcov="HC1")
    assert found.tally.n_used == oracle._N == 327_346
    assert found.tally.missing == {"arr_delay": 9_430, "dep_delay": 8_255}
    same(found, oracle.coef(), oracle.se())
    np.testing.assert_allclose(found.values, late.values, rtol=1e-12)


def test_flights_clustered_by_carrier(flights):
    with pytest.warns(gentle.CovarianceWarning, match="16 groups say little about 29 coefficients"):
        found = gentle.fit(flights, FLIGHTS, cluster="carrier")
    oracle = pf.feols(FLIGHTS, as_pandas(flights), vcov={"CRV1": "carrier"})
    same(found, oracle.coef(), oracle.se())
    assert found.df == 15


def test_diamonds_with_logs_and_interactions(diamonds):
    found = gentle.fit(diamonds, DIAMONDS)
    oracle = sm.ols(
        DIAMONDS.replace("log", "np.log"), as_pandas(diamonds), eval_env={"np": np}
    ).fit(method="qr")
    renamed = {name: name.replace("np.log", "log") for name in oracle.params.index}
    same(found, oracle.params.rename(renamed), oracle.bse.rename(renamed))
    assert found.r2 == pytest.approx(oracle.rsquared, rel=1e-8)
    robust = gentle.fit(diamonds, DIAMONDS, errors="HC1")
    again = oracle.get_robustcov_results("HC1")
    errors = dict(zip(map(renamed.get, oracle.params.index), again.bse, strict=True))
    np.testing.assert_allclose(
        [*robust.std_errors.values()], [errors[name] for name in found.names], rtol=1e-8
    )
