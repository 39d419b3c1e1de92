"""What goes to the terminal, and how: NO_COLOR is respected, and spinners keep quiet in pipes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from shutil import get_terminal_size
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console, RenderableType
from rich.status import Status
from rich.text import Text

from gentle.cli.starting import INTERRUPTED, SENTENCE
from gentle.errors import GentleError, printable

BAD_INPUT = 2
FEWEST_COLUMNS, MOST_COLUMNS = 40, 100  # between which prose can be read
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
    """Standard output, so wide that prose can be read; whole lines of tables may be wider."""
    width = get_terminal_size((80, 24)).columns
    return Console(highlight=False, width=min(max(width, FEWEST_COLUMNS), MOST_COLUMNS))


def show(page: RenderableType) -> None:
    """Print a page, its tables as wide as they are."""
    console().print(page, crop=False)


def notice(sentence: str) -> None:
    """Print a sentence of names and paths on one line."""
    console().print(printable(sentence), markup=False, soft_wrap=True)


def short(rows: object) -> str:
    """What a spinner calls a file: its name, without its folders and without a password."""
    place = str(getattr(rows, "place", rows))
    return place.rstrip("/").rpartition("/")[2].partition("#")[0] or place


def write(text: str) -> None:
    """Print text for another program: to a file or pipe as it is, in UTF-8; to a terminal printable."""
    if sys.stdout.isatty():
        print(printable(text, keep="\n"))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(f"{text}\n".encode(errors="backslashreplace"))


def say(sentence: str) -> None:
    """A sentence to the person at the terminal, in addition to the output."""
    print(printable(sentence), file=sys.stderr)


def complain(sentence: str) -> None:
    """An error, in red where there are colours."""
    screen = Console(stderr=True, highlight=False, soft_wrap=True)
    screen.print(printable(sentence), style="red", markup=False)


def plainly(command: Callable[P, None]) -> Callable[P, None]:
    """A command that ends as a person expects: a sentence and exit code 2 for what can be fixed,
    a sentence and 130 after Ctrl-C."""

    @wraps(command)
    def ended(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except GentleError as error:
            complain(f"gentle: {error}")
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            say(SENTENCE)
            raise typer.Exit(INTERRUPTED) from None

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
            self._status.update(_one_line(text))


@contextmanager
def working(on: str) -> Iterator[Spinner]:
    """A spinner while something takes its time; nothing at all where nobody is watching."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Spinner(on, None)
        return
    with Console(stderr=True, highlight=False).status(_one_line(on), spinner="dots") as status:
        yield Spinner(on, status)


def _one_line(text: str) -> Text:
    return Text(printable(text), no_wrap=True, overflow="ellipsis")
