"""Laws of a result: each of its faces says the same, is well formed, and refuses what it cannot say."""

import json
import math
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
import torch
from rich.cells import cell_len
from sklearn.linear_model import LinearRegression

import gentle
from gentle.errors import (
    CovarianceWarning,
    GentleError,
    GentleWarning,
    PrecisionWarning,
    RankWarning,
)
from gentle.statistics import EPSILON

N = 60
NAMES = ["a_b", "50%", "x & y", "p|q", "$#{~}^\\", "[kg]", "*s", "`code`", "naïve ~ 価格"]
LONG = [
    "a name that goes on and on and never seems to end, in spite of all that was said",
    "w" * 100,
    "価格" * 30,
    "[bold]no markup[/bold]",
]


def made(seed=0, n=N):
    """A frame of two columns, a target that they explain, an offset, weights and groups."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(rng.normal(size=(n, 2)), schema=["a", "b"])
    return frame.with_columns(
        y=1 + pl.col("a") - 2 * pl.col("b") + pl.Series(rng.normal(size=n)),
        z=pl.col("a") + pl.Series(rng.normal(size=n)),
        o=pl.Series(rng.normal(size=n)),
        w=pl.Series(rng.uniform(0.5, 2, n)),
        firm=pl.Series(rng.integers(0, 12, n)).cast(pl.String),
    )


def called(names, target="y", seed=1, noise=1.0):
    """A frame with columns of these names, and a target."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, len(names)))
    y = x.sum(axis=1) + noise * rng.normal(size=N)
    return pl.DataFrame({**dict(zip(names, x.T, strict=True)), target: y})


@pytest.fixture(scope="module")
def frame():
    return made()


@pytest.fixture(scope="module")
def fit(frame):
    return gentle.fit(frame, "y ~ a + b")


@pytest.fixture(scope="module")
def ridge(frame):
    return gentle.fit(frame, "y ~ a + b", l2=0.5)


def sentence(error):
    """The message of a refusal, which is one line that a person can read."""
    assert error.type is GentleError, repr(error.value)
    text = str(error.value)
    assert "\n" not in text
    assert 20 < len(text) < 300
    assert "numpy" not in text
    assert "Traceback" not in text
    return text


# Several targets


def test_fits_of_several_targets_are_the_fits_of_each(frame):
    both = gentle.fit(frame.select("a", "b", "y", "z"), target=["y", "z"])
    assert isinstance(both, gentle.Fits)
    assert list(both) == ["y", "z"]
    assert len(both) == 2
    assert "y" in both
    assert "a" not in both
    with pytest.raises(KeyError):
        both["a"]
    for target in both:
        alone = gentle.fit(frame, f"{target} ~ a + b")
        assert both[target].target == target
        np.testing.assert_allclose(both[target].values, alone.values, rtol=1e-13)
        np.testing.assert_allclose(both[target].vcov, alone.vcov, rtol=1e-12)
        assert both.coef[target] == both[target].coef
        assert both.std_errors[target] == both[target].std_errors
        assert both[target].r2 == pytest.approx(alone.r2, rel=1e-12)
        assert target in both.summary()
    found = both.predict(frame)
    assert found.shape == (N, 2)
    for at, target in enumerate(both):
        np.testing.assert_array_equal(found[:, at], both[target].predict(frame))


def test_fits_of_several_targets_join_and_leave_as_one_table(frame):
    chosen = frame.select("a", "b", "y", "z")
    ask = {"target": ["y", "z"]}
    parts = [gentle.fit(chosen[rows], **ask) for rows in (slice(0, 25), slice(25, None))]
    both, pooled = parts[0] + parts[1], gentle.fit(chosen, **ask)
    for target in pooled:
        np.testing.assert_allclose(both[target].values, pooled[target].values, rtol=1e-12)
        left = (both - parts[0])[target]
        np.testing.assert_allclose(left.values, parts[1][target].values, rtol=1e-9)
    table = pooled.to_polars()
    assert table["target"].to_list() == ["y"] * 3 + ["z"] * 3
    assert table["coefficient"].to_list() == [*pooled["y"].values, *pooled["z"].values]
    with pytest.raises(GentleError, match="same targets"):
        pooled + gentle.fit(chosen, target=["z", "y"])
    with pytest.raises(TypeError):
        pooled + pooled["y"]


def test_tables_have_intervals_of_any_level(frame):
    found = gentle.fit(frame, "y ~ a + b")
    low, high = found.conf_int(0.9)["a"]
    table = found.to_polars(0.9)
    assert table.filter(pl.col("name") == "a").select("low", "high").row(0) == (low, high)
    assert found.to_dict(0.9)["level"] == 0.9
    assert found.to_dict(0.9)["coefficients"]["a"]["high"] == high
    for text in (found.summary(0.9), found.to_markdown(0.9), found.to_latex(0.9)):
        assert "[0.05" in text
        assert "0.95]" in text
        assert "0.975" not in text
    for table in (found.summary, found.to_polars, found.to_dict, found.to_markdown, found.to_latex):
        with pytest.raises(GentleError, match="level"):
            table(95)


