"""Laws of the meat: parts merge, frequencies are rows, and the numbers are those of other libraries."""

from dataclasses import replace
from functools import reduce
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from hypothesis import given
from hypothesis import strategies as st

from gentle.batch import Batch
from gentle.engines import Here
from gentle.errors import GentleError
from gentle.fitted import Fitted
from gentle.meat import (
    ERRORS,
    Autocorrelated,
    Clustered,
    Heteroscedastic,
    Scores,
    correction_autocorrelated,
    correction_cluster,
    correction_heteroscedastic,
    default_lags,
    positive,
    sandwich,
)
from gentle.passes import fold

P = 3
ROUNDING = 1e-10
AGREE = 1e-9
HC = ("HC0", "HC1", "HC2", "HC3")


class Parts:
    """Batches that can be had in parts."""

    engine = Here()

    def __init__(self, batches, parts=1):
        self.batches, self.parts = batches, parts

    def split(self, parts):
        edges = [len(self.batches) * part // parts for part in range(parts + 1)]
        return [self.batches[a:b] for a, b in pairwise(edges)]


def make(rng, n, masses="none", labels="text"):
    """A batch of n rows whose noise grows with a column and is shared in groups that interleave."""
    weight = torch.from_numpy(rng.uniform(0.1, 3, n)) if masses in ("weights", "both") else None
    frequency = None
    if masses in ("frequencies", "both"):
        frequency = torch.from_numpy(rng.integers(1, 5, n).astype(float))
    x = rng.normal(size=(n, P)) * [1, 10, 0.1] + [0, 5, -2]
    firm, year = rng.integers(0, max(2, n // 5), n), rng.integers(0, 7, n)
    noise = rng.normal(size=n) * (0.5 + np.abs(x[:, 0])) + rng.normal(size=n)[firm] + 0.3 * year
    y = x @ [1.0, -0.5, 2.0] + noise
    groups = (LABELS[labels](firm), year, year / 4 - 1)
    return Batch(
        torch.from_numpy(x),
        torch.from_numpy(y[:, None]),
        np.arange(n),
        weight,
        frequency,
        groups=groups,
    )


LABELS = {
    "text": lambda codes: np.array([f"firm {code}" for code in codes], dtype=str),
    "objects": lambda codes: np.array([f"firm {code}" for code in codes], dtype=object),
    "integers": lambda codes: codes * 1000 - 5,
    "floats": lambda codes: codes / 8,
}


def taken(batch, at):
    """Some rows of a batch."""

    def pick(values):
        return None if values is None else values[at]

    return replace(
        batch,
        x=batch.x[at],
        y=batch.y[at],
        rows=batch.rows[at],
        weight=pick(batch.weight),
        frequency=pick(batch.frequency),
        groups=tuple(labels[at] for labels in batch.groups),
    )


def cut(batch, edges):
    edges = [0, *sorted(edges), len(batch.x)]
    return [taken(batch, slice(a, b)) for a, b in pairwise(edges)]


def fit(batch, intercept=True):
    """The least-squares fit of a batch, by QR."""
    x, y = batch.x.numpy(), batch.y.numpy()
    mass = np.ones(len(x)) if batch.mass is None else batch.mass.numpy()
    centre = mass @ x / mass.sum() if intercept else np.zeros(x.shape[1])
    u = np.hstack([np.ones((len(x), int(intercept))), x - centre]) * np.sqrt(mass)[:, None]
    q, r = np.linalg.qr(u)
    root = np.linalg.inv(r)
    coef = root @ (q.T @ (y * np.sqrt(mass)[:, None]))
    return Fitted(np.arange(x.shape[1]), centre, intercept, coef, root)


def spelled(batch):
    """Each row as often as its frequency says."""
    again = np.repeat(np.arange(len(batch.x)), batch.frequency.numpy().astype(int))
    return replace(taken(batch, again), frequency=None)


def covariance(batch, errors, parts=1, sizes=(), **options):
    """Of the coefficients of a batch."""
    fitted = fit(batch)
    found = sandwich(
        Parts(cut(batch, sizes), parts), fitted, errors, batch.n_rows, sigma2=1.0, **options
    )
    return found.covariance(fitted)


FITTED = fit(make(np.random.default_rng(99), 80))  # a fit of other rows, for laws of sums


def white_numbers(it):
    return np.append(it.meat.ravel(), it.n_pinned)


def cluster_numbers(it):
    return np.append(it.meat.ravel(), it.n_groups)


def ordered_numbers(it):
    return it.meat.ravel()


def starting(statistic, *detail):
    """A fresh one, for a fit."""
    return lambda fitted=FITTED: statistic.zero(fitted, *detail)


WHITE = {kind: (starting(Heteroscedastic, kind), white_numbers) for kind in HC}
CLUSTERED = {
    f"clustered by {key}": (starting(Clustered, key), cluster_numbers)
    for key in ((0,), (1,), (0, 1), (2, 0))
}
ORDERED = {
    f"{lags} lags": (starting(Autocorrelated, lags), ordered_numbers) for lags in (0, 1, 4, 11)
}
KINDS = WHITE | CLUSTERED | ORDERED
kinds = pytest.mark.parametrize("kind", KINDS)
unordered = pytest.mark.parametrize("kind", WHITE | CLUSTERED)
ordered = pytest.mark.parametrize("kind", ORDERED)
masses = pytest.mark.parametrize("mass", ["none", "weights", "frequencies", "both"])
labelled = pytest.mark.parametrize("labels", LABELS)


def close(one, two, tolerance=ROUNDING):
    assert one.shape == two.shape
    size = max(np.abs(one).max(initial=0), np.abs(two).max(initial=0))
    np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance * size)


def total(zero, batches):
    return reduce(lambda statistic, batch: statistic.add(batch), batches, zero)


def some(kind, rng, n, mass="none", labels="text"):
    """A batch that the kind takes: those in order know no frequencies."""
    if kind in ORDERED:
        mass = {"frequencies": "none", "both": "weights"}.get(mass, mass)
    return make(rng, n, mass, labels)


@kinds
@masses
@given(seed=st.integers(0, 10**6), n=st.integers(2, 60), data=st.data())
def test_merge_is_the_statistic_of_the_union(kind, mass, seed, n, data):
    zero, numbers = KINDS[kind]
    batch = some(kind, np.random.default_rng(seed), n, mass)
    one, two = cut(batch, [data.draw(st.integers(0, n))])
    close(numbers(zero().add(one).merge(zero().add(two))), numbers(zero().add(batch)))


@kinds
@masses
@given(seed=st.integers(0, 10**6), n=st.integers(3, 60), data=st.data())
def test_chunks_do_not_matter(kind, mass, seed, n, data):
    zero, numbers = KINDS[kind]
    batch = some(kind, np.random.default_rng(seed), n, mass)
    edges = data.draw(st.lists(st.integers(0, n), max_size=6))
    close(numbers(total(zero(), cut(batch, edges))), numbers(zero().add(batch)))


@kinds
@labelled
def test_batches_of_one_row_are_fine(kind, labels):
    zero, numbers = KINDS[kind]
    batch = make(np.random.default_rng(4), 40, labels=labels)
    whole = numbers(zero().add(batch))
    rows = cut(batch, range(1, 40))
    close(numbers(total(zero(), rows)), whole)
    pairs = [total(zero(), rows[at : at + 2]) for at in range(0, 40, 2)]
    close(numbers(reduce(lambda a, b: a.merge(b), pairs)), whole)
    close(numbers(reduce(lambda a, b: b.merge(a), reversed(pairs))), whole)


@kinds
@masses
@given(seed=st.integers(0, 10**6), sizes=st.tuples(*[st.integers(1, 25)] * 3))
def test_merge_is_associative(kind, mass, seed, sizes):
    zero, numbers = KINDS[kind]
    batch = some(kind, np.random.default_rng(seed), sum(sizes), mass)
    a, b, c = (zero().add(piece) for piece in cut(batch, list(np.cumsum(sizes)[:2])))
    close(numbers(a.merge(b).merge(c)), numbers(a.merge(b.merge(c))))


@unordered
@masses
def test_order_does_not_matter(kind, mass):
    zero, numbers = KINDS[kind]
    rng = np.random.default_rng(6)
    batch = make(rng, 90, mass)
    shuffled = taken(batch, rng.permutation(90))
    close(numbers(zero().add(shuffled)), numbers(zero().add(batch)))
    a, b = (zero().add(piece) for piece in cut(batch, [30]))
    close(numbers(a.merge(b)), numbers(b.merge(a)))


@ordered
def test_time_may_run_backwards_but_not_wildly(kind):
    zero, numbers = KINDS[kind]
    rng = np.random.default_rng(7)
    batch = make(rng, 90)
    seen = numbers(zero().add(batch))
    close(numbers(zero().add(taken(batch, np.arange(90)[::-1].copy()))), seen)
    shuffled = numbers(zero().add(taken(batch, rng.permutation(90))))
    assert np.allclose(shuffled, seen) == (kind == "0 lags")


@kinds
@masses
def test_a_fresh_one_is_zero(kind, mass):
    zero, numbers = KINDS[kind]
    seen = zero().add(some(kind, np.random.default_rng(0), 20, mass))
    close(numbers(zero().merge(seen)), numbers(seen))
    close(numbers(seen.merge(zero())), numbers(seen))
    assert not numbers(zero().merge(zero())).any()


@kinds
def test_a_batch_without_rows_adds_none(kind):
    zero, numbers = KINDS[kind]
    empty = Batch(torch.empty(0, P).double(), torch.empty(0, 1).double(), np.arange(0))
    assert not numbers(zero().add(empty)).any()
    seen = zero().add(make(np.random.default_rng(0), 20))
    close(numbers(seen.add(empty)), numbers(seen))
    close(numbers(zero().add(empty).merge(seen)), numbers(seen))


@kinds
@masses
@pytest.mark.parametrize("columns", [[0, 1, 2], [0, 2]], ids=["all columns", "some columns"])
@pytest.mark.parametrize("intercept", [True, False])
def test_adding_leaves_the_old_one_and_the_batch_as_they_were(kind, mass, columns, intercept):
    zero, numbers = KINDS[kind]
    rng = np.random.default_rng(1)
    batch = some(kind, rng, 30, mass)
    fitted = fit(replace(batch, x=batch.x[:, columns]), intercept)
    fitted = replace(fitted, columns=np.array(columns))
    before = [batch.x.clone(), batch.y.clone()]
    first = zero(fitted).add(batch)
    seen = numbers(first).copy()
    first.add(some(kind, rng, 30, mass))
    first.merge(zero(fitted).add(some(kind, rng, 30, mass)))
    np.testing.assert_array_equal(numbers(first), seen)
    assert torch.equal(batch.x, before[0])
    assert torch.equal(batch.y, before[1])


@unordered
@pytest.mark.parametrize("mass", ["frequencies", "both"])
def test_a_frequency_is_so_many_rows(kind, mass):
    zero, numbers = KINDS[kind]
    counted = make(np.random.default_rng(5), 30, mass)
    close(numbers(zero().add(counted)), numbers(zero().add(spelled(counted))))


@pytest.mark.parametrize("mass", ["frequencies", "both"])
@pytest.mark.parametrize("errors", [*HC, "cluster"])
def test_a_fit_of_frequencies_is_that_of_so_many_rows(errors, mass):
    """The fit, leverages and corrections too."""
    counted = make(np.random.default_rng(5), 50, mass)
    keys = ("firm", "year")[: errors == "cluster"]
    close(
        covariance(counted, errors, clusters=keys),
        covariance(spelled(counted), errors, clusters=keys),
        AGREE,
    )


@pytest.mark.parametrize("errors", [*HC, "cluster", "HAC"])
def test_precisions_need_no_scale(errors):
    batch = make(np.random.default_rng(5), 50, "weights")
    larger = replace(batch, weight=batch.weight * 37)
    close(covariance(batch, errors, clusters=["a"]), covariance(larger, errors, clusters=["a"]))


# The numbers, written out.


def scores(batch, fitted):
    """(scores, z, w e) as the definitions have them, without thrift."""
    z = fitted.rows(batch).numpy() @ fitted.root
    size = (batch.y.numpy() - fitted.rows(batch).numpy() @ fitted.coef)[:, 0]
    size = size if batch.weight is None else size * batch.weight.numpy()
    return z * size[:, None], z, size


@masses
@pytest.mark.parametrize("kind", HC)
def test_heteroscedastic_is_its_formula(kind, mass):
    batch = make(np.random.default_rng(11), 60, mass)
    fitted = fit(batch)
    _, z, size = scores(batch, fitted)
    w = np.ones(60) if batch.weight is None else batch.weight.numpy()
    f = np.ones(60) if batch.frequency is None else batch.frequency.numpy()
    h = w * (z**2).sum(axis=1)
    assert f @ h == pytest.approx(P + 1)
    a = {"HC2": 1 / (1 - h), "HC3": 1 / (1 - h) ** 2}.get(kind, np.ones(60))
    expected = (z * (f * size**2 * a)[:, None]).T @ z
    close(Heteroscedastic.zero(fitted, kind).add(batch).meat, expected)


@masses
@labelled
@pytest.mark.parametrize("key", [(0,), (1,), (0, 1), (1, 0), (2,), (0, 2, 1)])
def test_clustered_is_its_formula(key, labels, mass):
    batch = make(np.random.default_rng(12), 120, mass, labels)
    fitted = fit(batch)
    s, _, _ = scores(batch, fitted)
    s = s if batch.frequency is None else s * batch.frequency.numpy()[:, None]
    names = list(zip(*(batch.groups[at].tolist() for at in key), strict=True))
    sums = [s[[name == one for name in names]].sum(axis=0) for one in set(names)]
    found = Clustered.zero(fitted, key).add(batch)
    close(found.meat, sum(np.outer(one, one) for one in sums))
    assert found.n_groups == len(sums)


@pytest.mark.parametrize("lags", [0, 1, 2, 3, 5, 8, 29, 30, 31, 100])
def test_autocorrelated_is_its_formula(lags):
    batch = make(np.random.default_rng(13), 30, "weights")
    fitted = fit(batch)
    s, _, _ = scores(batch, fitted)
    expected = s.T @ s
    for lag in range(1, min(lags, 29) + 1):
        product = s[lag:].T @ s[:-lag]
        expected += (1 - lag / (lags + 1)) * (product + product.T)
    found = Autocorrelated.zero(fitted, lags).add(batch).meat
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(s.T @ s).max() * (lags + 1))
    assert np.linalg.eigvalsh(found)[0] > -1e-12 * np.abs(found).max()


def test_fewer_keys_need_no_other_pass():
    batch = make(np.random.default_rng(14), 200)
    by_all = total(Clustered.zero(FITTED, (0, 1, 2)), cut(batch, range(7, 200, 7)))
    for key in ((0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)):
        close(
            cluster_numbers(by_all.margin(key)),
            cluster_numbers(Clustered.zero(FITTED, key).add(batch)),
        )
    assert not cluster_numbers(Clustered.zero(FITTED, (0, 1)).margin((1,))).any()


def test_groups_hold_no_more_than_twice_their_number():
    """Runs that wait are joined before they outgrow what they wait for."""
    batch = make(np.random.default_rng(15), 3000)
    statistic = Clustered.zero(FITTED, (0,))
    for piece in cut(batch, range(50, 3000, 50)):
        statistic = statistic.add(piece)
        assert sum(len(run) for run in statistic.runs) <= 2 * max(50, statistic.n_groups)


def test_labels_are_matched_by_value_in_any_width_and_kind_of_text():
    batch = make(np.random.default_rng(16), 40, labels="integers")
    short = replace(taken(batch, slice(0, 20)), groups=(np.array(["a", "b"] * 10),))
    names = np.array(["b", "a", "a much longer name", "a"] * 5, dtype=object)
    long = replace(taken(batch, slice(20, 40)), groups=(names,))
    zero = Clustered.zero(FITTED, (0,))
    together = replace(batch, groups=(np.concatenate([short.groups[0].astype(object), names]),))
    expected = cluster_numbers(zero.add(together))
    close(cluster_numbers(zero.add(short).add(long)), expected)
    close(cluster_numbers(zero.add(long).merge(zero.add(short))), expected)
    assert expected[-1] == 3


@pytest.mark.parametrize("errors", ERRORS)
def test_parts_do_not_matter(errors):
    batch = make(np.random.default_rng(17), 200)
    one = covariance(batch, errors, clusters=["firm", "year"])
    many = covariance(batch, errors, clusters=["firm", "year"], parts=4, sizes=range(9, 200, 9))
    close(one, many)


@pytest.mark.parametrize("errors", ERRORS)
def test_columns_that_are_nearly_the_same_keep_their_digits(errors):
    """Scores are added up in z where sums in x would lose them: here all of them, at 1e9 squared."""
    rng = np.random.default_rng(18)
    batch = make(rng, 300)
    apart = torch.from_numpy(rng.normal(size=300))
    plain = torch.stack([batch.x[:, 0], apart], dim=1)
    distance = 2.0**-30
    twins = torch.stack([batch.x[:, 0], batch.x[:, 0] + distance * apart], dim=1)
    one, other = replace(batch, x=plain), replace(batch, x=twins)
    fitted = fit(one)
    # y = a x + b (x + d v) = (a + b) x + (b d) v: the same fit in other columns
    move = np.eye(3)
    move[1, 2], move[2, 2] = -1 / distance, 1 / distance
    centre = np.array([fitted.centre[0], fitted.centre[0] + distance * fitted.centre[1]])
    same = replace(fitted, centre=centre, coef=move @ fitted.coef, root=move @ fitted.root)
    assert Scores.of(fitted).inner is None
    assert Scores.of(same).inner is not None
    found = sandwich(Parts([other]), same, errors, 300, clusters=["firm"], sigma2=1.0).meat
    exact = sandwich(Parts([one]), fitted, errors, 300, clusters=["firm"], sigma2=1.0).meat
    close(found, exact, 1e-5)  # x + d v itself is rounded at 1e-16 / 1e-9


@given(seed=st.integers(0, 10**6), together=st.floats(0, 0.9999))
def test_both_ways_to_add_scores_up_are_the_same(seed, together):
    batch = make(np.random.default_rng(seed), 50)
    x = batch.x.clone()
    x[:, 2] = together * x[:, 0] + (1 - together) * x[:, 2]
    batch = replace(batch, x=x)
    fitted = fit(batch)
    for zero in (
        Heteroscedastic.zero(fitted, "HC1"),
        Clustered.zero(fitted, (0,)),
        Autocorrelated.zero(fitted, 3),
    ):
        late = replace(zero, scores=Scores(fitted, None, fitted.root))
        early = replace(zero, scores=Scores(fitted, fitted.root, np.eye(P + 1)))
        if Scores.of(fitted).inner is None:
            close(late.add(batch).meat, early.add(batch).meat, 1e-11)


# What a kind means.


def test_classical_is_the_residual_variance():
    batch = make(np.random.default_rng(20), 50)
    fitted = fit(batch)
    found = sandwich(Parts([batch]), fitted, "classical", 50, sigma2=2.5)
    x = sm.add_constant(batch.x.numpy())
    close(found.covariance(fitted), 2.5 * np.linalg.inv(x.T @ x), AGREE)
    assert (found.df, found.description, found.clipped) == (46, "classical", False)


@labelled
def test_a_group_for_each_row_is_heteroscedasticity(labels):
    n = 60
    batch = make(np.random.default_rng(21), n)
    batch = replace(batch, groups=(LABELS[labels](np.random.default_rng(0).permutation(n)),))
    white = covariance(batch, "HC0")
    clustered = covariance(batch, "cluster", clusters=["id"], sizes=range(1, n, 3))
    close(clustered, white * (n - 1) / (n - P - 1) * n / (n - 1))
    close(clustered, covariance(batch, "HC1"))


def test_without_lags_autocorrelation_is_heteroscedasticity():
    batch = make(np.random.default_rng(22), 60)
    close(covariance(batch, "HAC", lags=0), covariance(batch, "HC1"))


def test_keys_within_keys_are_the_wider_ones():
    """With firm inside country, V_firm + V_country - V_both is V_country, but for the fewest groups."""
    batch = make(np.random.default_rng(23), 200, labels="integers")
    country = (batch.groups[0] + 5) // 1000 % 5
    batch = replace(batch, groups=(batch.groups[0], country))
    alone = replace(batch, groups=(country,))
    one = sandwich(Parts([alone]), fit(batch), "cluster", 200, clusters=["country"], sigma2=1.0)
    both = sandwich(
        Parts([batch]), fit(batch), "cluster", 200, clusters=["firm", "country"], sigma2=1.0
    )
    close(both.meat, one.meat)
    assert (both.df, both.clipped) == (one.df, False)


def test_three_keys_add_and_take_off():
    batch = make(np.random.default_rng(24), 400)
    third = np.random.default_rng(1).integers(0, 9, 400)
    batch = replace(batch, groups=(*batch.groups[:2], third))
    fitted = fit(batch)
    found = sandwich(Parts([batch]), fitted, "cluster", 400, clusters=["a", "b", "c"], sigma2=1.0)
    terms = {
        key: Clustered.zero(fitted, key).add(batch).meat
        for key in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))
    }
    meat = sum(term if len(key) % 2 else -term for key, term in terms.items())
    close(found.meat, meat * correction_cluster(400, P + 1, 7))
    assert (found.df, found.clipped) == (6, False)


