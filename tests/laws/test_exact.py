"""Laws of the exact answer: what must not change it, what must change it in a known way, and rank."""

import pickle
import warnings
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

import gentle
from gentle import GentleError, GentleWarning, RankWarning
from gentle.answering import least_squares
from gentle.choices import Choices
from gentle.design import Rows, learn_design
from gentle.exact import solve
from gentle.passes import fold
from gentle.problem import reduce
from gentle.sources import Arrays
from gentle.statistics import Moments, Triangle

seeds = st.integers(0, 10**6)


def made(seed, n=40, p=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * 10.0 ** rng.uniform(-2, 2, p) + rng.normal(size=p)
    y = x @ rng.normal(size=p) + rng.normal(size=n) + 2
    return rng, x, y


def alike(one, two, rtol=1e-8):
    """The same fit: coefficients, errors, fit and verdict on the rows."""
    size = np.nanmax(np.abs(one.values))
    np.testing.assert_allclose(two.values, one.values, rtol=rtol, atol=rtol * 1e-2 * size)
    np.testing.assert_allclose(
        list(two.std_errors.values()), list(one.std_errors.values()), rtol=rtol
    )
    assert two.rss == pytest.approx(one.rss, rel=rtol)
    assert two.r2 == pytest.approx(one.r2, rel=rtol, abs=rtol)
    assert two.df_resid == one.df_resid
    assert two.n_rows == one.n_rows


def apart(one, two):
    """By how much two exact answers differ, what float64 lacks of them included."""
    return ((one.coef - two.coef) + (one.low - two.low))[:, 0]


def same(one, two):
    """Two fits of one question: no further apart than both are known, and with the same errors."""
    one, two = one.answer, two.answer
    assert one.polished
    assert two.polished
    sizes = np.abs(one.coef[:, 0])
    assert (np.abs(apart(one, two)) <= (one.floor + two.floor)[:, 0] + 2.0**-104 * sizes).all()
    np.testing.assert_allclose(one.basis @ one.basis.T, two.basis @ two.basis.T, rtol=1e-10)
    np.testing.assert_allclose(one.lengths, two.lengths, rtol=1e-12)
    np.testing.assert_allclose(one.rss, two.rss, rtol=1e-12)
    np.testing.assert_allclose(one.tss, two.tss, rtol=1e-12)
    assert one.df_resid == two.df_resid


def exactly(values):
    """Float64 numbers as fractions, with which one may reckon without rounding."""
    return np.vectorize(Fraction, otypes=[object])(values)


def solved(found):
    """The exact coefficients (q,) of a fit as fractions, what float64 lacks of them included."""
    return (exactly(found.answer.coef) + exactly(found.answer.low))[:, 0]


@given(seed=seeds)
def test_the_order_of_rows_does_not_matter(seed):
    rng, x, y = made(seed)
    order = rng.permutation(len(y))
    one, two = gentle.fit((x, y)), gentle.fit((x[order], y[order]))
    alike(one, two)
    same(one, two)


@given(seed=seeds)
def test_the_order_of_columns_goes_with_their_coefficients(seed):
    rng, x, y = made(seed)
    order = rng.permutation(x.shape[1])
    one, two = gentle.fit((x, y)), gentle.fit((x[:, order], y))
    np.testing.assert_allclose(two.slopes, one.slopes[order], rtol=1e-8)
    assert two.rss == pytest.approx(one.rss, rel=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
@given(seed=seeds)
def test_a_frequency_is_that_many_rows(intercept, seed):
    rng, x, y = made(seed)
    times = rng.integers(0, 4, len(y))
    again = np.repeat(np.arange(len(y)), times)
    one = gentle.fit((x, y), frequencies=times, intercept=intercept)
    two = gentle.fit((x[again], y[again]), intercept=intercept)
    alike(one, two)
    same(one, two)
    assert two.log_likelihood == pytest.approx(one.log_likelihood, rel=1e-10)
    assert two.bic == pytest.approx(one.bic, rel=1e-10)


@given(seed=seeds, row=st.integers(0, 39))
def test_a_row_that_stands_there_twice_has_frequency_two(seed, row):
    rng, x, y = made(seed)
    weights = rng.uniform(0.1, 5, len(y))
    times = np.where(np.arange(len(y)) == row, 2, 1)
    again = np.append(np.arange(len(y)), row)
    for given_weights, repeated in ((None, None), (weights, weights[again])):
        same(
            gentle.fit((x, y), frequencies=times, weights=given_weights),
            gentle.fit((x[again], y[again]), weights=repeated),
        )


@given(seed=seeds)
def test_a_row_of_weight_zero_is_absent(seed):
    rng, x, y = made(seed)
    weights = rng.uniform(0.1, 5, len(y)) * (rng.random(len(y)) < 0.7)
    on = weights > 0
    x[~on] *= 1e6  # whatever stands in it
    one = gentle.fit((x, y), weights=weights)
    two = gentle.fit((x[on], y[on]), weights=weights[on])
    alike(one, two)
    same(one, two)
    assert one.tally.n_weightless == (~on).sum()
    assert one.tally.n_used == on.sum()


@given(seed=seeds, factor=st.floats(1e-6, 1e6))
def test_weights_are_known_up_to_a_factor(seed, factor):
    rng, x, y = made(seed)
    weights = rng.uniform(0.1, 5, len(y))
    one, two = (gentle.fit((x, y), weights=w) for w in (weights, factor * weights))
    np.testing.assert_allclose(two.values, one.values, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        list(two.std_errors.values()), list(one.std_errors.values()), rtol=1e-8
    )


@given(seed=seeds, exponent=st.integers(-40, 40))
def test_weights_times_a_power_of_two_change_no_digit(seed, exponent):
    rng, x, y = made(seed)
    weights = rng.uniform(0.1, 5, len(y))
    one, two = (gentle.fit((x, y), weights=np.ldexp(weights, e)) for e in (0, exponent))
    sizes = np.abs(one.answer.coef[:, 0])
    floors = (one.answer.floor + two.answer.floor)[:, 0]
    assert (np.abs(apart(one.answer, two.answer)) <= floors + 2.0**-104 * sizes).all()
    np.testing.assert_allclose(
        list(two.std_errors.values()), list(one.std_errors.values()), rtol=1e-12
    )


@given(seed=seeds)
def test_weights_are_rows_times_their_root(seed):
    rng, x, y = made(seed)
    weights = rng.uniform(0.1, 5, len(y))
    root = np.sqrt(weights)
    whitened = np.column_stack([root, x * root[:, None]])
    one = gentle.fit((x, y), weights=weights)
    two = gentle.fit((whitened, y * root), intercept=False)
    np.testing.assert_allclose(two.values, one.values, rtol=1e-7, atol=1e-9)
    assert two.rss == pytest.approx(one.rss, rel=1e-8)


@given(
    seed=seeds, factors=st.lists(st.sampled_from([1e-8, -3.0, 2.54, 1e8]), min_size=3, max_size=3)
)
def test_other_units_map_back(seed, factors):
    rng, x, y = made(seed)
    c, d = np.array(factors), rng.normal(size=3)
    one, two = gentle.fit((x, y)), gentle.fit((x * c + d * np.abs(c), y))
    np.testing.assert_allclose(two.slopes * c, one.slopes, rtol=1e-7)
    constant = two.intercept + two.slopes @ (d * np.abs(c))
    assert constant == pytest.approx(one.intercept, rel=1e-7, abs=1e-7)
    np.testing.assert_allclose(
        list(two.std_errors.values())[1:] * np.abs(c), list(one.std_errors.values())[1:], rtol=1e-7
    )
    np.testing.assert_allclose(
        np.abs(list(two.t_values.values())[1:]), np.abs(list(one.t_values.values())[1:]), rtol=1e-6
    )


def misplaced(x, moved, c, d):
    """(p,) lengths of the columns by which (moved - d) / c misses x: what the change itself rounds."""
    missed = (exactly(moved) - exactly(d)) / exactly(c) - exactly(x)
    return np.sqrt((missed.astype(float) ** 2).sum(axis=0))


@given(
    seed=seeds,
    exponents=st.lists(st.floats(-8, 8), min_size=3, max_size=3),
    offsets=st.lists(
        st.one_of(st.just(0.0), st.floats(-9, 9).map(lambda e: 10.0**e)), min_size=3, max_size=3
    ),
)
def test_any_units_and_offsets_map_back_to_the_rounding_that_they_bring(seed, exponents, offsets):
    """To first order a change E of the columns moves b by H^-1 (E'r - X'E b), and by no more."""
    rng, x, y = made(seed)
    c = rng.choice([-1, 1], 3) * 10.0 ** np.array(exponents)
    d = rng.choice([-1, 1], 3) * np.array(offsets) * np.abs(c) * x.std(axis=0)
    moved = x * c + d
    one, two = gentle.fit((x, y)), gentle.fit((moved, y))
    slopes = solved(two)[1:] * exactly(c)
    back = np.concatenate([[solved(two)[0] + (solved(two)[1:] * exactly(d)).sum()], slopes])
    floor = one.answer.floor[:, 0] + np.append(
        two.answer.floor[0, 0] + np.abs(d) @ two.answer.floor[1:, 0],
        np.abs(c) * two.answer.floor[1:, 0],
    )

    missed = misplaced(x, moved, c, d)
    b = np.abs(one.exact_values[1:])
    inverse = np.abs(one.answer.basis @ one.answer.basis.T)
    lengths, residual = one.answer.lengths, np.sqrt(one.rss)
    may_move = inverse[:, 1:] @ missed * residual + lengths * (missed @ b)
    assert (np.abs((back - solved(one)).astype(float)) <= 1.1 * may_move + floor).all()

    errors = np.array(list(one.std_errors.values()))[1:]
    rtol = 1e-12 + 1.1 * (lengths[1:] @ missed + missed @ b / residual)
    np.testing.assert_allclose(
        np.array(list(two.std_errors.values()))[1:] * np.abs(c), errors, rtol=rtol
    )
    assert two.rss == pytest.approx(one.rss, rel=1e-12 + 2.2 * (missed @ b) / residual)


@given(seed=seeds, exponents=st.lists(st.integers(-300, 300), min_size=3, max_size=3))
def test_units_that_are_powers_of_two_change_no_digit(seed, exponents):
    _, x, y = made(seed)
    c = np.exp2(exponents)
    one, two = gentle.fit((x, y)), gentle.fit((x * c, y))
    units = np.append(1.0, c)
    sizes = np.abs(one.exact_values)
    floors = one.answer.floor[:, 0] + units * two.answer.floor[:, 0]
    missed = np.abs((solved(two) * exactly(units) - solved(one)).astype(float))
    assert (missed <= floors + 2.0**-104 * sizes).all()
    np.testing.assert_allclose(
        np.array(list(two.std_errors.values())) * units, list(one.std_errors.values()), rtol=1e-12
    )


@given(
    seed=seeds,
    a=st.one_of(st.floats(-1e8, -1e-8), st.floats(1e-8, 1e8)),
    size=st.floats(-8, 8),
    shift=st.floats(-1e9, 1e9),
)
def test_another_target_maps_back_to_the_rounding_that_it_brings(seed, a, size, shift):
    """a y + X b + shift has the coefficients a times those of y, plus b: a change f moves them by X^+ f."""
    rng, x, y = made(seed)
    b = 10.0**size * rng.normal(size=3)
    other = a * y + x @ b + shift
    one, two = gentle.fit((x, y)), gentle.fit((x, other))
    wanted = solved(one) * Fraction(a) + exactly(np.append(shift, b))
    target = exactly(y) * Fraction(a) + exactly(x) @ exactly(b) + Fraction(shift)
    rounded = np.sqrt(((exactly(other) - target).astype(float) ** 2).sum())
    may_move = (1 + 1e-9) * one.answer.lengths * rounded
    floor = abs(a) * one.answer.floor[:, 0] + two.answer.floor[:, 0]
    assert (np.abs((solved(two) - wanted).astype(float)) <= may_move + floor).all()
    spread = abs(a) * np.sqrt(one.rss)
    assert np.sqrt(two.rss) == pytest.approx(spread, rel=1e-12, abs=(1 + 1e-9) * rounded)


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
@given(seed=seeds, a=st.sampled_from([-2.0, 1e-5, 1e5]))
def test_another_target_maps_back(scale, seed, a):
    rng, x, y = made(seed)
    b = rng.normal(size=3)
    a = a * scale
    one, two = gentle.fit((x, y)), gentle.fit((x, a * y + np.abs(a) * (x @ b)))
    np.testing.assert_allclose(two.slopes / a, one.slopes + np.sign(a) * b, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        np.array(list(two.std_errors.values())) / np.abs(a),
        list(one.std_errors.values()),
        rtol=1e-6,
    )


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9])
def test_an_offset_costs_no_more_digits_than_it_must(offset):
    """y and x are rounded to offset * epsilon, and that is all that the slopes may feel."""
    _, x, y = made(3)
    exact = gentle.fit((np.round(x, 3), y))
    moved = np.round(x, 3) + offset
    again = gentle.fit((moved - offset, y))
    there = gentle.fit((moved, y))
    np.testing.assert_allclose(there.slopes, again.slopes, rtol=1e-9)
    np.testing.assert_allclose(again.slopes, exact.slopes, rtol=offset * 1e-12)