def test_bounds_show_what_their_standard_error_leaves(frame):
    far = frame.with_columns(y=1e5 + pl.col("y"))
    found = gentle.fit(far, "y ~ a + b")
    line = next(line for line in found.summary().splitlines() if line.startswith("Intercept"))
    shown_low, shown_high = map(float, line.split()[-2:])
    low, high = found.conf_int()["Intercept"]
    assert shown_low < found.coef["Intercept"] < shown_high
    width = found.std_errors["Intercept"]
    assert abs(shown_low - low) < 0.5 * width
    assert abs(shown_high - high) < 0.5 * width


def test_a_summary_says_what_the_squares_are_of(frame):
    given = {"weights": frame["w"].to_numpy(), "offset": "b"}
    head = gentle.fit(frame, "y ~ a", **given).summary().splitlines()[0]
    assert head == "y: least squares, weights, offset b"
    far = gentle.fit(frame, "y ~ a", l2=0.1, solver="gd", learning_rate=0.1, max_passes=3)
    assert "diff. (scale)" in far.summary()
    assert "diff." not in gentle.fit(frame, "y ~ a", l2=0.1, solver="sgd").summary()


def test_differences_are_in_the_unit_of_the_certificate(frame):
    found = gentle.fit(frame, "y ~ a + b", solver="sgd", errors="HC3")
    early = {"solver": "gd", "learning_rate": 0.1, "max_passes": 3}
    far = gentle.fit(frame, "y ~ a + b", errors="HC3", **early)
    assert "differences are in classical standard errors" in far.summary()
    assert "differences are in" not in found.summary()
    classical = gentle.fit(frame, "y ~ a + b", solver="sgd")
    assert dict(found.difference) == pytest.approx(dict(classical.difference), rel=1e-9)
    shown = EPSILON * np.abs(found.exact_values) / found.certificate.yardstick  # is rounded
    for (name, apart), rounded in zip(found.difference.items(), shown, strict=True):
        assert abs(apart) <= found.certificate.in_se * (1 + 1e-9) + rounded, name


def test_targets_may_be_columns_of_an_array_or_of_a_frame(frame):
    x, y = frame.select("a", "b"), frame.select("y", "z")
    arrays = gentle.fit((x.to_numpy(), y.to_numpy()))
    frames = gentle.fit((x, y))
    assert list(arrays) == ["y1", "y2"]
    assert list(frames) == ["y", "z"]
    np.testing.assert_allclose(arrays["y2"].values, frames["z"].values, rtol=1e-13)
    np.testing.assert_allclose(arrays.predict(x.to_numpy()), frames.predict(x), rtol=1e-12)


def test_a_row_without_one_target_is_without_all():
    frame = made(2).with_columns(z=pl.when(pl.col("w") < 0.7).then(None).otherwise(pl.col("z")))
    both = gentle.fit(frame.select("a", "b", "y", "z"), target=["y", "z"])
    assert both["y"].n_rows == both["z"].n_rows == frame["z"].count()
    assert both["y"].tally.missing == {"z": frame["z"].null_count()}


@pytest.mark.parametrize("errors", ["HC3", "cluster"])
def test_errors_of_several_targets_are_each_their_own(frame, errors):
    asked = {"cluster": "firm"} if errors == "cluster" else {"errors": errors}
    chosen = frame.select("a", "b", "y", "z", "firm")
    both = gentle.fit(chosen, target=["y", "z"], features=["a", "b"], **asked)
    for target in both:
        alone = gentle.fit(frame, f"{target} ~ a + b", **asked)
        np.testing.assert_allclose(both[target].vcov, alone.vcov, rtol=1e-11)


# Tables


def test_a_table_of_polars(fit):
    table = fit.to_polars()
    assert table.columns == ["name", "coefficient", "std_error", "t", "p", "low", "high"]
    assert table["name"].to_list() == list(fit.names)
    assert table["coefficient"].to_list() == list(fit.coef.values())
    assert table["std_error"].to_list() == list(fit.std_errors.values())
    assert table["p"].to_list() == list(fit.p_values.values())
    assert list(zip(table["low"], table["high"], strict=True)) == list(fit.conf_int().values())


def test_what_has_no_number_is_null_in_polars(frame, ridge):
    assert ridge.to_polars()["std_error"].null_count() == 3
    with pytest.warns(RankWarning):
        dropped = gentle.fit(frame.with_columns(twin=pl.col("a") * 2), "y ~ a + b + twin")
    assert dropped.to_polars()["coefficient"].to_list()[-1] is None


