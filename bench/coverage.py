"""How often 95 % intervals hold the true coefficient: of one stochastic pass, and of exact fits beside it.

    python bench/coverage.py [--streams 2000] [--exact 500] [--rows 100000] [--columns 10] [--jobs 1]

Each stream is new rows with correlated columns in units of 1e-3 to 1e3 and with offsets, and noise that is
normal, of a variance that is larger far out, or of t with 5 degrees of freedom. One pass is
gentle.Online; classical and HC1 are gentle.fit on the same rows. Of all coefficients together: the share
held, its standard error over streams, the coefficient that is held least often, the mean length beside
the length of HC1, and milliseconds a stream. Classical intervals must fail where the variance varies.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

import gentle

Floats = npt.NDArray[np.float64]
Intervals = Mapping[str, tuple[float, float]]

NOISES = ("normal", "uneven", "t5")
METHODS = ("one pass", "classical", "HC1")
LEVEL = 0.95


@dataclass(frozen=True)
class Sizes:
    """Of a stream, and how many of the streams exact fits take part in."""

    rows: int
    columns: int
    exact: int


@dataclass(frozen=True)
class Stream:
    """Rows and the coefficients they were drawn by, the constant first."""

    X: Floats  # (n, p)
    y: Floats  # (n,)
    coef: Floats  # (p + 1,)


def draw(noise: str, number: int, sizes: Sizes) -> Stream:
    """A seeded stream: z correlated at 0.5 with its neighbour, x = unit z + offset."""
    rng = np.random.default_rng([NOISES.index(noise), number])
    n, p = sizes.rows, sizes.columns
    z = rng.standard_normal((n, p))
    for j in range(1, p):
        z[:, j] = 0.5 * z[:, j - 1] + 0.75**0.5 * z[:, j]
    error = rng.standard_t(5, n) if noise == "t5" else rng.standard_normal(n)
    if noise == "uneven":
        error *= (z**2).mean(axis=1) ** 1.5
    units = np.logspace(-3, 3, p)
    X = z * units + rng.uniform(-100, 100, p) * units
    coef = rng.standard_normal(p + 1)
    coef[1:] /= units
    return Stream(X, coef[0] + X @ coef[1:] + error, coef)


def one_pass(stream: Stream) -> Intervals:
    return gentle.Online().partial_fit(stream.X, stream.y).conf_int(LEVEL)


def exact(errors: str, stream: Stream) -> Intervals:
    found = gentle.fit((stream.X, stream.y), errors=errors)
    assert isinstance(found, gentle.Fit)
    return found.conf_int(LEVEL)


WAYS: dict[str, Callable[[Stream], Intervals]] = {
    "one pass": one_pass,
    "classical": partial(exact, "classical"),
    "HC1": partial(exact, "HC1"),
}


@dataclass(frozen=True)
class Tried:
    """What intervals of one stream were: which held, how long each was, and what they took."""

    held: Floats  # (q,)
    lengths: Floats  # (q,)
    seconds: float


def tried(way: Callable[[Stream], Intervals], stream: Stream) -> Tried:
    began = time.perf_counter()
    found = way(stream)
    seconds = time.perf_counter() - began
    low, high = np.array(list(found.values())).T
    held = (low <= stream.coef) & (stream.coef <= high)
    return Tried(held.astype(np.float64), high - low, seconds)


def one_stream(noise: str, sizes: Sizes, number: int) -> dict[str, Tried]:
    stream = draw(noise, number, sizes)
    ways = METHODS if number < sizes.exact else METHODS[:1]
    return {name: tried(WAYS[name], stream) for name in ways}


def line(noise: str, method: str, found: list[dict[str, Tried]]) -> str:
    mine = [one[method] for one in found if method in one]
    both = [one for one in found if method in one and "HC1" in one]
    held = np.array([one.held for one in mine])
    ratios = [one[method].lengths / one["HC1"].lengths for one in both]
    length = f"{np.mean(ratios):.2f}" if ratios else "-"
    spread = held.mean(axis=1).std() / len(held) ** 0.5
    milliseconds = 1e3 * np.median([one.seconds for one in mine])
    return (
        f"{noise:<10}{method:<11}{len(held):>7,}{held.mean():>13.2%}{spread:>9.2%}"
        f"{held.mean(axis=0).min():>10.2%}{length:>10}{milliseconds:>10.0f}"
    )


def run(streams: int, sizes: Sizes, jobs: int) -> Iterator[str]:
    yield (
        f"{'noise':<10}{'intervals':<11}{'streams':>7}{'held of 95 %':>13}{'+-':>9}{'worst':>10}"
        f"{'length':>10}{'ms':>10}"
    )
    if jobs == 1:
        for noise in NOISES:
            found = [one_stream(noise, sizes, number) for number in range(streams)]
            yield from (line(noise, method, found) for method in METHODS if method in found[0])
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for noise in NOISES:
            each = pool.map(one_stream, repeat(noise), repeat(sizes), range(streams), chunksize=10)
            found = list(each)
            yield from (line(noise, method, found) for method in METHODS if method in found[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=2_000, help="of each noise")
    parser.add_argument("--exact", type=int, default=500, help="of them with exact fits beside")
    parser.add_argument("--rows", type=int, default=100_000, help="of a stream")
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    asked = parser.parse_args()
    began = time.perf_counter()
    sizes = Sizes(asked.rows, asked.columns, asked.exact)
    for text in run(asked.streams, sizes, asked.jobs):
        print(text, flush=True)
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes, {asked.jobs} at a time")


if __name__ == "__main__":
    main()
