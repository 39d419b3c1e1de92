"""Where rows go: frames like those that came in, and files, written batch by batch.

To add a format: its line in `SINKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Lock
from typing import Any

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from gentle.batch import Floats
from gentle.errors import GentleError, first_line, listed
from gentle.files import written
from gentle.forking import reject_lost_pool
from gentle.sources import Chunk, Matrix, Schema, is_a, is_table

AHEAD = 2  # frames that wait to be written
PATIENCE = 0.1  # seconds between looks at whether a sink has ended

SINKS: dict[str, Callable[..., Any]] = {
    ".csv": pl.LazyFrame.sink_csv,
    ".parquet": pl.LazyFrame.sink_parquet,
    ".arrow": pl.LazyFrame.sink_ipc,
    ".ipc": pl.LazyFrame.sink_ipc,
    ".feather": pl.LazyFrame.sink_ipc,
    ".ndjson": pl.LazyFrame.sink_ndjson,
    ".jsonl": pl.LazyFrame.sink_ndjson,
}


def write_file(path: Path, frames: Iterator[pl.DataFrame], schema: Schema) -> None:
    """Write frames of one schema to a file, whole or not at all, in memory that does not grow with them.

    Raises GentleError for an ending that says no format, and where the file cannot be written.
    """
    reject_lost_pool()
    sink = SINKS.get(path.suffix.lower())
    if sink is None:
        raise GentleError(
            f"{path} must end in {listed(SINKS, 'or')}: the ending says how it is written"
        )
    with written(path) as beside:
        try:
            _pour(frames, partial(sink, path=beside), schema)
        except pl.exceptions.PolarsError as error:
            raise GentleError(f"{path} cannot be written: {first_line(error)}") from None


def _pour(
    frames: Iterator[pl.DataFrame], sink: Callable[[pl.LazyFrame], Any], schema: Schema
) -> None:
    """Hand frames to a sink in a thread of its own, a few ahead of what it has taken.

    They are made here: polars would make them in threads whose memory, once it is in pieces, is not
    given back.
    """
    ahead: Queue[pl.DataFrame | None] = Queue(AHEAD)
    writing, cancelled = Lock(), Event()
    ended = Event()  # however this function ends, also by a signal at any point of it

    def taken(*_: Any) -> Iterator[pl.DataFrame]:
        while True:
            try:
                frame = ahead.get(timeout=PATIENCE)
            except Empty:
                if ended.is_set():
                    return
                continue
            if frame is None:
                return
            yield frame

    def work() -> None:
        with writing:
            if not cancelled.is_set():
                sink(register_io_source(taken, schema=pl.Schema(schema)))

    with ThreadPoolExecutor(1) as thread:
        try:
            sinking = thread.submit(work)
            for frame in frames:
                while not sinking.done():  # it may have failed, and take no more
                    with suppress(Full):
                        ahead.put(frame, timeout=PATIENCE)
                        break
                if sinking.done():
                    break
        except BaseException:
            cancelled.set()
            raise
        finally:
            ended.set()
            with suppress(Full):
                ahead.put_nowait(None)
            if cancelled.is_set():
                with writing:  # a signal may have hidden from the executor a thread that it started
                    pass
        sinking.result()


def as_columns(names: Sequence[str], numbers: Floats) -> pl.DataFrame:
    """Numbers (n, m) as columns of these names (m,); null where there is none."""
    columns = {name: numbers[:, at] for at, name in enumerate(names)}
    return pl.DataFrame(columns, schema=dict.fromkeys(names, pl.Float64), nan_to_null=True)


def chosen(chunk: Chunk, columns: Sequence[str]) -> Chunk:
    """A chunk with some of its columns, where they have names."""
    if isinstance(chunk.table, Matrix):
        return chunk
    return chunk._replace(table=chunk.table.select(columns))


def appended(chunk: Chunk, columns: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The columns of a chunk, which are to be of these types, with others after them.

    Raises GentleError for one of an array, whose columns have no names, and for other types.
    """
    if isinstance(chunk.table, Matrix):
        raise GentleError("append keeps the columns of a frame or a file, and this is an array")
    for name, dtype in chunk.table.schema.items():
        if dtype != schema[name]:
            raise GentleError(
                f"append keeps the columns as they are, and '{name}' holds {schema[name]} in the first "
                f"rows and {dtype} later: give it one type"
            )
    return chunk.table.hstack(columns)


def is_frame(data: Any) -> bool:
    """Whether data are a table of named columns in memory, which `like` answers in kind."""
    return isinstance(data, pl.LazyFrame) or is_table(data)


def keeps_columns(data: Any) -> bool:
    """Whether `like` adds columns to a table as it is, so that none of its own need be read."""
    return is_a(data, "pandas.DataFrame", "pyarrow.Table")


def column_names(data: Any) -> list[Any]:
    """The names of the columns of a table that keeps them."""
    return list(data.columns if is_a(data, "pandas.DataFrame") else data.column_names)


def like(data: Any, frame: pl.DataFrame, added: Sequence[str], *, append: bool) -> Any:
    """A frame of the kind of `data` of the columns that were added, which stand in `frame`.

    With `append` they stand after those of the data, which `frame` has where `keeps_columns` is false.
    polars, pandas (with its index) and pyarrow are answered in kind, and anything else with polars,
    which speaks Arrow too.
    """
    if is_a(data, "pandas.DataFrame"):
        columns = {name: frame[name].to_numpy() for name in added}
        return (data if append else data[[]]).assign(**columns)
    if is_a(data, "pyarrow.Table"):
        table = frame.select(added).to_arrow()
        if not append:
            return table
        for name in added:
            data = data.append_column(name, table[name])
        return data
    return frame.lazy() if isinstance(data, pl.LazyFrame) else frame


def measures_like(data: Any, measures: Mapping[str, Any]) -> Any:
    """Measures (n,) of rows as a frame of the kind of `data`; pandas keeps the labels of these rows."""
    numbers = {name: values for name, values in measures.items() if name != "row"}
    frame = pl.DataFrame({"row": measures["row"]}).hstack(
        as_columns(list(numbers), np.column_stack(list(numbers.values())))
    )
    kind = type(data)
    package = kind.__module__.split(".")[0]
    if package == "pandas" and is_frame(data):
        columns = {name: frame[name].to_numpy() for name in frame.columns}
        return data.iloc[measures["row"]][[]].assign(**columns)
    return frame.to_arrow() if package == "pyarrow" and kind.__name__ == "Table" else frame


def stacked(frames: Sequence[pl.DataFrame], schema: Schema) -> pl.DataFrame:
    """Frames of one schema, one after the other."""
    return pl.concat(frames) if frames else pl.DataFrame(schema=dict(schema))


def refuse_clash(own: Sequence[str], added: Sequence[str], where: str) -> None:
    """Raises GentleError where rows have a column of a name that is to be appended."""
    if clash := [name for name in added if name in own]:
        raise GentleError(
            f"{where} has a column {listed(clash)} already, so none can be appended: rename it, or "
            "leave out append"
        )