def plain(value):
    """Whether a value is made of what JSON has, and nothing else."""
    if isinstance(value, dict):
        return all(type(key) is str and plain(part) for key, part in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or type(value) in (str, int, float, bool)


@pytest.mark.parametrize("kind", ["plain", "ridge", "dropped", "robust", "descent", "exact fit"])
def test_a_dictionary_is_json(frame, kind):
    asked = {
        "ridge": {"l2": 0.5},
        "robust": {"cluster": "firm"},
        "descent": {"solver": "sgd"},
    }.get(kind, {})
    columns = "a + b" if kind != "dropped" else "a + b + twin"
    rows = frame.with_columns(twin=pl.col("a") * 2)
    if kind == "exact fit":
        rows = rows.head(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)
        found = gentle.fit(rows, f"y ~ {columns}", **asked)
    said = found.to_dict()
    assert plain(said)
    again = json.loads(json.dumps(said, allow_nan=False))
    assert again["target"] == "y"
    assert list(again["coefficients"]) == list(found.names)
    assert again["coefficients"]["a"]["coefficient"] == found.coef["a"]
    assert again["objective"] == found.objective
    assert again["errors"] == found.errors
    assert again["verdict"] == str(found.verdict)


# LaTeX and Markdown

COMMANDS = {
    "{}": "",  # keeps a bracket or a star from being an option of the line before
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    **{f"\\{sign}": sign for sign in "&%$#_{}"},
}
TOKEN = re.compile("|".join(map(re.escape, COMMANDS)) + "|.")


def printed(cell):
    """What LaTeX prints for a cell; a sign that would not print itself fails."""
    tokens = [match.group() for match in TOKEN.finditer(cell)]
    wrong = [token for token in tokens if token in set("&%$#_{}~^\\<>|")]
    assert not wrong, cell
    return "".join(COMMANDS.get(token, token) for token in tokens)


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))]


def balanced(text):
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text.replace(r"\\", "")):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    return depth == 0


def test_latex_is_well_formed_whatever_columns_are_called():
    found = gentle.fit(called(NAMES, target="50% & x_y"), target="50% & x_y")
    text = found.to_latex()
    assert balanced(text)
    assert re.findall(r"\\(?:begin|end)\{(\w+)\}", text) == ["tabular", "tabular"]
    lines = text.splitlines()
    assert [line for line in lines if re.fullmatch(r"\\\w+rule", line)] == [
        "\\toprule",
        "\\midrule",
        "\\bottomrule",
    ]
    head, *rows = (line for line in lines if line.count("&") >= 6 and line.endswith(r"\\"))
    assert printed(cells(head)[0]) == "50% & x_y"
    assert [printed(cells(row)[0]) for row in rows] == list(found.names)
    assert {len(cells(row)) for row in (head, *rows)} == {7}
    assert len(re.search(r"tabular\}\{(\w+)\}", text).group(1)) == 7
    for row, name in zip(rows, found.names, strict=True):
        assert float(cells(row)[1]) == pytest.approx(found.coef[name], rel=1e-5)


def test_a_name_in_latex_is_not_taken_for_an_option_of_the_line_above():
    r"""Two backslashes take a bracket or a star after them, also on the next line: \\ [kg]."""
    text = gentle.fit(called(["a", "[kg]", "*s"]), target="y").to_latex()
    assert re.search(r"\\\\\s*[\[*]", text) is None


def markdown_cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_is_a_table_whatever_columns_are_called():
    found = gentle.fit(called([*NAMES, "two\nlines"], target="y|z"), target="y|z")
    head, rule, *rows = (line for line in found.to_markdown().splitlines() if line[:1] == "|")
    assert {len(markdown_cells(line)) for line in (head, rule, *rows)} == {7}
    assert len(rows) == len(found.names)
    assert markdown_cells(head)[0] == r"y\|z"
    assert markdown_cells(rows[4])[0] == r"p\|q"
    for row, value in zip(rows, found.values, strict=True):
        assert float(markdown_cells(row)[1]) == pytest.approx(value, rel=1e-5)
    for name in ("two\\\\nlines", r"\$#{\~}^\\", r"\*s", r"\`code\`", r"\[kg\]", r"a\_b"):
        assert name in [markdown_cells(row)[0] for row in rows]
    plain = gentle.fit(called(["a", "b"]), target="y")
    assert str(plain.verdict) in plain.to_markdown()


# The summary


SUMMARIES = {
    "exact": {},
    "descent": {"solver": "sgd"},
    "ridge": {"l2": 0.5},
    "robust": {"errors": "HC3", "use_t": False},
    "held out": {"test": 0.25},
}


