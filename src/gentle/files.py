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
    """A path to write to, which becomes `path` if all goes well and vanishes if not."""
    beside = path.with_name(f".{path.name}.part")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


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
