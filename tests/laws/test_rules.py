"""Laws of the textbook's rules: each arrives, at the pace that its spectrum predicts, below its limit.

A new rule is tested by being listed in `RULES`.
"""

import re
from dataclasses import replace
from functools import partial
from itertools import combinations, islice, pairwise

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.base import clone

import gentle
from gentle import GentleError, LinearRegression
from gentle.answering import least_squares
from gentle.choices import DESCENTS, Choices
from gentle.design import Held, Rows, learn_design
from gentle.engines import Here
from gentle.fitting import fit_rows
from gentle.losses import Squared
from gentle.passes import fold
from gentle.penalties import Ridge
from gentle.problem import Streamed
from gentle.solvers import CG, GD, LBFGS, Minibatch, Momentum, Nesterov, Newton, State, limits
from gentle.sources import open_source
from gentle.statistics import Sample, Tally

RULES = [GD, Momentum, Nesterov, partial(Minibatch, schedule="1/t"), LBFGS, CG, Newton]
NAMES = ("gd", "momentum", "nesterov", "minibatch", "lbfgs", "cg", "newton")
KINDS = ("plain", "weights", "frequencies", "ridge", "no constant", "several batches")
MOMENTA = (0.0, 0.3, 0.9, 0.99)
rules = pytest.mark.parametrize("rule", NAMES)
kinds = pytest.mark.parametrize("kind", KINDS)


