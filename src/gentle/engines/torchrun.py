"""The ranks of torch.distributed, which all run the same program: each has some parts, and all gather."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, ClassVar

import torch.distributed as ranks

from gentle.engines.engine import BLOCKS_PER_WORKER, Done, P, S, blocks, reduced, silent, tree
from gentle.errors import GentleError, first_line


@dataclass(frozen=True)
class Torchrun:
    """Every rank has the same rows and asks for the same passes, and every one gets the result.

    Sums are gathered, not added up by the backend, since a merge is no plain sum. They are float64 numbers
    of the processor, so they go through gloo, also where the ranks' tensors go through NCCL.
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
        runs = blocks(parts, BLOCKS_PER_WORKER * ranks.get_world_size(group))
        found = _of_all(lambda run: reduced(work, run, merge, done), runs, group)
        return tree(found, merge)

    def map(self, work: Callable[[P], S], parts: Sequence[P]) -> Iterator[S]:
        group = _group(self.deadline)
        many = BLOCKS_PER_WORKER * ranks.get_world_size(group)
        for at in range(0, len(parts), many):
            yield from _of_all(work, parts[at : at + many], group)


def _of_all(work: Callable[[P], S], parts: Sequence[P], group: Any) -> list[S]:
    """The results of the parts in their order, each from the rank whose turn it was.

    What one rank raises all of them raise: one that waited for it would wait for ever.
    """
    rank, n_ranks = ranks.get_rank(group), ranks.get_world_size(group)
    done: dict[int, S] = {}
    failure: Exception | None = None
    try:
        done = {at: work(parts[at]) for at in range(rank, len(parts), n_ranks)}
    except Exception as error:
        failure = error
    gathered: list[Any] = [None] * n_ranks
    try:
        ranks.all_gather_object(gathered, (len(parts), done, failure), group)
    except RuntimeError as error:
        raise GentleError(
            f"another rank went away or did not answer in the middle of a pass ({first_line(error)}): "
            "look at its output, and start all of them again"
        ) from None
    for _, _, theirs in gathered:
        if theirs is not None:
            raise theirs
    if {n for n, _, _ in gathered} != {len(parts)}:
        raise GentleError(
            "the ranks are not at the same pass: each needs the same rows and the same call of gentle, "
            "without what differs from one to another, such as time_limit="
        )
    found = {at: result for _, theirs, _ in gathered for at, result in theirs.items()}
    return [found[at] for at in range(len(parts))]


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
