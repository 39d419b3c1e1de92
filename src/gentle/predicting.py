"""Predicting: rows of any kind through a model, to numbers, frames and files."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from gentle.batch import Floats, rows_per_batch
from gentle.columns import is_empty, refuse_other_than_numbers, refuse_types
from gentle.design import Design, Features, refuse_lacking
from gentle.errors import (
    CovarianceWarning,
    GentleError,
    GentleWarning,
    is_choice,
    is_number,
    listed,
    near,
    show_value,
)
from gentle.estimability import RowSpace, Unestimable
from gentle.files import refuse_same
from gentle.levels import Unseen, check_unseen
from gentle.sieve import Mask
from gentle.sinks import (
    appended,
    as_columns,
    chosen,
    column_names,
    is_frame,
    keeps_columns,
    like,
    refuse_clash,
    stacked,
    write_file,
)
from gentle.sources import Chunk, Plan, Schema, Source, files_of, unreadable, with_columns
from gentle.spreading import placed

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["mean", "new"]
COLUMNS = ("prediction", "std_error", "low", "high")
NEW_WEIGHTS = "(weights of new rows)"  # of an array that was given
GIVEN_AS_ARRAYS = (NEW_WEIGHTS, "(offset)")  # no columns of the rows


class Model(Protocol):
    """What predicts: q coefficients on the columns of a design, for one target or k."""

    @property
    def design(self) -> Design: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def explained(self) -> Sequence[str]:
        """The targets, (k,)."""

    def caveat(self, level: float | None) -> str:
        """What a reader of its predictions, or of their bounds at a level, must know; may be empty."""

    @property
    def row_space(self) -> RowSpace | None:
        """The relations that its rows satisfy; None where the rank is full, or not known."""

    @property
    def default_unestimable(self) -> Unestimable:
        """What becomes of rows that violate one, unless it is asked for."""

    @property
    def heteroskedastic(self) -> bool:
        """Whether its standard errors allow for noise that differs between rows."""

    def predict_rows(self, features: Features, level: float | None, kind: Kind) -> Floats:
        """Predictions for rows of its design: (n, k, 1), or with a level (n, k, 4) by COLUMNS.

        Raises GentleError for intervals of a model that has none.
        """


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions with intervals, each (n,), or (n, k) of k targets; nan for a row with a missing value."""

    value: Floats
    std_error: Floats  # of the mean, or of a new observation
    low: Floats
    high: Floats

    def __len__(self) -> int:
        return len(self.value)

    def __str__(self) -> str:
        parts = (self.value, self.std_error, self.low, self.high)
        wide = self.value.ndim == 2
        heads = (
            [f"{name} {j + 1}" for name in COLUMNS for j in range(self.value.shape[1])]
            if wide
            else COLUMNS
        )
        return str(as_columns(heads, np.column_stack(parts)))


@dataclass(frozen=True)
class Written:
    """What became of rows."""

    n_rows: int
    n_missing: int  # rows without a prediction, since a value is missing, or a level was not seen
    n_unseen: int = 0  # rows with a level that the fit did not see
    unseen: Unseen = "error"  # what became of those
    n_unestimable: int = 0  # rows that a rank-deficient fit cannot predict
    unestimable: Unestimable = "nan"  # what became of those
    n_unweighted: int = 0  # new rows without bounds, since their weight is not known
    caveat: str = ""  # what a reader of the predictions must know

    def __str__(self) -> str:
        rows = f"{self.n_rows:,} row{'s' * (self.n_rows != 1)}"
        lacking = self.n_missing - (self.n_unseen if self.unseen == "missing" else 0)
        if lacking:
            rows += f", of which {_have(lacking)} no prediction, as a value is missing there"
        elif not self.n_missing and not (self.n_unestimable and self.unestimable == "nan"):
            rows += ", each with a prediction"
        return "; ".join((rows, *self.notes, *filter(None, [self.caveat])))

    @property
    def notes(self) -> list[str]:
        """What a number depends on that was decided on the caller's behalf, in words."""
        noted = {
            self.about_unseen: self.n_unseen,
            self.about_unestimable: self.n_unestimable,
            self.about_weights: self.n_unweighted,
        }
        return [note for note, count in noted.items() if count]

    @property
    def about_unseen(self) -> str:
        """What was done with levels that the fit did not see, in words."""
        done = {
            "reference": "predicted as if it were the reference level",
            "missing": "and so no prediction",
        }
        return (
            f"{_have(self.n_unseen)} a level that the fit did not see, {done.get(self.unseen, '')}"
        )

    @property
    def about_unestimable(self) -> str:
        """What was done with rows that a rank-deficient fit cannot predict, in words."""
        done = {"nan": "and so no prediction", "predict": "predicted all the same, without bounds"}
        return (
            f"{_have(self.n_unestimable)} values that violate a linear relation of all rows of the fit, "
            f"{done.get(self.unestimable, '')}"
        )

    @property
    def about_weights(self) -> str:
        """What was done with new rows without a weight, in words."""
        return (
            f"{_have(self.n_unweighted)} no bounds: the fit is weighted, and the weight of a new row is "
            "not known there (weights=)"
        )


