"""A museum of failures: public reports of other libraries' wrong answers, on their data or data like them.

Each docstring names its report, says what went wrong there and what the same library answers today on the
data of the test: measured with scikit-learn 1.9.1, statsmodels 0.15.0 and torch 2.13.0 on a CPU, and not
tested. Truth comes from rational arithmetic on the very floats that are fitted, so it has no rounding.
"""

import contextlib
import math
import pickle
import subprocess
import sys
import warnings
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
import torch
from scipy import sparse, stats
from sklearn.exceptions import DataConversionWarning

import gentle
from gentle import textbook

pytestmark = pytest.mark.filterwarnings("error::gentle.GentleWarning")  # none but the expected

solvers = pytest.mark.parametrize("solver", ["exact", "sgd"])
DESCENT_TOL = 1e-9  # standard errors, so that a descent is held to the same digits


@dataclass(frozen=True)
class Truth:
    """The least-squares answer in rational numbers; only the roots in `se` are rounded."""

    coef: list[Fraction]
    se: list[float]

    def p_values(self, df):
        t = [float(b) / s for b, s in zip(self.coef, self.se, strict=True)]
        return [2 * stats.t.sf(abs(value), df) for value in t]


def whole(column):
    """(integers, unit) with column = integers / unit, exactly: every float is a ratio."""
    ratios = [float(value).as_integer_ratio() for value in column]
    unit = max(below for _, below in ratios)
    return np.array([above * (unit // below) for above, below in ratios], dtype=object), unit


def truth(x, y, *, intercept=True, weights=None):
    """The answer for rows of floats: their cross-products are ratios of integers."""
    columns = [*np.transpose(np.asarray(x, dtype=float)), np.asarray(y, dtype=float)]
    if intercept:
        columns.insert(0, np.ones(len(y)))
    numbers = [whole(column) for column in columns]
    mass, per = (1, 1) if weights is None else whole(weights)
    return solved(
        [[Fraction(int((a * mass) @ b), p * q * per) for b, q in numbers] for a, p in numbers],
        len(y),
    )


def solved(gram, n):
    """The answer from the cross-products of [X y], (q + 1, q + 1), by Gauss and Jordan."""
    q = len(gram) - 1
    rows = [[*map(Fraction, gram[i]), *(Fraction(i == j) for j in range(q))] for i in range(q)]
    for i in range(q):
        pivot = rows[i][i]
        rows[i] = [value / pivot for value in rows[i]]
        for j in range(q):
            if j != i:
                factor = rows[j][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    coef = [row[q] for row in rows]
    rss = gram[q][q] - sum(b * gram[i][q] for i, b in enumerate(coef))
    variance = rss / (n - q) if n > q else Fraction(0)
    return Truth(coef, [math.sqrt(variance * rows[i][q + 1 + i]) for i in range(q)])


def kept(found):
    return [name for name in found.names if name not in found.dropped]


def assert_coefficients(found, exact, *, digits=13, se=1e-10):
    """Each to so many digits, or to so much of its standard error, and within its certificate."""
    for name, b, error, promised in zip(
        kept(found), exact.coef, exact.se, found.certificate.distance, strict=True
    ):
        apart = float(abs(Fraction(found.coef[name]) - b))
        assert apart <= 10.0**-digits * float(abs(b)) + se * error, (name, apart)
        assert apart <= promised, (name, apart, promised)


def assert_errors(found, exact):
    assert [found.std_errors[name] for name in kept(found)] == pytest.approx(exact.se, rel=1e-9)


def assert_left_out(found, relations):
    """What was left out is named with what it is made of, and has no number anywhere."""
    said = {
        name: what.split(", to ")[0] for name, what in found.dropped.items()
    }  # how nearly aside
    assert said == relations
    summary = " ".join(found.summary().split())
    for name, relation in relations.items():
        assert math.isnan(found.coef[name])
        assert math.isnan(found.std_errors[name])
        assert math.isnan(found.p_values[name])
        assert f"left out: {name}, which is {relation}" in summary


# scikit-learn


@pytest.mark.parametrize("unit", [1, 2**20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_rows_in_single_precision(unit, dtype):
    """scikit-learn #33032 (2026): LinearRegression is wrong on float32 beyond 500,000 rows.

    Its cut for singular values grew with the number of rows, so that a good column fell below it. Data
    reconstructed: the stored copy of the report breaks off before its code. In 1.9.1 the cut is 1e-6 of
    the largest singular value, whatever the rows. That is right for these columns as they are; with the
    second counted in larger units (2**20) its slope, 7.0 in the first ones, comes out as 3e-17, in float64
    too, and without a warning.
    """
    rng = np.random.default_rng(33032)
    n = 600_000
    a, b = rng.integers(-(2**12), 2**12 + 1, n), rng.integers(-(2**7), 2**7 + 1, n)
    target = a + 7 * b + rng.integers(-100, 101, n)
    columns, units = (np.ones_like(a), a, b, target), (1, 1, unit, 1)
    exact = solved(  # all are integers, so that int64 sums them without rounding
        [
            [Fraction(int(c @ d), p * q) for d, q in zip(columns, units, strict=True)]
            for c, p in zip(columns, units, strict=True)
        ],
        n,
    )
    x = np.column_stack([a, b / unit]).astype(dtype)
    y = target.astype(dtype)
    assert (x[:, 1] * unit == b).all()  # single precision holds these numbers exactly
    assert (y == target).all()
    model = gentle.LinearRegression().fit(x, y)
    assert_coefficients(model.result_, exact)
    assert_errors(model.result_, exact)
    assert float(abs(Fraction(model.coef_[1]) / exact.coef[2] - 1)) <= 1e-13


@solvers
def test_milliseconds(solver):
    """scikit-learn #27777 (2023, data of a comment of 2026): an exact line over millisecond timestamps.

    HuberRegressor stopped at a slope of 1.5e-11, which should be 0.002, and reported success; it does so
    today. Without an outlier its optimum is the least-squares answer. statsmodels gives 1.5e-11 too, and
    calls the design rank-deficient.
    """
    t = np.linspace(1.7e12, 1.7e12 + 20_000, 24)
    y = 0.002 * (t - t[0]) + 5
    found = gentle.fit((t[:, None], y), solver=solver, tol=DESCENT_TOL)
    assert_coefficients(found, truth(t[:, None], y))
    assert found.coef["x1"] == pytest.approx(0.002, rel=1e-13)
    assert not found.dropped
    assert found.verdict.agrees
    np.testing.assert_allclose(found.predict(t[:, None]), y, rtol=0, atol=1e-6)  # of ulp 4.7e-7


def test_a_target_that_does_not_vary():
    """scikit-learn #27777 (2023, its first data): three equal targets, and an error instead of a line.

    HuberRegressor raised that its line search had ended abnormally; here today it gives -9e-12.
    """
    x, y = np.array([[10], [11], [28]]), np.log(np.full(3, 5000.0))
    model = gentle.LinearRegression().fit(x, y, sample_weight=[2, 2, 2])
    assert model.coef_.tolist() == [0.0]
    assert model.intercept_ == y[0]
    with pytest.raises(gentle.GentleError, match="'y' of the arrays has the same value in every"):
        gentle.fit((x, y))


@solvers
def test_a_constant_column_beside_the_constant(solver):
    """scikit-learn #22884 (2022): a column of ones takes half of the intercept.

    SGDRegressor found 5 for each of the two that should make 10, without a word; it does so today (4.995
    and 5.004).
    """
    x = np.random.default_rng(22884).standard_normal(100)
    y = 10 + 7 * x
    both = np.column_stack([np.ones(100), x])
    with pytest.warns(gentle.GentleWarning, match="left out 'ones'.*constant"):
        found = gentle.fit((both, y), names=["ones", "x"], solver=solver, tol=DESCENT_TOL)
    assert_left_out(found, {"ones": "constant"})
    assert_coefficients(found, truth(x[:, None], y), digits=14)
    with pytest.warns(gentle.GentleWarning, match="left out 'x1'.*constant"):
        model = gentle.LinearRegression(solver=solver, tol=DESCENT_TOL).fit(both, y)
    assert model.coef_[0] == 0
    assert [model.intercept_, model.coef_[1]] == pytest.approx([10, 7], rel=1e-14)


@pytest.mark.parametrize("constant", [1.0, 100.1, 1e6 + 0.1])
def test_a_constant_column_under_weights(constant):
    """scikit-learn #19451: not found in the stored copies, and stood in for by its neighbour #19450 (2021).

    There a constant column had a weighted variance that rounding kept from zero, and was scaled by one
    over it. Mended in 1.0. Data as the report describes them: uniform, half of them zero.
    """
    rng = np.random.default_rng(19450)
    x, y, weights = rng.random((200, 5)), rng.random(200), rng.random(200)
    x[x < 0.5] = 0
    x[:, 2] = constant
    with pytest.warns(gentle.GentleWarning, match="left out 'x3'"):
        found = gentle.fit((x, y), weights=weights)
    exact = truth(np.delete(x, 2, axis=1), y, weights=weights)
    assert_left_out(found, {"x3": "constant"})
    assert_coefficients(found, exact)
    assert_errors(found, exact)
    through_zero = gentle.fit(
        (x, y), weights=weights, intercept=False
    )  # the column is the constant
    assert not through_zero.dropped
    assert_coefficients(through_zero, truth(x, y, intercept=False, weights=weights))


@pytest.mark.parametrize("intercept", [True, False])
def test_many_zeros(intercept):
    """scikit-learn #24601 (2022): LinearRegression answers otherwise when its rows are stored as sparse.

    With 14 columns the two differ; today by up to 7e-5 of a coefficient. The data are the report's. A
    sparse matrix must be refused, as it is now, or give this same answer.
    """
    rng = np.random.RandomState(0)
    x = rng.randn(200, 14)
    x[x < 0.1] = 0
    y = rng.rand(200)
    exact = truth(x, y, intercept=intercept)
    found = gentle.fit((x, y), intercept=intercept)
    assert_coefficients(found, exact)
    assert_errors(found, exact)
    with contextlib.suppress(TypeError, ValueError):  # a refusal
        model = gentle.LinearRegression(fit_intercept=intercept).fit(sparse.csr_matrix(x), y)
        assert_coefficients(model.result_, exact)


# statsmodels


def test_the_dummy_trap():
    """statsmodels #3824 (2017): two dummies that sum to the constant, and coefficients all the same.

    OLS took a pseudo-inverse and printed -1.67, 1.2, 0.87 and -2.53 with t statistics. Today it warns
    that the rank is deficient, prints the same and does not say which column it is. The data are the
    report's.
    """
    y = np.array([1, 2, 1, 4, 6, 1, 7, 8, 1, 10])
    time, early = np.arange(1, 11), np.repeat([1, 0], 5)
    x, names = np.column_stack([time, early, 1 - early]), ["time", "early", "late"]
    with pytest.warns(gentle.GentleWarning, match=r"left out 'late'.*late = -1 \* early \+ 1"):
        found = gentle.fit((x, y), names=names)
    exact = truth(x[:, :2], y)
    assert [float(b) for b in exact.coef] == [-4.2, 1.2, 3.4]
    assert_left_out(found, {"late": "-1 * early + 1"})
    assert_coefficients(found, exact)
    assert_errors(found, exact)
    assert found.df_resid == 7
    with pytest.raises(gentle.GentleError, match=r"'late' .* is -1 \* early \+ 1"):
        gentle.fit((x, y), names=names, rank="raise")


def test_two_columns_that_differ_in_one_row():
    """statsmodels #6570 (2020): a p-value of 0 for a column that has nothing to do with the target.

    The reporter took the three columns for independent, but x2 = 2 x1 - 1. Today OLS warns of the rank;
    the p-value is still 0, with a standard error of 0.003 where 1 is true. Its noise has another seed.
    """
    n = 10_000
    x1 = np.repeat([0.0, 1.0], [1, n])
    y = 1 + np.random.default_rng(6570).standard_normal(n + 1)
    x = np.column_stack([x1, 2 * x1 - 1])
    with pytest.warns(gentle.GentleWarning, match=r"left out 'x2'.*x2 = 2 \* x1 - 1"):
        found = gentle.fit((x, y))
    exact = truth(x1[:, None], y)
    assert exact.coef[0] == Fraction(y[0])  # the first row has the constant to itself
    assert_left_out(found, {"x2": "2 * x1 - 1"})
    assert_coefficients(found, exact)
    assert_errors(found, exact)
    assert found.p_values["x1"] == pytest.approx(exact.p_values(n - 1)[1], rel=1e-9)
    assert found.p_values["x1"] > 0.05


@pytest.mark.parametrize(
    ("second", "third", "relation"),
    [
        ("dummy", lambda _, x2: 1 - x2, {"x3": "-1 * x2 + 1"}),
        ("share", lambda _, x2: 1 - x2, {"x3": "-1 * x2 + 1"}),  # to rounding only
        ("share", lambda x1, _: x1, {"x3": "x1"}),
    ],
    ids=["dummies", "shares", "twins"],
)
def test_columns_that_sum_to_one(second, third, relation):
    """statsmodels #8670 (2023): x2 + x3 = 1 gives extreme p-values; with a twin the effect is halved.

    Reconstructed: the report holds pictures and no data. Today OLS warns of the rank; on the dummies of
    this test it gives x2 a p-value of 5e-6 where 0.23 is true, and of two twins half the slope to each.
    """
    rng = np.random.default_rng(8670)
    n = 60
    x1, dummy, share = rng.standard_normal(n), rng.integers(0, 2, n) * 1.0, rng.random(n)
    x2 = dummy if second == "dummy" else share
    y = 1 + x1 + 0.5 * x2 + rng.standard_normal(n)
    with pytest.warns(gentle.GentleWarning, match="left out 'x3'"):
        found = gentle.fit((np.column_stack([x1, x2, third(x1, x2)]), y))
    exact = truth(np.column_stack([x1, x2]), y)
    assert_left_out(found, relation)
    assert_coefficients(found, exact)
    assert_errors(found, exact)
    p_values = [found.p_values[name] for name in kept(found)]
    assert p_values == pytest.approx(exact.p_values(n - 3), rel=1e-8)


@pytest.mark.parametrize("formula", [None, "y ~ x", "y ~ x + C(group)"])
def test_the_size_of_a_saved_fit(formula):
    """statsmodels #7494 (2021): a fit that is saved without its data is as large as the data.

    Of OLS on a million rows, `save(remove_data=True)` kept 16 MB. Mended for arrays (2 kB today); a fit
    by formula still takes 40 MB. The file formats of gentle are to come: this is pickle, Python's own.
    """
    n = 1_000_000
    rng = np.random.default_rng(7494)
    x = np.linspace(0, 10, n)
    frame = pl.DataFrame(
        {"x": x, "y": x + rng.standard_normal(n), "group": np.array(["a", "b"])[np.arange(n) % 2]}
    )

    def saved(rows):
        if formula is None:
            data = (rows["x"].to_numpy()[:, None], rows["y"].to_numpy())
            return gentle.fit(data, intercept=False)
        return gentle.fit(rows, formula)

    large, small = saved(frame), saved(frame[:100])
    file = pickle.dumps(large)
    assert len(file) < 10_000
    assert len(file) - len(pickle.dumps(small)) < 500
    restored = pickle.loads(file)
    assert restored.coef == large.coef
    assert restored.std_errors == large.std_errors
    new = frame[-5:] if formula else x[-5:, None]
    assert restored.predict(new).tolist() == large.predict(new).tolist()


@pytest.mark.parametrize("step", range(6))
def test_a_line_far_from_zero(step):
    """statsmodels #9258 (2024), beside those asked for: OLS bends lines towards zero for large x.

    From the fourth line on the slope is -1.7e-14 and OLS says 2.8e-15; today it does, and adds that the
    design is rank-deficient, which it is not. The data are the report's.
    """
    x, y = np.linspace(4e13, 10e13, 10) + step * 3e13, np.linspace(1, 0, 10)
    found = gentle.fit((x[:, None], y))
    assert_coefficients(found, truth(x[:, None], y))
    assert found.coef["x1"] == pytest.approx(-1 / 6e13, rel=1e-13)


# linearmodels


def test_ten_million_rows():
    """linearmodels #636 (2025): PanelOLS gives wrong coefficients beyond five million rows.

    Its standard errors were right. Not installed here, so not measured today. Data drawn as the report
    describes them, with another seed: x is 0 or 1, the noise a hundred times its effect, 10 million rows.
    The truth is two means, each from a sum that is rounded once (Shewchuk 1997).
    """
    n = 10_000_000
    rng = np.random.default_rng(636)
    x = rng.integers(0, 2, n, dtype=np.int8)
    y = rng.standard_normal(n)
    y *= 100
    y += x
    groups = [y[x == 0], y[x == 1]]
    low, high = (math.fsum(group) / len(group) for group in groups)
    rss = sum(len(group) * group.var() for group in groups)
    parts = [1 / len(group) for group in groups]
    sigma = math.sqrt(rss / (n - 2))
    errors = [sigma * math.sqrt(parts[0]), sigma * math.sqrt(sum(parts))]
    for found in (
        gentle.fit((x[:, None], y)),
        gentle.fit((np.column_stack([np.ones_like(x), x]), y), intercept=False),
    ):
        assert found.values == pytest.approx([low, high - low], rel=1e-10)
        assert list(found.std_errors.values()) == pytest.approx(errors, rel=1e-10)
        assert found.certificate.in_se < 1e-9


PEAKS = """
import numpy as np, gentle

def peak():
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

n = 4_000_000
x, y = np.empty((n, 4)), np.empty(n)
rng = np.random.default_rng(636)
rng.standard_normal(out=x)
rng.standard_normal(out=y)
for rows in (n // 4, n):
    found = gentle.fit((x[:rows], y[:rows]))
    assert found.n_rows == rows
    print(peak())
"""


def test_memory_does_not_grow_with_the_rows():
    """linearmodels #636 again, for what ten million rows cost: no copy of them is made.

    A fold over batches that are made on the fly has no door yet, so that the rows stand in memory here,
    four million of them. Fitting all after a quarter must not raise the peak by what one more column of
    the further rows would take, 24 MB, where they themselves are 120 MB.
    """
    ended = subprocess.run(
        [sys.executable, "-c", PEAKS], capture_output=True, text=True, timeout=120, check=True
    )
    quarter, whole = map(int, ended.stdout.split())  # KiB
    assert whole - quarter < 23_000


# torch


@pytest.mark.parametrize("target", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_three_columns_of_rank_two(target, dtype):
    """pytorch #88101 (2022) and #180157 (2026): lstsq says one thing on the GPU, another on the CPU.

    Of a matrix of rank two, and in silence: of the many solutions each driver takes its own. Today the CPU
    gives the shortest and says the rank; with the driver `gels`, the GPU's only one, it gives 1.81, -1.61
    and 0.81 for the first column, where 1, 0 and 0 is another. No GPU was measured. The data are the
    reports': A X = A.
    """
    a = torch.arange(1, 10, dtype=dtype).reshape(3, 3)
    with pytest.warns(gentle.GentleWarning, match=r"left out 'x3'.*x3 = -1 \* x1 \+ 2 \* x2"):
        found = gentle.fit((a, a[:, target]), intercept=False)
    assert_left_out(found, {"x3": "-1 * x1 + 2 * x2"})
    expected = [[1, 0], [0, 1], [-1, 2]][target]
    assert [found.coef["x1"], found.coef["x2"]] == pytest.approx(expected, rel=1e-13, abs=1e-13)
    np.testing.assert_allclose(found.predict(a), a[:, target].numpy(), rtol=1e-13)
    assert found.df_resid == 1


def test_three_columns_of_rank_two_beside_a_constant():
    """pytorch #88101 and #180157 again: with a constant there is one column to keep."""
    a = np.arange(1.0, 10).reshape(3, 3)
    with pytest.warns(gentle.GentleWarning, match="left out 'x2' and 'x3'"):
        found = gentle.fit((a, a[:, 2]))
    assert_left_out(found, {"x2": "x1 + 1", "x3": "x1 + 2"})
    assert [found.coef["Intercept"], found.coef["x1"]] == pytest.approx([2, 1], rel=1e-13)


def shapes():
    """The data of pytorch #16045, with a seed: X (100, 2) and y (100,), float32."""
    draw = torch.Generator().manual_seed(16045)
    x = torch.randn(100, 2, generator=draw)
    return x, 10 + 9 * x[:, 0] - 2 * x[:, 1] + torch.randn(100, generator=draw)


def test_a_target_that_is_a_column():
    """pytorch #16045 (2019): a target of shape (n,) against predictions of shape (n, 1).

    The difference is (n, n), and the loop finds the mean of the target with slopes of zero. Today MSELoss
    warns, and finds the same. Drawn as in the report.
    """
    x, y = shapes()
    exact = truth(x, y)
    found = gentle.fit((x, y))
    assert_coefficients(found, exact)
    assert_errors(found, exact)
    assert gentle.fit((x, y[:, None])).values.tolist() == found.values.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConversionWarning)  # scikit-learn may say what it does
        model = gentle.LinearRegression().fit(x.numpy(), y[:, None].numpy())
    assert np.ravel(model.coef_).tolist() == found.values[1:].tolist()
    assert np.ravel(model.intercept_).tolist() == found.values[:1].tolist()

    data = torch.cat([x, torch.ones(100, 1)], dim=1).double()
    for descend in (textbook.descend, textbook.sgd):
        with pytest.raises(gentle.GentleError, match=r"target \(n,\).*\(100, 1\).*\(n, n\)"):
            descend(data, y[:, None].double())
    parameter, _ = textbook.descend(data, y.double(), learning_rate=0.1, iterations=1000)
    slopes_first = [*exact.coef[1:], exact.coef[0]]
    assert parameter.tolist() == pytest.approx([float(b) for b in slopes_first], rel=1e-6)


def test_a_loss_of_two_shapes():
    """pytorch #16045 (2019) to the letter: the loss itself should refuse a (n,) beside a (n, 1)."""
    _, y = shapes()
    for predictions, target in ((y, y[:, None]), (y[:, None], y)):
        with pytest.raises(gentle.GentleError, match="shape"):
            textbook.mean_squared_error(predictions, target)


def of_the_thread():
    """The 1000 rows of three columns that the reporter of pytorch #109104 added to it."""
    rng = np.random.RandomState(0)
    x = rng.rand(1000, 3)
    return x, x @ np.array([2.5, 3.7, -1.2]) + rng.randn(1000)


def of_sixteen_columns():
    """As many columns as the report's file: alike, in units over six decades, and off zero."""
    rng = np.random.default_rng(109104)
    units = 10.0 ** np.linspace(-3, 3, 16)
    x = (1 + rng.standard_normal((500, 1)) + 0.3 * rng.standard_normal((500, 16))) * units
    return x, x @ (rng.standard_normal(16) / units) + rng.standard_normal(500)


@pytest.mark.parametrize("data", [of_the_thread, of_sixteen_columns])
def test_a_descent_that_reaches_least_squares(data):
    """pytorch #109104 (2023): SGD never comes near the coefficients of ordinary least squares.

    The report's file is not stored: sixteen columns are reconstructed, and the three that its thread adds
    are exactly as there. Today torch.optim.SGD at a rate of 0.01 with minibatches of 64 ends 2.4 standard
    errors off the three after 100 epochs. On the sixteen it ends in nan; at a third of the largest stable
    rate (1.4e-7) it is 14 standard errors off after 1000 epochs.
    """
    x, y = data()
    exact = truth(x, y, intercept=False)
    if data is of_the_thread:  # what the thread says that statsmodels found
        theirs = [2.370151652709953, 3.644314533388675, -1.1861498969992876]
        assert [float(b) for b in exact.coef] == pytest.approx(theirs, rel=1e-13)
    found = gentle.fit((x, y), intercept=False, solver="sgd")
    assert found.descent == found.coef
    assert found.verdict.agrees
    assert found.certificate.in_se <= 1e-3
    assert_coefficients(found, exact, digits=16, se=1e-3)
    finer = gentle.fit((x, y), intercept=False, solver="sgd", tol=DESCENT_TOL)
    assert_coefficients(finer, exact, digits=16, se=DESCENT_TOL)
    assert_errors(finer, exact)
    assert finer.trace[-1].passes <= 10


def test_one_rate_diverges_and_the_next_crawls():
    """discuss.pytorch.org 208572: two unknowns, and no learning rate that serves.

    The sum of squares falls from 100 to 46 in a million steps at a rate of 1e-5, to 29 at 1.603e-5, and at
    1.604e-5 it diverges. textbook.descend takes the mean of two squares, so its rates are twice those. The
    data are the topic's, in double precision.
    """
    a = torch.tensor([[-249.69, -4.1511], [-4.1511, -0.20755]], dtype=torch.float64)
    b = torch.tensor([0.0, 10.0], dtype=torch.float64)
    assert 2 * 1.603e-5 < textbook.largest_stable_rate(a) < 2 * 1.604e-5
    with pytest.raises(gentle.GentleError, match=r"largest stable one for this data is 3\.206e-05"):
        textbook.descend(a, b, learning_rate=2 * 1.604e-5)
    _, trace = textbook.descend(a, b, learning_rate=2 * 1.603e-5, iterations=2000)
    assert 99 < 2 * trace[-1].loss < 100  # it crawls

    exact = truth(a, b, intercept=False)
    for options in ({}, {"solver": "sgd"}, {"solver": "sgd", "tol": DESCENT_TOL}):
        found = gentle.fit((a, b), intercept=False, **options)
        assert_coefficients(found, exact, digits=10)
        assert found.verdict.agrees
        assert not found.trace or found.trace[-1].passes <= 10
