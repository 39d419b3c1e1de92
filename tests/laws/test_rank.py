"""Laws of the rank rule: which columns are identified depends on the rounding of their values alone.

Not on their order, and not on the source, the solver or the way in which a fit was made.
"""

import itertools
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import gentle
from gentle import GentleError, LinearRegression, RankWarning

N = 240


def noise(rng, size=N):
    return rng.normal(size=size)


def seconds(rng):
    """Start, end and duration of events in seconds since 1970, to six decimals."""
    start = np.round(1.7e9 + rng.uniform(0, 3e7, N), 6)
    end = np.round(start + rng.exponential(300, N), 6)
    return {"start": start, "end": end, "duration": np.round(end - start, 6)}


def coordinates(rng):
    """Two coordinates in millimetres, and their difference."""
    left = 5e8 + rng.normal(0, 1e4, N)
    right = left + rng.normal(0, 1e-2, N)
    return {"left": left, "right": right, "width": right - left}


def temperatures(rng):
    celsius = rng.normal(20, 8, N).astype(np.float32)
    return {"c": celsius, "f": np.float32(1.8) * celsius + np.float32(32)}


def sums(rng):
    one, two = (rng.normal(3, 1, N).astype(np.float32) for _ in range(2))
    return {"one": one, "two": two, "sum": one + two}


def tenths(rng):
    one = rng.normal(3, 1, N).astype(np.float32)
    return {"one": one, "tenth": np.float32(0.1) * one}


def scores(rng):
    """A weighted mean of six float32 columns, by products in float32."""
    parts = rng.normal(50, 10, (N, 6)).astype(np.float32)
    weights = rng.dirichlet(np.ones(6)).astype(np.float32)
    return {f"p{at}": part for at, part in enumerate(parts.T)} | {"score": parts @ weights}


def halves(rng):
    one = rng.normal(3, 1, N).astype(np.float16)
    return {"one": one, "double": (np.float16(1.7) * one).astype(np.float16)}


def digits(values, count=6):
    return np.array([float(f"{value:.{count}g}") for value in values])


def thirds(rng):
    """x and x / 3, both with six significant digits."""
    one = digits(100 * noise(rng))
    return {"one": one, "third": digits(one / 3)}


def shares(rng):
    """Three shares of 100 written with four decimals."""
    parts = 100 * rng.dirichlet(np.ones(3), N).T
    return {name: np.round(part, 4) for name, part in zip("abc", parts, strict=True)}


def metres(rng):
    """Feet and metres with two decimals."""
    feet = rng.uniform(100, 900, N)
    return {"feet": np.round(feet, 2), "metres": np.round(0.3048 * feet, 2)}


def weather(rng):
    """Degrees Celsius and Fahrenheit with two decimals."""
    celsius = np.round(rng.normal(20, 8, N), 2)
    return {"c": celsius, "f": np.round(1.8 * celsius + 32, 2)}


FLOAT64 = (seconds, coordinates)
FLOAT32 = (temperatures, sums, tenths, scores)
DECIMAL = (thirds, shares, metres, weather)
kinds = pytest.mark.parametrize(
    "kind", [*FLOAT64, *FLOAT32, halves, *DECIMAL], ids=lambda kind: kind.__name__
)


def target(columns, rng):
    return sum(
        np.asarray(column, dtype=np.float64) / np.std(column) for column in columns.values()
    ) + noise(rng)


def quiet(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)
        return gentle.fit(*arguments, **options)


def dropped(fit):
    return {name for name, value in fit.exact.items() if np.isnan(value)}


@kinds
@pytest.mark.parametrize("seed", range(3))
def test_which_columns_are_identified_does_not_depend_on_their_order(kind, seed):
    """In every order the last column of the relation is dropped, and the fit is the same."""
    rng = np.random.default_rng(seed)
    columns = kind(rng)
    columns["other"] = noise(rng)
    y = target(columns, rng)
    orders = list(itertools.permutations(columns))
    residuals = []
    for order in [orders[at] for at in rng.permutation(len(orders))[:24]]:
        found = quiet(pl.DataFrame({name: columns[name] for name in order} | {"y": y}), target="y")
        last = [name for name in order if name != "other"][-1]
        assert dropped(found) == {last}, order
        residuals.append(found.rss)
    np.testing.assert_allclose(residuals, residuals[0], rtol=1e-3)


