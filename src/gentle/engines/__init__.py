"""Engines. To add one: a file with a class of the methods of `Engine`, and its line in `opening`.

They know nothing of rows: parts, work and results are whatever they are given.
"""

from gentle.engines.dask import Dask
from gentle.engines.engine import Engine
from gentle.engines.here import Here
from gentle.engines.numbered import over_all
from gentle.engines.opening import ENGINES, open_engine
from gentle.engines.pooled import Executor, Processes, Threads
from gentle.engines.ray import Ray
from gentle.engines.spark import Spark
from gentle.engines.torchrun import Torchrun
from gentle.engines.watching import Watched, unwatched

__all__ = [
    "ENGINES",
    "Dask",
    "Engine",
    "Executor",
    "Here",
    "Processes",
    "Ray",
    "Spark",
    "Threads",
    "Torchrun",
    "Watched",
    "open_engine",
    "over_all",
    "unwatched",
]
