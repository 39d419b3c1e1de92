"""Laws of a contest: every solver is a line of it, and its numbers are those of its own fit."""

import doctest
import math
import re
from dataclasses import dataclass
from io import BytesIO
from typing import ClassVar

import matplotlib.colors
import numpy as np
import polars as pl
import pytest

import gentle
from gentle import GentleError, choices, contesting
from gentle.choices import DESCENTS
from gentle.design import Rows
from gentle.pictures.style import CONTESTANTS
from gentle.solvers import limits

COLUMNS = ["solver", "passes", "seconds", "gap", "in_se", "digits", "cause", "verdict"]
KINDS = ("plain", "weights", "ridge", "no constant", "frame", "collinear")


def data(seed=0, *, n=500, p=4, common=0.0, noise=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + common * rng.normal(size=(n, 1))
    return x, x @ np.arange(1, p + 1) + noise * rng.normal(size=n)


def question(kind):
    """What `gentle.fit` and `gentle.contest` are asked alike: (arguments, keywords)."""
    x, y = data(common=30.0 if kind == "collinear" else 0.0)
    if kind == "frame":
        frame = pl.DataFrame(x, schema=list("abcd")).with_columns(y=y)
        return (frame, "y ~ a + b + I(c**2)"), {}
    known = {
        "weights": {"weights": np.random.default_rng(1).uniform(0.1, 10, len(y))},
        "ridge": {"l2": 0.1},
        "no constant": {"intercept": False},
    }
    return ((x, y),), known.get(kind, {})


@pytest.fixture(scope="module")
def well():
    return gentle.contest(data())


@pytest.fixture(scope="module")
def ill():
    return gentle.contest(data(common=30.0), max_passes=40)


@pytest.mark.parametrize("kind", KINDS)
def test_every_solver_is_a_line_and_has_the_numbers_of_its_own_fit(kind):
    asked, also = question(kind)
    found = gentle.contest(*asked, **also, max_passes=12)
    assert [it.name for it in found.contestants] == ["exact", *DESCENTS]
    assert list(found.fits) == ["exact", *DESCENTS]
    for name, one in found.fits.items():
        alone = gentle.fit(*asked, **also, solver=name, max_passes=12)
        assert one.solver == name
        assert dict(one.coef) == pytest.approx(dict(alone.coef), rel=1e-15)
        assert dict(one.exact) == dict(alone.exact)
        assert one.verdict.cause == alone.verdict.cause
        assert timeless(one.verdict.sentence) == timeless(alone.verdict.sentence)
        assert one.certificate.gap == alone.certificate.gap
        assert [(it.passes, it.within) for it in one.trace] == [
            (it.passes, it.within) for it in alone.trace
        ]


def timeless(sentence):
    """A verdict but for its seconds, which are others every time."""
    return re.sub(r"after \S+ s", "after some s", sentence)


def test_the_frame_says_what_the_certificates_say(ill):
    frame = ill.to_polars()
    assert frame.columns == COLUMNS
    assert len(frame) == 1 + len(DESCENTS)
    for row in frame.iter_rows(named=True):
        fit = ill.fits[row["solver"]]
        assert row["gap"] == fit.certificate.gap
        assert row["in_se"] == fit.certificate.in_se
        assert row["digits"] == fit.certificate.digits
        assert row["cause"] == fit.verdict.cause
        assert row["verdict"] == fit.verdict.sentence
        assert row["seconds"] > 0
        if fit.trace:
            assert row["passes"] == fit.trace[-1].passes
    assert frame["solver"][0] == "exact"
    assert frame["passes"][0] >= 1
    assert (frame["gap"][1:] >= 0).all()


def test_compare_is_the_frame_of_a_contest(well):
    frame = gentle.compare(data())
    assert isinstance(frame, pl.DataFrame)
    timeless = pl.exclude("seconds")
    assert frame.select(timeless).equals(well.to_polars().select(timeless))
    assert frame.schema == well.to_polars().schema


def test_pairs_in_batches_have_their_own_target():
    x, y = data()
    found = gentle.contest([(x[:200], y[:200]), (x[200:], y[200:])], solvers=["gd"])
    np.testing.assert_allclose(found.exact.values, gentle.fit((x, y)).values, rtol=1e-12)


def test_the_example_in_the_docstring():
    assert doctest.testmod(contesting).attempted
    assert not doctest.testmod(contesting).failed


def test_the_gap_is_that_of_the_objective(ill):
    x, y = data(common=30.0)

    def objective(fit):
        residual = y - x @ fit.slopes - fit.intercept
        return residual @ residual / (2 * len(y))

    least = objective(ill.exact)
    for one in ill.contestants[1:]:
        assert one.gap == pytest.approx(objective(one.fit) - least, rel=1e-6, abs=1e-12)


def test_those_that_do_not_arrive_are_said(ill, well):
    causes = {it.name: it.cause for it in ill.contestants}
    assert causes["exact"] == "exact only"
    assert causes["gd"] == causes["nesterov"] == "not converged"
    assert causes["sgd"] == causes["newton"] == "agree"
    assert all(it.passes == 40 for it in ill.contestants if it.cause == "not converged")
    assert "out of passes" in ill.summary()
    assert {it.name: it.cause for it in well.contestants}["minibatch"] == "wandering"
    assert "wanders about it" in well.summary()


def test_who_was_first(well, ill):
    for contest in (well, ill):
        there = [it for it in contest.contestants if it.cause == "agree"]
        fewest, soonest = contest.first
        assert {it.name for it in fewest} == {
            it.name for it in there if it.passes == min(other.passes for other in there)
        }
        assert soonest.seconds == min(it.seconds for it in there)
        closing = contest.summary().replace("\n", " ")
        assert re.search(
            rf"First within 0.001 standard errors of the exact answer: in passes .*{fewest[0].name}.*"
            rf", in seconds {soonest.name} \(.*\)\.$",
            closing,
        )
    none = gentle.contest(data(common=30.0), solvers=["gd", "nesterov"], max_passes=3)
    assert none.first is None
    assert "No descent came within 0.001 standard errors" in none.summary().replace("\n", " ")


def test_the_summary_fits_80_columns_and_is_what_is_shown(ill):
    text = ill.summary()
    assert max(map(len, text.splitlines())) <= 80
    assert repr(ill) == text
    for name in ("exact", *DESCENTS):
        assert len(re.findall(rf"^{name} ", text, re.MULTILINE)) == 1


# --- Who runs -----------------------------------------------------------------------------------


def test_some_solvers_run_in_the_order_of_their_names():
    for named in (["cg", "gd"], ("cg", "exact", "gd", "cg")):
        found = gentle.contest(data(), solvers=named)
        assert [it.name for it in found.contestants] == ["exact", "cg", "gd"]
    assert list(gentle.contest(data(), solvers="newton").fits) == ["exact", "newton"]
    assert list(gentle.contest(data(), solvers=["exact"]).fits) == ["exact"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"solvers": ["newtn"]}, "'newtn'.*did you mean 'newton'"),
        ({"solvers": ["auto"]}, "'auto'.*'sgd', 'gd'"),
        ({"solvers": []}, "at least one"),
        ({"solvers": [3]}, "'3'"),
        ({"tol": 0.0}, "tol"),
        ({"max_passes": 0}, "max_passes"),
        ({"time_limit": -1.0}, "time_limit"),
        ({"seed": -1}, "seed"),
        ({"l2": -1.0}, "l2"),
        ({"missing": "median"}, "missing"),
        ({"names": ["a"]}, "names"),
    ],
    ids=lambda it: str(it) if isinstance(it, dict) else "",
)
def test_what_makes_no_sense_is_refused(asked, words):
    for ask in (gentle.contest, gentle.compare):
        with pytest.raises(GentleError, match=words):
            ask(data(), **asked)