@given(seed=seeds, l2=st.floats(1e-6, 100))
def test_a_ridge_is_further_rows(seed, l2):
    _, x, y = made(seed)
    n, p = x.shape
    a, b = x - x.mean(axis=0), y - y.mean()
    more = np.vstack([a, np.sqrt(l2 * n) * np.eye(p)])
    expected = np.linalg.lstsq(more, np.concatenate([b, np.zeros(p)]), rcond=None)[0]
    found = gentle.fit((x, y), l2=l2)
    np.testing.assert_allclose(found.slopes, expected, rtol=1e-6, atol=1e-9)
    residual = b - a @ expected
    assert found.rss == pytest.approx(residual @ residual, rel=1e-6)
    assert np.isnan(list(found.std_errors.values())).all()


@pytest.mark.parametrize("intercept", [True, False])
@given(seed=seeds)
def test_residuals_are_orthogonal_to_the_columns(intercept, seed):
    _, x, y = made(seed)
    found = gentle.fit((x, y), intercept=intercept)
    residual = y - found.predict(x)
    columns = np.column_stack([np.ones(len(y)), x]) if intercept else x
    cosines = columns.T @ residual / np.linalg.norm(columns, axis=0) / np.linalg.norm(residual)
    np.testing.assert_allclose(cosines, 0, atol=1e-8)
    assert residual @ residual == pytest.approx(found.rss, rel=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [True, False])
