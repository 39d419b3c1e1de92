"""gentle compare: every solver on one file, against the exact answer."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gentle.cli.fit import WhenMissing
from gentle.cli.progress import Line
from gentle.cli.starting import INTERRUPTED, loading
from gentle.cli.terminal import RowsArgument, notice, say, short, show, working

PICTURE = "compare.png"


def compare(
    file: RowsArgument,
    formula: Annotated[
        str | None,
        typer.Argument(help="Such as 'price ~ carat + C(cut)'.", show_default=False),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="The column to explain by all others, instead of a formula.", metavar="COLUMN"
        ),
    ] = None,
    solvers: Annotated[
        str | None,
        typer.Option(help="Some of them, such as sgd,cg,newton; by default all.", metavar="NAMES"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help=f"Folder for the picture, {PICTURE}.", metavar="DIR"),
    ] = None,
    missing: Annotated[
        WhenMissing,
        typer.Option(help="As in gentle fit: drop, raise, mean or indicator."),
    ] = WhenMissing.drop,
    weights: Annotated[
        str | None, typer.Option(help="A column of precisions.", metavar="COLUMN")
    ] = None,
    frequencies: Annotated[
        str | None, typer.Option(help="A column of counts.", metavar="COLUMN")
    ] = None,
    offset: Annotated[
        str | None,
        typer.Option(help="A column that is a known part of the target.", metavar="COLUMN"),
    ] = None,
    l2: Annotated[float, typer.Option(help="Strength of a ridge.")] = 0.0,
    rank_tol: Annotated[
        float | None,
        typer.Option(
            help="When columns are dependent, in units of their scales.", metavar="NUMBER"
        ),
    ] = None,
    tol: Annotated[float, typer.Option(help="How near each must come, in standard errors.")] = 1e-3,
    max_passes: Annotated[
        float, typer.Option(help="How many readings of the rows each may take.")
    ] = 100,
    time_limit: Annotated[
        float | None, typer.Option(help="How many seconds each may take.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.", min=0)] = 0,
) -> None:
    """Let every solver descend on the same rows, and hold each against the exact answer.

    Prints for each solver its passes over the rows, its seconds, how far its objective is above the
    least one, how far its coefficients are from the exact ones in standard errors, and how it ended.
    With --out it draws that, pass by pass.

    Ctrl-C ends the contest and shows what there is so far.

    Examples:

        gentle compare examples/longley.csv --target employed

        gentle compare sales.csv "log(price) ~ size + C(city)" --out pictures
    """
    with working("Loading PyTorch"), loading():
        from gentle.contesting import contest
        from gentle.driver import Progress
        from gentle.files import written_folder
        from gentle.tables import contest_summary

    with nullcontext() if out is None else written_folder(out) as folder:
        with working(f"Reading {short(file)}") as spinner:
            lines: dict[str, Line] = {}

            def watch(name: str, step: Progress) -> None:
                line = lines.setdefault(name, Line(tol, max_passes, time_limit))
                spinner.tell(f"{name}: {line.after(step)}")

            found = contest(
                file,
                formula,
                target=target,
                weights=weights,
                frequencies=frequencies,
                offset=offset,
                l2=l2,
                rank_tol=rank_tol,
                tol=tol,
                max_passes=max_passes,
                time_limit=time_limit,
                seed=seed,
                missing=missing.value,
                solvers=None if solvers is None else [it.strip() for it in solvers.split(",")],
                watch=watch,
            )
        if folder is not None:
            if found.interrupted and not any(fit.trace for fit in found.fits.values()):
                show(contest_summary(found))
                _end_early()  # before there was anything to draw: the folder vanishes
            from gentle.pictures.style import save

            save(found.plot(), folder / PICTURE)
    show(contest_summary(found))
    if out is not None:
        notice(f"Picture: {out / PICTURE}")
    if found.interrupted:
        _end_early()


def _end_early() -> NoReturn:
    say("Interrupted: this is what there was so far.")
    raise typer.Exit(INTERRUPTED)
