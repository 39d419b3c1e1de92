"""Laws of the exact answer: what must not change it, what must change it in a known way, and rank."""

import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gentle
from gentle import GentleError, GentleWarning

seeds = st.integers(0, 10**6)


def made(seed, n=40, p=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * 10.0 ** rng.uniform(-2, 2, p) + rng.normal(size=p)
    y = x @ rng.normal(size=p) + rng.normal(size=n) + 2
    return rng, x, y


def alike(one, two, rtol=1e-8):
    """The same fit: coefficients, errors, fit and verdict on the rows."""
    size = np.nanmax(np.abs(one.values))
    np.testing.assert_allclose(two.values, one.values, rtol=rtol, atol=rtol * 1e-2 * size)
    np.testing.assert_allclose(
        list(two.std_errors.values()), list(one.std_errors.values()), rtol=rtol
    )
    assert two.rss == pytest.approx(one.rss, rel=rtol)
    assert two.r2 == pytest.approx(one.r2, rel=rtol, abs=rtol)
    assert two.df_resid == one.df_resid
    assert two.n_rows == one.n_rows


@given(seed=seeds)
def test_the_order_of_rows_does_not_matter(seed):
    rng, x, y = made(seed)
    order = rng.permutation(len(y))
    alike(gentle.fit((x, y)), gentle.fit((x[order], y[order])))


@given(seed=seeds)
def test_the_order_of_columns_goes_with_their_coefficients(seed):
    rng, x, y = made(seed)
    order = rng.permutation(x.shape[1])
    one, two = gentle.fit((x, y)), gentle.fit((x[:, order], y))
    np.testing.assert_allclose(two.slopes, one.slopes[order], rtol=1e-8)
    assert two.rss == pytest.approx(one.rss, rel=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
@given(seed=seeds)
def test_a_frequency_is_that_many_rows(intercept, seed):
    rng, x, y = made(seed)
    times = rng.integers(0, 4, len(y))
    again = np.repeat(np.arange(len(y)), times)
    one = gentle.fit((x, y), frequencies=times, intercept=intercept)
    alike(one, gentle.fit((x[again], y[again]), intercept=intercept))


@given(seed=seeds)
def test_a_row_of_weight_zero_is_absent(seed):
    rng, x, y = made(seed)
    weights = rng.uniform(0.1, 5, len(y)) * (rng.random(len(y)) < 0.7)
    on = weights > 0
    x[~on] *= 1e6  # whatever stands in it
    one = gentle.fit((x, y), weights=weights)
    alike(one, gentle.fit((x[on], y[on]), weights=weights[on]))
    assert one.tally.n_weightless == (~on).sum()
    assert one.tally.n_used == on.sum()


@given(seed=seeds, factor=st.floats(1e-6, 1e6))
def test_weights_are_known_up_to_a_factor(seed, factor):
    rng, x, y = made(seed)
    weights = rng.uniform(0.1, 5, len(y))
    one, two = (gentle.fit((x, y), weights=w) for w in (weights, factor * weights))
    np.testing.assert_allclose(two.values, one.values, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        list(two.std_errors.values()), list(one.std_errors.values()), rtol=1e-8
    )


@given(seed=seeds)
def test_weights_are_rows_times_their_root(seed):
    rng, x, y = made(seed)
    weights = rng.uniform(0.1, 5, len(y))
    root = np.sqrt(weights)
    whitened = np.column_stack([root, x * root[:, None]])
    one = gentle.fit((x, y), weights=weights)
    two = gentle.fit((whitened, y * root), intercept=False)
    np.testing.assert_allclose(two.values, one.values, rtol=1e-7, atol=1e-9)
    assert two.rss == pytest.approx(one.rss, rel=1e-8)


@given(
    seed=seeds, factors=st.lists(st.sampled_from([1e-8, -3.0, 2.54, 1e8]), min_size=3, max_size=3)
)
def test_other_units_map_back(seed, factors):
    rng, x, y = made(seed)
    c, d = np.array(factors), rng.normal(size=3)
    one, two = gentle.fit((x, y)), gentle.fit((x * c + d * np.abs(c), y))
    np.testing.assert_allclose(two.slopes * c, one.slopes, rtol=1e-7)
    constant = two.intercept + two.slopes @ (d * np.abs(c))
    assert constant == pytest.approx(one.intercept, rel=1e-7, abs=1e-7)
    np.testing.assert_allclose(
        list(two.std_errors.values())[1:] * np.abs(c), list(one.std_errors.values())[1:], rtol=1e-7
    )
    np.testing.assert_allclose(
        np.abs(list(two.t_values.values())[1:]), np.abs(list(one.t_values.values())[1:]), rtol=1e-6
    )


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
@given(seed=seeds, a=st.sampled_from([-2.0, 1e-5, 1e5]))
def test_another_target_maps_back(scale, seed, a):
    rng, x, y = made(seed)
    b = rng.normal(size=3)
    a = a * scale
    one, two = gentle.fit((x, y)), gentle.fit((x, a * y + np.abs(a) * (x @ b)))
    np.testing.assert_allclose(two.slopes / a, one.slopes + np.sign(a) * b, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        np.array(list(two.std_errors.values())) / np.abs(a),
        list(one.std_errors.values()),
        rtol=1e-6,
    )


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9])
def test_an_offset_costs_no_more_digits_than_it_must(offset):
    """y and x are rounded to offset * epsilon, and that is all that the slopes may feel."""
    _, x, y = made(3)
    exact = gentle.fit((np.round(x, 3), y))
    moved = np.round(x, 3) + offset
    again = gentle.fit((moved - offset, y))
    there = gentle.fit((moved, y))
    np.testing.assert_allclose(there.slopes, again.slopes, rtol=1e-9)
    np.testing.assert_allclose(again.slopes, exact.slopes, rtol=offset * 1e-12)


