"""How long gentle's descent takes beside other ways to descend, to 0.01 standard errors.

    python bench/descent.py [--quick] [--only CASE] [--budget SECONDS] [--threads N]

X and y are float64 in memory; everything runs on two threads (--threads). The time of a contestant is
that until every coefficient, in the units of its column, lies within 0.01 standard errors of the exact
answer. For gentle it is the whole call, gentle.fit((X, y), solver="sgd", tol=0.01): the reading, the
descent, the exact answer and the certificate that confirms it. For a peer it is its scaler and its
passes; to look at its coefficients after each costs it nothing. One that shows them at its end alone
is run with more and more passes, and its time is that of its shortest run that reaches. A ratio is a
peer's time over gentle's, the target in brackets; where a peer ends after 100 passes ("not reached")
or after --budget seconds ("out of time"), it is a lower bound, and its distance says where it ended.

Columns have units spread over eight decades and lie up to a thousand spreads from zero; the noise is
normal. A sparse row has 50 numbers, in 100,000 columns of such units, about zero.

The exact answer is that of the normal equations of standardised columns. gentle's own and, at a million
rows, lstsq's must meet it to 1e-6 standard errors, or the run ends. For sparse rows it is LSMR's to
rounding; standard errors would need an inverse of 100,000 columns, and s / |x_j - mean|, which is
smaller and so stricter, stands in for them.

Vowpal Wabbit runs where `pip install vowpalwabbit` has been done. It works in float32, and ends there.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import polars as pl
import sklearn
import sklearn.linear_model as sk
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, lsmr, lsqr
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from speed import AGREE, THREADS, MiB, agree
from threadpoolctl import threadpool_limits
from timing import threads
from torch.utils.data import DataLoader, TensorDataset

import gentle
import gentle.approach
import gentle.certificate
import gentle.driver

Floats = npt.NDArray[np.float64]

TOL = 0.01  # standard errors
MOST_PASSES = 100
BUDGET = 120.0  # seconds of one peer
REPETITIONS = 5  # of gentle
FAST, FEW = 10.0, 3  # who takes fewer seconds runs so many times
DECADES = 8
FURTHEST = 3  # the largest offset is ten to this many spreads
NON_ZEROS = 50  # in a sparse row
BLOCK = 10_000  # rows at a time, so that nothing as large as X stands beside it

# The best settings that were found, by case: of SGDRegressor, and of the loop of torch.
#
# SGDRegressor was tried at full size, a wide grid at 100,000 rows of 50 columns, with
#   constant     eta0 1e-5, 1.5e-5, 2e-5, 3e-5, 5e-5, 1e-4, 2e-4, 1e-3, 1e-2
#   invscaling   eta0 0.001, 0.01, 0.03, 0.05, 0.1, 0.3, 1 and power_t 0.1, 0.25, 0.5, 0.75
#   optimal      alpha 1e-6 to 1 (there is no penalty: it is in the schedule alone)
# without an average and with one from pass 0, 1, 2, 3 or 5 on; for sparse rows after MaxAbsScaler and
# StandardScaler(with_mean=False), from pass 5 to 40 on. Many averaged ones reach in nearly as many passes.
#
# The loop of torch, in batches of 1024, which are the fewest steps, was tried with rates 0.005 to 0.1,
# constant and falling as 1/sqrt(t), t^-0.75, 1/t and 1/t^2, with and without an average from pass
# 1, 2 or 3 on; a falling rate did no better with an average, and worse without one.
#
# Vowpal Wabbit was tried at 100,000 rows: --sgd with -l 0.003 to 1, --power_t 0.5, 0.75, 1 and
# --initial_t 0 to 1e4; its default rule with -l 0.05, 0.5; --bfgs with --l2 1e-8 to 0.1, which
# without one stops at its first step.
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "main": (
        {"learning_rate": "constant", "eta0": 2e-5, "average": 2},
        {"batch": 1024, "rate": 0.015, "average": 1},
    ),
    "long": (
        {"learning_rate": "constant", "eta0": 1e-4, "average": 1},
        {"batch": 1024, "rate": 0.05, "average": 1},
    ),
    "wide": (
        {"learning_rate": "optimal", "alpha": 0.03, "average": 2},
        {"batch": 1024, "rate": 0.01, "average": 2},
    ),
}
SPARSE: dict[str, Any] = {
    "learning_rate": "invscaling",
    "eta0": 0.5,
    "power_t": 0.1,
    "average": 30,
}
WABBIT = {
    "--sgd": "--sgd -l 0.003 --power_t 1 --initial_t 300",
    "--bfgs": "--bfgs --l2 1e-4 --termination 0",
}


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
    return Answer(coef, s * np.concatenate([[1 / math.sqrt(n)], 1 / wide.length]))


def check(data: Data, answer: Answer, *, lstsq: bool) -> None:
    """End the run where gentle's exact answer, or that of lstsq, is another one."""
    fit = gentle.fit((data.X, data.y))
    agree("the normal equations", fit.exact_values, answer.coef, AGREE * answer.se)
    agree(
        "their standard errors",
        np.array(list(fit.std_errors.values())),
        answer.se,
        AGREE * answer.se,
    )
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
    data: Data, *, loader: bool, batch: int, rate: float, average: float
) -> Iterator[Floats]:
    """The usual loop of torch, averaged after `average` passes: a linear layer, the mean squared error."""
    scaling = StandardScaler()
    Z = torch.from_numpy(scaling.fit_transform(data.X))
    y = torch.from_numpy(data.y)[:, None]
    n, p = Z.shape
    torch.manual_seed(0)
    batches = DataLoader(TensorDataset(Z, y), batch_size=batch, shuffle=True)
    model = torch.nn.Linear(p, 1, dtype=torch.float64)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    taken = 0
    while True:
        for u, v in batches if loader else sliced(Z, y, batch):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(u), v).backward()
            optimizer.step()
            taken += 1
            if taken * batch > average * n:
                averaged.update_parameters(model)
        seen = averaged.module if taken * batch > average * n + batch else model
        yield in_given_units(scaling, seen.bias.item(), seen.weight.detach().numpy())


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
    shift = scaling.mean_ @ slopes if getattr(scaling, "with_mean", False) else 0.0
    return np.concatenate([[float(constant) - shift], slopes])


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


