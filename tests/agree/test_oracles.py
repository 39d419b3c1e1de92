"""Inference against statsmodels and pyfixest, and against high precision where these lose digits."""

import json
from pathlib import Path

import mpmath
import numpy as np
import pandas as pd
import polars as pl
import pyfixest as pf
import pytest
import scipy.special
import statsmodels.api as sm
import statsmodels.formula.api as smf
from statsmodels.stats.outliers_influence import OLSInfluence, variance_inflation_factor

import gentle

AGREE = 1e-9
LEVELS = (0.5, 0.95, 0.999)


def made(seed, n=120):
    """A frame with columns of unequal units, and noise that differs, persists and is shared in groups."""
    rng = np.random.default_rng(seed)
    firm, year = rng.integers(0, 15, n), rng.integers(1995, 2004, n)
    a, b, c = rng.normal(size=(3, n)) * [[1.0], [30.0], [0.02]] + [[0.5], [-20.0], [0.1]]
    kind = rng.choice(["ham", "egg", "spam & co", "x_1"], n)
    noise = rng.normal(size=n) * (0.3 + np.abs(a)) + rng.normal(size=15)[firm]
    noise += 0.1 * (year - 2000) + np.convolve(rng.normal(size=n), [0.8, 0.5, 0.2])[:n]
    return pd.DataFrame(
        {
            "y": 2 + a - 0.05 * b + 40 * c + (kind == "egg") + noise,
            "a": a,
            "b": b,
            "c": c,
            "kind": kind,
            "firm": [f"firm {at}" for at in firm],
            "year": year,
            "code": firm * 7 - 3,
            "w": rng.uniform(0.2, 4, n),
            "o": rng.normal(size=n),
        }
    )


def listed(mapping):
    return np.array(list(mapping.values()))


def near(found, oracle, scale=0.0):
    """Equal to nine digits; `scale` is the size that zero is held against."""
    found, oracle = np.asarray(found), np.asarray(oracle)
    np.testing.assert_allclose(found, oracle, rtol=AGREE, atol=1e-11 * scale)


def same_coefficients(found, theirs):
    """Coefficients, errors, t, p and intervals of statsmodels' results, by name."""
    names = list(found.names)
    assert set(names) == set(theirs.params.index)
    bse = theirs.bse[names].to_numpy()
    near(found.values, theirs.params[names], scale=bse.max())
    near(listed(found.std_errors), bse)
    near(listed(found.t_values), theirs.tvalues[names], scale=1)
    near(listed(found.p_values), theirs.pvalues[names])
    for level in LEVELS:
        bounds, wanted = (
            listed(found.conf_int(level)),
            theirs.conf_int(1 - level).loc[names].to_numpy(),
        )
        assert (np.abs(bounds - wanted) <= AGREE * bse[:, None]).all()
    unit = np.outer(bse, bse)
    near(found.vcov / unit, theirs.cov_params().loc[names, names] / unit, scale=1)


def same_measures(found, theirs):
    assert found.n_rows == theirs.nobs
    assert found.df_resid == theirs.df_resid
    near(found.sigma**2, theirs.scale)
    near(found.rss, theirs.ssr)
    near(found.r2, theirs.rsquared)
    near(found.r2_adjusted, theirs.rsquared_adj)
    near(found.log_likelihood, theirs.llf)
    near(found.aic, theirs.aic)
    near(found.bic, theirs.bic)


def same_joint_test(found, theirs, *, intercept):
    slopes = np.eye(len(theirs.params))
    if intercept:
        slopes = np.delete(slopes, list(theirs.params.index).index("Intercept"), axis=0)
    wanted = theirs.wald_test(slopes, use_f=theirs.use_t, scalar=True)
    mine = found.f_test
    assert mine.df_num == len(slopes)
    if theirs.use_t:
        near(mine.statistic, wanted.statistic)
        assert mine.df_denom == wanted.df_denom
    else:
        near(mine.df_num * mine.statistic, wanted.statistic)
        assert np.isinf(mine.df_denom)
    near(mine.p_value, wanted.pvalue)


