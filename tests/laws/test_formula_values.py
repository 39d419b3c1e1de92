"""Laws of what a formula computes: exact integers, levels by value, names as names, targets as in R."""

import datetime as dt
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

import gentle
from gentle import GentleError
from gentle.design import Rows, learn_design
from gentle.sources import Frame

N = 60
BIG = 1_700_000_000_000_000_000


def frame():
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "y": rng.normal(size=N) + 10,
            "x": rng.uniform(0.5, 2, N),
            "z": rng.normal(size=N),
            "t": BIG + rng.integers(0, 1000, N),
            "u": rng.integers(-(2**62), 2**62, N),
            "small": pl.Series(rng.integers(-128, 128, N)).cast(pl.Int8),
            "b": rng.integers(0, 2, N) > 0,
            "c": rng.integers(0, 2, N) > 0,
            "g": np.array(["p", "q", "r"])[rng.integers(0, 3, N)],
            "two words": rng.normal(size=N),
        }
    )


TABLE = frame()


def columns(text, table=TABLE):
    """(names, x, y) of a formula."""
    source = Frame(table)
    design = learn_design(source, text)
    batches = list(Rows(source, design))
    x, y = (np.concatenate([getattr(b, side).numpy() for b in batches]) for side in ("x", "y"))
    return design.names, x, y


INTEGERS = [
    ("t - 1700000000000000000", lambda r: r["t"] - BIG),
    ("t - 1699999999999999999 - small", lambda r: r["t"] - BIG + 1 - r["small"]),
    ("u + u - u", lambda r: r["u"]),
    ("u * 4 // 4 - u + small", lambda r: r["small"]),
    ("u * u - (u - 1) * (u + 1)", lambda _: 1),
    ("u ** 3 // u ** 2 - u + small", lambda r: r["small"]),
    ("small * small * small", lambda r: r["small"] ** 3),
    ("(t - 1) % 1000", lambda r: (r["t"] - 1) % 1000),
    ("abs(u) - maximum(u, -u)", lambda _: 0),
    ("-(-u) - u + small", lambda r: r["small"]),
    ("t > 1700000000000000500", lambda r: r["t"] > BIG + 500),
    ("where(small > 0, t, t - 1) - t", lambda r: 0 if r["small"] > 0 else -1),
    ("clip(t, 1700000000000000100, 1700000000000000900) - t",
     lambda r: min(max(r["t"], BIG + 100), BIG + 900) - r["t"]),
    ("round(t, -3) - t", lambda r: round(r["t"], -3) - r["t"]),
    ("u / u", lambda _: 1),
    ("(t - 1700000000000000000) / 7", lambda r: Fraction(r["t"] - BIG, 7)),
    ("u / 3", lambda r: Fraction(r["u"], 3)),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "exact"), INTEGERS, ids=[it[0] for it in INTEGERS])
def test_integers_are_exact_until_they_become_floats(expression, exact):
    _, x, _ = columns(f"y ~ I({expression})")
    wanted = [float(Fraction(exact(row))) for row in TABLE.iter_rows(named=True)]
    np.testing.assert_array_equal(x[:, 0], wanted)


@pytest.mark.parametrize("text", ["y ~ t", "y ~ I(t + 1)", "y ~ I(u * u)", "I(t + 1) ~ x"])
def test_an_integer_that_float64_rounds_is_said(text):
    with pytest.warns(gentle.PrecisionWarning, match="2\\^53"):
        columns(text)