@pytest.mark.parametrize("kind", list(SUMMARIES))
def test_a_summary_is_80_columns_wide(kind):
    many = [f"column {at} of many" for at in range(30)]
    rows = called([*NAMES, *LONG, *many], target="target " * 15)
    found = gentle.fit(rows, target="target " * 15, **SUMMARIES[kind])
    lines = found.summary().splitlines()
    assert max(map(cell_len, lines)) <= 80
    table = found.summary().split("\n\n")[1].splitlines()
    assert len(table) == 1 + len(
        found.names
    )  # a line for each coefficient, its name and its numbers
    assert len({cell_len(line) for line in table}) == 1
    first = [line[: line.index("  ")].rstrip() for line in table[1:]]
    assert len(set(first)) == len(found.names)
    written_out = found.summary().split("\n\n")[2]
    for name in LONG[:3]:
        assert "".join(name.split()) in "".join(written_out.split())
    for value, line in zip(found.values, table[1:], strict=True):
        assert shown(value) in line


def test_a_summary_of_clusters_and_of_columns_left_out_is_80_columns_wide():
    rows = called([*LONG, "b"]).with_columns(pl.col("b").alias("again " * 12))
    rows = rows.with_columns(pl.Series("firm " * 20, np.arange(N) % 20))
    features = [name for name in rows.columns if name not in ("y", "firm " * 20)]
    with pytest.warns(RankWarning):
        found = gentle.fit(rows, target="y", features=features, cluster="firm " * 20)
    text = found.summary()
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "left out" in text
    assert "(20 groups)" in " ".join(text.split())


@pytest.mark.parametrize(("size", "noise"), [(1, 0), (1, 1e-9), (1e-100, 1e-12), (1e100, 1e-12)])
@pytest.mark.parametrize("solver", ["exact", "sgd"])
def test_names_and_numbers_of_a_summary_are_whole_however_large(size, noise, solver):
    """Noise that is small makes t large: a tutorial's line has none."""
    rows = called(["a", "b"], noise=noise).with_columns(pl.col("y") * -size)
    found = gentle.fit(rows, target="y", solver=solver)
    text = found.summary()
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "…" not in text, text
    for name in found.names:
        assert re.search(rf"^{name} ", text, re.MULTILINE), text
        row = re.search(rf"^{name} +(\S+)", text, re.MULTILINE)
        value, more = found.coef[name], {shown(found.coef[name], digits) for digits in (6, 7, 8)}
        assert row.group(1) in more, (value, text)
        assert shown(found.std_errors[name], 4) in text, text


def test_a_summary_says_rows_errors_and_the_verdict(frame):
    holes = frame.with_columns(a=pl.when(pl.col("w") < 0.7).then(None).otherwise(pl.col("a")))
    found = gentle.fit(holes, "y ~ a + b", cluster="firm")
    text = " ".join(found.summary().split())
    missing = holes["a"].null_count()
    assert f"{N - missing} of {N} rows used, {missing} dropped" in text
    assert "clustered by firm (12 groups)" in text
    assert str(found.verdict) in text
    assert "0.025" in text


# Modules and predictions


def test_a_module_predicts_the_same(frame):
    rows = frame.select("a", "b", "y", "o", "w")
    with pytest.warns(RankWarning):
        dropped = gentle.fit(rows.with_columns(twin=pl.col("a") * 2), "y ~ a + b + twin")
    for found, x in (
        (gentle.fit(rows, "y ~ a + b"), rows.select("a", "b")),
        (gentle.fit(rows, "y ~ a + b - 1"), rows.select("a", "b")),
        (gentle.fit(rows, "y ~ a + b", l2=0.3), rows.select("a", "b")),
        (gentle.fit(rows, "y ~ a + b", solver="sgd"), rows.select("a", "b")),
        (dropped, rows.select("a", "b", twin=pl.col("a") * 2)),
    ):
        module = found.to_module()
        assert isinstance(module, torch.nn.Linear)
        assert module.weight.dtype == torch.float64
        assert (module.bias is not None) == found.design.intercept
        seen = module(torch.from_numpy(x.to_numpy())).detach().numpy()[:, 0]
        everything = rows.with_columns(twin=pl.col("a") * 2)
        np.testing.assert_allclose(seen, found.predict(everything), rtol=1e-13, atol=1e-13)


def test_predictions_do_not_depend_on_how_rows_are_given(frame):
    x, y = frame.select("a", "b"), frame["y"]
    found = gentle.fit((x, y))
    wanted = found.predict(x)
    for rows in (
        x.to_numpy(),
        torch.from_numpy(x.to_numpy()),
        x.to_pandas(),
        frame,
        frame.select("y", "b", "a"),
    ):
        np.testing.assert_allclose(found.predict(rows), wanted, rtol=1e-14)
    holes = x.with_columns(a=pl.when(pl.int_range(N) == 3).then(None).otherwise(pl.col("a")))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found.predict(holes))), [3])
    assert found.predict(holes, interval=0.9)["low"][3] is None


