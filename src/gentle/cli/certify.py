"""gentle certify: how far off is somebody else's fit?"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from gentle.cli.starting import loading
from gentle.cli.terminal import EngineOption, RowsArgument, short, show, working
from gentle.errors import GentleError, listed


def certify(
    file: RowsArgument,
    formula: Annotated[
        str | None,
        typer.Argument(help="Such as 'price ~ carat + C(cut)'.", show_default=False),
    ] = None,
    coef: Annotated[
        Path,
        typer.Option(
            help='Coefficients by name, the intercept called Intercept: JSON such as {"x": 2}, CSV with '
            "the columns name and coefficient, or what gentle fit --json or --csv printed.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ...,  # type: ignore[assignment]
    target: Annotated[
        str | None,
        typer.Option(
            help="The column to explain by all others, instead of a formula.", metavar="COLUMN"
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="A column of precisions.", metavar="COLUMN")
    ] = None,
    l2: Annotated[float, typer.Option(help="Strength of a ridge.")] = 0.0,
    engine: EngineOption = "here",
) -> None:
    """Hold the coefficients of another program against the exact ones on the same rows.

    Prints, for each coefficient, how far it is from the exact one in standard errors, and a verdict.

    Example:

        gentle certify data.csv --target y --coef theirs.json
    """
    given = _coefficients(coef, target or (formula or "").partition("~")[0].strip())
    with loading():
        from gentle.checking import certify as certify_data
        from gentle.tables import check_summary

    with working(f"Reading {short(file)}") as spinner:
        check = certify_data(
            given,
            file,
            formula,
            target=target,
            weights=weights,
            l2=l2,
            engine=spinner.watched(engine),
        )
    show(check_summary(check))


def _coefficients(file: Path, target: str) -> dict[str, Any]:
    """Name -> coefficient from a JSON or CSV file, of one target where the file has several."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise GentleError(f"{file} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise GentleError(f"{file} is not UTF-8: it must hold JSON or CSV") from None
    given = (
        _from_csv(file, text, target) if file.suffix == ".csv" else _from_json(file, text, target)
    )
    return {name: math.nan if value is None else value for name, value in given.items()}


def _from_json(file: Path, text: str, target: str) -> dict[str, Any]:
    """Coefficients of a mapping, or of what gentle fit --json prints."""
    try:
        given: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GentleError(f"{file} is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise GentleError(
            f'{file} must hold names with coefficients, as {{"Intercept": 1.5, "x": 2}}, and holds a '
            f"{type(given).__name__}"
        )
    if given and all(isinstance(one, dict) and COEFFICIENTS in one for one in given.values()):
        given = given[_one_of(file, given, target)]
    coef = given.get(COEFFICIENTS)
    if not isinstance(coef, dict):
        return dict(given)
    return {
        name: one.get("coefficient") if isinstance(one, dict) else one for name, one in coef.items()
    }


def _from_csv(file: Path, text: str, target: str) -> dict[str, Any]:
    """Coefficients of a table with columns name and coefficient, or as other programs call them."""
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise GentleError(f"{file} is not CSV: {error}") from None
    heads = list(rows[0]) if rows else []
    name = next((head for head in NAMES if head in heads), None)
    value = next((head for head in VALUES if head in heads), None)
    if name is None or value is None:
        raise GentleError(
            f"{file} must have the columns name and coefficient, and has "
            + (listed(heads) if heads else "no rows")
        )
    if "target" in heads:
        chosen = _one_of(file, [row["target"] for row in rows], target)
        rows = [row for row in rows if row["target"] == chosen]
    return {row[name]: None if row[value] in MISSING else row[value] for row in rows}


def _one_of(file: Path, targets: Iterable[str], wanted: str) -> str:
    """The target whose coefficients are meant."""
    known = list(dict.fromkeys(targets))
    if len(known) == 1:
        return known[0]
    if wanted not in known:
        raise GentleError(
            f"{file} has coefficients of {listed(known)}, and none of '{wanted}': fit one of these targets"
        )
    return wanted


NAMES, VALUES = ("name", "term", "variable", ""), ("coefficient", "estimate", "coef", "Estimate")
MISSING = ("", "NA", "NaN", "nan", "null", None)
COEFFICIENTS = "coefficients"
