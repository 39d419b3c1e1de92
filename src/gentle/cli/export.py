"""Fits as text that other programs read: JSON, CSV, Markdown and LaTeX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gentle.descended import Descended
from gentle.errors import GentleError
from gentle.result import Fit
from gentle.tables import descended_to_dict, to_one_polars


def as_written(fits: Sequence[Fit | Descended], kind: str) -> str:
    """The fits of all targets in one text: "json", "csv", "markdown" or "latex".

    JSON has everything that the summary says, by target where there are several; CSV has a line for
    each coefficient. Both have all digits, and JSON is ASCII.

    Raises GentleError for a table of a descent alone, which has no inference to show.
    """
    if kind == "json":
        records = {one.target: _record(one) for one in fits}
        whole: Any = next(iter(records.values())) if len(fits) == 1 else records
        return json.dumps(whole, indent=2, allow_nan=False)
    if kind == "csv":
        table = fits[0].to_polars() if len(fits) == 1 else to_one_polars(_inferred(fits, kind))
        return table.write_csv(quote_style="non_numeric").removesuffix("\n")
    each = (
        one.to_markdown() if kind == "markdown" else one.to_latex() for one in _inferred(fits, kind)
    )
    return "\n\n".join(each)


def _record(fit: Fit | Descended) -> dict[str, Any]:
    return fit.to_dict() if isinstance(fit, Fit) else descended_to_dict(fit)


def _inferred(fits: Sequence[Fit | Descended], kind: str) -> list[Fit]:
    """The fits that have standard errors, which all must be."""
    found = [one for one in fits if isinstance(one, Fit)]
    if len(found) < len(fits):
        raise GentleError(
            f"--{kind} shows standard errors, which a descent alone does not have: take --json"
        )
    return found
