"""Laws of levels: many of them make sparse columns, and those that a fit did not see are not guessed."""

import numpy as np
import polars as pl
import pytest
from pieces import Pieces
from scipy.sparse import csr_array

import gentle
from gentle import GentleError
from gentle.design import Rows, learn_design
from gentle.levels import levels_of
from gentle.sources import Frame
from gentle.spreading import Placed

MANY = 6_000


def wide_frame(n=3 * MANY, seed=0):
    """Two numbers and a category of so many levels, as text and as numbers, each at least twice."""
    rng = np.random.default_rng(seed)
    code = np.concatenate([np.arange(MANY), np.arange(MANY), rng.integers(0, MANY, n - 2 * MANY)])
    a, b = rng.normal(size=(2, n))
    y = rng.normal(size=MANY)[code] + a - b + 0.1 * rng.normal(size=n)
    texts = np.array([f"level {level:05d}" for level in range(MANY)])[code]
    table = pl.DataFrame({"y": y, "a": a, "g": texts, "b": b, "n": code})
    return table.sample(fraction=1, shuffle=True, seed=seed)


def by_hand(table):
    """[a, one column a level but the first, b], sparse."""
    code, n = table["n"].to_numpy(), table.height
    rows, later = np.arange(n), np.flatnonzero(code > 0)
    values = [table["a"].to_numpy(), np.ones(len(later)), table["b"].to_numpy()]
    places = [np.zeros(n, int), code[later], np.full(n, MANY)]
    return csr_array(
        (np.concatenate(values), (np.concatenate([rows, later, rows]), np.concatenate(places))),
        shape=(n, MANY + 1),
    )


def same_rows(source, design, wanted, rows):
    batches = list(Rows(source, design, rows, raw=True))
    assert all(batch.x.layout == batches[0].x.layout for batch in batches)
    found = np.concatenate([batch.x.to_dense().numpy() for batch in batches])
    np.testing.assert_array_equal(found, wanted.toarray())


@pytest.mark.parametrize("formula", [None, "y ~ a + g + b", "y ~ a + C(g) + b", "y ~ a + C(n) + b"])
def test_many_levels_are_sparse_columns(formula):
    table = wide_frame()
    data = table.drop("n") if formula is None else table
    source = Frame(data)
    design = learn_design(source, formula, targets=() if formula else ("y",))
    assert design.names[0] == "a"
    assert design.names[-1] == "b"
    same_rows(source, design, by_hand(table), 5_000)


def test_a_fit_of_many_levels_is_that_of_the_sparse_columns_by_hand(monkeypatch):
    table = wide_frame()
    wanted = gentle.fit((by_hand(table), table["y"].to_numpy()))
    found = gentle.fit(table.drop("n"), target="y")
    np.testing.assert_array_equal(found.values, wanted.values)
    np.testing.assert_allclose(found.predict(table[:50]), wanted.predict(by_hand(table)[:50]))
    monkeypatch.setattr("gentle.design.HELD_BYTES", 0)
    streamed = gentle.fit(table.drop("n"), target="y")
    assert streamed.certificate.within < 1e-3
    np.testing.assert_allclose(streamed.values, wanted.values, atol=1e-3)


def test_the_constant_and_a_full_coding_keep_their_places():
    table = wide_frame()
    design = learn_design(Frame(table), "y ~ b + g - 1")
    (batch,) = Rows(Frame(table), design, table.height, raw=True)
    x = batch.x.to_dense().numpy()
    assert design.names[1] == "g[level 00000]"
    np.testing.assert_array_equal(x[:, 0], table["b"])
    np.testing.assert_array_equal(x[:, 1:].argmax(axis=1), table["n"])
    assert (x[:, 1:].sum(axis=1) == 1).all()


def test_a_product_of_many_levels_is_refused():
    with pytest.raises(GentleError, match="one category each"):
        gentle.fit(wide_frame(), "y ~ a:g")


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_levels_are_those_of_all_rows_in_any_pieces(rows):
    texts = ["b", None, "ä", "a", "Z", "", "b ", "10", "b"] * 5 + ["late"]
    source = Pieces(pl.DataFrame({"g": texts}), rows)
    wanted = tuple(sorted({text for text in texts if text is not None}))
    assert levels_of(Placed(source), ["g"]) == {"g": wanted}
    assert len(source.readings) == 1


def test_a_hundred_thousand_levels_take_no_loop_over_them():
    table = pl.DataFrame({"g": np.arange(100_000).astype(str), "y": np.arange(100_000.0)})
    assert (
        len(levels_of(Placed(Frame(table.with_columns("x" + pl.col("g")))), ["g"])["g"]) == 100_000
    )


UNSEEN = pl.DataFrame({"a": [1.0, 2, 3], "g": ["north", "nord", "south"], "n": [1, 7, 2]})


def small():
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "y": rng.normal(size=60),
            "a": rng.normal(size=60),
            "g": ["north", "east", "south"] * 20,
            "n": [1, 2, 3, 2] * 15,
        }
    )


@pytest.mark.parametrize("term", ["a + g", "a + C(g)", "a + C(n)", None])
def test_a_level_that_the_fit_did_not_see(term):
    """It is refused; or it counts as the reference; or its row is left out: by choice."""
    table = small().drop("n") if term is None else small()
    source = Frame(table)
    target = () if term else ("y",)
    design = learn_design(source, term and f"y ~ {term}", targets=target)
    (chunk,) = Frame(UNSEEN).scan(design.explaining, 10)
    with pytest.raises(GentleError, match=r"in row 2, a level that the fit did not see"):
        design.features(chunk, "new rows")
    found = design.features(chunk, "new rows", "reference")
    assert found.n_unseen == 1
    assert list(found.rows) == [0, 1, 2]
    assert list(found.x[1]) == [2.0, *np.zeros(len(design.names) - 1)]
    found = design.features(chunk, "new rows", "missing")
    assert found.n_unseen == 1
    assert list(found.rows) == [0, 2]
    with pytest.raises(GentleError, match="unseen must be 'error', 'reference' or 'missing'"):
        design.features(chunk, "new rows", "keep")


