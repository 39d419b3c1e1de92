"""Standard output and standard error, which may be closed, full, or of an encoding that lacks a name."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


class Descriptor(io.FileIO):
    """A file that can be written to in any case; the first error of that is kept in `error`.

    So a command does its work, its files above all, whether or not there is a reader of what it prints.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write data, or drop it where an earlier write failed."""
        size = memoryview(data).nbytes
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
        return size


def guard_streams() -> Descriptor | None:
    """Make sys.stdout and sys.stderr safe to print to, and return the descriptor below the first.

    What their encoding lacks is escaped, their errors are kept, and a closed one is the null device.
    None where something else stands in for standard output, which is left alone.
    """
    for number in range(3):
        _open_if_closed(number)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(sys.stderr, Descriptor(_place(sys.stderr, 2), "w", closefd=False))
    if sys.stdout is not sys.__stdout__:
        return None
    output = Descriptor(_place(sys.stdout, 1), "w", closefd=False)
    sys.stdout = _stream(sys.stdout, output)
    return output


def _open_if_closed(number: int) -> None:
    """Keep a closed descriptor from becoming that of the next file, into which libraries would print."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number


def _place(stream: TextIO | None, number: int) -> int:
    return number if stream is not None else os.open(os.devnull, os.O_WRONLY)


def _stream(like: TextIO | None, output: Descriptor) -> TextIO:
    """A text stream on a descriptor, buffered and encoded like another."""
    direct = getattr(like, "write_through", False)
    return io.TextIOWrapper(
        output if direct else io.BufferedWriter(output),
        encoding=getattr(like, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=getattr(like, "line_buffering", False),
        write_through=direct,
    )