def _have(n: int) -> str:
    return f"{n:,} {'has' if n == 1 else 'have'}"


@dataclass(frozen=True)
class Asked:
    """What is asked of a model about each row; see `Fit.predict`."""

    level: float | None = None
    kind: Kind = "mean"
    append: bool = False
    unseen: Unseen = "error"
    engine: Any = "here"
    unestimable: Unestimable | None = None  # None stands for the model's own rule
    weights: Any = None  # of new rows: a column, an array (n,) or one number

    @property
    def noisy(self) -> bool:
        """Whether bounds hold new rows, each with noise of its own."""
        return self.level is not None and self.kind == "new"

    def __post_init__(self) -> None:
        if not is_choice(self.unestimable, (None, *get_args(Unestimable))):
            raise GentleError(
                f"unestimable must be {listed(get_args(Unestimable), 'or')}, and is "
                f"{show_value(self.unestimable)}"
            )
        if self.weights is not None and not self.noisy:
            raise GentleError(
                "weights say how noisy new rows are: they need interval= and kind='new'"
            )
        if not is_choice(self.kind, get_args(Kind)):
            raise GentleError(
                f"kind must be {listed(get_args(Kind), 'or')}, and is {show_value(self.kind)}"
            )
        if not isinstance(self.append, bool):
            raise GentleError(f"append must be True or False, and is {show_value(self.append)}")
        check_unseen(self.unseen)


def predict(model: Model, data: Any, offset: Any, asked: Asked) -> Any:
    """Numbers, `Predictions` or a frame, as `Fit.predict` has it."""
    framed = is_frame(data)
    if asked.append and not framed:
        raise GentleError(
            "append keeps the columns of a frame, and these rows are none: predict_to takes a file"
        )
    in_place = asked.append and keeps_columns(data)
    answers = _Answers(model, data, offset, replace(asked, append=False) if in_place else asked)
    if in_place:
        refuse_clash([str(name) for name in column_names(data)], answers.heads, "the frame")
    if framed and (asked.append or asked.level is not None):
        frame = stacked(list(answers.frames()), answers.schema)
        found = like(data, frame, answers.heads, append=asked.append)
    else:
        found = _arrays(model, asked, [numbers for _, numbers in answers])
    answers.warn(stacklevel=4)
    return found


def _arrays(model: Model, asked: Asked, pieces: Sequence[Floats]) -> Floats | Predictions:
    """Pieces (n, k, m) as one array, or where intervals are asked as four."""
    width = (len(model.explained), 1 if asked.level is None else len(COLUMNS))
    numbers = np.concatenate([np.empty((0, *width)), *pieces])
    parts = numbers[:, 0] if len(model.explained) == 1 else numbers
    if asked.level is None:
        return np.ascontiguousarray(parts[..., 0])
    return Predictions(*(np.ascontiguousarray(parts[..., at]) for at in range(len(COLUMNS))))


def predict_to(model: Model, data: Any, path: Path, offset: Any, asked: Asked) -> Written:
    """A file of predictions, row by row as the rows come, in memory that does not grow with them."""
    answers = _Answers(model, data, offset, asked)
    answers.refuse_to_replace(path)
    write_file(path, answers.frames(), answers.schema)
    answers.warn(stacklevel=4)
    return answers.written


def first_rows(model: Model, data: Any, asked: Asked, n: int) -> tuple[pl.DataFrame, Written]:
    """What `predict_to` would write: the first n rows, and how many there are."""
    answers = _Answers(model, data, None, asked)
    first: list[pl.DataFrame] = []
    for frame in answers.frames():
        if (height := sum(it.height for it in first)) < n:
            first.append(frame.head(n - height))
    return stacked(first, answers.schema), answers.written


