"""Inference belongs to the exact solution, and there is none where only rounding would make it."""

import json
import subprocess
import sys
import warnings

import numpy as np
import polars as pl
import pytest
from sklearn.exceptions import ConvergenceWarning

import gentle
from gentle.errors import CovarianceWarning, GentleError, GentleWarning

RNG = np.random.default_rng(14)
FRAME = pl.DataFrame(
    {"a": RNG.normal(size=90) * 3 + 5, "b": RNG.normal(size=90), "firm": np.arange(90) % 9}
).with_columns(y=1 + 2 * pl.col("a") - pl.col("b") + pl.Series(RNG.normal(size=90)))
STOPPED = {
    "gd": {"solver": "gd", "learning_rate": 0.01, "max_passes": 5},
    "momentum": {"solver": "momentum", "max_passes": 3},
    "nesterov": {"solver": "nesterov", "max_passes": 2},
    "minibatch": {"solver": "minibatch", "max_passes": 2},
    "cg": {"solver": "cg", "max_passes": 1},
    "lbfgs": {"solver": "lbfgs", "max_passes": 1},
    "minibatch on its way": {"solver": "minibatch", "learning_rate": 0.001, "max_passes": 4},
}
ERRORS = {
    "classical": {},
    "HC3": {"errors": "HC3"},
    "cluster": {"cluster": "firm"},
    "HAC": {"errors": "HAC"},
    "normal": {"use_t": False},
}


def stopped(name, **asked):
    fit = gentle.fit(FRAME, "y ~ a + b", **STOPPED[name], **asked)
    assert not fit.converged
    return fit


@pytest.fixture(params=["as fitted", "loaded"])
def through(request, tmp_path):
    """The fit itself, or as it comes back from its file."""

    def same(fit):
        if request.param == "as fitted":
            return fit
        fit.save(tmp_path / "m.gentle")
        return gentle.load(tmp_path / "m.gentle")

    return same


# A descent that has not converged


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("name", STOPPED)
def test_inference_of_a_descent_is_that_of_the_exact_solution(name, errors, through):
    fit = through(stopped(name, **ERRORS[errors]))
    exact = gentle.fit(FRAME, "y ~ a + b", **ERRORS[errors])
    for ours, theirs in (
        (fit.exact, exact.coef),
        (fit.std_errors, exact.std_errors),
        (fit.t_values, exact.t_values),
        (fit.p_values, exact.p_values),
    ):
        np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-9)
    np.testing.assert_allclose(
        list(fit.conf_int(0.9).values()), list(exact.conf_int(0.9).values()), rtol=1e-9
    )
    for one, other in ((fit.f_test, exact.f_test), (fit.test("a = b"), exact.test("a = b"))):
        assert str(one) == str(other)
    assert (fit.r2, fit.sigma, fit.aic) == pytest.approx((exact.r2, exact.sigma, exact.aic))


@pytest.mark.parametrize("name", STOPPED)
def test_every_export_says_that_a_descent_has_not_converged(name, through):
    fit = through(stopped(name))
    assert fit.verdict.cause in repr(fit)
    words = str(fit.verdict).split(";")[0]
    for text in (fit.summary(), fit.to_latex(), fit.to_markdown()):
        plain = " ".join(text.replace("\\", "").split())
        assert "The descent has not converged" in plain
        assert " ".join(words.split()) in plain
    record = json.loads(json.dumps(fit.to_dict()))
    assert not record["converged"]
    assert record["verdict"] == str(fit.verdict)
    frame = fit.to_polars()
    assert set(frame["verdict"]) == {fit.verdict.cause}
    for row in frame.iter_rows(named=True):
        assert row == {
            **record["coefficients"][row["name"]],
            "name": row["name"],
            "verdict": fit.verdict.cause,
        }
        assert row["low"] < row["exact"] < row["high"]
        assert row["t"] == pytest.approx(row["exact"] / row["std_error"])
        assert row["coefficient"] == fit.coef[row["name"]]


def test_a_table_of_an_exact_fit_has_the_columns_that_it_had():
    frame = gentle.fit(FRAME, "y ~ a + b", solver="sgd").to_polars()
    assert frame.columns == ["name", "coefficient", "std_error", "t", "p", "low", "high"]


@pytest.mark.parametrize("name", STOPPED)
def test_predictions_of_a_descent_that_has_not_converged_are_its_own_and_warn(name, through):
    fit = through(stopped(name))
    with pytest.warns(GentleWarning, match="has not converged"):
        found = fit.predict(FRAME)
    x = FRAME.select("a", "b").to_numpy()
    np.testing.assert_allclose(found, x @ fit.slopes + fit.intercept, rtol=1e-12)
    for kind in ("mean", "new"):
        with pytest.raises(GentleError, match=r"exact solution.*solver='exact'.*continue_"):
            fit.predict(FRAME, interval=0.95, kind=kind)


