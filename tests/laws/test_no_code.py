"""Laws of text that came as data: whatever a formula or a model file says, nothing of it runs."""

import json
import random
import resource
import sys
import time
import warnings
from copy import deepcopy

import numpy as np
import polars as pl
import pytest
from formulas import HOSTILE, NAMES, Formulas

import gentle
from gentle import GentleError, model_file
from gentle.design import Rows, learn_design
from gentle.sources import Frame

N = 24
SECONDS = 1.0  # of one formula
ALARMS = (
    "open",
    "exec",
    "compile",
    "import",
    "os.",
    "subprocess.",
    "socket.",
    "ctypes.",
    "shutil.",
    "code.",
)
_heard = []
_listening = False


def _hook(event, arguments):
    if _listening and event.startswith(ALARMS):
        _heard.append((event, repr(arguments)[:200]))


@pytest.fixture(scope="module")
def canary():
    """Hears of every import, file, process, compilation and evaluation while it listens."""
    sys.addaudithook(_hook)  # for good: hooks cannot be taken off
    for text in ["y ~ a", *(f"y ~ {term}" for term in WARM)]:  # what libraries load lazily
        outcome(text)
    return Canary()


class Canary:
    """While it is entered nothing may be opened, imported, compiled or evaluated."""

    def __enter__(self):
        global _listening
        _heard.clear()
        _listening = True

    def __exit__(self, *_):
        global _listening
        _listening = False
        assert not _heard, _heard[:3]


WARM = [
    *("C(g, contr.sum)", "C(g, contr.poly)", "C(g, contr.helmert)", "C(g, contr.diff)", "C(n)"),
    *("cr(a, df=4, constraints='center')", "cc(a, df=4)", "bs(a, df=5)", "poly(a, 3)", "scale(a)"),
    *("days(day)", "C(day)", "year(day)", "I(g == 'north')", "I(t * t)", "I(day > '2024-01-01')"),
    *("nowhere", "log(b)", "I(t / 7)", "round(t, -2)", "lag(a)", "diff(a)", "C(g):C(h):bs(a, df=4)"),
]  # fmt: skip


def table(names=NAMES):
    rng = np.random.default_rng(0)
    special = {
        "g": np.array(["north", "east", "south"])[rng.integers(0, 3, N)],
        "h": np.array(["a`b", "'c'"])[rng.integers(0, 2, N)],
        "flag": rng.integers(0, 2, N) > 0,
        "n": rng.integers(0, 3, N),
        "t": 1_700_000_000_000_000_000 + rng.integers(0, 10**9, N),
        "day": pl.Series(rng.integers(19_000, 20_000, N)).cast(pl.Int32).cast(pl.Date),
        "True": rng.integers(0, 2, N),
    }
    columns = {"y": rng.normal(size=N) + 10}
    for name in names:
        columns[name] = special.get(name, rng.uniform(0.5, 2, N))
    return pl.DataFrame(columns)


TABLE = table()
ROWS = TABLE.with_columns(pl.col("t") % 1000)


