"""Writing files whole or not at all: beside their place first, then renamed into it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gentle.errors import GentleError


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` if all goes well and vanishes if not.

    What was there before stays until then, and leaves its mode; a new file has that of the umask.
    A link is followed.

    Raises GentleError where nothing can be written there, or the disk is full.
    """
    refuse_place(path)
    whole = Path(os.path.realpath(path))
    beside = whole.with_name(f".{whole.name}.{os.getpid()}.part")
    try:
        beside.touch()  # with the mode of a new file, whatever those who write make of it
        mode = (whole if whole.exists() else beside).stat().st_mode & 0o7777
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())  # or the name may be on the disk before what it names
        beside.chmod(mode)
        os.replace(beside, whole)
    except OSError as error:
        raise GentleError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            beside.unlink()


def refuse_place(path: Path) -> None:
    """Raises GentleError where a file cannot stand: no folder, or something there that is no file."""
    if path.is_dir():
        raise GentleError(f"{path} is a directory: name a file in it")
    if path.exists() and not path.is_file():
        raise GentleError(f"{path} is no file, and would be replaced by one: name another")
    if not path.parent.is_dir():
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
    except OSError as error:
        raise GentleError(f"nothing can be written to {path}: {error.strerror or error}") from None
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