def data(seed=0, *, n=600, p=4, correlated=0.0, noise=1.0):
    """Columns of unequal units, each with a share of a common one, and a target."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, p)) + correlated * rng.normal(size=(n, 1))
    y = z @ rng.normal(size=p) + noise * rng.normal(size=n)
    return (z + rng.uniform(-3, 3, p)) * 10.0 ** rng.uniform(-3, 3, p), y


def problem(x, y, kind="plain"):
    """(Streamed, its minimiser (q, 1)), as a fit makes them, and the Hessian made here from the rows."""
    rng = np.random.default_rng(1)
    other, l2 = {}, 0.0
    if kind == "weights":
        other["weights"] = rng.uniform(0.1, 10, len(y))
    if kind == "frequencies":
        other["frequencies"] = rng.integers(0, 4, len(y)).astype(float)
    if kind == "ridge":
        x, l2 = x / x.std(axis=0), 0.1
    frame = pl.DataFrame({f"x{j}": column for j, column in enumerate(x.T)} | {"y": y} | other)
    features = [f"x{j}" for j in range(x.shape[1])]
    design = learn_design(
        open_source(frame),
        targets=("y",),
        features=features,
        intercept=kind != "no constant",
        **{name: name for name in other},
    )
    whole = Rows(open_source(frame), design)
    held = Held(tuple(whole))
    if kind == "several batches":
        pieces = np.array_split(np.arange(len(y)), 7)
        held = Held(tuple(b for part in pieces for b in Rows(open_source(frame[part]), design)))
        assert len(held.batches) == 7
    quadratic = least_squares(whole, Choices(l2=l2)).problem
    sample = fold(Sample(20_000, 0), held).batch
    found = Streamed(
        held,
        Squared(),
        Ridge(l2),
        quadratic.coordinates,
        sample,
        fold(Tally(), held).n_used,
        quadratic.total,
        quadratic.curvature(),
    )
    return found, quadratic.minimiser


def weighted_rows(found):
    """(n, q) in standardised columns, each times the root of its mass over the mean one."""
    u, mass = [], []
    for batch in found.rows:
        u.append(found.coordinates.apply(batch)[0].numpy())
        mass.append(np.ones(len(batch.x)) if batch.mass is None else batch.mass.numpy())
    mass = np.concatenate(mass)
    return np.concatenate(u) * np.sqrt(mass / mass.mean())[:, None]


def ridge_of(found):
    constant = int(found.coordinates.intercept)
    return np.diag(np.r_[np.zeros(constant), found.penalty.l2 / found.coordinates.scale**2])


def spectrum_of(found):
    """The eigenvalues of the penalised Hessian, from the rows."""
    u = weighted_rows(found)
    return np.linalg.eigvalsh(u.T @ u / len(u) + ridge_of(found))


def path(solver, found, steps, start=None):
    """The states of so many steps."""
    start = np.zeros((found.coordinates.width, 1)) if start is None else start
    return list(islice(solver.steps(found, State(start)), steps))


def distances(states, exact):
    return np.array([np.linalg.norm(state.theta - exact) for state in states])


def pace(solver, found, exact, *, far=1e-2, near=1e-11, most=4_000):
    """The measured contraction per step: the slope of the log distance late on its way."""
    apart = distances(path(solver, found, most), exact)
    apart = apart[: np.argmax(apart < near * apart[0]) or most]
    assert apart[-1] < far * apart[0]
    late = np.arange(len(apart) // 2, len(apart))
    assert len(late) > 10
    return np.exp(np.polyfit(late, np.log(apart[late]), 1)[0])


# --- arriving -----------------------------------------------------------------------------------


def test_every_descent_of_the_house_but_its_own_is_a_rule():
    assert tuple(DESCENTS) == ("sgd", *NAMES)
    assert {getattr(rule, "func", rule) for rule in RULES} == {DESCENTS[name] for name in NAMES}


@pytest.mark.parametrize("rule", [name for name in NAMES if name != "minibatch"])
@kinds
def test_every_rule_arrives_without_being_told_a_rate(rule, kind):
    x, y = data(2)
    options = {}
    if kind in ("weights", "frequencies"):
        options[kind] = np.random.default_rng(1).integers(0, 5, len(y)).astype(float)
    if kind == "ridge":
        options["l2"] = 0.1
    x = x / x.std(axis=0)
    found = gentle.fit((x, y), solver=rule, intercept=kind != "no constant", **options)
    assert found.certificate.within <= 1e-3
    assert found.verdict.agrees
    assert found.solver == rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: getattr(rule, "func", rule).__name__)
@kinds
def test_every_rule_comes_nearer_on_every_kind_of_rows(rule, kind):
    found, exact = problem(*data(3), kind)
    apart = distances(path(rule(), found, 60), exact)
    assert apart[-1] < 0.05 * np.linalg.norm(exact)


@kinds
def test_newton_arrives_in_one_step_and_conjugate_gradients_in_as_many_as_columns(kind):
    found, exact = problem(*data(4, correlated=1.0), kind)
    near = 1e-9 * np.linalg.norm(exact)
    first, second = path(Newton(), found, 2)
    assert np.linalg.norm(second.theta - exact) < near
    assert (first.passes, second.passes) == (1, 2)
    for rule in (CG, LBFGS):
        states = path(rule(), found, found.coordinates.width + 2)
        there = states[int(np.argmax(distances(states, exact) < near))]
        assert np.linalg.norm(there.theta - exact) < near
        assert there.passes <= found.coordinates.width + 2


def test_memory_and_conjugacy_go_the_same_way():
    """On a quadratic with exact minima L-BFGS is conjugate gradients (Nazareth 1979)."""
    found, _ = problem(*data(5, p=8, correlated=1.0))
    for one, other in zip(path(CG(), found, 7), path(LBFGS(), found, 7), strict=True):
        np.testing.assert_allclose(one.theta, other.theta, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("rule", [GD, Momentum, LBFGS, CG, Newton])
def test_the_value_that_is_told_is_the_objective_there(rule):
    found, _ = problem(*data(6, correlated=1.0), "ridge")
    for state in path(rule(), found, 5):
        assert state.value == pytest.approx(found.at(state.theta).value, rel=1e-9)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: getattr(rule, "func", rule).__name__)
def test_passes_count_the_readings_of_the_rows(rule):
    found, _ = problem(*data(7))
    read = []

    class Counted:
        engine, parts = Here(), 1

        def split(self, parts):
            read.append(1)
            return found.rows.split(parts)

        def pools(self, rng):
            read.append(1)
            return found.rows.pools(rng)

    counted = replace(found, rows=Counted())
    states = rule().steps(counted, State(np.zeros((found.coordinates.width, 1))))
    for state in islice(states, 8):
        assert state.passes == len(read)


# --- the pace -----------------------------------------------------------------------------------

PACED = [
    GD(),
    GD(learning_rate=0.3),
    Momentum(),
    Momentum(learning_rate=0.2),
    Momentum(momentum=0.8),
    Momentum(learning_rate=0.3, momentum=0.5),
    Momentum(learning_rate=0.05, momentum=0.95),
    Nesterov(),
    Nesterov(learning_rate=0.2),
    Nesterov(momentum=0.5),
    Nesterov(learning_rate=0.3, momentum=0.8),
    Newton(learning_rate=0.1),
    Newton(learning_rate=1.8),
]


@pytest.mark.parametrize("solver", PACED, ids=str)
@pytest.mark.parametrize("kind", ["plain", "ridge", "weights"])
def test_the_pace_is_the_one_that_the_spectrum_predicts(solver, kind):
    found, exact = problem(*data(8, correlated=2.0, p=3), kind)
    spectrum = spectrum_of(found)
    np.testing.assert_allclose(found.curvature().spectrum, spectrum, rtol=1e-9)
    newton = isinstance(solver, Newton)
    predicted = solver.contraction if newton else solver.contraction(spectrum)
    assert np.log(pace(solver, found, exact)) == pytest.approx(np.log(predicted), rel=0.1)


def companion(rate, b, eigenvalue, ahead):
    """The matrix of (error, error before) of the heavy ball, or of Nesterov's step."""
    kept = 1 - rate * eigenvalue
    top = [kept * (1 + b), -kept * b] if ahead else [kept + b, -b]
    return np.array([top, [1.0, 0.0]])