@given(seed=seeds, far=st.sampled_from([0.0, 1e3, 1e8]))
def test_residuals_are_orthogonal_to_the_columns_within_the_bound(intercept, weighted, seed, far):
    """X'W(y - X b) = X'WX (b* - b): in fractions, so that nothing but the answer is rounded."""
    rng, x, y = made(seed)
    x = x + far
    weights = rng.uniform(0.1, 5, len(y)) if weighted else np.ones(len(y))
    found = gentle.fit((x, y), intercept=intercept, weights=weights)
    columns = exactly(np.column_stack([np.ones(len(y)), x]) if intercept else x)
    w = exactly(weights)
    sizes = np.sqrt(((columns**2) * w[:, None]).sum(axis=0).astype(float))
    for coef, floor in (
        (solved(found), found.answer.floor[:, 0]),
        (exactly(found.exact_values), found.certificate.distance),
    ):
        residual = exactly(y) - columns @ coef
        slope = (columns.T @ (w * residual)).astype(float)
        assert (np.abs(slope) <= (1 + 1e-9) * sizes * (sizes @ floor)).all()
    assert float((w * residual**2).sum()) == pytest.approx(found.rss, rel=1e-12)


# --- parts and ways ---------------------------------------------------------------------------


def rows_of(x, y, batch_rows=None, **options):
    names = tuple(f"x{j + 1}" for j in range(x.shape[1]))
    source = Arrays(x, names, {"y": y})
    return Rows(source, learn_design(source, targets=("y",), **options), batch_rows)


def tree(rng, shards):
    """The shards merged in any order, neighbours or not."""
    shards = list(shards)
    while len(shards) > 1:
        one, two = (shards.pop(int(rng.integers(len(shards)))) for _ in range(2))
        shards.append(one.merge(two))
    return shards[0]


def from_sums(sums, *, intercept=True, l2=0.0):
    return solve(reduce(sums.triangle(), intercept=intercept, l2=l2, n_used=int(sums.n_rows)))


