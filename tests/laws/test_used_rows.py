"""Laws of which rows are in: one rule for every part of a fit, whatever a column came as."""

import itertools
import os
import warnings

import numpy as np
import polars as pl
import pytest
from pieces import Pieces

import gentle
from gentle import GentleError, GentleWarning
from gentle.design import learn_design
from gentle.sources import Frame, hold_out

PROOFS = bool(os.environ.get("GENTLE_PROOFS"))
ROLES = (
    "y",
    "x",
    "z",
    "w",
    "f",
    "o",
    "k",
)  # target, features, weights, frequencies, offset, cluster
MASSES = {"weights": "w", "frequencies": "f", "offset": "o", "cluster": "k"}


def table_of(rng, n=40):
    """Numbers of every role, each missing in a few rows, with weights and frequencies of zero."""
    x, z = rng.normal(size=(2, n))
    table = {
        "y": 1 + x - z + rng.normal(size=n),
        "x": x,
        "z": z,
        "w": rng.choice([0.0, 0.5, 1.0, 2.0], n),
        "f": rng.choice([0.0, 1.0, 2.0, 3.0], n),
        "o": rng.normal(size=n),
        "k": rng.integers(0, 12, n).astype(float),
    }
    for values in table.values():
        values[rng.integers(0, n, 3)] = np.nan
    return pl.DataFrame(table)


def ways(table, options, folder):
    """The same rows in every type and source: (data, options) by name."""
    nulls = table.fill_nan(None)
    roles = {part: MASSES[part] for part in options}
    named = {"target": "y", "features": ["x", "z"], **roles}
    arrays = {part: table[name].to_numpy() for part, name in roles.items()}
    lists = {part: nulls[name].to_list() for part, name in roles.items()}
    x, y = table.select("x", "z").to_numpy(), table["y"].to_numpy()
    nulls.write_parquet(folder / "f.parquet")
    nulls.write_csv(folder / "f.csv")
    integers = nulls.with_columns(pl.col("k", "f").cast(pl.Int64))
    texts = nulls.with_columns(k="c" + pl.col("k").cast(pl.String))
    return {
        "nan": (table, named),
        "null": (nulls, named),
        "integers": (integers, named),
        "strings": (texts, named),
        "pandas": (table.to_pandas(), named),
        "batches": (lambda: iter([nulls[:13], nulls[13:]]), named),
        "parquet": (folder / "f.parquet", named),
        "csv": (folder / "f.csv", named),
        "formula": (nulls, {"formula": "y ~ x + z", **roles}),
        "arrays": ((x, y), {"names": ["x", "z"], **arrays}),
        "lists": ((x, y), {"names": ["x", "z"], **lists}),
        "frame and arrays": (nulls.select("y", "x", "z"), {"target": "y", **arrays}),
        "frame and lists": (nulls.select("x", "z"), {"target": y, **lists}),
        "threads": (nulls, {**named, "engine": "threads", "parts": 3}),
    }


def rows_in(table, options, missing):
    """Which rows are used, by the rule: a mass of zero is absent; the rest must not be missing."""
    needed = ["y", *(() if missing in ("mean", "indicator") else ("x", "z"))]
    needed += [MASSES[part] for part in options]
    keep = np.ones(table.height, dtype=bool)
    for name in needed:
        keep &= ~np.isnan(table[name].to_numpy())
    for part in ("weights", "frequencies"):
        if part in options:
            keep &= table[MASSES[part]].to_numpy() != 0
    return keep


def subsets():
    parts = tuple(MASSES)
    return [c for n in range(len(parts) + 1) for c in itertools.combinations(parts, n)]


def counts(tally):
    """Why rows are not used, an array by the name of its column."""
    columns = {f"({part})": name for part, name in MASSES.items()}
    missing = {columns.get(name, name): count for name, count in tally.missing.items()}
    return tally.n_read, tally.n_used, tally.n_weightless, missing, dict(tally.filled)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("missing", ["drop", "mean", "indicator"])
@pytest.mark.parametrize("options", subsets(), ids="+".join)
def test_the_same_rows_are_in_whatever_a_column_came_as(options, missing, tmp_path):
    """weights x frequencies x offset x cluster x missing= x 14 types and sources, each with the rule."""
    rng = np.random.default_rng([len(missing), len(options), *map(len, options)])
    for _ in range(20 if PROOFS else 1):
        table = table_of(rng)
        keep = rows_in(table, options, missing)
        wanted = None
        every = ways(table, options, tmp_path)
        some = list(every) if PROOFS else ["nan", *rng.choice(list(every)[1:-1], 4, replace=False)]
        for way in some:
            data, how = every[way]
            found = gentle.fit(data, missing=missing, solver="exact", **how)
            assert found.tally.n_used == keep.sum(), way
            wanted = wanted or found
            assert counts(found.tally) == counts(wanted.tally), way
            np.testing.assert_allclose(found.values, wanted.values, rtol=1e-9, err_msg=way)
            errors = list(found.std_errors.values()), list(wanted.std_errors.values())
            np.testing.assert_allclose(*errors, rtol=1e-7, err_msg=way)


