"""Laws of sparse X and of many columns: the numbers are those of the dense rows, and X stays sparse."""

import pickle
import re

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import lsqr

import gentle
from gentle import GentleError
from gentle.descending import EXACT_COLUMNS

N, P = 2_000, 12


def made(seed=0, n=N, p=P, density=0.2):
    """(X, y) with columns of unequal units, most entries zero."""
    rng = np.random.default_rng(seed)
    x = sparse.random_array((n, p), density=density, rng=rng, data_sampler=rng.standard_normal)
    x = sparse.csr_array(x) @ sparse.diags_array(10.0 ** rng.uniform(-3, 3, p))
    x = sparse.csr_array(x)
    spread = np.sqrt(np.asarray(x.power(2).mean(axis=0)).ravel()) + 1e-9
    return x, 2 + x @ (rng.normal(size=p) / spread) + rng.normal(size=n)


FORMS = {
    "csr array": lambda x: x,
    "csr matrix": lambda x: sparse.csr_matrix(x),
    "csc": lambda x: x.tocsc(),
    "coo, each entry in two halves": lambda x: halves(x),
    "long indices": lambda x: sparse.csr_array(
        (x.data, x.indices.astype(np.int64), x.indptr.astype(np.int64)), shape=x.shape
    ),
    "torch csr": lambda x: torch_rows(x),
    "torch coo": lambda x: torch_rows(x).to_sparse_coo(),
    "torch csc": lambda x: torch_rows(x).to_sparse_csc(),
}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))


def halves(x):
    x = x.tocoo()
    again = (np.tile(x.row, 2), np.tile(x.col, 2))
    return sparse.coo_array((np.tile(x.data / 2, 2), again), shape=x.shape)


def torch_rows(x):
    parts = (torch.from_numpy(part) for part in (x.indptr, x.indices, x.data))
    return torch.sparse_csr_tensor(*parts, size=x.shape)


@forms
@pytest.mark.parametrize("solver", ["exact", "sgd", "lbfgs", "cg", "gd"])
def test_every_form_gives_the_answer_of_dense_rows(form, solver):
    x, y = made()
    dense = gentle.fit((x.toarray(), y))
    found = gentle.fit((form(x), y), solver=solver)
    np.testing.assert_allclose(found.exact_values, dense.values, rtol=1e-11)
    np.testing.assert_allclose(
        list(found.std_errors.values()), list(dense.std_errors.values()), rtol=1e-11
    )
    assert found.verdict.agrees
    apart = np.abs(found.values - dense.values) / dense.certificate.yardstick
    assert apart.max() <= 1e-3
    np.testing.assert_allclose(found.predict(form(x)), found.predict(x.toarray()), rtol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"l2": 0.3},
        {"intercept": False},
        {"weights": "w"},
        {"frequencies": "f"},
        {"errors": "HC3"},
        {"test": 0.25},
        {"digits": 14},
    ],
    ids=str,
)
@pytest.mark.parametrize("solver", ["exact", "sgd"])
def test_options_mean_what_they_mean_for_dense_rows(options, solver):
    x, y = made(1)
    rng = np.random.default_rng(2)
    columns = {"w": rng.uniform(0, 2, N), "f": rng.integers(0, 3, N).astype(float)}
    options = {
        name: columns.get(value, value) if isinstance(value, str) else value
        for name, value in options.items()
    }
    dense = gentle.fit((x.toarray(), y), **options)
    found = gentle.fit((x, y), solver=solver, **options)
    np.testing.assert_allclose(found.exact_values, dense.values, rtol=1e-10)
    np.testing.assert_allclose(
        found.vcov, dense.vcov, rtol=1e-8, atol=1e-8 * np.abs(dense.vcov).max()
    )
    assert found.verdict.agrees


