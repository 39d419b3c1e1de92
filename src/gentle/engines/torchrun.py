"""The ranks of torch.distributed, which all run the same program: each has some parts, all get the sum."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import Any, ClassVar

import torch.distributed as ranks

from gentle.engines.engine import BLOCKS_PER_WORKER, Done, P, S, blocks, reduced, silent, tree
from gentle.errors import GentleError, first_line


@dataclass(frozen=True)
class Torchrun:
    """Every rank has the same rows and asks for the same passes, and every one gets the result.

    Sums are merged by the ranks in the tree, not added up by the backend, since a merge is no plain sum.
    They are float64 numbers of the processor, so they go through gloo, also where the ranks' tensors go
    through NCCL.
    """

    deadline: float | None = (
        None  # seconds for which a rank waits for the others; by default 30 minutes
    )
    near: ClassVar[bool] = True

    def reduce(
        self,
        work: Callable[[P], S],
        parts: Sequence[P],
        merge: Callable[[S, S], S],
        done: Done = silent,
    ) -> S:
        group = _group(self.deadline)
        rank, n_ranks = ranks.get_rank(group), ranks.get_world_size(group)
        runs = blocks(parts, BLOCKS_PER_WORKER * n_ranks)
        owners = [at * n_ranks // len(runs) for at in range(len(runs))]  # neighbours merge at home
        found: dict[int, S] = {}

        def own() -> None:
            for at, run in enumerate(runs):
                if owners[at] == rank:
                    found[at] = reduced(work, run, merge, done)

        _by_all(own, len(parts), group)
        nodes = [_Node(owner, found.get(at)) for at, owner in enumerate(owners)]
        with _in_sentences():
            whole = tree(nodes, partial(_joined, merge, group))
            told = [whole.value]
            ranks.broadcast_object_list(told, whole.rank, group)
        if isinstance(told[0], Exception):
            raise told[0]
        result: S = told[0]
        return result

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        group = _group(self.deadline)
        rank, n_ranks = ranks.get_rank(group), ranks.get_world_size(group)
        for at in range(0, len(parts), many := BLOCKS_PER_WORKER * n_ranks):
            some = parts[at : at + many]
            own = partial(_each, work, some[rank::n_ranks])
            found = _by_all(own, len(parts), group)
            yield from (found[at % n_ranks][at // n_ranks] for at in range(len(some)))


@dataclass(frozen=True)
class _Node:
    """A sum, or what was raised instead of it: known to the rank that has it."""

    rank: int
    value: Any = None


def _joined(merge: Callable[[Any, Any], Any], group: Any, one: _Node, two: _Node) -> _Node:
    """The two merged, where the first one is. Every rank comes by here, in the same order."""
    rank = ranks.get_rank(group)
    if rank == two.rank != one.rank:
        ranks.send_object_list([two.value], one.rank, group)
    if rank != one.rank:
        return _Node(one.rank)
    came = [two.value]
    if two.rank != rank:
        ranks.recv_object_list(came, two.rank, group)
    for value in (one.value, *came):
        if isinstance(value, Exception):
            return _Node(rank, value)
    try:
        return _Node(rank, merge(one.value, *came))
    except Exception as error:  # the other ranks wait for something
        return _Node(rank, error)


def _each(work: Callable[[P], S], parts: Sequence[P]) -> list[S]:
    return [work(part) for part in parts]


def _by_all(work: Callable[[], S], n_parts: int, group: Any) -> list[S]:
    """What the work of each rank gives, by rank.

    What one rank raises all of them raise: one that waited for it would wait for ever.
    """
    found = failure = None
    try:
        found = work()
    except Exception as error:
        failure = error
    gathered: list[Any] = [None] * ranks.get_world_size(group)
    with _in_sentences():
        ranks.all_gather_object(gathered, (n_parts, found, failure), group)
    for _, _, theirs in gathered:
        if theirs is not None:
            raise theirs
    if {n for n, _, _ in gathered} != {n_parts}:
        raise GentleError(
            "the ranks are not at the same pass: each needs the same rows and the same call of gentle, "
            "without what differs from one to another, such as time_limit="
        )
    return [theirs for _, theirs, _ in gathered]


@contextmanager
def _in_sentences() -> Iterator[None]:
    """What a group raises whose ranks do not answer, as GentleError."""
    try:
        yield
    except RuntimeError as error:
        raise GentleError(
            f"another rank went away or did not answer in the middle of a pass ({first_line(error)}): "
            "look at its output, and start all of them again"
        ) from None


@cache
def _group(deadline: float | None) -> Any:
    """The group of all ranks that gathers through gloo."""
    timeout = None if deadline is None else timedelta(seconds=deadline)
    if not ranks.is_initialized():
        if "RANK" not in os.environ:
            raise GentleError(
                "engine='torchrun' works among the ranks that torchrun starts: "
                "torchrun --nproc-per-node 4 your_script.py"
            )
        ranks.init_process_group("gloo", timeout=timeout)
        atexit.register(ranks.destroy_process_group)
    return ranks.new_group(backend="gloo", timeout=timeout)
