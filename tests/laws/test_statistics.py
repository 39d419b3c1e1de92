"""Laws of statistics: merge is the union of rows, associative; a fresh one is zero; chunks do not matter.

A new statistic is tested by being listed in `KINDS`, with the numbers that it stands for.
"""

from dataclasses import replace
from fractions import Fraction
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from gentle.batch import Batch
from gentle.coordinates import Coordinates
from gentle.doubled import Doubled
from gentle.errors import GentleError
from gentle.losses import Squared
from gentle.refinement import Refinement, orthonormal
from gentle.sparse import wrapped
from gentle.statistics import (
    Moments,
    Opening,
    Sample,
    Score,
    Slope,
    Spread,
    Survey,
    Tally,
    Triangle,
    merged,
    subtracted,
)

P = 3
COORDINATES = Coordinates(
    np.array([0.5, -1.0, 3.0]), np.array([2.0, 0.5, 1.5]), np.array([1.0]), np.array([4.0]), True
)
ROUNDING = 1e-10
DOUBLED = 2.0**-95  # of double-double sums
COEF = Doubled(
    np.array([[1.3], [0.9], [-0.4], [1.7]]), 2.0**-57 * np.array([[1.0], [0.3], [-0.9], [0.7]])
)
BASIS = Doubled(
    np.array([[1.0, 0.1, -0.5, 20.0], [0, 1, 0, 0.2], [0, 0, 0.1, 0.3], [0, 0, 0, 10]]),
    2.0**-60 * np.triu(np.ones((4, 4))),
)


def make(rng, n, masses="none", first=0):
    """A batch of n rows as a design would hand it on; its numbers lack a little, as powers do."""
    weight = torch.from_numpy(rng.uniform(0.1, 3, n)) if masses in ("weights", "both") else None
    frequency = None
    if masses in ("frequencies", "both"):
        frequency = torch.from_numpy(rng.integers(1, 5, n).astype(float))
    x = rng.normal(size=(n, P)) * [1, 10, 0.1] + [0, 5, -2]
    y = (x @ [1.0, -0.5, 2.0] + rng.normal(size=n))[:, None]
    return Batch(
        torch.from_numpy(x),
        torch.from_numpy(y),
        np.arange(first, first + n),
        weight,
        frequency,
        n + 2,
        {"a": 1} if n % 2 else {"b": 1},
        1,
        low=torch.from_numpy(x * rng.uniform(-(2.0**-54), 2.0**-54, x.shape)),
        y_low=torch.from_numpy(y * rng.uniform(-(2.0**-54), 2.0**-54, y.shape)),
    )


def cut(batch, edges):
    """The batch in pieces; what was left out of it is booked on the first."""
    edges = [0, *sorted(edges), len(batch.x)]
    pieces = []
    for number, (a, b) in enumerate(pairwise(edges)):
        first = number == 0
        pieces.append(
            Batch(
                batch.x[a:b],
                batch.y[a:b],
                batch.rows[a:b],
                None if batch.weight is None else batch.weight[a:b],
                None if batch.frequency is None else batch.frequency[a:b],
                b - a + (batch.n_read - len(batch.x)) * first,
                batch.missing if first else {},
                batch.n_weightless * first,
                low=batch.low[a:b],
                y_low=batch.y_low[a:b],
            )
        )
    return pieces


def tally_numbers(it):
    missing = [it.missing.get(name, 0) for name in ("a", "b")]
    return np.array([it.n_read, it.n_used, it.n_weightless, *missing, it.log_weights], dtype=float)


def moments_numbers(it):
    """Without the shift, which is free: total, means, and the centred cross-products."""
    if not it.total:
        return np.zeros(2 + 4 + 16)
    offset = it.first / it.total
    centred = (it.second - np.outer(it.first, offset)) / np.outer(it.unit, it.unit)
    mean = it.shift + offset / it.unit
    return np.concatenate([[it.n_rows, it.total], mean, centred.ravel()])


def triangle_numbers(it):
    """The triangle is unique up to signs of its rows: R'R is the same."""
    return np.concatenate([[it.n_rows, it.total], (it.r.T @ it.r).ravel()])


def unplaced_numbers(it):
    """The coordinates are free: the triangle in those of all."""
    if not len(it.r):
        return np.zeros(2 + 25)
    return triangle_numbers(it.moved(COORDINATES))


