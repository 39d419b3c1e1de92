"""scikit-learn: its own checks of an estimator, and its own least squares and ridge as oracles."""

import pickle

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
        LinearRegression(solver="sdg").fit(*made(7)[1:])