@pytest.mark.parametrize("solver", ["exact", "sgd"])
def test_predictions_under_an_offset(frame, solver):
    rows, o = frame.select("a", "b"), frame["o"].to_numpy()
    named = gentle.fit(frame, "y ~ a + b", offset="o", solver=solver)
    given = gentle.fit((rows, frame["y"]), offset=o, solver=solver)
    less = gentle.fit(frame.with_columns(pl.col("y") - pl.col("o")), "y ~ a + b", solver=solver)
    np.testing.assert_allclose(named.values, less.values, rtol=1e-12)
    wanted = parts(less.predict(frame, interval=0.9, kind="new"))
    for found in (
        named.predict(frame, interval=0.9, kind="new"),
        named.predict(rows, offset=o, interval=0.9, kind="new"),
        given.predict(rows, offset=o, interval=0.9, kind="new"),
        given.predict(rows.to_numpy(), offset=o, interval=0.9, kind="new"),
    ):
        value, std_error, low, high = parts(found)
        np.testing.assert_allclose(value, wanted[0] + o, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(std_error, wanted[1], rtol=1e-12)
        np.testing.assert_allclose(low, wanted[2] + o, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(high, wanted[3] + o, rtol=1e-11, atol=1e-11)


def parts(found):
    """Predictions, standard errors, low and high of a frame or of arrays."""
    frame = isinstance(found, pl.DataFrame)
    return found.to_numpy().T if frame else (found.value, found.std_error, found.low, found.high)


def test_an_offset_that_is_missing_is_asked_for(frame):
    found = gentle.fit(frame, "y ~ a + b", offset="o")
    with pytest.raises(GentleError) as error:
        found.predict(frame.drop("o"))
    assert "offset=" in sentence(error)
    given = gentle.fit((frame.select("a", "b").to_numpy(), frame["y"]), offset=frame["o"])
    for ask in (given.predict, given.influence):
        rows = frame.select("a", "b").to_numpy()
        with pytest.raises(GentleError) as error:
            ask(rows if ask == given.predict else (rows, frame["y"]))
        assert "offset" in sentence(error)


def test_an_offset_that_the_fit_does_not_have_is_not_passed_over(frame, fit):
    """Either it is added, or it is refused; a prediction without it would be wrong in silence."""
    o = frame["o"].to_numpy()
    try:
        found = fit.predict(frame, offset=o)
    except GentleError as refusal:
        found, said = None, str(refusal)
    if found is None:
        assert "offset" in said
    else:
        np.testing.assert_allclose(found, fit.predict(frame) + o, rtol=1e-12)


@pytest.mark.parametrize("errors", ["classical", "HC3", "HAC", "cluster"])
@pytest.mark.parametrize("solver", ["exact", "sgd"])
def test_intervals_far_from_zero_are_those_near_to_it(errors, solver):
    """x = 1e9 + k/8 is exact, so that only the constant may change."""
    rng = np.random.default_rng(3)
    k = np.stack([rng.integers(-400, 400, N) / 8, rng.integers(-5, 5, N) / 8], axis=1)
    y = 3 + k @ [0.5, -2] + rng.normal(size=N)
    asked = {"cluster": np.arange(N) % 9} if errors == "cluster" else {"errors": errors}
    far = np.array([1e9, -1e9])
    one = gentle.fit((k, y), solver=solver, **asked)
    two = gentle.fit((k + far, y), solver=solver, **asked)
    np.testing.assert_allclose(two.slopes, one.slopes, rtol=1e-9)
    near, distant = (listed(it.std_errors)[1:] for it in (one, two))
    np.testing.assert_allclose(distant, near, rtol=1e-9)
    new = rng.integers(-500, 500, (10, 2)) / 8
    for kind in ("mean", "new"):
        wanted = one.predict(new, interval=0.9, kind=kind)
        found = two.predict(new + far, interval=0.9, kind=kind)
        scale = one.sigma
        np.testing.assert_allclose(found.std_error, wanted.std_error, rtol=1e-9)
        np.testing.assert_allclose(found.low, wanted.low, rtol=0, atol=1e-6 * scale)
        np.testing.assert_allclose(found.high, wanted.high, rtol=0, atol=1e-6 * scale)
        if solver == "exact":
            np.testing.assert_allclose(found.low, wanted.low, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(found.high, wanted.high, rtol=1e-9, atol=1e-9)
    for measure in ("r2", "sigma", "aic"):
        assert getattr(two, measure) == pytest.approx(getattr(one, measure), rel=1e-10)
    assert two.f_test.statistic == pytest.approx(one.f_test.statistic, rel=1e-9)


def listed(mapping):
    return np.array(list(mapping.values()))


# A ridge


def test_a_ridge_says_so_and_has_no_standard_errors(ridge):
    assert "0.5/2" in ridge.objective
    assert np.isnan(ridge.vcov).all()
    for mapping in (ridge.std_errors, ridge.t_values, ridge.p_values):
        assert np.isnan(listed(mapping)).all()
    assert np.isnan(listed(ridge.conf_int(0.9))).all()
    text = " ".join(ridge.summary().split())
    assert "ridge of l2 = 0.5" in text
    assert ridge.objective in text
    assert "no classical standard errors" in text


def test_a_ridge_makes_no_tests(ridge):
    assert math.isnan(ridge.f_test.statistic)
    assert math.isnan(ridge.f_test.p_value)
    with pytest.raises(GentleError, match="ridge has no standard errors"):
        ridge.test("a = 0, b = 0")


def shown(value, digits=6):
    """A number as a summary has it: four digits where its exponent takes three."""
    text = f"{value:.{digits}g}"
    return f"{value:.4g}" if re.search(r"e.\d{3}", text) else text


@pytest.mark.parametrize(
    "asked", [{"errors": "HC1"}, {"errors": "HAC"}, {"cluster": "firm"}], ids=str
)
def test_a_ridge_refuses_errors(frame, asked):
    with pytest.raises(GentleError) as error:
        gentle.fit(frame, "y ~ a + b", l2=0.5, **asked)
    assert "ridge" in sentence(error)


def test_a_ridge_refuses_intervals_and_influence(frame, ridge):
    for ask in (
        lambda: ridge.predict(frame, interval=0.9),
        lambda: ridge.predict(frame, interval=0.9, kind="new"),
        lambda: ridge.influence(frame),
    ):
        with pytest.raises(GentleError) as error:
            ask()
        assert "ridge" in sentence(error)
    assert np.isfinite(ridge.predict(frame)).all()


def test_objectives_say_their_ridge(fit, ridge):
    assert "sum_j" not in fit.objective
    assert "sum_j b_j^2" in ridge.objective
    assert ridge.to_dict()["objective"] == ridge.objective


# Refusals


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"errors": "HC1", "cluster": "firm"}, ("cluster", "HC1")),
        ({"errors": "classical", "cluster": "firm"}, ("cluster", "classical")),
        ({"errors": "cluster"}, ("cluster",)),
        ({"errors": "HC4"}, ("HC4", "HC3")),
        ({"errors": "hc4"}, ("hc4", "HC3")),
        ({"errors": None, "lags": 3}, ("lags", "HAC")),
        ({"errors": "HC1", "lags": 3}, ("lags", "HC1")),
        ({"errors": "HAC", "lags": -1}, ("lags", "-1")),
        ({"errors": "HAC", "lags": N}, ("lags", str(N))),
        ({"errors": "HAC", "lags": 2.5}, ("lags", "2.5")),
        ({"cluster": "frim"}, ("frim", "firm")),
        ({"cluster": ("firm", "frim")}, ("frim", "firm")),
        ({"cluster": ("firm", "a", "b")}, ("two", "3")),
        ({"cluster": np.zeros(N)}, ("two groups", "one")),
        ({"cluster": np.arange(N - 1)}, ("cluster", f"{N}", f"{N - 1}")),
        ({"cluster": [None] * N}, ("cluster", "missing")),
        ({"weights": "ww"}, ("ww", "'w'")),
        ({"weights": np.ones(3)}, ("weights", "60")),
        ({"frequencies": "f"}, ("'f'",)),
        ({"offset": "oo"}, ("oo", "'o'")),
        ({"rank": "keep"}, ("keep", "drop")),
        ({"solver": "adam"}, ("adam", "sgd")),
        ({"method": "svd"}, ("svd", "qr")),
        ({"missing": "keep"}, ("keep", "drop")),
        ({"digits": 17}, ("digits", "17")),
        ({"tol": 0}, ("tol", "0")),
        ({"l2": -1}, ("l2", "-1")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(frame, asked, words):
    with pytest.raises(GentleError) as error:
        gentle.fit(frame, "y ~ a + b", **asked)
    said = sentence(error)
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda fit, _: fit.predict(3), ("int", "frame")),
        (lambda fit, _: fit.predict({"a": 1}), ("'b'",)),
        (lambda fit, frame: fit.predict(frame.drop("a")), ("'a'",)),
        (lambda fit, frame: fit.predict(frame.to_pandas()["a"]), ()),
        (lambda fit, frame: fit.predict(frame.select("a", "b").to_numpy()), ("array", "frame")),
        (lambda fit, frame: fit.predict(frame, kind="old"), ("old", "mean", "new")),
        (lambda fit, frame: fit.predict(frame, interval=95), ("95", "0.95")),
        (lambda fit, frame: fit.predict(frame, interval=0), ("0",)),
        (lambda fit, _: fit.conf_int(1), ("level", "1")),
        (lambda fit, _: fit.conf_int(float("nan")), ("level", "nan")),
        (lambda fit, _: fit.test("c = 0"), ("'c'", "'a'")),
        (lambda fit, _: fit.test("a * b = 0"), ("a * b = 0",)),
        (lambda fit, _: fit.test(""), ("restriction",)),
        (lambda fit, frame: fit.influence(frame.head(7)), ("60", "7")),
        (lambda fit, frame: fit.influence(frame.drop("y")), ("'y'",)),
        (lambda fit, frame: fit.influence(frame.drop("b")), ("'b'",)),
    ],
)
def test_what_a_fit_cannot_do_is_refused_in_one_sentence(fit, frame, ask, words):
    with pytest.raises(GentleError) as error:
        ask(fit, frame)
    said = sentence(error)
    assert [word for word in words if word not in said] == [], said


