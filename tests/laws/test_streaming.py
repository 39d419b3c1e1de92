"""Memory does not depend on the number of rows: files ten times as large as what may be allocated."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import gentle

ROWS, COLUMNS, FILES = 310_000, 21, 42
ALLOWED = 200  # MiB, beside what a fit of one of the files has taken
LIMITED = f"""
import resource, sys
from pathlib import Path
import gentle
from gentle.sources import files

files.SMALL = 0
one, folder = sys.argv[1:]
gentle.fit(one, target="y")
status = Path("/proc/self/status").read_text().splitlines()
taken = next(1024 * int(line.split()[1]) for line in status if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (taken + {ALLOWED} * 2**20,) * 2)
fit = gentle.fit(folder, target="y")
print(fit.n_rows, *fit.values)
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((ROWS, COLUMNS))
    x[:, -1] += x[:, :-1] @ np.arange(1.0, COLUMNS)
    names = [*(f"x{j}" for j in range(1, COLUMNS)), "y"]
    path = tmp_path_factory.mktemp("large") / "one.parquet"
    pl.DataFrame(x, schema=names).write_parquet(path, row_group_size=2**14)
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="limits are those of Linux")
def test_files_ten_times_as_large_as_the_memory_allowed_are_fitted(one):
    folder = one.parent / "many"
    folder.mkdir()
    for number in range(FILES):
        os.link(one, folder / f"part-{number:02}.parquet")
    assert sum(path.stat().st_size for path in folder.iterdir()) > 10 * ALLOWED * 2**20
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(one), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr[-500:]
    n_rows, *values = map(float, run.stdout.split())
    assert n_rows == FILES * ROWS
    np.testing.assert_allclose(values, gentle.fit(one, target="y").values, rtol=1e-9)
