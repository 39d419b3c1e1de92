"""How long gentle's descent takes beside other ways to descend, to 0.01 standard errors.

    python bench/descent.py [--quick] [--only CASE] [--budget SECONDS]

X is float64 in memory, y too; everything runs on two threads. A contestant's time is that until every
coefficient, in the units it was given, lies within 0.01 standard errors of the exact answer. For gentle it is the
time of the whole call, gentle.fit((X, y), solver="sgd", tol=0.01): reading, descent, and the exact
answer and the certificate that confirm it. For a peer it is the time of its scaler and of its passes;
looking at its coefficients costs it nothing. What is shown as a ratio is a peer's time over gentle's, the target in
brackets. A peer ends after 100 passes, or where its seconds are spent (--budget): the ratio is then a
lower bound, ">".

Columns have units spread over eight decades and lie up to a thousand spreads from zero; noise is normal.
A sparse row has 50 numbers in 100,000 columns of such units, about zero.

The exact answer is that of the normal equations of standardised columns, which gentle's own, and for
the case that fits lstsq's, must meet to 1e-6 standard errors, or the run ends. That of the sparse case is LSMR's to
rounding; its standard errors would need an inverse of 100,000 columns, and s / |x_j - mean|, which is
smaller, stands in for them.

The settings of the peers are the best that were found, see `SETTINGS`.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import sklearn
import sklearn.linear_model as sk
import torch
from scipy.sparse import csr_array, csr_matrix
from scipy.sparse.linalg import LinearOperator, lsmr, lsqr
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from speed import AGREE, THREADS, MiB, agree
from threadpoolctl import threadpool_limits
from timing import threads
from torch.utils.data import DataLoader, TensorDataset

import gentle
import gentle.approach
import gentle.driver

Floats = npt.NDArray[np.float64]

TOL = 0.01  # standard errors
MOST_PASSES = 100
BUDGET = 120.0  # seconds of one peer
REPETITIONS = 5  # of gentle
FAST = 10.0  # seconds: who is faster runs three times
DECADES = 8
FURTHEST = 3  # the largest offset is ten to this many spreads
NON_ZEROS = 50  # in a sparse row
BLOCK = 10_000  # rows at a time, so that nothing as large as X stands beside it


# The data and the exact answer.


@dataclass(frozen=True)
class Data:
    """A seeded least-squares problem."""

    X: Any  # (n, p), dense or compressed rows
    y: Floats  # (n,)

    @classmethod
    def draw(cls, n: int, p: int) -> Data:
        """Independent columns of unequal units and offsets, and noise of unit spread."""
        rng = np.random.default_rng(n + p)
        X, y = np.empty((n, p)), np.empty(n)
        rng.standard_normal(out=X)
        rng.standard_normal(out=y)
        coef, unit = rng.standard_normal(p), units(p, rng)
        offset = unit * 10.0 ** rng.uniform(-FURTHEST, FURTHEST, p) * rng.choice([-1, 1], p)
        for at in range(0, n, BLOCK):
            rows = X[at : at + BLOCK]
            y[at : at + BLOCK] += 1 + rows @ coef
            rows *= unit
            rows += offset
        return cls(X, y)

    @classmethod
    def draw_sparse(cls, n: int, p: int) -> Data:
        """Compressed rows of normal numbers at random places, and columns of unequal units."""
        rng = np.random.default_rng(n + p)
        places = rng.integers(p, size=n * NON_ZEROS, dtype=np.int32)
        values = rng.standard_normal(n * NON_ZEROS)
        starts = np.arange(0, n * NON_ZEROS + 1, NON_ZEROS, dtype=np.int32)
        X = csr_array((values, places, starts), shape=(n, p))
        X.sum_duplicates()
        y = 1 + X @ rng.standard_normal(p) + rng.standard_normal(n)
        X.data *= units(p, rng)[X.indices]
        return cls(X, y)


def units(p: int, rng: np.random.Generator) -> Floats:
    """Of so many columns, spread evenly over the decades, in random order."""
    return rng.permutation(10.0 ** np.linspace(-DECADES / 2, DECADES / 2, p))


@dataclass(frozen=True)
class Answer:
    """The exact coefficients with a yardstick for each, the constant first."""

    coef: Floats  # (q,)
    se: Floats  # (q,)

    def distance(self, coef: Floats) -> float:
        """The largest one of a coefficient, in standard errors."""
        furthest = float(np.max(np.abs(coef - self.coef) / self.se))
        return furthest if math.isfinite(furthest) else math.inf


def exact(data: Data) -> Answer:
    """The normal equations of standardised columns, summed in blocks."""
    X, y = data.X, data.y
    n, p = X.shape
    centre, middle = X.mean(axis=0), y.mean()
    spread = np.sqrt(sum(((rows - centre) ** 2).sum(axis=0) for rows, _ in blocks(data)) / n)
    gram, along = np.zeros((p, p)), np.zeros(p)
    for rows, target in blocks(data):
        Z = (rows - centre) / spread
        gram += Z.T @ Z
        along += Z.T @ (target - middle)
    slopes = np.linalg.solve(gram, along)
    rss = sum(
        (((target - middle) - (rows - centre) / spread @ slopes) ** 2).sum()
        for rows, target in blocks(data)
    )
    inverse, far = np.linalg.inv(gram), centre / spread
    variances = np.concatenate([[1 / n + far @ inverse @ far], np.diag(inverse) / spread**2])
    coef = np.concatenate([[middle - far @ slopes], slopes / spread])
    return Answer(coef, np.sqrt(rss / (n - p - 1) * variances))


def blocks(data: Data) -> Iterator[tuple[Floats, Floats]]:
    """The rows, so many at a time."""
    for at in range(0, len(data.y), BLOCK):
        yield data.X[at : at + BLOCK], data.y[at : at + BLOCK]


def exact_sparse(data: Data) -> Answer:
    """LSMR to rounding, and s / |x_j - mean|, a lower bound of the standard errors."""
    n, p = data.X.shape
    wide = Centred.of(data)
    coef = wide.coef(lsmr(wide.operator(), wide.target, atol=1e-15, btol=1e-15, maxiter=5_000)[0])
    rss = float(((data.y - coef[0] - data.X @ coef[1:]) ** 2).sum())
    s = math.sqrt(rss / (n - p - 1))
    # var c = s^2 (1/n + mean' H^-1 mean) with H at most what it is along single columns
    constant = math.sqrt(1 / n)
    return Answer(coef, s * np.concatenate([[constant], 1 / wide.length]))


def check(data: Data, answer: Answer, *, lstsq: bool) -> None:
    """End the run where gentle's exact answer, or that of lstsq, is another one."""
    fit = gentle.fit((data.X, data.y))
    agree("the normal equations", fit.exact_values, answer.coef, AGREE * answer.se)
    agree("their standard errors", np.array(list(fit.std_errors.values())), answer.se, AGREE * answer.se)
    if lstsq:
        scaler = StandardScaler()
        Z = np.column_stack([np.ones(len(data.y)), scaler.fit_transform(data.X)])
        coef = np.linalg.lstsq(Z, data.y)[0]
        theirs = in_given_units(scaler, coef[0], coef[1:])
        agree("lstsq", fit.exact_values, theirs, AGREE * answer.se)


