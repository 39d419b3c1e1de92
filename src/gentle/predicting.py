"""Predicting: rows of any kind through a model, to numbers, frames and files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from gentle.batch import Floats, rows_per_batch
from gentle.design import Design, Features, refuse_lacking
from gentle.errors import GentleError, GentleWarning, listed
from gentle.files import refuse_same
from gentle.levels import Unseen, check_unseen
from gentle.sinks import (
    appended,
    as_columns,
    chosen,
    is_frame,
    like,
    refuse_clash,
    stacked,
    write_file,
)
from gentle.sources import Chunk, Plan, Schema, Source, files_of
from gentle.spreading import placed

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["mean", "new"]
COLUMNS = ("prediction", "std_error", "low", "high")


class Model(Protocol):
    """What predicts: q coefficients on the columns of a design, for one target or k."""

    @property
    def design(self) -> Design: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def explained(self) -> Sequence[str]:
        """The targets, (k,)."""

    def predict_x(self, x: Any, known: Floats, level: float | None, kind: Kind) -> Floats:
        """Predictions for rows x (n, p) with offsets (n,): (n, k, 1), or (n, k, 4) by COLUMNS.

        Raises GentleError for intervals of a model that has none.
        """


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions with intervals, each (n,), or (n, k) of k targets; nan for a row with a missing value."""

    value: Floats
    std_error: Floats  # of the mean, or of a new observation
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Written:
    """What became of rows."""

    n_rows: int
    n_missing: int  # rows without a prediction, since a value is missing, or a level was not seen
    n_unseen: int = 0  # rows with a level that the fit did not see
    unseen: Unseen = "error"  # what became of those

    def __str__(self) -> str:
        rows = f"{self.n_rows:,} row{'s' * (self.n_rows != 1)}"
        lacking = self.n_missing - (self.n_unseen if self.unseen == "missing" else 0)
        if not self.n_missing:
            rows += ", each with a prediction"
        elif lacking:
            rows += f", of which {_have(lacking)} no prediction, as a value is missing there"
        return f"{rows}; {self.about_unseen}" if self.n_unseen else rows

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

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise GentleError(f"kind must be {listed(get_args(Kind), 'or')}, and is {self.kind!r}")
        check_unseen(self.unseen)


def predict(model: Model, data: Any, offset: Any, asked: Asked) -> Any:
    """Numbers, `Predictions` or a frame, as `Fit.predict` has it."""
    framed = is_frame(data)
    if asked.append and not framed:
        raise GentleError(
            "append keeps the columns of a frame, and these rows are none: predict_to takes a file"
        )
    answers = _Answers(model, data, offset, asked)
    if framed and (asked.append or asked.level is not None):
        found = like(data, stacked(list(answers.frames()), answers.schema), answers.heads)
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
        self._model, self._asked = model, asked
        self._source = model.design.opened(data, offset)
        self.heads = _heads(model, asked)
        if asked.append:
            if isinstance(self._source, Plan):
                self._source = self._source.settled()
                refuse_lacking(self._source, model.design.explaining, model.design)
            refuse_clash(list(self._source.schema()), self.heads, self._source.name)
        self._n_rows = self._n_missing = self._n_unseen = 0

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
                self._n_rows += len(one.numbers)
                self._n_missing += one.n_missing
                self._n_unseen += one.n_unseen
                yield one.chunk, one.numbers

    def refuse_to_replace(self, path: Path) -> None:
        """Raises GentleError where predictions would replace a file that is read."""
        refuse_same(path, files_of(self._source), "name another file for the predictions")

    def frames(self) -> Iterator[pl.DataFrame]:
        """Predictions as columns, after those of the rows where these are to stay."""
        own = self._source.schema()
        for chunk, numbers in self:
            added = as_columns(self.heads, numbers.reshape(len(numbers), len(self.heads)))
            yield added if chunk is None else appended(chunk, added, own)

    @property
    def schema(self) -> Schema:
        """Names and types of these columns."""
        own = self._source.schema() if self._asked.append else {}
        return {**own, **as_columns(self.heads, np.empty((0, len(self.heads)))).schema}

    @property
    def written(self) -> Written:
        """What has gone by."""
        return Written(self._n_rows, self._n_missing, self._n_unseen, self._asked.unseen)

    def warn(self, stacklevel: int) -> None:
        """Warn of levels that were answered for without having been seen."""
        if self._n_unseen:
            warnings.warn(
                f"of the {self._n_rows:,} rows of {self._source.name}, {self.written.about_unseen}",
                GentleWarning,
                stacklevel=stacklevel,
            )


class Answer(NamedTuple):
    """The predictions of a chunk, and itself where it is asked for: it may come from afar."""

    chunk: Chunk | None
    numbers: Floats  # (n, k, m), nan for a row that is not complete
    n_missing: int  # such rows
    n_unseen: int


def _answered(model: Model, asked: Asked, source: Source) -> Iterator[Answer]:
    """The chunks of a source, each with its predictions."""
    schema = tuple(source.schema())
    columns = schema if asked.append else model.design.explaining or schema[:1]
    for chunk in source.scan(columns, rows_per_batch(max(len(model.names), len(columns)))):
        seen = _features(model, asked, source, chunk)
        found = model.predict_x(seen.x, seen.offset, asked.level, asked.kind)
        n_missing = len(chunk.rows) - len(seen.rows)
        if n_missing:
            every = np.full((len(chunk.rows), *found.shape[1:]), np.nan)
            every[np.searchsorted(chunk.rows, seen.rows)] = found
            found = every
        yield Answer(chunk if asked.append else None, found, n_missing, seen.n_unseen)


def _all_answered(answered: Callable[[Source], Iterator[Answer]], part: Source) -> list[Answer]:
    """A part of a source, on a worker."""
    return list(answered(part))


def _features(model: Model, asked: Asked, source: Source, chunk: Chunk) -> Features:
    design = model.design
    if not design.explaining:  # the constant alone
        n = len(chunk.rows)
        return Features(np.empty((n, 0)), np.zeros(n), chunk.rows, 0)
    own = chosen(chunk, design.explaining) if asked.append else chunk
    return design.features(own, source.name, asked.unseen)


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
