"""Plain: columns as they are, texts as one column for each level but the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from gentle.batch import EXACT_COLUMNS, Floats
from gentle.columns import numbers
from gentle.errors import GentleError
from gentle.levels import Levels
from gentle.sources import Shift
from gentle.sparse import gathered


@dataclass(frozen=True)
class Plain:
    """Columns as they are: numbers, truths as 0 and 1, texts as one column a level but the first."""

    targets: tuple[str, ...]
    features: tuple[str, ...]
    levels: Levels
    intercept: bool
    full: bool = False  # whether the first level has a column as well

    @cached_property
    def terms(self) -> tuple[tuple[str, str | None], ...]:
        """(feature, its level or None) of each column of x, (p,)."""
        return tuple(
            (feature, level)
            for feature in self.features
            for level in (
                self.levels[feature][1 - self.full :] if feature in self.levels else [None]
            )
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        form = "{}[{}]" if self.full else "{}[T.{}]"
        return tuple(
            feature if level is None else form.format(feature, level)
            for feature, level in self.terms
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The source's columns that x needs."""
        return self.features

    @property
    def target_columns(self) -> tuple[str, ...]:
        """Those that y needs."""
        return self.targets

    @property
    def learned(self) -> str:
        """Nothing beside the levels."""
        return ""

    @property
    def offset(self) -> str:
        """None is part of it."""
        return ""

    @property
    def unreferenced(self) -> tuple[str, ...]:
        """None: the first level of each text is the reference."""
        return ()

    @property
    def dates(self) -> tuple[str, ...]:
        """None: a column of dates is refused."""
        return ()

    @property
    def compared(self) -> frozenset[str]:
        """None: C() belongs to formulas."""
        return frozenset()

    @property
    def shifts(self) -> tuple[Shift, ...]:
        """None: columns are those of their own row."""
        return ()

    @property
    def computes(self) -> bool:
        """No column is rounded from what it stands for."""
        return False

    @property
    def sparse(self) -> bool:
        """Whether x is sparse: levels make many columns, of which few are not zero in a row."""
        return bool(self.levels) and len(self.names) > EXACT_COLUMNS

    @property
    def filled(self) -> int:
        """How many numbers of a row of x may be other than zero."""
        return len(self.features) if self.sparse else len(self.names)

    def state(self) -> dict[str, Any]:
        """All that it takes to make the encoder again, as lists and texts for JSON."""
        return {
            "kind": "columns",
            "targets": list(self.targets),
            "features": list(self.features),
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "intercept": self.intercept,
        }

    def encode_x(self, frame: pl.DataFrame) -> Floats | csr_array:
        """x of complete rows (n, p), sparse where texts make it wide; a text that is null has zeros."""
        if not self.levels:
            return numbers(frame, self.features)
        values, places, there = self._entries(frame)
        if self.sparse:
            return gathered(values, places, there, len(self.names))
        x = np.zeros((frame.height, len(self.names)))
        x[np.nonzero(there)[0], places[there]] = values[there]
        return x

    def encode_y(self, frame: pl.DataFrame) -> Floats:
        """(n, k)"""
        return numbers(frame, self.targets)

    def encode_offset(self, frame: pl.DataFrame) -> Floats | None:  # noqa: ARG002
        """Nothing."""
        return None

    def foreign(self, frame: pl.DataFrame) -> Iterator[tuple[str, Any, Any, Any]]:  # noqa: ARG002
        """Nothing: levels of texts are seen to before."""
        return iter(())

    def encode_low(self, frame: pl.DataFrame, x: Any) -> Floats | None:  # noqa: ARG002
        """Nothing: columns as they are lack nothing."""
        return None

    def _entries(self, frame: pl.DataFrame) -> tuple[Floats, Any, Any]:
        """(values, places in x, whether there is one) of each feature in each row, (n, features)."""
        shape = (frame.height, len(self.features))
        values, places, there = (
            np.ones(shape),
            np.zeros(shape, dtype=np.int64),
            np.ones(shape, bool),
        )
        plain = [name for name in self.features if name not in self.levels]
        if plain:
            values[:, [self.features.index(name) for name in plain]] = numbers(frame, plain)
        first = 0
        for at, feature in enumerate(self.features):
            if feature in self.levels:
                code = frame[feature].to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
                code = code - (not self.full)
                places[:, at], there[:, at] = first + code, code >= 0
                first += len(self.levels[feature][1 - self.full :])
            else:
                places[:, at] = first
                first += 1
        return values, places, there


def from_state(state: Mapping[str, Any]) -> Plain:
    """The encoder whose `state` this is; GentleError for what is none."""
    try:
        targets, features = (_texts(state[part]) for part in ("targets", "features"))
        levels = {name: _texts(of) for name, of in state["levels"].items()}
        intercept = state["intercept"]
    except (AttributeError, LookupError, TypeError, ValueError):
        raise GentleError("this is not the state of columns: it is damaged") from None
    twice = any(len(set(of)) < len(of) for of in (targets, features, *levels.values()))
    if twice or not (isinstance(intercept, bool) and targets and levels.keys() <= set(features)):
        raise GentleError("this is not the state of columns: its parts contradict each other")
    return Plain(targets, features, levels, intercept)


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("a list of texts is needed")
    return tuple(values)
