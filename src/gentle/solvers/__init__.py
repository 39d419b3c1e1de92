"""Solvers. To add one: a file with a class of the members of `Solver`, and its line here."""

from gentle.solvers.cg import CG
from gentle.solvers.gd import GD
from gentle.solvers.lbfgs import LBFGS
from gentle.solvers.minibatch import Minibatch
from gentle.solvers.momentum import Momentum
from gentle.solvers.nesterov import Nesterov
from gentle.solvers.newton import Newton
from gentle.solvers.sgd import SGD
from gentle.solvers.state import Solver, Stall, State

__all__ = [
    "CG",
    "GD",
    "LBFGS",
    "SGD",
    "Minibatch",
    "Momentum",
    "Nesterov",
    "Newton",
    "Solver",
    "Stall",
    "State",
]