def outcome(text, frame=TABLE):
    """x of a formula, or the GentleError that says why there is none."""
    source = Frame(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            design = learn_design(source, text)
            return np.concatenate([batch.x.numpy() for batch in Rows(source, design)])
        except GentleError as error:
            return error


def memory():
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("seed", range(4))
def test_a_random_formula_is_a_model_or_a_sentence_and_runs_nothing(
    seed, canary, proofs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    formulas, fits = Formulas(seed), 0
    before = memory()
    for _ in range(25_000 if proofs else 250):
        text = formulas.formula()
        with canary:
            started = time.process_time()
            fits += isinstance(outcome(text), np.ndarray)
            assert time.process_time() - started < SECONDS, text
    assert fits > 20
    assert memory() - before < 200e6
    assert not list(tmp_path.iterdir())


ATTACKS = [
    "y ~ scale(a, 'a`', open('MARK','w').close(), 'b`c')",
    "y ~ C(g, contr.treatment('a`' if open('MARK','w').close() else 'b`c'))",
    "y ~ scale(a, center='a`', scale=open('MARK','w').close(), ddof='b`c')",
    "y ~ `a` + C(g, '`', open('MARK','w').close(), '`')",
    "y ~ I(a + '`' + open('MARK','w').close() + '`')",
    "y ~ scale(a,'a\"b')",
    "y ~ C(``)",
    "y ~ C(a, degree=z)**2^2[)])",
    "y ~ Q('a`') + Q('b`, open(\\'MARK\\',\\'w\\')')",
    "y ~ `a\\` + open('MARK','w') + \\`b`",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_quotes_inside_quotes_run_nothing(text, canary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with canary:
        assert isinstance(outcome(text, TABLE.select("y", "a", "g")), GentleError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(
    "form",
    ["{}", "I({})", "log({})", "C(g, {})", "C(g, contr.treatment({}))", "scale(a, {})", "bs(a, df={})",
     "poly(a, degree={})", "C(g, levels=[{}])", "Q({})", "a + {}", "a:{}", "offset({})", "{{{}}}", "`{}`",
     "C(g, '{}')", 'C(g, "{}")', "scale(a, '`', {}, '`')", "(a + {})**2", "a # {}", "where({}, 1, 0)"],
)  # fmt: skip
def test_hostile_text_in_every_position_runs_nothing(hostile, form, canary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with canary:
        found = outcome("y ~ " + form.format(hostile), TABLE.select("y", "a", "b", "g"))
    assert isinstance(found, np.ndarray | GentleError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [*HOSTILE, *NAMES])
def test_hostile_names_of_columns_are_only_names(name, canary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name in ("y", "a"):
        return
    frame = TABLE.select("y", "a").with_columns(TABLE["b"].alias(name))
    quoted = (
        f"Q({name!r})" if "`" in name or "\\" in name or not name.isprintable() else f"`{name}`"
    )
    if not name.isprintable():
        quoted = f"`{name}`"
    with canary:
        x = outcome(f"y ~ a + {quoted} + I({quoted}**2)", frame)
    np.testing.assert_array_equal(x, np.stack([frame["a"], frame[name], frame[name] ** 2], axis=1))
    assert not list(tmp_path.iterdir())


# Model files


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(folder, document, tensors) of a model with a formula of many kinds."""
    folder = tmp_path_factory.mktemp("models")
    fit = gentle.fit(
        ROWS.select("y", "a", "b", "g", "n", "t"),
        "y ~ poly(a, 2) + bs(b, df=4) + C(n) + scale(t) + cc(t, df=3, constraints='center') + "
        "C(g, contr.sum)",
    )
    fit.save(folder / "model")
    gentle.load(folder / "model").predict(ROWS)  # what is read of the package's own annotations
    tensors, document = read(folder / "model")
    return folder, document, tensors


def read(path):
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        document = json.loads(file.metadata()["gentle"])
        return {name: file.get_tensor(name) for name in file.keys()}, document  # noqa: SIM118


def written(path, document, tensors):
    """A model file of a document, with the checksum that belongs to it."""
    document = {key: value for key, value in document.items() if key != "sha256"}
    document["sha256"] = model_file._checksum(document, tensors)
    model_file.save_file(tensors, path, {"gentle": json.dumps(document)})


def places(value, at=()):
    """Where in a tree of JSON each value stands."""
    yield at
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in children:
        yield from places(child, (*at, key))


JUNK = [
    *(None, True, False, 0, -1, 3, 2**70, 0.5, -1e308, "", "a", "`", "open('MARK','w')", "text"),
    *([], {}, [[]], [1], ["a"], {"pairs": []}, {"array": [1, 2]}, {"array": "x"}, {"array": [[]]}),
    *({"decimal": "1.5"}, {"decimal": "nan"}, {"decimal": 3}, {"pairs": [["a", 1]]}, {"pairs": 3}),
    *({"pairs": [[[], 1]]}, {"exec": "1"}, "number"),
]  # fmt: skip


def mutated(document, rng, formulas):
    """The document with one to three parts of its encoder changed."""
    document = json.loads(json.dumps(document))
    encoder = document["model"]["design"]["encoder"]
    for _ in range(rng.choice([1, 1, 2, 3])):
        if rng.random() < 0.3:
            encoder["formula"] = formulas.formula()
            continue
        *way, last = rng.choice([at for at in places(encoder) if at])
        parent = encoder
        for key in way:
            parent = parent[key]
        if rng.random() < 0.15 and isinstance(parent, list):
            parent.insert(last, parent[last])
        elif rng.random() < 0.15:
            del parent[last]
        else:
            parent[last] = deepcopy(rng.choice([*JUNK, rng.choice(HOSTILE), formulas.formula()]))
        if not isinstance(encoder, dict):
            break
    return document


@pytest.mark.parametrize("seed", range(4))
def test_a_random_model_file_is_a_model_or_a_sentence_and_runs_nothing(
    seed, saved, canary, proofs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder, document, tensors = saved
    rng, formulas, refused = random.Random(seed), Formulas(seed), 0
    path = folder / f"mutant {seed}"
    for _ in range(2_500 if proofs else 60):
        written(path, mutated(document, rng, formulas), tensors)
        started = time.process_time()
        refused += isinstance(loaded(path, canary), GentleError)
        assert time.process_time() - started < SECONDS
    assert refused > 20
    assert not list(tmp_path.iterdir())


def loaded(path, canary):
    """Predictions of a model file, or the GentleError that says why there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with canary:
                model = gentle.load(path)
                found = model.predict(ROWS)
        except GentleError as error:
            return error
    return found


@pytest.mark.parametrize("text", ATTACKS)
def test_a_formula_in_a_model_file_runs_nothing(text, saved, canary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, document, tensors = saved
    document = json.loads(json.dumps(document))
    document["model"]["design"]["encoder"]["formula"] = text
    written(folder / "attack", document, tensors)
    assert isinstance(loaded(folder / "attack", canary), GentleError)
    assert not list(tmp_path.iterdir())


# Expansion


WIDE = pl.DataFrame({"y": [1.0, 2.0], **{f"c{at}": [1.0, 2.0] for at in range(100)}})
LARGE = [
    "y ~ .**4",
    f"y ~ ({' + '.join(f'c{at}' for at in range(60))})**4",
    f"y ~ ({' + '.join(f'c{at}' for at in range(99))})**64",
    "y ~ " + "*".join(f"c{at}" for at in range(40)),
    "y ~ "
    + "*".join("(c0 + c1 + c2 + c3)" for _ in range(8))
    + "".join(f"*c{at}" for at in range(4, 30)),
    "y ~ " + ":".join(f"bs(c{at}, df=100)" for at in range(3)),
    "y ~ " + "*".join(f"poly(c{at}, 60)" for at in range(6)),
    f"y ~ bs(c0, knots=[{', '.join(f'{1 + at / 12_000:.6f}' for at in range(12_000))}])",
    "y ~ I(" + "(" * 2_000 + "c0" + ")" * 2_000 + ")",
    "y ~ I(" + " + ".join(["c0"] * 30_000) + ")",
    "y ~ " + "(" * 5_000 + "c0" + ")" * 5_000,
    "y ~ " + "-" * 90_000 + "c0",
    "y ~ I(" + "-" * 90_000 + "c0)",
    "y ~ I(" + "9" * 90_000 + " * c0)",
    "y ~ '" + "\\'" * 40_000,
    "y ~ " + "`" * 99_000,
    "y ~ " + ":".join(["C(c0)"] * 2 + [f"C(c{at})" for at in range(1, 30)]),
]


@pytest.mark.parametrize("text", LARGE, ids=lambda text: text[:24])
def test_columns_are_counted_before_they_are_made(text):
    outcome("y ~ c0 + bs(c1, df=4) + C(c2)", WIDE)
    before, started = memory(), time.process_time()
    found = outcome(text, WIDE)
    assert time.process_time() - started < SECONDS
    assert memory() - before < 50e6
    assert isinstance(found, GentleError) or found.shape[1] <= 1
    if isinstance(found, GentleError):
        assert len(str(found)) < 2_000


def test_levels_are_counted_before_their_products_are_made():
    many = pl.DataFrame({"y": np.arange(3000.0), "g": [f"g{k}" for k in range(3000)]})
    many = many.with_columns(h=pl.col("g").reverse())
    for text in ("y ~ g:h", "y ~ g*h", "y ~ C(g, contr.sum):h", "y ~ g:bs(y2, df=10)"):
        before, started = memory(), time.process_time()
        found = outcome(text, many.with_columns(y2=pl.col("y")))
        assert isinstance(found, GentleError)
        assert "columns" in str(found)
        assert time.process_time() - started < 2 * SECONDS
        assert memory() - before < 50e6


def test_the_source_evaluates_no_text():
    words = (
        "eval(",
        "exec(",
        "stateful_eval",
        "ast.parse",
        "literal_eval",
        "Formula(",
        "model_matrix(",
    )
    for path in sorted((model_file.Path(gentle.__file__).parent).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if f" {word}" in text or f"({word}" in text], path
