"""Squared error, the loss of least squares."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Squared:
    """Half the squared residual, (y - eta)^2 / 2: with the 1/2 its second derivative is one."""

    def value(self, eta: Tensor, y: Tensor) -> Tensor:
        return (y - eta).square() / 2

    def derivative(self, eta: Tensor, y: Tensor) -> Tensor:
        return eta - y

    def mean(self, eta: Tensor) -> Tensor:
        return eta
