"""Lending: rows in memory in a file that workers on this machine map, so that none travel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from scipy.sparse import csr_array

from gentle.sources.arrays import Arrays
from gentle.sources.files import Files, scanned
from gentle.sources.frames import Frame
from gentle.sources.plan import Plan
from gentle.sources.source import Source
from gentle.sources.subset import Subset

MEMORY = Path("/dev/shm")  # files in memory, where the system has them


@contextmanager
def lent(source: Source) -> Iterator[Source]:
    """The same rows, as another process reads them without their being sent to it."""
    where = MEMORY if os.access(MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix=f"gentle-{os.getpid()}-", dir=where) as folder:
        yield _lent(source, Path(folder))


def _lent(source: Source, folder: Path) -> Source:
    if isinstance(source, Subset):
        return replace(source, source=_lent(source.source, folder))
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
    path = folder / "rows.arrow"
    frame.write_ipc(path)
    return scanned([path], source.name, lent=True)
