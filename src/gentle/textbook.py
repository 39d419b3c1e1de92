"""Gradient descent as a tutorial writes it: plain autograd, to be read in one sitting.

    parameter, trace = descend(data, target, learning_rate=0.1, iterations=1000)

`data` (n, p) holds the columns, one of ones among them for the constant; `target` (n,) is what they
explain; the prediction is data @ parameter. Nothing here is scaled, preconditioned or clever: that is
what the rest of gentle is for, and `gentle.fit` is what to use on real data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import Parameter

from gentle.errors import GentleError, check_seed, show_value
from gentle.solvers.limits import check_batch_size, check_rate, minibatch

Schedule = Literal["constant", "1/t"]


@dataclass(frozen=True)
class Step:
    """One step of a descent: where it stood, and how good that was."""

    number: int  # from 1
    loss: float  # mean squared error on the rows that the step looked at, before it
    coef: Tensor  # (p,) after the step
    stop: str = ""  # on the last step: why the descent ended there


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

    Every step looks at all rows, so nothing about it is stochastic. It ends after `iterations` steps, or
    with the first that moves no coefficient, since it is below the rounding of their type; the last
    step's `stop` says which. The loss shows less: where it no longer falls, in float32, coefficients have
    half of their digits to come. It starts at zero, or at `start` (p,).

    Raises GentleError for a learning rate above the largest stable one, and says which that is.
    """
    _check(data, target, learning_rate, start=start)
    _check_count("iterations", iterations)
    parameter = _parameter(data, start)
    trace: list[Step] = []
    for number in range(1, iterations + 1):
        before = parameter.detach().clone()
        loss = step(parameter, data, target, learning_rate)
        coef = parameter.detach().clone()
        stop = _stop(data, number, iterations, moved=not torch.equal(coef, before))
        trace.append(Step(number, loss, coef, stop))
        if watch is not None:
            watch(trace[-1])
        if stop:
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
    schedule: Schedule = "constant",
    start: Tensor | None = None,
    watch: Callable[[Step], None] | None = None,
) -> tuple[Parameter, list[Step]]:
    """The same with shuffled minibatches: each step sees a few rows, so its gradient is a guess.

    That guess is what makes a descent stochastic. It is right on average, it is cheap, and at a
    constant rate the parameter fluctuates around the minimum instead of settling there. With the schedule
    "1/t" the rate of step t is learning_rate / (1 + t * learning_rate * mu), mu the smallest eigenvalue
    of X'X/n, and it settles (Bottou, Curtis and Nocedal 2018, theorem 4.7).

    Raises GentleError as `descend` does; small minibatches bear a smaller rate.
    """
    check_batch_size(batch_size)
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise GentleError(f"seed must be a whole number from 0 on, and is {show_value(seed)}")
    check_seed(int(seed))
    _check(data, target, learning_rate, batch_size, start)
    _check_count("epochs", epochs)
    if schedule not in get_args(Schedule):
        raise GentleError(f"schedule must be 'constant' or '1/t', and is {show_value(schedule)}")
    slowing = learning_rate * _smallest(data) if schedule == "1/t" else 0.0
    parameter = _parameter(data, start)
    shuffle = torch.Generator().manual_seed(int(seed))
    n_steps = epochs * -(-len(data) // batch_size)
    trace: list[Step] = []
    for _ in range(epochs):
        for rows in torch.randperm(len(data), generator=shuffle).split(int(batch_size)):
            rate = learning_rate / (1 + slowing * len(trace))
            loss = step(parameter, data[rows], target[rows], rate)
            number = len(trace) + 1
            stop = f"after {epochs:,} epochs, as asked for" if number == n_steps else ""
            trace.append(Step(number, loss, parameter.detach().clone(), stop))
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
    """The exact minimiser (p,) of the mean squared error: X'X b = X'y (Legendre 1805).

    Raises GentleError where columns are combinations of others, so that there are many.
    """
    _check_rows(data, target)
    try:
        exact: Tensor = torch.linalg.solve(data.T @ data, data.T @ target)
    except RuntimeError:
        raise GentleError(
            "X'X is singular: a column of data is a combination of the others, so the minimiser is not "
            "unique; leave that column out"
        ) from None
    return exact


def largest_stable_rate(data: Tensor, batch_size: int | None = None) -> float:
    """The learning rate above which a descent on the mean squared error runs away.

    For whole passes it is 1 / the largest eigenvalue of X'X/n: the loss without a 1/2 has the Hessian
    2 X'X/n, and a step contracts while rate * Hessian stays below 2. Minibatches of B rows bear less:
    the mean square of the error must contract, see `gentle.solvers.limits.minibatch`, where the
    loss has the 1/2 and rates are twice as large.
    """
    if batch_size is not None:
        check_batch_size(batch_size)
    _check_data(data)
    rows = data.detach().double().cpu().numpy()
    n = len(rows)
    return minibatch(rows, n if batch_size is None else min(batch_size, n), n) / 2


def _parameter(data: Tensor, start: Tensor | None) -> Parameter:
    zeros = torch.zeros(data.shape[1], dtype=data.dtype)
    return Parameter(zeros if start is None else start.detach().clone())


def _stop(data: Tensor, number: int, iterations: int, *, moved: bool) -> str:
    """Why a descent ends with this step; empty where it goes on."""
    if not moved:
        kind = str(data.dtype).removeprefix("torch.")
        return f"a step is now less than {kind} can add to the coefficients"
    return f"after {iterations:,} iterations, as asked for" if number == iterations else ""


def _smallest(data: Tensor) -> float:
    """The smallest eigenvalue of X'X/n."""
    rows = data.detach().double()
    return max(float(torch.linalg.eigvalsh(rows.T @ rows / len(rows))[0]), 0.0)


def _check(
    data: Tensor,
    target: Tensor,
    learning_rate: float,
    batch_size: int | None = None,
    start: Tensor | None = None,
) -> None:
    _check_rows(data, target)
    check_rate(learning_rate)
    if learning_rate is None:
        raise GentleError("the learning rate must be a number above 0, and is None")
    if start is not None and not (
        isinstance(start, Tensor)
        and start.shape == data.shape[1:]
        and start.dtype == data.dtype
        and bool(start.isfinite().all())
    ):
        raise GentleError(
            f"start must be a finite tensor of shape ({data.shape[1]},) and type {data.dtype}, as data"
        )
    limit = largest_stable_rate(data, batch_size)
    if learning_rate > limit:
        rows = "" if batch_size is None else f" in minibatches of {batch_size:,}"
        raise GentleError(
            f"a learning rate of {learning_rate:g} makes every step larger than the one before: the "
            f"largest stable one for this data{rows} is {limit:.4g}"
        )


def _check_rows(data: Tensor, target: Tensor) -> None:
    """Raises GentleError for what is no pair of tensors (n, p) and (n,) of one floating type."""
    _check_data(data)
    if not isinstance(target, Tensor):
        raise GentleError("data and target must be tensors: torch.as_tensor makes one of an array")
    if target.shape != data.shape[:1]:
        raise GentleError(
            f"data must have shape (n, p) and target (n,), and they have {tuple(data.shape)} and "
            f"{tuple(target.shape)}: a target of shape (n, 1) would be spread out to (n, n) in silence"
        )
    if target.dtype != data.dtype:
        raise GentleError(
            f"data and target must have one type, and have {data.dtype} and {target.dtype}: use "
            "target.to(data.dtype)"
        )
    if not bool(target.isfinite().all()):
        raise GentleError("target must be finite, and holds NaN or infinite values")


def _check_data(data: Tensor) -> None:
    """Raises GentleError for what is no finite floating tensor (n, p) of some rows."""
    if not isinstance(data, Tensor):
        raise GentleError("data and target must be tensors: torch.as_tensor makes one of an array")
    if data.ndim != 2 or 0 in data.shape:
        raise GentleError(
            f"data must have shape (n, p) with some rows and columns, and has {tuple(data.shape)}"
        )
    if not data.is_floating_point():
        raise GentleError(f"data must be floating point, and is {data.dtype}: use data.double()")
    if not bool(data.isfinite().all()):
        raise GentleError("data must be finite, and holds NaN or infinite values")


def _check_count(name: str, count: int) -> None:
    if not isinstance(count, Integral) or isinstance(count, bool) or not count >= 1:
        raise GentleError(f"{name} must be a whole number above 0, and is {show_value(count)}")
