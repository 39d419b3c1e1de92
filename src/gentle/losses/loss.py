"""Loss: what a prediction costs, row by row."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Loss(Protocol):
    """Elementwise in the linear predictor eta = X b and convex in it."""

    def value(self, eta: Tensor, y: Tensor) -> Tensor:
        """The cost of each entry, of the shape of eta and y."""

    def derivative(self, eta: Tensor, y: Tensor) -> Tensor:
        """That of each cost in its eta, likewise shaped."""

    def mean(self, eta: Tensor) -> Tensor:
        """The prediction of y, of the shape of eta."""
