"""Rows that are met once: coefficients and intervals from one averaged stochastic pass.

The mathematics is in `averaging`, the law of the intervals in `inference`. Here rows in whatever pieces
they come become steps of a fixed number of rows, so that how they were cut changes nothing.
"""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from gentle import inference
from gentle.averaging import (
    LONGEST_OPENING,
    Path,
    Whitening,
    least_steps,
    opening_rows,
    rows_per_step,
)
from gentle.batch import INTERCEPT, Batch, Floats
from gentle.design import Design, Features, Rows, learn_design, refuse_lacking
from gentle.errors import CovarianceWarning, GentleError, listed, printable
from gentle.estimability import Unestimable
from gentle.layout import public_names
from gentle.levels import Unseen
from gentle.predicting import Asked, Kind, Written, predict, predict_to, refuse_level
from gentle.sieve import Missing
from gentle.sources import (
    Arrays,
    Source,
    comes_in_pieces,
    open_piece,
    open_source,
    pair_targets,
    pair_weights,
    with_columns,
    with_names,
)
from gentle.sources.frames import Frame
from gentle.statistics import Tally

if TYPE_CHECKING:
    import polars as pl

RANDOM_SCALING = "random-scaling"


INTERNAL = frozenset(  # attributes that other modules use
    [
        "centre",
        "default_unestimable",
        "explained",
        "heteroskedastic",
        "level",
        "predict_rows",
        "predict_x",
        "row_space",
        "scales",
        "tally",
    ]
)