def test_a_restriction_on_what_was_left_out_is_refused(frame):
    with pytest.warns(RankWarning):
        found = gentle.fit(frame.with_columns(twin=pl.col("a") * 2), "y ~ a + b + twin")
    with pytest.raises(GentleError) as error:
        found.test("twin = 0")
    assert "twin" in sentence(error)


# Warnings


def test_warnings_are_gentle_and_point_at_the_caller(frame):
    rows = frame.with_columns(twin=pl.col("a") * 2)
    for ask in (
        lambda: gentle.fit(rows, "y ~ a + b + twin"),
        lambda: gentle.fit(rows, "y ~ a + b + twin", rank="minimum-norm"),
        lambda: gentle.fit(rows, "y ~ a + b + twin", solver="sgd"),
        lambda: gentle.fit(rows.select("a", "twin", "y", "z"), target=["y", "z"]),
    ):
        with pytest.warns(RankWarning, match="twin") as caught:
            ask()
        assert len(caught) == 1
        assert caught[0].filename == __file__
    for kind in (RankWarning, CovarianceWarning, PrecisionWarning):
        assert issubclass(kind, GentleWarning)
        assert issubclass(kind, UserWarning)
        assert getattr(gentle, kind.__name__) is kind


def test_digits_that_are_not_there_warn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)) + 100
    x[:, 1] = x[:, 0] + 1e-11 * rng.normal(size=300)
    y = x[:, 0] + rng.normal(size=300)
    with pytest.warns(PrecisionWarning, match="15 digits") as caught:
        found = gentle.fit((x, y), digits=15)
    assert found.certificate.digits < 15
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gentle.fit((x, y), digits=5).certificate.digits >= 5