def refinement_numbers(it):
    """In units of the columns and of the basis, so that all sums are of one scale."""
    if it.gradient is None:
        return np.zeros(1 + 4 + 16)
    units = np.array([1.0, 1, 10, 2])
    return np.concatenate([it.squares, it.gradient.high[:, 0] / units, it.gram.ravel()])


def slope_numbers(it):
    gradient = np.zeros(P + 1) if it.gradient_sum is None else it.gradient_sum.ravel()
    return np.concatenate([[it.total, it.value_sum], gradient])


def sample_numbers(it):
    if it.batch is None:
        return np.zeros(0)
    rows = it.batch.rows.astype(float)  # which rows, in the order of their keys
    masses = [m.numpy() for m in (it.batch.weight, it.batch.frequency) if m is not None]
    return np.concatenate([rows, it.batch.x.numpy().ravel(), it.batch.y.numpy().ravel(), *masses])


def score_numbers(it):
    spread = it.spread
    about = 0.0
    if spread.total:
        about = (spread.second[0, 0] - spread.first[0] ** 2 / spread.total) / spread.unit[0] ** 2
    return np.array([it.n_rows, it.total, it.squares, spread.total, about])


def opening_numbers(it):
    parts = [tally_numbers(it.tally), moments_numbers(it.sums), sample_numbers(it.sample)]
    return np.concatenate(parts)


def spread_numbers(it):
    """Without the shift, as for moments."""
    if not it.total:
        return np.zeros(2 + 2 * (P + 1))
    offset = it.first / it.total
    centred = (it.second - it.first * offset) / it.unit**2
    return np.concatenate([[it.n_rows, it.total], it.shift + offset / it.unit, centred])


def survey_numbers(it):
    parts = [tally_numbers(it.tally), spread_numbers(it.spread), sample_numbers(it.sample)]
    return np.concatenate(parts)


def opening_by_qr_numbers(it):
    assert it.sample is None
    return np.concatenate([tally_numbers(it.tally), unplaced_numbers(it.sums)])


KINDS = {
    "tally": (lambda: Tally(), tally_numbers),
    "moments": (lambda: Moments(), moments_numbers),
    "triangle": (lambda: Triangle.zero(COORDINATES), triangle_numbers),
    "unplaced": (lambda: Triangle.unplaced(), unplaced_numbers),
    "refinement": (
        lambda: Refinement(np.arange(P), True, COEF, BASIS, 100.0),
        refinement_numbers,
    ),
    "slope": (
        lambda: Slope(np.array([[0.5], [1.0], [-1.0], [0.25]]), Squared(), COORDINATES),
        slope_numbers,
    ),
    "sample": (lambda: Sample(7, seed=3), sample_numbers),
    "score": (lambda: Score(np.array([1.0, -0.5, 1.5]), 0.3), score_numbers),
    "spread": (lambda: Spread(), spread_numbers),
    "survey": (lambda: Survey(Tally(), Spread(), Sample(7)), survey_numbers),
    "opening": (lambda: Opening(Tally(), Moments(), Sample(7)), opening_numbers),
    "opening by qr": (lambda: Opening(Tally(), Triangle.unplaced()), opening_by_qr_numbers),
}
MASSES = ("none", "weights", "frequencies", "both")
kinds = pytest.mark.parametrize("kind", KINDS)
masses = pytest.mark.parametrize("mass", MASSES)


def close(one, two):
    assert one.shape == two.shape
    size = max(1.0, np.abs(one).max(initial=0), np.abs(two).max(initial=0))
    np.testing.assert_allclose(one, two, rtol=ROUNDING, atol=ROUNDING * size)


def total(zero, batches):
    return reduce(lambda statistic, batch: statistic.add(batch), batches, zero)


@kinds
@masses
@given(seed=st.integers(0, 10**6), n=st.integers(2, 60), data=st.data())
def test_merge_is_the_statistic_of_the_union(kind, mass, seed, n, data):
    zero, numbers = KINDS[kind]
    batch = make(np.random.default_rng(seed), n, mass)
    at = data.draw(st.integers(0, n))
    one, two = cut(batch, [at])
    merged = zero().add(one).merge(zero().add(two))
    close(numbers(merged), numbers(zero().add(batch)))