def test_a_row_without_its_cluster_does_not_enter_the_means():
    x = np.array([1.0, 2, 3, 4, 5, 6, np.nan, 1000])
    y = np.array([1.1, 1.9, 3.2, 3.9, 5.1, 6.2, 3.0, 1.0])
    labels = np.array([1, 1, 2, 2, 3, 3, 4, np.nan])
    table = pl.DataFrame({"x": x, "y": y, "k": labels})
    named = gentle.fit(table, target="y", cluster="k", missing="mean")
    given = gentle.fit((x[:, None], y), names=["x"], cluster=labels, missing="mean")
    np.testing.assert_array_equal(named.values, given.values)
    assert given.design.filling.fills["x"] == 3.5


@pytest.mark.parametrize("labels", [["a", None], [1, None], [2.5, float("nan")], [1, 2.5]])
def test_a_label_that_is_missing_leaves_its_row_out_in_any_type(labels):
    n = 24
    labels = (labels + labels[:1] * 4) * 4
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, n))
    extra = [f"more {i % 7}" if isinstance(labels[0], str) else i % 7 for i in range(n)]
    labels = [b if i % 3 else a for i, (a, b) in enumerate(zip(labels, extra, strict=True))]
    table = pl.DataFrame({"x": x, "y": y, "k": pl.Series(labels, strict=False)})
    wanted = gentle.fit(table, target="y", cluster="k")
    for given in (labels, np.array(labels, dtype=object), pl.Series(labels, strict=False)):
        for data, how in (((x[:, None], y), {"names": ["x"]}), (table.drop("k"), {"target": "y"})):
            found = gentle.fit(data, cluster=given, **how)
            assert found.n_rows == wanted.n_rows
            assert found.std_errors["x"] == pytest.approx(wanted.std_errors["x"], rel=1e-12)


LEFT_OUT = {
    "missing x": {"x": None},
    "missing target": {"y": None},
    "weight zero": {"w": 0.0},
    "missing weight": {"w": None},
    "frequency zero": {"f": 0},
    "missing label": {"k": None},
    "missing offset": {"o": None},
}


def categories(reason, n=60):
    """A frame in which all rows of the first level 'a' are left out for a reason, and only these."""
    rng = np.random.default_rng(3)
    g = np.array(["a", "b", "c", "d"])[np.arange(n) % 4]
    table = pl.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(size=n),
            "g": g,
            "n": np.arange(n) % 4 + 1,
            "w": rng.uniform(1, 2, n),
            "f": rng.integers(1, 4, n),
            "k": np.arange(n) % 9,
            "o": rng.normal(size=n),
        }
    )
    for name, value in LEFT_OUT[reason].items():
        gone = pl.when(pl.col("g") == "a").then(pl.lit(value)).otherwise(pl.col(name))
        table = table.with_columns(gone.alias(name))
    return table


PARTS = {"weights": "w", "frequencies": "f", "cluster": "k", "offset": "o"}


FORMS = ("plain", "g", "C(n)", "scale(x) + g", "bs(x, df=4) + C(n)")
EMPTY_LEVELS = list(itertools.product(LEFT_OUT, FORMS, ("frame", "pieces", "once", "threads")))


@pytest.mark.parametrize(
    ("reason", "form", "source"), EMPTY_LEVELS if PROOFS else EMPTY_LEVELS[::3]
)
def test_a_level_without_a_row_that_is_used_is_no_level(reason, form, source):
    """Its dummy is not there, it is unseen when predicting, and the reference is the first with rows."""
    table = categories(reason)
    kept = table.filter(pl.col("g") != "a")
    if form == "plain":
        columns = ["y", "x", "g", *PARTS.values()]
        table, kept, how = table.select(columns), kept.select(columns), {"target": "y"}
    else:
        how = {"formula": f"y ~ {form}" + ("" if "x" in form else " + x")}
    if source == "once" and (form != "plain" or reason == "missing label"):
        pytest.skip("a formula with categories needs two readings")
    parts = dict(PARTS)
    if source == "once":
        parts.pop("cluster")
        table, kept = table.drop("k"), kept.drop("k")
    data = {
        "frame": table,
        "pieces": lambda: iter([table[:17], table[17:]]),
        "once": iter([table[:17], table[17:]]),
        "threads": table,
    }[source]
    if source == "threads":
        parts |= {"engine": "threads", "parts": 3}
    wanted = gentle.fit(
        kept, solver="exact", **how, **{part: name for part, name in parts.items() if part in PARTS}
    )
    if "g" in (form[-1], "g" if form == "plain" else ""):
        with pytest.warns(GentleWarning, match=r"no row that is used has 'a' in column 'g'.*'b'"):
            found = gentle.fit(data, solver="exact", **how, **parts)
    else:
        found = gentle.fit(data, solver="exact", **how, **parts)
    assert found.names == wanted.names
    assert not any("a]" in name or "[T.1]" in name for name in found.names)
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-9)
    new = categories("missing target").with_columns(y=0.0, x=table["x"].mean() or 0.0, o=0.0)
    with pytest.raises(GentleError, match="a level that the fit did not see"):
        found.predict(new)