# The peers. One that can be looked at walks: it yields its coefficients after each pass. One that
# cannot is run with more and more passes.

Walk = Callable[[Data], Iterator[Floats]]
Run = Callable[[Data, int], Floats]


def sgd_regressor(data: Data, scaler: Callable[[], Any], **settings: Any) -> Iterator[Floats]:
    """scikit-learn's stochastic descent; `average` is the pass from which its path is averaged."""
    scaling = scaler()
    Z = scaling.fit_transform(data.X)
    if "average" in settings:
        settings["average"] = 1 + round(settings["average"] * len(data.y))
    order = np.random.RandomState(0)  # another shuffle for each pass
    model = sk.SGDRegressor(penalty=None, tol=None, random_state=order, **settings)
    while True:
        model.partial_fit(Z, data.y)
        yield in_given_units(scaling, model.intercept_[0], model.coef_)


def torch_loop(
    data: Data, *, loader: bool, batch: int, rate: float, decay: float, average: float
) -> Iterator[Floats]:
    """The usual loop of torch: a linear layer, the mean squared error, torch.optim.SGD.

    The rate falls as 1 / (1 + decay * passes); from pass `average` on the path is averaged.
    """
    scaling = StandardScaler()
    Z = torch.from_numpy(scaling.fit_transform(data.X))
    y = torch.from_numpy(data.y)[:, None]
    n, p = Z.shape
    torch.manual_seed(0)
    batches = DataLoader(TensorDataset(Z, y), batch_size=batch, shuffle=True) if loader else None
    steps = -(-n // batch)
    model = torch.nn.Linear(p, 1, dtype=torch.float64)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (1 + decay * t / steps))
    taken = 0
    while True:
        for u, v in sliced(Z, y, batch) if batches is None else batches:
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(u), v).backward()
            optimizer.step()
            schedule.step()
            taken += 1
            if taken > average * steps:
                averaged.update_parameters(model)
        seen = averaged.module if taken > average * steps else model
        slopes, constant = seen.weight.detach().numpy()[0], seen.bias.item()
        yield in_given_units(scaling, constant, slopes)


