"""scikit-learn: its own checks of an estimator, and its own least squares and ridge as oracles."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import linear_model
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from gentle import GentleError, LinearRegression


@parametrize_with_checks(
    [
        LinearRegression(),
        LinearRegression(l2=0.1),
        LinearRegression(fit_intercept=False),
        LinearRegression(solver="sgd", tol=1e-10),
        LinearRegression(solver="sgd", tol=1e-10, warm_start=True),
    ]
)
@pytest.mark.filterwarnings("ignore::gentle.GentleWarning")
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def made(seed, n=90, p=5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + rng.normal(size=p)
    return rng, x, x @ rng.normal(size=p) + rng.normal(size=n) + 1


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@given(seed=st.integers(0, 10**6))
def test_least_squares(fit_intercept, weighted, seed):
    rng, x, y = made(seed)
    w = rng.uniform(0.1, 5, len(y)) if weighted else None
    ours = LinearRegression(fit_intercept=fit_intercept).fit(x, y, sample_weight=w)
    theirs = linear_model.LinearRegression(fit_intercept=fit_intercept)
    theirs.fit(x, y, sample_weight=w)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9, atol=1e-11)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, rel=1e-9, abs=1e-11)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-9, atol=1e-10)
    assert ours.score(x, y) == pytest.approx(theirs.score(x, y), rel=1e-10)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("solver", ["exact", "sgd"])
@given(seed=st.integers(0, 10**6), l2=st.floats(1e-4, 10))
def test_ridge(fit_intercept, weighted, solver, seed, l2):
    """Its penalty is not divided by the weight of the rows: alpha = W l2."""
    rng, x, y = made(seed)
    w = rng.uniform(0.1, 5, len(y)) if weighted else np.ones(len(y))
    ours = LinearRegression(l2=l2, fit_intercept=fit_intercept, solver=solver, tol=1e-9)
    ours.fit(x, y, sample_weight=w if weighted else None)
    theirs = linear_model.Ridge(
        alpha=w.sum() * l2, fit_intercept=fit_intercept, solver="cholesky", tol=1e-14
    ).fit(x, y, sample_weight=w)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-8)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, rel=1e-6, abs=1e-8)


def test_it_works_in_a_pipeline_and_in_cross_validation():
    _, x, y = made(1)
    ours = make_pipeline(StandardScaler(), LinearRegression())
    theirs = make_pipeline(StandardScaler(), linear_model.LinearRegression())
    np.testing.assert_allclose(
        cross_val_score(ours, x, y, cv=5), cross_val_score(theirs, x, y, cv=5), rtol=1e-9
    )
    search = GridSearchCV(LinearRegression(), {"l2": [0.0, 0.1, 100.0]}, cv=3).fit(x, y)
    assert search.best_params_["l2"] in (0.0, 0.1)


def test_a_clone_has_the_options_and_not_the_fit():
    _, x, y = made(2)
    fitted = LinearRegression(l2=0.5, solver="sgd", tol=1e-5, random_state=3).fit(x, y)
    other = clone(fitted)
    assert other.get_params() == fitted.get_params()
    assert not hasattr(other, "coef_")


@pytest.mark.parametrize("solver", ["exact", "sgd"])
def test_a_fit_survives_a_pickle(solver):
    _, x, y = made(3)
    fitted = LinearRegression(solver=solver).fit(x, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(x), fitted.predict(x))
    assert again.result_.summary() == fitted.result_.summary()
    assert dict(again.result_.coef) == dict(fitted.result_.coef)


def test_the_fit_behind_it_speaks_the_names_of_a_frame():
    pd = pytest.importorskip("pandas")
    _, x, y = made(4)
    frame = pd.DataFrame(x, columns=list("abcde"))
    fitted = LinearRegression().fit(frame, y)
    assert fitted.result_.names == ("Intercept", *"abcde")
    assert list(fitted.feature_names_in_) == list("abcde")


def test_the_seed_is_the_random_state():
    _, x, y = made(5, n=2000)
    one, two, other = (
        LinearRegression(solver="sgd", tol=0.5, random_state=s).fit(x, y).coef_ for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


@pytest.mark.parametrize("shape", ["one target", "two targets"])
@pytest.mark.parametrize("weighted", [True, False])
@given(seed=st.integers(0, 10**6))
def test_rows_that_come_in_calls_are_fitted_as_if_they_came_at_once(shape, weighted, seed):
    rng, x, y = made(seed)
    y = y if shape == "one target" else np.stack([y, y**2], axis=1)
    w = rng.uniform(0.1, 5, len(y)) if weighted else None
    whole = LinearRegression().fit(x, y, w)
    cuts = [0, *sorted(rng.choice(np.arange(10, len(y)), 3, replace=False)), len(y)]
    parts = LinearRegression(solver=rng.choice(["auto", "sgd"]))
    for one, two in pairwise(cuts):
        parts.partial_fit(x[one:two], y[one:two], None if w is None else w[one:two])
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(parts.intercept_, whole.intercept_, rtol=1e-9, atol=1e-10)
    ours, theirs = (
        list(it.result_.values()) if y.ndim == 2 else [it.result_] for it in (parts, whole)
    )
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.vcov, two.vcov, rtol=1e-8, atol=1e-12)
        assert one.n_rows == two.n_rows
        assert one.log_likelihood == pytest.approx(two.log_likelihood, rel=1e-9)


@pytest.mark.filterwarnings("ignore::gentle.GentleWarning")  # the first rows leave columns untold
def test_rows_may_come_one_by_one():
    _, x, y = made(8, n=30)
    ours = LinearRegression()
    for row, value in zip(x, y, strict=True):
        ours.partial_fit(row[None], [value])
    np.testing.assert_allclose(ours.coef_, LinearRegression().fit(x, y).coef_, rtol=1e-8)


def test_more_rows_join_those_of_a_fit_and_rows_without_weights_have_weight_one():
    rng, x, y = made(9)
    w = np.concatenate([np.ones(40), rng.uniform(0.1, 5, 50)])
    ours = LinearRegression(l2=0.1).fit(x[:40], y[:40]).partial_fit(x[40:], y[40:], w[40:])
    other = LinearRegression(l2=0.1).fit(x[40:], y[40:], w[40:]).partial_fit(x[:40], y[:40])
    whole = LinearRegression(l2=0.1).fit(x, y, w)
    for one in (ours, other):
        np.testing.assert_allclose(one.coef_, whole.coef_, rtol=1e-10)


def test_more_rows_of_another_kind_are_refused():
    _, x, y = made(10)
    ours = LinearRegression().partial_fit(x, y)
    with pytest.raises(ValueError, match="features"):
        ours.partial_fit(x[:, :3], y)
    with pytest.raises(GentleError, match="2 targets"):
        ours.partial_fit(x, np.stack([y, y], axis=1))
    with pytest.raises(GentleError, match="no constant"):
        ours.set_params(fit_intercept=False).partial_fit(x, y)
    assert ours.result_.n_rows == len(y)


@pytest.mark.parametrize("solver", ["sgd", "gd", "cg"])
def test_a_warm_start_goes_on_from_the_fit_before(solver):
    _, x, y = made(11, n=3000)
    cold = LinearRegression(solver=solver).fit(x, y)
    warm = LinearRegression(solver=solver, warm_start=True).fit(x, y)
    assert warm.n_iter_ == cold.n_iter_
    assert warm.fit(x, y).n_iter_ < cold.n_iter_
    assert warm.result_.verdict.agrees
    with pytest.raises(GentleError, match="begins anew"):
        warm.fit(x[:, :3], y)


def test_the_limits_of_a_descent_are_those_of_the_estimator():
    _, x, y = made(12, n=3000)
    assert LinearRegression(solver="gd", max_passes=2).fit(x, y).n_iter_ == 2
    limited = LinearRegression(solver="gd", tol=1e-12, time_limit=1e-9).fit(x, y)
    assert "time_limit" in str(limited.result_.verdict)


def test_readings_of_the_rows_are_counted():
    _, x, y = made(6)
    assert LinearRegression().fit(x, y).n_iter_ == 0
    fitted = LinearRegression(solver="sgd").fit(x, y)
    assert fitted.n_iter_ == fitted.result_.trace[-1].passes


def test_a_weight_below_zero_and_a_missing_number_are_refused():
    _, x, y = made(7)
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        LinearRegression().fit(x, y, sample_weight=-np.ones(len(y)))
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        LinearRegression().fit(x, y)
    with pytest.raises(GentleError, match="solver"):
        LinearRegression(solver="newtons").fit(*made(7)[1:])