@pytest.mark.parametrize("kind", ["HC2", "HC3"])
@pytest.mark.parametrize("masses", ["none", "weights"])
def test_a_row_of_leverage_one_counts_as_zero(kind, masses):
    """A column that only one row has: the rest is the fit without both."""
    batch = make(np.random.default_rng(25), 60, masses)
    x = torch.cat([batch.x, torch.zeros(60, 1).double()], dim=1)
    x[17, 3] = 1.0
    with_row = replace(batch, x=x)
    without = taken(batch, np.delete(np.arange(60), 17))
    fitted = fit(with_row)
    found = sandwich(Parts([with_row]), fitted, kind, 60, sigma2=1.0)
    assert f"({kind}; 1 row of leverage 1 left out)" in found.description
    full = found.covariance(fitted)
    assert np.isfinite(full).all()
    close(full[:4, :4], covariance(without, kind), AGREE)


def test_a_single_row_in_many_copies_has_no_leverage_of_one():
    batch = make(np.random.default_rng(26), 60, "frequencies")
    x = torch.cat([batch.x, torch.zeros(60, 1).double()], dim=1)
    x[17, 3] = 1.0
    batch.frequency[17] = 3
    batch = replace(batch, x=x)
    assert Heteroscedastic.zero(fit(batch), "HC3").add(batch).n_pinned == 0


