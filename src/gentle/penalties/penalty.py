"""Penalty: what large coefficients cost."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Penalty(Protocol):
    """Convex, separable over the coefficients, zero at zero. The constant is never penalised."""

    def value(self, coef: Tensor) -> Tensor:
        """The penalty of slopes (p, k), a scalar."""

    def prox(self, coef: Tensor, step: float) -> Tensor:
        """argmin over b of value(b) + |b - coef|^2 / (2 step), of the shape of coef."""
