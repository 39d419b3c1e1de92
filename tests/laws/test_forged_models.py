"""Laws of forged model files: with a checksum that is right, they are refused in a sentence or work."""

import json
import random
import time
import warnings
from collections import Counter
from copy import deepcopy

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file
from scipy.sparse import random_array
from test_model_file import FRAME, MODELS, each, opened, places, quietly

import gentle
from gentle import GentleError, model_file
from gentle.descended import Descended
from gentle.online import OnePass

SECONDS = 5.0  # of one file
ROWS = (FRAME[:6], FRAME[:6], FRAME[:6].with_columns(cut=pl.lit("new"), firm=pl.lit(99, pl.Int64)))
ORDINARY = (
    "levels",
    "splines",
    "several targets",
    "contrasts",
    "sgd",
    "cluster",
    "alone",
    "one pass",
)


def alone():
    """A descent without the exact solution."""
    x = random_array((300, 5000), density=0.01, rng=np.random.default_rng(0), format="csr")
    return gentle.fit((x, x @ np.ones(5000) + 1), l2=0.1, max_passes=3)


def one_pass():
    x = np.random.default_rng(0).normal(size=(20_000, 2))
    return gentle.fit((x, x @ [1, 2] + x[:, 0] ** 2), passes=1, errors="random-scaling")


EVERY = {**MODELS, "alone": alone, "one pass": one_pass}
NUMBERS = (
    *(0, -1, 1, 2, 3, 17, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 10**30, 10**400, -(10**400)),
    *(0.5, -0.0, 5e-324, 1e308, -1e308, 1e-308),
)
TEXTS = (
    *(
        "",
        "nan",
        "inf",
        "-inf",
        "a",
        "b",
        "y",
        "z",
        "cut",
        "Intercept",
        "Fit",
        "HC3",
        "cluster",
        "drop",
    ),
    *("\x00", "\ud800", "\u212a", "`", "open('x')", "y ~ a", "y ~ .", "~", "y ~ a + b + c"),
    *("answer.basis", "values", "float32", "cuda:99", "missing", "x" * 10_000, "\x1b[2J"),
)
OTHERS = (
    *(
        None,
        True,
        False,
        [],
        {},
        [[]],
        [None],
        [0],
        [1, 2, 3],
        ["a", "b"],
        [["a", 1]],
        {"kind": "Fit"},
    ),
    *({"a": 1}, {"array": [1, 2]}, {"pairs": []}, {"decimal": "1e400"}, {"": {}}),
    json.loads("[" * 200 + "]" * 200),
)
SAME_KEYS = '{"kind": 1, "kind": 2}'
# what the JSON may hold that Python's json does not write, in the place of a mark
RAW = (
    *(
        "1e999",
        "-1e999",
        "NaN",
        "Infinity",
        "1e-400",
        "0e99999",
        "9" * 5_000,
        "[" * 5_000 + "]" * 5_000,
    ),
    *('"\\ud800"', SAME_KEYS, "01", "'a'", "[1,]", ""),
)
MARK = "@@forged@@"


def inside(document, path):
    for key in path:
        document = document[key]
    return document


def forged(document, rng):
    """A document with one of its parts of another type, length, order or meaning."""
    document = json.loads(json.dumps(document))
    every = [path for path in places(document["model"]) if path]
    *way, last = rng.choice(every)
    holder = inside(document["model"], way)
    how = rng.random()
    if how < 0.08:
        del holder[last]
    elif how < 0.16 and isinstance(holder, list):
        rng.shuffle(holder)
    elif how < 0.22 and isinstance(holder, list):
        holder.insert(last, holder[last])
    elif how < 0.26 and isinstance(holder, dict):
        holder[rng.choice(TEXTS)] = holder.pop(last)
    elif how < 0.40:
        holder[last] = deepcopy(
            inside(document["model"], rng.choice(every))
        )  # a part of another place
    elif how < 0.50:
        holder[last] = MARK
    elif how < 0.70:
        holder[last] = rng.choice(NUMBERS)
    elif how < 0.87:
        holder[last] = rng.choice(TEXTS)
    else:
        holder[last] = rng.choice(OTHERS)
    return json.loads(json.dumps(document))