ERRORS = {  # what gentle is asked for, and what statsmodels
    "classical": ({}, {}),
    **{kind: ({"errors": kind}, {"cov_type": kind}) for kind in ("HC0", "HC1", "HC2", "HC3")},
    **{
        f"HAC {lags}": (
            {"errors": "HAC", "lags": lags},
            {"cov_type": "HAC", "cov_kwds": {"maxlags": lags, "use_correction": True}},
        )
        for lags in (None, 1, 7)
    },
    "cluster": ({"cluster": "code"}, {"cov_type": "cluster", "groups": "code"}),
    "cluster by text": ({"cluster": "firm"}, {"cov_type": "cluster", "groups": "firm"}),
    "cluster by name": (
        {"errors": "cluster", "cluster": "year"},
        {"cov_type": "cluster", "groups": "year"},
    ),
}
COLUMNS = "a + b + c"
MODELS = {  # the formula, what gentle is given beside it, and what statsmodels
    "plain": (COLUMNS, {}, {}),
    "without a constant": (f"{COLUMNS} - 1", {}, {"hasconst": False}),
    "weights": (COLUMNS, {"weights": "w"}, {"weights": "w"}),
    "weights without a constant": (
        f"0 + {COLUMNS}",
        {"weights": "w"},
        {"weights": "w", "hasconst": False},
    ),
    "offset": (COLUMNS, {"offset": "o"}, {"offset": "o"}),
    "kinds": ("a + C(kind)", {}, {}),
    "kinds without a constant": ("b + C(kind) - 1", {}, {"hasconst": False}),
    "kinds and weights": ("a + C(kind)", {"weights": "w"}, {"weights": "w"}),
    "interactions": ("a * C(kind) + b:c", {}, {}),
    "functions": ("np.log(w) + I(a**2) + a + np.exp(c)", {}, {}),
    "numbers as kinds": ("C(year) + a", {"offset": "o"}, {"offset": "o"}),
}


def by_statsmodels(
    frame, formula, *, weights=None, offset=None, hasconst=None, use_t=True, **errors
):
    frame = frame if offset is None else frame.assign(y=frame["y"] - frame[offset])
    kept = {} if hasconst is None else {"hasconst": hasconst}
    text = f"y ~ {formula}"
    if weights is None:
        model = smf.ols(text, frame, **kept)
    else:
        model = smf.wls(text, frame, weights=frame[weights], **kept)
    if groups := errors.pop("groups", None):
        errors["cov_kwds"] = {"groups": pd.factorize(frame[groups])[0]}
    return model.fit(method="qr", use_t=use_t, **errors)


@pytest.mark.parametrize("errors", list(ERRORS))
@pytest.mark.parametrize("model", list(MODELS))
def test_statsmodels(model, errors):
    for use_t in (True, False) if model in ("plain", "weights", "numbers as kinds") else (True,):
        check_statsmodels(model, errors, use_t)


def check_statsmodels(model, errors, use_t):
    formula, ours, theirs = MODELS[model]
    asked, wanted = ERRORS[errors]
    frame = made(len(model) + 100 * len(errors))
    found = gentle.fit(frame, f"y ~ {formula}", use_t=use_t, **ours, **asked)
    oracle = by_statsmodels(frame, formula, use_t=use_t, **theirs, **wanted)
    same_coefficients(found, oracle)
    same_measures(found, oracle)
    if model == "numbers as kinds" and errors == "cluster by name":
        # Each year's residuals sum to zero, so that of nine slopes one has scores that vary.
        assert np.isnan(found.f_test.statistic)
        assert np.isnan(found.f_test.p_value)
    else:
        same_joint_test(found, oracle, intercept="Intercept" in found.names)


def test_names_are_those_of_statsmodels():
    frame = made(1)
    for formula in ("a + C(kind)", "a * C(kind) + b:c", "C(year) + I(a**2)"):
        assert set(gentle.fit(frame, f"y ~ {formula}").names) == set(
            smf.ols(f"y ~ {formula}", frame).fit().params.index
        )


