"""Losses. To add one: a file with a class of the methods of `Loss`, and its line here."""

from gentle.losses.loss import Loss
from gentle.losses.squared import Squared

__all__ = ["Loss", "Squared"]
