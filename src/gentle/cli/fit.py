"""gentle fit: a file, by descent and exactly."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gentle.cli.predict import WhenUnseen
from gentle.cli.progress import Line
from gentle.cli.starting import INTERRUPTED, loading
from gentle.cli.terminal import (
    EngineOption,
    RowsArgument,
    notice,
    say,
    short,
    show,
    working,
    write,
)
from gentle.errors import GentleError, listed

NOT_CONVERGED = 1


class WhenMissing(StrEnum):
    """What to do with rows that lack a value."""

    drop = "drop"
    refuse = "raise"
    mean = "mean"
    indicator = "indicator"


def fit(
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
    test: Annotated[
        float | None,
        typer.Option(help="Hold out this share of the rows, the last ones, and score them."),
    ] = None,
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="Hold out random rows instead of the last.")
    ] = False,
    missing: Annotated[
        WhenMissing,
        typer.Option(
            help="Leave out rows with a missing value, refuse them, take the column's mean, or add to "
            "that a column that says where it was missing."
        ),
    ] = WhenMissing.drop,
    errors: Annotated[
        str | None,
        typer.Option(help="Standard errors: classical, HC0, HC1, HC2, HC3 or HAC.", metavar="KIND"),
    ] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            help="Clustered standard errors by this column; twice for two ways.", metavar="COLUMN"
        ),
    ] = None,
    lags: Annotated[
        int | None, typer.Option(help="How many neighbouring rows HAC looks at.")
    ] = None,
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
    rank: Annotated[
        str,
        typer.Option(
            help="What to do with dependent columns: drop, minimum-norm or raise.", metavar="RULE"
        ),
    ] = "drop",
    rank_tol: Annotated[
        float | None,
        typer.Option(
            help="When columns are dependent, in units of their scales; by default the rounding of their "
            "values.",
            metavar="NUMBER",
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="The exact answer alone, without a descent.")
    ] = False,
    solver: Annotated[
        str,
        typer.Option(
            help="The descent: sgd, gd, momentum, nesterov, minibatch, lbfgs, cg or newton.",
            metavar="NAME",
        ),
    ] = "sgd",
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Of gd, momentum, nesterov, minibatch or newton, in standardised columns."
        ),
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="Of momentum or nesterov, from 0 to below 1.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows that a step of minibatch or sgd sees.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Of minibatch: constant or 1/t.", metavar="NAME")
    ] = None,
    max_passes: Annotated[
        float, typer.Option(help="How many readings of the rows a descent may take.")
    ] = 100,
    time_limit: Annotated[
        float | None, typer.Option(help="How many seconds a descent may take.")
    ] = None,
    l2: Annotated[float, typer.Option(help="Strength of a ridge.")] = 0.0,
    digits: Annotated[
        float | None, typer.Option(help="Digits that every coefficient must be certified to have.")
    ] = None,
    tol: Annotated[
        float, typer.Option(help="How near the descent must come, in standard errors.")
    ] = 1e-3,
    unseen: Annotated[
        WhenUnseen,
        typer.Option(
            help="A held-out row with a level that no train row has: refuse it, score it as the reference "
            "level, or leave it out of the score."
        ),
    ] = WhenUnseen.error,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.", min=0)] = 0,
    save: Annotated[
        Path | None,
        typer.Option(help="Where to write the model, for gentle predict.", metavar="FILE"),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print the whole result as JSON, for gentle certify --coef."),
    ] = False,
    csv: Annotated[
        bool,
        typer.Option("--csv", help="Print the coefficients as CSV, for gentle certify --coef."),
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the coefficients as a Markdown table.")
    ] = False,
    latex: Annotated[
        bool, typer.Option("--latex", help="Print the coefficients as a LaTeX table (booktabs).")
    ] = False,
    engine: EngineOption = "here",
) -> None:
    """Fit a file by gradient descent and exactly, and compare the two.

    Prints each coefficient with its standard error, t, p and 95 % interval; R2; the rows used and
    dropped; and a verdict. Where the two answers differ visibly it prints both, and their difference in
    standard errors in place of the interval. With --json, --csv, --markdown or --latex nothing else is
    printed; --save writes the model first in any case. The exit code is 1 where a descent has not
    converged, and standard error says so.

    The columns need no scaling and the descent no learning rate. Rows with a missing value are left
    out and counted, or what --missing says. Text columns become one column a level but the first.

    Examples:

        gentle fit examples/longley.csv --target employed

        gentle fit sales.csv "log(price) ~ size + C(city)" --test 0.25

        gentle fit sales.csv "price ~ size" --cluster city --save model.gentle
    """
    with loading():
        from gentle.cli.export import as_written
        from gentle.driver import Progress
        from gentle.files import refuse_place, refuse_same
        from gentle.fitting import fit as fit_data
        from gentle.online import OnePass
        from gentle.result import Fits
        from gentle.tables import summary

    kinds = {"json": json, "csv": csv, "markdown": markdown, "latex": latex}
    asked = [kind for kind, wanted in kinds.items() if wanted]
    if len(asked) > 1:
        raise GentleError(
            f"standard output holds one table, and --{' and --'.join(asked)} ask for several"
        )
    if exact and solver != "sgd":
        raise GentleError(
            f"--exact makes no descent, and --solver asks for {solver}: leave one out"
        )
    if shuffle and test is None:
        raise GentleError("--shuffle says which rows to hold out: say how many with --test 0.25")
    if save is not None:
        refuse_place(save)  # before the fit, which may take long
        refuse_same(save, [Path(str(file))], "name another file for the model")
    with working(f"Reading {short(file)}") as spinner:
        unit = "scale" if l2 else "SE"
        line = Line(tol, max_passes, time_limit, unit)

        def watch(step: Progress) -> None:
            spinner.tell(line.after(step))

        found = fit_data(
            file,
            formula,
            target=target,
            unseen=unseen.value,
            solver="exact" if exact else solver,
            learning_rate=learning_rate,
            momentum=momentum,
            batch_size=batch_size,
            schedule=schedule,
            max_passes=max_passes,
            time_limit=time_limit,
            rank=rank,
            rank_tol=rank_tol,
            errors=errors,
            cluster=tuple(cluster) if cluster else None,
            lags=lags,
            weights=weights,
            frequencies=frequencies,
            offset=offset,
            l2=l2,
            digits=digits,
            tol=tol,
            missing=missing.value,
            seed=seed,
            test=test,
            shuffle=shuffle,
            watch=watch,
            engine=spinner.watched(engine),
        )
    assert not isinstance(found, OnePass)  # the command does not ask for one
    fits = list(found.values()) if isinstance(found, Fits) else [found]
    if save is not None:
        found.save(save)
    if asked:
        write(as_written(fits, asked[0]))
    else:
        for one in fits:
            show(summary(one))
    if save is not None:
        (say if asked else notice)(f"Model: {save}")
    if any(one.interrupted for one in fits):
        say("Interrupted: this is what the descent had reached.")
        raise typer.Exit(INTERRUPTED)
    if late := [one.target for one in fits if not one.verdict.agrees]:
        say(
            f"gentle: the descent of {listed(late, most=4)} has not converged: raise "
            "--max-passes, choose another --solver, or take the exact solution alone with --exact"
        )
        raise typer.Exit(NOT_CONVERGED)
