"""Undefined: rows in which an expression of a formula has no value, known before its functions learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from gentle.calls import children, walk
from gentle.evaluation import Evaluator, as_float, stateful
from gentle.expressions import Call, Node
from gentle.filling import Filling
from gentle.formula import Parsed
from gentle.sieve import Mask
from gentle.sources import Chunk


@dataclass(frozen=True)
class Defined:
    """Where the expressions of a formula that learn nothing have a value, as log(x) has for x > 0.

    A row without one is left out of the fit, and so teaches nothing.
    """

    nodes: tuple[Node, ...]
    filling: Filling  # what stands for missing values

    @classmethod
    def of(cls, parsed: Parsed, filling: Filling) -> Defined | None:
        """The expressions of a formula; None where each row has a value of all."""
        nodes = dict.fromkeys(node for factor in parsed.factors for node in _computed(factor))
        return cls(tuple(nodes), filling) if nodes else None

    def __call__(self, frame: pl.DataFrame) -> Mask:
        """Whether a row (n,) that lacks no column has a value of each expression."""
        chunk, _ = self.filling.filled(Chunk(np.arange(frame.height), frame), ())
        assert isinstance(chunk.table, pl.DataFrame)
        values = Evaluator(chunk.table, {})
        gone = np.zeros(frame.height, dtype=bool)
        for node in self.nodes:
            try:
                value = values.value(node)
            except (ArithmeticError, TypeError, ValueError):
                continue  # which the fit refuses with its reason
            if isinstance(value, np.ndarray) and value.dtype.kind in "fO":
                gone |= np.isnan(as_float(value))
        return ~gone


def _computed(node: Node) -> Iterator[Node]:
    """The largest parts of an expression that are computed and learn nothing."""
    is_category = isinstance(node, Call) and node.function == "C"
    if is_category or any(stateful(inner) for inner in walk(node)):
        for inner in children(node):
            yield from _computed(inner)
    elif children(node):
        yield node