def test_an_indefinite_two_way_covariance_is_clipped_and_says_so():
    """A pattern whose noise is shared with the opposite sign in the cells of a 2 x 2 table."""
    rng = np.random.default_rng(27)
    n = 400
    a, b = rng.integers(0, 2, n), rng.integers(0, 2, n)
    x = rng.normal(size=(n, 1)) + 3
    sign = np.where(a == b, 1.0, -1.0)
    y = sign * x[:, 0] + 0.1 * rng.normal(size=n)
    batch = Batch(torch.from_numpy(x), torch.from_numpy(y[:, None]), np.arange(n), groups=(a, b))
    fitted = fit(batch)
    found = sandwich(Parts([batch]), fitted, "cluster", n, clusters=["a", "b"], sigma2=1.0)
    assert found.clipped
    assert (
        found.description
        == "clustered by a (2 groups) and b (2 groups), negative eigenvalues set to zero"
    )
    assert np.linalg.eigvalsh(found.meat)[0] > -1e-9 * found.meat.max()
    assert (np.diag(found.covariance(fitted)) >= 0).all()


def test_positive_keeps_what_is_positive_and_clips_the_rest():
    rng = np.random.default_rng(28)
    vectors = np.linalg.qr(rng.normal(size=(4, 4)))[0]

    def of(*values):
        return (vectors * np.array(values)) @ vectors.T

    meat, clipped = positive(of(4.0, 3.0, 2.0, 1.0))
    np.testing.assert_array_equal(meat, of(4.0, 3.0, 2.0, 1.0))
    assert not clipped
    meat, clipped = positive(of(4.0, 3.0, -2.0, 1.0))
    close(meat, of(4.0, 3.0, 0.0, 1.0))
    assert clipped
    meat, clipped = positive(of(4.0, 3.0, -1e-14, 0.0))
    assert not clipped  # rounding
    assert (np.diag(meat) >= 0).all()
    meat, clipped = positive(-np.eye(2))
    assert clipped
    assert not meat.any()
    assert positive(np.zeros((0, 0)))[1] is False


