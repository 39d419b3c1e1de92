"""Choices may be written as users of R, Stata and torch write them, and answers are frames."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import statsmodels.formula.api as smf
import torch

import gentle
from gentle.errors import GentleError

RNG = np.random.default_rng(41)
N = 80
FRAME = pl.DataFrame(
    {
        "a": RNG.normal(size=N),
        "b": RNG.normal(size=N),
        "agent": [f"agent {i % 7}" for i in range(N)],
        "City": [f"city {i % 5}" for i in range(N)],
    }
).with_columns(y=1 + pl.col("a") + pl.Series(RNG.normal(size=N)))


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        *((f"{head}{k}", f"HC{k}") for head in ("hc", "Hc", "HC") for k in range(4)),
        *((name, "HC1") for name in ("robust", "Robust", "ROBUST")),
        *((name, "HAC") for name in ("hac", "Hac")),
        ("Classical", "classical"),
    ],
)
def test_kinds_of_errors_are_known_in_any_case(written, kind):
    found, expected = (gentle.fit(FRAME, "y ~ a + b", errors=errors) for errors in (written, kind))
    assert found.std_errors == expected.std_errors
    assert found.errors == expected.errors
    if kind == "HC1":
        assert "HC1" in found.summary()


@pytest.mark.parametrize("wrong", ["HC4", "robuster", ""])
def test_other_kinds_are_refused_with_those_that_there_are(wrong):
    with pytest.raises(GentleError, match="kind of errors"):
        gentle.fit(FRAME, "y ~ a", errors=wrong)


def test_a_kind_that_is_no_string_is_refused():
    with pytest.raises(GentleError, match="errors must be a string such as 'HC1', not int"):
        gentle.fit(FRAME, "y ~ a", errors=3)


def test_a_list_of_columns_is_one_way_or_two():
    two = gentle.fit(FRAME, "y ~ a + b", cluster=("agent", "City"))
    assert gentle.fit(FRAME, "y ~ a + b", cluster=["agent", "City"]).std_errors == two.std_errors
    one = gentle.fit(FRAME, "y ~ a + b", cluster="agent")
    for cluster in (["agent"], FRAME["agent"].to_list(), FRAME["agent"], FRAME["agent"].to_numpy()):
        assert gentle.fit(FRAME, "y ~ a + b", cluster=cluster).std_errors == one.std_errors
    with pytest.raises(GentleError, match="one way or two, and 3"):
        gentle.fit(FRAME, "y ~ a + b", cluster=["agent", "City", "b"])


def test_a_list_that_may_be_either_is_refused():
    few = pl.DataFrame({"y": [1.0, 2.0], "a": ["u", "v"]})
    with pytest.raises(GentleError, match="may name columns of the frame or hold the labels"):
        gentle.fit(few, "y ~ 1", cluster=["a", "y"])


def test_a_list_with_a_misspelt_column_says_which():
    with pytest.raises(GentleError, match=r"no column 'Citi' \(did you mean 'City'\?\)"):
        gentle.fit(FRAME, "y ~ a", cluster=["agent", "Citi"])


@pytest.mark.parametrize("dtype", [torch.float32, np.float32, np.dtype("float32"), "float32"])
def test_a_dtype_may_be_that_of_a_library(dtype):
    fit = gentle.fit(FRAME, "y ~ a + b", solver="sgd", dtype=dtype)
    assert fit.choices.dtype == "float32"


@pytest.mark.parametrize("dtype", [torch.int64, "float16", object])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(GentleError, match="dtype"):
        gentle.fit(FRAME, "y ~ a + b", solver="sgd", dtype=dtype)


# Nested models


@pytest.mark.parametrize("weights", [None, "w"])
def test_comparing_nested_models_is_the_f_test(weights):
    frame = FRAME.with_columns(w=pl.Series(RNG.uniform(0.5, 2, N)))
    pandas = frame.to_pandas()
    for small, large in [
        ("a", "a + b"),
        ("1", "a + b"),
        ("a", "a + b + C(agent)"),
        ("b - 1", "a + b"),
    ]:
        one, two = (gentle.fit(frame, f"y ~ {right}", weights=weights) for right in (small, large))
        theirs = [
            (smf.ols if weights is None else smf.wls)(
                f"y ~ {right}", pandas, **({} if weights is None else {"weights": pandas[weights]})
            ).fit()
            for right in (small, large)
        ]
        spare = theirs[0].df_resid - theirs[1].df_resid
        f = (theirs[0].ssr - theirs[1].ssr) / spare / theirs[1].mse_resid
        for found in (one.compare(two), two.compare(one)):
            assert found.statistic == pytest.approx(f, rel=1e-9)
            assert (found.df_num, found.df_denom) == (spare, theirs[1].df_resid)


def test_nested_models_of_other_rows_or_columns_are_refused():
    large = gentle.fit(FRAME, "y ~ a + b")
    with pytest.raises(GentleError, match=r"same rows, and these have 80 and 79"):
        large.compare(gentle.fit(FRAME.head(79), "y ~ a"))
    with pytest.raises(GentleError, match="same rows"):
        large.compare(gentle.fit(FRAME.with_columns(pl.col("y") * 2), "y ~ a"))
    with pytest.raises(GentleError, match="nested"):
        gentle.fit(FRAME, "y ~ a").compare(gentle.fit(FRAME, "y ~ b"))
    assert gentle.fit(FRAME, "y ~ a").compare(gentle.fit(FRAME, "y ~ a")).agrees


def test_an_f_without_a_meaning_says_why():
    few = gentle.fit(FRAME, "y ~ a + b + C(City) * a", cluster="agent")
    assert np.isnan(few.f_test.p_value)
    assert "rank 6" in str(few.f_test)
    perfect = gentle.fit((np.eye(9)[:, :2], np.eye(9)[:, 0]))
    assert "essentially perfect" in str(perfect.f_test)
    assert "essentially perfect" in str(perfect.test("x1 = x2"))
    contradiction = gentle.fit(FRAME, "y ~ a + b").test("a = 0, a = 1")
    assert "contradict" in str(contradiction)


# Frames


def test_influence_is_a_frame_of_the_kind_that_came():
    pandas = FRAME.to_pandas().set_index(pd.Index(np.arange(N) * 10, name="id"))
    pandas.loc[[0, 50], "a"] = np.nan
    fit = gentle.fit(pandas, "y ~ a + b")
    found = fit.influence(pandas, dfbetas=True)
    assert isinstance(found, pd.DataFrame)
    assert list(found.index) == [label for label in pandas.index if label not in (0, 50)]
    whole = gentle.fit(FRAME, "y ~ a + b")
    table = whole.influence(FRAME.to_arrow())
    assert isinstance(table, pa.Table)
    polars = whole.influence(FRAME, dfbetas=True)
    assert isinstance(polars, pl.DataFrame)
    assert polars.columns[:4] == ["row", "fitted", "residual", "leverage"]
    assert polars.columns[-3:] == ["dfbetas_Intercept", "dfbetas_a", "dfbetas_b"]
    assert polars["row"].to_list() == list(range(N))
    arrays = (FRAME.select("a", "b").to_numpy(), FRAME["y"].to_numpy())
    assert isinstance(gentle.fit(arrays).influence(arrays), pl.DataFrame)
