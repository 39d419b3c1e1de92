"""Laws of functions that learn: from all rows, in batches, what formulaic learns of them in memory."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from formulaic import model_matrix
from hypothesis import given
from hypothesis import strategies as st
from pieces import Pieces

import gentle
from gentle import GentleError, GentleWarning
from gentle.calls import ELEMENTWISE
from gentle.design import Design, Rows, learn_design
from gentle.learning import Digits, Extent, Least, Mean, _quantiles
from gentle.sources import Frame

N = 400
TERMS = [
    "center(a)",
    "scale(a)",
    "standardize(a)",
    "scale(a, center=False)",
    "scale(a, ddof=0)",
    "scale(center(a))",
    "center(a) + center(b) + center(a):b",
    "I(center(a) * scale(b))",
    "scale(far)",
    "poly(a, 1)",
    "poly(a, 4)",
    "poly(log(a), 2)",
    "poly(far, 3)",
    "scale(poly(a, 2))",
    "center(bs(b, df=4))",
    "bs(a)",
    "bs(a, df=5)",
    "bs(b, df=7, degree=2)",
    "bs(b, df=6, include_intercept=True) - 1",
    "bs(I(a + b), df=5)",
    "bs(a, knots=[1, 1.5])",
    "bs(b, df=5, lower_bound=-1, upper_bound=1, extrapolation='clip')",
    "bs(b, df=5, lower_bound=-1, extrapolation='zero')",
    "bs(b, df=5, lower_bound=-1, upper_bound=1, extrapolation='extend')",
    "bs(ties, df=6)",
    "cr(a, df=4)",
    "cr(ties, df=4)",
    "cs(log(a), df=5)",
    "cc(b, df=4)",
    "cr(a, df=4, constraints='center')",
    "cc(b, df=4, constraints='center')",
    "cr(b, df=4, lower_bound=-1, upper_bound=1, extrapolation='clip', constraints='center')",
    "cr(b, df=4, lower_bound=-1, upper_bound=1, extrapolation='zero', constraints='center')",
    "C(n)",
    "C(n, contr.sum)",
    "C(I(a > 1))",
    "C(floor(a))",
    "C(n):poly(a, 2)",
    "g * center(a)",
]


def frame(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "y": rng.normal(size=n) + 10,
            "a": rng.uniform(0.5, 2.5, n),
            "b": rng.normal(size=n),
            "far": rng.normal(size=n) + 1e4,
            "ties": rng.integers(0, 30, n).astype(float),
            "n": rng.integers(0, 4, n),
            "g": np.array(["north", "east", "south"])[rng.integers(0, 3, n)],
        }
    )


def with_holes(table):
    """The table with nulls and NaN in places; its integers stay integers."""
    at = pl.int_range(pl.len())
    return table.with_columns(
        a=pl.when(at % 11 == 3).then(None).otherwise("a"),
        b=pl.when(at % 13 == 5).then(float("nan")).otherwise("b"),
        y=pl.when(at % 17 == 0).then(None).otherwise("y"),
    )


def by_formulaic(text, table):
    """(names, x) of the complete rows by formulaic, with all of them in memory."""
    plain = pd.DataFrame({name: table[name].to_numpy() for name in table.columns})
    plain["g"] = pd.Categorical(table["g"].to_list())
    found = model_matrix(text, plain, context=ELEMENTWISE | {"np": np}).rhs
    return list(found.columns), np.asarray(found, dtype=float)


def numbers(source, design, rows=7):
    batches = list(Rows(source, design, rows))
    x = np.concatenate([batch.x.numpy() for batch in batches])
    return np.column_stack([np.ones(len(x)), x]) if design.intercept else x


def complete(table, names):
    return table.filter(
        pl.all_horizontal(pl.col(name).is_not_null() & ~pl.col(name).is_nan() for name in names)
        if names
        else pl.lit(value=True)
    )


@pytest.mark.parametrize("holes", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("term", TERMS)
def test_functions_learn_in_pieces_what_formulaic_learns_in_memory(term, holes):
    text = f"y ~ {term}"
    table = with_holes(frame()) if holes else frame()
    source = Pieces(table)
    design = learn_design(source, text)
    named = [name for name in ("y", "a", "b", "far", "ties") if name in design.needed]
    names, wanted = by_formulaic(text, complete(table, named))
    assert (("Intercept",) * design.intercept + design.names) == tuple(names)
    found = numbers(source, design)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("term", TERMS)
def test_a_design_is_made_again_from_plain_data(term):
    source = Frame(frame())
    design = learn_design(source, f"y ~ {term}")
    again = Design.from_state(json.loads(json.dumps(design.state(), allow_nan=False)))
    assert again.names == design.names
    assert again.meaning == design.meaning
    assert again.encoder.powers == design.encoder.powers
    assert (numbers(source, again) == numbers(source, design)).all()


@pytest.mark.parametrize("part", ["formula", "columns", "levels", "transforms", "names"])
@pytest.mark.parametrize("junk", [None, 3, "I(exec('1'))", [], {}, {"pairs": [["poly(a, 2)", {}]]}])
def test_a_state_that_is_damaged_is_refused(part, junk):
    state = learn_design(Frame(frame()), "y ~ poly(a, 2) * g").state()
    state["encoder"][part] = junk
    with pytest.raises(GentleError):
        Design.from_state(state)


def test_values_that_a_function_cannot_take_teach_nothing():
    table = frame()
    there = table.filter(pl.col("b") > 0)
    found = gentle.fit(table, "y ~ a + poly(log(b), 2)")
    wanted = gentle.fit(there, "y ~ a + poly(log(b), 2)")
    assert found.n_rows == there.height
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-9)


@pytest.mark.parametrize(
    ("term", "reason"),
    [
        ("center(log(zero))", "infinite"),
        ("bs(a, df=2)", "df"),
        ("bs(a, lower_bound=1, df=5, extrapolation='raise')", "bounds"),
        ("cr(a)", "df"),
        ("cr(zero, df=4)", "knots"),
        ("poly(zero, 2)", r"poly\(zero, 2\): the column is constant"),
        ("poly(tenth, 1)", r"poly\(tenth, 1\): the column is constant"),
        ("scale(tenth)", r"scale\(tenth\): a column is constant"),
        ("C(poly(a, 2))", "one column"),
        ("bs(poly(a, 2))", "one column"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_one_sentence(term, reason):
    with pytest.raises(GentleError, match=reason) as refused:
        learn_design(
            Pieces(frame().with_columns(zero=pl.lit(0.0), tenth=pl.lit(0.1))), f"y ~ {term}"
        )
    assert "\n" not in str(refused.value)


def test_a_stream_that_is_read_once_can_teach_nothing():
    with pytest.raises(GentleError, match=r"'poly\(a, 2\)' must learn .* the pieces .* only once"):
        learn_design(Pieces(frame(), replayable=False), "y ~ poly(a, 2) + b")


@pytest.mark.parametrize(
    "term",
    ["a + log(b)", "scale(a, center=1, scale=2)", "bs(a, knots=[1], lower_bound=0, upper_bound=3)"],
)
def test_what_is_said_by_numbers_needs_no_reading(term):
    source = Pieces(frame(), replayable=False)
    assert learn_design(source, f"y ~ {term}").names
    assert not source.readings


def test_a_value_beyond_the_knots_is_continued_and_said_or_refused_by_choice():
    beyond = frame().with_columns(a=pl.lit(100.0))
    found = gentle.fit(frame(), "y ~ bs(a, df=5)")
    with pytest.warns(GentleWarning, match="beyond the boundary knots of bs"):
        assert np.isfinite(found.predict(beyond)).sum() == beyond.drop_nulls().height
    refusing = gentle.fit(frame(), "y ~ bs(a, df=5, extrapolation='raise')")
    with pytest.raises(GentleError, match="beyond upper"):
        refusing.predict(beyond)


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60),
    st.integers(1, 60),
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
    st.booleans(),
)
def test_quantiles_by_passes_are_those_of_numpy(values, size, shares, distinct):
    values = np.array(values)
    pieces = [values[at : at + size] for at in range(0, len(values), size)]
    seen = Extent((-np.inf, np.inf), keep=3)
    for piece in pieces:
        seen = seen.add(piece)
    recipe = _quantiles(np.array(shares), seen, distinct=distinct)
    try:
        fold = next(recipe)
        while True:
            assert isinstance(fold, Digits | Least)
            for piece in pieces:
                fold = fold.add(piece)
            fold = recipe.send(fold)
    except StopIteration as end:
        found = end.value
    wanted = np.quantile(np.unique(values) if distinct else values, shares)
    np.testing.assert_array_equal(found, wanted)


@given(st.integers(1, 50), st.floats(-1e6, 1e6))
def test_means_do_not_depend_on_the_batches(size, offset):
    values = np.random.default_rng(size).normal(size=500) + offset
    seen = Mean()
    for at in range(0, len(values), size):
        seen = seen.add(values[at : at + size])
    assert seen.mean == pytest.approx(values.mean(), rel=1e-13, abs=1e-13)
    assert seen.square == pytest.approx(((values - values.mean()) ** 2).sum(), rel=1e-9)


OFFSETS = ["offset(b)", "offset(log(a))", "offset(b) + offset(log(a))", "offset(center(b))"]


@pytest.mark.parametrize("term", OFFSETS)
def test_an_offset_in_a_formula_is_the_offset_given_beside_it(term):
    table = frame()
    known = sum(
        {"offset(b)": table["b"], "offset(log(a))": table["a"].log()}.get(
            one, table["b"] - table["b"].mean()
        )
        for one in term.split(" + ")
    )
    found = gentle.fit(table, f"y ~ far + {term}")
    wanted = gentle.fit(table, "y ~ far", offset=known.to_numpy())
    assert found.names == wanted.names
    assert ", offset " in found.summary()
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-12)
    np.testing.assert_allclose(
        found.predict(table), wanted.predict(table, offset=known), rtol=1e-12
    )


@pytest.mark.parametrize(
    "text", ["y ~ a:offset(b)", "y ~ offset(b, a)", "offset(y) ~ a", "y ~ offset(g)"]
)
def test_an_offset_stands_alone_and_is_a_number(text):
    with pytest.raises(GentleError):
        gentle.fit(frame(), text)
