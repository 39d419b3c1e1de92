"""Executors of Spark: blocks of parts are rows of a DataFrame, and so is what comes of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from cloudpickle import dumps, loads

from gentle.engines.engine import BLOCKS_PER_WORKER, Done, P, S, blocks, silent, tree
from gentle.engines.pooled import ATTEMPTS, WORKER, cores
from gentle.engines.telling import Told, heard, second, told, told_together
from gentle.errors import GentleError, first_line


@dataclass(frozen=True)
class Spark:
    """A session of Spark; without one that which is active, or one that is made here.

    A task whose executor is lost is run again by Spark, as often as spark.task.maxFailures says; how long
    one may take is for Spark's settings too. The blocks merge in this process.
    """

    session: Any = None  # pyspark.sql.SparkSession
    near: ClassVar[bool] = False

    def reduce(
        self,
        work: Callable[[P], S],
        parts: Sequence[P],
        merge: Callable[[S, S], S],
        done: Done = silent,
    ) -> S:
        session = self._session()
        tasks = [(work, block, merge) for block in blocks(parts, _most(session))]
        found: Told[S] = tree(_results(session, tasks), told_together(merge))
        done(len(parts))
        return heard(found)

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        session = self._session()
        most = _most(session)
        for at in range(0, len(parts), most):
            tasks = [(work, [part], second) for part in parts[at : at + most]]
            yield from map(heard, _results(session, tasks))

    def _session(self) -> Any:
        try:
            from pyspark.sql import SparkSession
        except ImportError:
            raise GentleError(
                "engine='spark' needs pyspark, which is not here: pip install 'gentle-linear[spark]'"
            ) from None
        return self.session or SparkSession.getActiveSession() or _own_session()


def _results(session: Any, tasks: Sequence[tuple[Any, ...]]) -> list[Told[Any]]:
    """What comes of tasks, in their order, each of which is a partition of its own.

    Raises GentleError as the tasks do, and for executors that are lost too often.
    """
    rows = [(at, dumps(task)) for at, task in enumerate(tasks)]
    with _in_sentences():
        frame = session.createDataFrame(rows, "at long, task binary")
        spread = frame.repartitionByRange(len(rows), "at")
        came = spread.mapInArrow(_worked, "at long, found binary").collect()
    found = {row["at"]: loads(row["found"]) for row in came}
    for result in found.values():
        if isinstance(result, GentleError):
            raise result
    return [found[at] for at in sorted(found)]


def _worked(batches: Iterable[Any]) -> Iterator[Any]:
    """The tasks of a partition, worked on; a GentleError goes back as it is, not as Spark tells it."""
    from pyarrow import RecordBatch, array

    for batch in batches:
        for at, task in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            try:
                found: Any = told(*loads(task))
            except GentleError as error:
                found = error
            yield RecordBatch.from_arrays([array([at]), array([dumps(found)])], ["at", "found"])


def _most(session: Any) -> int:
    """How many blocks of parts are handed in at a time."""
    return BLOCKS_PER_WORKER * max(1, int(session.sparkContext.defaultParallelism))


@contextmanager
def _in_sentences() -> Iterator[None]:
    """What Spark raises where a job does not end well, as GentleError."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException, ConnectionError) as error:
        raise GentleError(
            f"Spark did not finish a pass ({_told_by(error)}); where executors were lost they were "
            "often out of memory: take more and smaller parts (parts=), or look at Spark's own pages"
        ) from None


def _told_by(error: Exception) -> str:
    java = getattr(error, "java_exception", None)
    return first_line(error if java is None else RuntimeError(java.toString()))


@cache
def _own_session() -> Any:
    """A session of this machine's cores, which ends with this process."""
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(f"local[{cores()},{ATTEMPTS}]").appName("gentle")
    settings = {f"spark.executorEnv.{name}": value for name, value in WORKER.items()}
    silent = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
    for name, value in {**settings, **silent}.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except PySparkException as error:
        raise GentleError(
            f"Spark does not start here ({first_line(error)}): it needs Java, 17 or later"
        ) from None