@pytest.mark.parametrize("term", ["g - 1", "a + C(n) - 1", "a + C(g, contr.sum)", "a:g"])
def test_without_a_reference_level_no_level_counts_as_it(term):
    fit = gentle.fit(small(), f"y ~ {term}")
    with pytest.raises(GentleError, match=r"reference level, and '.*' has none"):
        fit.predict(UNSEEN, unseen="reference")
    np.testing.assert_array_equal(
        fit.predict(UNSEEN[::2], unseen="reference"), fit.predict(UNSEEN[::2])
    )


def test_the_base_of_a_contrast_is_its_reference_level():
    fit = gentle.fit(small(), "y ~ C(g, contr.treatment('south'))")
    with pytest.warns(gentle.GentleWarning):
        found = fit.predict(UNSEEN, unseen="reference")
    assert found[1] == found[2]


def stream(table, rows):
    """A generator of frames, which comes once."""
    return (table[at : at + rows] for at in range(0, table.height, rows))


def late_frame():
    """Levels that show up one after the other, the reference and a rare one last of all."""
    rng = np.random.default_rng(1)
    n = 400
    levels = np.array(["m", "k", "z", "b", "a"])[np.sort(rng.integers(0, 4, n))]
    levels[-3:] = "a"
    x = rng.normal(size=(n, 2)) + 100
    table = pl.DataFrame({"x1": x[:, 0], "g": levels, "x2": x[:, 1], "h": levels[::-1].copy()})
    y = x.sum(axis=1) + (levels == "a") + rng.normal(size=n)
    return table.with_columns(
        y=y,
        z=y**2,
        w=rng.uniform(1, 2, n),
        g=pl.when(pl.int_range(pl.len()) % 50 == 9).then(None).otherwise("g"),
    )


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("intercept", [True, False])
def test_a_level_that_comes_in_the_last_batch_gives_the_answer_of_memory(rows, intercept):
    table = late_frame().drop("h")
    options = {"target": ["y", "z"], "weights": "w", "intercept": intercept}
    found = gentle.fit(stream(table, rows), **options)
    wanted = gentle.fit(table, solver="exact", **options)
    for target in ("y", "z"):
        one, other = found[target], wanted[target]
        assert one.names == other.names
        assert one.tally == other.tally
        np.testing.assert_allclose(one.values, other.values, rtol=1e-10)
        np.testing.assert_allclose(
            list(one.std_errors.values()), list(other.std_errors.values()), rtol=1e-10
        )
        np.testing.assert_allclose(one.predict(table), other.predict(table), rtol=1e-10)


def test_two_texts_and_a_dependence_between_them_are_as_in_memory():
    table = late_frame().drop("w", "z")
    with pytest.warns(gentle.RankWarning):
        wanted = gentle.fit(table.with_columns(h=pl.col("g")), target="y")
    with pytest.warns(gentle.RankWarning):
        found = gentle.fit(stream(table.with_columns(h=pl.col("g")), 9), target="y")
    assert set(found.dropped) == set(wanted.dropped)
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-9)
    found, wanted = (gentle.fit(data, target="y") for data in (stream(table, 9), table))
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-10)


def test_numbers_that_come_once_need_no_levels():
    table = late_frame().select("x1", "x2", "y")
    found, wanted = (gentle.fit(data, target="y") for data in (stream(table, 9), table))
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-10)
    formula = gentle.fit(stream(late_frame(), 9), "y ~ log(x1) + x2")
    np.testing.assert_allclose(
        formula.values, gentle.fit(table, "y ~ log(x1) + x2").values, rtol=1e-9
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"errors": "HC1"}, "errors='HC1' reads the rows more than once"),
        ({"solver": "sgd"}, "solver='sgd' reads the rows more than once"),
        ({"method": "qr"}, "QR triangle"),
        ({"missing": "mean"}, "only once"),
        ({"start": [0.0]}, "needs no start"),
        ({"formula": "y ~ x1 + g", "target": None}, "levels of 'g'"),
    ],
)
def test_what_reads_the_rows_again_is_refused_where_they_come_once(options, reason):
    with pytest.raises(GentleError, match=reason):
        gentle.fit(stream(late_frame(), 50), **{"target": "y", **options})


def test_one_pass_over_a_reader_has_no_levels_to_begin_with():
    reader = small().to_arrow().to_reader()
    with pytest.raises(GentleError, match="one pass needs the levels of 'g'"):
        gentle.fit(reader, target="y", passes=1, errors="random-scaling")


def test_too_many_levels_for_one_reading_are_refused():
    with pytest.raises(GentleError, match="more than 4,096 columns"):
        gentle.fit(stream(wide_frame().drop("n"), 5_000), target="y")


def test_numbers_among_which_a_word_stands_are_refused_in_a_stream_too():
    table = pl.DataFrame({"y": np.arange(20.0), "x": [*map(str, range(19)), "oops"]})
    with pytest.raises(GentleError, match="'oops' in row 20"):
        gentle.fit(stream(table, 6), target="y")


def test_a_text_beside_the_formula_is_no_part_of_it():
    table = small().with_columns(firm=pl.Series(["p", "q", "r", "s", "t", "u"] * 10))
    found = gentle.fit(table, "y ~ a + C(n)", cluster="firm")
    assert found.coef == gentle.fit(table, "y ~ a + C(n)").coef
