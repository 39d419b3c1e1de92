"""Rows as they are given: data, and what was given beside it as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gentle.design import Design, Rows
from gentle.errors import GentleError, listed, near
from gentle.sources import Source, open_source, with_columns

BESIDE = ("weights", "frequencies", "offset", "cluster")  # what may be given as arrays

Column = str | Sequence[Any]  # the name of a column, or its values (n,)


def open_rows(
    data: Any,
    *,
    names: Sequence[str] | None = None,
    weights: Column | None = None,
    frequencies: Column | None = None,
    offset: Column | None = None,
    cluster: Column | Sequence[Column] | None = None,
    dtypes: Mapping[str, Any] | None = None,
) -> tuple[Source, dict[str, Any]]:
    """A source with what was given beside it, and the names its parts go by there."""
    source = open_source(data, names, dtypes)
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
    return source, {**parts, "clusters": tuple(clusters)}


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
            f"cluster={cluster!r} may name columns of {source.name} or hold the labels of its "
            f"{len(cluster)} rows: give a tuple of names, or the labels as an array"
        )
    if unknown and not is_labels:
        raise GentleError(
            f"cluster={cluster!r} is neither a list of columns, as {source.name} has no column "
            f"'{unknown[0]}' ({near(unknown[0], schema)}), nor one label for each of its rows"
        )
    return (cluster,) if unknown else tuple(cluster)


def rows_again(design: Design, data: Any, **beside: Any) -> Rows:
    """Rows that are given again to a fit, with all the columns that it needs.

    Raises GentleError for a column that is not there.
    """
    if foreign := [name for name in beside if name not in BESIDE]:
        raise GentleError(f"rows have no {listed(foreign)} beside them: {near(foreign[0], BESIDE)}")
    source, _ = open_rows(data, names=design.names, dtypes=design.dtypes, **beside)
    schema = source.schema()
    for name in design.needed:
        if name not in schema:
            raise GentleError(
                f"{source.name} has no column '{name}', which the fit needs: {near(name, schema)}; "
                "what the fit was given as an array must be given again"
            )
    return Rows(source, design)


def _beside(
    source: Source, part: str, given: Column | None, *, labels: bool = False
) -> tuple[Source, str | None]:
    """The name of a column that was given by name, or as an array, which joins the source."""
    if given is None or isinstance(given, str):
        return source, given
    return with_columns(source, {part: given}, labels=labels), part
