"""Model files: what comes back is what was saved, to the last bit, or one sentence says why it cannot."""

import json
import os
import pickle
import struct
import subprocess
import sys
import warnings
from dataclasses import fields, is_dataclass

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.sparse import random_array

import gentle
from gentle import model_file
from gentle.design import Design

N = 160


def table(seed=0, n=N):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) * [1.0, 100.0, 1e-3] + [5.0, 0.0, 1.0]
    firm = rng.integers(0, 12, size=n)
    return pl.DataFrame(
        {
            "y": x @ [1.0, 0.02, 300.0] + rng.normal(size=n),
            "z": x[:, 0] ** 2 + rng.normal(size=n),
            "a": np.where(np.arange(n) % 41 == 7, np.nan, x[:, 0]),
            "b": x[:, 1],
            "c": x[:, 2],
            "twice": 2 * x[:, 1] + 1,
            "flag": firm > 6,
            "cut": [["fair", "good", 'it\'s "best"', "größe"][at % 4] for at in firm],
            "firm": firm,
            "w": rng.uniform(0.5, 2, size=n),
            "f": rng.integers(1, 4, size=n),
            "o": rng.normal(size=n),
        }
    )


FRAME = table()
PLAIN = ["a", "b", "c"]


def of_columns(**choices):
    return gentle.fit(FRAME, target="y", features=choices.pop("features", PLAIN), **choices)


def of_arrays(**choices):
    return gentle.fit((FRAME.select("b", "c").to_numpy(), FRAME["y"].to_numpy()), **choices)