@kinds
@masses
@given(seed=st.integers(0, 10**6), n=st.integers(3, 60), data=st.data())
def test_chunks_do_not_matter(kind, mass, seed, n, data):
    zero, numbers = KINDS[kind]
    batch = make(np.random.default_rng(seed), n, mass)
    edges = data.draw(st.lists(st.integers(0, n), max_size=6))
    close(numbers(total(zero(), cut(batch, edges))), numbers(zero().add(batch)))


@kinds
@masses
@given(seed=st.integers(0, 10**6), sizes=st.tuples(*[st.integers(1, 25)] * 3))
def test_merge_is_associative_and_commutes(kind, mass, seed, sizes):
    zero, numbers = KINDS[kind]
    batch = make(np.random.default_rng(seed), sum(sizes), mass)
    a, b, c = (zero().add(piece) for piece in cut(batch, list(np.cumsum(sizes)[:2])))
    close(numbers(a.merge(b).merge(c)), numbers(a.merge(b.merge(c))))
    close(numbers(a.merge(b)), numbers(b.merge(a)))


@kinds
@masses
def test_a_fresh_one_is_zero(kind, mass):
    zero, numbers = KINDS[kind]
    seen = zero().add(make(np.random.default_rng(0), 20, mass))
    close(numbers(zero().merge(seen)), numbers(seen))
    close(numbers(seen.merge(zero())), numbers(seen))
    close(numbers(zero().merge(zero())), numbers(zero()))


@kinds
def test_a_batch_without_rows_adds_none(kind):
    zero, numbers = KINDS[kind]
    empty = Batch(torch.empty(0, P).double(), torch.empty(0, 1).double(), np.arange(0))
    close(numbers(zero().add(empty)), numbers(zero()))
    seen = zero().add(make(np.random.default_rng(0), 20))
    close(numbers(seen.add(empty)), numbers(seen))
    close(numbers(zero().add(empty).merge(seen)), numbers(seen))


@kinds
@masses
def test_adding_leaves_the_old_one_and_the_batch_as_they_were(kind, mass):
    zero, numbers = KINDS[kind]
    batch = make(np.random.default_rng(1), 30, mass)
    x, y = batch.x.clone(), batch.y.clone()
    first = zero().add(batch)
    before = numbers(first).copy()
    first.add(make(np.random.default_rng(2), 30, mass, first=30))
    first.merge(zero().add(make(np.random.default_rng(3), 30, mass, first=60)))
    np.testing.assert_array_equal(numbers(first), before)
    assert torch.equal(batch.x, x)
    assert torch.equal(batch.y, y)


@pytest.mark.parametrize(
    "kind", sorted(set(KINDS) - {"tally", "sample", "survey", "opening", "opening by qr"})
)
def test_a_frequency_is_so_many_rows(kind):
    zero, numbers = KINDS[kind]
    rng = np.random.default_rng(5)
    counted = make(rng, 30, "frequencies")
    again = np.repeat(np.arange(30), counted.frequency.numpy().astype(int))
    spelled = Batch(
        counted.x[again],
        counted.y[again],
        np.arange(len(again)),
        low=counted.low[again],
        y_low=counted.y_low[again],
    )
    close(numbers(zero().add(counted)), numbers(zero().add(spelled)))


@given(seed=st.integers(0, 10**6), n=st.integers(1, 200), data=st.data())
def test_a_sample_is_bit_for_bit_the_same_in_any_chunks_and_order(seed, n, data):
    batch = make(np.random.default_rng(seed), n)
    pieces = cut(batch, data.draw(st.lists(st.integers(0, n), max_size=8)))
    whole = Sample(16, seed).add(batch)
    chunked = total(Sample(16, seed), pieces)
    shuffled = data.draw(st.permutations(pieces))
    merged = reduce(lambda a, b: a.merge(b), (Sample(16, seed).add(piece) for piece in shuffled))
    for other in (chunked, merged):
        np.testing.assert_array_equal(other.settled().keys, whole.settled().keys)
        np.testing.assert_array_equal(other.batch.rows, whole.batch.rows)
        assert torch.equal(other.batch.x, whole.batch.x)