@pytest.mark.parametrize("rule", [Momentum, Nesterov])
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("b", MOMENTA)
def test_a_predicted_contraction_is_the_spectral_radius_of_the_companion(rule, rate, b):
    spectrum = np.geomspace(0.02, 2, 7)
    matrices = [companion(rate, b, value, rule is Nesterov) for value in spectrum]
    largest = max(np.abs(np.linalg.eigvals(matrix)).max() for matrix in matrices)
    solver = rule(learning_rate=rate, momentum=b)
    assert solver.contraction(spectrum) == pytest.approx(largest, rel=1e-6)


@pytest.mark.parametrize("condition", [1.0, 4.0, 100.0, 1e4])
def test_the_automatic_steps_are_the_best_ones(condition):
    """As published, and no other rate or momentum nearby is better."""
    spectrum = np.geomspace(0.5, 0.5 * condition, 41)
    root = condition**0.5
    assert GD().contraction(spectrum) == pytest.approx((condition - 1) / (condition + 1))
    rate, b = Momentum().rate(spectrum)
    assert rate == pytest.approx(4 / (0.5**0.5 + (0.5 * condition) ** 0.5) ** 2)
    assert b == pytest.approx(((root - 1) / (root + 1)) ** 2, abs=1e-12)
    assert Momentum().contraction(spectrum) == pytest.approx((root - 1) / (root + 1), abs=1e-7)
    assert Momentum(learning_rate=rate).rate(spectrum) == pytest.approx((rate, b), abs=1e-12)
    assert Momentum(momentum=b).rate(spectrum) == pytest.approx((rate, b), abs=1e-12)
    fast = Nesterov().contraction(spectrum)
    assert fast == pytest.approx(1 - 2 / (3 * condition + 1) ** 0.5, abs=1e-7)
    common = Nesterov(learning_rate=1 / spectrum[-1])
    assert common.rate(spectrum)[1] == pytest.approx((root - 1) / (root + 1), abs=1e-12)
    assert fast <= common.contraction(spectrum) + 1e-7
    for factor in (0.97, 1.03):
        assert GD(factor * GD().rate(spectrum)).contraction(spectrum) > GD().contraction(spectrum)
        for other in (Momentum(factor * rate, b), Momentum(rate, min(factor * b + 1e-3, 0.999))):
            assert other.contraction(spectrum) >= Momentum().contraction(spectrum) - 1e-9