def test_a_variance_below_zero_warns():
    rng = np.random.default_rng(0)
    for _ in range(300):
        firm, year = rng.integers(0, 4, N), rng.integers(0, 4, N)
        x, y = rng.normal(size=(N, 2)), rng.normal(size=N)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = gentle.fit((x, y), cluster=(firm, year))
        assert (np.diag(found.vcov) >= 0).all()
        if clipped := [it for it in caught if "negative" in str(it.message)]:
            assert clipped[0].category is CovarianceWarning
            assert clipped[0].filename == __file__
            assert "negative" in found.errors
            return
    pytest.fail("no variance was below zero")


def test_too_few_groups_warn(frame):
    """So it says of itself: a covariance that "rests on too few groups to be trusted"."""
    with pytest.warns(CovarianceWarning, match="groups"):
        gentle.fit(frame, "y ~ a + b", cluster=np.arange(N) % 2)


def test_an_ordinary_fit_warns_of_nothing(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for asked in ({}, {"errors": "HC3"}, {"solver": "sgd"}, {"l2": 1}, {"cluster": "firm"}):
            found = gentle.fit(frame, "y ~ a + b", **asked)
            found.summary()
            found.to_dict()
            found.to_latex()
            found.predict(frame)


# Certify


def answers(fit, x, y):
    """The same answer in every form that is taken, by the name of the form."""
    constant, *slopes = fit.values.tolist()
    module = torch.nn.Linear(2, 1, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([slopes], dtype=torch.float64))
        module.bias.fill_(constant)
    pandas = x.to_pandas()
    named = dict(zip(x.columns, slopes, strict=True))
    backwards = x.select("b", "a").to_pandas()
    return {
        "mapping": dict(fit.coef),
        "mapping in another order": dict(reversed(fit.coef.items())),
        "const": {"const": constant, **named},
        "R's name": {"(Intercept)": constant, **named},
        "Stata's name": {**named, "_cons": constant},
        "pandas": pd.Series(dict(fit.coef)),
        "polars": pl.Series(fit.values),
        "list": fit.values.tolist(),
        "array": fit.values,
        "column": fit.values[:, None],
        "tensor": torch.tensor(fit.values.copy()),
        "tensor in training": torch.tensor(fit.values.copy(), requires_grad=True),
        "scikit-learn": LinearRegression().fit(x.to_numpy(), y),
        "scikit-learn with names": LinearRegression().fit(pandas, y),
        "scikit-learn in another order": LinearRegression().fit(backwards, y),
        "scikit-learn with a column of targets": LinearRegression().fit(x.to_numpy(), y[:, None]),
        "torch": module,
        "statsmodels": sm.OLS(y, sm.add_constant(pandas)).fit(),
        "statsmodels in another order": sm.OLS(y, sm.add_constant(backwards)).fit(),
        "statsmodels with the constant last": sm.OLS(y, pandas.assign(const=1.0)).fit(),
        "statsmodels of arrays": sm.OLS(y, sm.add_constant(x.to_numpy())).fit(),
        "gentle": fit,
        "gentle's estimator": gentle.LinearRegression().fit(x.to_numpy(), y),
    }


def test_certify_takes_the_answers_of_other_libraries(frame):
    x, y = frame.select("a", "b"), frame["y"].to_numpy()
    fit = gentle.fit(frame.select("a", "b", "y"), target="y")
    wrong = {}
    for form, coef in answers(fit, x, y).items():
        try:
            check = gentle.certify(coef, frame.select("a", "b", "y"), target="y")
        except Exception as error:
            wrong[form] = repr(error)
            continue
        if not check.verdict.agrees or check.in_se > 1e-9:
            wrong[form] = str(check)
        assert list(check.coef) == list(fit.names)
        assert list(check.distances) == list(fit.names)
        assert str(check) == str(check.verdict)
        assert check.fit.exact == fit.exact
    assert wrong == {}


def test_certify_without_a_constant(frame):
    x, y = frame.select("a", "b"), frame["y"].to_numpy()
    module = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    theirs = LinearRegression(fit_intercept=False).fit(x.to_numpy(), y)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(theirs.coef_[None, :]))
    for coef in (theirs, module, theirs.coef_, {"a": theirs.coef_[0], "b": theirs.coef_[1]}):
        assert gentle.certify(coef, frame, "y ~ a + b - 1").verdict.agrees
        if not isinstance(coef, dict | np.ndarray):
            assert not gentle.certify(coef, frame, "y ~ a + b").verdict.agrees
    with pytest.raises(GentleError) as error:
        gentle.certify(LinearRegression().fit(x.to_numpy(), y), frame, "y ~ a + b - 1")
    assert "constant" in sentence(error)


