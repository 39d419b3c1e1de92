"""Solvers. To add one: a file with a class of the method of `Solver`, and its line here."""

from gentle.solvers.sgd import SGD
from gentle.solvers.state import Solver, State

__all__ = ["SGD", "Solver", "State"]
