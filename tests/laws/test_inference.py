"""Laws of inference: what statsmodels says of the same fit, and what holds of every test and measure."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.outliers_influence import variance_inflation_factor

from gentle import GentleError, inference
from gentle.restrictions import restrictions

N, Q = 40, 4
NAMES = ("Intercept", "a", "b", "c")
RTOL = 1e-9
seeds = st.integers(0, 10**6)


def close(one, two, rtol=RTOL):
    one, two = np.asarray(one), np.asarray(two)
    assert one.shape == two.shape
    np.testing.assert_allclose(one, two, rtol=rtol, atol=rtol * np.abs(two).max(initial=1e-300))


def rows(seed, n=N, weighted=False):
    """(x, y, weight) with the constant first and columns of different size, two of them akin."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, Q - 1)) * [1, 100, 0.1] + [0, 50, 3]])
    x[:, 2] += 90 * x[:, 1]
    y = x @ [2.0, 0.5, -0.01, 3.0] + rng.standard_t(4, n)
    return x, y, rng.uniform(0.2, 5, n) if weighted else np.ones(n)


def model(seed, weighted=False, **options):
    x, y, weight = rows(seed, weighted=weighted)
    return sm.WLS(y, x, weights=weight).fit(**options)


def together(matrix, values, fit):
    """The restrictions as a contrast of a fit of statsmodels, with its degrees of freedom."""
    labels = [f"restriction {number}" for number in range(len(matrix))]
    df = fit.df_resid if fit.use_t else np.inf
    return inference.contrast(
        np.asarray(matrix, float), np.asarray(values, float), fit.params, fit.cov_params(),
        df, labels, NAMES,
    )  # fmt: skip


def pieces(seed, weighted=False):
    """(fit, residual, leverage, weight, root, influence): what the measures are made of."""
    x, y, weight = rows(seed, weighted=weighted)
    fit = sm.WLS(y, x, weights=weight).fit()
    q, r = np.linalg.qr(x * np.sqrt(weight)[:, None])
    leverage = np.sum(q * q, axis=1)
    found = inference.influence(
        fit.resid, leverage, math.sqrt(fit.scale), fit.df_resid, Q, weight if weighted else None
    )
    return fit, leverage, weight if weighted else None, np.linalg.inv(r), found


weights = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
covariances = pytest.mark.parametrize(
    "options",
    [{}, {"use_t": False}, {"cov_type": "HC1", "use_t": True}, {"cov_type": "HC3"}],
    ids=["classical", "normal", "robust", "robust and normal"],
)


def slopes_are_zero(fit, df):
    """The joint test of all coefficients but the constant."""
    return inference.wald(fit.params[1:], fit.cov_params()[1:, 1:], df)


class TestT:
    @given(seed=seeds)
    def test_infinite_degrees_of_freedom_are_the_normal_distribution(self, seed):
        rng = np.random.default_rng(seed)
        t, errors = rng.normal(size=9) * 4, rng.uniform(0.1, 5, 9)
        close(inference.p_values(t, np.inf), 2 * stats.norm.sf(np.abs(t)))
        close(inference.p_values(t, np.inf), inference.p_values(t, 1e14), 1e-9)
        for level in (0.01, 0.5, 0.95, 0.999):
            low, high = inference.intervals(t, errors, np.inf, level)
            close((low, high), stats.norm.interval(level, t, errors))
            close((low, high), inference.intervals(t, errors, 1e14, level))

    @pytest.mark.parametrize("df", [1, 2.5, 30, 1e6, np.inf])
    def test_far_tails_keep_their_digits(self, df):
        t = np.array([0, 1e-9, 1, 8, 30, np.nan])
        np.testing.assert_allclose(inference.p_values(t, df), 2 * stats.t.sf(t, df), rtol=RTOL)

    @pytest.mark.parametrize("df", [3.0, np.inf])
    @pytest.mark.parametrize("level", [-1, 0, 1, 95, np.nan])
    def test_a_level_lies_between_zero_and_one(self, df, level):
        with pytest.raises(GentleError, match="level must lie between 0 and 1"):
            inference.intervals(np.zeros(1), np.ones(1), df, level)

    @pytest.mark.parametrize("df", [0, -2, np.nan])
    def test_without_degrees_of_freedom_there_is_nothing_to_say(self, df):
        assert np.isnan(inference.p_values(np.array([2.0]), df)).all()
        assert np.isnan(inference.intervals(np.zeros(1), np.ones(1), df, 0.9)).all()