def test_corrections():
    assert [correction_heteroscedastic(kind, 20, 4) for kind in HC] == [1, 1.25, 1, 1]
    assert correction_cluster(21, 5, 5) == pytest.approx(20 / 16 * 5 / 4)
    assert correction_autocorrelated(20, 4) == 1.25
    nothing = (
        correction_heteroscedastic("HC1", 4, 4),
        correction_cluster(4, 4, 3),
        correction_cluster(20, 4, 1),
        correction_autocorrelated(3, 4),
    )
    assert np.isnan(nothing).all()


@pytest.mark.parametrize(
    ("n", "lags"), [(1, 1), (25, 2), (99, 3), (100, 4), (1000, 6), (10**6, 30)]
)
def test_default_lags(n, lags):
    assert default_lags(n) == int(np.floor(4 * (n / 100) ** (2 / 9))) == lags


@pytest.mark.parametrize(
    ("errors", "options", "description", "df"),
    [
        ("HC3", {}, "heteroscedasticity-consistent (HC3)", 96),
        ("cluster", {"clusters": ["firm"]}, "clustered by firm (20 groups)", 19),
        (
            "cluster",
            {"clusters": ["firm", "year"]},
            "clustered by firm (20 groups) and year (7 groups)",
            6,
        ),
        ("HAC", {}, "Newey-West with 4 lags", 96),
        ("HAC", {"lags": 1}, "Newey-West with 1 lag", 96),
    ],
)
def test_what_it_says(errors, options, description, df):
    batch = make(np.random.default_rng(30), 100)
    found = sandwich(Parts([batch]), fit(batch), errors, 100, sigma2=1.0, **options)
    assert found.description.removesuffix(", negative eigenvalues set to zero") == description
    assert found.df == df