@pytest.mark.parametrize("text", ["y ~ I(t - 1700000000000000000)", "y ~ small + I(small**2)"])
def test_integers_that_fit_are_not_warned_of(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        columns(text)


@pytest.mark.parametrize(
    "values",
    [
        [2**60, 2**60 + 1, 2**60 + 2],
        [Decimal("1.00000000000000000001"), Decimal("1.00000000000000000002"), Decimal("1.5")],
        [2**63 + 1, 2**63 + 2, 2**63 + 3],
    ],
    ids=["int64", "decimal", "uint64"],
)
def test_large_integers_and_decimals_are_levels_apart(values, tmp_path):
    rng = np.random.default_rng(0)
    at = rng.integers(0, 3, N)
    dtype = pl.UInt64 if values[0] == 2**63 + 1 else None
    table = pl.DataFrame({"y": at * 1.0 + rng.normal(size=N) / 100})
    table = table.with_columns(pl.Series("k", [values[i] for i in at], dtype=dtype))
    fit = gentle.fit(table, "y ~ C(k)")
    assert len(fit.names) == 3
    fit.save(tmp_path / "m")
    np.testing.assert_allclose(gentle.load(tmp_path / "m").predict(table), at, atol=0.1)


KINDS = {
    "boolean": lambda v: v.astype(bool),
    "integer": lambda v: v.astype(np.int64),
    "float": lambda v: v.astype(np.float64),
    "short": lambda v: v.astype(np.int8),
    "unsigned": lambda v: v.astype(np.uint64),
}


@pytest.mark.parametrize(
    "text", ["y ~ C(b)", "y ~ 0 + C(b)", "y ~ x + C(b):x", "y ~ C(b, contr.sum)"]
)
@pytest.mark.parametrize("fitted", KINDS)
@pytest.mark.parametrize("predicted", KINDS)
def test_levels_are_compared_by_value_across_types(text, fitted, predicted):
    rng = np.random.default_rng(0)
    b = rng.integers(0, 2, N)
    table = pl.DataFrame(
        {"y": b + rng.normal(size=N), "x": rng.normal(size=N), "b": KINDS[fitted](b)}
    )
    fit = gentle.fit(table, text)
    other = table.with_columns(b=pl.Series(KINDS[predicted](b)))
    np.testing.assert_array_equal(fit.predict(other), fit.predict(table))


ODD = ["class", "C", "np", "scale", "log", "I", "True", "None", "pi", "a b", "a_b", "log(x)", "µ", "μ", "ﬁ",
       "1", "nan", "0x1", "import os", "Intercept", "lambda", "x²", "é", "é"]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_only_a_name(name):
    others = {other: np.full(N, 1.0 + at) for at, other in enumerate(ODD) if other != name}
    table = pl.DataFrame({"y": TABLE["y"], "x": TABLE["x"], **others, name: TABLE["z"]})
    text = f"y ~ x + log(x) + `{name}` + abs(`{name}`) + I(`{name}` * 2)"
    names, x, _ = columns(text, table)
    z = TABLE["z"].to_numpy()
    wanted = [TABLE["x"], z, np.log(TABLE["x"]), np.abs(z), 2 * z]
    np.testing.assert_allclose(
        np.sort(x, axis=1), np.sort(np.stack(wanted, axis=1), axis=1), rtol=1e-15
    )
    assert len(set(names) | {"Intercept"}) == 6
    if name.isidentifier() and name not in ("True", "None"):
        assert columns(f"y ~ {name} + I({name} * 2)", table)[1][:, 0].tolist() == z.tolist()


LOGIC = [
    ("~b", lambda r: not r["b"]),
    ("b & c", lambda r: r["b"] and r["c"]),
    ("b | (x > 1)", lambda r: r["b"] or r["x"] > 1),
    ("x > 1 & z < 0", lambda r: r["x"] > 1 and r["z"] < 0),
    ("0.7 < x <= 1.5", lambda r: 0.7 < r["x"] <= 1.5),
    ('g == "p"', lambda r: r["g"] == "p"),
    ('g != "p"', lambda r: r["g"] != "p"),
    ("b == 1", lambda r: r["b"]),
    ("b != c", lambda r: r["b"] != r["c"]),
    ("where(x > 1, z, -z)", lambda r: r["z"] if r["x"] > 1 else -r["z"]),
    ("2 * pi * x", lambda r: 2 * np.pi * r["x"]),
    ('Q("two words") * 2', lambda r: 2 * r["two words"]),
]


@pytest.mark.parametrize(("expression", "value"), LOGIC, ids=[it[0] for it in LOGIC])
def test_conditions_and_comparisons(expression, value):
    _, x, _ = columns(f"y ~ I({expression})")
    np.testing.assert_allclose(x[:, 0], [float(value(r)) for r in TABLE.iter_rows(named=True)])


def test_a_condition_of_a_missing_value_is_missing():
    fit = gentle.fit(TABLE, "y ~ I(log(z) > 0)")
    assert fit.n_rows == (TABLE["z"] > 0).sum()


LEFT = [
    ("y - z", lambda t: t["y"] - t["z"]),
    ("y**2", lambda t: t["y"] ** 2),
    ("y / 1000", lambda t: t["y"] / 1000),
    ("log(y) - log(x)", lambda t: t["y"].log() - t["x"].log()),
    ("-y", lambda t: -t["y"]),
    ("(y + z)", lambda t: t["y"] + t["z"]),
    ("y - z + x", lambda t: t["y"] - t["z"] + t["x"]),
    ("2 * y", lambda t: 2 * t["y"]),
]


@pytest.mark.parametrize(("left", "target"), LEFT, ids=[it[0] for it in LEFT])
def test_arithmetic_left_of_the_tilde_is_the_target_as_in_r(left, target):
    _, _, y = columns(f"{left} ~ small")
    np.testing.assert_allclose(y[:, 0], target(TABLE).to_numpy(), rtol=1e-15)


@pytest.mark.parametrize(
    "text", ["y:z ~ x", "y^2 ~ x", "y + z - x ~ b", "y > 1 ~ (", "y %in% z ~ x", "y + 1 ~ x"]
)
def test_what_may_mean_two_things_left_of_the_tilde_names_the_way_out(text):
    with pytest.raises(GentleError):
        columns(text)


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("y ~ x^2", "I(x**2)"),
        ("y ~ `two words`**3", "I(`two words`**3)"),
        ("y ~ log(x)^2", "I(log(x)**2)"),
        ("y ~ x:x", "I(x**2)"),
        ("y ~ x*x", "I(x**2)"),
        ("y ~ I(x - z)^2", "I((x - z)**2)"),
    ],
)
def test_a_power_of_one_term_says_how_its_values_are_raised(text, way):
    with pytest.raises(GentleError) as refused:
        columns(text)
    assert f"use {way} for" in str(refused.value)
    columns(f"y ~ {way}")