@given(seed=seeds, l2=st.floats(1e-6, 100))
def test_a_ridge_is_further_rows(seed, l2):
    _, x, y = made(seed)
    n, p = x.shape
    a, b = x - x.mean(axis=0), y - y.mean()
    more = np.vstack([a, np.sqrt(l2 * n) * np.eye(p)])
    expected = np.linalg.lstsq(more, np.concatenate([b, np.zeros(p)]), rcond=None)[0]
    found = gentle.fit((x, y), l2=l2)
    np.testing.assert_allclose(found.slopes, expected, rtol=1e-6, atol=1e-9)
    residual = b - a @ expected
    assert found.rss == pytest.approx(residual @ residual, rel=1e-6)
    assert np.isnan(list(found.std_errors.values())).all()


@pytest.mark.parametrize("intercept", [True, False])
@given(seed=seeds)
def test_residuals_are_orthogonal_to_the_columns(intercept, seed):
    _, x, y = made(seed)
    found = gentle.fit((x, y), intercept=intercept)
    residual = y - found.predict(x)
    columns = np.column_stack([np.ones(len(y)), x]) if intercept else x
    cosines = columns.T @ residual / np.linalg.norm(columns, axis=0) / np.linalg.norm(residual)
    np.testing.assert_allclose(cosines, 0, atol=1e-8)
    assert residual @ residual == pytest.approx(found.rss, rel=1e-8)


# --- rank -----------------------------------------------------------------------------------


def left_out(x, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GentleWarning)
        return gentle.fit((x, y), **options)


def columns_that_depend(rng):
    x = rng.normal(size=(50, 3))
    a, b, c = x.T
    one = np.ones(50)
    return {
        "a duplicate": (np.column_stack([a, b, a]), {"x3": "x1"}),
        "a multiple and a shift": (np.column_stack([a, b, 2 * a + 1]), {"x3": "2 * x1 + 1"}),
        "a sum": (np.column_stack([a, b, c, a + b]), {"x4": "x1 + x2"}),
        "a difference": (np.column_stack([a, b, a - 3 * b]), {"x3": "x1 - 3 * x2"}),
        "a constant": (np.column_stack([a, 7 * one, b]), {"x2": "constant"}),
        "a large constant": (np.column_stack([a, 1e9 * one, b]), {"x2": "constant"}),
        "a constant of no exact binary": (np.column_stack([a, 0.1 * one]), {"x2": "constant"}),
        "zero": (np.column_stack([a, 0 * one, b]), {"x2": "zero in every row"}),
        "two of them": (np.column_stack([a, a, one]), {"x2": "x1", "x3": "constant"}),
        "all dummies": (
            np.column_stack([(np.arange(50) % 3 == j).astype(float) for j in range(3)]),
            {"x3": "-1 * x1 - 1 * x2 + 1"},
        ),
        "in other units": (np.column_stack([a * 1e-9, b, a * 1e9]), {"x3": "1e+18 * x1"}),
        "far out": (np.column_stack([a + 1e6, b, 2 * (a + 1e6)]), {"x3": "2 * x1"}),
    }