class TestWald:
    @covariances
    @weights
    @given(seed=seeds)
    def test_the_overall_f_is_that_of_statsmodels(self, options, weighted, seed):
        fit = model(seed, weighted, **options)
        df = fit.df_resid if fit.use_t else np.inf
        ours = slopes_are_zero(fit, df)
        theirs = fit.f_test(np.eye(Q)[1:])
        close(ours.statistic, float(np.squeeze(theirs.fvalue)))
        assert ours.df_num == Q - 1
        if fit.use_t:
            close(ours.statistic, float(np.squeeze(fit.fvalue)))
            close(ours.p_value, float(theirs.pvalue), 1e-8)

    @given(seed=seeds)
    def test_the_overall_f_is_that_of_the_sums_of_squares(self, seed):
        fit = model(seed)
        ours = slopes_are_zero(fit, fit.df_resid)
        close(ours.statistic, fit.ess / (Q - 1) / fit.scale)

    @covariances
    @given(seed=seeds)
    def test_without_a_constant_all_coefficients_are_slopes(self, options, seed):
        fit = model(seed, **options)
        ours = inference.wald(fit.params, fit.cov_params(), fit.df_resid)
        close(ours.statistic, float(np.squeeze(fit.f_test(np.eye(Q)).fvalue)))
        assert ours.df_num == Q

    @given(seed=seeds)
    def test_infinite_degrees_of_freedom_are_chi_square(self, seed):
        fit = model(seed, use_t=False)
        ours = slopes_are_zero(fit, np.inf)
        theirs = fit.wald_test(np.eye(Q)[1:], use_f=False, scalar=True)
        close(ours.statistic * ours.df_num, theirs.statistic)
        close(ours.p_value, theirs.pvalue, 1e-8)
        close(ours.p_value, stats.chi2.sf(theirs.statistic, Q - 1), 1e-8)

    @given(seed=seeds, df=st.sampled_from([1, 3.5, 100, np.inf]))
    def test_one_estimate_has_f_equal_to_t_squared(self, seed, df):
        rng = np.random.default_rng(seed)
        estimate, variance = rng.normal(size=1) * 3, rng.uniform(0.1, 9, (1, 1))
        ours = inference.wald(estimate, variance, df)
        t = estimate / np.sqrt(variance[0])
        close(ours.statistic, t[0] ** 2)
        close(ours.p_value, inference.p_values(t, df)[0])

    @given(seed=seeds, m=st.integers(1, 6), extra=st.integers(0, 4))
    def test_combinations_of_estimates_count_once(self, seed, m, extra):
        rng = np.random.default_rng(seed)
        estimates, half = rng.normal(size=m), rng.normal(size=(m, m + 3))
        covariance = half @ half.T
        more = np.vstack([np.eye(m), rng.normal(size=(extra, m))])
        units = 10.0 ** rng.integers(-6, 6, m + extra)
        more *= units[:, None]
        ours = inference.wald(more @ estimates, more @ covariance @ more.T, 30)
        assert ours.df_num == m
        close(ours.statistic, inference.wald(estimates, covariance, 30).statistic, 1e-8)

    def test_an_estimate_without_variance_is_nan(self):
        one = np.diag([1.0, 0.0])
        for estimates in ([1.0, 1e-12], [1.0, 1e12]):
            it = inference.wald(np.array(estimates), one, 9)
            assert (it.df_num, math.isnan(it.statistic), math.isnan(it.p_value)) == (1, True, True)
        assert inference.wald(np.array([1.5, 0.0]), one, 9).statistic == pytest.approx(2.25)
        same = np.ones((2, 2))
        assert math.isnan(inference.wald(np.array([1.0, 1.1]), same, 9).statistic)
        assert inference.wald(np.array([1.5, 1.5]), same, 9).statistic == pytest.approx(2.25)

    @pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
    def test_without_a_covariance_it_is_nan(self, value):
        it = inference.wald(np.ones(2), np.full((2, 2), value), 9)
        assert math.isnan(it.statistic)
        assert math.isnan(it.p_value)

    def test_what_is_no_covariance_is_nan(self):
        assert math.isnan(inference.wald(np.ones(2), np.array([[1.0, 2], [2, 1]]), 9).statistic)
        assert math.isnan(inference.wald(np.ones(2), np.diag([1.0, -1.0]), 9).statistic)

    def test_it_reads_as_a_sentence(self):
        assert str(inference.wald(np.array([2.0]), np.eye(1), 10)) == "F(1, 10) = 4, p = 0.0734"
        both = inference.wald(np.array([2.0, 1.0]), np.eye(2), np.inf)
        assert str(both) == "chi2(2) = 5, p = 0.0821"


