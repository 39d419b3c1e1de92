"""A target less its offset keeps its digits in every number of a fit, also where float64 rounds it.

The judge is rational arithmetic on the float64 numbers as they stand.
"""

import os
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

import gentle

N_SEEDS = 60 if os.environ.get("GENTLE_PROOFS") else 3
SIZES = (0.0, 1e6, 1e12, -3e14)
DOORS = ("array", "column", "formula")


def rationals(values):
    return np.array([Fraction(float(value)) for value in values], dtype=object)


def draw(seed, size, *, weighted):
    """Rows whose target is near `size`, on a grid as fine as float64 has there, and an offset beside it."""
    rng = np.random.default_rng(seed)
    n = 30
    spacing = np.spacing(abs(size) or 1.0)
    noise = float(rng.choice([4e3, 1e6])) * spacing
    x = rng.normal(size=(n, 2))
    offset = rng.choice([0.3, 1 / 3, 7e-4]) * noise * (1 + rng.normal(size=n) / 10)
    strength = rng.choice([0.3, 1e3])  # R^2 of a middling size, or near 1
    y = size + noise * (strength * x[:, 0] + rng.normal(size=n)) + offset
    frame = {"y": y, "a": x[:, 0], "b": x[:, 1], "o": offset, "w": rng.uniform(0.5, 2, n)}
    return pl.DataFrame(frame if weighted else {k: v for k, v in frame.items() if k != "w"})


def fit(frame, door, **options):
    if "w" in frame.columns:
        options["weights"] = "w"
    if door == "formula":
        text = (
            "y ~ a + b + offset(o)"
            if options.pop("intercept", True)
            else "y ~ 0 + a + b + offset(o)"
        )
        return gentle.fit(frame, text, **options)
    offset = "o" if door == "column" else frame["o"].to_numpy()
    return gentle.fit(frame, target="y", features=["a", "b"], offset=offset, **options)


def squares(frame, found, intercept):
    """(RSS, TSS) of the rows, in exact arithmetic but for the fit of the centered target."""
    y = rationals(frame["y"]) - rationals(frame["o"])
    w = rationals(frame["w"] if "w" in frame.columns else np.ones(len(y)))
    mean = sum(w * y) / sum(w) if intercept else Fraction(0)
    tss = sum(w * (y - mean) ** 2)
    coef, low = found.answer.coef[:, 0], found.answer.low[:, 0]
    b = rationals(coef) + rationals(low)
    columns = [rationals(frame[name]) for name in ("a", "b")]
    rows = [*([rationals(np.ones(len(y)))] if intercept else []), *columns]
    residual = y - sum(value * column for value, column in zip(b, rows, strict=True))
    return float(sum(w * residual**2)), float(tss)


@pytest.mark.parametrize("intercept", [True, False], ids=["constant", "no constant"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weights"])
@pytest.mark.parametrize("size", SIZES)
def test_r2_and_f_of_a_target_less_its_offset(size, weighted, intercept):
    for seed in range(N_SEEDS):
        frame = draw(seed, size, weighted=weighted)
        for door in DOORS:
            found = fit(frame, door, intercept=intercept)
            rss, tss = squares(frame, found, intercept)
            n, q, spare = len(frame), 2 + intercept, len(frame) - intercept
            assert found.rss == pytest.approx(rss, rel=1e-9)
            assert found.tss == pytest.approx(tss, rel=1e-9)
            assert found.r2 == pytest.approx(1 - rss / tss, rel=1e-9, abs=1e-15)
            adjusted = 1 - (rss / (n - q)) / (tss / spare)
            assert found.r2_adjusted == pytest.approx(adjusted, rel=1e-9, abs=1e-15)
            if intercept:
                f = ((tss - rss) / 2) / (rss / (n - q))
                assert found.f_test.statistic == pytest.approx(f, rel=1e-8)


@pytest.mark.parametrize("size", SIZES)
def test_r2_of_held_out_rows_less_their_offset(size):
    for seed in range(N_SEEDS):
        frame = draw(seed, size, weighted=False)
        test = frame[20:]
        found = gentle.fit(frame, "y ~ a + b + offset(o)", test=1 / 3, shuffle=False)
        y = rationals(test["y"]) - rationals(test["o"])
        rows = [rationals(np.ones(len(test))), rationals(test["a"]), rationals(test["b"])]
        predicted = sum(
            value * column
            for value, column in zip(rationals(found.coef.values()), rows, strict=True)
        )
        mean = sum(y) / len(y)
        r2 = float(1 - sum((y - predicted) ** 2) / sum((y - mean) ** 2))
        assert found.held_out.r2 == pytest.approx(r2, rel=1e-8, abs=1e-12)


def test_a_descent_sees_the_target_less_its_offset():
    frame = draw(0, 1e12, weighted=False)
    found = gentle.fit(frame, "y ~ a + b + offset(o)", solver="cg", tol=1e-9)
    for name in ("a", "b"):  # of the constant, 1e12, float64 has no more digits
        assert found.descent[name] == pytest.approx(found.exact[name], rel=1e-9)


def test_fits_of_sums_see_the_target_less_its_offset():
    frame = draw(1, 1e12, weighted=False)
    whole = gentle.fit(frame, "y ~ a + b + offset(o)")
    parts = [gentle.fit(part, "y ~ a + b + offset(o)") for part in (frame[:13], frame[13:])]
    assert (parts[0] + parts[1]).r2 == pytest.approx(whole.r2, rel=1e-9)
