"""Rows as they are given: data, and what was given beside it as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gentle.design import Design, Rows, refuse_lacking
from gentle.errors import GentleError, listed, near, show_value
from gentle.formula import parse
from gentle.sources import (
    Shifted,
    Source,
    is_of_arrays,
    open_source,
    pair_weights,
    with_columns,
    with_names,
)

BESIDE = ("weights", "frequencies", "offset", "cluster")  # what may be given as arrays

Column = str | Sequence[Any]  # the name of a column, or its values (n,)


def open_rows(
    data: Any,
    *,
    names: Sequence[str] | None = None,
    named: bool = False,
    weights: Column | None = None,
    frequencies: Column | None = None,
    offset: Column | None = None,
    cluster: Column | Sequence[Column] | None = None,
    dtypes: Mapping[str, Any] | None = None,
) -> tuple[Source, dict[str, Any]]:
    """A source with what was given in addition, and the names of its parts there.

    Args:
        names: of the columns of X, where it is an array.
        named: whether columns must have names, as in a formula, so that arrays become a table.
    """
    source = open_source(data, names, dtypes)
    if names is not None and not is_of_arrays(source):
        raise GentleError(f"names= is for the columns of an array, and {source.name} has its own")
    if (own := pair_weights(source)) is not None:
        if weights is not None:
            raise GentleError("weights were given twice, in (X, y, weights) and as weights=")
        weights = own
    parts: dict[str, Any] = {}
    given = {"weights": weights, "frequencies": frequencies, "offset": offset}
    for part, column in given.items():
        source, parts[part] = _beside(source, f"({part})", column)
    keys = _cluster_keys(source, cluster)
    if any(key is None for key in keys):
        raise GentleError(
            "a cluster was given as None: give the labels of each way, or leave it out"
        )
    if len(keys) > 2:
        raise GentleError(
            f"clusters go one way or two, and {len(keys)} were given: labels of one way belong in "
            "a list or an array"
        )
    clusters = []
    for at, key in enumerate(keys):
        name = "(cluster)" if len(keys) == 1 else f"(cluster {at + 1})"
        source, found = _beside(source, name, key, labels=True)
        clusters.append(found)
    return with_names(source) if named else source, {**parts, "clusters": tuple(clusters)}


def _cluster_keys(source: Source, cluster: Any) -> tuple[Any, ...]:
    """One entry for each way of clustering, a column's name or labels (n,).

    A tuple has one for each way, and so has a list of names of columns; any other list has labels.

    Raises GentleError for a list that may be either, and for one of a few strings that is neither.
    """
    if not isinstance(cluster, list) or not all(isinstance(name, str) for name in cluster):
        return cluster if isinstance(cluster, tuple) else () if cluster is None else (cluster,)
    schema = source.schema()
    unknown = [name for name in cluster if name not in schema]
    if unknown and (len(cluster) > 2 or not source.replayable):
        return (cluster,)
    is_labels = source.replayable and len(cluster) == source.height()
    if not unknown and is_labels:
        raise GentleError(
            f"cluster={show_value(cluster)} may name columns of {source.name} or hold the labels of its "
            f"{len(cluster)} rows: give a tuple of names, or the labels as an array"
        )
    if unknown and not is_labels:
        raise GentleError(
            f"cluster={show_value(cluster)} is neither a list of columns, as {source.name} has no column "
            f"'{unknown[0]}' ({near(unknown[0], schema)}), nor one label for each of its rows"
        )
    return (cluster,) if unknown else tuple(cluster)


def with_shifts(source: Source, formula: str | None) -> Source:
    """The source with the columns of rows before that lag() and diff() in a formula need."""
    if formula is None or not ("lag" in formula or "diff" in formula):
        return source
    return Shifted.of(source, parse(formula, source.schema()).shifts)


def rows_again(design: Design, data: Any, **beside: Any) -> Rows:
    """Rows that are given again to a fit, with all the columns that it needs.

    Raises GentleError for a column that is not there.
    """
    if foreign := [name for name in beside if name not in BESIDE]:
        raise GentleError(f"rows have no {listed(foreign)} beside them: {near(foreign[0], BESIDE)}")
    beside = {**beside, "dtypes": design.dtypes}
    source, _ = open_rows(data, named=not design.takes_arrays, **beside)
    if is_of_arrays(source):
        source, _ = open_rows(data, names=design.columns, **beside)
    source = Shifted.of(source, design.shifts)
    refuse_lacking(source, design.needed, design)
    return Rows(source, design)


def _beside(
    source: Source, part: str, given: Column | None, *, labels: bool = False
) -> tuple[Source, str | None]:
    """The name of a column that was given by name, or as an array, which joins the source."""
    if given is None or isinstance(given, str):
        return source, given
    return with_columns(source, {part: given}, labels=labels), part
