"""How much faster two workers are than one, what an engine costs, and how long others on clusters take.

    python bench/engines.py [--quick] [--only CASE] [--folder FOLDER]

`speedup` fits the Parquet file of `reading.py`, 5e6 rows of 21 columns, on one worker that has one core
and on two that have two, each with one thread; the target in brackets (at least). `overhead` fits 1e4
rows of 10 columns in memory on each engine, in one part and in eight. `peers` fits 1e6 rows of 21 columns
on two workers of one thread: gentle on Dask, dask-ml's LinearRegression as it comes (ADMM) and by L-BFGS,
and Spark's by the normal equation. Each reads the file in each fit. An error is the largest distance of a
coefficient from LAPACK's least squares, in standard errors; memory is the peak of all processes together,
looked at five times a second.

Each way runs in a process of its own, warmed up; times are medians of five. The answers are compared
before any time is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import scipy.linalg
from reading import COLUMNS, ROWS, written
from speed import AGREE, MiB
from timing import medians

import gentle
from gentle.engines import ENGINES

PEER_ROWS = 1_000_000
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
SPEEDUP = 1.7  # of two workers over one


def speedup(folder: Path, share: int) -> None:
    """Two workers on two cores over one worker on one, 5e6 x 21 of Parquet."""
    path = written(folder / f"rows{share}.parquet", ROWS // share, COLUMNS)
    exact, std_errors = least_squares(path)
    print(f"{'':12}{'one':>10}{'two':>10}{'speed-up':>12}")
    for engine in ("threads", "processes", "dask"):
        found = [apart("gentle", path, engine, cores) for cores in (1, 2)]
        for each in found:
            if error(each, exact, std_errors) > AGREE:
                sys.exit(f"the coefficients on {engine} disagree with least squares")
        one, two = (each["seconds"] for each in found)
        print(f"{engine:12}{one:8.2f} s{two:8.2f} s{one / two:12.2f} [{SPEEDUP}]")


def overhead(_folder: Path, _share: int) -> None:
    """A fit of 1e4 x 10 in memory on each engine, in milliseconds."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10_000, 10))
    rows = (x, x @ np.arange(10) + rng.standard_normal(10_000))
    here = gentle.fit(rows)
    print(f"{'':12}{'one part':>12}{'eight parts':>14}")
    for engine in ENGINES:
        try:
            ways = {parts: fitted(rows, engine, parts) for parts in (1, 8)}
            for way in ways.values():
                np.testing.assert_allclose(way().values, here.values, rtol=1e-12)
        except gentle.GentleError as refused:
            print(f"{engine:12}{refused}")
            continue
        taken = medians(ways)
        print(f"{engine:12}{1e3 * taken[1]:9.1f} ms{1e3 * taken[8]:11.1f} ms")


def fitted(rows: Any, engine: str, parts: int) -> Callable[[], Any]:
    return lambda: gentle.fit(rows, engine=engine, parts=parts)


def peers(folder: Path, share: int) -> None:
    """The same 1e6 x 21 of Parquet by others that fit on clusters."""
    path = written(folder / f"peers{share}.parquet", PEER_ROWS // share, COLUMNS)
    exact, std_errors = least_squares(path)
    print(f"{'':15}{'time':>10}{'memory':>13}{'error':>14}")
    for peer in PEERS:
        try:
            found = apart(peer, path, "dask", 2, watched=True)
        except subprocess.CalledProcessError as failed:
            print(f"{peer:15}does not run here: {failed.stderr.strip().splitlines()[-1]}")
            continue
        apart_by = error(found, exact, std_errors)
        if peer == "gentle" and apart_by > AGREE:
            sys.exit("gentle's coefficients disagree with least squares")
        line = f"{peer:15}{found['seconds']:8.2f} s{found['memory'] / MiB:9.0f} MiB"
        print(f"{line}{apart_by:11.1e} se")


def by_gentle(path: Path, engine: str, _cores: int) -> Callable[[], Iterable[float]]:
    return lambda: gentle.fit(path, target="y", engine=engine).values


def by_dask_ml(
    path: Path, _engine: str, cores: int, solver: str = "admm"
) -> Callable[[], Iterable[float]]:
    import dask.dataframe
    from dask_ml.linear_model import LinearRegression
    from distributed import Client
    from distributed.deploy.subprocess import SubprocessCluster

    Client(SubprocessCluster(n_workers=cores, threads_per_worker=1, dashboard_address=":0"))

    def fit() -> Iterable[float]:
        rows = dask.dataframe.read_parquet(path, split_row_groups=True)
        values = rows.to_dask_array(lengths=True)
        found = LinearRegression(solver=solver).fit(values[:, :-1], values[:, -1])
        return [found.intercept_, *found.coef_]

    return fit


def by_spark(path: Path, _engine: str, cores: int) -> Callable[[], Iterable[float]]:
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.regression import LinearRegression
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{cores}]").config("spark.ui.enabled", "false")
    session = builder.config("spark.driver.memory", "4g").getOrCreate()

    def fit() -> Iterable[float]:
        rows = session.read.parquet(str(path))
        features = VectorAssembler(inputCols=rows.columns[:-1], outputCol="features")
        found = LinearRegression(labelCol="y", solver="normal").fit(features.transform(rows))
        return [found.intercept, *found.coefficients]

    return fit


