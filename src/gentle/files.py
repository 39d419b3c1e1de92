"""Writing files whole or not at all: beside their place first, then renamed into it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from gentle.errors import GentleError

LONGEST_NAME = 255  # bytes, in nearly all file systems
ENDING = ("SIGTERM", "SIGHUP")  # signals that ask a process to end, where the system has them
CREATED = os.O_WRONLY | os.O_CREAT | os.O_EXCL


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` if all goes well and vanishes if not.

    It is a new file beside `path`, created exclusively under a random name: no link is followed there,
    and no two writers share it, so that of several writers of one path each writes it whole and the last
    one wins. It vanishes too where SIGTERM or SIGHUP ends the process. What was there before stays until
    the end, and leaves its mode; a new file has that of the umask. A link at `path` is followed.

    Raises GentleError where nothing can be written there, or the disk is full.
    """
    refuse_place(path)
    whole = Path(os.path.realpath(path))
    temporary = whole.with_name(f".{secrets.token_hex(16)}.part")
    ours = True  # from before it is created: a signal may come in between
    with ended_by_signals():
        try:
            os.close(os.open(temporary, CREATED, 0o666))
            mode = (whole if whole.exists() else temporary).stat().st_mode & 0o7777
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())  # or the name may be on the disk before what it names
            temporary.chmod(mode)
            os.replace(temporary, whole)
        except OSError as error:
            ours = not isinstance(error, FileExistsError)
            raise _unwritable(path, error) from None
        finally:
            with suppress(OSError):
                if ours:
                    temporary.unlink()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the main thread like an exception, where nothing handles them yet.

    What is half-written is removed on the way.
    """
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    default = threading.current_thread() is threading.main_thread()
    taken = [number for number in numbers if default and signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, _: Any) -> NoReturn:
        raise SystemExit(128 + number)  # what a shell says of a process that a signal ended

    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def refuse_same(path: Path, sources: Iterable[Path], way_out: str) -> None:
    """Raises GentleError where a file to write is one of those that are read, by whatever path or link."""
    if not os.path.exists(path):
        return
    for source in sources:
        if os.path.exists(source) and os.path.samefile(path, source):
            raise GentleError(f"{path} is read here, and would be replaced: {way_out}")


def _unwritable(path: Path, error: OSError) -> GentleError:
    return GentleError(f"{path} cannot be written: {error.strerror or error}")


def refuse_place(path: Path) -> None:
    """Raises GentleError where a file cannot stand: no folder, or something there that is no file."""
    size = len(os.fsencode(path.name))
    if size > LONGEST_NAME:
        raise GentleError(
            f"the name {path.name[:20]}... has {size:,} bytes, and file systems take {LONGEST_NAME}: "
            "choose a shorter one"
        )
    if "\0" in str(path):
        raise GentleError(f"{str(path)!r} holds a NUL, which no path can: leave it out")
    if os.path.isdir(path):
        raise GentleError(f"{path} is a directory: name a file in it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise GentleError(f"{path} is no file, and would be replaced by one: name another")
    if not os.path.isdir(path.parent):
        raise GentleError(
            f"{path} cannot be written: there is no directory {path.parent}, so make it first"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise GentleError(f"{path} cannot be written: {path.parent} may not be written to")


@contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """A folder to write to; what stands in it moves into `path` at the end, or vanishes.

    Raises GentleError where nothing can be written there.
    """
    try:
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".part-", dir=path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GentleError(f"nothing can be written to {str(path)[:80]}: {reason}") from None
    with ended_by_signals():
        try:
            yield beside
            for file in sorted(beside.iterdir()):
                os.replace(file, path / file.name)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            with suppress(OSError):  # what was there before, or has moved in already, stays
                for folder in made:
                    folder.rmdir()
            raise
        shutil.rmtree(beside, ignore_errors=True)