@pytest.mark.parametrize(
    ("errors", "options", "said"),
    [
        ("HC9", {}, "did you mean 'HC"),
        ("cluster", {}, "need the column"),
        ("cluster", {"clusters": ["firm", "year", "one"]}, "all rows are of one by 'one'"),
        ("HAC", {"lags": -1}, "from 0 to 49, one less than the rows, and is -1"),
        ("HAC", {"lags": 50}, "from 0 to 49, one less than the rows, and is 50"),
    ],
)
def test_what_it_refuses(errors, options, said):
    batch = make(np.random.default_rng(31), 50)
    batch = replace(batch, groups=(*batch.groups[:2], np.zeros(50, dtype=int)))
    with pytest.raises(GentleError, match=said):
        sandwich(Parts([batch]), fit(batch), errors, 50, sigma2=1.0, **options)


def test_autocorrelation_refuses_frequencies():
    batch = make(np.random.default_rng(32), 50, "frequencies")
    with pytest.raises(GentleError, match="the rows have frequencies"):
        covariance(batch, "HAC")


# Other libraries.


def statsmodels_fit(batch):
    x = sm.add_constant(batch.x.numpy())
    if batch.weight is None:
        return sm.OLS(batch.y.numpy()[:, 0], x).fit()
    return sm.WLS(batch.y.numpy()[:, 0], x, weights=batch.weight.numpy()).fit()


