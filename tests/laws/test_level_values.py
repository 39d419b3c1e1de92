"""Laws of what makes a value a level: its declared type, its digits, and its value in any type."""

import itertools

import polars as pl
import pytest

import gentle
from gentle import GentleError, GentleWarning
from gentle.sources import open_source

CODES = ["01234", "12345", "00000", "99999", "02134"]


def csv_file(folder, columns, name="f.csv"):
    path = folder / name
    lines = [",".join(columns), *(",".join(row) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_codes_are_categories_and_as_a_target_they_are_refused(tmp_path):
    codes = list(itertools.islice(itertools.cycle(CODES), 40))
    path = csv_file(tmp_path, {"y": [str(i**2 % 13) for i in range(40)], "zip": codes})
    with pytest.warns(GentleWarning, match="digits there begin with a zero"):
        fit = gentle.fit(path, target="y")
    assert fit.names == ("Intercept", *(f"zip[T.{code}]" for code in sorted(CODES)[1:]))
    with pytest.raises(GentleError, match=r"'zip' of .* must be numbers, but is text, of digits"):
        gentle.fit(path, target="zip")
    assert open_source(path).schema()["zip"] == pl.String
