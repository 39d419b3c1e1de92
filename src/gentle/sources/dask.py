"""A Dask DataFrame: its partitions are computed where they are read, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, ClassVar

import numpy as np

from gentle.errors import GentleError, first_line
from gentle.sources.batches import Again, Batches
from gentle.sources.frames import Frame
from gentle.sources.kinds import is_a
from gentle.sources.source import Chunk, Schema, bounds

Opener = Callable[[Any], Frame]  # of a pandas frame, or of one of polars
Key = str | tuple[str, int]
Graph = Mapping[Key, Any]  # what leads to a partition, by the keys of Dask


@dataclass(frozen=True, eq=False)
class Partitions:
    """Partitions under each other. A part is some of them whole, with what it takes to compute them."""

    graph: Graph
    keys: tuple[Key, ...]  # of the partitions
    opened: Opener
    head: Frame  # no rows, of the columns that all partitions need
    counted: Any  # the rows of each partition: numbers, or what Dask computes them from
    start: int = 0  # where the first row stands in the whole
    stop: int | None = None  # and the one after the last, where it is known
    name: str = "the Dask DataFrame"
    seeks: ClassVar[bool] = True
    divides: ClassVar[bool] = True
    sparse: ClassVar[bool] = False
    replayable: ClassVar[bool] = True

    def schema(self) -> Schema:
        return self.head.schema()

    @property
    def index(self) -> tuple[str, ...]:
        return self.head.index

    def height(self) -> int:
        return sum(self._heights) if self.stop is None else self.stop - self.start

    def scan(self, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        at = self.start
        for numbers, table in self._batches.scan(columns, rows):
            yield Chunk(self.start + numbers, table)
            at += len(numbers)
        if self.stop not in (None, at):
            raise GentleError(
                f"{self.name} had {self.height():,} rows in some of its partitions when they were counted, "
                f"and has {at - self.start:,} now: keep what it reads as it is, or persist it"
            )

    def split(self, parts: int) -> Sequence[Partitions]:
        """Runs of whole partitions of about even height; where parts are many, some have none."""
        if parts == 1:
            return [self]
        edges = np.array([0, *accumulate(self._heights)])
        wanted = [a for a, _ in bounds(int(edges[-1]), parts)][1:]
        cuts = [0, *(int(np.abs(edges - row).argmin()) for row in wanted), len(self.keys)]
        return [self._part(a, b, edges) for a, b in pairwise(cuts)]

    def _part(self, a: int, b: int, edges: Any) -> Partitions:
        keys = self.keys[a:b]
        return replace(
            self,
            graph=_culled(self.graph, keys),
            keys=keys,
            counted=self._heights[a:b],
            start=self.start + int(edges[a]),
            stop=self.start + int(edges[b]),
        )

    def _tables(self) -> Iterator[Any]:
        yield self.head
        for key in self.keys:
            yield _computed(self.graph, key)

    @cached_property
    def _batches(self) -> Batches:
        return Batches(Again(self._tables), self.opened, self.name)

    @cached_property
    def _heights(self) -> tuple[int, ...]:
        from dask.base import compute

        return tuple(map(int, compute(self.counted)[0]))


def is_partitioned(data: Any) -> bool:
    """Whether this is a Dask DataFrame."""
    return is_a(data, "dask.dataframe.DataFrame")


def partitions(frame: Any, opened: Opener) -> Partitions:
    """The rows of a Dask DataFrame, whose partitions are opened as pandas frames are.

    Categories that are not known before the partitions are computed are taken as texts.
    """
    texts = [
        name
        for name, dtype in frame.dtypes.items()
        if dtype == "category" and not frame[name].cat.known
    ]
    frame = frame.astype(dict.fromkeys(texts, "string"))
    optimised = frame.optimize()
    graph, keys = dict(optimised.__dask_graph__()), tuple(optimised.__dask_keys__())
    first = opened(_computed(graph, keys[0]))
    head = replace(first, frame=first.frame.clear(), row_labels=None)
    counted = frame.map_partitions(len, meta=(None, int))
    return Partitions(graph, keys, opened, head, counted)


def _culled(graph: Graph, keys: Sequence[Key]) -> Graph:
    from dask.optimization import cull

    found: Graph = cull(graph, list(keys))[0]
    return found


def _computed(graph: Graph, key: Key) -> Any:
    """A partition, in this thread; raises GentleError where it cannot be had."""
    from dask.local import get_sync

    needed = _gathered(_culled(graph, [key]))
    try:
        return get_sync(needed, key)
    except Exception as error:  # whatever the user's own functions raise
        raise GentleError(
            f"a partition of the Dask DataFrame cannot be computed: {first_line(error)}"
        ) from error


def _gathered(graph: Graph) -> Graph:
    """The graph with what workers of Dask hold for it, as they do after persist()."""
    promised = {key: task for key, task in graph.items() if is_a(task, "distributed.Future")}
    if any(promise.client is None for promise in promised.values()):
        return {**graph, **_fetched(promised)}
    return {**graph, **{key: promise.result() for key, promise in promised.items()}}


def _fetched(promised: Mapping[Key, Any]) -> dict[Key, Any]:
    """What other workers of Dask hold, fetched by the one that runs this."""
    from distributed import Future, worker_client

    try:
        with worker_client() as client:
            each: dict[Key, Any] = {
                key: Future(promise.key, client) for key, promise in promised.items()
            }
            found: dict[Key, Any] = client.submit(dict, each, pure=False).result()
            return found
    except ValueError:
        raise GentleError(
            "the partitions of the Dask DataFrame are held by workers of Dask since persist(): take "
            "engine='dask', or 'here' or 'threads' in the process that did so, or do not persist"
        ) from None
