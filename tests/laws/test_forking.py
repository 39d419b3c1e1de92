"""A forked process lacks the threads of its parent: an entry answers there, or says why not."""

import multiprocessing
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

import gentle

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="processes are not forked here"
)
WAIT = 20  # seconds within which a child has an answer
SENTENCE = "forked after polars had started its threads"


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """Rows in every form, with models of them, in a process whose thread pools have all been used."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 2))
    y = x @ [2.0, -1.0] + rng.normal(size=60)
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "g": ["p", "q", "r"] * 20, "y": y})
    folder = tmp_path_factory.mktemp("forked")
    frame.write_csv(folder / "rows.csv")
    of_frame, of_arrays = gentle.fit(frame, "y ~ a + C(g)"), gentle.fit((x, y))
    of_frame.save(folder / "model.gentle")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # and work enough for both of them
    wide = np.tile(x, (1_500, 1))
    gentle.fit((wide, wide @ [1.0, 1.0]))
    yield {
        "x": x,
        "y": y,
        "wide": wide,
        "file": folder / "rows.csv",
        "frame": frame,
        "a": frame[["a", "b"]],
        "pandas": frame.to_pandas(),
        "of_frame": of_frame,
        "of_arrays": of_arrays,
        "model": folder / "model.gentle",
        "query": gentle.read_csv(folder / "rows.csv"),
    }
    torch.set_num_threads(threads)


def values(fit):
    return list(fit.coef.values())


ANSWERED = {  # entry -> what it answers, in a fork too
    "arrays": lambda it: values(gentle.fit((it["x"], it["y"]))),
    "arrays and a pandas target": lambda it: values(gentle.fit((it["x"], pd.Series(it["y"])))),
    "tensors": lambda it: values(gentle.fit((torch.tensor(it["x"]), torch.tensor(it["y"])))),
    "arrays for two threads": lambda it: values(gentle.fit((it["wide"], it["wide"].sum(axis=1)))),
    "descent": lambda it: values(gentle.fit((it["x"], it["y"]), solver="cg")),
    "weights and clusters": lambda it: list(
        gentle.fit(
            (it["x"], it["y"]), weights=abs(it["y"]), cluster=np.arange(60) // 5
        ).std_errors.values()
    ),
    "held-out rows": lambda it: values(gentle.fit((it["x"], it["y"]), test=0.25)),
    "estimator": lambda it: gentle.LinearRegression().fit(it["x"], it["y"]).predict(it["x"]),
    "estimator of pandas": lambda it: (
        gentle.LinearRegression().fit(it["pandas"][["a"]], it["y"]).coef_
    ),
    "predict arrays": lambda it: it["of_arrays"].predict(it["x"], interval=0.9).value,
    "load": lambda it: values(gentle.load(it["model"])),
    "summary": lambda it: [len(str(it["of_frame"].summary()))],
    "table": lambda it: it["of_frame"].to_polars()["coefficient"].to_list(),
    "compare": lambda it: gentle.compare((it["x"], it["y"]), solvers=["cg"])["digits"].to_list(),
    "Online": lambda it: values(gentle.Online().partial_fit(it["wide"], it["wide"][:, 0]).result()),
    "certify": lambda it: [gentle.certify([0.0, 2.0, -1.0], (it["x"], it["y"])).certificate.in_se],
}
REFUSED = {  # entry -> what needs threads that are not there
    "frame": lambda it: gentle.fit(it["frame"], target="y"),
    "pandas": lambda it: gentle.fit(it["pandas"], target="y"),
    "mapping": lambda it: gentle.fit({"a": it["x"][:, 0], "y": it["y"]}, target="y"),
    "plan": lambda it: gentle.fit(it["frame"].lazy(), target="y", features=["a"]),
    "formula": lambda it: gentle.fit(it["frame"], "y ~ a + C(g)"),
    "formula of arrays": lambda it: gentle.fit((it["x"], it["y"]), "y ~ x1"),
    "file": lambda it: gentle.fit(it["file"], "y ~ a"),
    "file with options": lambda it: gentle.fit(it["query"], "y ~ a"),
    "estimator of polars": lambda it: gentle.LinearRegression().fit(it["a"], it["y"]),
    "predict a frame": lambda it: it["of_frame"].predict(it["frame"]),
    "load and predict": lambda it: gentle.load(it["model"]).predict(it["frame"]),
    "compare of a frame": lambda it: gentle.compare(it["frame"], "y ~ a", solvers=["cg"]),
    "Online of a frame": lambda it: gentle.Online().partial_fit(it["a"], it["y"]),
    "processes": lambda it: gentle.fit((it["x"], it["y"]), engine="processes:2"),
    "batches of frames": lambda it: gentle.fit([it["frame"]], target="y", features=["a"]),
}


def answer(ask, rows, pipe):
    try:
        pipe.send(np.asarray(ask(rows), dtype=float))
    except Exception as error:
        pipe.send(error)


def in_forks(asks, rows):
    """Entry -> what a forked child answers: numbers, an exception, or None where none came in time."""
    context = multiprocessing.get_context("fork")
    children = {}
    for entry, ask in asks.items():
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=answer, args=(ask, rows, there))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own, of forks beside threads
            child.start()
        children[entry] = child, here
    found = {}
    for entry, (child, here) in children.items():
        found[entry] = here.recv() if here.poll(WAIT) else None
        child.kill()
        child.join()
    return found


@pytest.mark.filterwarnings("ignore")
def test_arrays_and_their_models_answer_in_a_forked_process_as_in_its_parent(used):
    found = in_forks(ANSWERED, used)
    for entry, ask in ANSWERED.items():
        assert isinstance(found[entry], np.ndarray), (entry, found[entry])
        np.testing.assert_allclose(found[entry], ask(used), rtol=1e-9, err_msg=entry)


def test_what_needs_the_threads_of_polars_says_so_at_once_and_names_the_way_out(used):
    for entry, error in in_forks(REFUSED, used).items():
        assert isinstance(error, gentle.GentleError), (entry, error)
        assert SENTENCE in str(error), entry
        assert "get_context('spawn')" in str(error), entry


def test_a_fork_before_polars_has_started_its_threads_is_an_ordinary_process():
    code = """
import multiprocessing, gentle, polars as pl
frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 3.0, 2.0, 5.0]})
def fit(pipe):
    pipe.send(gentle.fit(frame, "y ~ x").coef["x"])
gentle.fit
context = multiprocessing.get_context("fork")
here, there = context.Pipe(duplex=False)
child = context.Process(target=fit, args=(there,))
child.start()
print(here.recv() if here.poll(60) else None)
child.kill()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert float(done.stdout) == pytest.approx(1.1), done.stderr
