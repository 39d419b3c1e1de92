"""gentle certify: how far off is somebody else's fit?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from gentle.cli.terminal import EngineOption, RowsArgument, console, short, working
from gentle.errors import GentleError


def certify(
    file: RowsArgument,
    formula: Annotated[
        str | None,
        typer.Argument(help="Such as 'price ~ carat + C(cut)'.", show_default=False),
    ] = None,
    coef: Annotated[
        Path,
        typer.Option(
            help="A JSON file of name: coefficient, the constant called Intercept.",
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
    given = _coefficients(coef)
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
    console().print(check_summary(check))


def _coefficients(file: Path) -> dict[str, Any]:
    """The coefficients in a JSON file."""
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise GentleError(f"{file} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise GentleError(f"{file} is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise GentleError(
            f'{file} must hold names with coefficients, as {{"Intercept": 1.5, "x": 2}}, and holds a '
            f"{type(given).__name__}"
        )
    return given
