"""Coefficients as people and libraries hand them over, and as a descent may start from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gentle.batch import INTERCEPT, Floats
from gentle.descended import Descended
from gentle.errors import GentleError, listed, near, show_value
from gentle.result import Fit
from gentle.sources import array_of, is_a, is_array, is_column, is_table

CONSTANTS = (INTERCEPT, "const", "(Intercept)", "intercept", "_cons")  # as libraries call it


def starts(
    start: Any, names: Sequence[str], targets: Sequence[str], *, intercept: bool
) -> tuple[Floats, ...]:
    """Where a descent starts, (q,) for each target; a mapping from target where there are several.

    Raises GentleError for coefficients that are not those of the model, or are no finite numbers.
    """
    if len(targets) == 1:
        return (_start(start, names, intercept=intercept),)
    if not isinstance(start, Mapping):
        raise GentleError(
            f"there are {len(targets)} targets, {listed(targets)}, and each needs a start of its own: "
            "give a mapping from target to coefficients, or the Fits of these targets"
        )
    if missing := [name for name in targets if name not in start]:
        raise GentleError(
            f"there is no start for the target {listed(missing)}: {near(missing[0], start)}"
        )
    if foreign := [str(name) for name in start if name not in targets]:
        raise GentleError(
            f"a start is given for {listed(foreign)}, no target: {near(foreign[0], targets)}"
        )
    return tuple(_start(start[name], names, intercept=intercept) for name in targets)


def _start(start: Any, names: Sequence[str], *, intercept: bool) -> Floats:
    values = coefficients(start, names, intercept=intercept)
    if isinstance(start, Fit):
        values = np.where(np.isnan(values), 0.0, values)  # of a column that was left out
    if not np.isfinite(values).all():
        bad = [name for name, value in zip(names, values, strict=True) if not np.isfinite(value)]
        raise GentleError(
            f"a descent starts from finite numbers, and the start of {listed(bad)} is "
            f"{values[list(names).index(bad[0])]:g}: give it a number, such as 0"
        )
    return values


def coefficients(coef: Any, names: Sequence[str], *, intercept: bool) -> Floats:
    """(q,) in the order of a model's names, the constant first where it has one.

    From a mapping by name, a sequence in that order, a `Fit` or `Descended`, an estimator with `coef_` and
    `intercept_`, a `torch.nn.Linear`, or results with `params`.

    Raises GentleError for coefficients that are not those of the model.
    """
    features = names[int(intercept) :]
    if isinstance(coef, Fit | Descended):
        coef = coef.coef
    if isinstance(coef, torch.Tensor):
        coef = array_of(coef)
    if not _is_data(coef) and hasattr(coef, "params") and not callable(coef.params):
        coef = coef.params  # of results
    if isinstance(coef, torch.nn.Linear):
        bias = 0.0 if coef.bias is None else coef.bias.detach().cpu().numpy()
        coef = _joined(coef.weight.detach().cpu().numpy(), bias, intercept=intercept)
    elif not _is_data(coef) and hasattr(coef, "coef_"):  # an estimator
        named = getattr(coef, "feature_names_in_", None)
        constant = getattr(coef, "intercept_", 0.0)
        if named is not None and set(named) == set(features):
            by_name = dict(zip(map(str, named), _vector(coef.coef_), strict=True))
            slopes = [by_name[name] for name in features]
            coef = _joined(slopes, constant, intercept=intercept)
        else:
            coef = _joined(coef.coef_, constant, intercept=intercept)
    if isinstance(coef, Mapping) or is_a(coef, "pandas.Series"):
        return _by_name(dict(coef.items()), names)
    values = _vector(coef)
    if len(values) != len(names):
        raise GentleError(
            f"the model has {len(names)} coefficients, {listed(names)}, and "
            f"{len(values)} were given"
        )
    return values


def _is_data(coef: Any) -> bool:
    """Whether these are values or names with values, whose attributes may be such names."""
    known = isinstance(coef, Mapping | list | tuple)
    return known or is_column(coef) or is_table(coef) or is_array(coef)


def _vector(values: Any) -> Floats:
    """Numbers as (q,)."""
    try:
        return np.asarray(values, dtype=np.float64).ravel()
    except Exception:  # whatever the library raises that the values are of
        raise GentleError(
            "coefficients must be a mapping from name to number or a sequence of numbers, and are "
            f"{type(values).__name__}"
        ) from None


def _joined(slopes: Any, constant: Any, *, intercept: bool) -> Floats:
    """Slopes and a constant that stand apart, as one vector."""
    values, constants = _vector(slopes), _vector(constant)
    if intercept:
        return np.concatenate([constants, values])
    if np.any(constants != 0):
        raise GentleError(
            f"the coefficients have a constant, {constants[0]:g}, and the model has none: let "
            "intercept=True, or give a formula without '- 1'"
        )
    return values


def _by_name(coef: dict[Any, Any], names: Sequence[str]) -> Floats:
    given = {str(name): value for name, value in coef.items()}
    if INTERCEPT in names and INTERCEPT not in given:
        for name in CONSTANTS:
            if name in given:
                given[INTERCEPT] = given.pop(name)
                break
    if missing := [name for name in names if name not in given]:
        raise GentleError(
            f"the model has a coefficient {listed(missing)} that was not given: {near(missing[0], given)}"
        )
    if foreign := [name for name in given if name not in names]:
        raise GentleError(
            f"the model has no coefficient {listed(foreign)}: {near(foreign[0], names)}"
        )
    return np.array([_number(name, given[name]) for name in names])


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise GentleError(
            f"the coefficient of '{name}' must be a number, and is {show_value(value)}"
        ) from None