# --- the limits ---------------------------------------------------------------------------------


def bounded():
    """(rule at a rate, its limit from a spectrum) of every rule whose limit a spectrum tells."""
    yield "gd", GD, lambda spectrum: limits.plain(spectrum[-1])
    yield "newton", Newton, lambda _: limits.NEWTON
    for b in MOMENTA:
        heavy, fast = partial(Momentum, momentum=b), partial(Nesterov, momentum=b)
        yield f"momentum {b}", heavy, lambda spectrum, b=b: limits.heavy_ball(spectrum[-1], b)
        yield f"nesterov {b}", fast, lambda spectrum, b=b: limits.nesterov(spectrum[-1], b)


BOUNDED = list(bounded())
every_bounded = pytest.mark.parametrize(
    ("rule", "limit"), [case[1:] for case in BOUNDED], ids=[case[0] for case in BOUNDED]
)


@every_bounded
@pytest.mark.parametrize("kind", ["plain", "weights", "ridge"])
def test_a_rate_just_below_the_limit_arrives_and_one_just_above_is_refused(rule, limit, kind):
    x, y = data(9, correlated=1.0, n=200, p=3)
    found, exact = problem(x / x.std(axis=0), y, kind)
    largest = limit(spectrum_of(found))
    with pytest.raises(GentleError, match="largest stable one for this data") as refused:
        path(rule(learning_rate=1.001 * largest), found, 1)
    named = float(re.search(r" is ([\d.]+), in columns of mean 0", str(refused.value))[1])
    assert 0.999 * largest < named <= largest * (1 + 1e-9)
    path(rule(learning_rate=named), found, 1)
    start = exact + 1
    states = path(rule(learning_rate=0.999 * largest), found, 2_000, start)
    assert distances(states, exact)[-1] < 0.05 * np.linalg.norm(start - exact)


@every_bounded
def test_beyond_the_limit_errors_would_grow(rule, limit, monkeypatch):
    """The same loop without its check."""
    found, exact = problem(*data(9, correlated=1.0, n=200, p=3))
    largest = limit(spectrum_of(found))
    monkeypatch.setattr(limits, "check_stable", lambda *_: None)
    states = rule(learning_rate=1.01 * largest).steps(found, State(exact + 1e-3))
    assert any(distances([state], exact)[0] > 1 for state in islice(states, 3_000))


@pytest.mark.parametrize("rule", [Momentum, Nesterov])
@pytest.mark.parametrize("condition", [1.0, 3.0, 1e3])
def test_where_momentum_follows_the_rate_the_limit_does_too(rule, condition):
    spectrum = np.geomspace(1 / condition, 1, 9)
    limit = rule().limit(spectrum)
    assert rule(learning_rate=0.999 * limit).contraction(spectrum) < 1
    assert rule(learning_rate=1.001 * limit).contraction(spectrum) > 1 - 1e-12
    assert rule().rate(spectrum)[0] < limit


@pytest.mark.parametrize("b", MOMENTA)
def test_the_limits_of_momentum_hold_for_every_eigenvalue(b):
    """Just below the limit every eigenvalue in (0, L] contracts; just above one does not."""
    spectrum = np.geomspace(1e-3, 3.0, 400)
    for rule, limit in ((Momentum, limits.heavy_ball), (Nesterov, limits.nesterov)):
        largest = limit(3.0, b)
        assert rule(learning_rate=0.9999 * largest, momentum=b).contraction(spectrum) < 1
        assert rule(learning_rate=1.0001 * largest, momentum=b).contraction(spectrum) > 1


# --- minibatches --------------------------------------------------------------------------------


def mean_square_growth(u, ridge, size, rate):
    """The spectral radius of E[(I - rate H_B) M (I - rate H_B)] over every minibatch that there is."""
    q = u.shape[1]
    total = np.zeros((q * q, q * q))
    batches = list(combinations(range(len(u)), size))
    for rows in batches:
        step = np.eye(q) - rate * (u[list(rows)].T @ u[list(rows)] / size + ridge)
        total += np.kron(step, step)
    return np.abs(np.linalg.eigvals(total / len(batches))).max()