def test_files_of_predictions_say_it(tmp_path):
    with pytest.warns(GentleWarning, match="has not converged"):
        written = stopped("gd").predict_to(FRAME, tmp_path / "p.csv")
    assert "has not converged" in str(written)
    with pytest.raises(GentleError, match="exact solution"):
        stopped("gd").predict_to(FRAME, tmp_path / "q.csv", interval=0.9)
    assert not (tmp_path / "q.csv").exists()


def test_several_targets_say_it_each():
    frame = FRAME.with_columns(z=pl.col("a") - pl.col("y"))
    fits = gentle.fit(frame, target=["y", "z"], features=["a", "b"], **STOPPED["gd"])
    assert "verdict" in fits.to_polars().columns
    with pytest.warns(GentleWarning, match=r"'y' has not converged.*'z' has not converged"):
        fits.predict(frame)
    with pytest.raises(GentleError, match="exact solution"):
        fits.predict(frame, interval=0.9)


def test_intervals_of_a_descent_that_converged_are_those_of_the_exact_solution():
    fit = gentle.fit(FRAME, "y ~ a + b", solver="sgd", tol=0.5)
    exact = gentle.fit(FRAME, "y ~ a + b")
    found, expected = (one.predict(FRAME, interval=0.9) for one in (fit, exact))
    for name in ("std_error", "low", "high"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9)


@pytest.mark.parametrize("name", ["gd", "momentum", "cg", "lbfgs"])
def test_a_descent_whose_start_is_its_nearest_point_says_so(name):
    options = {**STOPPED[name], "max_passes": 1}
    fit = gentle.fit(FRAME, "y ~ a + b", **options)
    assert list(fit.coef.values())[1:] == [0, 0]
    assert "those of the start" in str(fit.verdict)
    begun = gentle.fit(FRAME, "y ~ a + b", start=[1.0, 5.0, 5.0], **options)
    assert list(begun.coef.values()) == pytest.approx([1, 5, 5])
    assert "those of the start" in str(begun.verdict)
    assert "start" not in str(gentle.fit(FRAME, "y ~ a + b", solver="gd", max_passes=3).verdict)


@pytest.mark.parametrize("targets", [1, 2])
def test_the_estimator_warns_as_scikit_learn_does(targets):
    x = FRAME.select("a", "b").to_numpy()
    y = np.column_stack([FRAME["y"], FRAME["a"] + 2])[:, :targets].squeeze()
    with pytest.warns(ConvergenceWarning, match="stopped by max_passes"):
        gentle.LinearRegression(solver="gd", max_passes=2).fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gentle.LinearRegression().fit(x, y)
        gentle.LinearRegression(solver="sgd").fit(x, y)


def test_the_command_of_norris_has_the_t_of_the_exact_solution(examples, tmp_path):
    model, rows = tmp_path / "m.gentle", examples / "norris.csv"
    asked = [
        "fit",
        rows,
        "y ~ x",
        "--solver",
        "gd",
        "--learning-rate",
        "0.01",
        "--max-passes",
        "20",
    ]
    found = command(*asked, "--save", model)
    assert "2331.61" in found.stdout
    assert "405" not in found.stdout
    assert "has not converged" in found.stdout
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1
    assert "has not converged" in found.stderr
    assert command("fit", rows, "y ~ x").returncode == 0
    assert command("fit", rows, "y ~ x", "--exact").returncode == 0
    refused = command("predict", model, rows, "--interval", "0.95")
    assert refused.returncode
    assert "exact" in refused.stderr


def command(*arguments):
    code = "from gentle.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )


# A fit without noise


def noise_free(n=60, size=1.0, k=1):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 2)) * [size, 1]
    y = 2 * x[:, :1] @ np.ones((1, k))
    return x, y[:, 0] if k == 1 else y


def no_inference(fit):
    assert fit.noise_free
    assert "essentially perfect" in fit.inference_note
    assert "essentially perfect" in " ".join(fit.summary().split())
    assert "essentially perfect" in fit.to_markdown()
    assert "essentially perfect" in fit.to_latex()
    for values in (fit.t_values, fit.p_values):
        assert np.isnan(list(values.values())).all()
    assert np.isnan(list(fit.conf_int().values())).all()
    assert np.isnan(fit.f_test.p_value)
    assert "essentially perfect" in str(fit.f_test)
    tested = fit.test(fit.names[-1])
    assert np.isnan([*tested.t_values, *tested.p_values, tested.wald.p_value]).all()


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"errors": "HC0"},
        {"errors": "HC3"},
        {"errors": "HAC"},
        {"cluster": np.arange(60) % 6},
        {"weights": np.linspace(0.1, 5, 60)},
        {"frequencies": np.arange(1, 61)},
        {"intercept": False},
        {"use_t": False},
        {"method": "qr"},
        {"solver": "sgd"},
        {"solver": "newton"},
        {"offset": np.zeros(60)},
    ],
    ids=lambda asked: ",".join(asked) or "plain",
)
@pytest.mark.parametrize("size", [1.0, 1e-100, 1e100])
def test_an_essentially_perfect_fit_has_no_inference(asked, size, through):
    x, y = noise_free(size=size)
    fit = through(gentle.fit((x, y), **asked))
    no_inference(fit)
    assert fit.exact["x1"] == 2
    assert fit.exact["x2"] == 0
    assert fit.exact.get("Intercept", 0) == 0
    assert fit.std_errors["x2"] == 0
    with pytest.warns(GentleWarning, match="essentially perfect"):
        found = fit.predict(
            x, interval=0.95, **{name: asked[name] for name in asked if name == "offset"}
        )
    assert np.isnan([found.low, found.high]).all()
    np.testing.assert_allclose(found.value, y, rtol=1e-12, atol=1e-12 * size)


