"""Which engine is meant."""

from __future__ import annotations

from concurrent.futures import Executor as Pool
from typing import Any

from gentle.engines.dask import SCHEME, Dask
from gentle.engines.engine import Engine
from gentle.engines.here import Here
from gentle.engines.pooled import Executor, Processes, Threads, cores, refuse_forked
from gentle.engines.ray import Ray
from gentle.engines.spark import Spark
from gentle.engines.torchrun import Torchrun
from gentle.errors import GentleError, listed, near

ENGINES: dict[str, type[Any]] = {
    "here": Here,
    "threads": Threads,
    "processes": Processes,
    "dask": Dask,
    "torchrun": Torchrun,
    "ray": Ray,
    "spark": Spark,
}
COUNTED = {"threads": Threads, "processes": Processes}
MAX_WORKERS = 100_000


def open_engine(engine: Any) -> Engine:
    """The engine of a name, such as "threads" or "processes:4", of the address of a cluster, or around a
    pool of `concurrent.futures`.

    Raises GentleError for what is none of these.
    """
    if isinstance(engine, str):
        return _named(engine)
    if isinstance(engine, Pool):
        refuse_forked(engine)
        return Executor(engine, getattr(engine, "_max_workers", None) or cores())
    if isinstance(engine, Engine) and not isinstance(engine, type):
        return engine
    raise GentleError(
        "an engine is named by a text, or is a pool of concurrent.futures, and this is "
        f"{type(engine).__name__}"
    )


def _named(text: str) -> Engine:
    if text.startswith(SCHEME):
        return Dask(text)
    name, colon, workers = text.partition(":")
    if name not in ENGINES:
        raise GentleError(
            f"there is no engine '{text}': {near(name, [*ENGINES, SCHEME + 'host:8786'])}"
        )
    if not colon:
        found: Engine = ENGINES[name]()
        return found
    if name not in COUNTED or not 1 <= _number_of_workers(workers) <= MAX_WORKERS:
        raise GentleError(
            f"engine='{text}' is none: a number of workers stands in "
            f"{listed((f'{each}:4' for each in COUNTED), 'or')}"
        )
    counted: Engine = COUNTED[name](int(workers))
    return counted


def _number_of_workers(text: str) -> int:
    """A number of workers; 0 for what is none, or has more digits than any."""
    return int(text) if text.isdecimal() and len(text) <= len(str(MAX_WORKERS)) else 0