@kinds
@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_the_limit_of_minibatches_is_where_the_mean_square_stops_to_fall(kind, size):
    x, y = data(10, n=9, p=2)
    found, _ = problem(x / x.std(axis=0), y, kind)
    u = weighted_rows(found)
    size = min(size, len(u))
    limit = limit_named(found, size)
    assert mean_square_growth(u, ridge_of(found), size, 0.999 * limit) < 1
    assert mean_square_growth(u, ridge_of(found), size, 1.002 * limit) > 1


def limit_named(found, size):
    """The limit as a refusal says it."""
    with pytest.raises(GentleError, match="largest stable") as refused:
        path(Minibatch(learning_rate=1e6, batch_size=size), found, 1)
    return float(re.search(r" is ([\d.]+), in columns", str(refused.value))[1])


@pytest.mark.parametrize("kind", ["plain", "weights", "several batches"])
@pytest.mark.parametrize("size", [1, 4, 32])
def test_minibatches_contract_below_their_limit_and_are_refused_above(kind, size):
    found, exact = problem(*data(11, n=200, p=2, noise=0.0), kind)
    limit = limit_named(found, size)
    with pytest.raises(GentleError, match=f"minibatches of {size} is"):
        path(Minibatch(learning_rate=1.002 * limit, batch_size=size), found, 1)
    before, after = 0.0, 0.0
    for seed in range(20):
        start = exact + np.random.default_rng(seed).normal(size=exact.shape)
        (state,) = path(Minibatch(0.9 * limit, size, seed=seed), found, 1, start)
        before += np.linalg.norm(start - exact) ** 2
        after += np.linalg.norm(state.theta - exact) ** 2
    assert after < 0.5 * before


@pytest.mark.parametrize("size", [2, 8])
def test_beyond_their_limit_the_mean_square_of_minibatches_would_grow(size):
    """Minibatches drawn anew at every step, on many paths, of the error alone."""
    found, _ = problem(*data(12, n=100, p=2))
    u = torch.from_numpy(weighted_rows(found))
    limit = limit_named(found, size)
    for factor, falls in ((1.1, False), (0.9, True)):
        generator = torch.Generator().manual_seed(1)
        errors = torch.randn(8_000, u.shape[1], generator=generator, dtype=torch.float64)
        growth = []
        for _ in range(14):
            order = torch.rand(len(errors), len(u), generator=generator).argsort(dim=1)
            rows = u[order[:, :size]]  # (paths, B, q)
            gradient = torch.einsum("rbp,rbq,rq->rp", rows, rows, errors) / size
            before = errors.square().sum(dim=1).mean()
            errors = errors - factor * limit * gradient
            growth.append(float(errors.square().sum(dim=1).mean() / before))
            errors /= before.sqrt()
        assert (np.log(growth[4:]).mean() < 0) == falls


def test_the_limit_of_a_large_table_is_told_from_a_sample():
    x, y = data(13, n=25_000, p=2)
    found, _ = problem(x, y)
    u = weighted_rows(found)
    whole = limits.minibatch(u, 8, len(u))
    assert limit_named(found, 8) == pytest.approx(whole, rel=0.05)


def test_minibatches_wander_at_a_constant_rate_and_settle_at_a_falling_one():
    x, y = data(14, n=2_000)
    wandering = gentle.fit((x, y), solver="minibatch")
    assert wandering.verdict.cause == "wandering"
    assert "wandering about the minimum" in str(wandering.verdict)
    settling = gentle.fit((x, y), solver="minibatch", schedule="1/t")
    assert settling.verdict.cause in ("not converged", "agree")
    assert settling.certificate.within < 0.1 * wandering.certificate.within
    within = [step.within for step in settling.trace]
    assert np.mean(within[-10:]) < 0.5 * np.mean(within[5:20])


