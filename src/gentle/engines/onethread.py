"""One thread of arithmetic for a while, whoever else asks for the same."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


class OneThread:
    """The first to enter limits BLAS to one thread, and the last to leave lifts that.

    Each for itself would restore what another had set.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limiter = _controller().limit(limits=1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limiter.restore_original_limits()


ONE_THREAD = OneThread()


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
