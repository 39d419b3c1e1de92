"""Laws of joined fits: f + g is the fit of both sets of rows, f - g that of the rows that stay.

Neither reads a row again: what a fit keeps of its rows are their moments, or with method="qr" a triangle.
"""

import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gentle
from gentle import CovarianceWarning, GentleError, RankWarning

seeds = st.integers(0, 10**6)
N = 80
ONE, TWO = slice(0, 35), slice(35, N)


def made(seed, p=3):
    """(rng, x, y) with columns of different sizes that are well apart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, p)) * 10.0 ** rng.uniform(-2, 2, p) + rng.normal(size=p)
    return rng, x, x @ rng.normal(size=p) + rng.normal(size=N) + 2


def alike(found, wanted, rtol=1e-12):
    """The same fit, though one was made from moments: every number that a fit of moments can have."""
    size = np.maximum(np.abs(wanted.exact_values), wanted.answer.sizes[:, 0])
    assert (np.abs(found.values - wanted.exact_values) <= rtol * size).all()
    missed = np.abs(found.values - wanted.exact_values)
    assert (missed <= found.certificate.distance + wanted.answer.floor[:, 0] + 1e-15 * size).all()
    for name in ("std_errors", "t_values", "vif"):
        np.testing.assert_allclose(
            list(getattr(found, name).values()), list(getattr(wanted, name).values()), rtol=1e-9
        )
    np.testing.assert_allclose(
        list(found.p_values.values()), list(wanted.p_values.values()), atol=1e-10
    )
    for name in ("rss", "tss", "sigma", "r2", "r2_adjusted", "log_likelihood", "aic", "bic"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-9), name
    assert found.n_rows == wanted.n_rows
    assert found.df_resid == wanted.df_resid
    assert found.names == wanted.names
    assert found.target == wanted.target
    assert found.tally.n_read == wanted.tally.n_read
    assert found.tally.n_used == wanted.tally.n_used
    assert dict(found.tally.missing) == dict(wanted.tally.missing)
    assert found.tally.log_weights == pytest.approx(wanted.tally.log_weights, rel=1e-9, abs=1e-12)
    assert found.f_test.statistic == pytest.approx(wanted.f_test.statistic, rel=1e-9)


def parts(x, y, **options):
    """The fits of the first rows, of the others, and of all."""
    by_row = ("weights", "frequencies", "offset")
    return [
        gentle.fit(
            (x[rows], y[rows]),
            **{name: value[rows] if name in by_row else value for name, value in options.items()},
        )
        for rows in (ONE, TWO, slice(None))
    ]


def kind_of(kind, rng):
    return {
        "plain": {},
        "weights": {"weights": rng.uniform(0.1, 5, N) * (rng.random(N) < 0.9)},
        "frequencies": {"frequencies": rng.integers(0, 4, N)},
        "both": {"weights": rng.uniform(0.1, 5, N), "frequencies": rng.integers(1, 4, N)},
        "no constant": {"intercept": False},
        "offset": {"offset": rng.normal(size=N)},
    }[kind]


kinds = pytest.mark.parametrize(
    "kind", ["plain", "weights", "frequencies", "both", "no constant", "offset"]
)


@kinds
@given(seed=seeds)
def test_the_sum_is_the_fit_of_all_rows(kind, seed):
    rng, x, y = made(seed)
    one, two, pooled = parts(x, y, **kind_of(kind, rng))
    alike(one + two, pooled)
    alike(two + one, pooled)


@kinds
@given(seed=seeds)
def test_the_difference_is_the_fit_of_the_rows_that_stay(kind, seed):
    rng, x, y = made(seed)
    one, two, pooled = parts(x, y, **kind_of(kind, rng))
    alike((one + two) - two, one, rtol=1e-11)
    alike(pooled - one, two, rtol=1e-11)


@kinds
@pytest.mark.parametrize("methods", [("qr", "qr"), ("qr", "auto"), ("auto", "qr")], ids=" + ".join)
@given(seed=seeds)
def test_triangles_and_moments_are_joined(kind, methods, seed):
    rng, x, y = made(seed)
    options = kind_of(kind, rng)
    one = parts(x, y, method=methods[0], **options)[0]
    _, two, pooled = parts(x, y, method=methods[1], **options)
    alike(one + two, pooled)


@pytest.mark.parametrize("nearness", [1e-3, 1e-6])
def test_triangles_keep_the_digits_that_cross_products_square(nearness):
    rng, x, y = made(13)
    x = x / x.std(axis=0)
    x[:, 2] = x[:, 0] + nearness * rng.normal(size=N)
    for method, rtol in (("qr", 1e-12), ("auto", 1e-15)):
        one, two, pooled = parts(x, y, method=method)
        joined = one + two
        assert (np.abs(joined.values - pooled.values) <= joined.certificate.distance).all()
        condition = pooled.condition if method == "qr" else pooled.condition**2
        np.testing.assert_allclose(joined.values, pooled.values, rtol=rtol * condition)


@given(seed=seeds, data=st.data())
def test_any_order_and_grouping_of_sums_is_the_fit_of_all_rows(seed, data):
    rng, x, y = made(seed)
    shards = np.array_split(rng.permutation(N), data.draw(st.integers(2, 6)))
    fits = [gentle.fit((x[rows], y[rows])) for rows in shards]
    while len(fits) > 1:
        one, two = (fits.pop(data.draw(st.integers(0, len(fits) - 1))) for _ in range(2))
        fits.append(one + two)
    alike(fits[0], gentle.fit((x, y)))


@pytest.mark.parametrize("far", [1.0, 1e2, 1e4, 1e5])
@given(seed=seeds)
def test_a_difference_says_how_many_digits_it_has_lost(far, seed):
    """The more the rows that go have outweighed those that stay, the fewer digits are certified."""
    _, x, y = made(seed)
    x, y = x - x.mean(axis=0), y - y.mean()
    one = gentle.fit((x[ONE], y[ONE]))
    other = gentle.fit((far * x[TWO], far * y[TWO]))
    try:
        left = (one + other) - other
    except GentleError as no:
        assert "more than half of the digits" in str(no)  # noqa: PT017
        assert far > 1e3
        return
    missed = np.abs(left.values - one.values)
    assert (missed <= left.certificate.distance).all()
    assert left.certificate.digits <= 16 - np.log10(far)


def test_missing_values_are_booked_and_taken_off_again():
    _, x, y = made(1)
    x[3, 0] = x[50, 0] = x[60, 2] = np.nan
    one, two, pooled = parts(x, y)
    alike(one + two, pooled)
    left = (one + two) - two
    assert left.tally.n_read == one.tally.n_read
    assert left.tally.n_used == one.tally.n_used
    assert {name: count for name, count in left.tally.missing.items() if count} == {"x1": 1}


@given(seed=seeds, l2=st.sampled_from([1e-3, 0.1, 10.0]))
def test_ridges_of_the_same_strength_are_joined(seed, l2):
    """l2 is that of the mean loss, so that of the sum is the same."""
    _, x, y = made(seed)
    one, two, pooled = parts(x, y, l2=l2)
    joined = one + two
    assert joined.l2 == l2
    np.testing.assert_allclose(joined.values, pooled.values, rtol=1e-10)
    np.testing.assert_allclose(((one + two) - two).values, one.values, rtol=1e-9)


def test_a_fit_by_descent_or_with_other_errors_is_joined_by_its_moments():
    """The sum is an exact answer with classical errors, and says so."""
    _, x, y = made(2)
    pooled = gentle.fit((x, y))
    for options in ({"solver": "sgd"}, {"errors": "HC3"}, {"errors": "HAC", "lags": 2}):
        one, two, _ = parts(x, y, **options)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            joined = one + two
        robust = "errors" in options
        assert [it.category for it in said] == [CovarianceWarning] * robust
        alike(joined, pooled)
        assert joined.solver == "exact"
        assert joined.descent is None
        assert joined.errors == pooled.errors
        assert "classical" in joined.summary()


def test_a_join_predicts_tests_and_prints_like_any_fit():
    _, x, y = made(3)
    one, two, pooled = parts(x, y)
    joined = one + two
    np.testing.assert_allclose(joined.predict(x), pooled.predict(x), rtol=1e-11)
    ours, theirs = (it.predict(x, interval=0.9) for it in (joined, pooled))
    np.testing.assert_allclose(ours.low, theirs.low, rtol=1e-9)
    assert joined.test("x1 = x2").wald.p_value == pytest.approx(
        pooled.test("x1 = x2").wald.p_value, rel=1e-8
    )
    assert joined.compare(pooled).agrees
    assert f"{N} of {N} rows used" in joined.summary()


def test_the_parts_are_left_as_they_were():
    _, x, y = made(4)
    one, two, _ = parts(x, y)
    before = one.summary(), two.summary(), one.values.copy()
    _ = (one + two) - two
    assert (one.summary(), two.summary()) == before[:2]
    np.testing.assert_array_equal(one.values, before[2])


def test_a_column_that_only_some_of_the_parts_can_tell_is_told_by_the_sum():
    rng, x, y = made(5)
    x[ONE, 1] = 3.0
    with pytest.warns(RankWarning, match="x2"):
        one = gentle.fit((x[ONE], y[ONE]))
    two = gentle.fit((x[TWO], y[TWO]))
    assert "x2" in one.dropped
    alike(one + two, gentle.fit((x, y)))
    alike(two + one, gentle.fit((x, y)))
    x[:, 2] = x[:, 0] + 1
    y = y + rng.normal(size=N)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)
        fits = parts(x, y)
    with pytest.warns(RankWarning, match="x3"):
        joined = fits[0] + fits[1]
    assert set(joined.dropped) == {"x3"}
    np.testing.assert_allclose(joined.slopes, fits[2].slopes, rtol=1e-10)


@pytest.mark.parametrize(
    "text", ["y ~ a + C(g)", "y ~ a * g", "y ~ log(a) + poly(b, 2, raw=True)", "y ~ 1"]
)
def test_formulas_are_joined(text):
    rng, x, y = made(6)
    frame = pl.DataFrame(
        {"a": np.exp(rng.normal(size=N)), "b": x[:, 1], "g": np.resize(["u", "v", "w"], N), "y": y}
    )
    one, two, pooled = (gentle.fit(frame[rows], text) for rows in (ONE, TWO, slice(None)))
    np.testing.assert_allclose((one + two).values, pooled.values, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(((one + two) - two).values, one.values, rtol=1e-9, atol=1e-11)


# --- what cannot be joined ----------------------------------------------------------------------


def refused(make, match):
    with pytest.raises(GentleError, match=match) as no:
        make()
    assert "\n" not in str(no.value)


@pytest.mark.parametrize(
    ("one", "two", "reason"),
    [
        ({}, {"l2": 0.1}, "ridge"),
        ({"l2": 0.2}, {"l2": 0.1}, "ridge"),
        ({}, {"intercept": False}, "constant"),
        ({}, {"names": ["a", "b", "c"]}, "columns"),
        ({}, {"features": ["x1", "x2"]}, "columns"),
        ({}, {"features": ["x2", "x1", "x3"]}, "columns"),
    ],
    ids=str,
)
def test_fits_of_other_columns_or_ridges_are_not_joined(one, two, reason):
    _, x, y = made(7)
    fits = [gentle.fit((x, y), **options) for options in (one, two)]
    refused(lambda: fits[0] + fits[1], f"differ in {reason}:")
    refused(lambda: fits[0] - fits[1], f"differ in {reason}:")


@pytest.mark.parametrize("role", ["weights", "offset"])
def test_fits_of_other_roles_are_not_joined(role):
    """Predictions of the sum would need an offset, or not; what it minimises would have weights, or not."""
    rng, x, y = made(7)
    one = gentle.fit((x, y))
    two = gentle.fit((x, y), **{role: rng.uniform(0.5, 2, N)})
    refused(lambda: one + two, role)
    refused(lambda: two + one, role)


def test_fits_of_other_targets_or_levels_are_not_joined():
    _, x, y = made(8)
    frame = pl.DataFrame({"a": x[:, 0], "g": np.resize(["u", "v"], N), "y": y, "z": -y})
    one = gentle.fit(frame, "y ~ a + g")
    refused(lambda: one + gentle.fit(frame, "z ~ a + g"), "differ in target:")
    other = frame.with_columns(g=pl.Series(np.resize(["u", "v", "w"], N)))
    refused(lambda: one + gentle.fit(other, "y ~ a + g"), "differ in levels, columns")


@pytest.mark.parametrize(
    "term", ["center(a)", "scale(a)", "poly(a, 2)", "bs(a, df=4)", "cr(a, df=3) - 1"]
)
def test_columns_that_learned_from_other_rows_are_other_columns(term):
    """center(a) is a less its mean over the rows of the fit: under one name two columns."""
    _, x, y = made(9)
    frame = pl.DataFrame({"a": x[:, 0], "y": y})
    one, two = (gentle.fit(frame[rows], f"y ~ {term}") for rows in (ONE, TWO))
    refused(lambda: one + two, "learned from the rows")
    refused(lambda: gentle.fit(frame, f"y ~ {term}") - two, "learned from the rows")


def test_rows_are_not_taken_from_a_triangle():
    _, x, y = made(10)
    fits = [gentle.fit((x[rows], y[rows]), method="qr") for rows in (slice(None), ONE)]
    moments = gentle.fit((x[ONE], y[ONE]))
    refused(lambda: fits[0] - fits[1], "method='qr'")
    refused(lambda: fits[0] - moments, "method='qr'")
    refused(lambda: gentle.fit((x, y)) - fits[1], "method='qr'")


def test_what_is_no_fit_is_not_joined():
    _, x, y = made(11)
    found = gentle.fit((x, y))
    for other in (1, None, x):
        with pytest.raises(TypeError):
            found + other
        with pytest.raises(TypeError):
            found - other


def test_rows_that_would_leave_nothing_or_too_little_are_not_taken_away():
    _, x, y = made(12)
    one, two, pooled = parts(x, y)
    refused(lambda: one - one, "none would be left")
    refused(lambda: one - pooled, "none would be left")
    nearly_all = gentle.fit((x[:-2], y[:-2]))
    refused(lambda: pooled - nearly_all, "more than half of the digits")
    refused(lambda: pooled - gentle.fit((30 * x[TWO], y[TWO])), "half of the digits")
    far = gentle.fit((1e9 * x[TWO], y[TWO]))
    refused(lambda: (one + far) - far, "more than half of the digits")
    assert two.n_rows == N - 35


@given(seed=seeds)
def test_fits_of_several_targets_are_joined_target_by_target(seed):
    rng, x, y = made(seed)
    targets = np.column_stack([y, rng.normal(size=N)])
    one, two, pooled = parts(x, targets)
    for name in pooled:
        alike(one[name] + two[name], pooled[name])
        alike((one[name] + two[name]) - two[name], one[name], rtol=1e-11)
    refused(lambda: one["y1"] + two["y2"], "target")