def distorted(tensors, rng):
    """Tensors of which one has other numbers, another order, shape or type, or two changed places."""
    name, other = rng.choice(sorted(tensors)), rng.choice(sorted(tensors))
    values = tensors[name]
    flat = values.ravel().copy()
    rng.shuffle(flat)
    whole, spoilt = values.dtype.kind == "i", values.copy()
    if spoilt.size:
        numbers = (0, -1, 7, 2**62) if whole else (0, -1, 1e308, 5e-324, np.nan, -np.inf, 1e200)
        spoilt.flat[rng.randrange(spoilt.size)] = rng.choice(numbers)
    with np.errstate(all="ignore"):
        types = [values.astype(kind) for kind in (np.float32, bool, float if whole else np.int64)]
    if values.dtype == bool:
        return tensors
    orders = [
        flat.reshape(values.shape),
        values[::-1].copy(),
        values.T.copy(),
        0 - values,
        values * 0,
    ]
    shapes = [
        values[:0],
        values[:-1].copy(),
        np.concatenate([values, values[:1]]),
        values[None],
        values.ravel(),
    ]
    sizes = [np.zeros((0,)), np.zeros((3, 0)), np.full_like(values, 2**62 if whole else 1e300)]
    changed = rng.choice([spoilt] * 4 + types + orders + shapes + sizes)
    if rng.random() < 0.15:
        return {**tensors, name: tensors[other], other: values}
    return {**tensors, name: np.ascontiguousarray(changed)}


def write(path, document, tensors, raw):
    """A model file with the checksum of what it says, as far as that can be read."""
    document = {key: part for key, part in document.items() if key != "sha256"}
    text = model_file._text(document)
    text = text.replace(f'"{MARK}"', raw)
    try:
        told = json.loads(text)
        document = {**told, "sha256": model_file._checksum(told, tensors)}
        text = (
            model_file._text(document)
            if raw != SAME_KEYS
            else text[:-1] + f', "sha256": "{document["sha256"]}"' + "}"
        )
    except (ValueError, RecursionError):
        text = text[:-1] + ', "sha256": "0"}'
    save_file(tensors, path, {"gentle": text})


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Name -> (document, tensors) of a model, each fitted once."""
    folder, known = tmp_path_factory.mktemp("models"), {}

    def get(name):
        if name not in known:
            quietly(EVERY[name]).save(folder / "model")
            known[name] = opened(folder / "model")
        return known[name]

    return get


USES = (
    lambda model, rows: model.predict(rows),
    lambda model, rows: model.predict(rows, interval=0.9),
    lambda model, _: model.summary(),
    lambda model, _: (repr(model), model.to_markdown(), model.to_latex()),
    lambda model, _: (repr(model), model.to_polars(), dict(model.coef)),
    lambda model, _: model.conf_int(0.9),
    lambda model, rows: model.influence(rows),
)


def load(path):
    """The model of a file, or None where it is refused in a sentence that names the file."""
    try:
        return gentle.load(path)
    except GentleError as error:
        said = str(error)
    assert str(path) in said
    assert len(said) < 4_000
    return None


def use(model, rows):
    """How many of the uses of a model end in a sentence, and how many there were."""
    refused, tried = 0, 0
    for one in each(model):
        for work in USES:
            try:
                with np.errstate(all="ignore"):
                    work(one, rows)
            except GentleError:
                refused += 1
            except (AttributeError, TypeError):
                assert isinstance(one, OnePass | Descended)  # which have fewer methods and options
            tried += 1
    return refused, tried


@pytest.mark.parametrize("seed", range(4))
def test_a_forged_model_file_works_or_is_refused_in_a_sentence(seed, library, tmp_path, proofs):
    rng, path, ends = random.Random(seed), tmp_path / "forged.gentle", Counter()
    names = list(EVERY) if proofs else ORDINARY[2 * seed : 2 * seed + 2]
    arrays = {
        "alone": random_array((4, 5000), density=0.01, format="csr"),
        "one pass": np.ones((4, 2)),
    }
    for at in range(2_500 if proofs else 25):
        name = names[at % len(names)]
        document, tensors = library(name)
        for _ in range(rng.choice((1, 1, 2))):
            if rng.random() < 0.3:
                tensors = distorted(tensors, rng)
            else:
                document = forged(document, rng)
        try:
            write(path, document, tensors, rng.choice(RAW))
        except (UnicodeEncodeError, AttributeError):
            ends["cannot be written"] += 1
            continue
        rows = arrays.get(name, rng.choice(ROWS))
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", gentle.GentleWarning)
            model = load(path)
            ends["refused" if model is None else "loaded"] += 1
            if model is not None:
                refused, tried = use(model, rows)
                ends["uses"] += tried
                ends["uses refused"] += refused
        assert time.process_time() - started < SECONDS
    print(dict(ends))
    assert ends["refused"] > ends["loaded"] > 0
