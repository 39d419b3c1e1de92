"""Continuing: a descent goes on from where another one ended."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gentle.certificate import certify
from gentle.coefficients import starts
from gentle.driver import Watch, after, joined
from gentle.errors import GentleError, GentleWarning
from gentle.fitting import fit_rows
from gentle.given import rows_again
from gentle.result import Fit

SAME = 1e-9  # rows whose sums are nearer than this, in their own size, are taken to be the same


def continued(
    fits: Sequence[Fit],
    data: Any,
    limits: Mapping[str, float | None],
    watch: Watch | None,
    beside: Mapping[str, Any],
) -> tuple[Fit, ...]:
    """The fits after descents from where these ended, within new limits where these are not None.

    Raises GentleError for fits without a descent.
    """
    first = fits[0]
    if first.way is None:
        raise GentleError(
            "this fit is the exact answer, which no descent brings nearer: a fit with solver='sgd' or one "
            "of the textbook's rules can go on"
        )
    if len(fits) != len(first.design.targets):
        raise GentleError(
            f"this fit is one of {len(first.design.targets)} targets, which are fitted together: "
            "continue_ of their Fits goes on with all of them"
        )
    asked: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    choices = replace(first.choices, **asked)
    begin = [
        starts(one, one.names, (one.target,), intercept=one.design.intercept)[0] for one in fits
    ]
    seen = None if watch is None else _counting_on(first, watch)
    rows = rows_again(first.design, data, **beside)
    found = fit_rows(rows, choices, watch=seen, begin=begin)
    if not all(map(_same_rows, fits, found)):
        warnings.warn(
            f"the descent was on {first.n_rows:,.0f} rows and goes on with {found[0].n_rows:,.0f}, which "
            "are others: it starts from where it was, and its trace anew",
            GentleWarning,
            stacklevel=3,
        )
        return found
    return tuple(map(_with_trace_of, fits, found))


def _counting_on(one: Fit, watch: Watch) -> Watch:
    return lambda step: watch(after(one.trace, step))


def _same_rows(one: Fit, other: Fit) -> bool:
    """Whether two fits are of the same rows, as their number, their misfit and their answers say."""
    if (one.n_rows, one.answer.coef.shape) != (other.n_rows, other.answer.coef.shape):
        return False
    if abs(one.rss - other.rss) > SAME * max(one.rss, other.tss):
        return False
    apart = certify(one.answer, other.answer.coef[:, 0])
    floor = certify(other.answer, other.answer.coef[:, 0]).floor  # rounding may move both answers
    return bool(apart.within <= SAME**0.5 + 2 * (apart.floor + floor))


def _with_trace_of(one: Fit, found: Fit) -> Fit:
    assert found.way is not None
    return replace(found, way=replace(found.way, trace=joined(one.trace, found.trace)))
