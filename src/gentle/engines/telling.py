"""Telling: what far workers warn of is said here, once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic

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
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = reduced(work, parts, merge)
    except Exception as error:
        failure = error
    else:
        own = {str(seen.message): seen.message for seen in caught}
        return Told(found, tuple(each for each in own.values() if isinstance(each, GentleWarning)))
    raise _sendable(failure)


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