@dataclass(frozen=True)
class Walker:
    """A peer that can be looked at after each pass; looking costs it nothing."""

    walk: Walk

    def course(self, data: Data, answer: Answer, budget: float) -> Course:
        seconds, passes = 0.0, 0
        course = self.walk(data)
        while True:
            began = time.perf_counter()
            coef = next(course)
            seconds += time.perf_counter() - began
            passes += 1
            distance = answer.distance(coef)
            if distance <= TOL:
                return Course(seconds, passes, distance)
            if passes == MOST_PASSES or distance == math.inf:
                return Course(seconds, passes, distance, "not reached")
            if seconds >= budget:
                return Course(seconds, passes, distance, "out of time")

    def again(self, data: Data, answer: Answer, before: Course) -> Course:
        return self.course(data, answer, math.inf if not before.end else before.seconds)


@dataclass(frozen=True)
class Runner:
    """A peer that shows its coefficients at its end: its course is its shortest run that reaches."""

    run: Run
    most: int = MOST_PASSES
    fewest: int = 1

    def course(self, data: Data, answer: Answer, budget: float) -> Course:
        """By doubling, and then halving to a tenth."""
        low, found = self.fewest - 1, self._once(data, answer, self.fewest)
        while found.end:
            low = round(found.passes)
            if low == self.most:
                return found
            if 2 * found.seconds > budget:
                return replace(found, end="out of time")
            found = self._once(data, answer, min(2 * low, self.most))
        while found.passes - low > max(1, 0.1 * found.passes):
            middle = self._once(data, answer, (low + round(found.passes)) // 2)
            if middle.end:
                low = round(middle.passes)
            else:
                found = middle
        return found

    def again(self, data: Data, answer: Answer, before: Course) -> Course:
        return self._once(data, answer, round(before.passes))

    def _once(self, data: Data, answer: Answer, passes: int) -> Course:
        began = time.perf_counter()
        coef = self.run(data, passes)
        seconds = time.perf_counter() - began
        distance = answer.distance(coef)
        return Course(seconds, passes, distance, "" if distance <= TOL else "not reached")


@dataclass(frozen=True)
class Peer:
    """A contestant, and how many times gentle's time it is meant to take at least."""

    name: str
    kind: Walker | Runner
    target: float | None = None


@dataclass(frozen=True)
class Ours:
    """A whole call of gentle, and what it spent its time on."""

    course: Course
    exact: float  # seconds of the exact answer at the end; nan where there is none
    until: float  # seconds from the call to the first step within the tolerance


def gentle_course(data: Data, answer: Answer) -> Ours:
    """One call; its steps are looked at afterwards."""
    steps: list[tuple[float, Floats]] = []
    began = time.perf_counter()
    fit = gentle.fit(
        (data.X, data.y),
        solver="sgd",
        tol=TOL,
        watch=lambda step: steps.append((time.perf_counter() - began, step.coef)),
    )
    seconds = time.perf_counter() - began
    distance = answer.distance(fit.values)
    until = next((at for at, coef in steps if answer.distance(coef) <= TOL), math.nan)
    end = "" if distance <= TOL else "not reached"
    closing = fit.way.exact_seconds if isinstance(fit, gentle.Fit) else math.nan
    return Ours(Course(seconds, fit.trace[-1].passes, distance, end), closing, until)


def race(data: Data, answer: Answer, peers: Sequence[Peer], budget: float) -> None:
    """All in turns with gentle, so that a slow moment of the machine meets both; then the table."""
    print(f"{len(data.y):,} x {data.X.shape[1]:,}  (load {os.getloadavg()[0]:.1f})")
    ours: list[Ours] = []
    try:
        gentle_course(data, answer)  # the warm-up
    except gentle.GentleError as error:
        print(f"  gentle: not yet ({error})")
    else:
        ours = [gentle_course(data, answer)]
    courses = {}
    for peer in peers:
        course = peer.kind.course(data, answer, budget)
        more = [course]
        while course.seconds < FAST and len(more) < FEW:
            ours += [gentle_course(data, answer)] if ours else []
            more.append(peer.kind.again(data, answer, course))
        courses[peer] = replace(course, seconds=median(it.seconds for it in more))
        ours += [gentle_course(data, answer)] if ours else []
    while ours and len(ours) < REPETITIONS:
        ours.append(gentle_course(data, answer))
    show(ours, courses)


def median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def show(ours: Sequence[Ours], courses: Mapping[Peer, Course]) -> None:
    """A line for each contestant."""
    print(f"  {'':40}{'seconds':>9}{'passes':>8}{'distance':>10}  {'ratio'}")
    whole = median(it.course.seconds for it in ours) if ours else math.nan
    if ours:
        low, high = min(it.course.seconds for it in ours), max(it.course.seconds for it in ours)
        print(f"  {'gentle, the whole call':40}{line(replace(ours[0].course, seconds=whole))}")
        print(f"  {'  fastest to slowest':40}{low:9.2f} to {high:.2f}")
        print(f"  {'  until its steps were there':40}{median(it.until for it in ours):9.2f}")
        if math.isfinite(ours[0].exact):
            print(f"  {'  of it the exact answer':40}{median(it.exact for it in ours):9.2f}")
    for peer, course in courses.items():
        ratio = f"{'> ' if course.end else ''}{course.seconds / whole:.3g}" if ours else "-"
        target = "" if peer.target is None else f" [{peer.target:.2g}]"
        print(f"  {peer.name:40}{line(course)}{ratio:>8}{target:6} {course.end}".rstrip())
    print(f"  (load afterwards {os.getloadavg()[0]:.1f})")
    sys.stdout.flush()


def line(course: Course) -> str:
    return f"{course.seconds:9.2f}{course.passes:8.0f}{course.distance:10.2g}"


# The cases. Each divides its rows by `less`.


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    less: int  # by which rows are divided
    budget: float  # seconds of a peer


def memory(asked: Asked) -> None:
    """Peak of the descent above X and y at p = 50, MiB, in a process of its own."""
    n = 1_000_000 // asked.less
    command = [sys.executable, __file__, "--peak", str(n)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(f"{n:,} x 50  {float(done.stdout):.0f} MiB, where X has {n * 50 * 8 / MiB:.0f}")


def judging(asked: Asked) -> None:
    """The share of a fit that goes into judging its steps and keeping their trace."""
    for n, p in ((1_000_000 // asked.less, 50), (10_000, 10)):
        data = Data.draw(n, p)
        gentle.fit((data.X, data.y), solver="sgd", tol=TOL)
        shares, seconds = zip(*(judged(data) for _ in range(REPETITIONS)), strict=True)
        print(f"{n:,} x {p}  {median(shares):.1%} of {1e3 * median(seconds):.0f} ms")


def main_case(asked: Asked) -> None:
    """A million rows of 50 columns."""
    data = Data.draw(1_000_000 // asked.less, 50)
    answer = exact(data)
    check(data, answer, lstsq=True)
    with tempfile.TemporaryDirectory() as folder:
        peers = dense_peers("main") + vowpal_wabbit(data, folder)
        race(data, answer, peers, asked.budget)


def long(asked: Asked) -> None:
    """Five million rows of ten columns."""
    dense(5_000_000 // asked.less, 10, "long", asked.budget)


def wide(asked: Asked) -> None:
    """Two hundred thousand rows of 500 columns."""
    dense(200_000 // asked.less, 500, "wide", asked.budget)


def sparse(asked: Asked) -> None:
    """Two hundred thousand rows with 50 numbers in 100,000 columns."""
    data = Data.draw_sparse(200_000 // asked.less, 100_000 // asked.less)
    race(data, exact_sparse(data), sparse_peers(), asked.budget)


CASES = {
    "memory": memory,
    "main": main_case,
    "long": long,
    "wide": wide,
    "sparse": sparse,
    "judging": judging,
}


def dense(n: int, p: int, case: str, budget: float) -> None:
    """A race without Vowpal Wabbit."""
    data = Data.draw(n, p)
    answer = exact(data)
    check(data, answer, lstsq=False)
    race(data, answer, dense_peers(case), budget)


def dense_peers(case: str) -> list[Peer]:
    """Those for which X is an array, at their best settings for a case."""
    regressor, loop = SETTINGS[case]
    return [
        Peer(
            "StandardScaler + SGDRegressor",
            Walker(partial(sgd_regressor, scaler=StandardScaler, **regressor)),
            15,
        ),
        Peer("torch.optim.SGD, DataLoader", Walker(partial(torch_loop, loader=True, **loop)), 10),
        Peer("torch.optim.SGD, slices", Walker(partial(torch_loop, loader=False, **loop))),
        Peer("StandardScaler + Ridge(solver='sag')", Runner(sag), 20),
    ]


def sparse_peers() -> list[Peer]:
    """Those for which X is compressed rows."""
    return [
        Peer("LSMR", Runner(partial(krylov, method=lsmr, most="maxiter"), most=1_000), 1 / 2),
        Peer("LSQR", Runner(partial(krylov, method=lsqr, most="iter_lim"), most=1_000)),
        Peer(
            "MaxAbsScaler + SGDRegressor",
            Walker(partial(sgd_regressor, scaler=MaxAbsScaler, **SPARSE)),
            5,
        ),
    ]


def vowpal_wabbit(data: Data, folder: str) -> list[Peer]:
    """It too, where it is installed."""
    if importlib.util.find_spec("vowpalwabbit") is None:
        print("  Vowpal Wabbit: skipped, it is not installed")
        return []
    runs = VowpalWabbit(data, folder)
    return [
        Peer(f"Vowpal Wabbit {name}", Runner(partial(runs, flags=flags), fewest=2))
        for name, flags in WABBIT.items()
    ]


def judged(data: Data) -> tuple[float, float]:
    """The share of a fit in judging and tracing, and the seconds of that fit."""
    clock = Stopwatch()
    with ExitStack() as undo:
        for where, name in JUDGING:
            undo.enter_context(mock.patch.object(where, name, clock.timed(getattr(where, name))))
        began = time.perf_counter()
        gentle.fit((data.X, data.y), solver="sgd", tol=TOL)
        seconds = time.perf_counter() - began
    return clock.seconds / seconds, seconds


# where a driver asks for a judgement, or keeps a step
JUDGING = (
    (gentle.certificate.Estimator, "__call__"),
    (gentle.approach, "certify"),
    (gentle.driver, "_progress"),
    (gentle.driver._Course, "take"),
    (gentle.driver._Trace, "take"),
)


class Stopwatch:
    """The seconds spent in some functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, none of which calls another of them."""

        def run(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                self.seconds += time.perf_counter() - began

        return run


def peak(n: int) -> float:
    """MiB that the descent adds to the most this process has held, with libraries and data in place."""
    small = Data.draw(1_000, 50)
    gentle.fit((small.X, small.y), solver="sgd", tol=TOL)
    data = Data.draw(n, 50)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gentle.fit((data.X, data.y), solver="sgd", tol=TOL)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (most - before) * (1 if sys.platform == "darwin" else 1024) / MiB


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows: a smoke run")
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds of a slow peer")
    parser.add_argument("--threads", type=int, default=THREADS, help="of every contestant")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)  # of how many rows
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with threadpool_limits(given.threads), sklearn.config_context(assume_finite=True):
        if given.peak:
            print(peak(given.peak))
            return
        print(threads())
        asked = Asked(10, min(given.budget, 20.0)) if given.quick else Asked(1, given.budget)
        for name in [given.only] if given.only else CASES:
            print(f"\n{name}: {CASES[name].__doc__}")
            CASES[name](asked)


if __name__ == "__main__":
    main()