def test_far_entries_do_not_cancel_when_centred():
    """A column of ones and zeros times 1e8 beside a count in millions."""
    rng = np.random.default_rng(3)
    x = sparse.csr_array(np.where(rng.random((N, 4)) < 0.5, 1e8 + rng.normal(size=(N, 4)), 0.0))
    y = x @ np.array([1e-8, 2e-8, -1e-8, 0]) + rng.normal(size=N)
    found = gentle.fit((x, y), solver="sgd")
    assert found.verdict.agrees


def test_x_is_left_as_it_was():
    x, y = made(4)
    before = x.copy()
    for solver in ("exact", "sgd"):
        gentle.fit((x, y), solver=solver)
    assert (x != before).nnz == 0
    twice = halves(x).tocsr()
    twice.data[:] = twice.data
    nnz = twice.nnz
    gentle.fit((twice, y))
    assert twice.nnz == nnz


def test_what_is_missing_or_infinite_is_found_in_sparse_rows():
    x, y = made(5)
    x.data[[7, 100]] = np.nan
    found = gentle.fit((x, y), solver="sgd")
    assert found.tally.n_read - found.tally.n_used == len(
        set(np.searchsorted(x.indptr, [7, 100], side="right"))
    )
    assert found.verdict.agrees
    x.data[50] = np.inf
    row = int(np.searchsorted(x.indptr, 50, side="right"))
    with pytest.raises(GentleError, match=rf"is infinite in row {row:,}:"):
        gentle.fit((x, y))


def test_the_estimator_takes_sparse_rows(wide):
    x, y = made(10)
    for solver in ("exact", "sgd"):
        model = gentle.LinearRegression(solver=solver).fit(x, y)
        dense = gentle.LinearRegression(solver=solver).fit(x.toarray(), y)
        np.testing.assert_allclose(model.coef_, dense.coef_, rtol=1e-3)
        np.testing.assert_allclose(model.predict(x), x @ model.coef_ + model.intercept_)
    more = gentle.LinearRegression().partial_fit(x[:900], y[:900]).partial_fit(x[900:], y[900:])
    np.testing.assert_allclose(more.coef_, gentle.LinearRegression().fit(x, y).coef_, rtol=1e-9)
    alone = gentle.LinearRegression(tol=0.1).fit(*wide)
    assert alone.result_.verdict.agrees
    np.testing.assert_allclose(alone.predict(wide[0]), alone.result_.predict(wide[0]))
    with pytest.raises(GentleError, match="keeps no sums"):
        alone.partial_fit(*wide)


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize(
    ("part", "place"), [("indices", 10**6), ("indices", -1), ("indptr", 10**6)]
)
def test_places_outside_of_the_matrix_are_refused(form, part, place):
    x, y = made(7)
    damaged = form(x)
    getattr(damaged, part)[1] = place
    with pytest.raises(GentleError, match="damaged"):
        gentle.fit((damaged, y), solver="sgd")


@pytest.mark.parametrize("solver", ["exact", "sgd", "cg"])
def test_no_rows_are_refused(solver):
    x, y = made(7)
    with pytest.raises(GentleError, match="no row of the arrays is left"):
        gentle.fit((x[:0], y[:0]), solver=solver)


def test_a_sparse_target_is_refused():
    x, y = made(6)
    with pytest.raises(GentleError, match="X may be sparse, and nothing else"):
        gentle.fit((x, sparse.csr_array(y[:, None])))


# --- more columns than an exact answer can be made for --------------------------------------------

WIDE = EXACT_COLUMNS + 900


@pytest.fixture(scope="module")
def wide():
    return made(7, n=12_000, p=WIDE, density=0.004)


@pytest.fixture(scope="module")
def minimiser(wide):
    """By LSQR on columns of one length, to rounding."""
    x, y = wide
    size = np.sqrt(np.asarray(x.power(2).sum(axis=0)).ravel())
    a = sparse.hstack([np.ones((x.shape[0], 1)), x @ sparse.diags_array(1 / size)]).tocsr()
    found = lsqr(a, y, atol=1e-15, btol=1e-15, iter_lim=3_000)[0]
    return np.concatenate([found[:1], found[1:] / size])