def sliced(
    Z: torch.Tensor, y: torch.Tensor, batch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """What a DataLoader yields, without looking at single rows."""
    for at in torch.randperm(len(Z)).split(batch):
        yield Z[at], y[at]


def sag(data: Data, passes: int) -> Floats:
    """scikit-learn's stochastic average gradient, with a ridge too small to be seen."""
    scaling = StandardScaler()
    Z = scaling.fit_transform(data.X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped on purpose
        model = sk.Ridge(1e-9, solver="sag", max_iter=passes, tol=0.0, random_state=0)
        model.fit(Z, data.y)
    return in_given_units(scaling, model.intercept_, model.coef_)


@dataclass(frozen=True)
class Centred:
    """Sparse rows about their means and of unit length, without writing them out."""

    X: csr_array
    mean: Floats
    length: Floats  # (p,) of the centred columns
    y: Floats

    @classmethod
    def of(cls, data: Data) -> Centred:
        n, p = data.X.shape
        sums = np.bincount(data.X.indices, data.X.data, p)
        squares = np.bincount(data.X.indices, data.X.data**2, p)
        return cls(data.X, sums / n, np.sqrt(squares - sums**2 / n), data.y)

    @property
    def target(self) -> Floats:
        return self.y - self.y.mean()

    def operator(self) -> LinearOperator:
        X, across, far = self.X, self.X.T, self.mean / self.length
        return LinearOperator(
            X.shape,
            matvec=lambda v: X @ (v / self.length) - far @ v,
            rmatvec=lambda u: (across @ u) / self.length - far * u.sum(),
            dtype=np.float64,
        )

    def coef(self, theta: Floats) -> Floats:
        slopes = theta / self.length
        return np.concatenate([[self.y.mean() - self.mean @ slopes], slopes])


def krylov(data: Data, passes: int, *, method: Callable[..., Any], most: str) -> Floats:
    """LSMR or LSQR, so many steps."""
    wide = Centred.of(data)
    none = {"atol": 0.0, "btol": 0.0, "conlim": 0.0, most: passes}
    return wide.coef(method(wide.operator(), wide.target, **none)[0])


def in_given_units(scaling: Any, constant: float, slopes: Floats) -> Floats:
    """Coefficients on the columns as they were given, from those on scaled ones."""
    slopes = np.ravel(slopes) / scaling.scale_
    mean = getattr(scaling, "mean_", None)
    far = 0.0 if mean is None or not getattr(scaling, "with_mean", False) else mean @ slopes
    return np.concatenate([[float(constant) - far], slopes])


class VowpalWabbit:
    """Vowpal Wabbit on a file of standardised rows, which is written before its time begins.

    It computes in float32. Its time has the reading of the text, which it keeps in a cache.
    """

    CONSTANT = 11650396  # the place of its constant among the weights

    def __init__(self, data: Data, folder: str) -> None:
        self.path, self.scaling = Path(folder) / "rows.vw", StandardScaler().fit(data.X)
        self.p = data.X.shape[1]
        line = "{} |" + "".join(f" {j}:{{}}" for j in range(self.p))
        with self.path.open("wb") as file:
            for rows, target in blocks(data):
                numbers = np.column_stack([target, self.scaling.transform(rows)])
                columns = pl.from_numpy(numbers, orient="row")
                columns.select(pl.format(line, *columns.columns)).write_csv(
                    file, include_header=False, quote_style="never"
                )

    def __call__(self, _: Data, passes: int, *, flags: str) -> Floats:
        import vowpalwabbit  # an optional peer

        for cache in self.path.parent.glob("*.cache*"):
            cache.unlink()
        model = vowpalwabbit.Workspace(
            f"-d {self.path} -c -k --passes {passes} --holdout_off --quiet {flags}"
        )
        slopes = np.array([model.get_weight(j) for j in range(self.p)])
        constant = model.get_weight(self.CONSTANT)
        model.finish()
        return in_given_units(self.scaling, constant, slopes)


# A race: who reached the exact answer, and when.


@dataclass(frozen=True)
class Course:
    """Where a contestant was when it ended, and after how long."""

    seconds: float
    passes: float
    distance: float
    end: str = ""  # why it did not reach the answer

    @property
    def reached(self) -> bool:
        return not self.end


def walked(walk: Walk, data: Data, answer: Answer, budget: float) -> Course:
    """Pass after pass; looking does not count."""
    seconds, passes = 0.0, 0
    course = walk(data)
    while True:
        began = time.perf_counter()
        coef = next(course)
        seconds += time.perf_counter() - began
        passes += 1
        distance = answer.distance(coef)
        if distance <= TOL:
            return Course(seconds, passes, distance)
        if passes >= MOST_PASSES or not math.isfinite(distance):
            return Course(seconds, passes, distance, "not reached")
        if seconds >= budget:
            return Course(seconds, passes, distance, "out of time")


def least(run: Run, data: Data, answer: Answer, budget: float, most: int = MOST_PASSES) -> Course:
    """The run of the fewest passes that reaches, found by doubling and then by halving."""

    def course(passes: int) -> Course:
        began = time.perf_counter()
        coef = run(data, passes)
        seconds = time.perf_counter() - began
        distance = answer.distance(coef)
        return Course(seconds, passes, distance, "" if distance <= TOL else "not reached")

    low, found = 0, course(1)
    while not found.reached:
        low = int(found.passes)
        if low >= most:
            return found
        if 2 * found.seconds > budget:
            return Course(found.seconds, low, found.distance, "out of time")
        found = course(min(2 * low, most))
    while found.passes - low > max(1, 0.1 * found.passes):
        middle = course((low + int(found.passes)) // 2)
        if middle.reached:
            found = middle
        else:
            low = int(middle.passes)
    return found
