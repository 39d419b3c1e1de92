"""What several tests need: the flights, the command, and how long hypothesis may look."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

# Each worker has a core to itself: threads that wait for each other only slow the suite down.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

SUPPRESSED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
COMMON = {"deadline": None, "derandomize": True, "suppress_health_check": SUPPRESSED}
settings.register_profile("small", max_examples=25, **COMMON)
settings.register_profile("proofs", max_examples=1000, **COMMON)
settings.load_profile("proofs" if os.environ.get("GENTLE_PROOFS") else "small")

ROOT = Path(__file__).parent.parent


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
    return _written(tmp_path_factory, "flights")


@pytest.fixture(scope="session")
def diamonds(tmp_path_factory):
    """53,940 diamonds, as Parquet."""
    return _written(tmp_path_factory, "diamonds")


def _written(tmp_path_factory, name):
    datasets = runpy.run_path(str(ROOT / "examples" / "datasets.py"))
    path = tmp_path_factory.mktemp(name) / f"{name}.parquet"
    try:
        datasets[name]().write_parquet(path)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    return path


@pytest.fixture(scope="session")
def environment():
    """The environment in which a command runs: 80 columns, and nobody's wishes about colours."""
    wishes = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE")
    kept = {name: value for name, value in os.environ.items() if name not in wishes}
    return kept | {"COLUMNS": "80", "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}


@pytest.fixture(scope="session")
def forking(environment):
    """The process that tests/forking.py is about."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "forking.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        yield process


@pytest.fixture
def gentle(tmp_path, tmp_path_factory, environment, forking):
    """Runs the command `gentle` as a person would, in an empty folder."""
    streams = [str(tmp_path_factory.mktemp("streams") / name) for name in ("out", "err")]

    def run(*arguments, **variables):
        asked = {
            "arguments": list(map(str, arguments)),
            "folder": str(tmp_path),
            "environment": environment | variables,
            "streams": streams,
        }
        forking.stdin.write(json.dumps(asked) + "\n")
        forking.stdin.flush()
        code = int(forking.stdout.readline())
        written = (Path(path).read_text("utf-8") for path in streams)
        return subprocess.CompletedProcess(arguments, code, *written)

    return run
