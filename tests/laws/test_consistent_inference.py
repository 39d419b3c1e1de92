"""Coefficients, predictions and tests are of one covariance, whatever the kind of the errors.

The standard error of a prediction is sqrt(x'Vx) with the covariance V that the fit reports, its F that
of the restrictions written out, and what hangs on rows of leverage 1 is nan in each of them.
"""

import math
import os

import numpy as np
import polars as pl
import pytest

import gentle
from gentle import answering, fitting

KINDS = ("classical", "HC0", "HC1", "HC2", "HC3", "cluster", "two ways", "HAC")
N_SEEDS = 200 if os.environ.get("GENTLE_PROOFS") else 6
EIGHT = 1e-8
NOT_CANCELLED = 1e-5  # of its terms: a sum of float64 numbers that keeps nine digits or more


def draw(seed, *, pinned):
    """A frame of some rows, in units far and near; with `pinned` the first is the only one of its level."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(12, 30))
    unit = 10.0 ** rng.choice([0, 0, 0, -60, 60], size=3)
    a, b = rng.normal(size=(2, n)) + rng.choice([0, 3, 50], size=(2, 1))
    y = (1 + a - b / 2 + rng.normal(size=n) * (1 + abs(a))) * unit[0]
    columns = {"y": y, "a": a * unit[1], "b": b * unit[2]}
    if pinned:
        columns["d"] = (np.arange(n) == 0).astype(float)
    if rng.random() < 0.5:
        columns["w"] = rng.choice([0.25, 0.7, 1.0, 5.0], size=n)
    groups = {"g": rng.permutation(np.arange(n) % 5), "h": rng.permutation(np.arange(n) % 4)}
    return pl.DataFrame(columns | groups)


def fit(frame, kind):
    options = {"weights": "w"} if "w" in frame.columns else {}
    if kind in ("cluster", "two ways"):
        options["cluster"] = "g" if kind == "cluster" else ("g", "h")
    else:
        options["errors"] = kind
    features = [name for name in frame.columns if name in ("a", "b", "d")]
    return gentle.fit(frame, target="y", features=features, **options)


def by_vcov(found, frame):
    """sqrt(x'Vx) of each row, (n,); nan where it is not known or cancels."""
    used = frame.select(pl.lit(1.0), *found.names[1:]).to_numpy()
    errors = np.array(list(found.std_errors.values()))
    unit = np.where(errors > 0, errors, 1.0)
    v = found.vcov / unit[:, None] / unit
    scaled = used * unit
    known = scaled != 0
    square = np.array(
        [
            row[keep] @ v[np.ix_(keep, keep)] @ row[keep]
            for row, keep in zip(scaled, known, strict=True)
        ]
    )
    terms = np.array(
        [np.abs(row[keep]).sum() ** 2 for row, keep in zip(scaled, known, strict=True)]
    )
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.where(square > NOT_CANCELLED * terms, square, np.nan))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_and_tests_have_the_covariance_of_the_coefficients(kind):
    compared = 0
    for seed in range(N_SEEDS):
        for pinned in (False, True):
            frame = draw(seed, pinned=pinned)
            found = fit(frame, kind)
            errors = found.predict(frame, interval=0.95)["std_error"].to_numpy()
            mine = by_vcov(found, frame)
            known = np.isfinite(mine)
            np.testing.assert_allclose(errors[known], mine[known], rtol=EIGHT)
            compared += int(known.sum())
            whole = found.test(", ".join(f"{name} = 0" for name in found.names[1:])).wald
            assert math.isnan(found.f_test.statistic) == math.isnan(whole.statistic)
            if not math.isnan(whole.statistic):
                assert found.f_test.statistic == pytest.approx(whole.statistic, rel=EIGHT)
                assert found.f_test.p_value == pytest.approx(whole.p_value, rel=1e-6, abs=1e-300)
            elif not pinned:
                assert kind == "two ways", whole.reason  # whose covariance may be negative
    assert compared > 3 * N_SEEDS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
@pytest.mark.parametrize("kind", ["HC2", "HC3"])
def test_what_hangs_on_a_row_of_leverage_one_is_nan_and_the_rest_as_without_the_row(
    kind, small, monkeypatch
):
    if not small:
        monkeypatch.setattr(answering, "POLISHED_NUMBERS", 0)
        monkeypatch.setattr(fitting, "POLISHED_NUMBERS", 0)
    for seed in range(N_SEEDS):
        frame = draw(seed, pinned=True)
        with pytest.warns(gentle.errors.CovarianceWarning, match="leverage 1"):
            found = fit(frame, kind)
        without = fit(frame[1:].drop("d"), kind)
        assert math.isnan(found.std_errors["d"])
        assert math.isnan(found.p_values["d"])
        assert all(map(math.isnan, found.conf_int()["d"]))
        assert math.isnan(found.f_test.statistic)
        for name in without.names:
            assert found.std_errors[name] == pytest.approx(without.std_errors[name], rel=EIGHT)
        with pytest.warns(gentle.errors.GentleWarning, match="leverage 1 have no bounds"):
            errors = found.predict(frame, interval=0.95)["std_error"].to_numpy()
        assert math.isnan(errors[0])
        others = without.predict(frame[1:], interval=0.95)["std_error"].to_numpy()
        np.testing.assert_allclose(errors[1:], others, rtol=EIGHT)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["HC2", "HC3"])
def test_many_rows_with_one_of_leverage_one(kind, proofs, monkeypatch):
    n = 400_000 if proofs else 2_000
    monkeypatch.setattr(answering, "POLISHED_NUMBERS", 1e4)
    monkeypatch.setattr(fitting, "POLISHED_NUMBERS", 1e4)
    rng = np.random.default_rng(5)
    x = np.column_stack([rng.normal(size=(n, 16)), np.arange(n) == 0])
    y = x[:, 0] + rng.normal(size=n)
    found = gentle.fit((x, y), errors=kind)
    without = gentle.fit((x[1:, :16], y[1:]), errors=kind)
    assert math.isnan(found.std_errors["x17"])
    for name in without.names:
        assert found.std_errors[name] == pytest.approx(without.std_errors[name], rel=EIGHT)


@pytest.mark.filterwarnings("ignore")
def test_the_bounds_of_a_saved_fit_with_a_row_of_leverage_one(tmp_path):
    frame = draw(0, pinned=True)
    found = fit(frame, "HC3")
    found.save(tmp_path / "m.gentle")
    again = gentle.load(tmp_path / "m.gentle")
    one, other = (it.predict(frame, interval=0.95).to_numpy() for it in (found, again))
    np.testing.assert_array_equal(one, other)
    assert math.isnan(again.f_test.statistic)


def test_a_standard_error_of_exactly_zero_makes_no_t_and_no_interval():
    """Two rows of each group, alike but for noise that one group does not have."""
    g = np.repeat([0.0, 1.0], 4)
    y = np.array([1.0, 3.0, 2.0, 5.0, 7.0, 7.0, 7.0, 7.0])
    x = np.column_stack([1 - g, g])
    with pytest.warns(gentle.errors.CovarianceWarning):
        found = gentle.fit((x, y), names=["quiet", "flat"], intercept=False, errors="HC0")
    assert not found.std_errors["flat"] > 0
    assert math.isnan(found.t_values["flat"])
    assert math.isnan(found.p_values["flat"])
    assert all(map(math.isnan, found.conf_int()["flat"]))
    assert found.p_values["quiet"] < 0.05
    assert math.isnan(found.test("flat = 6").p_values[0])
