"""Laws of conversions: there and back is the same strength, and the same fit in both libraries.

A new convention is tested by being listed in `CONVENTIONS`, and by a fit of its library below. The fits
of glmnet and Spark are recorded in tests/agree/penalised, each file with the call that made it.
"""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVR

import gentle
from gentle.errors import GentleError
from gentle.penalties import conversions
from gentle.penalties.conversions import (
    CONVENTIONS,
    GLMNET,
    LINEAR_SVR,
    LOGISTIC,
    SKLEARN,
    SPARK,
    STATSMODELS,
)

RECORDED = Path(__file__).parent.parent / "agree" / "penalised"
RTOL = 1e-9
every = pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda c: c.name)
constants = pytest.mark.parametrize("intercept", [True, False])
weightings = pytest.mark.parametrize("weighted", [True, False])
sizes = st.floats(1e-12, 1e12)
seeds = st.integers(0, 10**6)


# There and back


@every
@given(strength=sizes, mass=sizes, spread=sizes)
def test_there_and_back_is_the_same(convention, strength, mass, spread):
    rows = {"mass": mass, "spread": spread}
    there = convention.l2(strength, **rows)
    assert convention.strength(there, **rows) == pytest.approx(strength, rel=1e-14)
    back = convention.strength(strength, **rows)
    assert convention.l2(back, **rows) == pytest.approx(strength, rel=1e-14)


@every
def test_no_ridge_is_no_ridge(convention):
    rows = {"mass": 7.0, "spread": 3.0}
    none = convention.strength(0.0, **rows)
    assert none == (np.inf if convention.inverse else 0)
    assert convention.l2(none, **rows) == 0


@every
@given(strength=sizes, more=st.floats(1.01, 100))
def test_a_stronger_ridge_is_stronger(convention, strength, more):
    rows = {"mass": 7.0, "spread": 3.0}
    one, two = convention.l2(strength, **rows), convention.l2(strength * more, **rows)
    assert (one > two) if convention.inverse else (one < two)


@every
@pytest.mark.parametrize("strength", [-1.0, -1e-300, np.nan])
def test_a_strength_that_is_none_is_refused(convention, strength):
    with pytest.raises(GentleError, match=rf"{convention.name} must be .* and is {strength:g}"):
        convention.l2(strength, mass=7, spread=3)
    with pytest.raises(GentleError, match="l2 must be"):
        convention.strength(strength, mass=7, spread=3)


@every
def test_the_end_of_the_scale_is_the_other_way_round_for_an_inverse(convention):
    with pytest.raises(GentleError, match="must be"):
        convention.l2(0.0 if convention.inverse else np.inf, mass=7, spread=3)


@pytest.mark.parametrize("convention", [c for c in CONVENTIONS if c.measure], ids=lambda c: c.name)
def test_a_measure_that_is_none_or_missing_is_refused(convention):
    for given_ in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(GentleError, match=f"^{convention.measure}, .* and is {given_:g}"):
            convention.l2(1.0, **{convention.measure: given_})
    for convert in (convention.l2, convention.strength):
        with pytest.raises(GentleError, match=f"depends on .* give it as {convention.measure}="):
            convert(1.0)


def test_a_strength_beyond_any_ridge_is_refused():
    with pytest.raises(GentleError, match="l2 must be"):
        SKLEARN.l2(1e200, mass=1e-100)
    with pytest.raises(GentleError, match="l2 must be"):
        LOGISTIC.l2(5e-324, mass=1e-100)


def test_the_examples_are_true():
    assert doctest.testmod(conversions).attempted
    assert not doctest.testmod(conversions).failed


# The same fit in both libraries