class TestContrast:
    MATRIX = ((0, 1, -1, 0), (1, 2, 0, 0.5), (0, 0, 0, 1))
    VALUES = (0, 3, 2.5)

    @covariances
    @weights
    @given(seed=seeds)
    def test_it_is_the_t_test_of_statsmodels(self, options, weighted, seed):
        fit = model(seed, weighted, **options)
        ours = together(self.MATRIX, self.VALUES, fit)
        theirs = fit.t_test((np.array(self.MATRIX), np.array(self.VALUES)))
        close(ours.estimates, theirs.effect)
        close(ours.std_errors, theirs.sd)
        close(ours.t_values, theirs.statistic)
        np.testing.assert_allclose(ours.p_values, theirs.pvalue, rtol=1e-8)
        close(np.column_stack(ours.conf_int(0.9)), theirs.conf_int(0.1))

    @covariances
    @weights
    @given(seed=seeds)
    def test_all_together_are_the_f_test_of_statsmodels(self, options, weighted, seed):
        fit = model(seed, weighted, **options)
        ours = together(self.MATRIX, self.VALUES, fit).wald
        theirs = fit.f_test((np.array(self.MATRIX), np.array(self.VALUES)))
        close(ours.statistic, float(np.squeeze(theirs.fvalue)))
        assert ours.df_num == theirs.df_num
        if fit.use_t:
            close(ours.p_value, float(theirs.pvalue), 1e-8)

    @given(seed=seeds, value=st.sampled_from([0, 0.5, -100]))
    def test_one_restriction_has_f_equal_to_t_squared(self, seed, value):
        ours = together([[0, 1, 2, 0]], [value], model(seed))
        close(ours.wald.statistic, ours.t_values[0] ** 2)
        close(ours.wald.p_value, ours.p_values[0])

    @covariances
    @given(seed=seeds, extra=st.integers(1, 5))
    def test_redundant_restrictions_change_nothing(self, options, seed, extra):
        fit = model(seed, **options)
        mix = np.random.default_rng(seed).normal(size=(extra, 3))
        matrix, values = np.array(self.MATRIX, float), np.array(self.VALUES, float)
        more = np.vstack([matrix, mix @ matrix]), np.concatenate([values, mix @ values])
        one, two = together(matrix, values, fit).wald, together(*more, fit).wald
        assert one.df_num == two.df_num == 3
        close(two.statistic, one.statistic, 1e-8)
        close(two.p_value, one.p_value, 1e-7)

    @pytest.mark.parametrize("apart", [1e-3, 1e-6])
    def test_redundancy_is_seen_where_columns_are_nearly_collinear(self, apart):
        rng = np.random.default_rng(5)
        x, _, _ = rows(5)
        x[:, 2] = x[:, 1] + apart * rng.normal(size=N)
        fit = sm.OLS(x @ np.ones(Q) + rng.normal(size=N), x).fit()
        two = [[0, 1, 0, 0], [0, 0, 1, 0]]
        one = together(two, [0, 0], fit).wald
        assert one.df_num == 2
        more = together([*two, [0, 1, -1, 0], [0, 1, 1, 0]], [0] * 4, fit).wald
        assert more.df_num == 2
        close(more.statistic, one.statistic, 1e-3 if apart < 1e-5 else 1e-8)

    @given(seed=seeds)
    def test_units_of_columns_and_restrictions_do_not_matter(self, seed):
        fit = model(seed)
        units = 10.0 ** np.random.default_rng(seed).integers(-8, 8, Q)
        sizes = 10.0 ** np.random.default_rng(seed + 1).integers(-8, 8, 3)
        ours = inference.contrast(
            np.array(self.MATRIX) * units * sizes[:, None],
            np.array(self.VALUES) * sizes,
            fit.params / units,
            fit.cov_params() / np.outer(units, units),
            fit.df_resid,
            ["one", "two", "three"],
            NAMES,
        )
        usual = together(self.MATRIX, self.VALUES, fit)
        close(ours.t_values, usual.t_values)
        close(ours.wald.statistic, usual.wald.statistic, 1e-8)

    def test_restrictions_that_contradict_each_other_leave_nothing_to_say(self):
        ours = together([[0, 1, 0, 0], [0, 1, 0, 0]], [0, 1], model(1))
        assert ours.wald.df_num == 1
        assert math.isnan(ours.wald.statistic)
        assert np.isfinite(ours.t_values).all()
        ours = together([[0, 1, 0, 0], [0, 0, 0, 0]], [0, 1], model(1))
        assert math.isnan(ours.wald.statistic)

    def test_without_a_covariance_there_are_estimates_alone(self):
        fit = model(1)
        nothing = np.full((Q, Q), np.nan)
        ours = inference.contrast(np.eye(Q), np.zeros(Q), fit.params, nothing, np.inf, NAMES, NAMES)
        close(ours.estimates, fit.params)
        assert np.isnan(ours.t_values).all()
        assert math.isnan(ours.wald.statistic)
        assert " - " in str(ours)

    def test_a_column_that_was_left_out_is_named(self):
        fit = model(1)
        coef = np.append(fit.params, np.nan)
        vcov = np.pad(fit.cov_params(), (0, 1), constant_values=np.nan)
        names = [*NAMES, "d"]
        with pytest.raises(GentleError, match=r"'b = d' needs the coefficient of 'd'"):
            inference.contrast(
                np.array([[0, 0, 1.0, 0, -1]]), np.zeros(1), coef, vcov, 30, ["b = d"], names
            )
        ours = inference.contrast(
            np.array([[0, 0, 1.0, 0, 0]]), np.zeros(1), coef, vcov, fit.df_resid, ["b = 0"], names
        )
        close(ours.t_values[0], fit.tvalues[2])

    @pytest.mark.parametrize(
        ("matrix", "values"), [(np.eye(3), np.zeros(3)), (np.eye(Q), np.zeros(3)), (np.ones(Q), 0)]
    )
    def test_a_shape_that_does_not_fit_is_refused(self, matrix, values):
        with pytest.raises(GentleError, match=r"a matrix of shape \(m, 4\)"):
            together(matrix, values, model(1))

    @pytest.mark.parametrize("hole", [np.nan, np.inf])
    def test_holes_are_refused(self, hole):
        with pytest.raises(GentleError, match="restrictions need numbers"):
            together([[0, hole, 0, 0]], [0], model(1))
        with pytest.raises(GentleError, match="restrictions need numbers"):
            together([[0, 1, 0, 0]], [hole], model(1))

    @given(seed=seeds, power=st.integers(-200, 200), width=st.integers(1, 200))
    def test_its_table_is_eighty_columns_wide_at_most(self, seed, power, width):
        fit = model(seed)
        label = "long name = 0 " * (width // 14) + "x" * (width % 14)
        ours = inference.contrast(
            np.eye(Q)[1:3], np.zeros(2), fit.params * 10.0**power,
            fit.cov_params() * 10.0**power, fit.df_resid, ["a = 0", label], NAMES,
        )  # fmt: skip
        text = str(ours)
        assert all(len(line) <= 80 and line == line.rstrip() for line in text.splitlines())
        assert "std. error" in text
        assert " ".join(label.split()) in " ".join(text.split())
        assert text.endswith(f"together: {ours.wald}")

    def test_its_table_says_z_where_t_is_normal(self):
        assert " z " in str(together([[0, 1, 0, 0]], [0], model(1, use_t=False)))
        assert " t " in str(together([[0, 1, 0, 0]], [0], model(1)))


class TestLikelihood:
    @weights
    @given(seed=seeds)
    def test_it_is_that_of_statsmodels(self, weighted, seed):
        fit = model(seed, weighted)
        found = inference.log_likelihood(fit.ssr, N, float(np.sum(np.log(fit.model.weights))))
        close(found, fit.llf)
        close(inference.aic(found, Q), fit.aic)
        close(inference.bic(found, Q, N), fit.bic)

    @given(seed=seeds)
    def test_it_is_the_sum_over_rows_of_the_log_density(self, seed):
        fit = model(seed, weighted=True)
        weight = fit.model.weights
        spread = np.sqrt(fit.ssr / N / weight)
        found = inference.log_likelihood(fit.ssr, N, float(np.sum(np.log(weight))))
        close(found, stats.norm.logpdf(fit.resid, scale=spread).sum())

    @given(seed=seeds)
    def test_frequencies_are_rows(self, seed):
        x, y, weight = rows(seed, weighted=True)
        frequency = np.random.default_rng(seed).integers(1, 5, N)
        fit = sm.WLS(*(np.repeat(it, frequency, axis=0) for it in (y, x, weight))).fit()
        logs = float(frequency @ np.log(weight))
        close(inference.log_likelihood(fit.ssr, frequency.sum(), logs), fit.llf)

    def test_rows_that_are_met_exactly_are_infinitely_likely(self):
        assert inference.log_likelihood(0.0, 5) == math.inf
        assert inference.aic(math.inf, 2) == -math.inf
        assert math.isnan(inference.log_likelihood(0.0, 0))
        assert math.isnan(inference.bic(math.nan, 1, 0))


class TestInfluence:
    @given(seed=seeds)
    def test_it_is_that_of_statsmodels(self, seed):
        x, y, _ = rows(seed)
        theirs = sm.OLS(y, x).fit().get_influence()
        _, leverage, _, _, ours = pieces(seed)
        close(leverage, theirs.hat_matrix_diag)
        close(ours.standardized, theirs.resid_studentized_internal)
        close(ours.studentized, theirs.resid_studentized_external)
        close(ours.cooks_distance, theirs.cooks_distance[0])
        close(ours.dffits, theirs.dffits[0])
        close(ours.covratio, theirs.cov_ratio)

    @given(seed=seeds)
    def test_weighted_it_is_that_of_whitened_rows(self, seed):
        x, y, weight = rows(seed, weighted=True)
        root = np.sqrt(weight)
        theirs = sm.OLS(root * y, root[:, None] * x).fit().get_influence()
        fit, leverage, weight, inverse, ours = pieces(seed, weighted=True)
        close(ours.studentized, theirs.resid_studentized_external)
        close(ours.cooks_distance, theirs.cooks_distance[0])
        close(ours.dffits, theirs.dffits[0])
        close(ours.covratio, theirs.cov_ratio)
        moved = inference.dfbetas(x @ inverse, inverse, ours.studentized, leverage, weight)
        close(moved, theirs.dfbetas, 1e-8)
        assert fit.df_resid == N - Q

    @given(seed=seeds)
    def test_dfbetas_are_those_of_statsmodels(self, seed):
        x, y, _ = rows(seed)
        _, leverage, _, inverse, ours = pieces(seed)
        moved = inference.dfbetas(x @ inverse, inverse, ours.studentized, leverage)
        close(moved, sm.OLS(y, x).fit().get_influence().dfbetas, 1e-8)

    @weights
    @given(seed=seeds, row=st.integers(0, N - 1))
    def test_it_is_what_a_fit_without_the_row_says(self, weighted, seed, row):
        x, y, w = rows(seed, weighted=weighted)
        fit, leverage, weight, inverse, ours = pieces(seed, weighted)
        kept = np.arange(N) != row
        without = sm.WLS(y[kept], x[kept], weights=w[kept]).fit()
        apart = fit.params - without.params
        gram = x.T @ (w[:, None] * x)
        close(ours.cooks_distance[row], apart @ gram @ apart / (Q * fit.scale), 1e-7)
        unit = np.sqrt(without.scale * np.diag(fit.normalized_cov_params))
        moved = inference.dfbetas(x @ inverse, inverse, ours.studentized, leverage, weight)
        close(moved[row], apart / unit, 1e-7)
        close(
            ours.covratio[row],
            np.linalg.det(without.cov_params()) / np.linalg.det(fit.cov_params()),
            1e-7,
        )

    @given(seed=seeds, order=st.permutations(range(Q)))
    def test_the_root_does_not_matter(self, seed, order):
        x, _, _ = rows(seed)
        _, leverage, _, inverse, ours = pieces(seed)
        turned = inverse[:, order] * [1, -1, 1, -1]
        arguments = ours.studentized, leverage
        close(
            inference.dfbetas(x @ turned, turned, *arguments),
            inference.dfbetas(x @ inverse, inverse, *arguments),
        )

    @pytest.mark.parametrize("gap", [0, 1e-16, -1e-15, 1e-12])
    def test_a_row_of_leverage_one_is_nan_in_silence(self, gap):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            leverage = np.array([0.5, 1 - gap])
            ours = inference.influence(np.array([1.0, 1e-17]), leverage, 1.0, 5, 2)
            moved = inference.dfbetas(np.ones((2, 2)), np.eye(2), ours.studentized, leverage)
        for values in (*vars(ours).values(), moved):
            assert np.isfinite(values[0]).all()
            assert np.isnan(values[1]).all()

    def test_an_alone_standing_level_has_leverage_one(self):
        x, y, _ = rows(2)
        x = np.column_stack([x, np.arange(N) == 7])
        fit = sm.OLS(y, x).fit()
        q, _ = np.linalg.qr(x)
        ours = inference.influence(
            fit.resid, np.sum(q * q, axis=1), math.sqrt(fit.scale), fit.df_resid, Q + 1
        )
        assert np.flatnonzero(np.isnan(ours.studentized)).tolist() == [7]

    @pytest.mark.parametrize(("sigma", "df"), [(1.0, 1), (1.0, 0), (0.0, 5), (np.nan, 0)])
    def test_without_a_variance_it_is_nan_in_silence(self, sigma, df):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ours = inference.influence(np.zeros(3), np.full(3, 0.5), sigma, df, 2)
        assert np.isnan(ours.studentized).all()
        assert np.isnan(ours.covratio).all()

    def test_a_row_without_which_the_rest_is_met_exactly_is_infinitely_far(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ours = inference.influence(np.array([1.0]), np.array([0.75]), 1.0, 4, 2)
        assert ours.studentized[0] == np.inf
        assert ours.covratio[0] == 0


class TestVif:
    @given(seed=seeds)
    def test_it_is_that_of_statsmodels(self, seed):
        x, _, _ = rows(seed)
        inverse = np.diag(np.linalg.inv(x.T @ x))[1:]
        squares = np.sum((x - x.mean(axis=0))[:, 1:] ** 2, axis=0)
        theirs = [variance_inflation_factor(x, column) for column in range(1, Q)]
        close(inference.vif(inverse, squares), theirs)

    def test_orthogonal_columns_have_one(self):
        x = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 3)))[0] * [1, 10, 1e5]
        squares = np.sum(x * x, axis=0)
        close(inference.vif(np.diag(np.linalg.inv(x.T @ x)), squares), np.ones(3))


