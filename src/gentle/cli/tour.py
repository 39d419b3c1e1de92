"""gentle tour: the tutorial's experiment, live."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from gentle.cli.starting import loading
from gentle.cli.terminal import console, notice, working


def tour(
    rows: Annotated[int, typer.Option(help="How many rows to make up.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the data and the start.", min=0)] = 8,
    learning_rate: Annotated[float, typer.Option(help="Length of a step.")] = 0.1,
    iterations: Annotated[
        int, typer.Option(help="Most steps of the loop; with --batch-size in whole passes.")
    ] = 1_000,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Rows a step looks at; all of them if not given.", show_default=False),
    ] = None,
    noise: Annotated[
        float, typer.Option(help="Standard deviation of the noise.", show_default="a third")
    ] = 1 / 3,
    schedule: Annotated[
        str,
        typer.Option(
            help="Of the learning rate with --batch-size: constant, or 1/t, which settles."
        ),
    ] = "constant",
    out: Annotated[
        Path, typer.Option(help="Folder for the pictures and the page.", metavar="DIR")
    ] = Path("tour"),
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Only tell the story; write nothing.")
    ] = False,
) -> None:
    """Tell the tutorial's experiment, from first tensor to last check.

    Toy data, a train and a test set, mean squared error, a descent loop with autograd, pictures,
    the test error, and the normal equation as the check: how many digits agree, how far apart the
    two answers are in standard errors, and a verdict.

    Writes pictures and a page, index.html, to tour/ or to --out.

    Examples:

        gentle tour

        gentle tour --batch-size 64 --seed 7 --out stochastic
    """
    with working("Loading PyTorch"), loading():
        from gentle.files import written_folder
        from gentle.story import Output, Part, Picture, Story, Text, Title
        from gentle.tour import Options
        from gentle.tour import tour as tell

    screen = console()
    last: list[str] = []

    def show(part: Part) -> None:
        if isinstance(part, Title):
            screen.print()
            screen.rule(part.title, align="left", style="dim")
        elif isinstance(part, Text):
            screen.print()
            screen.print(part.text, markup=False)
        elif isinstance(part, Output):
            same = last[-1:] == ["step"] and part.text.startswith("step")
            screen.print(*([] if same else [""]), sep="", end="" if same else "\n")
            screen.print(part.text, style="cyan", markup=False, soft_wrap=True)
        elif isinstance(part, Picture):
            screen.print()
            screen.print(f"[{part.file}] {part.caption}", style="dim", markup=False)
        last[:] = ["step" if isinstance(part, Output) and part.text.startswith("step") else ""]

    options = Options(rows, seed, learning_rate, iterations, batch_size, noise, schedule)
    with nullcontext() if no_pictures else written_folder(out) as folder:
        tell(options, Story(show), folder)
    if not no_pictures:
        screen.print()
        notice(f"Pictures and page: {out / 'index.html'}")
    screen.print("Next, a file of your own: gentle fit data.csv --target COLUMN", markup=False)