@pytest.mark.parametrize(
    "term", ["scale(x)", "center(x)", "poly(x, 2)", "bs(x, df=5)", "cr(x, df=4)"]
)
@pytest.mark.parametrize("reason", [one for one in LEFT_OUT if one != "missing x"])
def test_functions_learn_from_the_rows_that_are_used(term, reason):
    table = categories(reason).with_columns(
        x=pl.when(pl.col("g") == "a").then(pl.col("x") * 100).otherwise("x")
    )
    kept = table.filter(pl.col("g") != "a")
    found = gentle.fit(table, f"y ~ {term}", solver="exact", **PARTS)
    wanted = gentle.fit(kept, f"y ~ {term}", solver="exact", **PARTS)
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-9)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_levels_do_not_depend_on_the_pieces(rows):
    table = categories("weight zero")
    with pytest.warns(GentleWarning, match="reference is 'b'"):
        pieces = learn_design(Pieces(table, rows), targets=("y",), features=["g"], weights="w")
    assert pieces.levels == {"g": ("b", "c", "d")}
    with pytest.warns(GentleWarning, match="reference is 'b'"):
        assert learn_design(Frame(table), "y ~ g", weights="w").levels == pieces.levels


@pytest.mark.parametrize("column", ["y", "x", "w", "f", "o"])
@pytest.mark.parametrize("other", ["y", "x", "w", "f", "o", "k"])
def test_an_infinity_in_a_row_that_is_left_out_is_no_error(column, other):
    """Whichever column leaves it out, in a frame as in arrays; in a row that is used it is one."""
    if column == other:
        pytest.skip("one value for a column")
    table = table_of(np.random.default_rng(5)).fill_nan(1.0).with_columns(pl.col("w", "f") + 1)
    hole = pl.int_range(pl.len()) == 9
    infinite = table.with_columns(pl.when(hole).then(float("inf")).otherwise(column).alias(column))
    left = infinite.with_columns(pl.when(hole).then(float("nan")).otherwise(other).alias(other))
    for frame, fails in ((infinite, True), (left, False)):
        pair = (frame.select("x", "z").to_numpy(), frame["y"].to_numpy())
        given = {part: frame[name].to_numpy() for part, name in MASSES.items()}
        for data, how in (
            (frame, {"target": "y", "features": ["x", "z"], **MASSES}),
            (frame, {"formula": "y ~ x + z", **MASSES}),
            (pair, {"names": ["x", "z"], **given}),
        ):
            if fails:
                with pytest.raises(GentleError, match="is infinite in row 10"):
                    gentle.fit(data, **how)
            else:
                assert gentle.fit(data, **how).tally.n_used == frame.height - 1


@pytest.mark.parametrize("missing", ["drop", "mean", "indicator"])
@pytest.mark.parametrize("term", ["log(v)", "I(log(v) + z)", "scale(log(v))", "sqrt(v):z"])
@pytest.mark.parametrize("other", ["g", "C(g)", "C(n)", "scale(x)", "bs(x, df=4)", "poly(x, 2)"])
def test_a_row_without_a_value_of_an_expression_teaches_nothing(term, other, missing):
    """Where log(v) has none, its row is out: its level is no level, its x moves no mean and no knot."""
    table = categories("missing target").with_columns(y=pl.col("o").cos(), z=pl.col("o") + 2)
    gone = pl.col("g") == "a"
    table = table.with_columns(
        v=pl.when(gone).then(-1.0).otherwise(pl.col("w") + 1),
        x=pl.when(gone).then(pl.col("x") * 100).otherwise("x"),
    )
    formula = f"y ~ {term} + {other}"
    wanted = gentle.fit(table.filter(~gone), formula, solver="exact", missing=missing)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = gentle.fit(table, formula, solver="exact", missing=missing)
    assert any("no row that is used has 'a'" in str(it.message) for it in said) == ("g" in other)
    assert found.names == wanted.names
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-8)


@pytest.mark.filterwarnings("ignore:some values are beyond the boundary knots")
@pytest.mark.parametrize("term", ["bs(x, df=5)", "bs(x, knots=[0.5])", "cr(x, df=4)", "poly(x, 3)"])
def test_a_split_with_splines_does_not_depend_on_the_seed(term):
    """Boundary knots are those of the train rows; held-out rows beyond them are scored by continuation."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=30)
    table = pl.DataFrame({"y": np.sin(3 * x) + rng.normal(size=30) / 10, "x": x})
    for seed in range(100 if PROOFS else 12):
        found = gentle.fit(table, f"y ~ {term}", test=0.2, shuffle=True, seed=seed, solver="exact")
        train = hold_out(Frame(table), 0.2, shuffle=True, seed=seed)[0].keep
        alone = gentle.fit(table.filter(pl.Series(train)), f"y ~ {term}", solver="exact")
        np.testing.assert_allclose(found.values, alone.values, rtol=1e-9)
        held = table.filter(~pl.Series(train))
        errors = held["y"].to_numpy() - alone.predict(held)
        assert found.held_out.n_rows == held.height
        assert found.held_out.mse == pytest.approx(np.mean(errors**2), rel=1e-6)
