"""How long gentle's fit of a file takes beside reading it alone, and how much memory.

    python bench/reading.py [--quick] [--only CASE] [--folder FOLDER]

A file has 21 columns of float64, one of them the target. gentle reads it once, `gentle.fit(path,
target="y")`, with standard errors and a certificate. Ratios are its time over polars' own streaming sum
of the same columns, the target in brackets (at most), and that of polars -> numpy -> scikit-learn's
LinearRegression over gentle's (at least). All run in turns, warmed up, on two threads; times are medians
of five. The coefficients are compared before any time is taken. Memory is the peak of a process that
fits once, above what its imports take.

`--only growth` writes one file of 10^8 rows of five columns (4 GB) and fits its first 10^5, 10^6, ...
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import sklearn.linear_model as sk
import torch
from speed import AGREE, THREADS, MiB
from threadpoolctl import threadpool_limits
from timing import medians, threads

import gentle

ROWS, CSV_ROWS, COLUMNS = 5_000_000, 1_000_000, 21
LARGEST, NARROW = 100_000_000, 5
BLOCK = 500_000


def written(path: Path, n: int, width: int) -> Path:
    """A seeded file of so many rows and columns, the last one the target, written block by block."""
    if path.exists():
        return path
    names = [*(f"x{j + 1}" for j in range(width - 1)), "y"]
    rng = np.random.default_rng(width)
    coef = rng.standard_normal(width - 1)

    def block(at: int) -> pl.DataFrame:
        rows = np.random.default_rng(at).standard_normal((min(BLOCK, n - at), width))
        rows[:, -1] += 1 + rows[:, :-1] @ coef
        return pl.DataFrame(rows, schema=names)

    schema = dict.fromkeys(names, pl.Float64)
    plan = pl.concat([pl.defer(partial(block, at), schema=schema) for at in range(0, n, BLOCK)])
    plan.sink_csv(path) if path.suffix == ".csv" else plan.sink_parquet(path)
    return path


def scanned(path: Path) -> pl.LazyFrame:
    return pl.scan_csv(path) if path.suffix == ".csv" else pl.scan_parquet(path)


def summed(path: Path) -> pl.DataFrame:
    """polars' own streaming sum of every column."""
    return scanned(path).select(pl.all().sum()).collect(engine="streaming")


def learned(path: Path) -> Any:
    """The way through memory: polars, numpy, scikit-learn."""
    rows = scanned(path).collect().to_numpy()
    return sk.LinearRegression().fit(rows[:, :-1], rows[:, -1])


def check(path: Path) -> None:
    """Ends the run where the two fits disagree."""
    fit, peer = gentle.fit(path, target="y"), learned(path)
    for coef, other, se in zip(
        list(fit.coef.values())[1:], peer.coef_, list(fit.std_errors.values())[1:], strict=True
    ):
        if not abs(coef - other) <= AGREE * se:
            sys.exit(f"the coefficients of {path.name} disagree")


def race(path: Path, most: float, least: float | None) -> None:
    """One file: gentle, the sum, and the way through memory."""
    check(path)
    ways: dict[str, Callable[[], object]] = {
        "gentle": lambda: gentle.fit(path, target="y"),
        "sum": lambda: summed(path),
    }
    if least is not None:
        ways["scikit-learn"] = lambda: learned(path)
    seconds = medians(ways)
    line = f"{path.suffix[1:]:8}{seconds['gentle']:9.2f} s{seconds['gentle'] / seconds['sum']:8.2f}"
    line += f" [{most}]"
    if least is not None:
        line += f"{seconds['scikit-learn'] / seconds['gentle']:10.1f} [{least:g}]"
    print(line)


def parquet(folder: Path, share: int) -> None:
    """Five million rows of Parquet."""
    path = written(folder / f"rows{share}.parquet", ROWS // share, COLUMNS)
    print(f"{'':8}{'gentle':>11}{'over polars':>14}{'scikit-learn over gentle':>28}")
    race(path, 2.5, 8.0)
    print(f"{'':8}memory above the imports: {peak(path):.0f} MiB [400]")


def csv(folder: Path, share: int) -> None:
    """A million rows of CSV."""
    race(written(folder / f"rows{share}.csv", CSV_ROWS // share, COLUMNS), 1.6, None)


def growth(folder: Path, share: int) -> None:
    """From 10^5 to 10^8 rows: seconds, and memory above the imports."""
    whole = written(folder / f"long{share}.parquet", LARGEST // share, NARROW)
    n = LARGEST // 1000 // share
    while n <= LARGEST // share:
        part = folder / f"first{n}.parquet"
        if not part.exists():
            pl.scan_parquet(whole).head(n).sink_parquet(part)
        seconds = medians({"gentle": lambda part=part: gentle.fit(part, target="y")})["gentle"]
        print(f"{n:12,} rows{seconds:9.2f} s{1e9 * seconds / n:8.0f} ns a row{peak(part):8.0f} MiB")
        n *= 10


CASES: dict[str, Callable[[Path, int], None]] = {"parquet": parquet, "csv": csv, "growth": growth}


def peak(path: Path) -> float:
    """MiB of a process of its own that fits a file, above its imports."""
    run = subprocess.run(
        [sys.executable, __file__, "--peak", str(path)], check=True, capture_output=True, text=True
    )
    return float(run.stdout.splitlines()[-1])


def own_peak(path: Path) -> float:
    """The same of this process, after a small fit, which loads all that is loaded late."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / f"small{path.suffix}"
        frame = pl.DataFrame(rng.standard_normal((100, 3)), schema=["a", "b", "y"])
        frame.write_csv(small) if path.suffix == ".csv" else frame.write_parquet(small)
        gentle.fit(small, target="y")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: it came from the parent
    before = high_water()
    gentle.fit(path, target="y")
    return (high_water() - before) / MiB


def high_water() -> int:
    """The most memory that was resident since the peak was reset, in bytes; on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows: a smoke run")
    parser.add_argument("--only", choices=CASES, help="one case; growth runs only when it is named")
    parser.add_argument("--folder", type=Path, help="where the files are kept for the next run")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        print(own_peak(given.peak))
        return
    torch.set_num_threads(THREADS)
    with threadpool_limits(THREADS), tempfile.TemporaryDirectory() as own:
        print(threads())
        folder = given.folder or Path(own)
        for name in [given.only] if given.only else ["parquet", "csv"]:
            print(f"\n{name}: {CASES[name].__doc__}")
            CASES[name](folder, 10 if given.quick else 1)


if __name__ == "__main__":
    main()