CASES = list(columns_that_depend(np.random.default_rng(0)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("solver", ["exact", "sgd"])
def test_a_column_that_depends_on_those_before_it_is_left_out_and_named(case, solver):
    rng = np.random.default_rng(1)
    x, expected = columns_that_depend(rng)[case]
    y = x[:, 0] / x[:, 0].std() + rng.normal(size=50)
    with pytest.warns(GentleWarning, match="left out"):
        found = gentle.fit((x, y), solver=solver)
    assert set(found.dropped) == set(expected)
    for name, made_of in expected.items():
        if case not in ("far out",):  # rounding of the offset stands in its constant
            assert found.dropped[name].split(",")[0] == made_of
        assert np.isnan(found.coef[name])
        assert np.isnan(found.std_errors[name])
        assert name in found.summary()
    kept = [j for j in range(x.shape[1]) if f"x{j + 1}" not in expected]
    alone = gentle.fit((x[:, kept], y))
    np.testing.assert_allclose(
        found.exact_values[[0, *(j + 1 for j in kept)]], alone.values, rtol=1e-7
    )
    np.testing.assert_allclose(
        found.predict(x),
        alone.predict(x[:, kept]),
        rtol=1e-3 if solver == "sgd" else 1e-7,
        atol=1e-2,
    )


@pytest.mark.parametrize("case", CASES)
def test_rank_raise_refuses_and_names_the_column(case):
    rng = np.random.default_rng(1)
    x, expected = columns_that_depend(rng)[case]
    with pytest.raises(GentleError, match=next(iter(expected))):
        gentle.fit((x, rng.normal(size=50)), rank="raise")


@pytest.mark.parametrize("p", [4, 5, 12, 60])
def test_fewer_rows_than_columns_keep_the_first_that_can_be_told(p):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(4, p)), rng.normal(size=4)
    found = left_out(x, y)
    assert list(found.dropped) == [f"x{j + 1}" for j in range(3, p)]
    assert found.df_resid == 0
    np.testing.assert_allclose(found.predict(x), y, rtol=1e-8)
    assert np.isnan(found.sigma)


@pytest.mark.parametrize("nearness", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
def test_a_column_that_is_only_nearly_a_combination_is_kept(nearness):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 3))
    x[:, 2] = x[:, 0] + nearness * x[:, 2]
    y = x[:, 0] + rng.normal(size=50)
    assert not gentle.fit((x, y)).dropped


def test_a_constant_column_stays_where_there_is_no_constant():
    rng = np.random.default_rng(4)
    x = np.column_stack([np.full(30, 5.0), rng.normal(size=30)])
    y = 3 + x[:, 1] + rng.normal(size=30)
    found = gentle.fit((x, y), intercept=False)
    assert not found.dropped
    assert 5 * found.coef["x1"] == pytest.approx(gentle.fit((x[:, 1:], y)).intercept)


def test_the_rank_rule_is_the_same_in_any_units():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(50, 3))
    x = np.column_stack([x, x @ [1, -1, 2]])
    for c in (1e-12, 1e-3, 1e3, 1e12):
        assert set(left_out(x * [1, c, 1, 1 / c], rng.normal(size=50)).dropped) == {"x4"}


def test_a_model_of_the_constant_alone_is_the_mean():
    y = np.random.default_rng(6).normal(size=30) + 4
    found = gentle.fit(pl.DataFrame({"y": y}), "y ~ 1")
    assert found.names == ("Intercept",)
    assert found.intercept == pytest.approx(y.mean(), rel=1e-13)
    assert found.std_errors["Intercept"] == pytest.approx(y.std(ddof=1) / np.sqrt(30), rel=1e-12)
    assert found.r2 == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"solver": "lbfgs"}, "solver"),
        ({"rank": "ignore"}, "rank"),
        ({"tol": 0.0}, "tol"),
        ({"tol": float("nan")}, "tol"),
        ({"l2": -1.0}, "l2"),
        ({"missing": "mean"}, "missing"),
        ({"test": 1.0}, "test share"),
        ({"weights": [1.0, 2.0]}, "weights"),
        ({"weights": -np.ones(40)}, "weights"),
        ({"features": ["x9"]}, "x9"),
        ({"target": "z"}, "z"),
        ({"names": ["a"]}, "names"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options, match):
    _, x, y = made(7)
    with pytest.raises(GentleError, match=match):
        gentle.fit((x, y), **options)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_an_infinity_is_refused_with_its_row_and_column(bad):
    _, x, y = made(8)
    x[6, 1] = bad
    with pytest.raises(GentleError, match=r"'x2'.*row 7"):
        gentle.fit((x, y))


def test_missing_numbers_are_dropped_and_counted_or_refused():
    _, x, y = made(9)
    x[[3, 5], 0] = np.nan
    x[5, 2] = y[11] = np.nan
    found = gentle.fit((x, y))
    on = [j for j in range(40) if j not in (3, 5, 11)]
    alike(found, gentle.fit((x[on], y[on])))
    assert found.tally.n_read == 40
    assert found.tally.n_used == 37
    assert found.tally.missing["x1"] == 2
    with pytest.raises(GentleError, match=r"row 4"):
        gentle.fit((x, y), missing="raise")


def test_a_target_that_does_not_vary_is_refused():
    _, x, y = made(10)
    for value in (0.0, 3.0, 0.1, 1e9):
        with pytest.raises(GentleError, match="same value in every row"):
            gentle.fit((x, np.full_like(y, value)))


def test_nothing_the_caller_owns_is_written_to():
    _, x, y = made(11)
    weights = np.ones(40)
    for array in (x, y, weights):
        array.setflags(write=False)
    before = x.copy(), y.copy()
    for solver in ("exact", "sgd"):
        gentle.fit((x, y), weights=weights, solver=solver)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