def test_a_sample_is_uniform():
    """Each of 200 rows is among the 20 kept equally often, over seeds."""
    batch = make(np.random.default_rng(0), 200)
    counts = np.zeros(200)
    for seed in range(500):
        counts[Sample(20, seed).add(batch).batch.rows] += 1
    assert counts.sum() == 20 * 500
    # binomial(500, 0.1): 50 +- 6.7
    assert ((counts - 50) ** 2 / 45).sum() < 200 + 5 * np.sqrt(400)
    assert np.abs(counts - 50).max() < 5 * 6.7


@masses
def test_moments_and_triangle_are_the_same_rows(mass):
    batch = make(np.random.default_rng(7), 100, mass)
    moved = Moments().add(batch).triangle().moved(COORDINATES)
    close(triangle_numbers(moved), triangle_numbers(Triangle.zero(COORDINATES).add(batch)))


@masses
def test_a_triangle_squared_is_the_weighted_cross_product(mass):
    batch = make(np.random.default_rng(8), 50, mass)
    u = (batch.x.numpy() - COORDINATES.centre) / COORDINATES.scale
    v = (batch.y.numpy() - COORDINATES.target_centre) / COORDINATES.target_scale
    z = np.hstack([np.ones((50, 1)), u, v])
    w = np.ones(50) if batch.mass is None else batch.mass.numpy()
    r = Triangle.zero(COORDINATES).add(batch).r
    np.testing.assert_allclose(r.T @ r, (z * w[:, None]).T @ z, rtol=1e-12, atol=1e-10)
    assert np.allclose(r, np.triu(r))


@masses
@given(seed=st.integers(0, 10**6), n=st.integers(1, 60), data=st.data())
def test_a_triangle_that_chose_its_own_coordinates_is_placed_about_the_means(mass, seed, n, data):
    batch = make(np.random.default_rng(seed), n, mass)
    pieces = cut(batch, data.draw(st.lists(st.integers(0, n), max_size=4)))
    placed = total(Triangle.unplaced(), pieces).triangle()
    z = np.hstack([batch.x.numpy(), batch.y.numpy()])
    w = np.ones(n) if batch.mass is None else batch.mass.numpy()
    mean = np.average(z, axis=0, weights=w)
    spread = np.sqrt(np.average((z - mean) ** 2, axis=0, weights=w))
    units = placed.coordinates
    centres = np.concatenate([units.centre, units.target_centre])
    scales = np.concatenate([units.scale, units.target_scale])
    size = np.abs(z).max(axis=0)
    assert (np.abs(centres - mean) <= 1e-14 * size).all()
    varies = spread > 1e-12 * size
    np.testing.assert_allclose(scales[varies], spread[varies], rtol=1e-9)
    assert not placed.squared
    assert (placed.n_rows, placed.total) == pytest.approx((batch.n_rows, w.sum()), rel=1e-13)
    r = placed.r / np.sqrt(placed.total)
    np.testing.assert_allclose(np.abs(r[0]), np.eye(P + 2)[0], atol=1e-12)
    np.testing.assert_allclose((r**2).sum(axis=0)[1:][varies], 1, rtol=1e-9)


@pytest.mark.parametrize("far", [1e3, 1e9])
@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_triangles_merge_however_far_apart_their_coordinates_are(far, unit):
    """Each part has its own centre and unit; about its means the union is that of all rows at once."""
    rng = np.random.default_rng(6)
    z = np.vstack([rng.normal(size=(30, P + 1)), unit * rng.normal(size=(20, P + 1)) + far])
    batches = [
        Batch(torch.from_numpy(part[:, :P]), torch.from_numpy(part[:, P:]), np.arange(len(part)))
        for part in (z[:30], z[30:])
    ]
    parts = [Triangle.unplaced().add(batch) for batch in batches]
    mean, spread = z.mean(axis=0), z.std(axis=0)
    units = Coordinates(mean[:P], spread[:P], mean[P:], spread[P:], intercept=True)
    u = np.hstack([np.ones((50, 1)), (z - mean) / spread])
    for union in (parts[0].merge(parts[1]), parts[1].merge(parts[0])):
        r = union.triangle().moved(units).r
        np.testing.assert_allclose(r.T @ r, u.T @ u, atol=1e-9)


# --- refinement ---------------------------------------------------------------------------------


def fraction(*parts):
    """The sum of arrays of float64, exactly."""
    return sum(np.vectorize(Fraction, otypes=[object])(part) for part in parts)