@dataclass(frozen=True, eq=False, repr=False)
class OnePass:
    """What one stochastic pass found. Vectors are in the order of `names`, the constant first.

    The intervals are by random scaling (Lee, Liao, Seo and Shin 2022): they hold where the variance of
    the noise differs from row to row, and need rows in random order. They are wider than those of a fit
    that may read its rows again, by 30 % on average at 95 %.
    """

    design: Design
    names: tuple[str, ...]  # (q,)
    values: Floats  # (q,)
    scales: Floats  # (q,) what an error is divided by for the law of random scaling
    centre: Floats  # (p,) about which the level stands
    level: float  # the prediction is level + (x - centre)'slopes
    steps: int
    tally: Tally

    def __post_init__(self) -> None:
        for values in (self.values, self.scales, self.centre):
            values.flags.writeable = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # arrays come writable out of a pickle

    def __str__(self) -> str:
        return self.summary()

    def __dir__(self) -> list[str]:
        return public_names(self, INTERNAL)

    def __repr__(self) -> str:
        rows = f"{self.n_rows:,} rows met once"
        return f"<OnePass of {printable(self.target)}: {len(self.names)} coefficients, {rows}>"

    @property
    def target(self) -> str:
        """What is explained."""
        return self.design.targets[0]

    @property
    def n_rows(self) -> int:
        """Complete rows that came, those among them that are too few for one more step."""
        return self.tally.n_used

    @property
    def least_steps(self) -> int:
        """How many steps the intervals need: 400, and more beyond 20 coefficients."""
        return least_steps(len(self.names))

    @property
    def trustworthy(self) -> bool:
        """Whether there were steps enough for the law of the intervals."""
        return self.steps >= self.least_steps

    @property
    def references(self) -> Mapping[str, str]:
        """Column of text -> its reference level: the first that a row of the fit has."""
        return self.design.references

    @property
    def coef(self) -> Mapping[str, float]:
        """Name -> coefficient, the constant first, in the units of the data."""
        return MappingProxyType(dict(zip(self.names, map(float, self.values), strict=True)))

    @property
    def p_values(self) -> Mapping[str, float]:
        """Name -> two-sided probability of being so far from zero under a coefficient of zero."""
        found = inference.scaled_p_values(inference.t_values(self.values, self.scales))
        return MappingProxyType(dict(zip(self.names, map(float, found), strict=True)))

    def conf_int(self, level: float = 0.95) -> Mapping[str, tuple[float, float]]:
        """Name -> (low, high) by random scaling.

        Raises GentleError for a level that is not between 0 and 1.
        """
        half = inference.scaled_quantile(level) * self.scales
        pairs = zip(map(float, self.values - half), map(float, self.values + half), strict=True)
        return MappingProxyType(dict(zip(self.names, pairs, strict=True)))

    def predict(self, data: Any, *, append: bool = False, unseen: Unseen = "error") -> Any:
        """Predictions for the rows of a frame, a file or an array, (n,); nan where one is missing.

        See `Fit.predict`; intervals there are none.

        Raises GentleError for a column that is not there and for a level that the fit did not see.
        """
        return predict(self, data, None, Asked(append=append, unseen=unseen))

    def predict_to(
        self,
        data: Any,
        path: str | os.PathLike[str],
        *,
        append: bool = False,
        unseen: Unseen = "error",
    ) -> Written:
        """Write predictions to a file; see `Fit.predict_to`."""
        return predict_to(self, data, pathlib.Path(path), None, Asked(append=append, unseen=unseen))

    @property
    def explained(self) -> tuple[str, ...]:
        """The targets: one."""
        return (self.target,)

    def caveat(self, level: float | None) -> str:  # noqa: ARG002
        """What a reader of its predictions must know; see `predicting.Model.caveat`."""
        return ""

    row_space: ClassVar[None] = None  # rank is not known here
    default_unestimable: ClassVar[Unestimable] = "predict"
    heteroskedastic: ClassVar[bool] = False

    def predict_rows(self, features: Features, level: float | None, kind: Kind) -> Floats:  # noqa: ARG002
        """Predictions for rows of the design, as in `predicting.Model`."""
        refuse_level(level, "one pass")
        slopes = self.values[int(self.design.intercept) :]
        value = (features.x - self.centre) @ slopes + self.level + features.offset
        return np.asarray(value)[:, None, None]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file; see `Fit.save`."""
        from gentle.model_file import save

        save(self, path)

    def summary(self, level: float = 0.95) -> str:
        """The coefficients as a table of text, 80 columns wide, with intervals of that level."""
        from gentle.tables import as_text, one_pass_summary

        return as_text(one_pass_summary(self, level))

    def to_polars(self, level: float = 0.95) -> pl.DataFrame:
        """One row for each coefficient: name, coefficient, low, high and p."""
        from gentle.tables import one_pass_to_polars

        return one_pass_to_polars(self, level)


@dataclass(frozen=True, eq=False)
class Stream:
    """Rows of a design as they came: those that wait for a step, and the path of those before."""

    design: Design
    tally: Tally = field(default_factory=Tally)
    waiting: Floats | None = None  # (m, p + 2) rows [x y mass]
    path: Path | None = None  # None while the opening rows come
    opening: int = 0  # how many these are to be

    def add(self, batch: Batch) -> Stream:
        """The stream some rows further."""
        rows = _numbers(batch)
        if self.waiting is not None and len(self.waiting):
            rows = np.concatenate([self.waiting, rows])
        path, opening = self.path, self.opening or opening_rows(self.q)
        while path is None and len(rows) >= opening:
            found = Whitening.of(rows[:opening], intercept=self.design.intercept)
            if isinstance(found, Whitening):
                path, rows = Path.begin(found), rows[opening:]
            elif opening >= LONGEST_OPENING * opening_rows(self.q):
                raise GentleError(
                    f"column '{self.design.names[found]}' is zero, constant or a combination of those "
                    f"before it in all of the first {opening:,} rows, so one pass cannot tell its "
                    "coefficient: leave it out, or bring the rows in random order"
                )
            else:
                opening *= 2
        if path is not None:
            whole = len(rows) - len(rows) % path.whitening.rows
            path, rows = path.walk(rows[:whole]), rows[whole:]
        return Stream(self.design, self.tally.add(batch), rows.copy(), path, opening)

    def follow(self, source: Source) -> Stream:
        """The stream with the rows of a source as well."""
        if isinstance(source, Arrays | Frame):
            source = replace(source, start=self.tally.n_read)  # errors count the rows of the stream
        stream = self
        for batch in Rows(source, self.design):
            stream = stream.add(batch)
        return stream

    @property
    def q(self) -> int:
        """How many coefficients there are."""
        return len(self.design.names) + self.design.intercept

    @property
    def steps(self) -> int:
        return 0 if self.path is None else self.path.steps

    def found(self) -> OnePass:
        """What has been found so far.

        Raises GentleError while the rows are too few for a step.
        """
        if self.path is None or not self.steps:
            needed = (self.opening or opening_rows(self.q)) + rows_per_step(self.q)
            raise GentleError(
                f"one pass makes its first step after {needed:,} complete rows, and "
                f"{self.tally.n_used:,} came: gentle.fit without passes=1 fits so few exactly"
            )
        level, _ = self.path.whitening.level(self.path.average)
        return OnePass(
            self.design,
            (INTERCEPT,) * self.design.intercept + self.design.names,
            self.path.coef,
            self.path.scales,
            self.path.whitening.centre.copy(),
            level,
            self.steps,
            self.tally,
        )


class Online:
    """Least squares of rows that come in pieces and are not kept, with intervals at any time.

    Steps are of a fixed number of rows, and rows that are too few for one more wait: the pieces in which
    rows come change nothing. Memory does not grow with the rows.

    Rows must come in random order. Sorted ones, or ones that drift, break the intervals and may break
    the coefficients; nothing here can see that.

    Args:
        intercept: whether the model has a constant.
        names: names for the columns of X, where X is an array.
        missing: "drop" leaves out rows with a null or NaN, and counts them; "raise" refuses them.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> online = Online(names=["a"])
    >>> for _ in range(100):
    ...     X = rng.normal(size=(123, 1))
    ...     online = online.partial_fit(X, 1 + 2 * X[:, 0] + rng.normal(size=123))
    >>> low, high = online.conf_int()["a"]
    >>> low < 2 < high, high - low < 0.1
    (True, True)
    """

    def __init__(
        self,
        *,
        intercept: bool = True,
        names: Sequence[str] | None = None,
        missing: Missing = "drop",
    ) -> None:
        self._intercept = intercept
        self._names = names
        self._missing = missing
        self._stream: Stream | None = None

    def __repr__(self) -> str:
        return f"<Online: {self.n_rows:,} rows, {self.steps:,} steps>"

    def partial_fit(self, X: Any, y: Any, weights: Any = None) -> Self:
        """Take in rows X (n, p), y (n,) and weights (n,), one row or many; a refusal changes nothing.

        Args:
            X: an array, a tensor or a frame, with the columns of the first call.
            y: the target.
            weights: precisions (n,), in every call or in none.

        Raises GentleError for what `gentle.fit` refuses, and for columns other than the first call's.
        """
        names = self._names if self._stream is None else self._stream.design.columns
        source = open_source((X, y), names)
        (target,) = _one_target(pair_targets(source))
        source, column = _weighted(source, weights)
        if self._stream is None:
            design = learn_design(
                source,
                targets=(target,),
                intercept=self._intercept,
                weights=column,
                missing=self._missing,
            )
            self._stream = _begun(design).follow(source)
            return self
        design = self._stream.design
        if (column is None) != (design.weights is None):
            raise GentleError(
                "weights came in some calls and not in others: give them in all or in none"
            )
        source = _as_first(source, {target: design.targets[0]})
        refuse_lacking(source, design.needed, design)
        self._stream = self._stream.follow(source)
        return self

    @property
    def n_rows(self) -> int:
        """Complete rows that came."""
        return 0 if self._stream is None else self._stream.tally.n_used

    @property
    def steps(self) -> int:
        """Steps of the path, all of the same number of rows."""
        return 0 if self._stream is None else self._stream.steps

    @property
    def trustworthy(self) -> bool:
        """Whether there are steps enough for the law of the intervals."""
        return self._stream is not None and self.steps >= least_steps(self._stream.q)

    @property
    def coef(self) -> Mapping[str, float]:
        """Name -> coefficient, the constant first, in the units of the data."""
        return self._found.coef

    def conf_int(self, level: float = 0.95) -> Mapping[str, tuple[float, float]]:
        """Name -> (low, high) by random scaling; warns while there are too few steps."""
        found = self._found
        _warn_of_steps(found)
        return found.conf_int(level)

    def predict(self, data: Any) -> Any:
        """Predictions for the rows of a frame, a file or an array, (n,); nan where one is missing."""
        return self._found.predict(data)

    def summary(self, level: float = 0.95) -> str:
        """The coefficients as a table of text, 80 columns wide."""
        return self._found.summary(level)

    def result(self) -> OnePass:
        """What has been found so far, which later rows do not change; warns while there are too few steps.

        Raises GentleError while the rows are too few for a step.
        """
        found = self._found
        _warn_of_steps(found)
        return found

    @property
    def _found(self) -> OnePass:
        if self._stream is None:
            raise GentleError("no rows have come yet: partial_fit(X, y) takes them")
        return self._stream.found()


def one_pass(
    data: Any,
    formula: str | None,
    *,
    target: str | Sequence[str] | None,
    features: Sequence[str] | None,
    names: Sequence[str] | None,
    intercept: bool,
    weights: Any,
    missing: Missing,
) -> OnePass:
    """`gentle.fit` with passes=1: a source, or an iterable of pairs or frames, each met once.

    What a design must learn before it sees numbers, such as levels, it learns from the first piece.

    Raises GentleError for several targets, and for what `learn_design` refuses.
    """
    stream: Stream | None = None
    if comes_in_pieces(data) and not (weights is None or isinstance(weights, str)):
        raise GentleError(
            "weights of rows that come in pieces must be the name of a column of each: "
            "gentle.Online takes them as arrays"
        )
    in_pieces = comes_in_pieces(data)
    for piece in data if in_pieces else (data,):
        source = open_piece(piece, names) if in_pieces else open_source(piece, names)
        source, column = _weighted(source if formula is None else with_names(source), weights)
        named = pair_targets(source)
        if stream is None:
            targets = named if formula is None and target is None else target
            design = learn_design(
                source,
                formula,
                targets=(targets,) if isinstance(targets, str) else tuple(targets or ()),
                features=features,
                intercept=intercept,
                weights=column,
                missing=missing,
            )
            _one_target(design.targets)
            if design.levels and not source.replayable:
                raise GentleError(
                    f"one pass needs the levels of {listed(design.levels)} before its first row, and "
                    f"{source.name} can be read only once: give a file or frames"
                )
            stream = _begun(design)
        refuse_lacking(source, stream.design.needed, stream.design)
        stream = stream.follow(source)
    if stream is None:
        raise GentleError("the iterator is empty: it gave no rows to fit")
    found = stream.found()
    _warn_of_steps(found, stacklevel=5)
    return found


def _begun(design: Design) -> Stream:
    if design.missing not in ("drop", "raise"):
        raise GentleError(
            f"missing='{design.missing}' needs the means of all rows, and here each is met once: take "
            "'drop' or 'raise'"
        )
    if not design.names and not design.intercept:
        raise GentleError("the model has neither columns nor a constant: there is nothing to fit")
    return Stream(design)


def _numbers(batch: Batch) -> Floats:
    """Rows [x y mass] of a batch, (n, p + 2), in memory of their own."""
    n, p = batch.x.shape
    rows = np.ones((n, p + 2))
    rows[:, :p] = batch.x.numpy()
    rows[:, p] = batch.y[:, 0].numpy()
    if batch.mass is not None:
        rows[:, p + 1] = batch.mass.numpy()
    return rows


def _weighted(source: Source, weights: Any) -> tuple[Source, str | None]:
    """The source with weights that were given as an array, and the name they go by."""
    if weights is None or isinstance(weights, str):
        return source, weights or pair_weights(source)
    return with_columns(source, {"(weights)": weights}), "(weights)"


def _one_target(targets: Sequence[str]) -> Sequence[str]:
    if len(targets) > 1:
        raise GentleError(
            f"one pass explains one target, and these are {len(targets)}: {listed(targets)}"
        )
    return targets


def _as_first(source: Source, target: Mapping[str, str]) -> Source:
    """The source with its target called as in the first call."""
    if isinstance(source, Frame):
        return replace(source, frame=source.frame.rename(target))
    assert isinstance(source, Arrays)
    other = {target.get(name, name): column for name, column in source.other.items()}
    return replace(source, other=other)


def _warn_of_steps(found: OnePass, stacklevel: int = 3) -> None:
    if not found.trustworthy:
        warnings.warn(
            f"intervals of one pass need {found.least_steps:,} steps, and the rows were enough for "
            f"{found.steps:,}: they may be too narrow",
            CovarianceWarning,
            stacklevel=stacklevel,
        )
