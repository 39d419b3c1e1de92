"""Ridge, the squared penalty (Hoerl and Kennard 1970)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gentle.errors import GentleError

LARGEST = 1e100


@dataclass(frozen=True)
class Ridge:
    """l2/2 times the sum of squared slopes; l2 = 0 is no penalty.

    Raises GentleError for an l2 that is not a number from 0 to LARGEST.
    """

    l2: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.l2 <= LARGEST:
            raise GentleError(f"l2 must be a number from 0 to {LARGEST:g}, and is {self.l2}")

    def value(self, coef: Tensor) -> Tensor:
        return self.l2 / 2 * coef.square().sum()

    def prox(self, coef: Tensor, step: float) -> Tensor:
        return coef / (1 + step * self.l2)