def made(seed, weighted, n=60, p=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * 10.0 ** rng.uniform(-1, 1, p) + rng.normal(size=p)
    y = 3 + x @ (rng.normal(size=p) / x.std(axis=0)) + rng.normal(size=n)
    return x, y, rng.uniform(0.1, 10, n) if weighted else np.ones(n)


def fitted(x, y, w, intercept, l2):
    """The constant, if any, and the slopes."""
    weights = None if (w == 1).all() else w
    return gentle.fit((x, y), weights=weights, intercept=intercept, l2=l2).values


def same(found, oracle, rtol=RTOL):
    np.testing.assert_allclose(found, oracle, rtol=rtol, atol=rtol * np.abs(oracle).max())


@constants
@weightings
@given(seed=seeds, strength=st.floats(1e-3, 1e3))
def test_scikit_learn(intercept, weighted, seed, strength):
    x, y, w = made(seed, weighted)
    oracle = Ridge(alpha=strength, fit_intercept=intercept, solver="svd").fit(x, y, w)
    theirs = np.append([oracle.intercept_] if intercept else [], oracle.coef_)
    same(fitted(x, y, w, intercept, SKLEARN.l2(strength, mass=w.sum())), theirs)


@weightings
@given(seed=seeds, strength=st.floats(1e-3, 10))
def test_scikit_learn_linear_svr(weighted, seed, strength):
    x, y, w = made(seed, weighted)
    x /= x.std(axis=0)
    oracle = LinearSVR(
        C=strength,
        loss="squared_epsilon_insensitive",
        fit_intercept=False,
        dual=False,
        tol=1e-13,
        max_iter=100_000,
    ).fit(x, y, w)
    found = fitted(x, y, w, False, LINEAR_SVR.l2(strength, mass=w.sum()))
    same(found, oracle.coef_, rtol=1e-6)  # where LIBLINEAR's iteration ends


@weightings
@given(seed=seeds, strength=st.floats(1e-3, 1e3))
def test_scikit_learn_logistic_regression_is_where_our_gradient_is_zero(weighted, seed, strength):
    x, y, w = made(seed, weighted)
    x /= x.std(axis=0)
    label = y > np.median(y)
    oracle = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    oracle.fit(x, label, w)
    slopes = oracle.coef_[0]
    residual = w / w.sum() * (oracle.predict_proba(x)[:, 1] - label)
    ridge = LOGISTIC.l2(strength, mass=w.sum()) * slopes
    same(x.T @ residual, -ridge, rtol=1e-7)
    assert residual.sum() == pytest.approx(0, abs=1e-9)


@constants
@weightings
@given(seed=seeds, strength=st.floats(1e-3, 1e3))
def test_statsmodels(intercept, weighted, seed, strength):
    sm = pytest.importorskip("statsmodels.api")
    x, y, w = made(seed, weighted)
    columns = sm.add_constant(x) if intercept else x
    penalised = np.append([0.0] if intercept else [], np.full(x.shape[1], strength))
    model = sm.WLS(y, columns, weights=w) if weighted else sm.OLS(y, columns)
    oracle = model.fit_regularized(alpha=penalised, L1_wt=0.0)
    same(fitted(x, y, w, intercept, STATSMODELS.l2(strength)), oracle.params)


def recorded(name):
    """Whatever the fits of a file need: (x, y, the weights of a fit, the fits)."""
    with open(RECORDED / f"{name}.json", encoding="utf-8") as file:
        data = json.load(file)
    x, y = np.array(data["x"], dtype=float), np.array(data["y"], dtype=float)
    return x, y, np.array(data.get("weights", np.ones(len(y)))), data["fits"]


def spread(column, w, mean=True, lost=0.0):
    """sqrt(sum_i w_i (z_i - m)^2 / (W - lost)), m the weighted mean, or 0."""
    middle = w @ column / w.sum() if mean else 0.0
    return np.sqrt(w @ (column - middle) ** 2 / (w.sum() - lost))


def standardised_fit(x, y, w, intercept, l2, scales):
    """The fit of x / scales, its slopes in the units of x: what the module tells one to do."""
    found = fitted(x / scales, y, w, intercept, l2)
    return found / np.append([1.0] if intercept else [], scales)


def called(theirs):
    return " ".join(f"{name}={value}" for name, value in theirs.items() if name != "coef")


GLMNET_FITS = recorded("glmnet")[-1]
SPARK_FITS = recorded("spark")[-1]


@pytest.mark.parametrize("theirs", GLMNET_FITS, ids=called)
def test_glmnet(theirs):
    x, y, w, _ = recorded("glmnet")
    w = w if theirs["weighted"] else np.ones(len(y))
    scaled = theirs["family"] == "gaussian"
    l2 = GLMNET.l2(theirs["lambda"], spread=spread(y, w, theirs["intercept"]) if scaled else 1)
    scales = [spread(z, w) if theirs["standardize"] else 1.0 for z in x.T]
    found = standardised_fit(x, y, w, theirs["intercept"], l2, scales)
    same(found, theirs["coef"][not theirs["intercept"] :])


def test_the_fits_of_glmnet_in_the_tests_of_statsmodels():
    x, y, _, fits = recorded("glmnet_statsmodels27")
    assert len(fits) == 27
    for theirs in fits:
        n, p = theirs["n"], theirs["p"]
        x_n, y_n = ((z - z.mean(0)) / z.std(0, ddof=1) for z in (x[:n, :p], y[:n]))
        l2 = GLMNET.l2(theirs["lambda"], spread=y_n.std())
        found = fitted(x_n, y_n, np.ones(n), False, l2)
        np.testing.assert_allclose(found, theirs["coef"], rtol=0, atol=5e-8)


@pytest.mark.parametrize("theirs", SPARK_FITS, ids=called)
def test_spark(theirs):
    x, y, w, _ = recorded("spark")
    w = w if theirs["weighted"] else np.ones(len(y))
    iterated = theirs["solver"] == "l-bfgs"
    lost = w @ w / w.sum() if iterated else 0.0
    l2 = SPARK.l2(theirs["regParam"], spread=spread(y, w, lost=lost))
    scales = [spread(z, w, lost=lost) if theirs["standardization"] else 1.0 for z in x.T]
    found = standardised_fit(x, y, w, theirs["intercept"], l2, scales)
    same(found, theirs["coef"][not theirs["intercept"] :], rtol=1e-7 if iterated else RTOL)


@constants
@weightings
@given(seed=seeds, strength=st.floats(1e-3, 1e3))
def test_the_objective_of_glmnet_and_spark(intercept, weighted, seed, strength):
    x, y, w = made(seed, weighted)
    s = spread(y, w)
    columns = np.column_stack([np.ones(len(y)), x]) if intercept else x
    ridge = np.diag(np.append([0.0] if intercept else [], np.full(x.shape[1], strength / s)))
    curvature = (columns.T * w) @ columns / w.sum() + ridge
    theirs = np.linalg.solve(curvature, (columns.T * w) @ y / w.sum())
    for convention in (GLMNET, SPARK):
        same(fitted(x, y, w, intercept, convention.l2(strength, spread=s)), theirs)


@constants
def test_the_spread_of_a_fit_is_that_of_glmnet(intercept):
    x, y, w = made(3, weighted=True)
    found = gentle.fit((x, y), weights=w, intercept=intercept)
    assert np.sqrt(found.tss / w.sum()) == pytest.approx(spread(y, w, intercept))