def test_rounding_of_the_target_is_no_noise_either():
    x, y = noise_free()
    for shift in (0.1, 1e9, 1e-9):
        fit = gentle.fit((x, 0.3 * y + shift))
        no_inference(fit)


def test_a_difference_of_large_columns_is_rounding_too():
    rng = np.random.default_rng(5)
    start = 1.7e9 + np.round(rng.uniform(0, 1e6, 400), 6)
    end = start + np.round(rng.exponential(60, 400), 6)
    noisy = pl.DataFrame({"start": start, "end": end, "y": np.round(end - start, 6)})
    no_inference(gentle.fit(noisy, "y ~ start + end"))


def test_several_targets_without_noise():
    fits = gentle.fit(noise_free(k=2))
    for fit in fits.values():
        no_inference(fit)
        assert fit.coef["x2"] == 0


def test_a_ridge_without_noise_has_no_inference():
    fit = gentle.fit(noise_free(), l2=0.1)
    assert np.isnan(list(fit.p_values.values())).all()
    assert "ridge" in str(fit.f_test)


def test_sums_that_have_lost_the_residuals_have_no_errors():
    x, y = noise_free()
    for noise in (0.0, 1e-12):
        y = y + noise * x[:, 1] ** 2
        fit = gentle.fit((x[:30], y[:30])) + gentle.fit((x[30:], y[30:]))
        no_inference(fit)
        assert np.isnan(fit.sigma)
        assert np.isnan(list(fit.std_errors.values())).all()
    merged = gentle.fit((x[:30], noise_free()[1][:30])) + gentle.fit((x[30:], noise_free()[1][30:]))
    assert merged.coef["x2"] == 0


def test_many_rows_without_noise_are_polished():
    x, y = noise_free(600_000)
    fit = gentle.fit((x, y))
    no_inference(fit)
    assert dict(fit.coef) == {"Intercept": 0, "x1": 2, "x2": 0}


def test_little_noise_in_many_rows_keeps_its_digits():
    x, y = noise_free(600_000)
    noise = np.random.default_rng(8).normal(size=len(y))
    of_noise = gentle.fit((x, noise))
    fit = gentle.fit((x, y + 2.0**-30 * noise))
    assert not fit.noise_free
    for name in ("x1", "x2"):
        assert fit.std_errors[name] == pytest.approx(2.0**-30 * of_noise.std_errors[name], rel=1e-6)


def test_noise_above_rounding_is_noise():
    x, y = noise_free()
    fit = gentle.fit((x, y + 1e-12 * np.random.default_rng(6).normal(size=len(y))))
    assert not fit.noise_free
    assert np.isfinite(list(fit.p_values.values())).all()


# Fits without a degree of freedom, and without a column


def test_frequencies_that_sum_to_one_are_not_rows():
    x = FRAME.select("a", "b").to_numpy()
    y = FRAME["y"].to_numpy() * 30 * RNG.normal(size=90)
    with pytest.warns(CovarianceWarning, match=r"sum to 1.*weights="):
        fit = gentle.fit((x, y), frequencies=np.full(90, 1 / 90))
    text = " ".join(fit.summary().split())
    assert fit.r2 < 0.5
    assert "met exactly" not in text
    assert "frequencies count rows, and weights= takes precisions" in text
    assert np.isnan(list(fit.std_errors.values())).all()


@pytest.mark.parametrize("errors", [{}, {"errors": "HC1"}, {"errors": "HAC"}])
@pytest.mark.filterwarnings("ignore::gentle.errors.RankWarning")
def test_a_column_that_was_left_out_has_no_error(errors):
    for x in (np.zeros((9, 1)), np.zeros((9, 3))):
        fit = gentle.fit((x, np.arange(9.0)), intercept=False, **errors)
        assert np.isnan(list(fit.std_errors.values())).all()
        assert np.isnan(list(fit.p_values.values())).all()
        assert np.isnan(fit.vcov).all()
        assert "there is no coefficient" in " ".join(fit.summary().split())
        assert ",," not in fit.summary()


@pytest.mark.parametrize(
    "asked", [{"cluster": [1, 1, 2]}, {"errors": "HC3"}, {"errors": "HAC"}, {}]
)
def test_a_saturated_fit_has_no_errors_and_says_why(asked):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = gentle.fit((np.array([[1, 2], [3, 5], [4, 1.0]]), np.array([1, 2, 4.0])), **asked)
    assert np.isnan(list(fit.std_errors.values())).all()
    assert "no degree of freedom" in " ".join(fit.summary().split())
    assert "no degrees of freedom" in str(fit.f_test)
