"""Executors of Spark: blocks of parts are rows of a DataFrame, and so is what comes of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from cloudpickle import dumps, loads

from gentle.engines.engine import BLOCKS_PER_WORKER, Done, P, S, blocks, silent, tree
from gentle.engines.pooled import ATTEMPTS, WORKER, cores
from gentle.engines.telling import Told, heard, second, told, told_together
from gentle.errors import GentleError, first_line

BRANCH = 8  # sums that merge at a time: a branch of the tree
FOUND = "at long, found binary"


@dataclass(frozen=True)
class Spark:
    """A session of Spark; without one that which is active, or one that is made here.

    A task whose executor is lost is run again by Spark, as often as spark.task.maxFailures says; how long
    one may take is for Spark's settings too. The executors merge until a few blocks are left.
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
        join = told_together(merge)
        found: Told[S] = tree(_results(session, tasks, join), join)
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


def _results(
    session: Any, tasks: Sequence[tuple[Any, ...]], merge: Callable[[Any, Any], Any] | None = None
) -> list[Told[Any]]:
    """What comes of tasks, in their order, each of which is a partition of its own.

    With `merge` neighbours are merged, as many as `BRANCH` at a time, until they are no more than that.

    Raises GentleError as the tasks do, and for executors that are lost too often.
    """
    rows = [(at, dumps(task)) for at, task in enumerate(tasks)]
    with _in_sentences():
        frame = session.createDataFrame(rows, "at long, task binary")
        spread = frame.repartitionByRange(len(rows), "at")
        found_in = spread.mapInArrow(_worked, FOUND)
        left = len(rows)
        while merge is not None and left > BRANCH:
            left = -(-left // BRANCH)
            branches = found_in.repartition(left, (found_in["at"] / BRANCH).cast("long"))
            found_in = branches.mapInArrow(partial(_joined, merge), FOUND)
        came = found_in.collect()
    found = {row["at"]: loads(row["found"]) for row in came}
    for result in found.values():
        if isinstance(result, Exception):
            raise result
    return [found[at] for at in sorted(found)]


def _worked(batches: Iterable[Any]) -> Iterator[Any]:
    """The tasks of a partition, worked on; what they raise goes back as it is, not as Spark tells it."""
    from pyarrow import RecordBatch, array

    for batch in batches:
        for at, task in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            try:
                found: Any = told(*loads(task))
            except Exception as error:
                found = error
            yield RecordBatch.from_arrays([array([at]), array([dumps(found)])], ["at", "found"])


def _joined(merge: Callable[[Any, Any], Any], batches: Iterable[Any]) -> Iterator[Any]:
    """The neighbours of a partition, merged branch by branch."""
    from pyarrow import RecordBatch, array

    found: dict[int, list[Any]] = {}
    both = (row for batch in batches for row in zip(*batch.to_pydict().values(), strict=True))
    for at, result in sorted(both):
        found.setdefault(at // BRANCH, []).append(loads(result))
    for branch, results in found.items():
        failed = [result for result in results if isinstance(result, Exception)]
        try:
            merged = failed[0] if failed else tree(results, merge)
        except Exception as error:
            merged = error
        yield RecordBatch.from_arrays([array([branch]), array([dumps(merged)])], ["at", "found"])


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
            f"Spark did not finish a pass ({_reason(error)}); where executors were lost they were "
            "often out of memory: take more and smaller parts (parts=), or look at Spark's own pages"
        ) from None


def _reason(error: Exception) -> str:
    java = getattr(error, "java_exception", None)
    return first_line(error if java is None else RuntimeError(java.toString()))


def _own_session() -> Any:
    """A session of this machine's cores, which ends with this process."""
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(f"local[{cores()},{ATTEMPTS}]").appName("gentle")
    settings = {f"spark.executorEnv.{name}": value for name, value in WORKER.items()}
    quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
    for name, value in {**settings, **quiet}.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except PySparkException as error:
        raise GentleError(
            f"Spark does not start here ({first_line(error)}): it needs Java, 17 or later"
        ) from None