PEERS = {
    "gentle": by_gentle,
    "dask-ml": by_dask_ml,
    "dask-ml lbfgs": partial(by_dask_ml, solver="lbfgs"),
    "spark": by_spark,
}
CASES = {"speedup": speedup, "overhead": overhead, "peers": peers}


def least_squares(path: Path) -> tuple[Any, Any]:
    """(coefficients, standard errors), the constant first, by LAPACK's QR in memory."""
    rows = pl.read_parquet(path).to_numpy()
    y = rows[:, -1].copy()
    rows[:, 1:] = rows[:, :-1].copy()
    rows[:, 0] = 1
    r, coef = _triangle(rows, y)
    residuals = y - rows @ coef
    sigma = np.linalg.norm(residuals) / np.sqrt(len(y) - len(coef))
    return coef, sigma * np.linalg.norm(scipy.linalg.inv(r), axis=1)


def _triangle(x: Any, y: Any) -> tuple[Any, Any]:
    q, r = scipy.linalg.qr(x, mode="economic")
    return r, scipy.linalg.solve_triangular(r, q.T @ y)


def error(found: dict[str, Any], exact: Any, std_errors: Any) -> float:
    """The largest distance of a coefficient, in standard errors."""
    return float(np.max(np.abs(np.array(found["coef"]) - exact) / std_errors))


def apart(
    way: str, path: Path, engine: str, cores: int, *, watched: bool = False
) -> dict[str, Any]:
    """Coefficients, seconds and bytes of one way in a process of its own on the first so many cores.

    The bytes are 0 where nobody watches, which takes some of a core.
    """
    threads = str(cores if engine == "threads" else 1)
    run = subprocess.Popen(
        [sys.executable, __file__, "--alone", way, str(path), engine, str(cores)],
        env={**os.environ, **ONE_THREAD, "POLARS_MAX_THREADS": threads},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    memory = 0
    while watched and run.poll() is None:
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(run.pid)
            memory = max(memory, sum(_resident(each) for each in [own, *own.children(True)]))
        time.sleep(0.2)
    out, complaint = run.communicate()
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, way, out, complaint)
    for line in complaint.splitlines():
        if "noisy" in line:
            print(line, file=sys.stderr)
    return {**json.loads(out.splitlines()[-1]), "memory": memory}


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def alone(way: str, path: str, engine: str, cores: str) -> None:
    """What `apart` asks of this process."""
    sys.path.remove(str(Path(__file__).parent))  # whose coverage.py is not the one that numba seeks
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    fit = PEERS[way](Path(path), engine, int(cores))
    coef = [float(value) for value in fit()]
    print(json.dumps({"coef": coef, "seconds": medians({way: fit})[way]}), flush=True)


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows: a smoke run")
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--folder", type=Path, help="where the files are kept for the next run")
    parser.add_argument("--alone", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        alone(*given.alone)
        return
    print(f"{len(os.sched_getaffinity(0))} cores; load before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as own:
        for name in [given.only] if given.only else CASES:
            print(f"\n{name}: {CASES[name].__doc__}")
            CASES[name](given.folder or Path(own), 10 if given.quick else 1)


if __name__ == "__main__":
    main()
