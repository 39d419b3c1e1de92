"""Predictions are x'coef, and a rank-deficient fit predicts the rows of its row space alone."""

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array

import gentle
from gentle.choices import DESCENTS
from gentle.errors import CovarianceWarning, GentleError, GentleWarning, RankWarning

pytestmark = pytest.mark.filterwarnings("ignore::gentle.errors.GentleWarning")

N = 40


def deficient(seed, *, far=0.0):
    """X (N, 5) of rank 3 beside the intercept: x4 = x1 + 2 x2 - 1, x5 = 3 x3."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 10, size=(N, 3)) + far
    x = np.column_stack([x, x[:, 0] + 2 * x[:, 1] - 1, 3 * x[:, 2]]).astype(float)
    return x, x[:, 0] - x[:, 2] + rng.normal(size=N)


def wide(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(5, 8)), rng.normal(size=5)


# --- predictions are x'coef -----------------------------------------------------------------------


@pytest.mark.parametrize("rank", ["drop", "minimum-norm"])
@pytest.mark.parametrize("solver", ["exact", *DESCENTS])
@pytest.mark.parametrize("make", [deficient, wide])
def test_predictions_are_those_of_the_reported_coefficients(make, solver, rank):
    x, y = make(1)
    limits = {} if solver == "exact" else {"max_passes": 30}
    fit = gentle.fit((x, y), rank=rank, solver=solver, **limits)
    new = np.random.default_rng(2).normal(size=(6, x.shape[1]))
    expected = new @ fit.slopes + fit.intercept
    predicted = fit.predict(new, unestimable="predict")
    np.testing.assert_allclose(predicted, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(fit.predict(x), x @ fit.slopes + fit.intercept, rtol=1e-10)


@pytest.mark.parametrize(
    "options", [{}, {"l2": 0.1}, {"intercept": False}, {"weights": np.arange(1, N + 1)}]
)
@pytest.mark.parametrize("rank", ["drop", "minimum-norm"])
def test_so_are_those_of_any_source_also_saved_and_of_held_out_rows(rank, options, tmp_path):
    x, y = deficient(3)
    new = np.vstack([x[:4], np.random.default_rng(4).normal(size=(6, 5))])
    fit = gentle.fit((x, y), rank=rank, **options)
    expected = new @ fit.slopes + fit.intercept
    fit.save(tmp_path / "m.gentle")
    frame = pl.DataFrame(new, schema=[f"x{j + 1}" for j in range(5)])
    frame.write_csv(tmp_path / "new.csv")
    for model in (fit, gentle.load(tmp_path / "m.gentle")):
        for data in (new, csr_array(new), frame, tmp_path / "new.csv"):
            predicted = model.predict(data, unestimable="predict")
            np.testing.assert_allclose(predicted, expected, rtol=1e-10, atol=1e-10)
    if "weights" in options:
        return
    rows = pl.DataFrame(np.column_stack([x, y]), schema=[*frame.columns, "y"])
    split = gentle.fit(rows, target="y", rank=rank, test=0.25, **options)
    held = x[30:]
    errors = y[30:] - held @ split.slopes - split.intercept
    assert split.held_out.mse == pytest.approx(np.mean(errors**2), rel=1e-10)


def test_the_minimum_norm_cancels_nothing_far_from_zero():
    x, y = deficient(5, far=1e9)
    fit = gentle.fit((x, y), rank="minimum-norm")
    drop = gentle.fit((x, y))
    np.testing.assert_allclose(fit.predict(x), drop.predict(x), atol=1e-5)


def test_several_targets_and_the_estimator_predict_so_too():
    x, y = wide(6)
    new = np.random.default_rng(7).normal(size=(4, 8))
    fits = gentle.fit((x, np.column_stack([y, 2 * y])), rank="minimum-norm")
    expected = np.column_stack([new @ one.slopes + one.intercept for one in fits.values()])
    np.testing.assert_allclose(fits.predict(new), expected, rtol=1e-12)
    estimator = gentle.LinearRegression().fit(x, y)
    with pytest.warns(RankWarning, match="4 of 4 rows violate"):
        predicted = estimator.predict(new)
    np.testing.assert_allclose(predicted, new @ estimator.coef_ + estimator.intercept_)


# --- rows of the row space ------------------------------------------------------------------------


def rank_of(rows):
    """The rank of a matrix of whole numbers, by exact elimination."""
    rows = [[Fraction(int(value)) for value in row] for row in rows]
    rank = 0
    for column in range(len(rows[0])):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            factor = rows[i][column] / rows[rank][column]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


def problem(rng):
    """Whole numbers (n, p) of a rank that is too small, y, and new rows in and out of the row space."""
    p, r = int(rng.integers(2, 7)), int(rng.integers(1, 4))
    n = int(rng.integers(3, 15))
    mixing = rng.integers(-2, 3, size=(r, p))
    x = rng.integers(-5, 6, size=(n, r)) @ mixing
    inside = rng.integers(-50, 50, size=(3, r)) @ mixing
    outside = rng.integers(-50, 50, size=(3, p))
    return x, rng.normal(size=n), np.vstack([x[:2], inside, outside])


@pytest.mark.parametrize("intercept", [True, False])
def test_rows_are_estimable_where_exact_arithmetic_says_so_in_any_order_of_columns(
    intercept, proofs
):
    rng = np.random.default_rng(8)
    n_rows = n_unestimable = 0
    for _ in range(2000 if proofs else 60):
        x, y, new = problem(rng)
        ones = np.ones((len(x), int(intercept)), dtype=int)
        rows = np.hstack([ones, x])
        if not x.any() or (intercept and (x == x[0]).all()):
            continue
        rank = rank_of(rows)
        row_space = [rank_of(np.vstack([rows, np.append(ones[0], row)])) == rank for row in new]
        least = np.linalg.pinv(rows.astype(float)) @ y
        expected = np.hstack([np.ones((len(new), int(intercept))), new]) @ least
        for order in (np.arange(x.shape[1]), rng.permutation(x.shape[1])):
            fit = gentle.fit((x[:, order].astype(float), y), intercept=intercept)
            predicted = fit.predict(new[:, order].astype(float), interval=None)
            np.testing.assert_array_equal(~np.isnan(predicted), row_space)
            scale = 1 + np.abs(expected[row_space]).max(initial=0)
            np.testing.assert_allclose(predicted[row_space], expected[row_space], atol=1e-8 * scale)
        n_rows += len(new)
        n_unestimable += len(new) - sum(row_space)
    assert 0.1 * n_rows < n_unestimable < 0.9 * n_rows


CHOICES = {
    "nan": (np.nan, np.nan),
    "predict": (1.0, np.nan),
}


@pytest.mark.parametrize("errors", ["classical", "HC1"])
def test_what_becomes_of_a_row_off_the_plane_is_counted_and_chosen(errors):
    x, y = deficient(9)
    fit = gentle.fit((x, y), errors=errors)
    new = x[:3].copy()
    new[1, 4] += 0.01
    for choice, kept in CHOICES.items():
        with pytest.warns(
            GentleWarning, match="of the 3 rows of the arrays, 1 has values that violate"
        ):
            found = fit.predict(new, interval=0.9, unestimable=choice)
        assert np.isnan(found.value[1]) == np.isnan(kept[0])
        for bounds in (found.std_error, found.low, found.high):
            np.testing.assert_array_equal(np.isnan(bounds), [False, True, False])
    with pytest.raises(GentleError, match=r"row 2 of the arrays .* x5 = 3 \* x3"):
        fit.predict(new, unestimable="raise")
    with pytest.raises(GentleError, match="unestimable must be"):
        fit.predict(new, unestimable="guess")


def test_rounding_of_a_row_is_no_departure():
    """Rows that satisfy a relation to the rounding of their own numbers, far from zero, are estimable."""
    rng = np.random.default_rng(10)
    start = 1.7e9 + np.sort(rng.uniform(0, 1e7, size=60))
    end = start + rng.uniform(10, 300, size=60)
    x = np.column_stack([start, end, end - start])
    y = x[:, 2] + rng.normal(size=60)
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        fit = gentle.fit((x[:, order], y))
        assert not np.isnan(fit.predict(x[:, order])).any()
        off = x[:3, order].copy()
        off[:, order.index(2)] += 1.0  # a second, where the duration varies by a minute or two
        assert np.isnan(fit.predict(off)).all()


def test_held_out_rows_that_cannot_be_predicted_are_counted_and_not_scored():
    x, y = deficient(11)
    x[-4:, 4] += 1
    rows = pl.DataFrame(np.column_stack([x, y]), schema=[*(f"x{j + 1}" for j in range(5)), "y"])
    fit = gentle.fit(rows, target="y", test=0.25)
    assert (fit.held_out.n_rows, fit.held_out.n_unestimable) == (6, 4)
    errors = y[30:36] - x[30:36] @ fit.slopes - fit.intercept
    assert fit.held_out.mse == pytest.approx(np.mean(errors**2))
    assert "not scored: 4 held-out rows" in fit.summary()
    assert (
        gentle.fit(rows, target="y", test=0.25, engine="threads", parts=3).held_out.n_unestimable
        == 4
    )


def test_the_command_says_so(gentle, tmp_path):
    x, y = deficient(12)
    schema = [f"x{j + 1}" for j in range(5)]
    pl.DataFrame(np.column_stack([x, y]), schema=[*schema, "y"]).write_csv(tmp_path / "d.csv")
    off = x[:3].copy()
    off[2, 3] += 1
    pl.DataFrame(off, schema=schema).write_csv(tmp_path / "new.csv")
    assert gentle("fit", "d.csv", "--target", "y", "--save", "m.gentle").returncode == 0
    run = gentle("predict", "m.gentle", "new.csv", "-o", "out.csv", "--interval", "0.9")
    assert run.returncode == 0
    assert "1 has values that violate" in " ".join(run.stdout.split())
    assert pl.read_csv(tmp_path / "out.csv")["prediction"].is_null().to_list() == [
        False,
        False,
        True,
    ]
    run = gentle("predict", "m.gentle", "new.csv", "--unestimable", "raise")
    assert (run.returncode, "row 3" in run.stderr) == (2, True)
    run = gentle("predict", "m.gentle", "new.csv", "-o", "out.csv", "--unestimable", "predict")
    assert pl.read_csv(tmp_path / "out.csv")["prediction"].null_count() == 0


# --- weights of new rows --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noisy():
    """y = x with noise of standard deviation 0.1 + x, and weights of one over its square."""
    rng = np.random.default_rng(13)
    x = rng.uniform(0, 10, size=500)
    y = x + (0.1 + x) * rng.normal(size=500)
    return pl.DataFrame({"x": x, "y": y, "w": (0.1 + x) ** -2.0})


def at_nine(n=4000):
    rng = np.random.default_rng(14)
    return pl.DataFrame({"x": np.full(n, 9.0)}), 9 + 9.1 * rng.normal(size=n)


def coverage(bounds, y):
    return ((bounds["low"].to_numpy() < y) & (y < bounds["high"].to_numpy())).mean()


@pytest.mark.parametrize("errors", ["classical", "HC1", "HC3"])
@pytest.mark.parametrize("way", ["column", "name", "array", "number"])
def test_bounds_of_new_rows_use_their_own_weights(noisy, way, errors, tmp_path):
    fit = gentle.fit(noisy, "y ~ x", weights="w", errors=errors)
    new, y = at_nine()
    weight = 9.1**-2
    columns = {"column": {"w": weight}, "name": {"precision": weight}}.get(way, {})
    new = new.with_columns(**{name: pl.lit(value) for name, value in columns.items()})
    given = {"name": "precision", "array": np.full(len(y), weight), "number": weight}.get(way)
    bounds = fit.predict(new, interval=0.95, kind="new", weights=given, append=True)
    assert 0.92 < coverage(bounds, y) < 0.98
    assert bounds.columns == [*new.columns, "prediction", "std_error", "low", "high"]
    fit.save(tmp_path / "m.gentle")
    again = gentle.load(tmp_path / "m.gentle").predict(
        new, interval=0.95, kind="new", weights=given
    )
    np.testing.assert_array_equal(again["low"], bounds["low"])


def test_without_a_weight_a_weighted_fit_has_no_bounds_for_new_rows_and_says_so(noisy):
    fit = gentle.fit(noisy, "y ~ x", weights="w")
    new, _ = at_nine(3)
    with pytest.warns(GentleWarning, match="3 have no bounds: the fit is weighted"):
        found = fit.predict(new, interval=0.95, kind="new")
    assert found["prediction"].null_count() == 0
    assert found["low"].null_count() == found["std_error"].null_count() == 3
    some = new.with_columns(w=pl.Series([0.01, None, 0.0]))
    with pytest.warns(GentleWarning, match="1 has no bounds"):
        found = fit.predict(some, interval=0.95, kind="new")
    assert found["low"].is_null().to_list() == [False, True, False]
    assert found["high"][2] == np.inf
    assert (
        fit.predict(new, interval=0.95)["low"].null_count() == 0
    )  # of the mean: no noise of a row


def test_heteroskedastic_errors_say_that_bounds_of_new_rows_are_an_average(noisy):
    new, _ = at_nine(3)
    fit = gentle.fit(noisy, "y ~ x", errors="HC1")
    with pytest.warns(CovarianceWarning, match="on average"):
        found = fit.predict(new, interval=0.95, kind="new")
    assert found["low"].null_count() == 0


@pytest.mark.parametrize(
    ("weights", "kind", "words"),
    [
        ("v", "new", "no column 'v'"),
        (0, "new", "above 0"),
        (-1.0, "new", "above 0"),
        (float("nan"), "new", "above 0"),
        ([1.0, -2.0, 1.0], "new", "row 2"),
        ([1.0, np.inf, 1.0], "new", "row 2"),
        ([1.0, 2.0], "new", "one value for each"),
        (1.0, "mean", "kind='new'"),
    ],
)
def test_weights_that_are_none_are_refused(noisy, weights, kind, words):
    fit = gentle.fit(noisy, "y ~ x", weights="w")
    new, _ = at_nine(3)
    with pytest.raises(GentleError, match=words):
        fit.predict(new, interval=0.95, kind=kind, weights=weights)


def test_the_command_takes_weights_of_new_rows(gentle, noisy, tmp_path):
    noisy.write_csv(tmp_path / "d.csv")
    noisy.head(5).write_csv(tmp_path / "new.csv")
    assert gentle("fit", "d.csv", "y ~ x", "--weights", "w", "--save", "m.gentle").returncode == 0
    common = ("predict", "m.gentle", "new.csv", "--interval", "0.95", "--kind", "new")
    assert gentle(*common, "-o", "a.csv").returncode == 0
    assert gentle(*common, "-o", "b.csv", "--weights", "w").returncode == 0
    assert gentle(*common, "-o", "c.csv", "--weights", "4").returncode == 0
    a, b, c = (pl.read_csv(tmp_path / f"{name}.csv") for name in "abc")
    assert a.equals(b)
    assert a["low"].null_count() == c["low"].null_count() == 0
