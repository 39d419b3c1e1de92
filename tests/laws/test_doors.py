"""The same answer through every door: any source, format and batch size, and rows in permuted files.

A new source is tested by being listed in `DOORS`.
"""

import gzip
import sqlite3

import dask.dataframe as dd
import duckdb
import numpy as np
import polars as pl
import pytest
import torch
from scipy import sparse
from torch.utils.data import DataLoader, TensorDataset

import gentle
from gentle.sources import Plan
from gentle.sources.files import FORMATS, Files

N = 3_001
SIZES = (1, 7, 1_000)
NAMES = ["a", "b", "c"]


def table(n=N):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(n, 3)) * [1, 20, 0.1] + [3, -40, 0]
    y = 2 + x @ [1.0, -0.1, 4.0] + rng.normal(size=n)
    return pl.DataFrame(x, schema=NAMES).with_columns(y=pl.Series(y))


FRAME = table()
X, Y = FRAME.select(NAMES).to_numpy(), FRAME["y"].to_numpy()


def pieces(size, rows=FRAME):
    return list(rows.iter_slices(size))


def pairs(size):
    return [(X[at : at + size], Y[at : at + size]) for at in range(0, N, size)]


def files(folder, size, ending):
    """The rows in files of so many, with the rows of some far from where they were."""
    order = np.random.default_rng(size).permutation(N)
    for number, piece in enumerate(pieces(size, FRAME[order])):
        write(piece, folder / f"part-{number:04}{ending}")
    return folder


def write(rows, path):
    match path.suffix:
        case ".csv":
            rows.write_csv(path)
        case ".parquet":
            rows.write_parquet(path, row_group_size=100)
        case ".arrow":
            rows.write_ipc(path)
        case ".ndjson":
            rows.write_ndjson(path)
    return path


def compressed(path, ending):
    write(FRAME, path)
    packed = path.with_name(path.name + ending)
    if ending == ".gz":
        with gzip.open(packed, "wb") as file:
            file.write(path.read_bytes())
    else:
        pl.read_csv(path).lazy().sink_csv(packed, compression="zstd")
    path.unlink()
    return packed


def streamed(*paths):
    """Files as if they were too large for memory."""
    kind = next(kind for ending, kind in FORMATS.items() if paths[0].name.endswith(ending))
    return Plan(Files(kind, tuple(map(str, paths))))


def database(folder):
    path = folder / "t.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a, b, c, y)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", FRAME.rows())
    connection.close()
    return path


def tensors():
    return torch.from_numpy(X), torch.from_numpy(Y)