weighted = pytest.mark.parametrize("mass", ["none", "weights"])


@weighted
@pytest.mark.parametrize("kind", HC)
def test_heteroscedastic_agrees_with_statsmodels(kind, mass):
    batch = make(np.random.default_rng(40), 150, mass)
    expected = statsmodels_fit(batch).get_robustcov_results(cov_type=kind).cov_params()
    close(covariance(batch, kind), expected, AGREE)


@weighted
@pytest.mark.parametrize("lags", [0, 1, 5, 12])
def test_autocorrelated_agrees_with_statsmodels(lags, mass):
    batch = make(np.random.default_rng(41), 150, mass)
    theirs = statsmodels_fit(batch)
    ours = covariance(batch, "HAC", lags=lags, sizes=[1, 4, 60, 61])
    for corrected, factor in ((True, 1.0), (False, correction_autocorrelated(150, P + 1))):
        expected = theirs.get_robustcov_results(
            cov_type="HAC", maxlags=lags, use_correction=corrected
        ).cov_params()
        close(ours / factor, expected, AGREE)


@weighted
@labelled
def test_clustered_agrees_with_statsmodels(labels, mass):
    batch = make(np.random.default_rng(42), 150, mass, labels)
    codes = np.unique(batch.groups[0], return_inverse=True)[1]
    theirs = statsmodels_fit(batch).get_robustcov_results(cov_type="cluster", groups=codes)
    fitted = fit(batch)
    found = sandwich(Parts(cut(batch, [50])), fitted, "cluster", 150, clusters=["firm"], sigma2=1.0)
    close(found.covariance(fitted), theirs.cov_params(), AGREE)
    assert found.df == theirs.df_resid_inference


