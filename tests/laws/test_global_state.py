"""No entry changes what belongs to the whole process, or relies on it."""

import subprocess
import sys

SCRIPT = """
import locale, os, random, tempfile, warnings
import matplotlib.figure, numpy as np, pandas, polars, scipy.stats, sklearn.base, torch, torch.utils.data
import gentle
gentle.LinearRegression, gentle.textbook
from gentle import tour

rng = np.random.default_rng(0)
x = rng.normal(size=(400, 3))
y = x @ [1.0, 2.0, 3.0] + rng.normal(size=400)
label = np.arange(400) // 20
single, whole = x.astype(np.float32), np.arange(400)
for each in (x, y, label, single, whole):
    each.flags.writeable = False
names = {"a": x[:, 0], "b": x[:, 1], "g": np.array(["p", "q"] * 200), "y": y}
frame = polars.DataFrame(names)
folder = tempfile.mkdtemp()
frame.write_csv(folder + "/rows.csv")
tensors = torch.tensor(x), torch.tensor(y)
model = gentle.fit((x, y))


def saved(fit):
    fit.save(folder + "/model.gentle")
    return gentle.load(folder + "/model.gentle").predict(x)


def online():
    one = gentle.Online().partial_fit(x, y).result()
    return one.conf_int(0.9), str(one.summary())


def estimator():
    one = gentle.LinearRegression(solver="sgd", random_state=0).fit(single, y, sample_weight=np.abs(y))
    return one.predict(single)


ENTRIES = {
    **{
        "fit by " + solver: lambda solver=solver: gentle.fit((x, y), solver=solver)
        for solver in ("exact", "sgd", "cg", "lbfgs", "newton", "gd", "momentum", "nesterov", "minibatch")
    },
    "fit a frame": lambda: gentle.fit(frame, target="y"),
    "fit pandas": lambda: gentle.fit(pandas.DataFrame(names), target="y"),
    "fit a mapping": lambda: gentle.fit(names, target="y"),
    "fit a file": lambda: gentle.fit(folder + "/rows.csv", target="y"),
    "fit integers": lambda: gentle.fit((whole[:, None], y)),
    "fit float32": lambda: gentle.fit((single, y), solver="sgd"),
    "fit sparse": lambda: gentle.fit((scipy.sparse.csr_array(x), y)),
    "fit tensors": lambda: gentle.fit(tensors),
    "fit batches": lambda: gentle.fit([(x[:200], y[:200]), (x[200:], y[200:])]),
    "fit a dataset": lambda: gentle.fit(torch.utils.data.TensorDataset(*tensors)),
    "formulas": lambda: [
        gentle.fit(frame, text)
        for text in ("y ~ a*C(g)", "y ~ bs(a, df=5) + b", "y ~ poly(a, 3)", "y ~ scale(a) + I(b**2)")
    ],
    "a formula of arrays": lambda: gentle.fit((x, y), "y ~ x1 + exp(x2)"),
    "errors": lambda: [gentle.fit((x, y), errors=each) for each in ("HC0", "HC3")],
    "weights and clusters": lambda: gentle.fit((x, y), weights=np.abs(y), cluster=label),
    "far units": lambda: [gentle.fit((x * 10.0**-e, y * 10.0**e)) for e in (-120, 120)],
    "constant target": lambda: gentle.fit((x, x[:, 0] * 2)),
    "several targets": lambda: gentle.fit((x, np.column_stack([y, -y]))),
    "ridge, held-out rows": lambda: gentle.fit((x, y), l2=0.1, test=0.2),
    "threads": lambda: gentle.fit((x, y), engine="threads:2"),
    "estimator": estimator,
    "compare": lambda: gentle.compare((x, y)),
    "picture": lambda: gentle.contest((x, y), solvers=["cg", "gd"]).plot(),
    "pictures": lambda: [gentle.fit((x, y), solver="gd").plot.descent(), model.plot.coefficients()],
    "certify": lambda: gentle.certify([0.0, 1.0, 2.0, 3.0], (x, y)),
    "Online": online,
    "one pass": lambda: gentle.fit((x, y), passes=1, errors="random-scaling"),
    "textbook": lambda: gentle.textbook.descend(*tensors, learning_rate=0.1, iterations=20),
    "textbook.sgd": lambda: gentle.textbook.sgd(*tensors, learning_rate=0.1, epochs=2),
    "predict": lambda: [model.predict(x), model.predict(x, interval=0.9, kind="new")],
    "influence": lambda: model.influence((x, y)),
    "save and load": lambda: saved(model),
    "summary": lambda: [str(model.summary()), repr(model), model.to_polars()],
    "sum": lambda: gentle.fit((x[:200], y[:200])) + gentle.fit((x[200:], y[200:])),
}


def state():
    return {
        "Python's random state": random.getstate(),
        "numpy's random state": repr(np.random.get_state()),
        "numpy's errors": np.geterr(),
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "torch's threads": torch.get_num_threads(),
        "torch's type": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "filters of warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "locale": locale.setlocale(locale.LC_ALL),
        "folder": os.getcwd(),
        "options of polars": polars.Config.state(),
    }


warnings.simplefilter("error")
warnings.filterwarnings("ignore", category=gentle.GentleWarning)
np.seterr(all="raise")
torch.set_num_threads(2)
random.seed(5)
np.random.seed(5)
torch.manual_seed(5)
before, wrong = state(), 0
for entry, ask in ENTRIES.items():
    try:
        ask()
    except Exception as error:
        print(entry, "raised", type(error).__name__, error)
        wrong += 1
    after = state()
    if changed := [name for name in after if after[name] != before[name]]:
        print(entry, "changed", *changed)
        wrong += 1
    before = after
print(len(ENTRIES), wrong)
"""


def test_every_entry_leaves_the_process_as_it_was_also_under_strict_settings():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300
    )
    assert done.stdout.splitlines()[-1:] == ["42 0"], done.stdout + done.stderr
