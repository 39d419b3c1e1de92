"""What goes to the terminal, and how: NO_COLOR is respected, and spinners keep quiet in pipes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

MOST_COLUMNS = 100


def console() -> Console:
    """Standard output, at most so wide that prose can be read."""
    screen = Console(highlight=False, soft_wrap=False)
    if screen.width > MOST_COLUMNS:
        screen.width = MOST_COLUMNS
    return screen


def say(sentence: str) -> None:
    """A sentence to the person at the terminal, beside the output."""
    print(sentence, file=sys.stderr)


def complain(sentence: str) -> None:
    """An error, in red where there are colours."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(sentence, style="red", markup=False)


@contextmanager
def working(on: str) -> Iterator[Status | None]:
    """A spinner while something takes its time; nothing at all where nobody is watching."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    with Console(stderr=True, highlight=False).status(on, spinner="dots") as status:
        yield status
