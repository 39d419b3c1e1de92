"""The start of a process: how Ctrl-C ends it while libraries load. Imports nothing that takes time."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
SENTENCE = "Interrupted before there was a result; nothing was left behind."


@contextmanager
def loading() -> Iterator[None]:
    """Within it Ctrl-C ends the process at once, with a sentence and exit code 130.

    An exception would pass through the start of other libraries, some of which abort then. Where Ctrl-C
    is ignored, as in a job of the background, or handled by somebody else, nothing changes.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    try:
        signal.signal(signal.SIGINT, _end)
    except ValueError:  # not in the main thread, which signals go to
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore_at_exit() -> None:
    """Let Ctrl-C not disturb the end of the interpreter: the exit code is known by then."""
    atexit.register(_ignore)


def _ignore() -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(_signal: int, _frame: FrameType | None) -> None:
    cursor = "\r\x1b[2K\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""
    try:
        os.write(2, f"{cursor}{SENTENCE}\n".encode())
    finally:
        os._exit(INTERRUPTED)
