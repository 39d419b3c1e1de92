"""Estimability: which rows a rank-deficient fit can predict.

Where columns are combinations of others, least squares has many minimisers. They agree on a row x only if
x satisfies the same linear relations as the rows of the fit, that is if x lies in their row space; any
other prediction depends on how the coefficients were chosen (Searle 1971, Linear Models, chapter 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from gentle.batch import Batch
from gentle.exact import Exact, Truths
from gentle.problem import Dependent
from gentle.sparse import written_out
from gentle.statistics import EPSILON, Score

Unestimable = Literal["nan", "raise", "predict"]

TOLERANCE = 1e-6  # departure from a relation that matters, in units of its least term
SAFETY = 64  # times the departures of the rows of the fit, and the rounding of a row's own values


@dataclass(frozen=True, eq=False)
class RowSpace:
    """The relations that hold in all rows of a rank-deficient fit: column = constant + combination."""

    exact: Exact
    relations: Mapping[str, str]  # dependent column -> its combination in words, in order

    def departures(self, x: Any) -> Truths:
        """Which rows x (n, p) violate which of the m relations, (n, m).

        A departure counts beyond a millionth of what the least of the columns contributes to the relation,
        and beyond what the rows of the fit themselves depart by, which grows with the distance from
        their center, and rounding.
        """
        x = written_out(x)
        dependent = self.exact.problem.dependent
        matrix, constant = np.zeros((x.shape[1], len(dependent))), np.zeros(len(dependent))
        for i, relation in enumerate(dependent):
            matrix[relation.column, i] = 1.0
            matrix[list(relation.on), i] = -np.array(relation.slopes)
            constant[i] = relation.constant
        least = np.array([_least_contribution(relation) for relation in dependent])
        noise = np.array([relation.nearness * relation.scale for relation in dependent])
        with np.errstate(over="ignore", invalid="ignore"):
            _, z = self.exact.fitted.see(x)
            distance = np.sqrt(1 + self.exact.total * (z**2).sum(axis=1))
            rounding = EPSILON * (np.abs(x) @ np.abs(matrix) + np.abs(constant))
            allowed = TOLERANCE * least + SAFETY * (np.outer(distance, noise) + rounding)
            return np.asarray(~(np.abs(x @ matrix - constant) <= allowed))

    def first_violated(self, departures: Truths) -> str:
        """The first relation that a row violates, in words, of its departures (m,)."""
        column, combination = list(self.relations.items())[int(departures.argmax())]
        return f"{column} = {combination}"


def _least_contribution(relation: Dependent) -> float:
    """The scale of the least term of a relation, the dependent column among them, beyond its rounding."""
    negligible = max(relation.nearness, 4 * EPSILON)
    shares = (abs(share) for share in relation.shares)
    return relation.scale * min((1.0, *(share for share in shares if share > negligible)))


@dataclass(frozen=True, eq=False)
class EstimableScore:
    """The score of the rows that a rank-deficient fit can predict, and how many it cannot."""

    row_space: RowSpace
    score: Score

    def add(self, batch: Batch) -> EstimableScore:
        keep = np.flatnonzero(~self.row_space.departures(batch.x.numpy()).any(axis=1))
        dropped = len(batch.y) - len(keep)
        score = self.score.add(batch if not dropped else batch.taken(keep))
        return replace(self, score=replace(score, n_unestimable=self.score.n_unestimable + dropped))

    def merge(self, other: EstimableScore) -> EstimableScore:
        return replace(self, score=self.score.merge(other.score))
