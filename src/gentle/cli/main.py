"""The command `gentle`: which subcommands there are, and how they end.

Exit codes: 0 when all went well, 2 for input that can be mended, 130 after Ctrl-C.
"""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from gentle._version import version
from gentle.cli.fit import fit
from gentle.cli.terminal import complain, say
from gentle.cli.tour import tour
from gentle.errors import GentleError, GentleWarning

BAD_INPUT = 2
INTERRUPTED = 130

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
app.command()(tour)
app.command()(fit)


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
    """Run the command, and turn what users can mend into a sentence and an exit code."""
    warnings.simplefilter("ignore", GentleWarning)  # the table says it
    try:
        code = app(standalone_mode=False)
    except GentleError as error:
        complain(f"gentle: {error}")
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        say("Interrupted before anything was fitted; nothing was written.")
        sys.exit(INTERRUPTED)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the pipe has gone, which is no error
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
