"""Telling: what far workers warn of is said here, once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock, local
from typing import Any, Generic

from cloudpickle import dumps, loads

from gentle.engines.engine import P, S, reduced
from gentle.errors import GentleWarning


@dataclass(frozen=True)
class Told(Generic[S]):
    """A result, and what was warned of on the way to it."""

    result: S
    warnings: tuple[GentleWarning, ...] = ()


def told(work: Callable[[P], S], parts: Sequence[P], merge: Callable[[S, S], S]) -> Told[S]:
    """Some parts, worked on by a worker whose warnings nobody sees."""
    try:
        with EARS.open() as caught:
            found = reduced(work, parts, merge)
    except Exception as error:
        failure = error
    else:
        own = {str(warning): warning for warning in caught if isinstance(warning, GentleWarning)}
        return Told(found, tuple(own.values()))
    raise _sendable(failure)


class Ears:
    """Warnings, each for the thread that gives it: `warnings.catch_warnings` is one for all of them."""

    def __init__(self) -> None:
        self._lock, self._open = Lock(), 0
        self._own = local()

    @contextmanager
    def open(self) -> Iterator[list[Warning | str]]:
        """What this thread warns of meanwhile."""
        caught: list[Warning | str] = []
        self._own.caught = caught
        with self._lock:
            if not self._open:
                self._outer = warnings.catch_warnings()
                self._outer.__enter__()
                self._show = warnings.showwarning
                warnings.simplefilter("always")
                warnings.showwarning = self._note
            self._open += 1
        try:
            yield caught
        finally:
            self._own.caught = None
            with self._lock:
                self._open -= 1
                if not self._open:
                    self._outer.__exit__(None, None, None)

    def _note(self, message: Warning | str, *where: Any, **more: Any) -> None:
        caught = getattr(self._own, "caught", None)
        if caught is None:
            self._show(message, *where, **more)
        else:
            caught.append(message)


EARS = Ears()


def _sendable(error: Exception) -> Exception:
    """The error as it can be sent: one that cannot ends the worker, and is never heard of."""
    if not _travels(error):
        error.__cause__ = error.__context__ = None
    return error if _travels(error) else RuntimeError(f"{type(error).__name__}: {error}")


def _travels(error: Exception) -> bool:
    try:
        loads(dumps(error))
    except Exception:
        return False
    return True


def told_together(merge: Callable[[S, S], S]) -> Callable[[Told[S], Told[S]], Told[S]]:
    """How two of them merge."""
    return partial(_together, merge)


def _together(merge: Callable[[S, S], S], one: Told[S], two: Told[S]) -> Told[S]:
    each = {str(warning): warning for warning in (*one.warnings, *two.warnings)}
    return Told(merge(one.result, two.result), tuple(each.values()))


def second(_: S, two: S) -> S:
    """How the results of one part merge: they do not."""
    return two


def heard(found: Told[S]) -> S:
    """The result, once its warnings are out."""
    for warning in found.warnings:
        warnings.warn(warning, stacklevel=4)
    return found.result
