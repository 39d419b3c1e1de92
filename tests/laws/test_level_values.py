"""Laws of what makes a value a level: its declared type, its digits, and its value in any type."""

import itertools
import pickle
import re
import sqlite3
from datetime import date

import numpy as np
import polars as pl
import pytest

import gentle
from gentle import GentleError, GentleWarning
from gentle.levels import level_codes
from gentle.sources import open_source

CODES = ["01234", "12345", "00000", "99999", "02134"]


def csv_file(folder, columns, name="f.csv"):
    path = folder / name
    lines = [",".join(columns), *(",".join(row) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_codes_are_categories_and_as_a_target_they_are_refused(tmp_path):
    codes = list(itertools.islice(itertools.cycle(CODES), 40))
    path = csv_file(tmp_path, {"y": [str(i**2 % 13) for i in range(40)], "zip": codes})
    with pytest.warns(GentleWarning, match="digits there begin with a zero"):
        fit = gentle.fit(path, target="y")
    assert fit.names == ("Intercept", *(f"zip[T.{code}]" for code in sorted(CODES)[1:]))
    with pytest.raises(GentleError, match=r"'zip' of .* must be numbers, but is text, of digits"):
        gentle.fit(path, target="zip")
    assert open_source(path).schema()["zip"] == pl.String


def rows_of(levels, n=48, seed=0):
    """A frame with levels in turn, and a target that tells them apart."""
    rng = np.random.default_rng(seed)
    place = np.arange(n) % len(levels)
    return pl.DataFrame({"y": 3.0 * place + rng.normal(size=n), "x": rng.normal(size=n)}), place


DIGITS = ["0", "1", "2", "3+"]


@pytest.mark.parametrize("form", ["plain", "g", "C(g)", "C(g) + x"])
@pytest.mark.parametrize(
    "kind",
    ["string", "categorical", "enum", "pandas", "pandas string", "arrow", "csv", "once"],
)
def test_levels_that_are_mostly_digits_are_levels(form, kind, tmp_path):
    """'3+' beside '0', '1' and '2', few and again and again: a category, however it is declared."""
    table, place = rows_of(DIGITS)
    texts = pl.Series([DIGITS[at] for at in place])
    plain = table.with_columns(g=texts)
    data = {
        "string": plain,
        "categorical": plain.with_columns(pl.col("g").cast(pl.Categorical)),
        "enum": plain.with_columns(pl.col("g").cast(pl.Enum(DIGITS))),
        "pandas": plain.to_pandas().astype({"g": "category"}),
        "pandas string": plain.to_pandas(),
        "arrow": plain.with_columns(pl.col("g").cast(pl.Categorical)).to_arrow(),
        "csv": tmp_path / "f.csv",
        "once": iter([plain[:20], plain[20:]]),
    }[kind]
    plain.write_csv(tmp_path / "f.csv")
    if kind == "once" and form != "plain":
        pytest.skip("a formula with categories needs two readings")
    how = {"target": "y"} if form == "plain" else {"formula": f"y ~ {form}"}
    fit = gentle.fit(data, solver="exact", **how)
    expression = "g" if form == "plain" else form.split(" ")[0]
    names = {f"{expression}[T.{level}]" for level in DIGITS[1:]}
    assert names <= set(fit.names)
    new = plain.with_columns(g=pl.lit("3+"))[:3]
    np.testing.assert_allclose(fit.predict(new), fit.predict(plain)[place == 3][0], atol=2)
    assert fit.references == {"g": "0"}


@pytest.mark.parametrize("declare", ["categorical", "enum", "pandas", "C(g)"])
def test_what_is_declared_a_category_is_one_whatever_it_reads_as(declare):
    """Also many levels, of which most are numbers, and a level for each row."""
    levels = [*map(str, range(40)), "n/a"]
    table, place = rows_of(levels, n=82)
    table = table.with_columns(g=pl.Series([levels[at] for at in place]))
    with pytest.raises(GentleError, match="'g' of the frame should be numbers"):
        gentle.fit(table, target="y")
    formula = {"formula": "y ~ C(g)"} if declare == "C(g)" else {"target": "y"}
    data = {
        "categorical": table.with_columns(pl.col("g").cast(pl.Categorical)),
        "enum": table.with_columns(pl.col("g").cast(pl.Enum(levels))),
        "pandas": table.to_pandas().astype({"g": "category"}),
        "C(g)": table,
    }[declare]
    assert len(gentle.fit(data, **formula).names) == len(levels) + (declare != "C(g)")


DISGUISES = {
    "thousands": [f"{i},{(37 * i) % 1000:03d}" for i in range(1, 31)],
    "dollars": [f"${i}" for i in range(30)],
    "euros": [f"{i} €" for i in range(30)],
    "percent": [f"{i}%" for i in range(30)],
    "parentheses": [f"({i})" for i in range(1, 31)],
    "european": [f"{i}.{(37 * i) % 1000:03d},5" for i in range(1, 31)],
    "decimal commas": [f"{i},5" for i in range(30)],
    "some of them": [f"${i}" if i % 3 else "?" for i in range(30)],
}


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("source", ["frame", "pandas", "parquet", "batches", "once", "sqlite"])
def test_numbers_with_marks_that_become_categories_are_said(disguise, source, tmp_path):
    texts = DISGUISES[disguise]
    table = pl.DataFrame({"y": np.arange(30.0) ** 1.5, "price": texts})
    table.write_parquet(tmp_path / "f.parquet")
    with sqlite3.connect(tmp_path / "f.db") as base:
        base.execute("CREATE TABLE t (y REAL, price TEXT)")
        base.executemany("INSERT INTO t VALUES (?, ?)", table.rows())
    base.close()
    data = {
        "frame": table,
        "pandas": table.to_pandas(),
        "parquet": tmp_path / "f.parquet",
        "batches": lambda: iter([table[:7], table[7:]]),
        "once": iter([table[:7], table[7:]]),
        "sqlite": f"sqlite:///{tmp_path}/f.db#t",
    }[source]
    with pytest.warns(GentleWarning, match=r"column 'price' of .* reads as numbers with marks"):
        gentle.fit(data, target="y", solver="exact")


@pytest.mark.parametrize("blank", [".", "-", "?", "#N/A"])
def test_a_mark_for_missing_values_among_numbers_is_named_with_its_option(blank):
    many = [str(i / 7) if i % 2 else blank for i in range(60)]
    table = pl.DataFrame({"y": np.arange(60.0) ** 1.5, "x": many})
    with pytest.raises(GentleError, match=rf"column 'x' .*null_values=\['{re.escape(blank)}'\]"):
        gentle.fit(table, target="y")
    few = table.with_columns(x=pl.Series([str(i % 3) if i % 2 else blank for i in range(60)]))
    with pytest.warns(GentleWarning, match=rf"column 'x' .*null_values=\['{re.escape(blank)}'\]"):
        gentle.fit(few, target="y")


@pytest.mark.parametrize("n_levels", [30, 27])
def test_a_column_with_nearly_a_level_for_each_row_is_said(n_levels):
    names = [f"name {i % n_levels}" for i in range(30)]
    table = pl.DataFrame({"y": np.arange(30.0) ** 1.5, "name": names})
    with pytest.warns(GentleWarning, match=f"column 'name' .* {n_levels} levels in 30 rows"):
        gentle.fit(table, target="y")


@pytest.mark.filterwarnings("error::gentle.GentleWarning")
@pytest.mark.parametrize(
    "levels", [["a", "b"], ["12-24", "25-40", "41+"], ["x1", "x2", "$"], ["1", "2"], ["01", "10"]]
)
def test_ordinary_levels_are_not_warned_of(levels):
    table, place = rows_of(levels)
    gentle.fit(table.with_columns(g=pl.Series([levels[at] for at in place])), target="y")


# One value in every type in which a file or a frame may have it.
SAME = {
    "boolean": ([False, True], pl.Boolean),
    "int": ([0, 1], pl.Int64),
    "small": ([0, 1], pl.UInt8),
    "float": ([0.0, 1.0], pl.Float64),
    "float32": ([0.0, 1.0], pl.Float32),
    "decimal": ([0, 1], pl.Decimal(10, 2)),
    "string": (["0", "1"], pl.String),
    "padded": (["00", "01"], pl.String),
    "words": (["False", "True"], pl.String),
    "lower": (["false", "true"], pl.Categorical),
}
TEXTS = ("string", "padded", "words", "lower")


@pytest.mark.parametrize("new", SAME)
@pytest.mark.parametrize("fitted", TEXTS)
def test_levels_are_found_by_their_value_in_any_type(fitted, new):
    """A fit of categories predicts the same for True, 1, 1.0 and '1'; strings are never guessed."""
    table, place = rows_of([0, 1])
    values, dtype = SAME[fitted]
    levels = pl.Series([values[at] for at in place], dtype=dtype)
    for how in ({"target": "y"}, {"formula": "y ~ x + g"}, {"formula": "y ~ x + C(g) - 1"}):
        fit = gentle.fit(table.with_columns(g=levels), solver="exact", **how)
        values, dtype = SAME[new]
        other = table.with_columns(g=pl.Series([values[at] for at in place], dtype=dtype))
        if new in TEXTS and new != fitted:  # strings are compared as strings
            with pytest.raises(GentleError, match="a level that the fit did not see"):
                fit.predict(other)
            continue
        wanted = fit.predict(table.with_columns(g=levels))
        np.testing.assert_array_equal(fit.predict(other), wanted)
        saved = pickle.loads(pickle.dumps(fit))
        np.testing.assert_array_equal(saved.predict(other), wanted)


CODED = ["01", "1", "1.0", "True", "10", "1e3", "x", "-0", "2"]
WRITTEN = [("1", 1), (1, 1), (1.0, 2), (True, 1), (10.0, 4), (1000, 5), (2, 8), (3, -1), ("01", 0)]


@pytest.mark.parametrize(("value", "place"), WRITTEN)
def test_a_number_is_the_level_that_is_written_like_it(value, place):
    assert level_codes(pl.Series([value, None]), CODED).tolist() == [place, -1]


def test_levels_of_integers_are_compared_exactly():
    large = [2**53, 2**53 + 1, 2**62, -(2**62)]
    for levels in (large, [str(level) for level in large]):
        assert level_codes(pl.Series(large), levels).tolist() == [0, 1, 2, 3]
        assert level_codes(pl.Series([2**62 + 1]), levels).tolist() == [-1]


@pytest.mark.parametrize(
    "levels", [["01", "02", "10"], ["True", "False"], ["1", "2"], ["1.50", "2"]]
)
@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("saved", [False, True])
def test_a_csv_is_read_in_the_types_of_the_fit(levels, pieces, saved, tmp_path, monkeypatch):
    """A later file whose values would be guessed as numbers or booleans has the strings of the fit."""
    if pieces:
        monkeypatch.setattr("gentle.sources.files.SMALL", 0)
    table, place = rows_of(levels)
    table = table.with_columns(g=pl.Series([levels[at] for at in place], dtype=pl.Categorical))
    fit = gentle.fit(table, target="y", solver="exact")
    if saved:
        fit.save(tmp_path / "m.gentle")
        fit = gentle.load(tmp_path / "m.gentle")
    for at, level in enumerate(levels):
        some = table.filter(pl.Series(place == at))
        path = csv_file(
            tmp_path, {"x": list(map(str, some["x"])), "g": [level] * some.height}, f"{at}.csv"
        )
        np.testing.assert_allclose(fit.predict(path), fit.predict(some), rtol=1e-12)


def split_frame(n=40):
    """A level and a value of x that only held-out rows have."""
    rng = np.random.default_rng(1)
    g = ["a", "b", "c"] * 10 + ["a", "b", "late", "c", "late", *"abcab"]
    return pl.DataFrame({"y": rng.normal(size=n), "x": rng.normal(size=n), "g": g})


@pytest.mark.parametrize(
    "form", [{"target": "y"}, {"formula": "y ~ x + g"}, {"formula": "y ~ C(g) + x"}]
)
@pytest.mark.parametrize("engine", ["here", "threads"])
def test_a_level_that_only_held_out_rows_have_is_a_choice(form, engine):
    table = split_frame()
    fitted = gentle.fit(table[:30], solver="exact", **form)
    how = {"test": 0.25, "solver": "exact", "engine": engine, **form}
    with pytest.raises(GentleError, match=r"'late' in row 33.*unseen='reference'"):
        gentle.fit(table, **how)
    with pytest.raises(GentleError, match="unseen must be"):
        gentle.fit(table, unseen="drop", **how)
    late = table[30:]["g"] == "late"
    for unseen, words, scored in (
        (
            "reference",
            "2 have a level .* scored as if",
            table[30:].with_columns(g=pl.col("g").replace("late", "a")),
        ),
        ("missing", "2 have a level .* left out", table[30:].filter(~late)),
    ):
        with pytest.warns(GentleWarning, match=words):
            found = gentle.fit(table, unseen=unseen, **how)
        assert found.coef == pytest.approx(fitted.coef)
        assert found.held_out.n_rows == scored.height
        errors = scored["y"].to_numpy() - fitted.predict(scored)
        assert found.held_out.mse == pytest.approx(np.mean(errors**2))


@pytest.mark.parametrize("kind", [pl.DataFrame, pl.DataFrame.to_pandas, pl.DataFrame.to_arrow])
@pytest.mark.parametrize("width", [1, 2])
def test_an_unnamed_target_beside_a_column_y_has_a_name_of_its_own(kind, width):
    rng = np.random.default_rng(0)
    names = ["y"] if width == 1 else ["y", "y1"]
    x = rng.normal(size=(30, width))
    y = x.sum(axis=1) + rng.normal(size=30)
    frame = kind(pl.DataFrame(x, schema=names))
    fit = gentle.fit((frame, y))
    wanted = gentle.fit((x, y))
    np.testing.assert_allclose(fit.values, wanted.values, rtol=1e-12)
    assert (fit.target, fit.names) == ("(y)", ("Intercept", *names))
    by_names = gentle.fit((x, y), names=names)
    assert (by_names.target, by_names.names) == (fit.target, fit.names)
    many = gentle.fit((frame, np.column_stack([y, -y])))
    assert list(many) == (["y1", "y2"] if width == 1 else ["(y1)", "(y2)"])
    np.testing.assert_allclose(fit.predict(frame), wanted.predict(x), rtol=1e-12)


def coded_frame(values):
    """A frame with a category of numbers or booleans, in which every value is often there."""
    rng = np.random.default_rng(0)
    values = [values[at % len(values)] for at in range(30)]
    return pl.DataFrame({"y": rng.normal(size=30), "x": rng.normal(size=30), "k": values})


AS_TEXT = {
    "strings": lambda k: k.cast(pl.String),
    "capitals": lambda k: k.cast(pl.String).str.to_titlecase(),
    "categories": lambda k: k.cast(pl.String).cast(pl.Categorical),
    "floats": lambda k: k.cast(pl.Float64),
    "strings of floats": lambda k: k.cast(pl.Float64).cast(pl.String),
    "strings of integers": lambda k: (
        k if k.dtype == pl.String else k.cast(pl.Float64).cast(pl.Int64).cast(pl.String)
    ),
}


@pytest.mark.parametrize("values", [[1, 2, 3], [True, False], [-1.0, 0.0, 7.0], [2**60, 2**60 + 1]])
@pytest.mark.parametrize("kind", AS_TEXT)
@pytest.mark.parametrize("source", ["frame", "csv", "loaded"])
def test_levels_of_numbers_are_found_by_value_in_text(values, kind, source, tmp_path):
    if values[0] == 2**60 and ("float" in kind or "integers" in kind):
        pytest.skip("float64 does not tell these apart")
    table = coded_frame(values)
    fit = gentle.fit(table, "y ~ x + C(k) + C(k):x")
    expected = fit.predict(table)
    later = table.with_columns(AS_TEXT[kind](table["k"]).alias("k"))
    if source == "loaded":
        fit.save(tmp_path / "m.gentle")
        fit = gentle.load(tmp_path / "m.gentle")
    if source == "csv":
        later.write_csv(tmp_path / "later.csv")
        later = tmp_path / "later.csv"
    assert fit.predict(later) == pytest.approx(expected, rel=1e-12)


def test_a_word_among_levels_of_numbers_is_a_level_that_the_fit_did_not_see():
    table = coded_frame([1, 2, 3])
    fit = gentle.fit(table, "y ~ x + C(k)")
    later = table.with_columns(pl.col("k").cast(pl.String).replace("2", "two"))
    with pytest.raises(GentleError, match=r"column 'C\(k\)'.*'two' in row 2"):
        fit.predict(later)
    with pytest.warns(GentleWarning, match="10 have a level"):
        found = fit.predict(later, unseen="missing")
    assert (np.isnan(found) == (later["k"] == "two").to_numpy()).all()
    with pytest.raises(GentleError, match="'k' of the frame must be numbers"):
        gentle.fit(table, "y ~ x + k + C(k):x").predict(later)


@pytest.mark.parametrize(
    ("values", "lost", "reference"),
    [
        ([1, 2, 3], 1, "2"),
        ([1, 2, 3], 3, "1"),
        ([True, False], True, "False"),
        ([0.5, 2.5], 0.5, "2.5"),
        ([date(2024, 1, 1), date(2024, 2, 1)], date(2024, 1, 1), "2024-02-01"),
    ],
)
@pytest.mark.parametrize("why", ["weight", "missing x", "missing y"])
def test_a_level_of_numbers_without_rows_is_named_with_the_reference(values, lost, reference, why):
    gone = pl.col("k") == lost
    column = {"weight": "w", "missing x": "x", "missing y": "y"}[why]
    none = 0.0 if why == "weight" else None
    table = coded_frame(values).with_columns(w=pl.lit(1.0))
    table = table.with_columns(pl.when(gone).then(none).otherwise(pl.col(column)).alias(column))
    words = rf"no row that is used has '{lost}' in column 'k'.*the reference is '{reference}'"
    with pytest.warns(GentleWarning, match=words):
        fit = gentle.fit(table, "y ~ x + C(k)", weights="w")
    with pytest.raises(GentleError, match="a level that the fit did not see"):
        fit.predict(table.filter(gone).with_columns(x=0.0))


@pytest.mark.parametrize(
    "choice", [{"unseen": "reference"}, {"unseen": "missing"}, {"shuffle": True}]
)
def test_what_is_for_held_out_rows_needs_some(choice):
    table = coded_frame([1, 2, 3])
    with pytest.raises(GentleError, match=r"is for rows that are held out.*give test="):
        gentle.fit(table, "y ~ x", **choice)


@pytest.mark.parametrize(
    ("word", "way"),
    [
        (
            "22,956",
            r"decimal=','\) \(--decimal\) or .*thousands=','\) \(--thousands\) reads it as a number",
        ),
        ("$12", r"symbols='\$'\) \(--symbols\) reads it as a number"),
        ("(3)", r"parentheses=True\) \(--parentheses\) reads it as a number"),
        (".", r"null_values=\['\.'\]\) \(--null-values\) reads it as a missing value"),
        ("late", "'late' in row 2$"),
    ],
)
def test_a_target_with_a_word_among_its_numbers_names_what_reads_it(word, way):
    table = pl.DataFrame({"y": ["1", word, "3", "4.5"], "x": [1.0, 2.0, 4.0, 3.0]})
    with pytest.raises(
        GentleError, match=rf"'y' of the frame must be numbers, but is text: .*{way}"
    ):
        gentle.fit(table, "y ~ x")
