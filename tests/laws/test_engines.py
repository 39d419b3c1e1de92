"""Laws of engines: the parts fix the answer, the engine does not; each part comes back once.

A new engine is tested by being listed in `ENGINES`.
"""

from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gentle.design import Held, Rows, learn_design
from gentle.engines import Here, fold
from gentle.exact import polish, solve
from gentle.problem import reduce
from gentle.sources import Arrays
from gentle.statistics import Moments, Opening, Sample, Tally, Triangle

ENGINES = [Here()]


class Backwards:
    """Hands the parts back in the opposite order."""

    def run(self, work, parts):
        for number in reversed(range(len(parts))):
            yield number, work(parts[number])


class Threads:
    """Works on all parts at once and hands them back as they are done."""

    def run(self, work, parts):
        with ThreadPoolExecutor(4) as pool:
            jobs = {pool.submit(work, part): number for number, part in enumerate(parts)}
            for job in as_completed(jobs):
                yield jobs[job], job.result()


class Twice:
    """Brings its first part back twice."""

    def run(self, work, parts):
        yield from Here().run(work, parts)
        yield 0, work(parts[0])


class Loses:
    """Forgets its last part."""

    def run(self, work, parts):
        yield from list(Here().run(work, parts))[:-1]


def rows(n=500, batch_rows=17):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)) * [1, 100, 1e-3] + [0, 1e4, 5]
    y = x @ [1, 0.5, 200] + rng.normal(size=n)
    source = Arrays(x, ("a", "b", "c"), {"y": y})
    return Rows(source, learn_design(source, targets=("y",)), batch_rows)


def numbers(opening):
    triangle = opening.sums.triangle()
    return np.concatenate(
        [[opening.tally.n_used], opening.sample.batch.rows, np.abs(triangle.r).ravel()]
    )


def opening():
    return Opening(Tally(), Moments(), Sample(40))


@pytest.mark.parametrize(
    "engine", [*ENGINES, Backwards(), Threads()], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("parts", [1, 2, 3, 8, 64])
def test_where_the_work_runs_does_not_change_a_bit(engine, parts):
    here = numbers(fold(opening(), rows(), Here(), parts))
    np.testing.assert_array_equal(numbers(fold(opening(), rows(), engine, parts)), here)


@pytest.mark.parametrize(
    "engine", [*ENGINES, Backwards(), Threads()], ids=lambda e: type(e).__name__
)
def test_where_a_polish_runs_does_not_change_a_bit(engine):
    triangle = fold(Moments(), rows()).triangle()
    coarse = solve(reduce(triangle, intercept=True, l2=0.0, n_used=500))
    here = polish(coarse, rows())
    there = polish(coarse, rows(), engine)
    assert here.polished
    for one, two in ((here.coef, there.coef), (here.low, there.low), (here.basis, there.basis)):
        np.testing.assert_array_equal(one, two)


@given(parts=st.integers(1, 700), n=st.integers(5, 600))
def test_any_number_of_parts_gives_the_same_answer(parts, n):
    whole = numbers(fold(opening(), rows(n)))
    np.testing.assert_allclose(
        numbers(fold(opening(), rows(n), parts=parts)), whole, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("parts", [1, 2, 5, 40])
def test_batches_in_memory_split_into_the_same_rows(parts):
    held = Held(tuple(rows()))
    seen = np.concatenate([b.rows for part in held.split(parts) for b in part])
    np.testing.assert_array_equal(seen, np.arange(500))
    whole = numbers(fold(opening(), rows()))
    np.testing.assert_allclose(numbers(fold(opening(), held, parts=parts)), whole, rtol=1e-9)


def test_a_triangle_folds_in_parts():
    coordinates = fold(Moments(), rows()).triangle().coordinates
    whole = fold(Triangle.zero(coordinates), rows()).r
    parted = fold(Triangle.zero(coordinates), rows(), parts=7).r
    np.testing.assert_allclose(parted.T @ parted, whole.T @ whole, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_a_part_that_comes_back_twice_is_an_error(parts):
    with pytest.raises(RuntimeError, match=r"part 0 .*twice"):
        fold(Moments(), rows(), Twice(), parts)


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_a_part_that_is_lost_is_an_error(parts):
    with pytest.raises(RuntimeError, match=rf"\[{parts - 1}\].*did not come back"):
        fold(Moments(), rows(), Loses(), parts)


def test_no_rows_give_the_zero():
    assert fold(Moments(), Held(())).total == 0
    assert fold(Tally(), Held(()), parts=3).n_read == 0
    assert torch.get_default_dtype() == torch.float32  # nobody has changed it on the way