@pytest.fixture(scope="module")
def pyfixest():
    return pytest.importorskip("pyfixest")


def pyfixest_fit(pyfixest, batch, vcov):
    frame = pd.DataFrame(batch.x.numpy(), columns=["a", "b", "c"])
    frame["y"] = batch.y.numpy()[:, 0]
    frame["firm"], frame["year"] = batch.groups[:2]
    options = {}
    if batch.weight is not None:
        frame["mass"], options = batch.weight.numpy(), {"weights": "mass"}
    if batch.frequency is not None:
        frame["mass"] = batch.frequency.numpy().astype(int)
        options = {"weights": "mass", "weights_type": "fweights"}
    return pyfixest.feols("y ~ a + b + c", frame, vcov=vcov, **options)


@pytest.mark.parametrize("mass", ["none", "weights", "frequencies"])
@pytest.mark.parametrize(("errors", "vcov"), [("HC1", "hetero"), ("HC2", "HC2"), ("HC3", "HC3")])
def test_heteroscedastic_agrees_with_pyfixest(pyfixest, errors, vcov, mass):
    batch = make(np.random.default_rng(50), 150, mass)
    theirs = pyfixest_fit(pyfixest, batch, vcov)
    factor = 1.0 if errors == "HC1" else theirs._ssc.item()  # theirs corrects HC2 and HC3 as well
    close(covariance(batch, errors) * factor, theirs._vcov, AGREE)


@pytest.mark.parametrize("mass", ["none", "weights", "frequencies"])
@pytest.mark.parametrize("labels", ["text", "integers"])
@pytest.mark.parametrize("keys", [["firm"], ["firm", "year"]])
def test_clustered_agrees_with_pyfixest(pyfixest, keys, labels, mass):
    batch = make(np.random.default_rng(51), 600, mass, labels)
    theirs = pyfixest_fit(pyfixest, batch, {"CRV1": " + ".join(keys)})
    fitted = fit(batch)
    found = sandwich(
        Parts(cut(batch, [1, 100, 350])), fitted, "cluster", batch.n_rows, clusters=keys, sigma2=1.0
    )
    assert not found.clipped
    close(found.covariance(fitted), theirs._vcov, AGREE)
    assert found.df == theirs._df_t


def test_the_fold_of_the_engines_takes_them():
    batch = make(np.random.default_rng(60), 100)
    parts = Parts(cut(batch, range(10, 100, 10)), parts=3)
    for zero, numbers in KINDS.values():
        close(numbers(fold(zero(), parts)), numbers(zero().add(batch)))