@masses
@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
@given(seed=st.integers(0, 10**6), n=st.integers(1, 25), data=st.data())
def test_a_refinement_is_the_residuals_gradient_and_curvature(mass, low, intercept, seed, n, data):
    """In any chunks, to double-double: held against fractions, in which nothing is rounded."""
    batch = make(np.random.default_rng(seed), n, mass)
    pieces = cut(batch, data.draw(st.lists(st.integers(0, n), max_size=4)))
    x = fraction(batch.x.numpy(), batch.low.numpy() * low)
    columns = np.array([0, 2])
    a = np.hstack([np.full((n, int(intercept)), Fraction(1)), x[:, columns]])
    q = a.shape[1]
    coef = Doubled(*(part[:q] for part in COEF))
    basis = Doubled(*(part[:q, :q] for part in BASIS))
    w = fraction(np.ones(n))
    for part in (batch.weight, batch.frequency):
        w = w if part is None else w * fraction(part.numpy())
    y = fraction(batch.y.numpy(), batch.y_low.numpy() * low)
    misfit = (y - a @ fraction(*coef))[:, 0]
    terms = a * (w * misfit)[:, None]
    seen = a @ fraction(*basis)

    if not low:
        pieces = [replace(piece, low=None, y_low=None) for piece in pieces]
    found = total(Refinement(columns, intercept, coef, basis, float(sum(w))), pieces)
    squares = float(sum(w * misfit**2))
    assert found.squares[0] == pytest.approx(squares, rel=1e-13)
    gradient = fraction(*found.gradient)[:, 0]
    sizes = (np.abs(a).max(axis=0) * sum(np.abs(w * misfit))).astype(float)
    apart = np.abs(gradient - terms.sum(axis=0)).astype(float)
    assert (apart <= DOUBLED * sizes).all()
    gram = (seen.T @ (seen * w[:, None])).astype(float)
    np.testing.assert_allclose(found.gram, gram, rtol=1e-12, atol=1e-13 * np.abs(gram).max())


@pytest.mark.parametrize("far", [0.0, 1e3, 1e7])
def test_residuals_near_nothing_keep_their_digits(far):
    """y is x'b but for a hundred-millionth of its rounding, and the offset is far."""
    rng = np.random.default_rng(13)
    x = rng.normal(size=(40, P)) + far
    b = np.array([[3.0], [1.1], [-0.7], [0.2]])
    y = np.hstack([np.ones((40, 1)), x]) @ b
    batch = Batch(torch.from_numpy(x), torch.from_numpy(y), np.arange(40))
    coef = Doubled(b, 2.0**-80 * rng.normal(size=b.shape))
    found = Refinement(np.arange(P), True, coef).add(batch)
    a = np.hstack([np.full((40, 1), Fraction(1)), fraction(x)])
    misfit = fraction(y) - a @ fraction(*coef)
    assert found.squares[0] == pytest.approx(float((misfit**2).sum()), rel=1e-12)
    gradient = (a.T @ misfit).astype(float)
    np.testing.assert_allclose(found.gradient.high, gradient, rtol=1e-9, atol=1e-25 * (1 + far))
    assert found.gram is None


def test_an_orthonormal_basis_is_one():
    rng = np.random.default_rng(14)
    rows = rng.normal(size=(30, 4))
    turn = orthonormal(rows.T @ rows)
    assert (turn == np.triu(turn)).all()
    turned = rows @ turn
    np.testing.assert_allclose(turned.T @ turned, np.eye(4), atol=1e-13)
    assert orthonormal(np.diag([1.0, -1e-9])) is None


# --- moments ------------------------------------------------------------------------------------


@masses
@given(seed=st.integers(0, 10**6), n=st.integers(20, 60), share=st.floats(0.4, 0.6))
def test_what_was_added_can_be_taken_away(mass, seed, n, share):
    batch = make(np.random.default_rng(seed), n, mass)
    one, two = cut(batch, [round(n * share)])
    stay, go = Moments().add(two), Moments().add(one)
    for whole in (stay.merge(go), go.merge(stay), Moments().add(batch)):
        left = whole.subtract(go)
        assert left.n_rows == pytest.approx(stay.n_rows, rel=1e-13)
        assert left.total == pytest.approx(stay.total, rel=1e-13)
        close(moments_numbers(left), moments_numbers(stay))
    close(moments_numbers(stay.merge(go).subtract(stay)), moments_numbers(go))


