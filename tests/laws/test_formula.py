"""Laws of formulas: a formula is data; nothing of it runs but columns, operators and known functions."""

from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
from formulaic import model_matrix

import gentle
from gentle import GentleError, GentleWarning
from gentle.calls import ELEMENTWISE
from gentle.design import Rows, learn_design
from gentle.formula import parse
from gentle.sources import Frame

N = 300


def frame():
    rng = np.random.default_rng(0)
    levels = np.array(["north", "east", "south", "west"])
    return pl.DataFrame(
        {
            "y": rng.normal(size=N) + 10,
            "a": rng.uniform(0.5, 2, N),
            "b": rng.normal(size=N),
            "n": rng.integers(0, 3, N),
            "g": levels[rng.integers(0, 4, N)],
            "h": levels[rng.integers(0, 2, N)],
            "two words": rng.normal(size=N),
        }
    )


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """A file that nobody may make."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "MARK"


TOUCH = "__import__('os').system('touch MARK')"
HOSTILE = [
    f"y ~ I({TOUCH})",
    f"y ~ {TOUCH}",
    f"y ~ a + I({TOUCH})",
    f"I({TOUCH}) ~ a",
    f"log({TOUCH}) ~ a",
    "y ~ {" + TOUCH + "}",
    "y ~ {a + b; " + TOUCH + "}",
    "y ~ {open('MARK', 'w')}",
    "y ~ open('MARK', 'w')",
    "y ~ I(open('MARK', 'w'))",
    'y ~ I(exec(\'open("MARK","w")\'))',
    "y ~ I(eval('1'))",
    "y ~ exec('1')",
    "y ~ I(a.__class__)",
    "y ~ I(a.values)",
    "y ~ a.to_csv('MARK')",
    "y ~ I(a.to_csv('MARK'))",
    "y ~ {a.to_csv('MARK')}",
    "y ~ I(a.__class__.__mro__[1].__subclasses__())",
    "y ~ I(().__class__.__base__.__subclasses__())",
    "y ~ I(''.join(['a']))",
    "y ~ I((lambda: 1)())",
    "y ~ I(lambda x: x)",
    "y ~ I([t for t in a])",
    "y ~ I({t for t in a})",
    "y ~ I({t: t for t in a})",
    "y ~ I(sum(t for t in a))",
    "y ~ I((z := a))",
    "y ~ I(f'{a}')",
    "y ~ I(f'{" + TOUCH.replace("'", '"') + "}')",
    "y ~ I(a if b else a)",
    "y ~ I(a and b)",
    "y ~ I(a[0])",
    "y ~ I(a[:5])",
    "y ~ I(*a)",
    "y ~ I('text')",
    "y ~ I(b'text')",
    "y ~ I(1j * a)",
    "y ~ I(await a)",
    "y ~ I((yield a))",
    "y ~ np.load('MARK')",
    "y ~ np.save('MARK', a)",
    "y ~ I(np.save('MARK', a))",
    "y ~ np.fromfile('MARK')",
    "y ~ np.random.normal(a)",
    "y ~ np.lib.npyio.save('MARK', a)",
    "y ~ I(np)",
    "y ~ np.ufunc(a)",
    "y ~ np.log.__class__(a)",
    "y ~ I(np.log)",
    "y ~ np.__dict__(a)",
    "y ~ pd.read_csv('MARK')",
    "y ~ os.system('touch MARK')",
    "y ~ log(a, out=a)",
    "y ~ log(a, a)",
    "y ~ log(a, b)",
    "y ~ np.log(a, a)",
    "y ~ np.exp(a, out=b)",
    "y ~ maximum(a, b, a)",
    "y ~ maximum(a, b, out=a)",
    "y ~ log(a, where=b)",
    "y ~ log(a, dtype='float32')",
    "y ~ log(**kwargs)",
    "y ~ log(*args)",
    "y ~ poly(a, **kwargs)",
    "y ~ poly(a, **{'degree': 2})",
    "y ~ C(g, contr.__class__)",
    "y ~ C(g, contr.__init__)",
    "y ~ C(g, contr.treatment.__init__)",
    "y ~ C(g, contr.treatment.__globals__)",
    "y ~ C(g, contr.custom)",
    f"y ~ C(g, contr.treatment({TOUCH}))",
    f"y ~ C(g, levels={TOUCH})",
    f"y ~ C(g, levels=[{TOUCH}])",
    f"y ~ C(g, {TOUCH})",
    f"y ~ poly(a, degree={TOUCH})",
    f"y ~ bs(a, df={TOUCH})",
    f"y ~ center({TOUCH})",
    f"y ~ a:I({TOUCH})",
    f"y ~ (a + I({TOUCH}))**2",
    f"y ~ a - I({TOUCH})",
    "y ~ I(a ** 999999999)",
    "y ~ I(9 ** 9 ** 9)",
    "y ~ I(9 ** 9 ** 9 ** 9 * a)",
    "y ~ I(a ** b)",
    "y ~ I(2 ** a)",
    "y ~ I(a ** -100)",
    "y ~ I(1 << 10 ** 9)",
    "y ~ I(a << 2)",
    "y ~ I(a @ b)",
    "y ~ hashed(g)",
    "y ~ Q(a)",
    "y ~ Q('nowhere')",
    "y ~ eval(a)",
    "y ~ __builtins__",
    "y ~ I(__builtins__)",
    "y ~ I(__name__)",
    "y ~ nowhere",
    "y ~ I(nowhere + 1)",
    "y ~ a + `no such column`",
    "nowhere ~ a",
]
NO_FORMULA = [
    "",
    " ",
    "~",
    "y",
    "y ~ I(not a)",
    "~ a",
    "a + b",
    "y ~ a ~ b",
    "y ~ a | b",
    "y + g ~ b",
    "y + b ~ b",
    "y + C(n) ~ b",
    "poly(y, 2) ~ b",
    "1 + y ~ b",
    "1 ~ b",
    "y ~ (a",
    "y ~ a)",
    "y ~ a +",
    "y ~ * a",
    "y ~ 'a'",
    "y ~ I(",
    "y ~ `a",
    "y ~ log()",
    "y ~ log",
    "y ~ poly(a, degree='x')",
    "y ~ bs(a, df=-4)",
    "y ~ " + " + ".join(["a"] * 60_000),
    "y ~ \x00",
    "g ~ a",
    "y ~ a\n+ \n~",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_formula_is_refused_and_nothing_of_it_runs(text, mark):
    with pytest.raises(GentleError):
        gentle.fit(frame(), text)
    assert not mark.exists()
    with pytest.raises(GentleError):
        parse(text, frame().schema)


@pytest.mark.parametrize("text", NO_FORMULA, ids=lambda text: repr(text[:30]))
def test_what_is_no_formula_is_refused_in_one_sentence(text):
    with pytest.raises(GentleError) as refused:
        gentle.fit(frame(), text)
    assert "\n" not in str(refused.value).replace(text, "")


def test_a_hostile_column_name_is_only_a_name(mark):
    name = TOUCH
    table = frame().rename({"b": name})
    found = gentle.fit(table, f"y ~ a + `{name}`")
    assert found.names[-1] == name
    assert gentle.fit(table, target="y", features=["a", name]).names[-1] == name
    assert not mark.exists()


ALLOWED = [
    "y ~ a",
    "y ~ a + b",
    "y ~ a * b",
    "y ~ a:b",
    "y ~ (a + b)**2",
    "y ~ a + b - 1",
    "y ~ 0 + a",
    "y ~ 1",
    "y ~ .",
    "y ~ . - g - h",
    "y ~ g",
    "y ~ C(g)",
    "y ~ C(n)",
    "y ~ C(g, contr.treatment('south'))",
    "y ~ C(g, contr.treatment(base='south'))",
    "y ~ C(g, contr.sum)",
    "y ~ C(g, contr.helmert)",
    "y ~ C(g, contr.poly)",
    "y ~ C(g, contr.diff)",
    "y ~ g:a",
    "y ~ g*h",
    "y ~ g*h + a",
    "y ~ g - 1",
    "y ~ C(g) - 1 + b",
    "y ~ log(a)",
    "y ~ np.log(a)",
    "log(y) ~ a",
    "np.log(y) ~ sqrt(a)",
    "I(y / 2) ~ a",
    "y ~ I(a**2)",
    "y ~ I(a**0.5)",
    "y ~ I(a**-1)",
    "y ~ I(a + 2 * b - 1)",
    "y ~ I(a // 2) + I(a % 0.7)",
    "y ~ I(a > 1)",
    "y ~ I((a > 1) & (b < 0))",
    "y ~ {a + b}",
    "y ~ {a**2}",
    "y ~ maximum(a, b)",
    "y ~ np.minimum(a, 1)",
    "y ~ exp(-a) + cos(b) + abs(b) + sign(b) + tanh(b)",
    "y ~ `two words`",
    "y ~ log(a) : b",
    "y ~ poly(a, 2)",
    "y ~ poly(a, degree=3)",
    "y ~ poly(a, 3, raw=True)",
    "y ~ poly(`two words`, 2, raw=True) + I(a**4)",
    "y ~ center(a)",
    "y ~ scale(a)",
    "y ~ standardize(a)",
    "y ~ bs(a, df=5)",
    "y ~ bs(a, df=5, degree=2)",
    "y ~ cr(a, df=4)",
    "y ~ cs(a, df=4)",
    "y ~ cc(a, df=4)",
    "y ~ bs(a, df=4):g",
    "y ~ scale(log(a))",
]
CONTEXT = ELEMENTWISE | {"np": np}


def rows(text, batch_rows=None):
    table = frame()
    batches = list(Rows(Frame(table), learn_design(Frame(table), text), batch_rows))
    return [np.concatenate([getattr(b, side).numpy() for b in batches]) for side in ("x", "y")]


@pytest.mark.parametrize("text", ALLOWED)
def test_an_allowed_formula_gives_the_numbers_of_formulaic(text):
    table = frame()
    plain = pd.DataFrame({name: table[name].to_numpy() for name in table.columns})
    for name in ("g", "h"):
        plain[name] = pd.Categorical(table[name].to_list())
    expected = model_matrix(text, plain, context=CONTEXT)
    right = expected.rhs
    design = learn_design(Frame(table), text)
    x, y = rows(text)
    assert (("Intercept",) * design.intercept + design.names) == tuple(right.columns)
    whole = np.asarray(right, dtype=float)
    if design.intercept:
        whole = whole[:, 1:]
    if whole.shape[0] == N:
        np.testing.assert_allclose(x, whole, rtol=1e-12, atol=1e-12)
    else:
        assert x.shape == (N, 0)
    np.testing.assert_allclose(y, np.asarray(expected.lhs, dtype=float), rtol=1e-12)


@pytest.mark.parametrize("text", ALLOWED)
@pytest.mark.parametrize("size", [7, 37])
def test_a_formula_in_batches_is_the_formula_of_the_whole(text, size):
    for whole, pieces in zip(rows(text, 10 * N), rows(text, size), strict=True):
        np.testing.assert_allclose(pieces, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "powers"),
    [
        ("y ~ I(a**2) + a + I(a**7)", {"I(a ** 2)": 2, "I(a ** 7)": 7}),
        ("y ~ poly(a, 4, raw=True)", {f"poly(a, 4, raw=True)[{k - 1}]": k for k in (2, 3, 4)}),
        ("y ~ 0 + b + I(a**10) + C(g)", {"I(a ** 10)": 10}),
    ],
)
def test_a_power_and_what_it_lacks_are_the_exact_power(text, powers):
    source = Frame(frame())
    design = learn_design(source, text)
    (batch,) = Rows(source, design, N)
    x, low, a = batch.x.numpy(), batch.low.numpy(), source.frame["a"].to_list()
    for place, name in enumerate(design.names):
        if name not in powers:
            assert not low[:, place].any()
            continue
        for row in range(N):
            exact = Fraction(a[row]) ** powers[name]
            found = Fraction(x[row, place]) + Fraction(low[row, place])
            assert abs(found - exact) <= exact / 2**95
    assert low.any()


@pytest.mark.parametrize(
    "text", ["y ~ a", "y ~ I(a**0.5)", "y ~ I(a**-1)", "y ~ log(a):b", "y ~ 1"]
)
def test_what_is_no_whole_power_lacks_nothing(text):
    source = Frame(frame())
    assert all(batch.low is None for batch in Rows(source, learn_design(source, text)))


@pytest.mark.parametrize(
    "text",
    [
        "y ~ a",
        "y ~ C(g) * a",
        "y ~ poly(a, 3)",
        "y ~ bs(a, df=5)",
        "y ~ scale(a) + center(b)",
        "y ~ log(a) + I(b**2)",
        "y ~ 1",
    ],
)
def test_predictions_use_the_state_of_the_fit(text):
    """A piece of the rows is predicted as in the whole, and without the target."""
    table = frame()
    found = gentle.fit(table, text)
    whole = found.predict(table)
    np.testing.assert_allclose(found.predict(table.drop("y")[17:40]), whole[17:40], rtol=1e-9)
    x, y = rows(text)
    np.testing.assert_allclose(whole, x @ found.slopes + found.intercept, rtol=1e-12)
    assert ((y[:, 0] - whole) ** 2).sum() == pytest.approx(found.rss, rel=1e-9)


@pytest.mark.parametrize(
    ("left", "targets"),
    [
        ("y + a", ("y", "a")),
        ("log(y) + a", ("log(y)", "a")),
        ("y + I(a * y) + `two words`", ("y", "I(a * y)", "two words")),
        ("scale(y) + y", ("scale(y)", "y")),
    ],
)
@pytest.mark.parametrize("right", ["b", "b + C(g) - 1", "poly(b, 2) * h", "1"])
def test_several_targets_are_a_fit_of_each(left, targets, right):
    table = frame()
    with pytest.warns(GentleWarning, match=r"targets, .* write I\(.* cbind\("):
        found = gentle.fit(table, f"{left} ~ {right}")
    assert isinstance(found, gentle.Fits)
    assert tuple(found) == targets
    for term, target in zip(left.split(" + "), targets, strict=True):
        alone = gentle.fit(table, f"{term} ~ {right}")
        assert alone.target == found[target].target == target
        assert found[target].names == alone.names
        np.testing.assert_allclose(found[target].values, alone.values, rtol=1e-13)
        np.testing.assert_allclose(
            list(found[target].std_errors.values()), list(alone.std_errors.values()), rtol=1e-12
        )
    assert found.predict(table).shape == (N, len(targets))


def test_a_target_that_is_named_twice_is_one():
    assert gentle.fit(frame(), "y + y ~ a").coef == gentle.fit(frame(), "y ~ a").coef


def test_a_sum_in_braces_is_one_target():
    found = gentle.fit(frame(), "{y + a} ~ b")
    assert found.target == "y + a"
    both = gentle.fit(frame(), "cbind(y, a) ~ b")
    np.testing.assert_allclose(found.values, both["y"].values + both["a"].values, rtol=1e-13)


def test_all_other_columns_are_no_target():
    names = gentle.fit(frame(), "cbind(y, a) ~ .")["y"].names
    assert "y" not in names
    assert "a" not in names


def test_a_row_without_one_of_the_targets_is_left_out_for_all():
    table = frame().with_columns(a=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("a"))
    found = gentle.fit(table, "cbind(y, a) ~ b")
    assert found["y"].tally.missing == found["a"].tally.missing == {"a": 1}
    assert found["y"].n_rows == N - 1


def test_a_level_that_the_fit_did_not_see_is_refused():
    found = gentle.fit(frame(), "y ~ C(g)")
    other = frame().with_columns(g=pl.lit("nord"))
    with pytest.raises(GentleError, match=r"'g'.*'nord' in row 1.*did you mean 'north'"):
        found.predict(other)


def test_text_columns_are_coded_alike_with_and_without_a_formula():
    table = frame().drop("two words")
    one, two = gentle.fit(table, "y ~ a + b + n + g + h"), gentle.fit(table, target="y")
    assert one.names == two.names
    np.testing.assert_allclose(one.values, two.values, rtol=1e-10)


def test_values_that_a_function_cannot_take_are_missing_and_counted():
    table = frame()
    negative = int((table["b"] < 0).sum())
    found = gentle.fit(table, "y ~ log(b)")
    assert found.tally.n_used == N - negative
    assert found.tally.missing == {"log(b)": negative}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "y ~ log(zero)",
            r"'log\(zero\)' .* row 1: log\(\) has no finite value .* another function",
        ),
        ("log(zero) ~ a", r"log\(\) has no finite value"),
        ("y ~ C(g, Treatment)", r"Treatment is no contrast.* 'contr.treatment'"),
        ("y ~ C(g, Treatment('south'))", "is no contrast"),
        ("y ~ C(g, contrasts=Sum)", r"Sum is no contrast.* 'contr.sum'"),
        ("y ~ C(g, 'sum')", "is no contrast"),
        ("y ~ C()", "C takes a column"),
    ],
)
def test_a_function_that_cannot_be_is_refused_with_the_way_out(text, words):
    with pytest.raises(GentleError, match=words):
        gentle.fit(frame().with_columns(zero=pl.lit(0.0)), text)


def test_a_choice_in_other_letters_is_suggested():
    with pytest.raises(GentleError, match="did you mean 'sgd'"):
        gentle.fit(frame(), "y ~ a", solver="SGD")


def test_a_near_name_is_suggested():
    with pytest.raises(GentleError, match="did you mean 'two words'"):
        gentle.fit(frame(), "y ~ `two word`")


def test_weights_are_not_among_all_other_columns():
    table = frame().with_columns(w=pl.lit(2.0))
    assert "w" not in gentle.fit(table, "y ~ .", weights="w").names
    assert "w" not in gentle.fit(table, target="y", weights="w").names
