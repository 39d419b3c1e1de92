"""Laws of missing values: left out, refused, or filled by means that the design keeps."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from pieces import Pieces
from sklearn.impute import SimpleImputer

import gentle
from gentle import GentleError
from gentle.design import Design, Rows, learn_design
from gentle.errors import RankWarning
from gentle.sources import Frame, open_source

N = 300


def frame(seed=0):
    """Two numbers and a text with holes, beside one that has none; two rows lack their target."""
    rng = np.random.default_rng(seed)
    x = rng.normal(loc=[1, -2, 30], size=(N, 3))
    y = x @ [1.0, 2, -1] + rng.normal(size=N)
    g = np.array(["north", "east", "south"])[rng.integers(0, 3, N)]
    at = pl.int_range(pl.len())
    return pl.DataFrame({"y": y, "a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "g": g}).with_columns(
        y=pl.when(at % 100 == 7).then(None).otherwise("y"),
        a=pl.when(at % 7 == 1).then(None).otherwise("a"),
        b=pl.when(at % 11 == 2).then(float("nan")).otherwise("b"),
        g=pl.when(at % 13 == 3).then(None).otherwise("g"),
    )


NUMBERS = ["a", "b", "c"]


def by_sklearn(table, *, indicate):
    """(x, y) of the rows that have their target, filled by scikit-learn, its indicators last."""
    used = table.filter(pl.col("y").is_not_null())
    x = used.select(pl.col(NUMBERS).fill_null(float("nan"))).to_numpy()
    return SimpleImputer(add_indicator=indicate).fit_transform(x), used["y"].to_numpy()


def least_squares(x, y):
    return np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), y, rcond=None)[0]


@pytest.mark.parametrize("missing", ["mean", "indicator"])
@pytest.mark.parametrize("door", ["frame", "arrays", "tensors", "formula"])
def test_filled_numbers_give_the_fit_of_sklearns_imputer(missing, door):
    table = frame().drop("g")
    x, y = by_sklearn(table, indicate=missing == "indicator")
    wanted = least_squares(x, y)
    if door in ("arrays", "tensors"):
        pair = (table.select(NUMBERS).to_numpy().copy(), table["y"].to_numpy().copy())
        data = tuple(map(torch.from_numpy, pair)) if door == "tensors" else pair
        found = gentle.fit(data, names=NUMBERS, missing=missing)
        assert np.isnan(pair[0]).any(), "the user's data are as they were"
    elif door == "formula":
        found = gentle.fit(table, "y ~ a + b + c", missing=missing)
    else:
        found = gentle.fit(table, target="y", missing=missing)
    beside = ("a[missing]", "b[missing]") if missing == "indicator" else ()
    assert found.names == ("Intercept", *NUMBERS, *beside)
    np.testing.assert_allclose(found.values, wanted, rtol=1e-10)
    assert found.tally.missing == {"y": 3}
    assert dict(found.tally.filled) == {"a": 43, "b": 28}
    assert "filled where missing: a in 43, b in 28" in " ".join(found.summary().split())


def test_the_means_are_of_the_rows_that_are_used():
    """A row of weight zero, and one without its weight, is not there; one of frequency 3 is three."""
    table = (
        frame()
        .drop("g")
        .with_columns(
            w=pl.when(pl.int_range(pl.len()) % 5 == 0).then(0.0).otherwise(2.0),
            f=pl.int_range(pl.len()) % 3 + 1,
        )
    )
    used = table.filter((pl.col("w") > 0) & pl.col("y").is_not_null())
    repeated = used[np.repeat(np.arange(used.height), used["f"])]
    found = gentle.fit(table, "y ~ a + b", weights="w", frequencies="f", missing="mean")
    wanted = gentle.fit(repeated, "y ~ a + b", weights="w", missing="mean")
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-10)
    assert found.design.filling.fills["a"] == pytest.approx(repeated["a"].mean(), rel=1e-12)


def test_a_text_that_is_missing_is_a_level_of_its_own():
    table = frame()
    plain = table.with_columns(
        g=pl.col("g").fill_null("zzz"), a=pl.col("a").fill_null(0)
    ).with_columns(b=pl.col("b").fill_nan(0))
    holes = plain.with_columns(g=table["g"])
    found = gentle.fit(holes, target="y", missing="indicator")
    wanted = gentle.fit(plain, target="y")
    assert found.coef["g[missing]"] == pytest.approx(wanted.coef["g[T.zzz]"], rel=1e-9)
    assert found.coef["g[T.south]"] == pytest.approx(wanted.coef["g[T.south]"], rel=1e-9)
    assert found.n_rows == wanted.n_rows
    by_formula = gentle.fit(holes, "y ~ a + b + c + C(g)", missing="indicator")
    np.testing.assert_allclose(by_formula.values, found.values, rtol=1e-9)


def test_by_the_mean_a_row_that_lacks_a_text_is_left_out():
    found = gentle.fit(frame(), target="y", missing="mean")
    wanted = gentle.fit(frame().filter(pl.col("g").is_not_null()), target="y", missing="mean")
    assert found.tally.missing["g"] == frame()["g"].null_count()
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-12)


def test_functions_of_a_formula_learn_from_the_filled_columns():
    table = frame().drop("g")
    used = table.filter(pl.col("y").is_not_null())
    filled = used.with_columns(a=used["a"].fill_null(used["a"].mean()))
    found = gentle.fit(table, "y ~ poly(a, 2) + center(a):c", missing="mean")
    wanted = gentle.fit(filled, "y ~ poly(a, 2) + center(a):c")
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-9)


@pytest.mark.parametrize("missing", ["mean", "indicator"])
def test_predictions_fill_as_the_fit_did(missing):
    table = frame()
    found = gentle.fit(table, "y ~ a + b + C(g)", missing=missing)
    new = table[:40]
    means = found.design.filling.fills
    by_hand = new.with_columns(
        a=pl.col("a").fill_null(means["a"]), b=pl.col("b").fill_nan(means["b"])
    )
    predicted = found.predict(new)
    if missing == "mean":
        np.testing.assert_array_equal(predicted, found.predict(by_hand))
        assert np.isnan(predicted).sum() == new["g"].null_count()
    else:
        assert np.isfinite(predicted).all()
        more = sum(
            found.coef[f"{name}[missing]"] * gone
            for name, gone in (("a", new["a"].is_null()), ("b", new["b"].is_nan()))
        )
        there = new["g"].is_not_null().to_numpy()
        expected = (found.predict(by_hand) + more.to_numpy())[there]
        np.testing.assert_allclose(predicted[there], expected, rtol=1e-9)


@pytest.mark.parametrize("missing", ["mean", "indicator"])
@pytest.mark.parametrize("text", [None, "y ~ log(c) + a + C(g)"])
def test_a_filling_does_not_depend_on_the_pieces_and_is_plain_data(missing, text):
    table = frame()
    target = () if text else ("y",)
    whole = learn_design(Frame(table), text, targets=target, missing=missing)
    pieces = learn_design(Pieces(table), text, targets=target, missing=missing)
    assert pieces.names == whole.names
    assert pieces.filling.fills == pytest.approx(whole.filling.fills, rel=1e-13)
    again = Design.from_state(json.loads(json.dumps(whole.state())))
    for one, other in zip(Rows(Frame(table), whole), Rows(Frame(table), again), strict=True):
        assert torch.equal(one.x, other.x)
    assert again.filling == whole.filling


def test_missing_targets_are_refused_where_all_is_to_be_refused():
    with pytest.raises(GentleError, match="'y' of the frame has a missing value in row 8"):
        gentle.fit(frame().select("y", "c"), target="y", missing="raise")


@pytest.mark.parametrize("missing", ["mean", "indicator"])
def test_an_infinity_is_an_error_with_its_row_all_the_same(missing):
    table = frame().with_columns(
        c=pl.when(pl.int_range(pl.len()) == 4).then(float("inf")).otherwise("c")
    )
    with pytest.raises(GentleError, match="'c' of the frame is infinite in row 5"):
        gentle.fit(table, target="y", missing=missing)


def test_what_cannot_be_filled_says_so():
    table = frame().with_columns(a=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(GentleError, match="'a' of the frame has no value"):
        gentle.fit(table, target="y", missing="mean")
    with pytest.raises(GentleError, match="only once"):
        learn_design(Pieces(frame(), replayable=False), "y ~ a", missing="mean")
    with pytest.raises(GentleError, match="each is met once"):
        gentle.fit(frame(), "y ~ a", missing="mean", passes=1, errors="random-scaling")
    with pytest.raises(GentleError, match="'drop', 'raise', 'mean' or 'indicator'"):
        gentle.fit(frame(), "y ~ a", missing="median")


def test_each_column_that_a_row_lacks_counts_it_however_it_is_missing():
    at = pl.int_range(pl.len())
    nulls = pl.DataFrame(
        {"y": np.arange(9.0), "a": np.arange(9.0) ** 2, "b": np.arange(9.0) ** 3}
    ).with_columns(
        a=pl.when(at < 5).then(None).otherwise("a"), b=pl.when(at < 3).then(None).otherwise("b")
    )
    nans = nulls.with_columns(pl.col("a", "b").fill_null(float("nan")))
    pair = (nans.select("a", "b").to_numpy(), nans["y"].to_numpy())
    for data, choice in ((nulls, "y"), (nans, "y"), (pair, None)):
        found = gentle.fit(data, target=choice, names=None if choice else ["a", "b"])
        assert dict(found.tally.missing) == {"a": 5, "b": 3}
        assert found.n_rows == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"c": [None, *[1.5e308] * (N - 1)]}, "'c' of the frame has values whose sum is beyond"),
        ({"c": [None, *[float("inf")] * (N - 1)]}, "'c' of the frame is infinite in row 2"),
        ({"g": pl.Series([None] * N, dtype=pl.String)}, "no row .* left to fit.* missing 'g'"),
    ],
)
def test_what_has_no_mean_is_refused_with_its_reason(change, words):
    table = frame().with_columns(y=pl.lit(1.0), **{k: pl.Series(v) for k, v in change.items()})
    with pytest.raises(GentleError, match=words):
        gentle.fit(table, target="y", missing="mean")


@pytest.mark.parametrize("missing", ["mean", "indicator"])
def test_without_a_missing_value_nothing_changes(missing):
    table = frame().drop_nulls().filter(pl.col("b").is_not_nan())
    assert gentle.fit(table, target="y", missing=missing).coef == gentle.fit(table, target="y").coef


def test_a_descent_walks_the_filled_rows():
    table = frame().drop("g")
    found = gentle.fit(table, target="y", missing="indicator", solver="sgd")
    assert found.verdict.agrees
    wide = open_source((table.select(NUMBERS).to_numpy(), table["y"].to_numpy()))
    assert wide.replayable


@pytest.mark.parametrize("n", [300, 2_000, 8_000, 30_000])
@pytest.mark.parametrize("k", [2, 6])
def test_columns_that_are_missing_together_have_one_indicator(n, k):
    """The others say the same, and are left out."""
    rng = np.random.default_rng(n + k)
    for _ in range(6):
        x = rng.normal(size=(n, k))
        start = rng.integers(0, n // 2)
        x[start : start + rng.integers(2, n // 2)] = np.nan
        y = np.nan_to_num(x).sum(axis=1) + rng.normal(size=n)
        with pytest.warns(RankWarning):
            found = gentle.fit((x, y), missing="indicator")
        assert [name for name, value in found.coef.items() if np.isnan(value)] == [
            f"x{j}[missing]" for j in range(2, k + 1)
        ]
