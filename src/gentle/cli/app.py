"""The command `gentle`: which subcommands there are, and how they end.

Exit codes: 0 when all went well, 1 where a descent has not converged or the output cannot be written,
2 for input that can be fixed, 130 after Ctrl-C, 141 where the reader of a pipe has gone.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NoReturn

import typer

from gentle._version import version
from gentle.cli.certify import certify
from gentle.cli.compare import compare
from gentle.cli.fit import fit
from gentle.cli.predict import predict
from gentle.cli.reading import reading
from gentle.cli.starting import INTERRUPTED, SENTENCE
from gentle.cli.streams import Descriptor, guard_streams
from gentle.cli.terminal import BAD_INPUT, complain, plainly, say
from gentle.cli.tour import tour
from gentle.errors import GentleWarning, ReadingWarning, printable
from gentle.files import ended_by_signals

UsageError: Any = typer.BadParameter.__mro__[1]  # of click, or of typer itself since it left click
NO_OUTPUT = 1
READER_GONE = 141  # as a shell has it: 128 + SIGPIPE

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
app.command()(plainly(reading(fit)))
app.command()(plainly(reading(predict)))
app.command()(plainly(reading(certify)))
app.command()(plainly(reading(compare)))


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


def run() -> NoReturn:
    """Run the command, and end the process with its exit code."""
    output = guard_streams()
    warnings.simplefilter("ignore", GentleWarning)  # the table says it
    warnings.simplefilter("always", ReadingWarning)
    warnings.showwarning = partial(_show_warning, warnings.showwarning)
    try:
        with ended_by_signals():
            code = app(standalone_mode=False) or 0
        sys.stdout.flush()
    except UsageError as error:
        error.message = printable(error.message, keep="\n")
        error.show()
        code = BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        say(SENTENCE)
        code = INTERRUPTED
    sys.exit(code or _exit_code(output))


def _exit_code(output: Descriptor | None) -> int:
    """How a command ends that has done its work: a reader that has gone is no matter for a sentence."""
    error = None if output is None else output.error
    if error is None:
        return 0
    if isinstance(error, BrokenPipeError):
        return READER_GONE
    complain(f"gentle: standard output cannot be written: {error.strerror}")
    return NO_OUTPUT


def _show_warning(
    show: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any
) -> None:
    """How a file was read, in a sentence; all else as Python shows it."""
    if issubclass(category, ReadingWarning):
        say(f"gentle: {message}")
    else:
        show(message, category, *where)
