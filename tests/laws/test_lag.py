"""Laws of lag() and diff(): the rows before, in the order of the source, whatever the chunks and parts."""

import numpy as np
import polars as pl
import pytest
from pieces import Pieces

import gentle
from gentle import GentleError
from gentle.design import Rows, learn_design
from gentle.given import with_shifts
from gentle.sources import Frame, open_source

N = 50
TERMS = {
    "lag(x)": lambda t: t["x"].shift(1),
    "lag(x, 3)": lambda t: t["x"].shift(3),
    "lag(x, k=7)": lambda t: t["x"].shift(7),
    "diff(x)": lambda t: t["x"] - t["x"].shift(1),
    "diff(x, 2)": lambda t: t["x"] - t["x"].shift(2),
    "diff(diff(x))": lambda t: t["x"] - 2 * t["x"].shift(1) + t["x"].shift(2),
    "lag(lag(x, 2), 3)": lambda t: t["x"].shift(5),
    "lag(log(x) * n)": lambda t: (t["x"].log() * t["n"]).shift(1),
    "I(lag(x) + lag(n, 2))": lambda t: t["x"].shift(1) + t["n"].shift(2),
    "lag(y)": lambda t: t["y"].shift(1),
    "diff(n)": lambda t: t["n"] - t["n"].shift(1),
    "lag(I(x > 1))": lambda t: (t["x"] > 1).shift(1).cast(pl.Float64),
    "lag(x, 60)": lambda t: t["x"].shift(60),
}


def frame():
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "y": rng.normal(size=N) + 10,
            "x": rng.uniform(0.5, 2, N),
            "n": rng.integers(0, 10**17, N),
            "g": rng.choice(["p", "q"], N),
        }
    )


TABLE = frame()


def x_of(source, text, size):
    """(x, rows) of a formula over a source, batch by batch."""
    source = with_shifts(source, text)
    design = learn_design(source, text)
    batches = list(Rows(source, design, size))
    return np.concatenate([b.x.numpy() for b in batches]), np.concatenate([b.rows for b in batches])


@pytest.mark.parametrize("term", [term for term in TERMS if term != "lag(x, 60)"])
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_values_are_those_of_rows_before_in_any_batches(term, size):
    wanted = TERMS[term](TABLE).to_numpy()
    there = ~np.isnan(wanted)
    for source in (Frame(TABLE), Pieces(TABLE)):
        x, rows = x_of(source, f"y ~ {term}", size)
        np.testing.assert_array_equal(rows, np.flatnonzero(there))
        np.testing.assert_allclose(x[:, 0], wanted[there], rtol=1e-15)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("parts", [2, 3, 13, 50, 60])
def test_each_part_knows_the_rows_before_it(term, parts):
    text = f"y ~ {term}"
    source = with_shifts(Frame(TABLE), text)
    (name,) = {shift.name for shift in source.shifts} & {source.shifts[-1].name}
    whole = next(iter(source.scan([name], N))).table[name]
    pieces = [chunk.table[name] for part in source.split(parts) for chunk in part.scan([name], 4)]
    assert pl.concat(pieces).equals(whole)
    halves = [it for part in source.split(2) for it in part.split(parts)]
    again = [chunk.table[name] for part in halves for chunk in part.scan([name], 4)]
    assert pl.concat(again).equals(whole)


@pytest.mark.parametrize("kind", ["csv", "parquet", "ipc"])
@pytest.mark.parametrize("parts", [1, 4])
def test_files_and_parts_fit_as_the_frame(kind, parts, tmp_path):
    path = tmp_path / f"t.{kind}"
    getattr(TABLE, f"write_{kind}")(path)
    text = "y ~ lag(x) + diff(n) + lag(y, 2)"
    wanted = gentle.fit(
        TABLE.with_columns(a=pl.col("x").shift(1), b=pl.col("n").diff(), c=pl.col("y").shift(2)),
        "y ~ a + b + c",
    )
    fit = gentle.fit(path, text, parts=parts, engine="threads:2" if parts > 1 else "here")
    assert fit.n_rows == wanted.n_rows == N - 2
    np.testing.assert_allclose(fit.values, wanted.values, rtol=1e-9)


def test_the_first_rows_are_missing_and_counted():
    fit = gentle.fit(TABLE, "y ~ lag(x, 3)")
    assert fit.names == ("Intercept", "lag(x, 3)")
    assert fit.n_rows == N - 3
    assert fit.tally.missing == {"lag(x, 3)": 3}


def test_a_row_that_is_left_out_is_still_the_row_before():
    table = TABLE.with_columns(y=pl.when(pl.int_range(pl.len()) == 10).then(None).otherwise("y"))
    x, rows = x_of(Frame(table), "y ~ lag(x)", 4)
    assert 10 not in rows
    assert x[list(rows).index(11), 0] == TABLE["x"][10]


def test_held_out_rows_keep_the_rows_before_them():
    fit = gentle.fit(TABLE, "y ~ lag(x) + x", test=0.4, seed=3)
    assert fit.n_rows + fit.held_out.n_rows == N - 1


@pytest.mark.parametrize("saved", [False, True])
def test_predictions_go_by_the_rows_that_are_predicted(saved, tmp_path):
    fit = gentle.fit(TABLE, "y ~ lag(x) + lag(y, 2)")
    if saved:
        fit.save(tmp_path / "m")
        fit = gentle.load(tmp_path / "m")
    found = fit.predict(TABLE)
    assert np.isnan(found[:2]).all()
    np.testing.assert_allclose(fit.predict(TABLE[20:])[2:], found[22:], rtol=1e-14)
    assert fit.predict(TABLE, append=True).columns == [*TABLE.columns, "prediction"]
    TABLE.write_csv(tmp_path / "new.csv")
    fit.predict_to(tmp_path / "new.csv", tmp_path / "out.csv", append=True)
    assert pl.read_csv(tmp_path / "out.csv").columns == [*TABLE.columns, "prediction"]


def test_a_shifted_column_is_not_among_all_other_columns():
    names = gentle.fit(TABLE, "y ~ . + lag(x)").names
    assert names == ("Intercept", "x", "n", "g[T.q]", "lag(x)")


@pytest.mark.parametrize(
    "term", ["lag(g)", "lag(x, 0)", "lag(x, -1)", "lag(x, 1.5)", "lag(x, n)", "lag()", "lag(x, 1, 2)",
             "lag(scale(x))", "lag(nowhere)", "diff(x, 10**9)", "lag(poly(x, 2))", "lag(C(n))"],
)  # fmt: skip
def test_what_cannot_be_shifted_is_refused(term):
    with pytest.raises(GentleError):
        gentle.fit(TABLE, f"y ~ {term}")


def test_one_pass_over_pieces_has_no_rows_before():
    with pytest.raises(GentleError, match="rows before"):
        gentle.fit(iter([TABLE[:20], TABLE[20:]]), "y ~ lag(x)", passes=1, errors="random-scaling")


def test_the_source_must_have_the_column_that_is_shifted():
    fit = gentle.fit(TABLE, "y ~ lag(x)")
    with pytest.raises(GentleError, match="no column 'x'"):
        fit.predict(TABLE.drop("x"))
    assert open_source(TABLE).height() == N
