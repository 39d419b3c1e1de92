"""Gradient descent as a tutorial writes it: plain autograd, to be read in one sitting.

    parameter, trace = descend(data, target, learning_rate=0.1, iterations=1000)

`data` (n, p) holds the columns, one of ones among them for the constant; `target` (n,) is what they
explain; the prediction is data @ parameter. Nothing here is scaled, preconditioned or clever: that is
what the rest of gentle is for, and `gentle.fit` is what to use on real data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from gentle.errors import GentleError
from gentle.solvers.limits import minibatch


@dataclass(frozen=True)
class Step:
    """One step of a descent: where it stood, and how good that was."""

    number: int  # from 1
    loss: float  # mean squared error on the rows that the step looked at, before it
    coef: Tensor  # (p,) after the step


def mean_squared_error(predictions: Tensor, target: Tensor) -> Tensor:
    """The mean of the squared residuals, a scalar.

    Raises GentleError for shapes that differ: torch would spread (n,) and (n, 1) out to (n, n).
    """
    if predictions.shape != target.shape:
        raise GentleError(
            f"predictions and target must have one shape, and have {tuple(predictions.shape)} and "
            f"{tuple(target.shape)}: reshape one of them"
        )
    return (predictions - target).square().mean()


def descend(
    data: Tensor,
    target: Tensor,
    learning_rate: float = 0.1,
    iterations: int = 1000,
    *,
    start: Tensor | None = None,
    watch: Callable[[Step], None] | None = None,
) -> tuple[Parameter, list[Step]]:
    """Gradient descent on the mean squared error: the parameter and its trace.

    Every step looks at all rows, so nothing about it is stochastic. It ends after `iterations` steps,
    or as soon as the loss no longer falls. It starts at zero, or at `start` (p,).

    Raises GentleError for a learning rate above the largest stable one, and says which that is.
    """
    _check(data, target, learning_rate)
    parameter = _parameter(data, start)
    trace: list[Step] = []
    for number in range(1, iterations + 1):
        loss = step(parameter, data, target, learning_rate)
        trace.append(Step(number, loss, parameter.detach().clone()))
        if watch is not None:
            watch(trace[-1])
        if number > 1 and not loss < trace[-2].loss:
            break
    return parameter, trace


def sgd(
    data: Tensor,
    target: Tensor,
    learning_rate: float = 0.1,
    epochs: int = 10,
    batch_size: int = 64,
    seed: int = 0,
    *,
    start: Tensor | None = None,
    watch: Callable[[Step], None] | None = None,
) -> tuple[Parameter, list[Step]]:
    """The same with shuffled minibatches: each step sees a few rows, so its gradient is a guess.

    That guess is what makes a descent stochastic. It is right on average, it is cheap, and at a
    constant rate it keeps the parameter wandering around the minimum instead of settling there.

    Raises GentleError as `descend` does; small minibatches bear a smaller rate.
    """
    _check(data, target, learning_rate, batch_size)
    parameter = _parameter(data, start)
    shuffle = torch.Generator().manual_seed(seed)
    trace: list[Step] = []
    for _ in range(epochs):
        for rows in torch.randperm(len(data), generator=shuffle).split(batch_size):
            loss = step(parameter, data[rows], target[rows], learning_rate)
            trace.append(Step(len(trace) + 1, loss, parameter.detach().clone()))
            if watch is not None:
                watch(trace[-1])
    return parameter, trace


def step(parameter: Parameter, data: Tensor, target: Tensor, learning_rate: float) -> float:
    """One step downhill, in place; the loss it started from."""
    predictions = data @ parameter
    loss = mean_squared_error(predictions, target)
    loss.backward()
    assert parameter.grad is not None  # backward made it
    with torch.no_grad():
        parameter -= learning_rate * parameter.grad  # type: ignore[misc]
    parameter.grad.zero_()  # backward adds to what is there
    return loss.item()


def normal_equation(data: Tensor, target: Tensor) -> Tensor:
    """The exact minimiser (p,) of the mean squared error: X'X b = X'y (Legendre 1805)."""
    exact: Tensor = torch.linalg.solve(data.T @ data, data.T @ target)
    return exact


def largest_stable_rate(data: Tensor, batch_size: int | None = None) -> float:
    """The learning rate above which a descent on the mean squared error runs away.

    For whole passes it is 1 / the largest eigenvalue of X'X/n: the loss without a 1/2 has the Hessian
    2 X'X/n, and a step contracts while rate * Hessian stays below 2. Minibatches of B rows bear less:
    the mean square of the error must contract, see `gentle.solvers.limits.minibatch`, where the
    loss has the 1/2 and rates are twice as large.
    """
    rows = data.detach().double().cpu().numpy()
    n = len(rows)
    return minibatch(rows, n if batch_size is None else min(batch_size, n), n) / 2


def _parameter(data: Tensor, start: Tensor | None) -> Parameter:
    zeros = torch.zeros(data.shape[1], dtype=data.dtype)
    return Parameter(zeros if start is None else start.detach().clone())


def _check(
    data: Tensor, target: Tensor, learning_rate: float, batch_size: int | None = None
) -> None:
    if not isinstance(data, Tensor) or not isinstance(target, Tensor):
        raise GentleError("data and target must be tensors: torch.as_tensor makes one of an array")
    if data.ndim != 2 or target.shape != data.shape[:1]:
        raise GentleError(
            f"data must have shape (n, p) and target (n,), and they have {tuple(data.shape)} and "
            f"{tuple(target.shape)}: a target of shape (n, 1) would be spread out to (n, n) in silence"
        )
    if not 0 < learning_rate < float("inf"):
        raise GentleError(f"the learning rate must be a number above 0, and is {learning_rate}")
    limit = largest_stable_rate(data, batch_size)
    if learning_rate > limit:
        rows = "" if batch_size is None else f" in minibatches of {batch_size:,}"
        raise GentleError(
            f"a learning rate of {learning_rate:g} makes every step larger than the one before: the "
            f"largest stable one for this data{rows} is {limit:.4g}"
        )