def test_a_descent_that_is_cut_short_is_not_said_to_wander():
    found = gentle.fit(data(14), solver="minibatch", learning_rate=1e-5, max_passes=20)
    assert found.verdict.cause == "not converged"


def test_a_minibatch_of_all_rows_is_gradient_descent():
    found, _ = problem(*data(15, n=50))
    whole = path(Minibatch(learning_rate=0.5, batch_size=1_000), found, 5)
    for one, other in zip(whole, path(GD(learning_rate=0.5), found, 6)[1:], strict=True):
        np.testing.assert_allclose(one.theta, other.theta, rtol=1e-9, atol=1e-15)


def test_rows_in_order_arrive_as_others_do():
    x, _ = data(16, n=4_000, p=1)
    x[:400] *= 100
    found, exact = problem(x, 1 + 3 * x[:, 0] / x.std())
    states = path(Minibatch(learning_rate=0.5 * limit_named(found, 64)), found, 80)
    assert distances(states, exact)[-1] < 0.05 * np.linalg.norm(exact)


def test_far_rows_that_a_sample_has_missed_are_explained_where_they_run_away():
    x, y = data(16, n=4_000, p=1)
    x[::40] *= 100
    found, _ = problem(x, y, "no constant")
    near = np.flatnonzero(found.sample.rows % 40)
    unaware = replace(found, sample=found.sample.taken(near))
    with pytest.raises(GentleError, match="ran away at a learning rate of"):
        path(Minibatch(learning_rate=0.9 * limit_named(unaware, 64)), unaware, 10)


# --- through the house's doors ------------------------------------------------------------------


@rules
def test_the_same_seed_gives_the_same_trace(rule):
    one, two = (gentle.fit(data(17), solver=rule, seed=3, max_passes=12) for _ in range(2))
    np.testing.assert_array_equal(one.values, two.values)
    assert [step.within for step in one.trace] == [step.within for step in two.trace]


def test_another_seed_gives_another_trace():
    one, two = (gentle.fit(data(17), solver="minibatch", seed=s, max_passes=5) for s in (1, 2))
    assert one.trace[-1].within != two.trace[-1].within


@rules
def test_the_trace_counts_its_passes_upwards(rule):
    found = gentle.fit(data(18), solver=rule, max_passes=30)
    assert all(one.passes < two.passes for one, two in pairwise(found.trace))
    assert found.trace[-1].passes <= 31


@rules
def test_the_estimator_takes_every_rule(rule):
    x, y = data(19)
    model = clone(LinearRegression(solver=rule)).fit(x, y)
    assert model.result_.solver == rule
    exact = LinearRegression().fit(x, y)
    tolerance = 0.3 if rule == "minibatch" else 1e-3
    spread = np.abs(exact.coef_ * x.std(axis=0)).max()
    np.testing.assert_allclose(
        model.coef_ * x.std(axis=0), exact.coef_ * x.std(axis=0), atol=tolerance * spread
    )


@rules
def test_units_do_not_change_the_way(rule):
    x, y = data(20)
    one = gentle.fit((x, y), solver=rule, tol=1e-6)
    other = gentle.fit((1e5 * x + 7 * x.std(axis=0), y), solver=rule, tol=1e-6)
    assert abs(one.trace[-1].passes - other.trace[-1].passes) <= 1


@rules
@pytest.mark.parametrize(
    ("option", "value"),
    [("learning_rate", 0.01), ("momentum", 0.5), ("batch_size", 32), ("schedule", "constant")],
)
def test_an_option_is_refused_where_a_rule_does_not_take_it(rule, option, value):
    taken = {
        "learning_rate": ("gd", "momentum", "nesterov", "minibatch", "newton"),
        "momentum": ("momentum", "nesterov"),
        "batch_size": ("minibatch",),
        "schedule": ("minibatch",),
    }[option]
    if rule in taken:
        assert gentle.fit(data(21), solver=rule, max_passes=2, **{option: value}).solver == rule
    else:
        with pytest.raises(GentleError, match=f"'{rule}' has no {option}.*'{taken[0]}'"):
            gentle.fit(data(21), solver=rule, **{option: value})


