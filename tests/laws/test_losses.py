"""Laws of losses: the slope is the derivative, the loss is convex, and it is finite far out.

A new loss is tested by being listed in `LOSSES`.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gentle.batch import Batch
from gentle.coordinates import Coordinates
from gentle.losses import Squared
from gentle.statistics import slope

LOSSES = [Squared()]
losses = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
numbers = st.floats(-100, 100)


def at(value):
    return torch.tensor([[value]], dtype=torch.float64)


def cost(loss, eta, y):
    return loss.value(at(eta), at(y)).item()


@losses
@given(eta=numbers, y=numbers)
def test_the_derivative_is_that_of_the_value(loss, eta, y):
    at_eta = at(eta).requires_grad_()
    (by_autograd,) = torch.autograd.grad(loss.value(at_eta, at(y)).sum(), at_eta)
    found = loss.derivative(at(eta), at(y)).item()
    assert found == pytest.approx(by_autograd.item(), rel=1e-12, abs=1e-12)
    h = 1e-4
    difference = (cost(loss, eta + h, y) - cost(loss, eta - h, y)) / (2 * h)
    assert found == pytest.approx(difference, rel=1e-5, abs=1e-5)


@losses
@given(a=numbers, b=numbers, y=numbers, share=st.floats(0, 1))
def test_it_is_convex(loss, a, b, y, share):
    between = cost(loss, share * a + (1 - share) * b, y)
    chord = share * cost(loss, a, y) + (1 - share) * cost(loss, b, y)
    assert between <= chord + 1e-9 * (1 + abs(chord))


@losses
@pytest.mark.parametrize("far", [-1e100, -1e10, 1e10, 1e100])
def test_it_is_finite_far_out(loss, far):
    assert torch.isfinite(loss.value(at(far), at(1.0))).all()
    assert torch.isfinite(loss.derivative(at(far), at(1.0))).all()


@losses
@given(y=numbers)
def test_it_is_least_where_the_mean_is_the_target(loss, y):
    eta = at(y).requires_grad_()
    assert loss.mean(eta).item() == pytest.approx(y)
    (gradient,) = torch.autograd.grad(loss.value(eta, at(y)).sum(), eta)
    assert gradient.item() == pytest.approx(0, abs=1e-12)


@losses
def test_it_works_row_by_row(loss):
    rng = np.random.default_rng(0)
    eta, y = (torch.from_numpy(rng.normal(size=(9, 2))) for _ in range(2))
    values = loss.value(eta, y)
    assert values.shape == eta.shape
    assert loss.mean(eta).shape == eta.shape
    for row in range(9):
        assert torch.equal(loss.value(eta[row], y[row]), values[row])


@losses
def test_a_mass_counts_like_rows(loss):
    rng = np.random.default_rng(1)
    x, y = (torch.from_numpy(rng.normal(size=shape)) for shape in ((6, 3), (6, 1)))
    theta = rng.normal(size=(4, 1))
    mass = torch.tensor([1.0, 2, 3, 1, 0, 2]).double()
    again = np.repeat(np.arange(6), mass.long())
    units = Coordinates(np.zeros(3), np.ones(3), np.zeros(1), np.ones(1), intercept=True)
    batch = Batch(x, y, np.arange(6))
    weighted = slope(loss, theta, units.see(replace(batch, frequency=mass)))
    spelled = slope(loss, theta, units.see(batch, again))
    for one, two in zip(weighted, spelled, strict=True):
        np.testing.assert_allclose(one, two)


def test_half_the_squared_residual_has_curvature_one():
    assert cost(Squared(), 3.0, 1.0) == 2.0
    assert cost(Squared(), 1.0, 0.0) + cost(Squared(), -1.0, 0.0) - 2 * cost(Squared(), 0, 0) == 1.0