MODELS = {
    "classical": of_columns,
    "arrays": of_arrays,
    "HC1": lambda: of_columns(errors="HC1"),
    "HC3, normal": lambda: of_columns(errors="HC3", use_t=False),
    "cluster": lambda: of_columns(cluster="firm"),
    "two ways": lambda: of_columns(cluster=("firm", "cut")),
    "HAC": lambda: of_columns(errors="HAC", lags=3),
    "ridge": lambda: of_columns(l2=0.1),
    "digits": lambda: of_columns(digits=12, tol=1e-6),
    "no constant": lambda: of_columns(intercept=False),
    "constant alone": lambda: gentle.fit(FRAME, "y ~ 1"),
    "qr": lambda: of_columns(method="qr"),
    "drop": lambda: of_columns(features=[*PLAIN, "twice"]),
    "minimum-norm": lambda: of_columns(features=[*PLAIN, "twice"], rank="minimum-norm"),
    "weights": lambda: of_columns(weights="w"),
    "frequencies": lambda: of_columns(frequencies="f"),
    "offset": lambda: of_columns(offset="o"),
    "weights as an array": lambda: of_columns(weights=FRAME["w"].to_numpy()),
    "levels": lambda: of_columns(features=["a", "cut", "flag"]),
    "missing by the mean": lambda: of_columns(missing="mean"),
    "missing by an indicator": lambda: of_columns(missing="indicator", features=["a", "b", "cut"]),
    "offset in the formula": lambda: gentle.fit(FRAME, "y ~ b + offset(2 * o)"),
    "several targets": lambda: gentle.fit(FRAME, target=["y", "z"], features=PLAIN),
    "several, clustered": lambda: gentle.fit(
        FRAME, target=["y", "z"], features=PLAIN, cluster="firm"
    ),
    "sgd": lambda: of_columns(solver="sgd"),
    "sgd, several": lambda: gentle.fit(FRAME, target=["y", "z"], features=PLAIN, solver="sgd"),
    "sgd, drop": lambda: of_columns(features=[*PLAIN, "twice"], solver="sgd"),
    "gd": lambda: of_columns(solver="gd", max_passes=30),
    "nesterov, cut short": lambda: of_columns(solver="nesterov", max_passes=3),
    "minibatch": lambda: of_columns(solver="minibatch", batch_size=16, seed=7, max_passes=5),
    "float32": lambda: of_arrays(solver="sgd", dtype="float32"),
    "data of float32": lambda: gentle.fit(
        (FRAME.select("b", "c").to_numpy().astype(np.float32), FRAME["y"].to_numpy())
    ),
    "on the processor": lambda: of_arrays(solver="sgd", device="cpu"),
    "held out": lambda: of_columns(test=0.25, shuffle=True),
    "noise-free": lambda: gentle.fit(FRAME, target="twice", features=["b"]),
    "without a degree of freedom": lambda: gentle.fit(FRAME[:4], target="y", features=["b", "c", "o"]),
    "interactions": lambda: gentle.fit(FRAME, "log(w) ~ a * C(cut) + b:flag", errors="HC1"),
    "powers": lambda: gentle.fit(FRAME, "y ~ a + I(a**2) + poly(b, 3, raw=True)"),
    "poly": lambda: gentle.fit(FRAME, "y ~ poly(b, 3)"),
    "splines": lambda: gentle.fit(FRAME, "y ~ bs(b, df=5) + cr(c, df=4)"),
    "scale": lambda: gentle.fit(FRAME, "y ~ scale(b) + center(c) + standardize(o)"),
    "contrasts": lambda: gentle.fit(FRAME, "y ~ C(cut, contr.sum) + C(firm)"),
    "no constant, formula": lambda: gentle.fit(FRAME, "y ~ b + cut - 1"),
    "joined": lambda: of_columns() + gentle.fit(table(1), target="y", features=PLAIN),
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    """Name -> the model, each fitted once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = quietly(MODELS[name])
        return made[name]

    return get


def quietly(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gentle.GentleWarning)
        return make()


def saved(model, folder):
    path = folder / "model.gentle"
    model.save(path)
    return path


def bits(value):
    """A value such that two are equal where all bits are: nan equals nan, and 0 is not -0."""
    if isinstance(value, np.ndarray):
        by_columns = value.flags.f_contiguous and not value.flags.c_contiguous
        return (value.dtype.str, value.shape, by_columns, value.tobytes())
    if isinstance(value, Design):
        return tuple(value.meaning.items()), value.needed, value.missing
    if is_dataclass(value):
        return type(value).__name__, {
            it.name: bits(getattr(value, it.name)) for it in fields(value)
        }
    if isinstance(value, dict) or hasattr(value, "items"):
        return [(name, bits(part)) for name, part in value.items()]
    if isinstance(value, tuple | list):
        return [bits(part) for part in value]
    if isinstance(value, int | float | np.number):
        return struct.pack("d", value) if value == value else "nan"
    return value


def answers(fit):
    level = 0.9 if fit.converged and not fit.l2 else None
    offset = FRAME["o"].to_numpy() if fit.design.offset == "(offset)" else None
    rows = FRAME.select("b", "c").to_numpy() if "x1" in fit.design.columns else FRAME
    found = fit.predict(rows, offset=offset, interval=level, kind="new")
    yield (
        found
        if isinstance(found, np.ndarray)
        else getattr(found, "to_numpy", lambda: vars(found))()
    )
    yield fit.predict(rows, offset=offset)
    if not fit.l2 and (names := [name for name in fit.names if np.isfinite(fit.coef[name])]):
        yield fit.test(f"`{names[-1]}` = 1")
    if fit.trace:
        yield fit.trace_frame().to_dicts()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_to_the_last_bit(name, fitted, tmp_path):
    model = fitted(name)
    again = gentle.load(saved(model, tmp_path))
    assert type(again) is type(model)
    assert bits(again) == bits(model) or name == "on the processor"
    for one, two in zip(each(model), each(again), strict=True):
        assert one.summary() == two.summary()
        assert bits(list(derived(one))) == bits(list(derived(two)))
        assert bits(list(answers(one))) == bits(list(answers(two)))
        assert bits(two.compare(one)) == bits(one.compare(one))


def each(model):
    return list(model.values()) if isinstance(model, gentle.Fits) else [model]


def derived(fit):
    """What is made from the parts of a fit."""
    yield from (fit.coef, fit.exact, fit.descent, fit.std_errors, fit.t_values, fit.p_values)
    yield from (fit.vcov, fit.conf_int(0.9), fit.r2, fit.r2_adjusted, fit.sigma, fit.condition)
    yield from (str(fit.verdict), fit.certificate.within, fit.certificate.digits, fit.difference)
    yield from (fit.n_rows, fit.df_resid, fit.df, fit.log_likelihood, fit.aic, fit.bic, fit.vif)
    yield from (fit.f_test, fit.dropped, fit.dependent, fit.to_dict(), fit.to_latex())


@pytest.mark.parametrize(
    "name", ["classical", "levels", "qr", "ridge", "several targets", "offset"]
)
def test_models_that_were_saved_join_as_they_would_have(name, fitted, tmp_path):
    model = fitted(name)
    again = gentle.load(saved(model, tmp_path))
    both, joined = quietly(lambda: model + model), quietly(lambda: again + again)
    assert bits(joined) == bits(both)
    if name != "qr":
        assert bits(quietly(lambda: joined - again)) == bits(quietly(lambda: both - model))


def test_a_descent_goes_on_from_a_file(fitted, tmp_path):
    model = fitted("nesterov, cut short")
    again = gentle.load(saved(model, tmp_path))
    on, off = (it.continue_(FRAME, max_passes=4) for it in (again, model))
    assert bits(on.values) == bits(off.values)
    assert on.trace[-1].passes > model.trace[-1].passes


def test_rows_are_measured_by_a_model_that_was_saved(fitted, tmp_path):
    model = fitted("classical")
    again = gentle.load(saved(model, tmp_path))
    assert again.influence(FRAME).equals(model.influence(FRAME))
    again.plot.coefficients()


def test_a_descent_alone_comes_back(tmp_path):
    x = random_array((300, 5000), density=0.01, rng=np.random.default_rng(0), format="csr")
    model = gentle.fit((x, x @ np.ones(5000) + 1), l2=0.1, max_passes=5)
    again = gentle.load(saved(model, tmp_path))
    assert bits(again) == bits(model)
    assert again.summary() == model.summary()
    assert bits(again.predict(x)) == bits(model.predict(x))


def test_one_pass_comes_back(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 2))
    model = gentle.fit((x, x @ [1, 2] + rng.normal(size=20_000)), passes=1, errors="random-scaling")
    again = gentle.load(saved(model, tmp_path))
    assert bits(again) == bits(model)
    assert again.summary() == model.summary()


def test_a_model_that_was_loaded_can_be_saved_pickled_and_loaded_elsewhere(fitted, tmp_path):
    path = saved(fitted("interactions"), tmp_path)
    again = gentle.load(path)
    assert bits(gentle.load(saved(again, tmp_path))) == bits(again)
    assert bits(pickle.loads(pickle.dumps(again))) == bits(again)
    code = f"import gentle; print(repr(gentle.load({str(path)!r}).coef['a']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == again.coef["a"]


def test_the_size_of_a_file_does_not_grow_with_the_rows(tmp_path):
    sizes = []
    for n in (200, 20_000):
        frame = table(n=n)
        path = saved(gentle.fit(frame, target="y", features=PLAIN), tmp_path)
        sizes.append(path.stat().st_size)
    assert abs(sizes[1] - sizes[0]) < 200


def test_a_file_is_about_five_squares_of_the_columns(tmp_path):
    x = np.random.default_rng(0).normal(size=(400, 100))
    size = saved(gentle.fit((x, x.sum(axis=1) + x[:, 0] ** 2)), tmp_path).stat().st_size
    assert size < 8 * 5.5 * 101**2


def test_a_file_is_text_and_numbers_that_others_can_read(fitted, tmp_path):
    model = fitted("levels")
    with safe_open(saved(model, tmp_path), "np") as file:
        document = json.loads(file.metadata()["gentle"])
        assert np.array_equal(file.get_tensor("values"), model.values)
    assert document["format"] == model_file.FORMAT
    assert document["gentle"] == gentle.__version__
    assert tuple(document["model"]["names"]) == model.names
    assert document["model"]["tally"]["missing"] == {"a": model.tally.missing["a"]}
    assert "größe" in json.dumps(document["model"]["design"], ensure_ascii=False)


# --- what is no model ---------------------------------------------------------------------------


def refused(path, *words):
    with pytest.raises(gentle.GentleError) as told:
        gentle.load(path)
    assert "\n" not in str(told.value)
    for word in words:
        assert word in str(told.value), str(told.value)


def test_what_is_no_file_is_refused(tmp_path):
    refused(tmp_path / "none.gentle", "none.gentle", "not there")
    refused(tmp_path, "directory")
    (tmp_path / "empty").write_bytes(b"")
    refused(tmp_path / "empty", "give a file that fit.save wrote")
    (tmp_path / "text").write_text("y,x\n1,2\n" * 100)
    refused(tmp_path / "text", "no model file")
    save_file({"a": np.zeros(3)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", "something else")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "no file")


def test_numbers_that_json_does_not_know_are_refused(fitted, tmp_path):
    path = saved(fitted("classical"), tmp_path)
    document, tensors = opened(path)
    for number in (np.nan, np.inf, -np.inf):
        save_file(tensors, path, {"gentle": json.dumps({**document, "more": number})})
        refused(path, "not JSON")


@pytest.mark.parametrize("other", [model_file.FORMAT - 1, 99])
def test_a_file_of_another_format_says_what_to_take(fitted, tmp_path, other):
    path = saved(fitted("classical"), tmp_path)
    document, tensors = opened(path)
    document["format"], document["gentle"] = other, "9.9"
    del document["model"]["choices"]["rank_tol"]  # such a file may have other fields
    rewritten(path, document, tensors)
    refused(path, f"format {other}", "9.9", f"format {model_file.FORMAT}", "save the model again")


def opened(path):
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["gentle"]), {
            name: file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
        }


def rewritten(path, document, tensors):
    """The file with other contents, and a checksum that fits them."""
    document.pop("sha256", None)
    document["sha256"] = model_file._checksum(document, tensors)
    save_file(tensors, path, {"gentle": json.dumps(document)})


def test_a_number_that_was_changed_is_found(fitted, tmp_path):
    path = saved(fitted("classical"), tmp_path)
    document, tensors = opened(path)
    tensors["values"] = tensors["values"] * (1 + 2**-52)
    save_file(tensors, path, {"gentle": json.dumps(document)})
    refused(path, "changed")
    document, tensors = opened(saved(fitted("classical"), tmp_path))
    document["model"]["tally"]["n_used"] += 1
    save_file(tensors, path, {"gentle": json.dumps(document)})
    refused(path, "changed")


@pytest.mark.parametrize("name", ["classical", "sgd", "qr", "held out", "minimum-norm"])
def test_each_part_must_fit_the_others(name, fitted, tmp_path):
    """Every array with a row too many, and every finite one with a nan, is refused by its name."""
    path = saved(fitted(name), tmp_path)
    document, tensors = opened(path)
    for tensor, values in tensors.items():
        longer = np.concatenate([values, values[-1:]])
        rewritten(path, document, {**tensors, tensor: longer})
        refused(path, "must be")
        if model_file.SHAPES.get(tensor.removesuffix(".T"), "?").endswith("?"):
            continue
        if values.dtype == np.float64:
            rewritten(path, document, {**tensors, tensor: np.full_like(values, np.nan)})
            refused(path, "must be")


@pytest.mark.parametrize(
    ("name", "forge"),
    [
        ("levels", lambda it: it["design"]["encoder"]["levels"]["cut"].append("fair")),
        ("interactions", lambda it: it["design"]["encoder"]["levels"]["cut"].append("fair")),
        ("levels", lambda it: it["design"].update(more=1)),
        ("levels", lambda it: it["design"]["encoder"].update(more=1)),
        ("interactions", lambda it: it["design"]["encoder"].update(more=1)),
        ("classical", lambda it: it["design"]["filling"].update(more=1)),
        ("classical", lambda it: it["tally"].update(n_used=-5)),
        ("classical", lambda it: it["tally"].update(n_used=10**6)),
        ("classical", lambda it: it["tally"].update(missing={"a": -3})),
    ],
)
def test_a_forged_state_that_contradicts_itself_is_refused(name, forge, fitted, tmp_path):
    path = saved(fitted(name), tmp_path)
    document, tensors = opened(path)
    forge(document["model"])
    rewritten(path, document, tensors)
    refused(path, "no model that can be used")


def test_tensors_of_other_types_are_refused(fitted, tmp_path):
    path = saved(fitted("classical"), tmp_path)
    document, tensors = opened(path)
    rewritten(path, document, {**tensors, "values": tensors["values"].astype(np.float32)})
    refused(path, "neither float64 nor int64")
    rewritten(path, document, {**tensors, "more": np.zeros(3)})
    refused(path, "more")


# --- a thousand broken files --------------------------------------------------------------------


def places(value, path=()):
    """Every place in a tree of JSON."""
    yield path
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in inner:
        yield from places(part, (*path, key))


STRANGE = (
    None, True, -1, 0, 1, 3, 10**30, 1e308, -0.5, "nan", "inf", "", "values", "Fit", "\ud800", [], {}, [[]],
    ["a"] * 3, {"kind": "Fit"}, {"a": 1}, [1.5, "x"], "answer.basis", 2**62,
)  # fmt: skip


def edited(document, rng):
    """The document with a key gone, a value of another type, or two values swapped."""
    document = json.loads(json.dumps(document))
    every = [path for path in places(document) if path]
    path = every[rng.integers(len(every))]
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    how = rng.integers(4)
    if how == 0:
        del holder[path[-1]]
    elif how == 1 and isinstance(holder, dict):
        holder[f"{path[-1]}!"] = holder.pop(path[-1])
    elif how == 2 and isinstance(holder, list):
        holder.append(holder[0])
    else:
        holder[path[-1]] = STRANGE[rng.integers(len(STRANGE))]
    return document


def reshaped(tensors, rng):
    name = sorted(tensors)[rng.integers(len(tensors))]
    values = tensors[name]
    other = [values[:0], values[:-1], values.ravel(), values[None], values.astype(np.float32)]
    other += [
        values * np.nan,
        values.view(np.int64),
        values.view(np.float64),
        -values,
        values[::-1].copy(),
    ]
    return {**tensors, name: np.ascontiguousarray(other[rng.integers(len(other))])}


def broken(whole, path, rng):
    """One way to break a model file: bytes, bits, length, JSON, shapes; with its checksum or mended."""
    kind = rng.integers(7)
    if kind == 0:
        return path.write_bytes(rng.bytes(int(rng.integers(0, 3000))))
    if kind == 1:
        return path.write_bytes(whole[: rng.integers(len(whole))])
    if kind == 2:
        flipped = bytearray(whole)
        for at in rng.integers(len(whole), size=rng.integers(1, 4)):
            flipped[at] ^= 1 << int(rng.integers(8))
        return path.write_bytes(bytes(flipped))
    if kind == 3:  # a header of its own making, as of 1e18 numbers
        header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
        names = [name for name in header if name != "__metadata__"]
        entry = header[names[rng.integers(len(names))]]
        entry["shape"] = [int(rng.choice([0, 10**18, 2**63, -1]))] * int(rng.integers(1, 4))
        text = json.dumps(header).encode()
        body = whole[8 + int.from_bytes(whole[:8], "little") :]
        return path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    path.write_bytes(whole)
    document, tensors = opened(path)
    if kind == 4:
        tensors = reshaped(tensors, rng)
    else:
        for _ in range(rng.integers(1, 3)):
            document = edited(document, rng)
    try:
        return rewritten(path, document, tensors)
    except (UnicodeEncodeError, AttributeError):  # what cannot be written is not a file
        return path.write_bytes(whole[:100])


FUZZED = ("classical", "levels", "sgd", "minimum-norm", "several targets", "splines", "held out")


def test_a_thousand_broken_files_end_in_the_right_model_or_in_a_sentence(fitted, tmp_path, proofs):
    rng = np.random.default_rng(2024)
    path = tmp_path / "broken.gentle"
    wholes = {name: saved(fitted(name), tmp_path).read_bytes() for name in FUZZED}
    survivors, sentences = 0, []
    for at in range(20_000 if proofs else 1_000):
        name = FUZZED[at % len(FUZZED)]
        broken(wholes[name], path, rng)
        try:
            model = gentle.load(path)
        except gentle.GentleError as error:
            sentences.append(str(error))
            continue
        survivors += 1
        for one in each(model):  # a number that was changed with its checksum is a number
            with np.errstate(all="ignore"):
                one.summary()
    assert all("\n" not in it and str(path) in it for it in sentences)
    assert survivors < (20_000 if proofs else 1_000) / 4


# --- writing ------------------------------------------------------------------------------------


def test_what_cannot_be_written_is_refused_and_leaves_nothing(fitted, tmp_path):
    model = fitted("classical")
    for path, word in (
        (tmp_path, "directory"),
        (tmp_path / "none" / "a.gentle", "no directory"),
        ("/dev/null", "no file"),
    ):
        with pytest.raises(gentle.GentleError, match=word):
            model.save(path)
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
import gentle
model = gentle.load(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    model.save(sys.argv[2])
except gentle.GentleError as error:
    print(error)
"""


def test_a_full_disk_leaves_what_was_there(fitted, tmp_path):
    """A limit on the size of files stands for the disk: the system refuses to write on, as there."""
    path = saved(fitted("classical"), tmp_path)
    (tmp_path / "there.gentle").write_text("before")
    done = subprocess.run(
        [sys.executable, "-c", FULL, path, tmp_path / "there.gentle"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "cannot be written" in done.stdout
    assert done.stdout.count("\n") == 1
    assert (tmp_path / "there.gentle").read_text() == "before"
    assert sorted(it.name for it in tmp_path.iterdir()) == ["model.gentle", "there.gentle"]


def test_a_link_is_followed(fitted, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.gentle").symlink_to(tmp_path / "real" / "a.gentle")
    fitted("classical").save(tmp_path / "link.gentle")
    assert (tmp_path / "link.gentle").is_symlink()
    assert (tmp_path / "real" / "a.gentle").is_file()
