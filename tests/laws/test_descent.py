"""Laws of a descent in the hands of its user: where it starts, what ends it, how it goes on, its record."""

import os
import signal
import threading
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from threadpoolctl import threadpool_limits

import gentle
from gentle.choices import DESCENTS, Choices
from gentle.cli.progress import Line, duration
from gentle.design import Rows, learn_design
from gentle.driver import MOST_STEPS, Progress, _Trace, joined
from gentle.fitting import fit_rows
from gentle.sources import Arrays

N = 20_000
SEEDS = range(3)
every_solver = pytest.mark.parametrize("solver", DESCENTS)


def made(seed=0, n=N, q=6, targets=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, q)) + 0.5 * rng.normal(size=(n, 1)) + 5
    noise = rng.normal(size=n if targets is None else (n, targets))
    slopes = rng.normal(size=q if targets is None else (q, targets))
    return x, x @ slopes + 3 * noise


@pytest.fixture(scope="module")
def rows():
    return made()


@pytest.fixture(scope="module")
def cold(rows):
    return gentle.fit(rows, solver="sgd")


def passes(found):
    return found.trace[-1].passes


# Where it starts


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("apart", [0, 1e-2, 1, 3, 10, 100, 1e4, 1e9])
def test_a_start_never_costs_a_reading_and_the_answer_saves_some(seed, apart):
    """`apart` in standard errors."""
    data = made(seed)
    cold = gentle.fit(data, solver="sgd")
    errors = np.array(list(cold.std_errors.values()))
    signs = np.random.default_rng(seed).choice([-1, 1], len(errors))
    start = cold.exact_values + apart * signs * errors
    warm = gentle.fit(data, solver="sgd", start=start)
    assert warm.verdict.agrees
    assert passes(warm) <= passes(cold)
    if apart <= 1e-2:
        assert passes(warm) < passes(cold)
    if not apart:
        assert passes(warm) == 2


@pytest.mark.parametrize("factor", [0.0, 1e6, -1e6, 1e300])
@pytest.mark.parametrize("solver", ["sgd", "cg", "lbfgs", "newton"])
def test_a_start_from_nowhere_arrives(rows, solver, factor):
    if factor == 1e300 and solver != "sgd":
        pytest.skip("squares of such numbers are beyond float64")
    exact = gentle.fit(rows).values
    found = gentle.fit(rows, solver=solver, start=factor * exact)
    assert found.verdict.agrees


@every_solver
def test_a_descent_from_the_answer_stays_there(rows, solver):
    exact = gentle.fit(rows)
    found = gentle.fit(rows, solver=solver, start=exact, batch_size=None)
    if solver != "minibatch":  # whose constant rate sends it wandering
        assert found.verdict.agrees
        assert passes(found) <= 2


def test_a_start_is_a_fit_a_mapping_or_an_array(rows, cold):
    starts = [cold, cold.coef, dict(reversed(cold.coef.items())), cold.values, list(cold.values)]
    found = [gentle.fit(rows, solver="sgd", start=start) for start in starts]
    for one in found:
        np.testing.assert_array_equal(one.values, found[0].values)
        assert passes(one) == 2


def test_each_target_has_its_start():
    x, y = made(targets=2)
    cold = gentle.fit((x, y), solver="sgd")
    for start in (cold, {"y2": cold["y2"], "y1": cold["y1"].coef}):
        warm = gentle.fit((x, y), solver="sgd", start=start)
        assert all(passes(one) == 2 for one in warm.values())


def test_a_start_counts_what_a_dependent_column_had(rows):
    x, y = rows
    x = np.column_stack([x, x[:, 0] - x[:, 1]])
    with pytest.warns(gentle.RankWarning):
        cold = gentle.fit((x, y), solver="sgd")
    for solver in ("sgd", "gd"):
        with pytest.warns(gentle.RankWarning):
            assert passes(gentle.fit((x, y), solver=solver, start=cold)) <= 2


def named(**changes):
    return {"Intercept": 0.0, **{f"x{j}": 0.0 for j in range(1, 7)}, **changes}


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ({name: 0.0 for name in named() if name != "x4"}, ["x4", "not given"]),
        (named(Intercepts=1.0), ["no coefficient 'Intercepts'", "did you mean 'Intercept'?"]),
        (named(x3=float("nan")), ["'x3'", "nan", "finite"]),
        (named(x3="much"), ["'x3'", "much"]),
        (np.zeros(5), ["7 coefficients", "5 were given"]),
        (np.full(7, np.inf), ["inf"]),
        ("x1", ["mapping"]),
        ([10**400] * 7, ["a sequence of numbers"]),
    ],
)
def test_what_is_no_start_is_refused_in_a_sentence(rows, start, words):
    with pytest.raises(gentle.GentleError) as refused:
        gentle.fit(rows, solver="sgd", start=start)
    assert all(word in str(refused.value) for word in words), refused.value


