"""Choices: what a user asks of a fit beyond the rows, checked once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

import numpy as np
import torch

from gentle.driver import Limits
from gentle.errors import (
    GentleError,
    check_seed,
    first_line,
    is_choice,
    is_number,
    listed,
    near,
    show_value,
)
from gentle.meat import ERRORS
from gentle.penalties import Ridge
from gentle.solvers import CG, GD, LBFGS, SGD, Minibatch, Momentum, Nesterov, Newton, Solver

DESCENTS: dict[str, type] = {
    "sgd": SGD,
    "gd": GD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "minibatch": Minibatch,
    "lbfgs": LBFGS,
    "cg": CG,
    "newton": Newton,
}
SOLVERS = ("auto", "exact", *DESCENTS)
RANKS = ("drop", "minimum-norm", "raise")
METHODS = ("auto", "qr")
MOST_DIGITS = 15
DTYPES = ("float64", "float32")
OPTIONS = ("learning_rate", "momentum", "batch_size", "schedule")  # of some solvers


def canonical_errors(errors: Any) -> Any:
    """The kind of errors by its own name: in any case, and "robust" for HC1, as in Stata."""
    names = {name.lower(): name for name in ERRORS} | {"robust": "HC1"}
    return names.get(errors.lower(), errors) if isinstance(errors, str) else errors


def _dtype_name(dtype: Any) -> Any:
    """'float32' for torch.float32 and numpy's float32; what is no dtype stays as it is."""
    if isinstance(dtype, str | torch.dtype):
        return str(dtype).removeprefix("torch.")
    try:
        return np.dtype(dtype).name if isinstance(dtype, type | np.dtype) else show_value(dtype)
    except TypeError:
        return show_value(dtype)


def _options(solver: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(solver))


@dataclass(frozen=True)
class Choices:
    """How to fit; see `gentle.fit` for what each one means.

    Raises GentleError for a choice that there is not, and says which there are.
    """

    l2: float = 0.0
    solver: str = "auto"
    tol: float = 1e-3
    digits: float | None = None
    errors: str = "classical"
    lags: int | None = None
    use_t: bool = True
    rank: str = "drop"
    rank_tol: float | None = None
    method: str = "auto"
    seed: int = 0
    max_passes: float = 100
    time_limit: float | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    batch_size: int | None = None
    schedule: str | None = None
    device: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.dtype is not None:
            object.__setattr__(self, "dtype", f"{_dtype_name(self.dtype)}")
        for what, chosen, known in (
            ("solver", self.solver, SOLVERS),
            ("kind of errors", self.errors, ERRORS),
            ("rank rule", self.rank, RANKS),
            ("method", self.method, METHODS),
        ):
            if not is_choice(chosen, known):
                named = chosen if isinstance(chosen, str) else type(chosen).__name__
                raise GentleError(f"there is no {what} '{named}': {near(named, known)}")
        for name in ("l2", "tol", "digits", "rank_tol", "max_passes", "time_limit"):
            value = getattr(self, name)
            unset = value is None and name in ("digits", "rank_tol", "time_limit")
            if not unset and not is_number(value):
                raise GentleError(f"{name} must be a number, and is {show_value(value)}")
        for name in ("seed", "lags"):
            value = getattr(self, name)
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            if not whole and not (value is None and name == "lags"):
                raise GentleError(f"{name} must be a whole number, and is {show_value(value)}")
        if not isinstance(self.use_t, bool):
            raise GentleError(f"use_t must be True or False, and is {show_value(self.use_t)}")
        if not 0 < self.tol < float("inf"):
            raise GentleError(
                f"tol must be a number above 0, in standard errors, and is {self.tol}"
            )
        if self.digits is not None and not 0 < self.digits <= MOST_DIGITS:
            raise GentleError(
                f"digits must be a number above 0 and at most {MOST_DIGITS}, which is what float64 "
                f"holds, and is {self.digits}"
            )
        if self.rank_tol is not None and not 0 <= self.rank_tol < 1:
            raise GentleError(
                "rank_tol must be at least 0 and below 1, in units of the columns' scales, and is "
                f"{self.rank_tol}"
            )
        if not self.max_passes >= 1:
            raise GentleError(f"max_passes must be 1 or more, and is {self.max_passes}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise GentleError(f"time_limit must be above 0 seconds, and is {self.time_limit}")
        if self.lags is not None and self.errors != "HAC":
            raise GentleError(
                f"lags belong to errors='HAC', and errors is '{self.errors}': leave one of them out"
            )
        self._check_place()
        check_seed(self.seed)
        Ridge(self.l2)
        self.descent()

    def _check_place(self) -> None:
        if self.device is None and self.dtype is None:
            return
        if not self.descends:
            raise GentleError(
                f"device and dtype are of descents, and solver is '{self.solver}': take solver='sgd', or "
                "leave them out"
            )
        if self.dtype is not None and self.dtype not in DTYPES:
            raise GentleError(f"there is no dtype '{self.dtype}': {near(str(self.dtype), DTYPES)}")
        try:
            float(torch.zeros(1, dtype=torch.float64, device=self.device))
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise GentleError(
                f"device {show_value(self.device)} cannot be used for sums in float64 here "
                f"({first_line(error)}): leave it out to work on the processor"
            ) from None

    def descent(self) -> Solver[Any]:
        """The solver that was named, with what it was given; the default one where none was.

        Raises GentleError for an option that it does not take.
        """
        kind = DESCENTS.get(self.solver, SGD)
        given = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) is not None}
        for name in given:
            takes = [other for other, solver in DESCENTS.items() if name in _options(solver)]
            if self.solver not in takes:
                raise GentleError(
                    f"the solver '{self.solver}' has no {name}: leave it out, or take "
                    f"{listed(takes, last='or')}"
                )
        if "seed" in _options(kind):
            given["seed"] = self.seed
        found: Solver[Any] = kind(**given)
        return found

    @property
    def limits(self) -> Limits:
        """When a descent ends."""
        return Limits(self.tol, self.max_passes, self.time_limit)

    @property
    def samples(self) -> bool:
        """Whether a descent goes by the curvature of a sample, before there is an exact answer."""
        return self.solver == "sgd"

    @property
    def descends(self) -> bool:
        """Whether coefficients come from a descent."""
        return self.solver in DESCENTS
