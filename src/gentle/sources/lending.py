"""Lending: rows in memory in a file that workers on this machine map, so that none travel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import time

import polars as pl
from scipy.sparse import csr_array

from gentle.errors import GentleError, first_line
from gentle.forking import reject_lost_pool
from gentle.sources.arrays import Arrays
from gentle.sources.files import Files, scanned
from gentle.sources.frames import Frame
from gentle.sources.named import Named
from gentle.sources.plan import Plan
from gentle.sources.shifted import Shifted
from gentle.sources.source import Source
from gentle.sources.subset import Subset

MEMORY = Path("/dev/shm")  # files in memory, where the system has them
PREFIX = "gentle-rows-"
NEW = 60  # seconds, within which a folder may not yet be locked


@contextmanager
def lent(source: Source) -> Iterator[Source]:
    """The same rows, as another process reads them without their being sent to it."""
    where = MEMORY if os.access(MEMORY, os.W_OK) else None
    with (
        TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=where) as folder,
        nullcontext() if where is None else _held(where, folder),
    ):
        yield _lent(source, Path(folder))


@contextmanager
def _held(where: Path, folder: str) -> Iterator[None]:
    """A folder in memory that is locked while it is lent; those that nobody locks any more are removed."""
    from fcntl import LOCK_EX, LOCK_NB, flock

    def locked(path: str | Path) -> int:
        handle = os.open(path, os.O_RDONLY)
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        return handle

    own = locked(folder)
    try:
        for left in where.glob(f"{PREFIX}*"):
            with suppress(OSError):
                if time() - left.stat().st_mtime > NEW:
                    handle = locked(left)
                    rmtree(left)
                    os.close(handle)
        yield
    finally:
        os.close(own)


def _lent(source: Source, folder: Path) -> Source:
    if isinstance(source, Subset | Shifted):
        return replace(source, source=_lent(source.source, folder))
    if isinstance(source, Named):
        return _lent(source.source, folder)
    if isinstance(source, Frame):
        return _written(source.frame, source, folder)
    if isinstance(source, Arrays) and not isinstance(source.x, csr_array):
        columns = dict(zip(source.names, source.x.T, strict=True))
        beside = {**source.other, **source.labels}
        return _written(pl.DataFrame({**columns, **beside}), source, folder)
    if isinstance(source, Plan) and isinstance(source.reader, Files):
        return replace(source, reader=source.reader.anywhere())
    return source  # sparse parts are sent


def _written(frame: pl.DataFrame, source: Source, folder: Path) -> Plan:
    reject_lost_pool()
    path = folder / "rows.arrow"
    kept = [
        name for name, dtype in frame.schema.items() if dtype != pl.Object
    ]  # no fit takes others
    try:
        frame.select(kept).write_ipc(path)
    except OSError as error:
        raise GentleError(
            f"rows in memory reach other processes through a file, and {folder.parent} does not hold it "
            f"({first_line(error)}): make room there, take engine='threads', or give a file"
        ) from None
    return scanned([path], source.name, lent=True)