def test_starts_of_other_targets_are_refused():
    x, y = made(targets=2)
    for start, words in (
        (np.zeros(7), "each needs a start"),
        ({"y1": np.zeros(7)}, "no start for the target 'y2'"),
        ({"y1": np.zeros(7), "y2": np.zeros(7), "y3": np.zeros(7)}, "'y3', no target"),
    ):
        with pytest.raises(gentle.GentleError, match=words):
            gentle.fit((x, y), solver="sgd", start=start)


@every_solver
@pytest.mark.parametrize("weighted", [False, True])
def test_a_model_of_the_constant_alone_is_descended_on(solver, weighted):
    x, y = made(n=500)
    weights = 1 + x[:, 0] ** 2 if weighted else None
    found = gentle.fit((x[:, :0], y), solver=solver, weights=weights)
    assert found.exact_values[0] == pytest.approx(np.average(y, weights=weights), rel=1e-12)
    assert found.verdict.agrees or solver == "minibatch"


def test_a_seed_may_be_a_number_of_numpy(rows):
    found = gentle.fit(rows, solver="sgd", seed=np.int64(3))
    np.testing.assert_array_equal(found.values, gentle.fit(rows, solver="sgd", seed=3).values)


@pytest.mark.parametrize("solver", ["auto", "exact"])
def test_an_exact_answer_takes_no_start(rows, cold, solver):
    with pytest.raises(gentle.GentleError, match="needs no start"):
        gentle.fit(rows, solver=solver, start=cold)


# What ends it


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("at", [1.0, 1.5, 2.0, 3.0, 4.0])
def test_the_answer_is_the_nearest_point_of_the_way(seed, at):
    def interrupt(step):
        if step.passes >= at:
            raise KeyboardInterrupt

    found = gentle.fit(made(seed), solver="sgd", tol=1e-12, watch=interrupt)
    assert found.interrupted
    nearest = min(step.within for step in found.trace)
    assert found.certificate.within == pytest.approx(nearest, rel=1e-6)
    assert "Ctrl-C" in str(found.verdict)


