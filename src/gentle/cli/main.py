"""The command `gentle`: which subcommands there are, and how they end.

Exit codes: 0 when all went well, 2 for input that can be mended, 130 after Ctrl-C.
"""

from __future__ import annotations

import warnings
from typing import Annotated

import typer

from gentle._version import version
from gentle.cli.certify import certify
from gentle.cli.compare import compare
from gentle.cli.fit import fit
from gentle.cli.predict import predict
from gentle.cli.terminal import plainly
from gentle.cli.tour import tour
from gentle.errors import GentleWarning

app = typer.Typer(
    name="gentle",
    help="Linear models by gradient descent, with the exact answer beside every fit.\n\n"
    "Each descent is held against the exact minimiser of the same objective on the same rows, and "
    "a verdict says how far apart the two are: in standard errors, in digits, and why.",
    epilog="Example: gentle tour   or   gentle fit data.csv --target price",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
app.command()(plainly(tour))
app.command()(plainly(fit))
app.command()(plainly(predict))
app.command()(plainly(certify))
app.command()(plainly(compare))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gentle {version}")
        raise typer.Exit


@app.callback()
def _gentle(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command."""
    warnings.simplefilter("ignore", GentleWarning)  # the table says it
    app()