def test_levels_in_an_order_of_ones_own():
    names, x, _ = columns("y ~ C(g, levels=['r', 'p', 'q'])")
    assert names == tuple(f"C(g, levels=['r', 'p', 'q'])[T.{level}]" for level in "pq")
    np.testing.assert_array_equal(x[:, 0], (TABLE["g"] == "p").to_numpy())
    with pytest.raises(GentleError, match=r"rows with 'q', which levels= lacks"):
        columns("y ~ C(g, levels=['r', 'p'])")


DATES = [
    ("year(d)", lambda d: d.year), ("month(d)", lambda d: d.month), ("day(d)", lambda d: d.day),
    ("weekday(d)", lambda d: d.isoweekday()),
    ("days(d)", lambda d: (d - dt.date(1970, 1, 1)).days),
    ("I(d > '2024-02-01')", lambda d: d > dt.date(2024, 2, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("term", "value"), DATES, ids=[it[0] for it in DATES])
@pytest.mark.parametrize(
    "dtype", [pl.Date, pl.Datetime("us"), pl.Datetime("ns"), pl.Datetime("ms")]
)
def test_parts_of_dates(term, value, dtype, tmp_path):
    days = [dt.date(2023, 12, 1) + dt.timedelta(days=3 * k) for k in range(N)]
    table = TABLE.with_columns(pl.Series("d", days).cast(dtype))
    _, x, _ = columns(f"y ~ {term}", table)
    np.testing.assert_array_equal(x[:, 0], [float(value(d)) for d in days])
    fit = gentle.fit(
        table,
        f"y ~ x + C({term})",
    )
    fit.save(tmp_path / "m")
    np.testing.assert_array_equal(gentle.load(tmp_path / "m").predict(table), fit.predict(table))


def test_a_date_is_a_level_by_its_day():
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=k % 4) for k in range(N)]
    table = TABLE.with_columns(d=pl.Series(days))
    fit = gentle.fit(table, "y ~ C(d)")
    assert fit.names[1] == "C(d)[T.2024-01-02]"
    later = table.with_columns(pl.col("d").cast(pl.Datetime("ns")))
    np.testing.assert_array_equal(fit.predict(later), fit.predict(table))


@pytest.mark.parametrize("text", ["y ~ d", "y ~ log(d)", "y ~ x + d:z", "d ~ x", "y ~ bs(d, df=4)"])
def test_a_date_is_no_number_by_itself(text):
    table = TABLE.with_columns(d=pl.lit(dt.date(2024, 1, 1)))
    with pytest.raises(GentleError, match=r"days\(|date|column of numbers"):
        columns(text, table)