def pooled_within_certificates(found, pooled):
    """No further from the answer of all rows than both are known, and near where that is easy."""
    missed = np.abs(apart(found, pooled))
    assert (missed <= (found.floor + pooled.floor)[:, 0]).all()
    assert found.n_rows == pooled.n_rows
    if pooled.problem.condition < 30:
        assert (missed <= 1e-12 * np.maximum(np.abs(pooled.coef), pooled.sizes)[:, 0]).all()
        np.testing.assert_allclose(found.lengths, pooled.lengths, rtol=1e-12)
        # cross-products keep what is left of the squares to the rounding of all of them
        np.testing.assert_allclose(found.rss, pooled.rss, rtol=1e-10, atol=1e-13 * pooled.tss[0])


@pytest.mark.parametrize("zero", [Moments, Triangle.unplaced], ids=["moments", "triangle"])
@pytest.mark.parametrize("intercept", [True, False])
@given(seed=seeds, shards=st.integers(1, 12), l2=st.sampled_from([0.0, 0.01]))
def test_any_tree_of_shards_gives_the_answer_of_all_rows(zero, intercept, seed, shards, l2):
    rng, x, y = made(seed)
    x = x + rng.choice([0.0, 10.0], 3) * x.std(axis=0)
    edges = [0, *np.sort(rng.integers(0, len(y) + 1, shards - 1)), len(y)]
    parts = [fold(zero(), rows_of(x[a:b], y[a:b], intercept=intercept)) for a, b in pairwise(edges)]
    pooled = least_squares(rows_of(x, y, intercept=intercept), Choices(l2=l2))
    assert pooled.polished
    found = from_sums(tree(rng, parts), intercept=intercept, l2=l2)
    pooled_within_certificates(found, pooled)


@pytest.mark.parametrize("zero", [Moments, Triangle.unplaced], ids=["moments", "triangle"])
@given(seed=seeds, parts=st.integers(1, 60), batch_rows=st.integers(1, 50))
def test_any_number_of_parts_gives_the_answer_of_all_rows(zero, seed, parts, batch_rows):
    _, x, y = made(seed)
    sums = fold(zero(), replace(rows_of(x, y, batch_rows), parts=parts))
    pooled_within_certificates(from_sums(sums), least_squares(rows_of(x, y)))


@pytest.mark.parametrize("method", ["auto", "qr"])
def test_shards_that_differ_in_everything_are_one_table(method):
    """Rows sorted by a column that runs over six decades: each shard has its own centre and scale."""
    rng = np.random.default_rng(12)
    x = np.sort(10.0 ** rng.uniform(-3, 3, (60, 1)), axis=0)
    x = np.column_stack([x, np.log(x[:, 0]) + rng.normal(size=60)])
    y = x @ [1e-3, 2] + rng.normal(size=60)
    pooled = least_squares(rows_of(x, y))
    zero = Moments() if method == "auto" else Triangle.unplaced()
    for parts in (2, 7, 30, 60):
        pooled_within_certificates(
            from_sums(fold(zero, replace(rows_of(x, y), parts=parts))), pooled
        )


@given(seed=seeds, l2=st.sampled_from([0.0, 1e-3, 10.0]), intercept=st.booleans())
def test_qr_gives_the_answer_of_cross_products(seed, l2, intercept):
    rng, x, y = made(seed)
    options = {"l2": l2, "intercept": intercept, "weights": rng.uniform(0.1, 5, len(y))}
    same(gentle.fit((x, y), **options), gentle.fit((x, y), method="qr", **options))


@pytest.mark.parametrize("nearness", [1.0, 1e-2, 1e-4, 1e-5, 1e-6, 1e-7])
@given(seed=seeds)
def test_qr_gives_the_answer_of_cross_products_where_columns_are_near(nearness, seed):
    _, x, y = made(seed)
    x[:, 2] = x[:, 0] + nearness * x[:, 0].std() * x[:, 2] / x[:, 2].std()
    one, two = (gentle.fit((x, y), method=method) for method in ("auto", "qr"))
    assert (
        np.abs(apart(one.answer, two.answer)) <= (one.answer.floor + two.answer.floor)[:, 0]
    ).all()
    np.testing.assert_array_equal(one.values, two.values)


