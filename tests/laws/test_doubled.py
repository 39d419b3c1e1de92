"""Laws of double-double arithmetic: sums and products are those of fractions, to a hundred bits.

Fractions of Python's integers round nowhere, so they are the truth. An error is held against the sum of
sizes: of what is added up, each number of a column counting as the largest there, since that is
what fixes the grids on which a matrix is cut. A new kind of matrix is tested by being listed in `KINDS`.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gentle.doubled import Doubled, cut, doubled, power, total, two_product, two_sum

EPSILON = np.finfo(float).eps
TINY = Fraction(1, 2**100)
seeds = st.integers(0, 10**6)
numbers = st.one_of(  # whose squares, and the rounding errors of these, float64 can hold
    st.just(0.0),
    st.floats(1e-140, 1e140),
    st.floats(-1e140, -1e-140),
    st.integers(-(2**53), 2**53).map(float),
)


def fraction(values):
    """An array of numbers, or of double-double numbers, as one of fractions."""
    if isinstance(values, Doubled):
        return fraction(values.high) + fraction(values.low)
    return np.vectorize(Fraction, otypes=[object])(values)


def normal(rng, m, n):
    return rng.normal(size=(m, n))


def whole(rng, m, n):
    return rng.integers(-9, 10, (m, n)).astype(float)


def units(rng, m, n):
    """Columns of sizes over many decades."""
    return rng.normal(size=(m, n)) * 10.0 ** rng.uniform(-130, 130, n)


def decades_in_a_column(rng, m, n):
    return rng.normal(size=(m, n)) * 10.0 ** rng.uniform(-25, 25, (m, n))


def offsets(rng, m, n):
    """Columns that are nearly constant."""
    return rng.normal(size=(m, n)) + 10.0 ** rng.uniform(0, 15, n)


def huge(rng, m, n):
    return rng.uniform(1, 9, (m, n)) * 1e139


def small(rng, m, n):
    return rng.uniform(1, 9, (m, n)) * 1e-140


def zeros(rng, m, n):
    return rng.normal(size=(m, n)) * (rng.random((m, n)) < 0.5) * (rng.random(n) < 0.5)


def nothing(_, m, n):
    return np.zeros((m, n))


def powers_of_two(rng, m, n):
    """Numbers at the very edges of a grid."""
    return np.exp2(rng.integers(-60, 60, (m, n))) * rng.choice([-1.0, 1.0], (m, n))


def just_below(rng, m, n):
    """Numbers that a grid rounds up to its edge."""
    return np.nextafter(np.exp2(rng.integers(-3, 3, (m, n))), 0) * rng.choice([-1.0, 1.0], (m, n))


def polynomial(rng, m, n):
    return rng.uniform(1, 3, m)[:, None] ** np.arange(n)


KINDS = [
    *(normal, whole, units, decades_in_a_column, offsets, huge, small, zeros, nothing),
    *(powers_of_two, just_below, polynomial),
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 3))


def right(rng, kind, m, n):
    """A double-double matrix whose low part is not the float64 nearest to nothing."""
    high = kind(rng, m, n)
    return Doubled(high, high * rng.uniform(-(2.0**-54), 2.0**-54, (m, n)))


def close(found, left, other):
    """found = left @ other, fractions, to TINY of the sum of sizes; and no more digits than two numbers."""
    largest = np.abs(left).max(axis=0)
    sizes = np.broadcast_to(largest @ np.abs(other), found.high.shape)
    apart = np.abs(fraction(found) - left @ other)
    assert (apart <= TINY * sizes).all()
    np.testing.assert_array_equal(found.high + found.low, found.high)


# --- numbers ------------------------------------------------------------------------------------


@given(a=numbers, b=numbers)
def test_a_sum_and_its_rounding_error_are_the_sum(a, b):
    total, error = two_sum(np.array([a]), np.array([b]))
    assert total[0] == a + b
    assert Fraction(total[0]) + Fraction(error[0]) == Fraction(a) + Fraction(b)


@given(a=numbers, b=numbers)
def test_a_product_and_its_rounding_error_are_the_product(a, b):
    found, error = two_product(np.array([a]), np.array([b]))
    assert found[0] == a * b
    assert Fraction(found[0]) + Fraction(error[0]) == Fraction(a) * Fraction(b)


@given(seed=seeds)
def test_sums_and_products_of_arrays_are_those_of_their_numbers(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 4, 3)) * 10.0 ** rng.uniform(-9, 9, (2, 4, 3))
    assert (sum(map(fraction, two_sum(a, b))) == fraction(a) + fraction(b)).all()
    assert (sum(map(fraction, two_product(a, b))) == fraction(a) * fraction(b)).all()


@given(base=st.floats(-20, 20), exponent=st.integers(1, 64))
def test_a_power_is_the_power(base, exponent):
    if base and abs(base) ** exponent < 1e-280:
        return
    exact = Fraction(base) ** exponent
    found = power(np.array([base]), exponent)
    assert abs(fraction(found)[0] - exact) <= exponent * abs(exact) / 2**103


def test_the_first_power_is_the_number():
    base = np.array([0.1, -3.0, 0.0, 1e140])
    found = power(base, 1)
    np.testing.assert_array_equal(found.high, base)
    np.testing.assert_array_equal(found.low, 0)


@pytest.mark.parametrize("base", [2.0, -2.0, 3.0, 10.0, 0.5])
def test_a_power_that_two_numbers_hold_is_exact(base):
    for exponent in (2, 3, 7, 20, 31):
        found = power(np.array([base]), exponent)
        assert fraction(found)[0] == Fraction(base) ** exponent


@kinds
@given(seed=seeds)
def test_elementwise_sums_differences_and_products(kind, seed):
    rng = np.random.default_rng(seed)
    a, b = (right(rng, kind, 4, 3) for _ in range(2))
    one, two = fraction(a), fraction(b)
    sizes = np.abs(one) + np.abs(two)
    assert (np.abs(fraction(a.plus(b)) - (one + two)) <= TINY * sizes).all()
    assert (np.abs(fraction(a.minus(b)) - (one - two)) <= TINY * sizes).all()
    assert (np.abs(fraction(a.times(b)) - one * two) <= TINY * np.abs(one * two)).all()
    assert not any(part.any() for part in a.minus(a))


@kinds
@given(seed=seeds, m=st.integers(1, 40))
def test_a_total_is_the_sum_of_its_terms(kind, seed, m):
    terms = right(np.random.default_rng(seed), kind, m, 3)
    found, exact = total(terms), fraction(terms)
    assert found.high.shape == (3,)
    apart = np.abs(fraction(found) - exact.sum(axis=0))
    assert (apart <= TINY * np.abs(exact).sum(axis=0)).all()
    np.testing.assert_array_equal(found.high + found.low, found.high)


def test_a_total_of_terms_that_cancel_keeps_their_digits():
    high = np.array([1e15, 1.0, -1e15, 2.0**-50, 0.5, -1.0, -0.5])
    found = total(doubled(high))
    assert (found.high, found.low) == (2.0**-50, 0.0)


def test_numbers_alone_lack_nothing():
    values = np.array([[1.5, -0.1]])
    found = doubled(values)
    np.testing.assert_array_equal(found.high, values)
    np.testing.assert_array_equal(found.low, 0)


# --- matrices -----------------------------------------------------------------------------------


@kinds
@given(seed=seeds, shape=shapes, other=st.sampled_from(KINDS))
def test_a_product_of_matrices(kind, seed, shape, other):
    rng = np.random.default_rng(seed)
    m, n, k = shape
    a, b = kind(rng, m, n), right(rng, other, n, k)
    close(cut(a).times(b), fraction(a), fraction(b))


@kinds
@given(seed=seeds, shape=shapes, other=st.sampled_from(KINDS))
def test_the_transpose_times_a_matrix(kind, seed, shape, other):
    """Each column of the left counts as its largest number in every row."""
    rng = np.random.default_rng(seed)
    m, n, k = shape
    a, b = kind(rng, m, n), right(rng, other, m, k)
    found = cut(a).transposed_times(b)
    left, other = fraction(a), fraction(b)
    sizes = np.outer(np.abs(left).max(axis=0), np.abs(other).sum(axis=0))
    assert found.high.shape == (n, k)
    assert (np.abs(fraction(found) - left.T @ other) <= TINY * sizes).all()
    np.testing.assert_array_equal(found.high + found.low, found.high)


@kinds
@given(seed=seeds)
def test_residuals_that_cancel_keep_their_digits(kind, seed):
    """[y X] times (1, -b) is far smaller than what it is made of."""
    rng = np.random.default_rng(seed)
    x = kind(rng, 7, 3)
    scale = np.abs(x).max(axis=0)
    b = rng.normal(size=(3, 1)) / np.where(scale > 0, scale, 1.0)[:, None]
    y = x @ b
    found = cut(np.hstack([y, x])).times(doubled(np.vstack([[[1.0]], -b])))
    close(found, fraction(np.hstack([y, x])), fraction(np.vstack([[[1.0]], -b])))
    assert (np.abs(found.high) <= 4 * EPSILON * (np.abs(x) @ np.abs(b)) + float(TINY) * 8).all()


@kinds
@given(seed=seeds, m=st.integers(1, 9), n=st.integers(1, 5))
def test_the_slices_add_up_to_the_matrix(kind, seed, m, n):
    a = kind(np.random.default_rng(seed), m, n)
    pieces = cut(a)
    whole = sum(fraction(piece) for piece in pieces.slices) * fraction(pieces.sizes)
    missed = np.abs(whole - fraction(a))
    assert (missed <= np.abs(fraction(a)).max(axis=0) / 2**110).all()
    for place, piece in enumerate(pieces.slices):
        assert (np.abs(piece) <= 2.0 ** -(pieces.bits * place)).all()
        grid = piece * 2.0 ** (pieces.bits * (place + 1))
        np.testing.assert_array_equal(grid, np.rint(grid))


@pytest.mark.parametrize("m", [1, 2, 3, 31, 32, 33, 1000])
@pytest.mark.parametrize("kind", [normal, offsets, just_below, units], ids=lambda it: it.__name__)
def test_products_of_slices_are_exact(kind, m):
    """Which is what everything else rests on."""
    pieces = cut(kind(np.random.default_rng(m), m, 3))
    for one in pieces.slices:
        for two in pieces.slices:
            assert (fraction(one.T @ two) == fraction(one).T @ fraction(two)).all()


@pytest.mark.parametrize("m", [2_000, 8_192])
@pytest.mark.parametrize("kind", [normal, offsets, units], ids=lambda it: it.__name__)
def test_many_rows_cost_no_digits(kind, m):
    rng = np.random.default_rng(m)
    a, b = kind(rng, m, 2), right(rng, normal, m, 1)
    found = cut(a).transposed_times(b)
    left, other = fraction(a), fraction(b)
    sizes = np.outer(np.abs(left).max(axis=0), np.abs(other).sum(axis=0))
    assert (np.abs(fraction(found) - left.T @ other) <= TINY * sizes).all()
    few = right(rng, normal, 2, 1)
    close(cut(a).times(few), left, fraction(few))


@pytest.mark.parametrize("enough", [40, 60, 80])
@pytest.mark.parametrize("kind", [normal, units, offsets, polynomial], ids=lambda it: it.__name__)
def test_fewer_bits_are_as_many_as_were_asked_for(kind, enough):
    rng = np.random.default_rng(enough)
    a, b = kind(rng, 9, 4), right(rng, normal, 4, 3)
    found = cut(a).times(b, enough)
    sizes = np.abs(fraction(a)).max(axis=0) @ np.abs(fraction(b))
    assert (np.abs(fraction(found) - fraction(a) @ fraction(b)) <= sizes / 2 ** (enough - 6)).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 2), (6, 1, 1), (1, 1, 3)])
def test_one_row_or_one_column(shape):
    rng = np.random.default_rng(0)
    m, n, k = shape
    a, b = normal(rng, m, n), right(rng, normal, n, k)
    close(cut(a).times(b), fraction(a), fraction(b))


@pytest.mark.parametrize("size", [1e-140, 1e-30, 1e30, 1e140])
def test_zeros_times_anything_are_nothing(size):
    """A row of zeros is a block of its own where batches have one row."""
    with np.errstate(all="raise"):
        found = cut(np.zeros((1, 2))).times(doubled(np.array([[size], [1.0]])))
        np.testing.assert_array_equal(found.high, 0)
        found = cut(np.array([[0.0, 1.0]])).times(doubled(np.array([[size], [3.0]])))
        np.testing.assert_array_equal(found.high, 3)


def test_what_is_given_is_not_written_to():
    rng = np.random.default_rng(1)
    a, b = normal(rng, 5, 3), right(rng, normal, 3, 2)
    before = a.copy(), b.high.copy(), b.low.copy()
    for values in (a, *b):
        values.setflags(write=False)
    cut(a).times(b)
    cut(a).transposed_times(doubled(a))
    for one, two in zip(before, (a, *b), strict=True):
        np.testing.assert_array_equal(one, two)