@pytest.mark.parametrize("solver", ["auto", "sgd", "lbfgs", "cg"])
def test_many_columns_are_descended_on_to_the_tolerance(wide, minimiser, solver):
    x, y = wide
    found = gentle.fit((x, y), solver=solver, tol=1e-3)
    assert found.verdict.agrees
    assert "as the gradient there and the curvature of a sample say" in str(found.verdict)
    assert found.certificate.estimated
    sigma = np.sqrt(found.rss / (len(y) - WIDE - 1))
    centred = np.asarray(x.power(2).sum(axis=0)).ravel() - x.mean(axis=0) ** 2 * len(y)
    least_se = sigma / np.sqrt(np.concatenate([[len(y)], centred]))  # a lower bound on it
    assert (np.abs(found.values - minimiser) / least_se).max() <= 3e-3
    np.testing.assert_allclose(found.predict(x), x @ found.slopes + found.intercept)
    assert found.r2 == pytest.approx(1 - ((y - found.predict(x)) ** 2).sum() / found.tss, rel=1e-9)


def test_a_descent_alone_shows_its_largest_coefficients(wide):
    found = gentle.fit(wide, tol=0.1, test=0.1)
    shown = found.summary()
    assert "by descent alone" in shown
    assert "\nIntercept " in shown
    assert "held out" in shown
    assert f"and {WIDE + 1 - 20:,} whose columns move it less" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert found.to_polars().height == WIDE + 1
    assert found.plot.descent().axes
    with pytest.raises(GentleError, match="no standard errors to draw"):
        found.plot.coefficients()
    with pytest.raises(GentleError, match=r"no standard errors, which need .* up to 4,096 columns"):
        _ = found.std_errors
    with pytest.raises(GentleError, match=r"no confidence intervals, which need"):
        found.conf_int(0.9)


def test_a_descent_alone_is_kept_in_a_pickle_and_is_a_start(wide):
    found = gentle.fit(wide, solver="sgd", tol=0.1)
    assert pickle.loads(pickle.dumps(found)).coef == found.coef
    again = gentle.fit(wide, solver="sgd", tol=0.1, start=found)
    assert again.verdict.agrees
    apart = np.abs(again.values - found.values)[1:] * wide[0].toarray().std(axis=0)
    assert (
        apart.max() <= 0.2 * np.sqrt(found.rss / found.n_rows**2) * 2
    )  # tolerances, in least errors


@pytest.mark.filterwarnings("error")
def test_a_descent_alone_is_scored_without_a_warning(wide):
    found = gentle.fit(wide, tol=0.1, test=0.1)
    assert not found.held_out.coef.flags.writeable


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"solver": "gd"}, "the rule 'gd' takes its steps from it: take 'sgd', 'lbfgs' or 'cg'"),
        ({"errors": "HC1"}, "errors, digits, rank, rank_tol and method ask for one"),
        ({"digits": 12}, "errors, digits, rank, rank_tol and method ask for one"),
        ({"rank": "raise"}, "errors, digits, rank, rank_tol and method ask for one"),
        ({"method": "qr"}, "errors, digits, rank, rank_tol and method ask for one"),
    ],
    ids=str,
)
def test_what_needs_an_exact_answer_is_refused_beyond_its_reach(wide, options, what):
    with pytest.raises(GentleError, match=re.escape(what)):
        gentle.fit(wide, **options)


def test_fifty_thousand_columns_run_dense_and_sparse():
    rng = np.random.default_rng(8)
    dense = rng.normal(size=(400, 50_000)) * 10.0 ** rng.uniform(-3, 3, 50_000)
    y = rng.normal(size=400)
    found = gentle.fit((dense, y), l2=1.0, max_passes=10)
    assert np.isfinite(found.values).all()
    x, y = made(9, n=200_000, p=50_000, density=2e-4)
    found = gentle.fit((x, y), tol=0.01)
    assert found.verdict.agrees