@given(seed=st.integers(0, 10**6), n=st.integers(1, 40))
def test_a_tally_that_is_taken_away_leaves_what_was_there(seed, n):
    rng = np.random.default_rng(seed)
    stay, go = (Tally().add(make(rng, size, "both")) for size in (n, 13))
    left = stay.merge(go).merge(go.negative())
    np.testing.assert_allclose(tally_numbers(left), tally_numbers(stay), rtol=1e-12, atol=1e-12)
    assert left.missing == stay.missing


def test_taking_nothing_away_changes_nothing():
    seen = Moments().add(make(np.random.default_rng(0), 20))
    assert seen.subtract(Moments()) is seen


def shifted(batch, by):
    return replace(batch, x=batch.x + by, y=batch.y + by)


@pytest.mark.parametrize("mass", ["none", "weights"])
def test_what_would_leave_nothing_cannot_be_taken_away(mass):
    batch = make(np.random.default_rng(1), 20, mass)
    seen = Moments().add(batch)
    for other in (seen, seen.merge(Moments().add(make(np.random.default_rng(2), 3, mass)))):
        with pytest.raises(GentleError, match="none would be left") as refused:
            seen.subtract(other)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("stay", "go"),
    [
        (
            make(np.random.default_rng(3), 3),
            make(np.random.default_rng(4), 100),
        ),  # too few for four
        (
            shifted(make(np.random.default_rng(3), 50), 0.0),
            shifted(make(np.random.default_rng(4), 50), 1e9),
        ),
        (
            replace(
                make(np.random.default_rng(3), 50), x=1e-9 * make(np.random.default_rng(3), 50).x
            ),
            make(np.random.default_rng(4), 50),
        ),
        (
            make(np.random.default_rng(3), 50),
            replace(
                make(np.random.default_rng(4), 50), x=1e9 * make(np.random.default_rng(4), 50).x
            ),
        ),
    ],
    ids=["too few", "far away", "narrow beside wide", "wide"],
)
def test_what_would_lose_half_of_the_digits_is_not_taken_away(stay, go):
    whole = Moments().add(stay).merge(Moments().add(go))
    with pytest.raises(GentleError, match="more than half of the digits") as refused:
        whole.subtract(Moments().add(go))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("far", [3.0, 30.0, 1e6])
def test_rows_that_are_not_among_them_cannot_be_taken_away(far):
    """Where that shows: rows that spread further than all of them."""
    seen = Moments().add(make(np.random.default_rng(5), 100))
    foreign = make(np.random.default_rng(6), 50)
    with pytest.raises(GentleError, match="half of the digits"):
        seen.subtract(Moments().add(replace(foreign, x=far * foreign.x)))


def test_the_triangle_of_one_target_is_that_of_it_alone():
    batch = make(np.random.default_rng(7), 40, "both")
    y = torch.cat([batch.y, batch.y.square(), -3 * batch.x[:, :1]], dim=1)
    several = Triangle.unplaced().add(replace(batch, y=y))
    for at in range(3):
        alone = Triangle.unplaced().add(replace(batch, y=y[:, at : at + 1]))
        close(unplaced_numbers(several.of(at)), unplaced_numbers(alone))


@masses
@pytest.mark.parametrize("kinds_of_sums", ["mm", "mt", "tm", "tt"])
def test_sums_of_two_kinds_are_merged(mass, kinds_of_sums):
    batch = make(np.random.default_rng(8), 60, mass)
    kind = {"m": Moments, "t": Triangle.unplaced}
    one, two = (
        kind[which]().add(piece)
        for which, piece in zip(kinds_of_sums, cut(batch, [25]), strict=True)
    )
    found = merged(one, two)
    assert isinstance(found, Moments) == (kinds_of_sums == "mm")
    wanted = Triangle.zero(COORDINATES).add(batch)
    close(triangle_numbers(found.triangle().moved(COORDINATES)), triangle_numbers(wanted))


def test_rows_are_not_taken_from_a_triangle():
    one, two = cut(make(np.random.default_rng(9), 60), [25])
    moments, triangle = Moments().add(one), Triangle.unplaced().add(two)
    for pair in ((moments, triangle), (triangle, moments), (triangle, triangle)):
        with pytest.raises(GentleError, match="fit with 'auto'"):
            subtracted(*pair)
    whole = moments.merge(Moments().add(two))
    close(moments_numbers(subtracted(whole, moments)), moments_numbers(Moments().add(two)))


