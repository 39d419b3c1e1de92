"""Laws of devices and types: wherever and however a descent holds its rows, it comes to the same answer.

Tests on an accelerator run where there is one and are skipped, by name, where there is none.
"""

import numpy as np
import polars as pl
import pytest
import torch

import gentle
from gentle import GentleError
from gentle.batch import Batch
from gentle.choices import DESCENTS
from gentle.coordinates import Coordinates, Seen
from gentle.design import Held, Rows, learn_design
from gentle.losses import Squared
from gentle.passes import fold
from gentle.sources import open_source
from gentle.statistics import Slope

N, P = 3_000, 5
DEVICES = ["cpu", "cuda", "mps"]


def present(device):
    if device == "cuda":
        return torch.cuda.is_available()
    return device == "cpu" or torch.backends.mps.is_available()


def needed(device):
    if not present(device):
        pytest.skip(f"no {device} here")
    return device


devices = pytest.mark.parametrize("device", ["cpu", "cuda"])
rules = pytest.mark.parametrize("solver", sorted(DESCENTS))


def made(seed=0, n=N):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, P)) * 10.0 ** np.arange(-2, 3) + 5 * 10.0 ** np.arange(-2, 3)
    return x, x @ rng.normal(size=P) + rng.normal(size=n)


def kept(x):
    """As float32 holds it, so that nothing is rounded on the way."""
    return x.astype(np.float32).astype(np.float64)


@devices
@rules
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_descent_arrives_wherever_its_rows_are(device, solver, dtype):
    device = needed(device)
    x, y = made()
    x = kept(x)
    there = gentle.fit((x, y), solver=solver, device=device, dtype=dtype)
    here = gentle.fit((x, y), solver=solver)
    apart = np.abs(there.values - here.values) / here.certificate.yardstick
    assert apart.max() <= 1e-6
    np.testing.assert_array_equal(there.exact_values, here.exact_values)
    assert there.verdict.cause == here.verdict.cause


@devices
@pytest.mark.parametrize("kind", ["weights", "frequencies", "ridge", "no constant", "targets"])
def test_options_mean_the_same_on_a_device(device, kind):
    device = needed(device)
    x, y = made(1)
    rng = np.random.default_rng(2)
    options = {
        "weights": {"weights": rng.uniform(0.1, 3, N)},
        "frequencies": {"frequencies": rng.integers(0, 3, N).astype(float)},
        "ridge": {"l2": 0.1},
        "no constant": {"intercept": False},
        "targets": {},
    }[kind]
    y = np.column_stack([y, y**2]) if kind == "targets" else y
    found = gentle.fit((x, y), solver="sgd", device=device, **options)
    for one in found.values() if kind == "targets" else [found]:
        assert one.verdict.agrees


@devices
def test_frames_go_to_a_device_too(device):
    device = needed(device)
    x, y = made(3)
    frame = pl.DataFrame({f"x{j}": column for j, column in enumerate(x.T)}).with_columns(
        y=y, kind=pl.Series(np.where(np.arange(N) % 3 == 0, "a", "b"))
    )
    assert gentle.fit(frame, "y ~ x0 + x1 + kind", solver="sgd", device=device).verdict.agrees


def test_rows_of_float32_stay_as_they_are():
    x, y = made(4)
    x = x.astype(np.float32)
    source = open_source((x, y))
    held = Rows(source, learn_design(source, targets=("y",))).held()
    assert isinstance(held, Held)
    assert np.shares_memory(held.whole.x.numpy(), x)
    found = gentle.fit((x, y), solver="sgd")
    assert found.verdict.agrees
    np.testing.assert_allclose(
        found.exact_values, gentle.fit((x.astype(np.float64), y)).values, rtol=1e-12
    )


def test_rows_that_float32_rounds_are_named_as_the_cause():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200_000, 2)) + 1e5
    y = x @ [1.0, 2.0] + 1e-3 * rng.normal(size=len(x))
    found = gentle.fit((x, y), solver="sgd", dtype="float32")
    assert found.verdict.cause == "float32"
    assert "held its rows in float32" in str(found.verdict)


def test_the_arithmetic_of_a_device_is_that_of_the_processor():
    """The same rows as a tensor of any device and as an array of this one."""
    rng = np.random.default_rng(6)
    x, y = made(6, 500)
    at = Coordinates(
        x.mean(axis=0), x.std(axis=0), np.array([y.mean()]), np.array([y.std()]), intercept=True
    )
    mass = torch.from_numpy(rng.uniform(0.5, 2, 500))
    batch = Batch(torch.from_numpy(x), torch.from_numpy(y)[:, None], np.arange(500), weight=mass)
    here = at.see(batch)
    there = Seen(at, at._on_device(batch.x, None), here.v, mass, centred=True)
    theta, d = rng.normal(size=(P + 1, 2)), torch.from_numpy(rng.normal(size=(500, 2)))
    np.testing.assert_allclose(there.times(theta), here.times(theta), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(there.adjoint(d), here.adjoint(d), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("device", ["cuda"])
def test_a_gradient_on_a_device_is_that_of_the_processor(device):
    device = needed(device)
    x, y = made(7)
    source = open_source((x, y))
    held = Rows(source, learn_design(source, targets=("y",))).held()
    at = Coordinates(
        x.mean(axis=0), x.std(axis=0), np.array([y.mean()]), np.array([y.std()]), intercept=True
    )
    zero = Slope(np.ones((P + 1, 1)), Squared(), at)
    here, there = fold(zero, held), fold(zero, held.on(device, torch.float64))
    np.testing.assert_allclose(there.gradient, here.gradient, rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"device": "cpu"}, "device and dtype are of descents"),
        ({"solver": "sgd", "dtype": "float16"}, "there is no dtype 'float16'"),
        ({"solver": "sgd", "device": "gpu"}, "device 'gpu' cannot be used"),
        ({"solver": "sgd", "device": "meta"}, "device 'meta' cannot be used"),
        ({"solver": "gd", "dtype": "float32", "far": 1e60}, "numbers beyond 3.4e"),
        ({"solver": "sgd", "device": "meta:x"}, "device 'meta:x' cannot be used"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(options, what):
    options = dict(options)
    x, y = made()
    x = x * options.pop("far", 1.0)
    with pytest.raises(GentleError, match=what):
        gentle.fit((x, y), **options)


def test_a_device_that_is_not_here_is_refused_with_the_way_out():
    absent = [device for device in DEVICES if not present(device)]
    if not absent:
        pytest.skip("every device is here")
    with pytest.raises(GentleError, match="leave it out to work on the processor"):
        gentle.fit(made(), solver="sgd", device=absent[0])