def test_qr_gives_the_answer_of_cross_products_without_a_polish():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300_000, 4)) * [1, 1e4, 1e-4, 1] + [0, 1e5, 0, 3]
    y = x @ [1, 1e-4, 1e4, -1] + rng.normal(size=len(x))
    one, two = (gentle.fit((x, y), method=method) for method in ("auto", "qr"))
    assert not one.answer.polished
    assert not two.answer.polished
    missed = np.abs(one.values - two.values)
    assert (missed <= (one.answer.floor + two.answer.floor)[:, 0]).all()
    np.testing.assert_allclose(missed / list(one.std_errors.values()), 0, atol=1e-8)


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e-40, 1e-100, 1e100])
def test_a_column_that_is_zero_for_thousands_of_rows_has_its_unit_like_any_other(unit):
    """A rare level, in rows sorted by it: whole blocks of a pass see nothing of it."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40_000, 2))
    rare = np.where(np.arange(40_000) < 37_000, 0.0, rng.normal(size=40_000))
    y = x @ [1, -2] + rare + rng.normal(size=40_000)
    one, two = (gentle.fit((np.column_stack([x, c * rare]), y)) for c in (1.0, unit))
    np.testing.assert_allclose(two.values * [1, 1, 1, unit], one.values, rtol=1e-12)
    np.testing.assert_allclose(two.sigma, one.sigma, rtol=1e-12)


@pytest.mark.parametrize("solver", ["exact", "sgd"])
@given(seed=seeds, k=st.integers(2, 4))
def test_several_targets_are_each_alone(solver, seed, k):
    rng, x, y = made(seed)
    targets = np.column_stack(
        [y, *(rng.normal(size=(k - 1, len(y))) * 10.0 ** np.arange(1, k)[:, None])]
    )
    weights = rng.uniform(0.1, 5, len(y))
    found = gentle.fit((x, targets), weights=weights, solver=solver)
    assert list(found) == [f"y{j + 1}" for j in range(k)]
    for name, target in zip(found, targets.T, strict=True):
        alone = gentle.fit((x, target), weights=weights, solver=solver)
        same(found[name], alone)
        np.testing.assert_allclose(found[name].vcov, alone.vcov, rtol=1e-10)
        assert found[name].r2 == pytest.approx(alone.r2, rel=1e-12)
        if solver == "exact":
            np.testing.assert_array_equal(found[name].values, alone.values)
        assert found[name].certificate.within <= max(1e-3, 2 * alone.certificate.floor)
        np.testing.assert_allclose(
            found.predict(x), np.column_stack([found[n].predict(x) for n in found])
        )


def test_several_targets_without_a_polish_are_each_alone():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(250_000, 4)) + np.array([0, 10, 0, 3])
    y = x @ rng.normal(size=(4, 3)) + rng.normal(size=(len(x), 3)) * [1, 1e3, 1e-3]
    found = gentle.fit((x, y))
    for name, target in zip(found, y.T, strict=True):
        alone = gentle.fit((x, target))
        assert not alone.answer.polished
        missed = np.abs(found[name].values - alone.values)
        assert (missed <= (found[name].answer.floor + alone.answer.floor)[:, 0]).all()
        np.testing.assert_allclose(
            list(found[name].std_errors.values()), list(alone.std_errors.values()), rtol=1e-9
        )


@pytest.mark.parametrize("solver", ["exact", "sgd"])
@given(seed=seeds, size=st.integers(-3, 30))
def test_an_offset_is_taken_from_the_target(solver, seed, size):
    """Of numbers whose difference float64 holds, the fit is that of the difference."""
    rng, x, y = made(seed)
    y = np.round(y * 2.0**16) / 2.0**16
    offset = np.round(2.0**size * rng.normal(size=len(y)) * 2.0**16) / 2.0**16
    one = gentle.fit((x, y + offset), offset=offset, solver=solver)
    two = gentle.fit((x, y), solver=solver)
    np.testing.assert_allclose(one.values, two.values, rtol=1e-13)
    np.testing.assert_allclose(one.vcov, two.vcov, rtol=1e-13)
    predicted = two.predict(x) + offset
    np.testing.assert_allclose(one.predict(x, offset=offset), predicted, rtol=1e-13)


@given(seed=seeds, size=st.floats(-9, 9))
def test_an_offset_is_taken_off_without_rounding(seed, size):
    """What the fit of the rounded difference misses is what rounding took from it, and no more."""
    rng, x, y = made(seed)
    offset = 10.0**size * rng.normal(size=len(y))
    y = y + offset
    one, two = gentle.fit((x, y), offset=offset), gentle.fit((x, y - offset))
    rounded = ((exactly(y) - exactly(offset)) - exactly(y - offset)).astype(float)
    columns = np.column_stack([np.ones(len(y)), x])
    moved = np.linalg.lstsq(columns, rounded, rcond=None)[0]
    missed = apart(one.answer, two.answer) - moved
    sizes = one.answer.lengths * np.linalg.norm(rounded)
    floor = (one.answer.floor + two.answer.floor)[:, 0]
    assert (np.abs(missed) <= floor + 1e-9 * sizes + 2.0**-104 * np.abs(one.values)).all()


def test_an_offset_may_be_a_column_and_belongs_to_predictions():
    rng, x, y = made(13)
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "known": rng.normal(size=40), "y": y})
    rest = frame.with_columns(pl.col("y") - pl.col("known"))
    one = gentle.fit(frame, "y ~ a + b", offset="known")
    two = gentle.fit(rest, "y ~ a + b")
    assert one.coef == two.coef
    assert gentle.fit(frame, target="y", offset="known").names == ("Intercept", "a", "b")
    np.testing.assert_array_equal(
        one.predict(frame), two.predict(frame) + frame["known"].to_numpy()
    )
    with pytest.raises(GentleError, match=r"'known'.*offset"):
        one.predict(frame.drop("known"))


# --- a fit is a value -------------------------------------------------------------------------


KINDS_OF_FIT = {
    "plain": {},
    "weights": {"weights": np.linspace(0.5, 2, 400)},
    "ridge": {"l2": 0.1},
    "no constant": {"intercept": False},
    "descent": {"solver": "sgd"},
    "robust": {"errors": "HC3"},
    "clusters": {"cluster": np.arange(400) % 20},
    "text clusters": {"cluster": [f"group {row % 7}" for row in range(400)]},
    "two-way clusters": {"cluster": (np.arange(400) % 20, np.arange(400) // 20)},
    "autocorrelated": {"errors": "HAC"},
    "qr": {"method": "qr"},
    "held out": {"test": 0.25},
    "two targets": {},
}


@pytest.mark.parametrize("kind", KINDS_OF_FIT)
def test_a_fit_comes_back_from_a_pickle_as_it_was(kind):
    rng, x, y = made(14, n=400)
    if kind == "two targets":
        y = np.column_stack([y, rng.normal(size=400)])
    found = gentle.fit((x, y), **KINDS_OF_FIT[kind])
    again = pickle.loads(pickle.dumps(found))
    fits = (
        [(found, again)]
        if kind != "two targets"
        else zip(found.values(), again.values(), strict=True)
    )
    for one, two in fits:
        assert dict(two.coef) == dict(one.coef)
        np.testing.assert_equal(dict(two.std_errors), dict(one.std_errors))
        np.testing.assert_array_equal(two.vcov, one.vcov)
        np.testing.assert_array_equal(two.predict(x), one.predict(x))
        np.testing.assert_equal(two.to_dict(), one.to_dict())
        assert two.summary() == one.summary()
    assert again.summary() == found.summary()


@pytest.mark.parametrize(
    "text", ["y ~ a * C(g) + I(b**2)", "y ~ bs(a, df=4) + poly(b, 2)", "y + b ~ scale(a)"]
)
def test_a_fit_by_a_formula_comes_back_from_a_pickle(text):
    _, x, y = made(15)
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "g": ["north", "south"] * 20, "y": y})
    found = gentle.fit(frame, text)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict(frame), found.predict(frame))
    assert again.summary() == found.summary()


def test_a_fit_from_a_pickle_cannot_be_written_to_either():
    _, x, y = made(14)
    found = gentle.fit((x, y), solver="sgd")
    again = pickle.loads(pickle.dumps(found))
    for values in (again.values, again.vcov, again.exact_values, again.descent_values):
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 0


@pytest.mark.parametrize("kind", ["plain", "descent", "robust", "qr"])
def test_a_fit_does_not_grow_with_its_rows(kind):
    sizes = []
    for n in (400, 40_000):
        _, x, y = made(16, n=n)
        found = gentle.fit((x, y), **KINDS_OF_FIT[kind])
        sizes.append(len(pickle.dumps(found)))
    assert max(sizes) <= 20_000
    assert sizes[1] <= 1.2 * sizes[0]


# --- rank -----------------------------------------------------------------------------------


def left_out(x, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GentleWarning)
        return gentle.fit((x, y), **options)


def columns_that_depend(rng):
    x = rng.normal(size=(50, 3))
    a, b, c = x.T
    one = np.ones(50)
    return {
        "a duplicate": (np.column_stack([a, b, a]), {"x3": "x1"}),
        "a multiple and a shift": (np.column_stack([a, b, 2 * a + 1]), {"x3": "2 * x1 + 1"}),
        "a sum": (np.column_stack([a, b, c, a + b]), {"x4": "x1 + x2"}),
        "a difference": (np.column_stack([a, b, a - 3 * b]), {"x3": "x1 - 3 * x2"}),
        "a constant": (np.column_stack([a, 7 * one, b]), {"x2": "constant"}),
        "a large constant": (np.column_stack([a, 1e9 * one, b]), {"x2": "constant"}),
        "a constant of no exact binary": (np.column_stack([a, 0.1 * one]), {"x2": "constant"}),
        "zero": (np.column_stack([a, 0 * one, b]), {"x2": "zero in every row"}),
        "two of them": (np.column_stack([a, a, one]), {"x2": "x1", "x3": "constant"}),
        "all dummies": (
            np.column_stack([(np.arange(50) % 3 == j).astype(float) for j in range(3)]),
            {"x3": "-1 * x1 - 1 * x2 + 1"},
        ),
        "in other units": (np.column_stack([a * 1e-9, b, a * 1e9]), {"x3": "1e+18 * x1"}),
        "far out": (np.column_stack([a + 1e6, b, 2 * (a + 1e6)]), {"x3": "2 * x1"}),
    }


CASES = list(columns_that_depend(np.random.default_rng(0)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("solver", ["exact", "sgd"])
def test_a_column_that_depends_on_those_before_it_is_left_out_and_named(case, solver):
    rng = np.random.default_rng(1)
    x, expected = columns_that_depend(rng)[case]
    y = x[:, 0] / x[:, 0].std() + rng.normal(size=50)
    with pytest.warns(GentleWarning, match="left out"):
        found = gentle.fit((x, y), solver=solver)
    assert set(found.dropped) == set(expected)
    for name, made_of in expected.items():
        if case not in ("far out",):  # rounding of the offset stands in its constant
            assert found.dropped[name].split(",")[0] == made_of
        assert np.isnan(found.coef[name])
        assert np.isnan(found.std_errors[name])
        assert name in found.summary()
    kept = [j for j in range(x.shape[1]) if f"x{j + 1}" not in expected]
    alone = gentle.fit((x[:, kept], y))
    np.testing.assert_allclose(
        found.exact_values[[0, *(j + 1 for j in kept)]], alone.values, rtol=1e-7
    )
    np.testing.assert_allclose(
        found.predict(x),
        alone.predict(x[:, kept]),
        rtol=1e-3 if solver == "sgd" else 1e-7,
        atol=1e-2,
    )


@pytest.mark.parametrize("case", CASES)
def test_rank_raise_refuses_and_names_the_column(case):
    rng = np.random.default_rng(1)
    x, expected = columns_that_depend(rng)[case]
    with pytest.raises(GentleError, match=next(iter(expected))):
        gentle.fit((x, rng.normal(size=50)), rank="raise")


def shortest(x, y, intercept=True):
    """The minimum-norm slopes of least squares, on centred columns where there is a constant."""
    a, b = (x - x.mean(axis=0), y - y.mean()) if intercept else (x, y)
    return np.linalg.lstsq(a, b, rcond=1e-12)[0]


@pytest.mark.parametrize("case", [*CASES, "fewer rows"])
def test_the_minimum_norm_is_that_of_numpy_and_sklearn(case):
    """In the same units as drop's: the slopes are the shortest, and the predictions are the same."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 11)) if case == "fewer rows" else columns_that_depend(rng)[case][0]
    y = x[:, 0] / x[:, 0].std() + rng.normal(size=len(x))
    with pytest.warns(RankWarning, match="shortest"):
        found = gentle.fit((x, y), rank="minimum-norm")
    assert not found.dropped
    assert not np.isnan(found.values).any()
    wanted = shortest(x, y)
    # a column far out or in large units rounds the slopes of numpy, by its offset or unit
    rtol = {"far out": 1e-8, "in other units": 1e-6, "a large constant": 1e-6}.get(case, 1e-11)
    np.testing.assert_allclose(found.slopes, wanted, rtol=rtol, atol=rtol * np.abs(wanted).max())
    theirs = LinearRegression().fit(x, y)
    if case not in ("in other units", "a large constant"):  # sklearn's rank rule is another there
        np.testing.assert_allclose(found.slopes, theirs.coef_, rtol=1e-7, atol=1e-7)
        assert found.intercept == pytest.approx(theirs.intercept_, rel=1e-6, abs=1e-6)

    dropped = left_out(x, y)
    np.testing.assert_allclose(found.predict(x), dropped.predict(x), rtol=1e-9, atol=1e-9)
    norm = np.linalg.norm(found.slopes)
    assert norm <= np.linalg.norm(dropped.slopes) * (1 + 1e-12)
    assert found.rss == dropped.rss
    assert found.df_resid == dropped.df_resid
    assert dict(found.dependent) == dict(dropped.dropped)
    for name in found.dependent:
        assert name in found.summary()


