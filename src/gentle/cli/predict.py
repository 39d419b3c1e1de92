"""gentle predict: a saved model and rows, to predictions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gentle.cli.starting import loading
from gentle.cli.terminal import EngineOption, RowsArgument, notice, short, show, working
from gentle.errors import GentleError

SHOWN = 10  # rows, where no file is asked for


class IntervalOf(StrEnum):
    """What an interval is to hold."""

    mean = "mean"
    new = "new"


class WhenUnestimable(StrEnum):
    """What becomes of a row that a rank-deficient fit cannot predict."""

    nan = "nan"
    error = "raise"
    predict = "predict"


class WhenUnseen(StrEnum):
    """What becomes of a row with a level that the fit did not see."""

    error = "error"
    reference = "reference"
    missing = "missing"


def predict(
    model: Annotated[
        Path, typer.Argument(help="A file that gentle fit --save wrote.", show_default=False)
    ],
    file: RowsArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Where to write: .csv, .parquet, .arrow, .feather or .ndjson.",
            metavar="FILE",
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(help="Add standard errors, and bounds at this level, such as 0.95."),
    ] = None,
    kind: Annotated[
        IntervalOf | None,
        typer.Option(
            help="What the bounds hold: the mean of such rows, or a new row.", show_default="mean"
        ),
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Keep the columns of the file, as they were read.")
    ] = False,
    unseen: Annotated[
        WhenUnseen,
        typer.Option(
            help="A level that the fit did not see: refuse it, take it for the reference, or predict "
            "nothing."
        ),
    ] = WhenUnseen.error,
    unestimable: Annotated[
        WhenUnestimable | None,
        typer.Option(
            help="A row that a rank-deficient fit cannot predict: predict nothing, refuse it, or take the "
            "coefficients as they are.",
            show_default="nan; predict for minimum-norm",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of new rows, for --kind new: a column, or one number for all.",
            metavar="COLUMN",
            show_default="the column of the fit's weights",
        ),
    ] = None,
    engine: EngineOption = "here",
) -> None:
    """Predict the target for each row of a file, from a saved model.

    Writes one row for each row of the file, in its order, with the column prediction and, at an
    interval, std_error, low and high; they are empty where a value is missing. Without -o it shows
    the first rows.

    Examples:

        gentle predict model.gentle new.csv -o out.parquet

        gentle predict model.gentle new.csv --interval 0.95 --append
    """
    if kind is not None and interval is None:
        raise GentleError("--kind says what bounds hold: ask for these with --interval 0.95")
    with loading():
        from gentle.files import refuse_same
        from gentle.model_file import load
        from gentle.predicting import Asked, first_rows, predict_to
        from gentle.tables import predictions

    with working(f"Reading {short(file)}") as spinner:
        found = load(model)
        asked = Asked(
            interval,
            "mean" if kind is None else kind.value,
            append,
            unseen.value,
            spinner.watched(engine),
            None if unestimable is None else unestimable.value,
            _number_or_name(weights),
        )
        if out is None:
            first, written = first_rows(found, file, asked, SHOWN)
        else:
            refuse_same(out, [model], "name another file for the predictions")
            written = predict_to(found, file, out, None, asked)
    if out is None:
        show(predictions(first, written))
    else:
        notice(f"Predictions: {out}")
        notice(f"{written}.")


def _number_or_name(text: str | None) -> str | float | None:
    """One weight for all rows, or the name of a column."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
