"""Laws of solvers: on every problem a solver meets its certificate; units do not change its way.

A new problem is tested by being listed in `PROBLEMS`.
"""

import warnings
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

import gentle
from gentle.statistics import EPSILON

N = 3_000


def linear(x, noise=1.0, seed=9):
    """y = X b + noise with a spread of the signal near that of the noise."""
    rng = np.random.default_rng(seed)
    spread = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    return x @ (rng.normal(size=x.shape[1]) / spread) + noise * rng.normal(size=len(x))


def normal(rng, n=N, p=4):
    return rng.normal(size=(n, p))


def units(rng):
    return normal(rng, p=5) * 10.0 ** np.array([-8, -4, 0, 4, 8])


def offsets(rng):
    return normal(rng) + 1e6


def units_and_offsets(rng):
    return (normal(rng) + np.array([1e6, -1e3, 0, 1e5])) * [1e-6, 1e6, 1, 1e3]


def sorted_rows(rng):
    x = normal(rng)
    return x[np.argsort(x[:, 0])]


def sorted_blocks(rng):
    """The first quarter of the rows has a different centre and spread from the rest."""
    x = normal(rng)
    x[: N // 4] = 0.01 * x[: N // 4] + 30
    return x


def rare_levels(rng):
    """Dummies of which some are on in two or three rows of three thousand."""
    level = rng.choice(12, N, p=[0.5, 0.3, 0.18] + [0.02 / 9] * 9)
    for rare in range(3, 12):
        level[rng.choice(N, 2, replace=False)] = rare
    return (level[:, None] == np.arange(1, 12)).astype(float)


def rare_levels_at_the_end(rng):
    x = rare_levels(rng)
    return x[np.argsort(x[:, 3:].sum(axis=1), kind="stable")]


def heavy_tails(rng):
    return rng.standard_t(1.5, size=(N, 4))


def one_far_row(rng):
    x = normal(rng)
    x[1700] = [1e6, -1e6, 1e5, 3.0]
    return x


def skewed(rng):
    return np.exp(2 * normal(rng))


def correlated(rng):
    common = rng.normal(size=(N, 1))
    return common + 1e-2 * normal(rng)


def collinear(rng):
    x = normal(rng)
    x[:, 3] = x[:, 0] + x[:, 1] + 1e-5 * rng.normal(size=N)
    return x


def polynomial(rng):
    return rng.uniform(1, 2, N)[:, None] ** np.arange(1, 5)


def wide(rng):
    return normal(rng, n=300, p=60)


def few_rows(rng):
    return normal(rng, n=9, p=3)


def one_column(rng):
    return normal(rng, p=1)


def many_rows(rng):
    return normal(rng, n=60_000, p=6)


PROBLEMS = [
    normal,
    units,
    offsets,
    units_and_offsets,
    sorted_rows,
    sorted_blocks,
    rare_levels,
    rare_levels_at_the_end,
    heavy_tails,
    one_far_row,
    skewed,
    correlated,
    collinear,
    polynomial,
    wide,
    few_rows,
    one_column,
    many_rows,
]
problems = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.__name__)


def passes(found):
    return found.trace[-1].passes


def meets(found, tol):
    """Within tol, or where tol is below what float64 can promise, as near as that."""
    certificate = found.certificate
    assert certificate.within <= max(tol, 2 * certificate.floor), found.verdict
    if found.l2 == 0 and certificate.unit == "standard errors":
        kept = found.placing.kept
        apart = np.abs(np.array(list(found.difference.values())))[kept] * certificate.yardstick
        shown = EPSILON / 2 * np.abs(found.exact_values[kept])  # the exact answer is shown rounded
        assert (apart <= certificate.distance * (1 + 1e-9) + shown).all()
    return found


def of_kind(x, y, kind, rng):
    options = {}
    if kind == "weights":
        options["weights"] = rng.uniform(0.01, 10, len(y))
    elif kind == "frequencies":
        options["frequencies"] = rng.integers(0, 4, len(y)).astype(float)
    elif kind == "ridge":
        options["l2"] = 0.1
    elif kind == "no constant":
        options["intercept"] = False
    return gentle.fit((x, y), solver="sgd", tol=1e-3, **options)


@problems
@pytest.mark.parametrize("kind", ["plain", "weights", "frequencies", "ridge", "no constant"])
def test_descent_meets_its_certificate(problem, kind):
    rng = np.random.default_rng(1)
    x = problem(rng)
    found = meets(of_kind(x, linear(x), kind, rng), 1e-3)
    assert found.verdict.agrees
    assert passes(found) <= 40


@problems
@pytest.mark.parametrize("seed", range(3))
def test_descent_meets_a_tight_certificate_for_any_seed(problem, seed):
    x = problem(np.random.default_rng(seed))
    found = gentle.fit((x, linear(x)), solver="sgd", tol=1e-8, seed=seed)
    meets(found, 1e-8)