def test_distances_are_in_standard_errors(frame, fit):
    coef = dict(fit.coef)
    coef["b"] += 2 * fit.std_errors["b"]
    check = gentle.certify(coef, frame, "y ~ a + b")
    assert check.in_se == pytest.approx(2, rel=1e-9)
    assert check.distances["b"] == pytest.approx(2, rel=1e-9)
    assert check.distances["a"] < 1e-9
    assert "(at b)" in str(check)


@pytest.mark.parametrize(
    ("coef", "words"),
    [
        ({"a": 1, "b": 2}, ("Intercept",)),
        ({"Intercept": 1, "a": 1}, ("'b'",)),
        ({"Intercept": 1, "a": 1, "B": 1}, ("'b'",)),
        ({"Intercept": 1, "a": 1, "b": 1, "c": 2}, ("'c'",)),
        ({"Intercept": 1, "const": 1, "a": 1, "b": 1}, ("const",)),
        ({"Intercept": 1, "a": "much", "b": 1}, ("'a'", "number")),
        ({"Intercept": 1, "a": [1, 2], "b": 1}, ("'a'", "number")),
        ([1, 2], ("3 coefficients", "2")),
        (np.ones((2, 2)), ("3 coefficients", "4")),
        ("0.5", ("3 coefficients",)),
        ([1, "much", 2], ("number",)),
        (None, ("3 coefficients",)),
        (LinearRegression(), ("LinearRegression",)),
        (torch.nn.Linear(5, 1), ("3 coefficients", "6")),
        (torch.nn.Linear(2, 2), ("3 coefficients", "6")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_certify_refuses_what_are_no_coefficients_of_the_model(frame, coef, words):
    with pytest.raises(GentleError) as error:
        gentle.certify(coef, frame, "y ~ a + b")
    said = sentence(error)
    assert [word for word in words if word not in said] == [], said


def test_certify_takes_one_target(frame):
    with pytest.raises(GentleError) as error:
        gentle.certify([1, 2, 3], frame.select("a", "b", "y", "z"), target=["y", "z"])
    assert "'y'" in sentence(error)