def test_one_target_at_a_time():
    x, y = data()
    with pytest.raises(GentleError, match="one target at a time: name one of 'y1' or 'y2'"):
        gentle.contest((x, np.stack([y, -y], axis=1)))
    with pytest.raises(GentleError, match="same value in every row"):
        gentle.contest((x, np.ones(len(x))))


@dataclass(frozen=True)
class Runaway:
    """A rule that no data bear."""

    learning_rate: float | None = None
    stall: ClassVar[None] = None

    def steps(self, problem, state):
        limits.check_stable(1e3, limits.plain(float(problem.curvature().spectrum[-1])), "runaway")
        yield state


def test_a_rule_that_cannot_run_is_a_line_that_says_why(monkeypatch):
    monkeypatch.setitem(DESCENTS, "runaway", Runaway)
    monkeypatch.setattr(choices, "SOLVERS", (*choices.SOLVERS, "runaway"))
    monkeypatch.setattr(contesting, "_warm_up", lambda _: None)
    found = gentle.contest(data(), solvers=["runaway", "cg"])
    assert [it.cause for it in found.contestants] == ["exact only", "refused", "agree"]
    assert list(found.fits) == ["exact", "cg"]
    row = found.to_polars().row(1, named=True)
    assert row["gap"] is row["in_se"] is row["passes"] is row["digits"] is None
    assert "largest stable one" in row["verdict"]
    text = found.summary()
    assert re.search(r"^runaway +- +[\d.e-]+ +- +- +could not run$", text, re.MULTILINE)
    assert "largest stable one" in text.replace("\n", " ")
    assert max(map(len, text.splitlines())) <= 80
    labels = [text.get_text() for text in found.plot().legends[0].get_texts()]
    assert "runaway: could not run" in labels
    alone = gentle.contest(data(), solvers=["runaway"])
    with pytest.raises(GentleError, match="no descent to draw"):
        alone.plot()


