"""Engines. To add one: a file with a class of the methods of `Engine`, and its line here."""

from gentle.engines.engine import Engine
from gentle.engines.fold import Divisible, fold
from gentle.engines.here import Here

__all__ = ["Divisible", "Engine", "Here", "fold"]