class _Answers:
    """The chunks of a source, each with its predictions, counted as they go."""

    def __init__(self, model: Model, data: Any, offset: Any, asked: Asked) -> None:
        self._source = model.design.opened(data, offset)
        self._source, weights = _with_weights(model.design, self._source, asked)
        unestimable = asked.unestimable or model.default_unestimable
        self._model = model
        self._asked = asked = replace(asked, weights=weights, unestimable=unestimable)
        self.heads = _heads(model, asked)
        if asked.append:
            if isinstance(self._source, Plan):
                self._source = self._source.settled()
                refuse_lacking(self._source, model.design.explaining, model.design)
            refuse_types(self._source, unreadable(self._source.schema()))
            refuse_clash(list(self._source.schema()), self.heads, self._source.name)
        self._counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[tuple[Chunk | None, Floats]]:
        """(the chunk where it stays, predictions (n, k, m)); nan for a row that is not complete."""
        with placed(self._source, self._asked.engine) as rows:
            asked = replace(self._asked, engine="here")  # what watches it cannot be sent
            answered = partial(_answered, self._model, asked)
            if rows.parts == 1:
                answers = answered(rows.source)
            else:
                work = partial(_all_answered, answered)
                parts = rows.source.split(rows.parts)
                answers = chain.from_iterable(rows.engine.map(work, parts))
            for one in answers:
                self._counts.update(one.counts)
                yield one.chunk, one.numbers

    def refuse_to_replace(self, path: Path) -> None:
        """Raises GentleError where predictions would replace a file that is read."""
        refuse_same(path, files_of(self._source), "name another file for the predictions")

    def frames(self) -> Iterator[pl.DataFrame]:
        """Predictions as columns, after those of the rows where these are to stay."""
        own = self._own_schema
        for chunk, numbers in self:
            added = as_columns(self.heads, numbers.reshape(len(numbers), len(self.heads)))
            yield added if chunk is None else appended(chosen(chunk, tuple(own)), added, own)

    @property
    def _own_schema(self) -> Schema:
        """The columns of the rows, without those that were given as arrays."""
        schema = self._source.schema()
        hidden = {*GIVEN_AS_ARRAYS, *(shift.name for shift in self._model.design.shifts)}
        return {name: dtype for name, dtype in schema.items() if name not in hidden}

    @property
    def schema(self) -> Schema:
        """Names and types of these columns."""
        own = self._own_schema if self._asked.append else {}
        return {**own, **as_columns(self.heads, np.empty((0, len(self.heads)))).schema}

    @property
    def written(self) -> Written:
        """What has gone by."""
        counts = {f"n_{what}": count for what, count in self._counts.items() if count}
        unestimable = self._asked.unestimable or "nan"
        return Written(
            **{"n_rows": 0, "n_missing": 0, **counts},
            unseen=self._asked.unseen,
            unestimable=unestimable,
            caveat=self._model.caveat(self._asked.level),
        )

    def warn(self, stacklevel: int) -> None:
        """Warn of the model's caveat, and of rows without bounds or that rest on a choice."""
        if caveat := self._model.caveat(self._asked.level):
            warnings.warn(caveat, GentleWarning, stacklevel=stacklevel)
        written, n = self.written, self._counts["rows"]
        for note in written.notes:
            message = f"of the {n:,} rows of {self._source.name}, {note}"
            warnings.warn(message, GentleWarning, stacklevel=stacklevel)
        if self._asked.noisy and self._asked.weights is None and self._model.heteroskedastic:
            warnings.warn(
                "the standard errors of this fit allow for noise that differs between rows, and the "
                "bounds of new rows take its average: they hold on average over rows like those of the "
                "fit, not for each (weights= says how the noise differs)",
                CovarianceWarning,
                stacklevel=stacklevel,
            )


class Answer(NamedTuple):
    """The predictions of a chunk, and itself where it is asked for: it may come from afar."""

    chunk: Chunk | None
    numbers: Floats  # (n, k, m), nan for a row that is not complete
    counts: Mapping[str, int]  # of its rows, by what became of them


