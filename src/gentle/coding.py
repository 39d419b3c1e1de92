"""Coding: which columns the terms of a formula become, so that their structure makes none redundant.

A category of L levels spans L columns, of which L - 1 are enough beside the intercept. Which of its terms
take all levels and which one fewer follows from what the terms before them span, as in R and patsy
(Chambers and Hastie 1992). Columns are counted before any is named or made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from formulaic.transforms import ContrastsRegistry

from gentle.batch import Floats, Integers
from gentle.errors import GentleError, listed
from gentle.expressions import Name, Node
from gentle.formula import Term
from gentle.levels import level_codes

MAX_CATEGORIES = 8  # in one product: each doubles what has to be looked at
MAX_CODED_LEVELS = 4_096  # of a category in another coding than treatment, whose matrix is square

Scoped = tuple[tuple[Node, bool], ...]  # factors of a product, each with whether it is reduced


@dataclass(frozen=True)
class Lookup:
    """The levels of a category, found by their value: True is 1 and 1.0."""

    levels: tuple[Any, ...]

    def codes(self, values: Any) -> Integers:
        """Which level each value is, -1 for none, (n,)."""
        if isinstance(values, pl.Series):
            if all(isinstance(level, str) for level in self.levels):
                return self._text_codes(values)
            return level_codes(values, self.levels)
        if values.dtype.kind == "O":
            table = self._table
            found = [table.get(value, -1) for value in values.tolist()]
            return np.array(found, dtype=np.int64)
        keys, places = self._floats if values.dtype.kind == "f" else self._integers
        values = values.astype(keys.dtype, copy=False)
        if not len(keys):
            return np.full(len(values), -1)
        at = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
        return np.where(keys[at] == values, places[at], -1)

    def _text_codes(self, values: pl.Series) -> Integers:
        """The same for texts, whose own codes are taken where they have these levels."""
        if not (isinstance(values.dtype, pl.Enum) and values.dtype == self._kind):
            values = values.cast(pl.String).cast(self._kind, strict=False)
        return values.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()

    @cached_property
    def _kind(self) -> pl.Enum:
        return pl.Enum([level for level in self.levels if isinstance(level, str)])

    @cached_property
    def _table(self) -> Mapping[Any, int]:
        return {level: place for place, level in enumerate(self.levels)}

    @cached_property
    def _integers(self) -> tuple[npt.NDArray[np.int64], Integers]:
        """Sorted integer levels and their places."""
        whole = {
            int(level): place
            for place, level in enumerate(self.levels)
            if not isinstance(level, str) and level == int(level) and -(2**63) <= level < 2**63
        }
        return _sorted(whole, np.int64)

    @cached_property
    def _floats(self) -> tuple[Floats, Integers]:
        """Sorted levels that are floats, or decimals by the nearest one, and their places."""
        found: dict[float, int] = {}
        for place, level in enumerate(self.levels):
            if not isinstance(level, str) and (isinstance(level, Decimal) or float(level) == level):
                found[float(level)] = -1 if float(level) in found else place
        return _sorted(found, np.float64)


def _sorted(places: Mapping[Any, int], dtype: type) -> tuple[Any, Integers]:
    keys: npt.NDArray[Any] = np.array(list(places), dtype=dtype)
    order = np.argsort(keys)
    return keys[order], np.array(list(places.values()), dtype=np.int64)[order]


@dataclass(frozen=True)
class Factor:
    """How one factor of a formula becomes columns."""

    node: Node
    label: str
    fields: tuple[Any, ...] = ()  # of a basis; none for a single column
    spans: bool = False  # whether its columns add up to a constant, so that one fewer may do
    lookup: Lookup | None = None  # of a category
    contrast: Any = None  # formulaic's contrast, where the coding is not that of treatment
    base: int = 0  # the reference level of treatment coding

    @property
    def is_category(self) -> bool:
        return self.lookup is not None

    @property
    def is_treatment(self) -> bool:
        return self.is_category and self.contrast is None

    @property
    def levels(self) -> tuple[Any, ...]:
        return () if self.lookup is None else self.lookup.levels

    def size(self, *, reduced: bool) -> int:
        """How many columns it has."""
        if self.contrast is not None and isinstance(self.contrast, ContrastsRegistry.custom):
            return int(self.contrast.contrasts.shape[1])
        count = len(self.levels) if self.is_category else max(1, len(self.fields))
        return max(0, count - reduced)

    def names(self, *, reduced: bool) -> list[str]:
        """Those of its columns."""
        if not self.is_category:
            if not self.fields:
                return [self.label]
            return [f"{self.label}[{field}]" for field in self.fields[int(reduced) :]]
        if self.contrast is None:
            kept = [v for at, v in enumerate(self.levels) if not (reduced and at == self.base)]
            form = "{}[T.{}]" if reduced else "{}[{}]"
            return [form.format(self.label, level) for level in kept]
        levels = list(self.levels)
        form = self.contrast.get_factor_format(levels, reduced_rank=reduced)
        fields = self.contrast.get_coding_column_names(levels, reduced_rank=reduced)
        return [form.format(name=self.label, field=field) for field in fields]

    def places(self, *, reduced: bool) -> Integers:
        """Which column each level has in treatment coding, -1 for the reference and at the end."""
        places = np.arange(len(self.levels) + 1)
        if reduced:
            places[self.base :] -= 1
            places[self.base] = -1
        places[-1] = -1
        return places

    def coding(self, *, reduced: bool) -> Floats:
        """The row (k,) of each level, and zeros for none, (L + 1, k)."""
        size = self.size(reduced=reduced)
        table = np.zeros((len(self.levels) + 1, size))
        if not size:
            return table
        if self.contrast is None:
            places = self.places(reduced=reduced)
            there = np.flatnonzero(places >= 0)
            table[there, places[there]] = 1
        else:
            levels = list(self.levels)
            table[:-1] = np.asarray(self.contrast.get_coding_matrix(levels, reduced_rank=reduced))
        return table


def category(node: Node, label: str, levels: Sequence[Any], options: Mapping[str, Any]) -> Factor:
    """The factor of a category of levels, in the coding that its options ask for.

    Raises GentleError for a reference that is no level, and for a coding that does not fit them.
    """
    lookup = Lookup(tuple(levels))
    contrast, base = options.get("contrasts"), 0
    spans = bool(options.get("spans_intercept", True))
    if isinstance(contrast, list):
        if len(contrast) != len(levels):
            raise GentleError(
                f"the contrasts of {label} have {len(contrast)} rows, one for each level, and it has "
                f"{len(levels)} levels"
            )
        return Factor(node, label, (), spans, lookup, ContrastsRegistry.custom(contrast))
    name, given = contrast or ("contr.treatment", {"base": None})
    if name in ("contr.treatment", "contr.SAS"):
        base = len(levels) - 1 if name == "contr.SAS" else 0
        if given["base"] is not None:
            if given["base"] not in lookup.levels:
                raise GentleError(
                    f"{given['base']!r} is no level of {label}, which could be its reference: there are "
                    f"{listed(levels)}"
                )
            base = lookup.levels.index(given["base"])
        return Factor(node, label, (), spans, lookup, None, max(0, base))
    if len(levels) > MAX_CODED_LEVELS:
        raise GentleError(
            f"{label} has {len(levels):,} levels, and {name} codes at most {MAX_CODED_LEVELS:,}: leave "
            "the contrast out"
        )
    scores = given.get("scores")
    if scores is not None and len(scores) != len(levels):
        raise GentleError(
            f"the scores of {label} are {len(scores)}, and it has {len(levels)} levels"
        )
    made = getattr(ContrastsRegistry, name.removeprefix("contr."))(**given)
    return Factor(node, label, (), spans, lookup, made)


@dataclass(frozen=True)
class Block:
    """The columns of one product of factors, side by side in x."""

    term: int  # which of the terms it is part of
    parts: tuple[tuple[Factor, bool], ...]  # each with whether it is reduced
    first: int  # of its columns in x
    size: int  # how many they are

    def names(self) -> Iterator[str]:
        """Those of its columns, the levels of the first factor going by first."""
        each = [factor.names(reduced=reduced) for factor, reduced in reversed(self.parts)]
        return (":".join(reversed(names)) for names in product(*each))

    @property
    def category(self) -> Factor | None:
        """The category in treatment coding that it is, if it is one alone."""
        ((factor, _), *more) = self.parts
        return factor if factor.is_treatment and not more else None


@dataclass(frozen=True)
class Layout:
    """The columns of a side of a formula, the intercept not among them."""

    intercept: bool
    blocks: tuple[Block, ...]

    @property
    def size(self) -> int:
        """How many columns there are."""
        return sum(block.size for block in self.blocks)

    @property
    def dense_size(self) -> int:
        """How many there are beside those of categories alone."""
        return sum(block.size for block in self.blocks if block.category is None)

    def names(self) -> tuple[str, ...]:
        """Those of the columns (p,)."""
        return tuple(name for block in self.blocks for name in block.names())


def lay_out(terms: Sequence[Term], factors: Mapping[Node, Factor]) -> Layout:
    """The columns of terms, counted and not yet made.

    Raises GentleError for a product of more than MAX_CATEGORIES categories.
    """
    spanned: set[frozenset[tuple[Node, bool]]] = set()
    blocks: list[Block] = []
    intercept, first = False, 0
    for at, term in enumerate(terms):
        if sum(factors[node].spans for node in term) > MAX_CATEGORIES:
            raise GentleError(
                f"'{':'.join(map(str, term))}' is a product of more than {MAX_CATEGORIES} categories: "
                "leave some out"
            )
        options = [
            ((node, True), None) if factors[node].spans else ((node, False),) for node in term
        ]
        new: dict[frozenset[tuple[Node, bool]], Scoped] = {}
        for choice in product(*options):
            scoped = tuple(one for one in choice if one is not None)
            if frozenset(scoped) not in spanned:
                new[frozenset(scoped)] = scoped
        spanned |= new.keys()
        for scoped in _simplified(list(new.values())):
            if not scoped:
                intercept = True
                continue
            parts = tuple((factors[node], reduced) for node, reduced in scoped)
            size = prod(factor.size(reduced=reduced) for factor, reduced in parts)
            blocks.append(Block(at, parts, first, size))
            first += size
    return Layout(intercept, tuple(blocks))


def _simplified(several: list[Scoped]) -> list[Scoped]:
    """The fewest products that span the same: one beside itself times a reduced factor is one times all."""
    kept: list[Scoped] = []
    for scoped in sorted(several, key=len):
        for at, known in enumerate(kept):
            more = set(scoped) - set(known)
            if len(scoped) - 1 != len(known) or len(more) != 1:
                continue
            (new,) = more
            if new[1]:
                whole = tuple((node, node != new[0] and reduced) for node, reduced in scoped)
                kept = _simplified([*kept[:at], *kept[at + 1 :], whole])
                break
        else:
            kept.append(scoped)
    return kept


def label_of(node: Node, taken: Mapping[str, int]) -> str:
    """The label of a factor: a column by its name, in backticks where another factor is called the same."""
    if not isinstance(node, Name):
        return str(node)
    return f"`{node.name}`" if taken.get(node.name, 0) > 1 else node.name