@pytest.mark.parametrize("case", CASES)
def test_the_errors_of_the_minimum_norm_are_those_of_the_pseudo_inverse(case):
    rng = np.random.default_rng(1)
    x, _ = columns_that_depend(rng)[case]
    if case in ("in other units", "far out", "a large constant"):
        return  # where the pseudo-inverse of float64 is another's
    found = left_out(x, rng.normal(size=50), rank="minimum-norm")
    a = x - x.mean(axis=0)
    wanted = found.sigma**2 * np.linalg.pinv(a.T @ a, rcond=1e-12, hermitian=True)
    np.testing.assert_allclose(
        found.vcov[1:, 1:], wanted, rtol=1e-9, atol=1e-11 * np.abs(wanted).max()
    )


@given(seed=seeds, l2=st.just(0.0), intercept=st.booleans(), weighted=st.booleans())
def test_the_minimum_norm_of_any_combinations(seed, l2, intercept, weighted):
    """Columns of whole numbers, of which some are sums of others: numpy's slopes, in any case."""
    rng = np.random.default_rng(seed)
    base = rng.integers(-4, 5, (30, 3)).astype(float)
    mix = rng.integers(-2, 3, (3, 4)).astype(float)
    x = np.column_stack([base, base @ mix + rng.integers(0, 2, 4) * intercept])[
        :, rng.permutation(7)
    ]
    y = rng.normal(size=30)
    weights = rng.uniform(0.5, 2, 30) if weighted else np.ones(30)
    found = left_out(x, y, rank="minimum-norm", intercept=intercept, weights=weights, l2=l2)
    root = np.sqrt(weights)[:, None]
    mean = weights @ x / weights.sum() if intercept else 0.0
    level = weights @ y / weights.sum() if intercept else 0.0
    wanted = shortest((x - mean) * root, (y - level) * root[:, 0], intercept=False)
    np.testing.assert_allclose(found.slopes, wanted, rtol=1e-10, atol=1e-11)
    dropped = left_out(x, y, intercept=intercept, weights=weights)
    np.testing.assert_allclose(found.predict(x), dropped.predict(x), rtol=1e-10, atol=1e-10)