def _answered(model: Model, asked: Asked, source: Source) -> Iterator[Answer]:
    """The chunks of a source, each with its predictions."""
    schema = tuple(source.schema())
    needed = (*model.design.explaining, *_weight_column(asked))
    columns = schema if asked.append else tuple(dict.fromkeys(needed)) or schema[:1]
    for chunk in source.scan(columns, rows_per_batch(max(len(model.names), len(columns)))):
        features = _features(model, asked, source, chunk, needed)
        numbers = model.predict_rows(features, asked.level, asked.kind)
        unestimable = _handle_unestimable(model, asked, source, features, numbers)
        n, n_complete = len(chunk.rows), len(features.rows)
        if n_complete < n:
            every = np.full((n, *numbers.shape[1:]), np.nan)
            every[np.searchsorted(chunk.rows, features.rows)] = numbers
            numbers = every
        counts = {
            "rows": n,
            "missing": n - n_complete,
            "unseen": features.n_unseen,
            "unestimable": int(unestimable.sum()),
            "unweighted": _n_unweighted(model, asked, features),
        }
        yield Answer(chunk if asked.append else None, numbers, counts)


def _handle_unestimable(
    model: Model, asked: Asked, source: Source, features: Features, numbers: Floats
) -> Mask:
    """Which rows are not estimable, (n,); their numbers (n, k, m) are overwritten as was asked for."""
    if model.row_space is None:
        return np.zeros(len(features.rows), dtype=bool)
    departures = model.row_space.departures(features.x)
    rows = np.asarray(departures.any(axis=1))
    if asked.unestimable == "raise" and rows.any():
        first = int(rows.argmax())
        raise GentleError(
            f"row {features.rows[first] + 1:,} of {source.name} cannot be predicted by this rank-deficient "
            f"fit: all rows of the fit satisfy {model.row_space.first_violated(departures[first])}, and "
            "this one does not; unestimable='nan' has no prediction for it"
        )
    numbers[rows, :, int(asked.unestimable == "predict") :] = np.nan
    return rows


def _n_unweighted(model: Model, asked: Asked, features: Features) -> int:
    """How many rows lack the weight that bounds of new rows need."""
    if not asked.noisy:
        return 0
    if features.weight is not None:
        return int(np.isnan(features.weight).sum())
    return len(features.rows) if model.design.weights is not None else 0


def _weight_column(asked: Asked) -> tuple[str, ...]:
    """The column of the weights of new rows, where they are one."""
    return (asked.weights,) if isinstance(asked.weights, str) else ()


def _with_weights(
    design: Design, source: Source, asked: Asked
) -> tuple[Source, str | float | None]:
    """The source with the weights of new rows, and the name of their column, or one number for all."""
    given = asked.weights
    if not asked.noisy:
        return source, None
    schema = source.schema()
    if given is None and design.weights not in schema:
        return source, None
    name = design.weights if given is None else given
    if isinstance(name, str):
        if name not in schema:
            raise GentleError(
                f"{source.name} has no column '{name}' for the weights of new rows: {near(name, schema)}"
            )
        if not is_empty(schema[name]):  # where all are missing, no row has bounds
            refuse_other_than_numbers(source, name)
        return source, name
    if is_number(given):
        if not 0 < given < np.inf:
            raise GentleError(f"the weight of new rows must be above 0, and is {show_value(given)}")
        return source, float(given)
    return with_columns(source, {NEW_WEIGHTS: given}), NEW_WEIGHTS


def _all_answered(answered: Callable[[Source], Iterator[Answer]], part: Source) -> list[Answer]:
    """A part of a source, on a worker."""
    return list(answered(part))


def _features(
    model: Model, asked: Asked, source: Source, chunk: Chunk, needed: Sequence[str]
) -> Features:
    design, n = model.design, len(chunk.rows)
    if not needed:  # the intercept alone
        features = Features(np.empty((n, 0)), np.zeros(n), chunk.rows, 0)
    else:
        own = chosen(chunk, needed) if asked.append else chunk
        features = design.features(own, source.name, asked.unseen, *_weight_column(asked))
    if isinstance(asked.weights, float):
        return features._replace(weight=np.full(len(features.rows), asked.weights))
    return features


def refuse_level(level: float | None, what: str) -> None:
    """Raises GentleError where intervals are asked of a model that has no standard errors."""
    if level is not None:
        raise GentleError(f"{what} has no standard errors, so its predictions have no intervals")


def _heads(model: Model, asked: Asked) -> list[str]:
    """What the columns of predictions are called; of several targets each by its name."""
    columns = COLUMNS[:1] if asked.level is None else COLUMNS
    if len(model.explained) == 1:
        return list(columns)
    return [f"{column}_{target}" for target in model.explained for column in columns]