def test_ctrl_c_leaves_the_best_point_with_its_certificate():
    """A signal as the terminal sends it, in the middle of a large descent."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_000_000, 20))
    y = x.sum(axis=1) + rng.normal(size=len(x))
    sent = []

    def send(_):
        if not sent:
            timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
            sent.append(timer)
            timer.start()

    found = gentle.fit((x, y), solver="sgd", tol=1e-6, watch=send)
    assert found.interrupted
    assert found.verdict.cause == "interrupted"
    assert "stopped by Ctrl-C after" in str(found.verdict)
    assert found.certificate.within == min(step.within for step in found.trace)
    apart = np.abs(found.values - found.exact_values)
    assert (apart <= found.certificate.distance * (1 + 1e-9)).all()


@pytest.mark.parametrize("solver", ["sgd", "gd", "minibatch"])
def test_a_time_limit_ends_a_descent_and_the_verdict_says_so(rows, solver):
    options = {"learning_rate": 1e-6} if solver != "sgd" else {}
    found = gentle.fit(
        rows, solver=solver, tol=1e-300, time_limit=1e-9, max_passes=10**6, **options
    )
    assert found.verdict.cause == "not converged"
    assert "stopped by time_limit after" in str(found.verdict)


def test_a_limit_of_readings_is_named(rows):
    found = gentle.fit(rows, solver="gd", max_passes=3)
    assert "stopped by max_passes after" in str(found.verdict)
    assert "3 readings of the rows" in str(found.verdict)


# How it goes on


@every_solver
def test_a_descent_goes_on_from_where_it_ended(rows, solver):
    options = {"schedule": "1/t"} if solver == "minibatch" else {}
    tol = 0.3 if solver == "minibatch" else 1e-6
    first = gentle.fit(rows, solver=solver, tol=1e-300, max_passes=2, **options)
    seen = []
    found = first.continue_(rows, tol=tol, max_passes=3000, watch=seen.append)
    assert found.verdict.agrees
    assert found.choices.solver == solver
    assert found.trace[: len(first.trace)] == first.trace
    assert [step.passes for step in seen] == [
        step.passes for step in found.trace[len(first.trace) :]
    ]
    assert all(one.passes < two.passes for one, two in pairwise(found.trace))
    assert all(one.seconds <= two.seconds for one, two in pairwise(found.trace))


def test_limits_are_for_what_is_to_come(rows):
    first = gentle.fit(rows, solver="gd", tol=1e-300, max_passes=3)
    assert passes(first.continue_(rows)) == 6
    assert passes(first.continue_(rows, max_passes=4)) == 7
    assert first.continue_(rows).choices.tol == 1e-300
    timed = first.continue_(rows, time_limit=1e-9)
    assert "time_limit" in str(timed.verdict)


def test_an_interrupted_fit_goes_on(rows):
    def interrupt(step):
        if step.passes > 1:
            raise KeyboardInterrupt

    first = gentle.fit(rows, solver="sgd", watch=interrupt)
    assert first.interrupted
    assert first.continue_(rows).verdict.agrees


def test_several_targets_go_on_together():
    data = made(targets=2)
    first = gentle.fit(data, solver="gd", max_passes=2, tol=1e-9)
    found = first.continue_(data, max_passes=1000)
    assert all(one.verdict.agrees for one in found.values())
    assert found["y2"].trace[0] is first["y2"].trace[0]
    with pytest.raises(gentle.GentleError, match="one of 2 targets"):
        first["y2"].continue_(data)


def test_on_other_rows_it_is_a_warm_start_and_says_so(rows, cold):
    x, y = rows
    for other in ((x[:-100], y[:-100]), (x, y + np.linspace(0, 1, N)), (x[::-1] * 1.01, y[::-1])):
        with pytest.warns(gentle.GentleWarning, match="which are others"):
            found = cold.continue_(other)
        assert found.trace[0] is not cold.trace[0]
        assert found.verdict.agrees
    assert cold.continue_((x[::-1].copy(), y[::-1].copy())).trace[0] is cold.trace[0]


def test_what_was_beside_the_rows_is_given_again(rows):
    x, _ = rows
    weights = np.random.default_rng(3).uniform(0.5, 2, N)
    first = gentle.fit(rows, solver="gd", max_passes=2, weights=weights)
    assert first.continue_(rows, weights=weights, max_passes=500).verdict.agrees
    with pytest.raises(gentle.GentleError, match=r"no column '\(weights\)'.* give it as weights="):
        first.continue_(rows)
    with pytest.raises(gentle.GentleError, match="no 'weight' beside them"):
        first.continue_(rows, weight=weights)
    frame = pl.DataFrame(x, schema=[f"x{j}" for j in range(1, 7)])
    with pytest.raises(gentle.GentleError, match=r"no column '\(weights\)'|no column 'y'"):
        first.continue_(frame)


def test_an_exact_answer_has_nowhere_to_go(rows):
    with pytest.raises(gentle.GentleError, match="no descent brings nearer"):
        gentle.fit(rows).continue_(rows)


# Its record


def step_at(at, q=3):
    return Progress(float(at), at / 100, None, None, np.zeros(q))


@pytest.mark.parametrize("q", [1, 1_000, 100_000])
@pytest.mark.parametrize("count", [1, 2, 999, 1_000, 1_001, 2_003, 100_000])
def test_a_trace_is_bounded_even_and_has_both_ends(q, count):
    trace = _Trace(q)
    for at in range(count):
        trace.take(step_at(at))
    at = [int(step.passes) for step in trace.steps]
    assert at[0] == 0
    assert at[-1] == count - 1
    assert len(at) <= MOST_STEPS + 1
    assert len(at) * q <= 2**20 + q or len(at) <= 18
    gaps = np.diff(at)
    assert len(set(gaps[:-1])) <= 1
    assert len(gaps) < 2 or gaps[-1] <= gaps[0]


def test_joined_traces_are_bounded_too():
    before = ()
    for _ in range(5):
        before = joined(before, [step_at(at) for at in range(1, 900)])
        assert len(before) <= MOST_STEPS + 1
    assert before[-1].passes == 5 * 899
    assert before[-1].seconds == pytest.approx(5 * 8.99)


@every_solver
def test_a_trace_is_a_frame(rows, solver):
    found = gentle.fit(rows, solver=solver, max_passes=5)
    frame = found.trace_frame()
    first = ["passes", "seconds", "objective", "within", "estimated"]
    assert frame.columns == [*first, *found.names]
    assert frame.height == len(found.trace)
    for name in ("passes", "seconds", "objective", "within", "estimated"):
        assert frame[name].to_list() == [getattr(step, name) for step in found.trace]
    np.testing.assert_array_equal(
        frame.select(found.names).to_numpy(), [step.coef for step in found.trace]
    )
    if solver == "sgd":
        assert frame["objective"].null_count() > 0
    assert frame.dtypes[:4] == [pl.Float64] * 4


def test_a_frame_of_a_trace_keeps_names_apart_and_may_be_empty(rows):
    x, y = rows
    found = gentle.fit((x[:, :2], y), names=["passes", "b"], solver="sgd")
    assert "passes (coefficient)" in found.trace_frame().columns
    assert gentle.fit(rows).trace_frame().height == 0


def shown(steps, tol=1e-3, max_passes=100, time_limit=None):
    line = Line(tol, max_passes, time_limit)
    return [line.after(step) for step in steps]


def told(at, seconds, within=None, objective=None, estimated=False):
    return Progress(at, seconds, objective, within, np.zeros(2), estimated)


def test_the_line_at_the_terminal_says_what_is_known():
    lines = shown(
        [
            told(1.0, 0.0),
            told(1.5, 10.0),
            told(2.0, 20.0, 1.0, 4.25, estimated=True),
            told(3.0, 40.0, 0.1, 4.125, estimated=True),
            told(4.0, 60.0, 0.01, 4.0625),
        ]
    )
    assert lines[0] == "1 pass"
    assert lines[1] == "1.5 passes, at most 33 min left"
    assert "objective 4.25, about 1 SE away" in lines[2]
    assert lines[3].endswith("about 40 s left")
    assert "4 passes, objective 4.062, 0.01 SE away" in lines[4]
    assert lines[4].endswith("about 20 s left")


def test_the_line_fits_on_80_columns():
    course = [told(0, 0.0), told(99_999, 6e6, 1.5e-10, 1.2345e-10, estimated=True)]
    line = shown(course, max_passes=2e5)[-1]
    assert "at most" in line
    assert len("x " + line) <= 80


def test_the_line_knows_the_limits():
    course = [told(1.0, 0.0, 1.0), told(2.0, 2.0, 0.1)]
    assert shown(course, time_limit=3.0)[-1].endswith("at most 1 s left")
    assert shown(course, max_passes=3)[-1].endswith("at most 2 s left")
    assert shown([told(1.0, 0.0, 1.0), told(2.0, 2.0, 2.0)])[-1].endswith("at most 3 min left")
    anew = shown([*course, told(1.0, 0.0, 1.0), told(2.0, 2.0, 0.1)])
    assert anew[2:] == anew[:2]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "1 s"), (7.4, "7 s"), (44, "40 s"), (600, "10 min"), (9000, "2 h"), (1e7, "2,778 h")],
)
def test_durations_are_said_as_people_do(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize("solver", ["sgd", "gd"])
def test_a_descent_is_drawn_to_its_last_point(rows, solver):
    found = gentle.fit(rows, solver=solver)
    (axes,) = found.plot.descent().axes
    drawn = axes.lines[0].get_xydata()
    assert len(drawn) == len(found.trace)
    np.testing.assert_allclose(drawn[-1], [passes(found), found.trace[-1].within])


def test_a_descent_of_one_point_is_drawn(rows):
    found = gentle.fit(rows, solver="gd", max_passes=1)
    (axes,) = found.plot.descent().axes
    assert len(axes.lines[0].get_xydata()) == 1


# The same again


def sameness(found):
    return [
        (step.passes, step.objective, step.within, step.estimated, step.coef.tolist())
        for step in found.trace
    ]


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


@every_solver
@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.usefixtures("one_thread")
def test_the_same_seed_goes_the_same_way_to_the_bit(rows, tmp_path, monkeypatch, solver, where):
    x, y = rows
    data, options = rows, {}
    if where == "file":
        monkeypatch.setattr("gentle.design.HELD_BYTES", 0)
        frame = pl.DataFrame(x, schema=[f"x{j}" for j in range(1, 7)]).with_columns(y=y)
        frame.write_parquet(tmp_path / "t.parquet", row_group_size=1_500)
        data, options = tmp_path / "t.parquet", {"target": "y"}
    one, two = (gentle.fit(data, solver=solver, seed=4, max_passes=12, **options) for _ in range(2))
    assert sameness(one) == sameness(two)
    assert len(one.trace) > 1 or solver == "newton"


@pytest.mark.parametrize("batch_size", [64, 1_000])
def test_batches_of_other_sizes_lead_to_the_same_answer(rows, cold, batch_size):
    found = gentle.fit(rows, solver="sgd", batch_size=batch_size)
    apart = np.abs(found.values - cold.values) / np.array(list(cold.std_errors.values()))
    assert apart.max() <= 2e-3


@pytest.mark.parametrize("solver", ["sgd", "gd", "cg"])
@pytest.mark.parametrize("batch_rows", [64, 1_000, N])
def test_batches_of_rows_do_not_matter(rows, cold, solver, batch_rows):
    x, y = rows
    source = Arrays(x, tuple(f"x{j}" for j in range(1, 7)), {"y": y})
    design = learn_design(source, targets=("y",))
    (found,) = fit_rows(Rows(source, design, batch_rows), Choices(solver=solver))
    apart = np.abs(found.values - cold.values) / np.array(list(cold.std_errors.values()))
    assert apart.max() <= 2e-3
