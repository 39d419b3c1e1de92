"""Laws of losses: the slope is the derivative, the loss is convex, and it is finite far out.

A new loss is tested by being listed in `LOSSES`.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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
def test_the_slope_is_the_derivative(loss, eta, y):
    h = 1e-4
    _, gradient = slope(loss, at(eta), at(1.0), at(y), None)
    difference = (cost(loss, eta + h, y) - cost(loss, eta - h, y)) / (2 * h)
    assert gradient.item() == pytest.approx(difference, rel=1e-5, abs=1e-5)


@losses
@given(a=numbers, b=numbers, y=numbers, share=st.floats(0, 1))
def test_it_is_convex(loss, a, b, y, share):
    between = cost(loss, share * a + (1 - share) * b, y)
    chord = share * cost(loss, a, y) + (1 - share) * cost(loss, b, y)
    assert between <= chord + 1e-9 * (1 + abs(chord))


@losses
@pytest.mark.parametrize("far", [-1e100, -1e10, 1e10, 1e100])
def test_it_is_finite_far_out(loss, far):
    value, gradient = slope(loss, at(far), at(1.0), at(1.0), None)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


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
    u, v, theta = (torch.from_numpy(rng.normal(size=shape)) for shape in ((6, 3), (6, 1), (3, 1)))
    mass = torch.tensor([1.0, 2, 3, 1, 0, 2]).double()
    again = torch.repeat_interleave(torch.arange(6), mass.long())
    weighted = slope(loss, theta, u, v, mass)
    spelled = slope(loss, theta, u[again], v[again], None)
    for one, two in zip(weighted, spelled, strict=True):
        torch.testing.assert_close(one, two)


def test_half_the_squared_residual_has_curvature_one():
    assert cost(Squared(), 3.0, 1.0) == 2.0
    assert cost(Squared(), 1.0, 0.0) + cost(Squared(), -1.0, 0.0) - 2 * cost(Squared(), 0, 0) == 1.0