def test_minibatches_that_run_away_are_such_a_line():
    rng = np.random.default_rng(3)
    n = 30_000  # beyond the sample that their rate is told from
    x = rng.standard_t(1.05, size=(n, 3)) ** 3
    y = x[:, 0] + rng.normal(size=n)
    found = gentle.compare((x, y), solvers=["minibatch", "newton"], max_passes=3)
    assert found["solver"].to_list() == ["exact", "minibatch", "newton"]
    assert found["cause"][1] == "refused"
    assert "ran away" in found["verdict"][1]


# --- Ctrl-C -------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [2, 4])
def test_an_interrupt_leaves_what_there_is_so_far(at):
    def watch(name, step):
        if name == "gd" and step.passes >= at:
            raise KeyboardInterrupt

    found = gentle.contest(data(common=30.0), solvers=["cg", "gd", "newton"], watch=watch)
    assert found.interrupted
    assert [it.cause for it in found.contestants] == [
        "exact only",
        "agree",
        "interrupted",
        "not run",
    ]
    assert found.fits["gd"].interrupted
    assert found.to_polars()["passes"].to_list()[2:] == [at, None]
    assert "newton" in found.summary()
    assert "newton: did not run" in [it.get_text() for it in found.plot().legends[0].get_texts()]


def test_an_interrupt_of_a_descent_that_had_arrived_ends_the_contest():
    def watch(*_):
        raise KeyboardInterrupt

    found = gentle.contest(data(), solvers=["sgd", "gd"], watch=watch)  # all rows are its sample
    assert found.interrupted
    assert [it.cause for it in found.contestants] == ["exact only", "agree", "not run"]
    assert found.fits["sgd"].interrupted


def test_an_interrupt_before_a_descent_has_begun(monkeypatch):
    real = contesting.fit_answered

    def stopped(answered, choices, **also):
        if choices.solver == "sgd":
            raise KeyboardInterrupt
        return real(answered, choices, **also)

    monkeypatch.setattr(contesting, "_warm_up", lambda _: None)
    monkeypatch.setattr(contesting, "fit_answered", stopped)
    found = gentle.contest(data())
    assert found.interrupted
    assert {it.cause for it in found.contestants[1:]} == {"not run"}
    assert len(found.to_polars()) == 1 + len(DESCENTS)


# --- Rows ---------------------------------------------------------------------------------------


def test_rows_are_read_once_and_answered_once(monkeypatch, tmp_path):
    x, y = data()
    pl.DataFrame(x, schema=list("abcd")).with_columns(y=y).write_csv(tmp_path / "t.csv")
    calls = []

    def counting(room, name):
        real = getattr(room, name)
        monkeypatch.setattr(room, name, lambda *a, **k: (calls.append(name), real(*a, **k))[1])

    counting(contesting, "answer")
    counting(Rows, "__iter__")
    monkeypatch.setattr(contesting, "_warm_up", lambda _: None)
    gentle.contest(tmp_path / "t.csv", target="y")
    assert sorted(calls) == ["__iter__", "answer"]


def test_the_exact_answer_counts_its_readings():
    polished = gentle.contest(data(), solvers=["exact"]).contestants[0]
    x, y = data(n=300_000, p=4)
    plain = gentle.contest((x, y), solvers=["exact"]).contestants[0]
    assert plain.passes == 1
    assert polished.passes > plain.passes


def test_limits_are_those_of_each_solver():
    found = gentle.contest(
        data(common=30.0), solvers=["gd", "nesterov"], time_limit=0.05, max_passes=1e9
    )
    for one in found.contestants[1:]:
        assert one.cause == "not converged"
        assert 0.05 <= one.seconds < 5
    assert "out of time (0.05 s)" in found.summary()