@given(seed=seeds)
def test_the_rank_rules_are_one_where_no_column_depends_on_others(seed):
    _, x, y = made(seed)
    one, two, three = (gentle.fit((x, y), rank=rank) for rank in ("drop", "minimum-norm", "raise"))
    for other in (two, three):
        np.testing.assert_array_equal(other.values, one.values)
        np.testing.assert_array_equal(other.vcov, one.vcov)
        assert not other.dropped
        assert not other.dependent


def test_a_descent_with_the_minimum_norm_is_near_the_exact_one():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 3))
    x = np.column_stack([x, x[:, 0] - 2 * x[:, 1], np.full(400, 3.0)])
    y = x @ [1, 2, 3, 0, 0] + rng.normal(size=400)
    found = left_out(x, y, solver="sgd", rank="minimum-norm", tol=1e-6)
    wanted = shortest(x, y)
    np.testing.assert_allclose(found.exact_values[1:], wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.values[1:], wanted, atol=1e-6)


@pytest.mark.parametrize("rank", ["drop", "minimum-norm", "raise"])
@pytest.mark.parametrize("kind", ["weights", "frequencies"])
@pytest.mark.parametrize("solver", ["exact", "sgd"])
def test_weights_that_are_all_zero_leave_nothing_to_fit(rank, kind, solver):
    _, x, y = made(17)
    with pytest.raises(
        GentleError, match=r"no row of .* is left to fit: 40 were read .*40 of weight zero"
    ) as no:
        gentle.fit((x, y), rank=rank, solver=solver, **{kind: np.zeros(40)})
    assert "\n" not in str(no.value)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("solver", ["exact", "sgd"])
@pytest.mark.parametrize("rank", ["drop", "minimum-norm"])
def test_columns_of_zeros_alone_predict_nothing(rank, solver, intercept):
    """As R and numpy have it: no slope is left, or slopes of zero; what predicts is the constant."""
    y = np.random.default_rng(18).normal(size=30)
    found = left_out(np.zeros((30, 2)), y, rank=rank, solver=solver, intercept=intercept)
    level = y.mean() if intercept else 0.0
    slopes = np.zeros(2) if rank == "minimum-norm" else np.full(2, np.nan)
    np.testing.assert_array_equal(found.values[int(intercept) :], slopes)
    np.testing.assert_allclose(found.predict(np.zeros((4, 2))), np.full(4, level), rtol=1e-3)
    assert found.rss == pytest.approx(((y - level) ** 2).sum())
    assert found.df_resid == 30 - intercept
    with pytest.raises(GentleError, match=r"'x1'.* zero in every row"):
        gentle.fit((np.zeros((30, 2)), y), rank="raise", intercept=intercept)