DOORS = {
    "polars": lambda _: FRAME,
    "polars lazy": lambda _: FRAME.lazy(),
    "pandas": lambda _: FRAME.to_pandas(),
    "pyarrow": lambda _: FRAME.to_arrow(),
    "pyarrow reader": lambda _: FRAME.to_arrow().to_reader(max_chunksize=100),
    "dask": lambda _: dd.from_pandas(FRAME.to_pandas(), npartitions=7),
    "dask of files": lambda to: dd.read_csv(f"{files(to, 700, '.csv')}/*.csv"),
    "duckdb": lambda _: duckdb.from_arrow(FRAME.to_arrow()),
    "mapping": lambda _: {**dict(zip(NAMES, X.T, strict=True)), "y": torch.from_numpy(Y)},
    **{f"file {it}": lambda to, it=it: write(FRAME, to / f"t{it}") for it in
       (".csv", ".parquet", ".arrow", ".ndjson")},
    **{f"streamed {it}": lambda to, it=it: streamed(write(FRAME, to / f"t{it}")) for it in
       (".csv", ".parquet", ".arrow", ".ndjson")},
    **{f"packed {it}": lambda to, it=it: compressed(to / "t.csv", it) for it in (".gz", ".zst")},
    **{f"streamed {it}": lambda to, it=it: streamed(compressed(to / "t.csv", it)) for it in
       (".gz", ".zst")},
    **{f"folder of {it}": lambda to, it=it: files(to, 1_000, it) for it in
       (".csv", ".parquet", ".arrow", ".ndjson")},
    "glob": lambda to: f"{files(to, 700, '.csv')}/*.csv",
    "streamed files": lambda to: streamed(*sorted(files(to, 300, ".csv").iterdir())),
    "uri": lambda to: write(FRAME, to / "t.parquet").as_uri(),
    "sqlite": lambda to: f"sqlite:///{database(to)}",
    "sqlite query": lambda to: f"sqlite:///{database(to)}#SELECT y, c, b, a FROM t WHERE 1",
    "sqlalchemy": lambda to: f"sqlite+pysqlite:///{database(to)}#t",
    "adbc": lambda to: f"sqlite+adbc:///{database(to)}#SELECT * FROM t",
    **{f"frames of {size}": lambda _, size=size: pieces(size) for size in SIZES},
    **{f"iterator of {size}": lambda _, size=size: iter(pieces(size)) for size in SIZES},
    **{f"function of {size}": lambda _, size=size: lambda: pieces(size) for size in SIZES},
    "mappings": lambda _: [piece.to_dict() for piece in pieces(100)],
    "record batches": lambda _: FRAME.to_arrow().to_batches(max_chunksize=100),
}  # fmt: skip
PAIRS = {
    "arrays": lambda: (X, Y),
    "fortran": lambda: (np.asfortranarray(X), Y[:, None]),
    "lists": lambda: (X.tolist(), Y.tolist()),
    "tensors": tensors,
    "csr": lambda: (sparse.csr_array(X), Y),
    "csc": lambda: (sparse.csc_array(X), Y),
    "torch csr": lambda: (tensors()[0].to_sparse_csr(), Y),
    "dataset": lambda: TensorDataset(*tensors()),
    "loader": lambda: DataLoader(TensorDataset(*tensors()), batch_size=64),
    "shuffled loader": lambda: DataLoader(TensorDataset(*tensors()), batch_size=64, shuffle=True),
    **{f"pairs of {size}": lambda size=size: pairs(size) for size in SIZES},
    **{f"iterator of pairs of {size}": lambda size=size: iter(pairs(size)) for size in SIZES},
    "sparse pairs": lambda: [(sparse.csr_array(x), y) for x, y in pairs(100)],
}


@pytest.fixture(scope="module")
def right():
    return gentle.fit(FRAME, target="y")


def same(found, right):
    assert found.condition < 30
    for one, other in (
        (found.values, right.values),
        (np.array([*found.std_errors.values()]), np.array([*right.std_errors.values()])),
        (found.r2, right.r2),
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    assert (found.n_rows, found.df_resid) == (right.n_rows, right.df_resid)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_gives_the_same_answer(door, tmp_path, right):
    found = gentle.fit(DOORS[door](tmp_path), target="y", features=NAMES)
    same(found, right)
    assert found.names == right.names


@pytest.mark.parametrize("door", PAIRS)
def test_every_pair_gives_the_same_answer(door, right):
    same(gentle.fit(PAIRS[door](), names=NAMES), right)


@pytest.mark.parametrize("door", ["polars lazy", "streamed .csv", "frames of 7", "sqlite"])
def test_a_descent_and_robust_errors_read_them_again(door, tmp_path, right):
    robust = gentle.fit(DOORS[door](tmp_path), target="y", features=NAMES, errors="HC1")
    again = gentle.fit(FRAME, target="y", errors="HC1")
    np.testing.assert_allclose(
        [*robust.std_errors.values()], [*again.std_errors.values()], rtol=1e-9
    )
    (tmp_path / "t.db").unlink(missing_ok=True)
    by_steps = gentle.fit(DOORS[door](tmp_path), target="y", features=NAMES, solver="sgd")
    assert by_steps.certificate.within <= 1e-3
    np.testing.assert_allclose(by_steps.exact_values, right.values, rtol=1e-9)
