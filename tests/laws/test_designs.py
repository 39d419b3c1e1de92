"""Laws of designs: what a table means does not depend on how its numbers are stored or divided."""

import numpy as np
import polars as pl
import pytest

import gentle

U = pl.Series("u", [1, 2, 3, 4, 5, 6, 7, 9], dtype=pl.UInt8)
V = pl.Series("v", [2, 1, 5, 2, 9, 3, 1, 1], dtype=pl.UInt8)
SMALL = pl.DataFrame({"u": U, "v": V, "t": [1.0, 2, 1, 4, 2, 6, 7, 3]})


@pytest.mark.parametrize("term", ["I(u - v)", "I(-u)", "I(u * 100)", "I(u**4)", "log(u)"])
def test_small_integers_do_not_wrap_around_in_a_formula(term):
    as_floats = SMALL.with_columns(pl.all().cast(pl.Float64))
    found = gentle.fit(SMALL, f"t ~ {term}").coef
    wanted = gentle.fit(as_floats, f"t ~ {term}").coef
    assert list(found.values()) == list(wanted.values())


def test_integers_in_a_category_keep_their_names():
    assert "C(u)[T.2]" in gentle.fit(pl.concat([SMALL, SMALL]), "t ~ C(u)").names


def test_held_out_rows_teach_the_design_nothing():
    frame = pl.DataFrame({"x": np.arange(100.0), "y": np.arange(100.0) % 7 + np.arange(100.0)})
    train = frame[:50]
    assert gentle.fit(frame, "y ~ center(x)", test=0.5).coef == pytest.approx(
        gentle.fit(train, "y ~ center(x)").coef, rel=1e-12
    )


def test_a_share_of_rows_that_is_empty_in_some_batches_is_fitted_by_descent():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400_000, 2))
    y = x @ [1.0, 2.0] + rng.normal(size=len(x))
    assert gentle.fit((x, y), test=0.6, solver="sgd").verdict.agrees


@pytest.mark.parametrize("offset", [1e6, 1e8])
def test_columns_that_a_constant_would_tell_apart_are_kept_without_one(offset):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 2)) + offset
    y = x[:, 0] - x[:, 1] + 0.01 * rng.normal(size=500)
    found = gentle.fit((x, y), intercept=False)
    assert not found.dropped
    assert found.values == pytest.approx([1, -1], abs=0.01)


def test_a_pair_with_a_frame_takes_the_name_of_its_target():
    frame = SMALL.select("u", "v")
    found = gentle.fit((frame, SMALL["t"]))
    assert found.design.targets == ("t",)
    assert found.target == "t"
    assert found.coef == gentle.fit(SMALL, target="t").coef


def test_a_masked_value_is_missing():
    x = np.arange(20.0).reshape(10, 2)
    x[:, 1] = np.sin(x[:, 0])
    y = x.sum(axis=1) + np.cos(x[:, 0])
    masked = np.ma.masked_array(x, mask=np.arange(20).reshape(10, 2) == 4)
    found = gentle.fit((masked, y))
    assert found.tally.missing == {"x1": 1}
    assert found.values == pytest.approx(gentle.fit((np.delete(x, 2, 0), np.delete(y, 2))).values)


def test_an_array_has_one_column_for_each_role():
    x = np.random.default_rng(2).normal(size=(20, 3))
    with pytest.raises(gentle.GentleError, match="'x2' is a column of X"):
        gentle.fit((x, x[:, 0]), weights="x2")
    with pytest.raises(gentle.GentleError, match="two are called 'a'"):
        gentle.fit((x, x[:, 0]), names=["a", "a", "b"])


def test_a_fit_cannot_be_written_to():
    found = gentle.fit(SMALL, target="t", solver="sgd")
    for values in (found.values, found.vcov, found.certificate.distance, found.trace[0].coef):
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 0
    with pytest.raises(TypeError):
        found.coef["u"] = 0