@pytest.mark.parametrize("factor", [0.1, 0.01, 3.0])
def test_frequencies_do_not_decide_which_columns_can_be_told_apart(factor):
    """Thirty rows tell four columns and a constant apart, however little each of them counts."""
    rng = np.random.default_rng(19)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    one = gentle.fit((x, y), frequencies=np.full(30, factor))
    assert not one.dropped
    np.testing.assert_allclose(one.values, gentle.fit((x, y)).values, rtol=1e-12)


def test_shares_that_were_made_equal_are_no_finding():
    """Of a column and its copy the minimum-norm makes equal shares: that they are is no estimate."""
    rng = np.random.default_rng(20)
    x = rng.normal(size=(30, 1))
    found = left_out(np.column_stack([x, x]), rng.normal(size=30), rank="minimum-norm")
    contrast = found.test("x1 = x2")
    assert not contrast.p_values[0] < 0.05
    assert not contrast.wald.statistic > 0


@pytest.mark.parametrize("p", [4, 12, 60])
def test_fewer_rows_than_columns_are_refused_or_shared_out(p):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(4, p)), rng.normal(size=4)
    with pytest.raises(GentleError, match="column 'x4'"):
        gentle.fit((x, y), rank="raise")
    found = left_out(x, y, rank="minimum-norm")
    np.testing.assert_allclose(found.slopes, shortest(x, y), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found.predict(x), y, rtol=1e-11)
    assert found.df_resid == 0
    assert len(found.dependent) == p - 3


@pytest.mark.parametrize("p", [4, 5, 12, 60])
def test_fewer_rows_than_columns_keep_the_first_that_can_be_told(p):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(4, p)), rng.normal(size=4)
    found = left_out(x, y)
    assert list(found.dropped) == [f"x{j + 1}" for j in range(3, p)]
    assert found.df_resid == 0
    np.testing.assert_allclose(found.predict(x), y, rtol=1e-8)
    assert np.isnan(found.sigma)


@pytest.mark.parametrize("nearness", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
def test_a_column_that_is_only_nearly_a_combination_is_kept(nearness):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 3))
    x[:, 2] = x[:, 0] + nearness * x[:, 2]
    y = x[:, 0] + rng.normal(size=50)
    assert not gentle.fit((x, y)).dropped


def test_a_constant_column_stays_where_there_is_no_constant():
    rng = np.random.default_rng(4)
    x = np.column_stack([np.full(30, 5.0), rng.normal(size=30)])
    y = 3 + x[:, 1] + rng.normal(size=30)
    found = gentle.fit((x, y), intercept=False)
    assert not found.dropped
    assert 5 * found.coef["x1"] == pytest.approx(gentle.fit((x[:, 1:], y)).intercept)


def test_the_rank_rule_is_the_same_in_any_units():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(50, 3))
    x = np.column_stack([x, x @ [1, -1, 2]])
    for c in (1e-12, 1e-3, 1e3, 1e12):
        assert set(left_out(x * [1, c, 1, 1 / c], rng.normal(size=50)).dropped) == {"x4"}


def test_a_model_of_the_constant_alone_is_the_mean():
    y = np.random.default_rng(6).normal(size=30) + 4
    found = gentle.fit(pl.DataFrame({"y": y}), "y ~ 1")
    assert found.names == ("Intercept",)
    assert found.intercept == pytest.approx(y.mean(), rel=1e-13)
    assert found.std_errors["Intercept"] == pytest.approx(y.std(ddof=1) / np.sqrt(30), rel=1e-12)
    assert found.r2 == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"solver": "adam"}, "solver"),
        ({"rank": "ignore"}, "rank"),
        ({"tol": 0.0}, "tol"),
        ({"tol": float("nan")}, "tol"),
        ({"l2": -1.0}, "l2"),
        ({"missing": "median"}, "missing"),
        ({"test": 1.0}, "test share"),
        ({"weights": [1.0, 2.0]}, "weights"),
        ({"weights": -np.ones(40)}, "weights"),
        ({"features": ["x9"]}, "x9"),
        ({"target": "z"}, "z"),
        ({"names": ["a"]}, "names"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options, match):
    _, x, y = made(7)
    with pytest.raises(GentleError, match=match):
        gentle.fit((x, y), **options)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_an_infinity_is_refused_with_its_row_and_column(bad):
    _, x, y = made(8)
    x[6, 1] = bad
    with pytest.raises(GentleError, match=r"'x2'.*row 7"):
        gentle.fit((x, y))


def test_missing_numbers_are_dropped_and_counted_or_refused():
    _, x, y = made(9)
    x[[3, 5], 0] = np.nan
    x[5, 2] = y[11] = np.nan
    found = gentle.fit((x, y))
    on = [j for j in range(40) if j not in (3, 5, 11)]
    alike(found, gentle.fit((x[on], y[on])))
    assert found.tally.n_read == 40
    assert found.tally.n_used == 37
    assert found.tally.missing["x1"] == 2
    with pytest.raises(GentleError, match=r"'y'.* in row 12"):  # the target is looked at first
        gentle.fit((x, y), missing="raise")


def test_a_target_that_does_not_vary_is_refused():
    _, x, y = made(10)
    for value in (0.0, 3.0, 0.1, 1e9):
        with pytest.raises(GentleError, match="same value in every row"):
            gentle.fit((x, np.full_like(y, value)))


def test_nothing_the_caller_owns_is_written_to():
    _, x, y = made(11)
    weights = np.ones(40)
    for array in (x, y, weights):
        array.setflags(write=False)
    before = x.copy(), y.copy()
    for solver in ("exact", "sgd"):
        gentle.fit((x, y), weights=weights, solver=solver)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
