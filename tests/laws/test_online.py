"""Laws of one pass: pieces and units change nothing, and intervals hold as often as they say."""

import doctest
import pickle
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gentle
from gentle import CovarianceWarning, GentleError, OnePass, Online, inference
from gentle import online as room

SAME = 1e-10  # in units of a scale: rounding is of whole blocks of rows
ONCE = {"passes": 1, "errors": "random-scaling"}
CUT = st.lists(st.integers(1, 700), min_size=1, max_size=8)


def rows(seed=0, n=9_000, p=3):
    """(X, y, coef) of neighbours that are correlated, in units and with offsets of their own."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, p))
    z[:, 1:] += 0.6 * z[:, :-1]
    unit = 10.0 ** np.arange(p)
    X = z * unit + 30 * unit
    coef = np.concatenate([[2.0], rng.standard_normal(p) / unit])
    return X, coef[0] + X @ coef[1:] + rng.standard_normal(n), coef


def found(X, y, **given):
    return Online(**given).partial_fit(X, y).result()


def alike(one, two, tolerance=SAME):
    """Whether coefficients and intervals of two results are the same to rounding."""
    assert (one.steps, one.n_rows) == (two.steps, two.n_rows)
    assert np.abs((one.values - two.values) / one.scales).max() < tolerance
    assert np.abs(two.scales / one.scales - 1).max() < tolerance


def test_the_example_holds():
    assert doctest.testmod(room).attempted
    assert not doctest.testmod(room).failed


@given(CUT)
def test_pieces_in_which_rows_come_change_nothing(cut):
    X, y, _ = rows(n=8_500)
    online, at = Online(), 0
    for size in cut:
        online.partial_fit(X[at : at + size], y[at : at + size])
        at += size
    alike(found(X, y), online.partial_fit(X[at:], y[at:]).result())


def test_rows_one_by_one_are_the_rows():
    X, y, _ = rows(n=600)
    online = Online()
    for x, target in zip(X, y, strict=True):
        online.partial_fit(x[None], [target])
    with pytest.warns(CovarianceWarning, match="need 400 steps, and the rows were enough for 20"):
        alike(Online().partial_fit(X, y).result(), online.result())


def test_units_and_offsets_pass_through():
    X, y, _ = rows()
    one = found(X, y)
    factor, shift = np.array([1e-4, -7.0, 3e5]), np.array([5.0, -1e4, 1e7])
    two = found(X * factor + shift, 100 * y - 3)
    slopes = 100 * one.values[1:] / factor
    np.testing.assert_allclose(two.values[1:], slopes, rtol=1e-8)
    np.testing.assert_allclose(two.scales[1:], 100 * one.scales[1:] / np.abs(factor), rtol=1e-7)
    constant = 100 * one.values[0] - 3 - slopes @ shift
    np.testing.assert_allclose(two.values[0], constant, rtol=1e-8)


def test_mixed_columns_pass_through():
    X, y, _ = rows()
    mixed = np.array([[1.0, 2, 0], [0, 1, -1], [3, 0, 1]])
    one, two = found(X, y), found(X @ mixed, y)
    np.testing.assert_allclose(mixed @ two.values[1:], one.values[1:], rtol=1e-8)
    np.testing.assert_allclose(two.scales[0], one.scales[0], rtol=1e-7)


def test_intervals_hold_as_often_as_they_say(proofs):
    streams = 2_000 if proofs else 200
    held = []
    for seed in range(streams):
        X, y, coef = rows(seed, n=12_000)
        one = found(X, y)
        low, high = np.array(list(one.conf_int().values())).T
        held.append((low <= coef) & (coef <= high))
    held = np.array(held)
    assert np.abs(held.mean() - 0.95) < 0.01 + 3 * held.mean(axis=1).std() / streams**0.5
    assert np.abs(held.mean(axis=0) - 0.95).max() < 0.01 + 3.5 * (0.95 * 0.05 / streams) ** 0.5


def test_the_average_is_near_the_exact_answer():
    X, y, _ = rows(n=40_000)
    one, exact = found(X, y), gentle.fit((X, y))
    errors = np.array(list(exact.std_errors.values()))
    assert np.abs((one.values - np.array(list(exact.coef.values()))) / errors).max() < 1


def test_the_law_of_random_scaling_is_that_of_brownian_motion():
    rng = np.random.default_rng(1)
    steps, walks = 500, 20_000
    t = []
    for _ in range(20):
        walk = rng.standard_normal((walks // 20, steps)).cumsum(axis=1) / steps**0.5
        bridge = walk - np.arange(1, steps + 1) / steps * walk[:, -1:]
        t.append(walk[:, -1] / np.sqrt((bridge**2).mean(axis=1)))
    t = np.abs(np.concatenate(t))
    for level in (0.5, 0.8, 0.9, 0.95, 0.99):
        share = (t <= inference.scaled_quantile(level)).mean()
        assert abs(share - level) < 4 * (level * (1 - level) / walks) ** 0.5


@pytest.mark.parametrize(  # Abadir and Paruolo (1997), table 1
    ("level", "value"), [(0.8, 3.875), (0.9, 5.323), (0.95, 6.747), (0.98, 8.613)]
)
def test_critical_values_are_the_published_ones(level, value):
    assert round(inference.scaled_quantile(level), 3) == value


def test_p_values_and_quantiles_are_inverse():
    levels = np.array([0.001, 0.3, 0.9, 0.9999])
    values = np.array([inference.scaled_quantile(level) for level in levels])
    np.testing.assert_allclose(inference.scaled_p_values(-values), 1 - levels, rtol=1e-9)
    ends = inference.scaled_p_values(np.array([0, np.inf, np.nan]))
    np.testing.assert_array_equal(ends, [1, 0, np.nan])


def test_few_steps_warn_and_many_do_not():
    X, y, _ = rows()
    online = Online().partial_fit(X[:8_000], y[:8_000])
    assert not online.trustworthy
    for ask in (online.result, online.conf_int):
        with pytest.warns(CovarianceWarning, match="need 400 steps"):
            ask()
    assert "fewer than 400 steps" in online.summary()
    online.partial_fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        online.conf_int()
    assert online.trustworthy
    assert "fewer" not in online.summary()


def test_wide_designs_need_more_steps():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12_000, 100))
    with pytest.warns(
        CovarianceWarning, match="need 1,616 steps, and the rows were enough for 439"
    ):
        one = found(X, rng.standard_normal(12_000))
    assert not one.trustworthy


def test_intervals_shrink_as_the_root_of_the_rows():
    X, y, _ = rows(n=160_000)
    short, long = found(X[:10_000], y[:10_000]), found(X, y)
    assert 1 < np.median(short.scales / long.scales) < 16


def test_memory_does_not_grow_with_the_rows():
    rng = np.random.default_rng(0)
    online = Online()
    size = []
    tracemalloc.start()
    for _ in range(60):
        X = rng.standard_normal((2_000, 4))
        online.partial_fit(X, X @ [1, 2, 3, 4] + rng.standard_normal(2_000))
        size.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert size[-1] < size[5] + 50_000
    assert len(pickle.dumps(online)) < 20_000


def test_a_row_is_not_kept_by_reference():
    X, y, _ = rows()
    online, buffer, target = Online(), np.empty((10, 3)), np.empty(10)
    for at in range(0, len(X), 10):
        buffer[:], target[:] = X[at : at + 10], y[at : at + 10]
        online.partial_fit(buffer, target)
    alike(found(X, y), online.result())


def test_only_ratios_of_weights_count():
    X, y, _ = rows()
    weights = np.random.default_rng(1).uniform(0.2, 3, len(y))
    one = Online().partial_fit(X, y, weights).result()
    alike(one, Online().partial_fit(X, y, 1e6 * weights).result())
    exact = gentle.fit((X, y), weights=weights)
    errors = np.array(list(exact.std_errors.values()))
    assert np.abs((one.values - np.array(list(exact.coef.values()))) / errors).max() < 1
    alike(found(X, y), Online().partial_fit(X, y, np.full(len(y), 7.0)).result())


def test_a_row_of_weight_zero_is_absent():
    X, y, _ = rows(n=9_500)
    weights = np.ones(len(y))
    weights[::19] = 0
    kept = weights > 0
    alike(found(X[kept], y[kept]), Online().partial_fit(X, y, weights).result())


def test_missing_rows_are_absent_and_counted():
    X, y, _ = rows(n=9_500)
    X[::25, 1] = np.nan
    kept = ~np.isnan(X[:, 1])
    online = Online().partial_fit(X, y)
    alike(found(X[kept], y[kept]), online.result())
    assert "9,120 of 9,500 rows used, 380 dropped: no x2 in 380" in online.summary()
    with pytest.raises(GentleError, match="missing value in row 1,"):
        Online(missing="raise").partial_fit(X, y)


def test_a_refusal_names_the_row_of_the_stream_and_changes_nothing():
    X, y, _ = rows()
    online = Online().partial_fit(X, y)
    before = online.result()
    bad = X[:50].copy()
    bad[7, 2] = np.inf
    with pytest.raises(GentleError, match="'x3' of the arrays is infinite in row 9,008"):
        online.partial_fit(bad, y[:50])
    with pytest.raises(GentleError, match="beyond float64"):
        online.partial_fit(X[:50] * 1e300, y[:50])
    alike(before, online.result())


def test_an_outlier_far_out_does_not_throw_the_path():
    X, y, coef = rows(n=20_000)
    X[5_000] *= 1e6
    y[5_000] = coef[0] + X[5_000] @ coef[1:]
    one, exact = found(X, y), found(*rows(n=20_000)[:2])
    assert np.abs((one.values - exact.values) / exact.scales).max() < 10


def test_names_are_those_of_the_columns_whatever_table_comes():
    X, y, _ = rows()
    named = Online(names=["a", "b", "c"]).partial_fit(X, y)
    assert list(named.coef) == ["Intercept", "a", "b", "c"]
    frame = pl.DataFrame(X, schema=["a", "b", "c"])
    mixed = Online().partial_fit(frame[:3_000], pl.Series("price", y[:3_000]))
    mixed.partial_fit(
        frame.select("c", "a", "b").to_pandas()[3_000:6_000], pd.Series(y)[3_000:6_000]
    )
    mixed.partial_fit(torch.from_numpy(X[6_000:]), torch.from_numpy(y[6_000:]))
    alike(named.result(), mixed.result())
    assert mixed.result().target == "price"
    np.testing.assert_allclose(mixed.predict(frame), named.predict(X))


def test_without_a_constant():
    X, y, _ = rows()
    one = found(X - X.mean(axis=0), y - y.mean(), intercept=False)
    assert one.names == ("x1", "x2", "x3")
    exact = gentle.fit((X - X.mean(axis=0), y - y.mean()), intercept=False)
    errors = np.array(list(exact.std_errors.values()))
    assert np.abs((one.values - np.array(list(exact.coef.values()))) / errors).max() < 1


def test_predictions_are_level_and_slopes():
    X, y, _ = rows()
    one = found(X, y)
    X[3, 0] = np.nan
    predicted = one.predict(X)
    assert np.isnan(predicted[3])
    by_hand = one.values[0] + X @ one.values[1:]
    np.testing.assert_allclose(np.delete(predicted, 3), np.delete(by_hand, 3), rtol=1e-9)


def test_a_result_is_a_value():
    X, y, _ = rows()
    online = Online().partial_fit(X, y)
    one = online.result()
    before = dict(one.coef)
    online.partial_fit(X, y + 5)
    assert dict(one.coef) == before != dict(online.coef)
    with pytest.raises(ValueError, match="read-only"):
        one.values[0] = 0
    again = pickle.loads(pickle.dumps(one))
    alike(one, again)
    assert not again.values.flags.writeable
    assert "OnePass of y: 4 coefficients, 9,000 rows" in repr(one)


def test_the_summary_is_80_wide_and_the_table_has_it_all():
    X, y, _ = rows()
    one = found(X, y, names=["a", "b" * 90, "c"])
    text = one.summary(0.9)
    assert max(map(len, text.splitlines())) <= 80
    assert "[0.05" in text
    assert "random order" in text
    table = one.to_polars()
    assert table.columns == ["name", "coefficient", "p", "low", "high"]
    assert tuple(table["name"]) == one.names
    low, high = one.conf_int()["c"]
    assert table["low"][-1] == low < one.coef["c"] < high == table["high"][-1]


# gentle.fit with passes=1


def test_fit_in_one_pass_is_online(tmp_path):
    X, y, _ = rows()
    one = found(X, y)
    frame = pl.DataFrame(X, schema=["x1", "x2", "x3"]).with_columns(pl.Series("y", y))
    frame.write_parquet(tmp_path / "rows.parquet")
    alike(one, gentle.fit((X, y), **ONCE))
    alike(one, gentle.fit(frame, target="y", **ONCE))
    alike(one, gentle.fit(frame, "y ~ x1 + x2 + x3", solver="sgd", **ONCE))
    alike(one, gentle.fit(tmp_path / "rows.parquet", target="y", **ONCE))
    alike(one, gentle.fit(((X[a : a + 77], y[a : a + 77]) for a in range(0, len(X), 77)), **ONCE))
    alike(one, gentle.fit(frame.iter_slices(500), target="y", **ONCE))
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), batch_size=64
    )
    alike(one, gentle.fit(loader, **ONCE))
    assert isinstance(gentle.fit((X, y), **ONCE), OnePass)


def test_levels_formulas_and_weights_in_pieces():
    X, y, _ = rows(n=12_000)
    city = np.array(["b", "a", "c"])[np.random.default_rng(2).integers(0, 3, len(y))]
    frame = pl.DataFrame({"x": X[:, 0], "city": city, "w": np.full(len(y), 2.0), "y": y})
    one = gentle.fit(frame.iter_slices(1_000), "y ~ x + city", weights="w", **ONCE)
    alike(one, gentle.fit(frame, target="y", weights="w", **ONCE))
    assert one.names == ("Intercept", "x", "city[T.b]", "city[T.c]")
    assert "weights w" in one.summary()
    constant = gentle.fit(frame, "y ~ 1", **ONCE)
    assert abs(constant.coef["Intercept"] - y.mean()) < y.std() / 100


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"passes": 1}, "belong together"),
        ({"errors": "random-scaling"}, "belong together"),
        ({**ONCE, "passes": 2}, "belong together"),
        ({"passes": 1, "errors": "HC1"}, "belong together"),
        ({**ONCE, "solver": "exact"}, "stochastic descent"),
        ({**ONCE, "l2": 0.1}, "has no 'l2'"),
        ({**ONCE, "offset": np.ones(9_000)}, "has no 'offset'"),
        ({**ONCE, "cluster": np.ones(9_000), "tol": 1e-9}, "has no 'tol' or 'cluster'"),
        ({**ONCE, "frequencies": np.ones(9_000), "test": 0.5}, "has no 'frequencies' or 'test'"),
        ({**ONCE, "weights": -np.ones(9_000)}, "must be 0 or more"),
    ],
)
def test_fit_refuses_what_one_pass_has_not(given, says):
    X, y, _ = rows()
    with pytest.raises(GentleError, match=says):
        gentle.fit((X, y), **given)


def test_refusals():
    X, y, _ = rows()
    online = Online().partial_fit(X, y)
    frame = pl.DataFrame(X, schema=["a", "b", "c"])
    for ask, says in (
        (lambda: Online().coef, "no rows have come"),
        (lambda: Online().partial_fit(X[:219], y[:219]).coef, "after 220 complete rows, and 219"),
        (lambda: Online().partial_fit(X, X[:, :2]), "one pass explains one target"),
        (lambda: gentle.fit((X, X[:, :2]), **ONCE), "one pass explains one target"),
        (lambda: online.partial_fit(X, y, y**2), "give them in all or in none"),
        (lambda: online.partial_fit(X[:, :2], y), "X has 2 columns, and 3 are needed"),
        (lambda: online.partial_fit(frame, y), "has no column 'x1'"),
        (lambda: online.conf_int(95), "level must lie between 0 and 1"),
        (lambda: gentle.fit(iter([]), **ONCE), "gave no rows"),
        (lambda: gentle.fit(iter([(X, y)]), weights=y, **ONCE), "name of a column of each"),
        (lambda: gentle.fit(iter([frame]), **ONCE), "which column of the frame is the target"),
        (lambda: Online(intercept=False).partial_fit(X[:, :0], y), "nothing to fit"),
        (lambda: Online().partial_fit(1e200 * X, y), "beyond float64"),
    ):
        with pytest.raises(GentleError, match=says):
            ask()


@pytest.mark.parametrize("column", [lambda X: 0 * X[:, 0] + 3, lambda X: 2 * X[:, 1] - X[:, 0]])
def test_a_column_that_never_stands_out_is_named(column):
    X, y, _ = rows()
    X[:, 2] = column(X)
    with pytest.raises(GentleError, match=r"'x3' is zero, constant .* 3,200 rows"):
        Online().partial_fit(X, y)


def test_a_level_that_comes_late_lengthens_the_opening():
    X, y, _ = rows(n=30_000)
    X[:, 2] = (np.arange(len(y)) % 700) == 699
    one = found(X, y)
    exact = gentle.fit((X, y))
    errors = np.array(list(exact.std_errors.values()))
    assert one.steps == (len(y) - 800) // 20
    assert np.abs((one.values - np.array(list(exact.coef.values()))) / errors).max() < 1