def test_the_moments_of_one_target_are_those_of_it_alone():
    batch = make(np.random.default_rng(7), 40, "both")
    y = torch.cat([batch.y, batch.y.square(), -3 * batch.x[:, :1]], dim=1)
    several = Moments().add(replace(batch, y=y))
    for at in range(3):
        alone = Moments().add(replace(batch, y=y[:, at : at + 1]))
        close(moments_numbers(several.of(at)), moments_numbers(alone))
        assert several.of(at).n_targets == 1
    assert alone.of(0) is alone


@pytest.mark.parametrize("size", [1e-150, 1e-60, 1.0, 1e60, 1e150])
def test_moments_keep_their_digits_at_any_size(size):
    rng = np.random.default_rng(9)
    x = rng.normal(size=(200, P))
    y = rng.normal(size=(200, 1))

    def seen(scale):
        return Moments().add(
            Batch(torch.from_numpy(x * scale), torch.from_numpy(y * scale), np.arange(200))
        )

    one, other = seen(1.0).triangle(), seen(size).triangle()
    np.testing.assert_allclose(np.abs(other.r), np.abs(one.r), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(other.coordinates.scale, one.coordinates.scale * size, rtol=1e-12)


@masses
def test_slope_is_the_mean_loss_and_its_gradient(mass):
    zero, _ = KINDS["slope"]
    batch = make(np.random.default_rng(11), 64, mass)
    seen = zero().add(batch)
    u, v = COORDINATES.apply(batch)
    w = torch.ones(64).double() if batch.mass is None else batch.mass
    residual = u @ torch.from_numpy(seen.theta) - v
    value = float((w[:, None] * residual.square()).sum() / (2 * w.sum()))
    gradient = u.T @ (w[:, None] * residual) / w.sum()
    assert seen.value == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(seen.gradient, gradient.numpy(), rtol=1e-10, atol=1e-12)


@masses
def test_score_is_the_mean_squared_error_and_r2(mass):
    zero, _ = KINDS["score"]
    batch = make(np.random.default_rng(12), 64, mass)
    seen = zero().add(batch)
    w = np.ones(64) if batch.mass is None else batch.mass.numpy()
    y = batch.y.numpy()[:, 0]
    residual = y - batch.x.numpy() @ seen.coef - seen.constant
    mean = np.average(y, weights=w)
    assert seen.mse == pytest.approx(np.average(residual**2, weights=w), rel=1e-12)
    r2 = 1 - (w @ residual**2) / (w @ (y - mean) ** 2)
    assert seen.r2 == pytest.approx(r2, rel=1e-10)


@masses
def test_sparse_rows_are_seen_as_dense_ones(mass):
    batch = make(np.random.default_rng(13), 80, mass)
    x = torch.where(batch.x > 0.3, batch.x, 0.0)
    dense = replace(batch, x=x)
    sparse = replace(batch, x=wrapped(csr_array(x.numpy())))
    one, two = (sparse.taken(slice(*at)) for at in ((0, 33), (33, 80)))
    for kind in ("spread", "slope"):
        zero, numbers = KINDS[kind]
        whole = zero().add(sparse)
        close(numbers(whole), numbers(zero().add(dense)))
        close(numbers(zero().add(one).merge(zero().add(two))), numbers(whole))
    some = Sample(7).add(one).merge(Sample(7).add(two)).batch
    np.testing.assert_array_equal(some.x.to_dense(), Sample(7).add(dense).batch.x)
    d = np.random.default_rng(14).normal(size=(80, 2))
    theta = np.random.default_rng(15).normal(size=(P + 1, 2))
    weights = np.arange(1.0, P + 2)
    at = np.array([5, 3, 70, 71])
    for rows in (None, at):
        pair = [COORDINATES.see(it, rows) for it in (sparse, dense)]
        chosen = d if rows is None else d[rows]
        for ask in (
            lambda seen: seen.times(theta),
            lambda seen, chosen=chosen: seen.adjoint(torch.from_numpy(chosen)),
            lambda seen: seen.squares(weights),
            lambda seen: seen.written_out(),
        ):
            one, two = map(ask, pair)
            np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)