@pytest.mark.parametrize("errors", list(ERRORS))
def test_arrays_are_frames(errors):
    """Clusters, weights and offsets as arrays beside arrays, or as names in any frame."""
    frame = made(7)
    asked, _ = ERRORS[errors]
    beside = {"weights": frame["w"].to_numpy(), "offset": frame["o"].to_numpy()}
    arrays = {**asked, **beside}
    if "cluster" in asked:
        arrays["cluster"] = frame[asked["cluster"]].to_numpy()
    x, y = frame[["a", "b", "c"]].to_numpy(), frame["y"].to_numpy()
    one = gentle.fit(frame, "y ~ a + b + c", weights="w", offset="o", **asked)
    for two in (
        gentle.fit(pl.from_pandas(frame), "y ~ a + b + c", weights="w", offset="o", **asked),
        gentle.fit((x, y), **arrays),
        gentle.fit(frame, "y ~ a + b + c", **arrays),
    ):
        near(two.values, one.values)
        near(two.vcov, one.vcov, scale=np.abs(one.vcov).max())
        assert two.df == one.df


def test_missing_values_leave_every_part():
    frame = made(3)
    frame.loc[[3, 40], "a"] = np.nan
    frame.loc[[5, 40, 77], "y"] = np.nan
    frame.loc[9, "w"] = np.nan
    frame.loc[[11, 50], "firm"] = None
    for errors in ("HC3", "cluster by text"):
        asked, wanted = ERRORS[errors]
        rest = frame.dropna(
            subset=["a", "y", "w", *([asked["cluster"]] if "cluster" in asked else [])]
        )
        found = gentle.fit(frame, f"y ~ {COLUMNS}", weights="w", **asked)
        oracle = by_statsmodels(rest, COLUMNS, weights="w", **wanted)
        same_coefficients(found, oracle)
        same_measures(found, oracle)


# pyfixest


def same_as_pyfixest(found, theirs):
    order = list(found.names)
    table = theirs.tidy().loc[order]
    error = table["Std. Error"].to_numpy()
    near(found.values, table["Estimate"], scale=error.max())
    near(listed(found.std_errors), error)
    near(listed(found.t_values), table["t value"], scale=1)
    near(listed(found.p_values), table["Pr(>|t|)"], scale=1e-3)  # theirs are 1 less a probability
    for level in LEVELS:
        wanted = theirs.confint(alpha=1 - level).loc[order].to_numpy()
        assert (np.abs(listed(found.conf_int(level)) - wanted) <= AGREE * error[:, None]).all()
    places = [list(theirs._coefnames).index(name) for name in order]
    unit = np.outer(error, error)
    near(found.vcov / unit, theirs._vcov[np.ix_(places, places)] / unit, scale=1)


WAYS = {
    "text": ("firm",),
    "integers": ("code",),
    "years": ("year",),
    "text and years": ("firm", "year"),
    "integers both": ("code", "year"),
    "nested": ("firm", "code"),
}


