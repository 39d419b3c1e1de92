"""Penalties. To add one: a file with a class of the methods of `Penalty`, and its line here."""

from gentle.penalties.penalty import Penalty
from gentle.penalties.ridge import Ridge

__all__ = ["Penalty", "Ridge"]
