"""What goes to the terminal, and how: NO_COLOR is respected, and spinners keep quiet in pipes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from gentle.errors import GentleError

BAD_INPUT = 2
INTERRUPTED = 130
MOST_COLUMNS = 100
P = ParamSpec("P")
RowsArgument = Annotated[
    str,
    typer.Argument(
        help="Rows: a file, a pattern, a folder, or a database such as sqlite:///f.db#table.",
        metavar="FILE",
        show_default=False,
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        help="Where passes work: here, threads, processes:4, dask, dask://scheduler:8786, ray, spark.",
        metavar="NAME",
    ),
]


def console() -> Console:
    """Standard output, at most so wide that prose can be read."""
    screen = Console(highlight=False, soft_wrap=False)
    if screen.width > MOST_COLUMNS:
        screen.width = MOST_COLUMNS
    return screen


def short(rows: object) -> str:
    """What a spinner calls a file: its name, without its folders and without a password."""
    place = str(getattr(rows, "place", rows))
    return place.rstrip("/").rpartition("/")[2].partition("#")[0] or place


def say(sentence: str) -> None:
    """A sentence to the person at the terminal, beside the output."""
    print(sentence, file=sys.stderr)


def complain(sentence: str) -> None:
    """An error, in red where there are colours."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(sentence, style="red", markup=False)


def plainly(command: Callable[P, None]) -> Callable[P, None]:
    """A command that ends as a person expects: a sentence and exit code 2 for what can be mended,
    a sentence and 130 after Ctrl-C, silence where the reader of a pipe has gone."""

    @wraps(command)
    def ended(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except GentleError as error:
            complain(f"gentle: {error}")
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            say("Interrupted before there was a result; nothing was left behind.")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return ended


class Spinner:
    """What stands beside a spinner: a line, and how many parts of a pass are done."""

    def __init__(self, line: str, status: Status | None) -> None:
        self._line, self._status = line, status

    def tell(self, line: str) -> None:
        """Another line."""
        self._line = line
        self._show(line)

    def watched(self, engine: str) -> Any:
        """An engine whose parts are told of."""
        from gentle.engines import Watched

        return engine if self._status is None else Watched(engine, self._parts)

    def _parts(self, done: int, parts: int) -> None:
        self._show(f"{self._line}, {done:,}/{parts:,} parts" if done < parts else self._line)

    def _show(self, text: str) -> None:
        if self._status is not None:
            self._status.update(escape(text))


@contextmanager
def working(on: str) -> Iterator[Spinner]:
    """A spinner while something takes its time; nothing at all where nobody is watching."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Spinner(on, None)
        return
    with Console(stderr=True, highlight=False).status(escape(on), spinner="dots") as status:
        yield Spinner(on, status)