@pytest.mark.parametrize("weights", [None, "w"], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("way", list(WAYS))
def test_pyfixest_clusters(way, weights):
    keys = WAYS[way]
    frame = made(55)
    theirs = pf.feols("y ~ a + b + c", frame, vcov={"CRV1": " + ".join(keys)}, weights=weights)
    named = gentle.fit(
        frame, "y ~ a + b + c", cluster=keys if len(keys) > 1 else keys[0], weights=weights
    )
    labels = tuple(frame[key].to_numpy() for key in keys)
    x, y = frame[["a", "b", "c"]].to_numpy(), frame["y"].to_numpy()
    arrays = gentle.fit(
        (x, y),
        names=["a", "b", "c"],
        cluster=labels if len(labels) > 1 else labels[0],
        weights=None if weights is None else frame["w"].to_numpy(),
    )
    for found in (named, arrays):
        assert found.df == min(frame[key].nunique() for key in keys) - 1
        same_as_pyfixest(found, theirs)


@pytest.mark.parametrize("weights", [None, "w"], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(("errors", "theirs"), [("classical", "iid"), ("HC1", "hetero")])
def test_pyfixest_without_clusters(errors, theirs, weights):
    frame = made(60)
    found = gentle.fit(frame, "y ~ a + b + C(kind)", errors=errors, weights=weights)
    same_as_pyfixest(found, pf.feols("y ~ a + b + C(kind)", frame, vcov=theirs, weights=weights))


# Frequencies are rows


@pytest.mark.parametrize("errors", ["classical", "HC0", "HC1", "HC2", "HC3", "cluster"])
@pytest.mark.parametrize("weights", [None, "w"], ids=["unweighted", "weighted"])
def test_frequencies_are_rows(errors, weights):
    frame = made(8)
    times = np.random.default_rng(8).integers(1, 5, len(frame))
    asked, wanted = ERRORS[errors]
    found = gentle.fit(
        frame.assign(times=times), "y ~ a + C(kind)", frequencies="times", weights=weights, **asked
    )
    copies = frame.loc[frame.index.repeat(times)].reset_index(drop=True)
    oracle = by_statsmodels(copies, "a + C(kind)", weights=weights, **wanted)
    same_coefficients(found, oracle)
    same_measures(found, oracle)
    same_joint_test(found, oracle, intercept=True)


def test_a_frequency_of_zero_is_no_row():
    frame = made(9)
    times = np.random.default_rng(9).integers(0, 3, len(frame))
    found = gentle.fit(frame, "y ~ a + b", frequencies=times)
    same_measures(found, by_statsmodels(frame.loc[frame.index.repeat(times)], "a + b"))


# Restrictions


RESTRICTIONS = (
    "a = b",
    "a = b, c = 0",
    "a = 1",
    "a + 20*b = 0",
    "a = b, c = 0, Intercept = 2",
    "2*a - 0.5*c = -3.5, b = 0",
)


@pytest.mark.parametrize("use_t", [True, False], ids=["t", "normal"])
@pytest.mark.parametrize("errors", ["classical", "HC3", "HAC 1", "cluster"])
@pytest.mark.parametrize("text", RESTRICTIONS)
def test_restrictions(text, errors, use_t):
    frame = made(12)
    asked, wanted = ERRORS[errors]
    found = gentle.fit(frame, "y ~ a + b + c", use_t=use_t, **asked).test(text)
    oracle = by_statsmodels(frame, COLUMNS, use_t=use_t, **wanted)
    each = oracle.t_test(text)
    near(found.estimates, np.ravel(each.effect), scale=np.max(each.sd))
    near(found.std_errors, np.ravel(each.sd))
    near(found.t_values, np.ravel(each.tvalue), scale=1)
    near(found.p_values, np.ravel(each.pvalue))
    for level in LEVELS:
        low, high = found.conf_int(level)
        theirs = np.atleast_2d(each.conf_int(1 - level))
        near(np.stack([low, high], axis=1), theirs, scale=np.max(each.sd))
    together = oracle.wald_test(text, use_f=use_t, scalar=True)
    assert found.wald.df_num == len(text.split(","))
    near(found.wald.statistic * (1 if use_t else found.wald.df_num), together.statistic)
    near(found.wald.p_value, together.pvalue)
    if use_t:
        near(found.wald.statistic, np.squeeze(oracle.f_test(text).fvalue))
        assert found.wald.df_denom == together.df_denom


def test_restrictions_of_levels():
    frame = made(13)
    found = gentle.fit(frame, "y ~ a + C(kind)").test("C(kind)[T.ham] = C(kind)[T.x_1]")
    oracle = by_statsmodels(frame, "a + C(kind)").t_test("C(kind)[T.ham] = C(kind)[T.x_1]")
    near(found.t_values, np.ravel(oracle.tvalue))


# Collinearity, predictions, influence


@pytest.mark.parametrize("intercept", [True, False])
def test_variance_inflation(intercept):
    frame = made(14)
    frame["d"] = frame["a"] + 0.1 * frame["c"] / frame["c"].std() + 0.01 * frame["o"]
    x = frame[["a", "b", "c", "d"]]
    found = gentle.fit((x, frame["y"]), intercept=intercept).vif
    design = sm.add_constant(x) if intercept else x
    wanted = [
        variance_inflation_factor(design.to_numpy(), at, standardize=False)
        for at in range(int(intercept), design.shape[1])
    ]
    assert list(found) == ["a", "b", "c", "d"]
    near(listed(found), wanted)


def test_variance_inflation_of_weighted_rows():
    frame = made(15)
    found = gentle.fit(frame, f"y ~ {COLUMNS}", weights="w").vif
    for name, others in {"a": "b + c", "b": "a + c", "c": "a + b"}.items():
        auxiliary = smf.wls(f"{name} ~ {others}", frame, weights=frame["w"]).fit()
        assert found[name] == pytest.approx(1 / (1 - auxiliary.rsquared), rel=AGREE)


def predicted(oracle, rows, level):
    """statsmodels' table; under clusters with the degrees of freedom of its own coefficients."""
    table = oracle.get_prediction(rows).summary_frame(alpha=1 - level)
    if oracle.use_t and oracle.cov_type == "cluster":
        above = (1 + level) / 2
        df, wrong = oracle.df_resid_inference, oracle.df_resid
        ratio = scipy.special.stdtrit(df, above) / scipy.special.stdtrit(wrong, above)
        for bound in ("mean_ci_lower", "mean_ci_upper", "obs_ci_lower", "obs_ci_upper"):
            table[bound] = table["mean"] + (table[bound] - table["mean"]) * ratio
    return table


@pytest.mark.parametrize("use_t", [True, False], ids=["t", "normal"])
@pytest.mark.parametrize("errors", ["classical", "HC3", "HAC 1", "cluster"])
@pytest.mark.parametrize("model", ["without a constant", "weights", "interactions"])
def test_predictions(model, errors, use_t):
    formula, ours, theirs = MODELS[model]
    asked, wanted = ERRORS[errors]
    frame, unseen = made(16), made(17, n=25)
    found = gentle.fit(frame, f"y ~ {formula}", use_t=use_t, **ours, **asked)
    oracle = by_statsmodels(frame, formula, use_t=use_t, **theirs, **wanted)
    for level in LEVELS:
        table = predicted(oracle, unseen, level)
        mean = found.predict(unseen, interval=level)
        near(found.predict(unseen), table["mean"])
        near(mean["prediction"], table["mean"])
        near(mean["std_error"], table["mean_se"])
        near(mean["low"], table["mean_ci_lower"], scale=1)
        near(mean["high"], table["mean_ci_upper"], scale=1)
        weights = 1.0 if model == "weights" else None  # statsmodels takes 1 for new rows
        new = found.predict(unseen, interval=level, kind="new", weights=weights)
        near(new["prediction"], table["mean"])
        near(new["low"], table["obs_ci_lower"], scale=1)
        near(new["high"], table["obs_ci_upper"], scale=1)


def same_influence(found, oracle, rows, names=("Intercept", "a", "b")):
    near(found["row"], rows)
    near(found["residual"], oracle.results.resid, scale=1)
    near(found["fitted"], oracle.results.fittedvalues, scale=1)
    near(found["leverage"], oracle.hat_matrix_diag)
    near(found["standardized"], oracle.resid_studentized_internal, scale=1)
    near(found["studentized"], oracle.resid_studentized_external, scale=1)
    near(found["cooks_distance"], oracle.cooks_distance[0], scale=1e-3)
    near(found["dffits"], oracle.dffits[0], scale=1)
    near(found["covratio"], oracle.cov_ratio)
    order = [oracle.results.model.exog_names.index(name) for name in names]
    near(dfbetas(found, names), oracle.dfbetas[:, order], scale=1)


def dfbetas(found, names):
    return np.column_stack([found[f"dfbetas_{name}"] for name in names])


@pytest.mark.parametrize("formula", ["a + b + c", "a + b - 1", "a * C(kind)"])
def test_influence(formula):
    frame = made(18)
    frame.loc[5, "y"] += 30
    theirs = OLSInfluence(smf.ols(f"y ~ {formula}", frame).fit(method="qr"))
    fit = gentle.fit(frame, f"y ~ {formula}")
    same_influence(fit.influence(frame, dfbetas=True), theirs, frame.index, fit.names)


def test_influence_of_rows_that_are_left():
    frame = made(19)
    frame.loc[[0, 7, 30], "a"] = np.nan
    rest = frame.dropna()
    theirs = OLSInfluence(smf.ols("y ~ a + b", rest).fit(method="qr"))
    same_influence(
        gentle.fit(frame, "y ~ a + b").influence(frame, dfbetas=True), theirs, rest.index
    )


def test_influence_of_weighted_rows():
    """That of the rows times the roots of their weights; residuals are in units of the target."""
    frame = made(20)
    root = np.sqrt(frame["w"].to_numpy())
    x = sm.add_constant(frame[["a", "b"]]).to_numpy()
    theirs = OLSInfluence(sm.OLS(frame["y"] * root, x * root[:, None]).fit(method="qr"))
    arrays = (frame[["a", "b"]].to_numpy(), frame["y"].to_numpy())
    for mine in (
        gentle.fit(frame, "y ~ a + b", weights="w").influence(frame, dfbetas=True),
        gentle.fit(arrays, weights=frame["w"]).influence(arrays, weights=frame["w"], dfbetas=True),
    ):
        near(mine["residual"] * root, theirs.results.resid, scale=1)
        near(mine["leverage"], theirs.hat_matrix_diag)
        near(mine["studentized"], theirs.resid_studentized_external, scale=1)
        near(mine["cooks_distance"], theirs.cooks_distance[0], scale=1e-3)
        near(mine["dffits"], theirs.dffits[0], scale=1)
        near(mine["covratio"], theirs.cov_ratio)
        near(
            dfbetas(mine, [c[8:] for c in mine.columns if "dfbetas" in c]), theirs.dfbetas, scale=1
        )


def test_influence_of_rows_that_stand_for_several():
    frame = made(21)
    times = np.random.default_rng(21).integers(1, 4, len(frame))
    copies = frame.loc[frame.index.repeat(times)]
    theirs = OLSInfluence(smf.ols("y ~ a + b", copies.reset_index()).fit(method="qr"))
    first = np.concatenate([[0], np.cumsum(times)[:-1]])
    fit = gentle.fit(frame, "y ~ a + b", frequencies=times)
    mine = fit.influence(frame, frequencies=times)
    near(mine["leverage"], theirs.hat_matrix_diag[first])
    near(mine["studentized"], theirs.resid_studentized_external[first], scale=1)
    near(mine["cooks_distance"], theirs.cooks_distance[0][first], scale=1e-3)


def test_influence_under_an_offset():
    frame = made(22)
    less = frame.assign(y=frame["y"] - frame["o"])
    theirs = OLSInfluence(smf.ols("y ~ a", less).fit(method="qr"))
    mine = gentle.fit(frame, "y ~ a", offset="o").influence(frame)
    near(mine["residual"], theirs.results.resid, scale=1)
    near(mine["cooks_distance"], theirs.cooks_distance[0], scale=1e-3)


# Where other libraries lose digits: the same formulas in sixty


class Precise:
    """Least squares of the float64 numbers as they stand, with a constant, in 60 digits."""

    def __init__(self, x, y):
        self.x = mpmath.matrix(np.column_stack([np.ones(len(x)), x]).tolist())
        self.n, self.q = self.x.rows, self.x.cols
        self.y = mpmath.matrix(list(map(float, y)))
        self.bread = mpmath.inverse(self.x.T * self.x)
        self.coef = self.bread * (self.x.T * self.y)
        self.residual = self.y - self.x * self.coef
        self.rss = sum(e**2 for e in self.residual)
        self.sigma2 = self.rss / (self.n - self.q)

    def leverage(self, i):
        row = self.x[i, :]
        return (row * self.bread * row.T)[0]

    def classical(self):
        return self.sigma2 * self.bread

    def white(self, power, factor=1):
        meat = mpmath.zeros(self.q)
        for i in range(self.n):
            row = self.x[i, :]
            meat += row.T * row * self.residual[i] ** 2 / (1 - self.leverage(i)) ** power
        return factor * self.bread * meat * self.bread

    def newey_west(self, lags):
        scores = [self.x[i, :] * self.residual[i] for i in range(self.n)]
        meat = mpmath.zeros(self.q)
        for i in range(self.n):
            for lag in range(lags + 1):
                if i >= lag:
                    cross = scores[i].T * scores[i - lag] * (1 - mpmath.mpf(lag) / (lags + 1))
                    meat += cross if lag == 0 else cross + cross.T
        return mpmath.mpf(self.n) / (self.n - self.q) * self.bread * meat * self.bread

    def clustered(self, labels):
        meat = mpmath.zeros(self.q)
        groups = sorted(set(labels))
        for group in groups:
            score = mpmath.zeros(1, self.q)
            for i in range(self.n):
                if labels[i] == group:
                    score += self.x[i, :] * self.residual[i]
            meat += score.T * score
        count, n = mpmath.mpf(len(groups)), self.n
        return (n - 1) / (n - self.q) * count / (count - 1) * self.bread * meat * self.bread

    def wald(self, covariance):
        slopes = self.coef[1:, 0]
        inner = mpmath.inverse(covariance[1:, 1:])
        return (slopes.T * inner * slopes)[0] / (self.q - 1)


def numbers(values):
    return np.array([float(value) for value in values])


def longley():
    data = json.loads((Path(__file__).parent / "nist" / "Longley.json").read_text())
    return np.array(data["x"], dtype=float), np.array(data["y"], dtype=float)


def collinear():
    """Two columns that differ by a millionth of their spread."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 3)) + np.array([0, 100, 0])
    x[:, 2] = x[:, 0] + 1e-6 * rng.normal(size=40)
    return x, x @ [1.0, 2.0, 3.0] + 1e-3 * rng.normal(size=40) * (1 + np.abs(x[:, 0]))


@pytest.mark.parametrize("data", [longley, collinear])
def test_high_precision(data):
    x, y = data()
    labels = np.arange(len(y)) % 8
    with mpmath.workdps(60):
        exact = Precise(x, y)
        n, q = exact.n, exact.q
        wanted = {
            "classical": exact.classical(),
            "HC0": exact.white(0),
            "HC1": exact.white(0, mpmath.mpf(n) / (n - q)),
            "HC2": exact.white(1),
            "HC3": exact.white(2),
            "HAC": exact.newey_west(2),
            "cluster": exact.clustered(labels),
        }
        tests = {errors: exact.wald(found) for errors, found in wanted.items()}
        leverage = [exact.leverage(i) for i in range(n)]
    for errors, covariance in wanted.items():
        asked = {"HAC": {"lags": 2}, "cluster": {"cluster": labels}}.get(errors, {})
        found = gentle.fit((x, y), errors=errors, **asked)
        std_errors = numbers(mpmath.sqrt(covariance[j, j]) for j in range(q))
        near(found.values, numbers(exact.coef))
        near(listed(found.std_errors), std_errors)
        near(listed(found.t_values), numbers(exact.coef) / std_errors)
        df = 7 if errors == "cluster" else n - q
        near(
            listed(found.p_values),
            2 * scipy.special.stdtr(df, -np.abs(numbers(exact.coef) / std_errors)),
        )
        correlations = np.array(covariance.tolist(), dtype=float)
        near(
            found.vcov / np.outer(std_errors, std_errors),
            correlations / np.outer(std_errors, std_errors),
        )
        if errors != "cluster" or q <= 7:
            near(found.f_test.statistic, float(tests[errors]))
    found = gentle.fit((x, y))
    near(found.rss, float(exact.rss))
    near(found.sigma**2, float(exact.sigma2))
    seen = found.influence((x, y))
    near(seen["leverage"], numbers(leverage))
    near(seen["residual"], numbers(exact.residual))


def test_statsmodels_loses_the_digits_that_this_is_held_to():
    """Else the collinear set would prove nothing."""
    x, y = collinear()
    with mpmath.workdps(60):
        covariance = Precise(x, y).white(2)
        std_errors = numbers(mpmath.sqrt(covariance[j, j]) for j in range(4))
    theirs = sm.OLS(y, sm.add_constant(x)).fit(cov_type="HC3").bse
    assert np.abs(theirs / std_errors - 1).max() > 1e-7