ODD = (
    "Intercept", "C(cut)[T.Good]", "C(cut)[T.Very Good]", "I(x ** 2)", "log(x)", "arr delay",
    "a", "b", "x", "a:b", "C(g)[T.b]:a", "I(`two words` ** 2)", "bs(a, df=4)[1]",
    "poly(x, 2, raw=True)[2]", "2", "-z", "x.1", "b0", "été", "carrier[T.AA = 1]", "delay",
)  # fmt: skip
EASY = [name for name in ODD if name not in ("2", "-z")]


def said(text, names=ODD):
    """[{name: number, '=': value}] of restrictions."""
    matrix, values, labels = restrictions(text, names)
    assert matrix.shape == (len(labels), len(names))
    assert values.shape == (len(labels),)
    return [
        {names[at]: row[at] for at in np.flatnonzero(row)} | {"=": value}
        for row, value in zip(matrix, values, strict=True)
    ]


class TestRestrictions:
    @pytest.mark.parametrize("name", EASY)
    def test_a_name_stands_as_it_is(self, name):
        others = [other for other in EASY if other != name]
        assert said(name) == [{name: 1, "=": 0}]
        assert said(f"{name}=-1.5e-3") == [{name: 1, "=": -0.0015}]
        assert said(f"2*{name}/4 = 1 - {name}") == [{name: 1.5, "=": 1}]
        for other in others:
            assert said(f"{other} + 3*({name})") == [{other: 1, name: 3, "=": 0}]

    @pytest.mark.parametrize("name", [name for name in ODD if "`" not in name])
    def test_a_name_stands_in_backticks(self, name):
        assert said(f"`{name}` + a*-1 = b") in (
            [{name: 1, "a": -1, "b": -1, "=": 0}],
            [{"a": -1, "=": 0}],  # b + a*-1 = b
            [{"b": -1, "=": 0}],  # a + a*-1 = b
        )
        assert said(f"`{name}`=2") == [{name: 1, "=": 2}]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("a = b", [{"a": 1, "b": -1, "=": 0}]),
            ("a == b", [{"a": 1, "b": -1, "=": 0}]),
            ("a = b, x = 0", [{"a": 1, "b": -1, "=": 0}, {"x": 1, "=": 0}]),
            ("2*a + b = 3", [{"a": 2, "b": 1, "=": 3}]),
            ("a, b", [{"a": 1, "=": 0}, {"b": 1, "=": 0}]),
            ("a - (b - x)", [{"a": 1, "b": -1, "x": 1, "=": 0}]),
            ("a - -b", [{"a": 1, "b": 1, "=": 0}]),
            ("a +- b", [{"a": 1, "b": -1, "=": 0}]),
            ("-a--b", [{"a": -1, "b": 1, "=": 0}]),
            ("2*-a", [{"a": -2, "=": 0}]),
            ("a/-2*3", [{"a": -1.5, "=": 0}]),
            ("(a + b)*2 = (1 + 2)*x - 1", [{"a": 2, "b": 2, "x": -3, "=": -1}]),
            ("a = 007", [{"a": 1, "=": 7}]),
            ("2 = a", [{"a": -1, "=": -2}]),
            ("`2` = a", [{"2": 1, "a": -1, "=": 0}]),
            ("a\n =\t1", [{"a": 1, "=": 1}]),
            ("x.1 = x", [{"x.1": 1, "x": -1, "=": 0}]),
            ("a:b = a", [{"a:b": 1, "a": -1, "=": 0}]),
        ],
    )
    def test_they_are_read_as_written(self, text, found):
        assert said(text) == found

    def test_labels_are_the_texts(self):
        assert restrictions("a  =\n b,`arr delay`", ODD)[2] == ("a = b", "`arr delay` = 0")

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("log(y)", r"no coefficient 'log\(y\)': did you mean 'log\(x\)'"),
            ("C(cut)[T.Fair] = a", "did you mean 'C.cut..T.Good.'"),
            ("`ar delay`", "no coefficient 'ar delay': did you mean 'arr delay'"),
            ("a:x", "no coefficient 'a:x': did you mean 'a:b'"),
            ("ab", "no coefficient 'ab'"),
            ("2a", "no coefficient '2a'"),
            ("a(b)", r"no coefficient 'a\(b\)'"),
            ("a.b", "no coefficient 'a.b'"),
            ("1e", "no coefficient '1e'"),
            ("0x1 = a", "no coefficient '0x1'"),
            ("__import__('os').system('ls') = 1", "no coefficient '__import__"),
            ("a = b = x", "more than one '=': write 'a = b, b = c'"),
            ("(a = b) + x", r"'\(a = b\) \+ x' cannot be read"),
            ("(a, b)", "cannot be read"),
            ("a b", "cannot be read"),
            ("a*b", "restrictions are linear"),
            ("a/b", "restrictions are linear"),
            ("1/a", "restrictions are linear"),
            ("a/0", "restrictions are linear"),
            ("a =", "cannot be read"),
            ("= 1", "cannot be read"),
            ("()", "cannot be read"),
            ("", "is empty"),
            (" ", "is empty"),
            ("a,,b", "is empty"),
            ("a,", "is empty"),
            ("1 = 1", "restricts no coefficient"),
            ("a = a", "restricts no coefficient"),
            ("a - a = 1", "restricts no coefficient"),
            ("a = 1e999", "beyond the largest number"),
            ("1e308*10*a = 1", "beyond the largest one"),
            ("a ** 2", "restrictions are linear"),
            ("a > 1", "'>' has no place"),
            ("a ~ b", "'~' has no place"),
            ("{a}", "'{' has no place"),
            ("a = 'b'", "has no place"),
            ("`a", "has no place"),
            ("a" * 100_001, "100,001 characters"),
        ],
    )
    def test_what_cannot_be_read_is_refused_in_a_sentence(self, text, reason):
        with pytest.raises(GentleError, match=reason):
            restrictions(text, ODD)

    def test_without_coefficients_there_is_nothing_to_restrict(self):
        with pytest.raises(GentleError, match="no coefficient 'a': there are none"):
            restrictions("a", ())

    @given(st.text(max_size=40))
    @example("\x00a")
    @example("a = \ud800")
    @example("a = ٣")
    def test_any_text_is_read_or_refused(self, text):
        try_to_read(text)

    @given(
        st.lists(
            st.sampled_from(
                [*ODD, *"+-*/()=,` .[]{}'\"\\~%1e", "1e5", "1e-400", "9" * 400, "==", "b1"]
            ),
            max_size=14,
        )
    )
    def test_any_mixture_of_words_is_read_or_refused(self, words):
        try_to_read("".join(words))

    @given(st.data())
    def test_sums_are_read_as_arithmetic_has_it(self, data):
        text, exact = data.draw(affine)
        matrix, values, _ = restrictions(f"{text} + 1000*a = 1", ("a", "b"))
        want = exact + Affine(0, 1000, 0)
        close(matrix[0], [float(want.a), float(want.b)])
        close(values, [float(1 - want.one)])