@pytest.mark.parametrize(
    ("rule", "option", "value", "said"),
    [
        ("gd", "learning_rate", 0.0, "above 0"),
        ("momentum", "learning_rate", -1.0, "above 0"),
        ("nesterov", "learning_rate", float("nan"), "above 0"),
        ("newton", "learning_rate", float("inf"), "above 0"),
        ("minibatch", "learning_rate", "fast", "above 0"),
        ("newton", "learning_rate", 2.01, "is 2,"),
        ("momentum", "momentum", 1.0, "below 1"),
        ("nesterov", "momentum", -0.1, "below 1"),
        ("nesterov", "momentum", float("nan"), "below 1"),
        ("minibatch", "schedule", "constnt", "did you mean 'constant'"),
        ("minibatch", "schedule", "1/sqrt(t)", "1/t"),
        ("minibatch", "batch_size", 0, "whole number of rows"),
        ("minibatch", "batch_size", 2.5, "whole number of rows"),
        ("sgd", "batch_size", 0, "whole number of rows"),
    ],
)
def test_what_is_no_rate_momentum_or_schedule_is_refused_with_a_sentence(rule, option, value, said):
    with pytest.raises(GentleError, match=re.escape(said)):
        gentle.fit(data(22), solver=rule, **{option: value})


def test_a_wave_of_momentum_is_not_taken_for_the_end():
    """A small rate and much momentum swing past the minimum for dozens of steps and come back."""
    x, y = data(23, p=1)
    options = {"solver": "momentum", "learning_rate": 0.01, "momentum": 0.9}
    found = gentle.fit((x, y), max_passes=2_000, **options)
    within = [step.within for step in found.trace]
    nearest = np.minimum.accumulate(within)
    waits = np.diff(np.flatnonzero(np.diff(nearest, prepend=np.inf) < 0))
    assert waits.max() > 8
    assert found.verdict.agrees


@pytest.mark.parametrize("rule", [name for name in NAMES if name != "minibatch"])
def test_rounding_ends_a_rule_that_no_step_brings_nearer(rule):
    x, y = data(24, correlated=2.0)
    found = gentle.fit((x, y), solver=rule, tol=1e-15, max_passes=100_000)
    assert found.verdict.cause in ("precision", "agree")
    assert found.certificate.within < 1e-10


def test_several_targets_and_a_file_go_the_same_way(tmp_path):
    x, y = data(25)
    both = gentle.fit((x, np.column_stack([y, -2 * y])), solver="nesterov")
    one = gentle.fit((x, y), solver="nesterov")
    first, second = both.values()
    np.testing.assert_allclose(first.values, one.values, rtol=1e-9)
    np.testing.assert_allclose(second.values, -2 * one.values, rtol=1e-6)
    frame = pl.DataFrame({f"x{j}": column for j, column in enumerate(x.T)} | {"y": y})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=50)
    source = open_source(str(tmp_path / "t.parquet"))
    rows = Rows(source, learn_design(source, targets=("y",)))
    (read,) = fit_rows(rows, Choices(solver="nesterov"))
    np.testing.assert_allclose(read.values, one.values, rtol=1e-6)


def test_nearly_dependent_columns_slow_the_rules_but_not_conjugate_directions():
    """And what is slow is said to be slow, though dozens of its steps may bring nothing nearer."""
    rng = np.random.default_rng(26)
    x = rng.normal(size=(3_000, 4)) * [1, 10, 0.1, 1]
    x[:, 3] = x[:, 0] + x[:, 1] + 1e-5 * rng.normal(size=3_000)
    y = x[:, :3] @ [1, 2, 3] + rng.normal(size=3_000)
    for rule in ("gd", "momentum", "nesterov"):
        assert gentle.fit((x, y), solver=rule).verdict.cause == "not converged"
    for rule in ("cg", "lbfgs", "newton"):
        found = gentle.fit((x, y), solver=rule)
        assert found.verdict.agrees
        assert found.trace[-1].passes <= 40