@problems
def test_the_same_seed_gives_the_same_numbers(problem):
    x = problem(np.random.default_rng(1))
    one, two = (gentle.fit((x, linear(x)), solver="sgd", seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.values, two.values)
    assert [step.passes for step in one.trace] == [step.passes for step in two.trace]


@problems
def test_the_trace_counts_its_passes_upwards(problem):
    x = problem(np.random.default_rng(1))
    seen = []
    found = gentle.fit((x, linear(x)), solver="sgd", tol=1e-8, watch=seen.append)
    counts = [step.passes for step in found.trace]
    assert [step.passes for step in seen] == counts
    assert all(one < two for one, two in pairwise(counts))
    assert found.certificate.within in [step.within for step in found.trace]
    assert not any(step.estimated for step in found.trace)


@pytest.mark.parametrize(
    "problem", [normal, sorted_rows, correlated, rare_levels, skewed], ids=lambda p: p.__name__
)
@pytest.mark.parametrize(
    ("factor", "shift"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e5), (2.54, -40.0), (-1.0, 0.0)]
)
def test_other_units_do_not_change_the_way(problem, factor, shift):
    x = problem(np.random.default_rng(2))
    y = linear(x)
    one = gentle.fit((x, y), solver="sgd", tol=1e-4)
    other = gentle.fit((factor * x + shift, y), solver="sgd", tol=1e-4)
    meets(other, 1e-4)
    assert abs(passes(one) - passes(other)) <= 1
    np.testing.assert_allclose(
        other.exact_values[1:] * factor, one.exact_values[1:], rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("factor", [1e-100, 1e-8, 1e8, 1e100])
def test_other_units_of_the_target_do_not_change_the_way(factor):
    x = normal(np.random.default_rng(2))
    y = linear(x)
    one = gentle.fit((x, y), solver="sgd", tol=1e-4)
    other = gentle.fit((x, factor * y), solver="sgd", tol=1e-4)
    meets(other, 1e-4)
    assert abs(passes(one) - passes(other)) <= 1
    np.testing.assert_allclose(other.values / factor, one.values, rtol=1e-4)


def test_columns_that_cannot_be_told_apart_are_left_out_and_the_rest_is_met():
    rng = np.random.default_rng(3)
    x = normal(rng)
    x = np.column_stack([x, x[:, 0] - 2 * x[:, 1], np.ones(N)])
    with pytest.warns(gentle.GentleWarning, match="left out"):
        found = gentle.fit((x, linear(x)), solver="sgd")
    meets(found, 1e-3)
    assert set(found.dropped) == {"x5", "x6"}


def test_fewer_rows_than_columns_are_met_exactly():
    rng = np.random.default_rng(4)
    x = normal(rng, n=6, p=10)
    y = rng.normal(size=6)
    with pytest.warns(gentle.GentleWarning):
        found = gentle.fit((x, y), solver="sgd")
    assert found.df_resid == 0
    assert len(found.dropped) == 5
    np.testing.assert_allclose(found.predict(x), y, atol=1e-2 * np.abs(y).max())
    np.testing.assert_allclose(found.values, found.exact_values, rtol=0.1, atol=0.01)


@pytest.mark.parametrize("l2", [1e-8, 1e-3, 1.0, 1e3])
def test_a_ridge_of_any_strength_is_met(l2):
    x = correlated(np.random.default_rng(5))
    found = gentle.fit((x, linear(x)), solver="sgd", l2=l2, tol=1e-6)
    meets(found, 1e-6)
    a = x - x.mean(axis=0)
    y = linear(x)
    b = np.linalg.solve(a.T @ a / N + l2 * np.eye(4), a.T @ (y - y.mean()) / N)
    np.testing.assert_allclose(found.exact_values[1:], b, rtol=1e-6)


def test_data_without_noise_are_met_in_many_digits():
    x = units(np.random.default_rng(6))
    found = gentle.fit((x, linear(x, noise=0.0)), solver="sgd", tol=1e-9)
    assert found.certificate.unit == "relative"
    meets(found, 1e-9)
    np.testing.assert_allclose(found.values[1:], found.exact_values[1:], rtol=1e-8)


def test_rows_that_are_streamed_give_the_same_descent_as_rows_in_memory(tmp_path):
    """A file that is read anew in every pass goes the way of an array."""
    from gentle.choices import Choices
    from gentle.design import Rows, learn_design
    from gentle.fitting import fit_rows
    from gentle.sources import Frame, Plan
    from gentle.sources.files import FORMATS, Files

    x = normal(np.random.default_rng(7))
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": linear(x)})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=500)
    file = Plan(Files(FORMATS[".parquet"], (str(tmp_path / "t.parquet"),)))
    choices = Choices(solver="sgd", tol=1e-6)
    found = [
        fit_rows(Rows(source, learn_design(source, targets=("y",))), choices)[0]
        for source in (Frame(frame), file)
    ]
    for it in found:
        meets(it, 1e-6)
    np.testing.assert_allclose(found[0].exact_values, found[1].exact_values, rtol=1e-12)


def test_an_interrupt_keeps_the_best_point_and_says_so():
    x = many_rows(np.random.default_rng(8))

    def interrupt(step):
        if step.passes >= 3:
            raise KeyboardInterrupt

    found = gentle.fit((x, linear(x)), solver="sgd", tol=1e-12, watch=interrupt)
    assert found.interrupted
    assert found.verdict.cause == "interrupted"
    assert found.certificate.within in [step.within for step in found.trace]


def test_nothing_is_said_on_the_way():
    x = heavy_tails(np.random.default_rng(9))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gentle.fit((x, linear(x)), solver="sgd")