def test_watching_says_whose_step_it_is():
    seen = []
    gentle.contest(
        data(), solvers=["cg", "sgd"], watch=lambda name, step: seen.append((name, step))
    )
    assert list(dict.fromkeys(name for name, _ in seen)) == ["cg", "sgd"]
    assert all(step.passes >= 0 for _, step in seen)


def test_columns_that_say_nothing_new_are_left_out_and_said():
    x, y = data()
    x[:, 3] = 2 * x[:, 0] + 1
    with pytest.warns(gentle.RankWarning) as caught:
        found = gentle.contest((x, y), names=list("abcd"))
    assert len(caught) == 1
    assert "left out: d, which is 2 * a + 1" in found.summary().replace("\n", " ")
    assert found.fits["cg"].verdict.agrees


def test_without_noise_distances_are_relative():
    found = gentle.contest(data(noise=0.0))
    frame = found.to_polars()
    assert frame["in_se"].null_count() == len(frame)
    assert frame["digits"].null_count() == 0
    assert "apart (rel.)" in found.summary()
    assert found.plot().axes[0].get_ylabel().startswith("relative distance")


# --- The picture --------------------------------------------------------------------------------


def test_the_picture_has_a_line_for_each_that_differs_from_all_others(well, ill):
    assert len(CONTESTANTS) >= len(DESCENTS)
    for contest in (well, ill):
        figure = contest.plot()
        (axes,) = figure.axes
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert {label.split(":")[0] for label in labels} == {*DESCENTS, "tolerance"}
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        lines = {line.get_label().split(":")[0]: line for line in axes.lines}
        for name in DESCENTS:
            trace = contest.fits[name].trace
            drawn = [(it.passes, it.within) for it in trace if it.passes > 0]
            assert lines[name].get_xydata() == pytest.approx(np.array(drawn))
        looks = {(lines[name].get_color(), lines[name].get_marker()) for name in DESCENTS}
        assert len({color for color, _ in looks}) == len({mark for _, mark in looks}) == len(looks)
        assert lines["tolerance"].get_linestyle() == "--"
        assert lines["tolerance"].get_ydata()[0] == contest.choices.tol
        figure.savefig(page := BytesIO(), format="png")
        assert page.getvalue().startswith(b"\x89PNG")


def test_the_large_mark_of_each_solver_is_the_point_whose_distance_the_table_has(well, ill):
    for contest in (well, ill):
        axes = contest.plot().axes[0]
        table = dict(zip(contest.to_polars()["solver"], contest.to_polars()["in_se"], strict=True))
        lines = [line for line in axes.lines if not line.get_label().startswith("_")]
        drawn = [line for line in lines if line.get_label().split(":")[0] in DESCENTS]
        for line in drawn:
            name = line.get_label().split(":")[0]
            mark = axes.lines[list(axes.lines).index(line) + 1]
            ((passes, within),) = mark.get_xydata()
            assert within == pytest.approx(table[name])
            descent = list(contest.fits[name].descent.values())
            same = [it.passes for it in contest.fits[name].trace if list(it.coef) == descent]
            assert passes == (same[-1] if same else 0)  # at its left edge: the start


def test_the_legend_follows_the_order_of_arrival(ill):
    names = [text.get_text().split(":")[0] for text in ill.plot().legends[0].get_texts()]
    arrived = [it for it in sorted(ill.contestants, key=lambda it: it.passes) if it.arrived]
    assert {it.name for it in arrived} == set(names[: len(arrived)])
    passes = {it.name: it.passes for it in arrived}
    assert [passes[name] for name in names[: len(arrived)]] == sorted(passes.values())


DEFICIENCIES = {  # of protan, deutan and tritan eyes, in linear RGB (Machado, Oliveira, Fernandes 2009)
    "protan": [[0.1521, 1.0526, -0.2047], [0.1145, 0.7863, 0.0993], [-0.0039, -0.0481, 1.0520]],
    "deutan": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6726, 0.0473], [-0.0118, 0.0429, 0.9689]],
    "tritan": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


def lab(color, eye):
    """A colour as an eye sees it, in CIELAB."""
    rgb = np.array(matplotlib.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(DEFICIENCIES.get(eye, np.eye(3))) @ linear, 0, 1)
    xyz = (
        np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        @ linear
        / [0.9505, 1.0, 1.089]
    )
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", ["any", *DEFICIENCIES])
def test_the_colours_are_apart_to_every_eye(eye):
    seen = [lab(color, eye) for color, _, _ in CONTESTANTS]
    apart = [math.dist(a, b) for at, a in enumerate(seen) for b in seen[:at]]
    assert min(apart) > 12
