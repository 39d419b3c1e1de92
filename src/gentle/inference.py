"""Inference: what the coefficients of a least-squares fit say beyond the sample, classically."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtr, stdtrit

from gentle.batch import Floats
from gentle.errors import GentleError


def t_values(coef: Floats, std_errors: Floats) -> Floats:
    """Coefficients in standard errors (Student 1908)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return coef / std_errors


def p_values(t: Floats, df: float) -> Floats:
    """Two-sided probabilities of a |t| at least so large under a coefficient of zero."""
    return np.asarray(2 * stdtr(df, -np.abs(t)))


def intervals(coef: Floats, std_errors: Floats, df: float, level: float) -> tuple[Floats, Floats]:
    """(low, high): coef -+ t quantile * standard error.

    Raises GentleError for a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise GentleError(f"a level must lie between 0 and 1, such as 0.95, and is {level}")
    half = stdtrit(df, (1 + level) / 2) * std_errors
    return coef - half, coef + half
