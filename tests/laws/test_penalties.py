"""Laws of penalties: the prox is the minimiser, the penalty is convex and zero at zero.

A new penalty is tested by being listed in `PENALTIES`.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gentle.errors import GentleError
from gentle.penalties import Ridge

PENALTIES = [Ridge(), Ridge(0.1), Ridge(3.0), Ridge(1e6)]
penalties = pytest.mark.parametrize("penalty", PENALTIES, ids=str)
coefs = st.lists(st.floats(-50, 50), min_size=1, max_size=5)
steps = st.floats(1e-3, 1e3)


def column(values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


@penalties
@given(values=coefs, step=steps, away=st.lists(st.floats(-1, 1), min_size=5, max_size=5))
def test_the_prox_is_the_minimiser(penalty, values, step, away):
    coef = column(values)

    def objective(b):
        return (penalty.value(b) + (b - coef).square().sum() / (2 * step)).item()

    best = penalty.prox(coef, step)
    assert best.shape == coef.shape
    least = objective(best)
    for size in (1e-3, 0.1, 10.0):
        other = best + size * column(away[: len(values)])
        assert least <= objective(other) + 1e-10 * (1 + abs(least))
    free = best.clone().requires_grad_()
    whole = penalty.value(free) + (free - coef).square().sum() / (2 * step)
    (gradient,) = torch.autograd.grad(whole, free)
    size = 1e-12 * (1 + float(coef.abs().max()) / step)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=size)


@penalties
def test_it_is_zero_at_zero_and_never_less(penalty):
    zero = torch.zeros(4, 1).double()
    assert penalty.value(zero).item() == 0
    assert torch.equal(penalty.prox(zero, 0.5), zero)
    assert penalty.value(column([1.0, -2, 3])).item() >= 0


@penalties
@given(a=coefs, share=st.floats(0, 1))
def test_it_is_convex(penalty, a, share):
    one = column(a)
    two = one.flip(0) * -0.5 + 1
    between = penalty.value(share * one + (1 - share) * two).item()
    chord = (share * penalty.value(one) + (1 - share) * penalty.value(two)).item()
    assert between <= chord + 1e-10 * (1 + abs(chord))


@penalties
@given(a=coefs, step=steps)
def test_the_prox_does_not_push_points_apart(penalty, a, step):
    one = column(a)
    two = one.flip(0) + 1
    after = (penalty.prox(one, step) - penalty.prox(two, step)).norm()
    assert after <= (one - two).norm() * (1 + 1e-12)


@penalties
def test_it_is_separable(penalty):
    coef = column([1.0, -2.0, 0.5])
    alone = sum(penalty.value(coef[j : j + 1]).item() for j in range(3))
    assert penalty.value(coef).item() == pytest.approx(alone)
    parts = torch.cat([penalty.prox(coef[j : j + 1], 0.7) for j in range(3)])
    torch.testing.assert_close(penalty.prox(coef, 0.7), parts)


@pytest.mark.parametrize("l2", [-1.0, -1e-300, float("nan"), float("inf")])
def test_a_strength_that_is_no_strength_is_refused(l2):
    with pytest.raises(GentleError, match="l2 must be"):
        Ridge(l2)