def try_to_read(text):
    try:
        matrix, values, _ = restrictions(text, ODD)
    except GentleError:
        return
    assert np.isfinite(matrix).all()
    assert np.isfinite(values).all()
    assert matrix.any(axis=1).all()


class Affine:
    """one + a*A + b*B in fractions: what a text means."""

    def __init__(self, one, a=0, b=0):
        self.one, self.a, self.b = one, a, b

    def __add__(self, other):
        return Affine(self.one + other.one, self.a + other.a, self.b + other.b)

    def times(self, factor):
        return Affine(self.one * factor, self.a * factor, self.b * factor)


def sums(inner):
    """Sums, differences, multiples and parts of what can be written already."""
    numbers = st.integers(1, 9)
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(lambda it: (f"{it[0][0]} + {it[1][0]}", it[0][1] + it[1][1])),
        pairs.map(lambda it: (f"{it[0][0]}-({it[1][0]})", it[0][1] + it[1][1].times(-1))),
        st.tuples(numbers, inner).map(lambda it: (f"{it[0]}*({it[1][0]})", it[1][1].times(it[0]))),
        st.tuples(numbers, inner).map(
            lambda it: (f"({it[1][0]})/-{it[0]}", it[1][1].times(-Fraction(1, it[0])))
        ),
        inner.map(lambda it: (f"-({it[0]})", it[1].times(-1))),
        inner.map(lambda it: (f"- -({it[0]})", it[1])),
    )


affine = st.recursive(
    st.one_of(
        st.sampled_from([("a", Affine(0, 1)), ("b", Affine(0, 0, 1)), ("3*-a", Affine(0, -3))]),
        st.integers(0, 20).map(lambda it: (f"{it}", Affine(Fraction(it)))),
    ),
    sums,
    max_leaves=8,
)
