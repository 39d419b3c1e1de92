"""Diagnostics: what each row that was fitted does to the fit."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from gentle import inference
from gentle.batch import Batch, Floats
from gentle.design import Rows
from gentle.errors import GentleError
from gentle.statistics import EPSILON

SAME = 1e-6  # of the squares: rounding is far below it, other rows are above it

if TYPE_CHECKING:
    from gentle.result import Fit


def influence(fit: Fit, source_rows: Rows, *, dfbetas: bool) -> Mapping[str, Floats]:
    """Measure -> (n,), one for each row that takes part, in one pass (Belsley, Kuh and Welsch 1980).

    `row` is where it stands in the data, from 0; then fitted, residual, leverage, standardized and
    studentized residuals, cooks_distance, dffits and covratio; and dfbetas_x of each x, where asked for.
    Leverage is that of one copy of a row.

    Raises GentleError under a ridge, and for rows that are not those of the fit.
    """
    if fit.l2:
        raise GentleError("influence is measured in standard errors, and a ridge has none")
    pieces = [_of_batch(fit, batch, dfbetas=dfbetas) for batch in source_rows]
    n_used = sum(len(piece["row"]) for piece in pieces)
    if n_used != fit.tally.n_used:
        raise GentleError(
            f"influence is that of the rows of the fit: {fit.tally.n_used:,} were used, and here are "
            f"{n_used:,}"
        )
    squares = sum(float(piece.pop("squares")) for piece in pieces)
    if abs(squares - fit.rss) > SAME * (fit.rss + EPSILON * fit.tss):
        raise GentleError(
            f"influence is that of the rows of the fit, whose residual sum of squares is {fit.rss:.6g}, "
            f"and that of these rows is {squares:.6g}"
        )
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return MappingProxyType(joined)


def _of_batch(fit: Fit, batch: Batch, *, dfbetas: bool) -> dict[str, Any]:
    fitted = fit.answer.fitted
    rows = fitted.rows(batch)
    z = rows.numpy() @ fitted.root
    residual = fitted.residuals(batch, rows).numpy()[:, 0]
    weight = None if batch.weight is None else batch.weight.numpy()
    leverage = (z**2).sum(axis=1) if weight is None else weight * (z**2).sum(axis=1)
    measured = inference.influence(
        residual, leverage, fit.sigma, fit.df_resid, len(fit.answer.coef), weight
    )
    moved = {}
    if dfbetas:
        root = fit.placing.rows(fit.answer.basis)
        each = inference.dfbetas(z, root, measured.studentized, leverage, weight)
        moved = {f"dfbetas_{name}": each[:, at] for at, name in enumerate(fit.names)}
    mass = 1.0 if batch.mass is None else batch.mass.numpy()
    return {
        "squares": (mass * residual**2).sum(),
        "row": batch.rows,
        "fitted": batch.y.numpy()[:, 0] - residual,
        "residual": residual,
        "leverage": leverage,
        **vars(measured),
        **moved,
    }