@kinds
def test_two_relations_drop_two_columns_in_any_order(kind):
    rng = np.random.default_rng(5)
    columns = {f"{name}{at}": values for at in range(2) for name, values in kind(rng).items()}
    y = target(columns, rng)
    for _ in range(6):
        order = rng.permutation(list(columns)).tolist()
        found = quiet(pl.DataFrame({name: columns[name] for name in order} | {"y": y}), target="y")
        last = {[name for name in order if name.endswith(str(at))][-1] for at in range(2)}
        assert dropped(found) == last, order


def doors(columns, y, folder):
    """The same columns from every source whose types are those of the columns."""
    frame = pl.DataFrame({**columns, "y": y})
    matrix = np.column_stack(list(columns.values()))
    parquet, arrow = folder / "t.parquet", folder / "t.arrow"
    frame.write_parquet(parquet)
    frame.write_ipc(arrow)
    halves = [frame[: N // 2], frame[N // 2 :]]
    return {
        "array": ((matrix, y), {"names": list(columns)}),
        "tensor": ((torch.from_numpy(matrix), y), {"names": list(columns)}),
        "polars": (frame, {"target": "y"}),
        "lazy": (frame.lazy(), {"target": "y"}),
        "pandas": (pd.DataFrame({**columns, "y": y}), {"target": "y"}),
        "arrow table": (pa.table({**columns, "y": y}), {"target": "y"}),
        "mapping": ({**columns, "y": y}, {"target": "y"}),
        "parquet": (parquet, {"target": "y"}),
        "arrow": (arrow, {"target": "y"}),
        "formula": (frame, {"formula": "y ~ " + " + ".join(columns)}),
        "batches": (lambda: iter(halves), {"target": "y"}),
        "once": (iter(halves), {"target": "y"}),
        "parts": (parquet, {"target": "y", "engine": "threads", "parts": 3}),
        "qr": (frame, {"target": "y", "method": "qr"}),
        "descent": (frame, {"target": "y", "solver": "sgd"}),
        "weights": (frame, {"target": "y", "weights": np.linspace(1, 2, N)}),
    }


@pytest.mark.parametrize("kind", FLOAT32, ids=lambda it: it.__name__)
def test_relations_of_float32_are_seen_from_every_source(kind, tmp_path):
    rng = np.random.default_rng(1)
    columns = kind(rng)
    y = target(columns, rng)
    last = list(columns)[-1]
    for door, (data, options) in doors(columns, y, tmp_path).items():
        with pytest.warns(RankWarning, match=f"left out '{last}'"):
            found = gentle.fit(data, **options)
        assert dropped(found) == {last}, door
        with pytest.raises(GentleError, match=f"'{last}'"):
            gentle.fit(iter([pl.DataFrame({**columns, "y": y})]), target="y", rank="raise")
    matrix = np.column_stack(list(columns.values()))
    mixed = pd.DataFrame({**columns, "other": noise(rng)})
    for x in (matrix, mixed, pl.DataFrame(mixed)):
        with pytest.warns(RankWarning):
            found = LinearRegression().fit(x, y)
        assert found.coef_[len(columns) - 1] == 0
        with pytest.raises(GentleError, match="told"):
            LinearRegression(rank="raise").fit(x, y)


@pytest.mark.parametrize("kind", FLOAT32, ids=lambda it: it.__name__)
def test_relations_of_float32_are_seen_in_joined_and_loaded_fits(kind, tmp_path):
    rng = np.random.default_rng(2)
    columns = kind(rng)
    y = target(columns, rng)
    frame = pl.DataFrame({**columns, "y": y})
    last = list(columns)[-1]
    one, two = (quiet(part, target="y") for part in (frame[: N // 2], frame[N // 2 :]))
    one.save(tmp_path / "one.gentle")
    loaded = gentle.load(tmp_path / "one.gentle")
    with pytest.warns(RankWarning):
        joined = [one + two, two + one, loaded + two]
    assert [dropped(it) for it in joined] == [{last}] * 3
    with pytest.warns(RankWarning):
        grown = (
            LinearRegression().fit(frame[:100, :-1], y[:100]).partial_fit(frame[100:, :-1], y[100:])
        )
    assert grown.coef_[len(columns) - 1] == 0


@pytest.mark.parametrize("kind", DECIMAL, ids=lambda it: it.__name__)
@pytest.mark.parametrize("parts", [1, 3])
def test_relations_of_decimals_are_seen_from_every_source(kind, parts, tmp_path):
    rng = np.random.default_rng(1)
    columns = kind(rng)
    y = target(columns, rng)
    last = list(columns)[-1]
    frame = pl.DataFrame({**columns, "y": y})
    frame.write_csv(tmp_path / "t.csv")
    frame.write_ndjson(tmp_path / "t.ndjson")
    frame.write_parquet(tmp_path / "t.parquet")
    engine = {"parts": parts, "engine": "threads"}
    for file in ("t.csv", "t.ndjson", "t.parquet"):
        assert dropped(quiet(tmp_path / file, target="y", **engine)) == {last}, file
    assert dropped(quiet((np.column_stack(list(columns.values())), y), names=list(columns))) == {
        last
    }
    with pytest.raises(GentleError, match=f"'{last}'"):
        gentle.fit(frame, target="y", rank="raise")
    assert not dropped(gentle.fit(frame, target="y", rank_tol=1e-9))


def kept_cases(rng):
    """Columns that are near to others, and data all the same."""
    one = rng.normal(3, 1, N).astype(np.float32)
    near = (one * (1 + 1e-5 * noise(rng))).astype(np.float32)
    yield "float32 that differ by 1e-5", {"one": one, "near": near}
    celsius = np.round(rng.normal(20, 8, N), 1)
    yield "one decimal", {"c": celsius, "f": np.round(1.8 * celsius + 32, 1)}
    birth = rng.integers(1930, 2005, N)
    yield "whole numbers", {"birth": birth, "age": 2024 - birth - rng.integers(0, 2, N)}
    bid = np.round(rng.normal(60, 3, N), 2)
    ticks = 0.01 * rng.integers(1, 6, N)
    yield "prices a few ticks apart", {"bid": bid, "ask": np.round(bid + ticks, 2)}
    one = noise(rng)
    yield "float64", {"one": one, "near": one + 1e-10 * noise(rng)}
    coarse = rng.integers(0, 3, (2, N)) / 10
    yield "few values", {"a": coarse[0], "b": coarse[1]}
    cents = np.round(rng.uniform(0, 9, (2, 8)), 2)
    yield "few rows", {"a": cents[0], "b": np.round(cents[0] + [0.01, 0, 0, 0, 0, 0, 0, 0], 2)}


@pytest.mark.parametrize("seed", range(4))
def test_columns_that_differ_by_more_than_their_rounding_are_kept(seed):
    rng = np.random.default_rng(seed)
    for what, columns in kept_cases(rng):
        for order in itertools.permutations(columns):
            frame = pl.DataFrame({name: columns[name] for name in order})
            y = noise(rng, frame.height)
            assert not dropped(gentle.fit(frame.with_columns(y=y), target="y")), what


def test_random_tables_of_few_decimals_keep_all_their_columns(proofs):
    """As an oracle by rational arithmetic: no column of random numbers is a combination of others."""
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RankWarning)
        for _ in range(20_000 if proofs else 300):
            p = int(rng.integers(1, 5))
            n = int(rng.integers(p + 2, 40))
            x = np.round(
                rng.normal(0, 10.0 ** rng.integers(-1, 3), (n, p)), int(rng.integers(1, 4))
            )
            if np.linalg.matrix_rank(np.c_[np.ones(n), x]) <= p:
                continue
            gentle.fit((x.astype(rng.choice([np.float64, np.float32])), noise(rng, n)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_in_a_formula_are_those_of_the_values_as_they_are(dtype):
    """A column from which others are computed has no rounding of its own beside them."""
    rng = np.random.default_rng(3)
    year = np.repeat(np.arange(2000, 2024), 10).astype(dtype)
    centred = year.astype(np.float64) - 2011.5
    y = 3 + centred - 0.2 * centred**2 + 0.01 * centred**3 + noise(rng)
    found = gentle.fit({"year": year, "y": y}, "y ~ year + I(year**2) + I(year**3)")
    assert not dropped(found)
    wanted = np.polynomial.Polynomial.fit(centred, y, 3, domain=[-1, 1]).coef
    assert found.exact["I(year ** 3)"] == pytest.approx(wanted[3], rel=1e-6)


def test_powers_of_ten_digits_are_kept():
    """Its x has ten digits and its powers all that float64 has: the powers are those of x as it is."""
    x = np.round(np.random.default_rng(0).uniform(-8.8, -3.1, 82), 9)
    columns = {f"x{power}": x**power for power in range(1, 11)}
    assert not dropped(gentle.fit(pl.DataFrame({**columns, "y": np.sin(x)}), target="y"))


@pytest.mark.parametrize("intercept", [True, False])
def test_the_tolerance_may_be_chosen(intercept, tmp_path):
    rng = np.random.default_rng(4)
    one = noise(rng)
    frame = pl.DataFrame({"one": one, "near": one + 1e-4 * noise(rng), "y": noise(rng)})
    options = {"target": "y", "intercept": intercept}
    assert not dropped(gentle.fit(frame, **options))
    assert not dropped(gentle.fit(frame, **options, rank_tol=1e-5))
    with pytest.warns(RankWarning, match="near"):
        found = gentle.fit(frame, **options, rank_tol=1e-3)
    assert dropped(found) == {"near"}
    with pytest.raises(GentleError, match="near"):
        gentle.fit(frame, **options, rank_tol=1e-3, rank="raise")
    found.save(tmp_path / "m.gentle")
    loaded = gentle.load(tmp_path / "m.gentle")
    assert loaded.choices.rank_tol == 1e-3
    with pytest.warns(RankWarning):
        assert dropped(loaded + found) == {"near"}
    model = LinearRegression(rank_tol=1e-3, fit_intercept=intercept)
    with pytest.warns(RankWarning):
        model.fit(frame[["one", "near"]], frame["y"])
    assert model.coef_[1] == 0
    with pytest.warns(RankWarning):
        contest = gentle.contest(frame, **options, rank_tol=1e-3, solvers=["cg"])
    assert dropped(contest.contestants[0].fit) == {"near"}


def test_a_tolerance_below_the_rounding_of_float32_keeps_its_columns():
    rng = np.random.default_rng(4)
    columns = temperatures(rng)
    frame = pl.DataFrame({**columns, "y": noise(rng)})
    assert dropped(quiet(frame, target="y")) == {"f"}
    assert not dropped(gentle.fit(frame, target="y", rank_tol=0))


@pytest.mark.parametrize("rank_tol", [-1e-9, 1, float("nan"), float("inf"), "small", True])
def test_a_tolerance_that_makes_no_sense_is_refused(rank_tol):
    with pytest.raises(GentleError, match="rank_tol"):
        gentle.fit((np.eye(4)[:, :2], np.arange(4.0)), rank_tol=rank_tol)


# Columns that do not vary


def flat_cases(rng):
    x = rng.normal(5, 1, N)
    for size in (1e-120, 1e-14, 1e-12, 1e-8, 1.0, 1e14, 1e120):
        yield size, np.full(N, size), x
    yield 1e-8, np.full(N, 1e-8), 1e7 * x
    yield 1e-14, np.full(N, -1e-14), x


@pytest.mark.parametrize("seed", range(2))
def test_a_constant_column_is_an_intercept_whatever_its_size(seed):
    rng = np.random.default_rng(seed)
    for size, flat, x in flat_cases(rng):
        y = 3 + 2 * x + 0.05 * noise(rng)
        wanted = gentle.fit((x[:, None], y))
        matrix = np.column_stack([flat, x])
        weights = np.ones(N)
        heavy = np.where(np.arange(N) == 7, 1e20, 1.0)
        pieces = [(matrix[at : at + 60], y[at : at + 60]) for at in range(0, N, 60)]
        joined = [gentle.fit(piece, intercept=False) for piece in pieces]
        fits = {
            "array": gentle.fit((matrix, y), intercept=False),
            "swapped": gentle.fit((matrix[:, ::-1], y), names=["x2", "x1"], intercept=False),
            "qr": gentle.fit((matrix, y), intercept=False, method="qr"),
            "batches": gentle.fit(lambda pieces=pieces: iter(pieces), intercept=False),
            "once": gentle.fit(iter(pieces), intercept=False),
            "joined": joined[0] + joined[1] + joined[2] + joined[3],
            "formula": gentle.fit({"C": flat, "x": x, "y": y}, "y ~ 0 + C + x"),
            "weights": gentle.fit((matrix, y), intercept=False, weights=weights),
        }
        for way, found in fits.items():
            values = dict(zip(("x1", "x2"), found.exact.values(), strict=True))
            if way == "swapped":
                values = found.exact
            assert values["x1"] * flat[0] == pytest.approx(wanted.exact["Intercept"], rel=1e-5), (
                size,
                way,
            )
            assert values["x2"] == pytest.approx(wanted.exact["x1"], rel=1e-6), (size, way)
        model = LinearRegression(fit_intercept=False).fit(matrix, y)
        assert model.coef_[1] == pytest.approx(wanted.exact["x1"], rel=1e-8)
        dominated = gentle.fit((matrix, y), intercept=False, weights=heavy)
        assert not dropped(dominated)


@pytest.mark.parametrize("size", [1e-14, 1e-8, 1.0, 1e14])
def test_a_single_row_of_small_values_is_no_row_of_zeros(size):
    found = gentle.fit((np.array([[size]]), np.array([3.0])), intercept=False)
    assert found.exact["x1"] == pytest.approx(3 / size, rel=1e-12)


@pytest.mark.parametrize("size", [1e-120, 1e-14, 1.0, 1e14])
def test_beside_an_intercept_a_constant_column_is_dropped_whatever_its_size(size):
    rng = np.random.default_rng(0)
    x = noise(rng)
    with pytest.warns(RankWarning, match="constant"):
        found = gentle.fit((np.column_stack([np.full(N, size), x]), noise(rng)))
    assert dropped(found) == {"x1"}


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int16, pl.Int64, pl.UInt16, pl.Boolean])
def test_whole_numbers_in_a_mapping_keep_their_type_where_one_is_missing(dtype):
    """Small integers with nulls become float32 in numpy, which would count as its coarse rounding."""
    values = pl.Series([None, *[1] * 8]).cast(dtype)
    rng = np.random.default_rng(0)
    data = {"y": rng.normal(size=9), "c": values, "x": 2.0**20 + np.arange(9) / 8}
    found = gentle.fit(data, target="y", intercept=False)
    assert not found.coarse
    assert not found.dropped


@pytest.mark.parametrize("unit", [1, 8, 2**17])
def test_whole_numbers_that_float32_has_are_exact(unit):
    """x + 2 beside x, without an intercept, is no rounding of x, however round the numbers are."""
    rng = np.random.default_rng(17)
    x = unit * rng.integers(97 * 10**6 // unit, 103 * 10**6 // unit, size=14).astype(float)
    found = gentle.fit((np.column_stack([x, x + 2]), rng.normal(size=14)), intercept=False)
    assert not found.dropped
