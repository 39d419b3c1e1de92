"""Laws of what makes a value a level: its declared type, its digits, and its value in any type."""

import itertools

import polars as pl
import pytest

import gentle
from gentle import GentleError
from gentle.sources import open_source
from gentle.sources.csv import Csv

CODES = ["01234", "12345", "00000", "99999", "02134"]


def csv_file(folder, columns, name="f.csv"):
    path = folder / name
    lines = [",".join(columns), *(",".join(row) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("missing", ["", "NA", None])
@pytest.mark.parametrize("spaces", ["", " "])
def test_digits_that_begin_with_a_zero_are_strings(tmp_path, place, missing, spaces):
    """Wherever the code stands, with missing values beside it, read whole or in batches."""
    codes = ["12345"] * 5
    codes[place] = "01234"
    holes = [missing] if missing is not None else []
    values = [spaces + code for code in codes] + holes
    n = len(values)
    path = csv_file(
        tmp_path,
        {"y": list(map(str, range(n))), "zip": values, "n": ["0"] * n, "f": ["0.5"] * n},
    )
    whole, planned = Csv().read(path), Csv().plan([str(path)], {}).collect()
    for frame in (whole, planned):
        assert frame.schema["zip"] == pl.String
        assert frame["zip"].str.strip_chars().to_list() == codes + [None] * len(holes)
        assert frame["n"].dtype.is_integer()
        assert frame["f"].dtype == pl.Float64


def test_codes_are_categories_and_as_a_target_they_are_refused(tmp_path):
    codes = list(itertools.islice(itertools.cycle(CODES), 40))
    path = csv_file(tmp_path, {"y": [str(i**2 % 13) for i in range(40)], "zip": codes})
    fit = gentle.fit(path, target="y")
    assert fit.names == ("Intercept", *(f"zip[T.{code}]" for code in sorted(CODES)[1:]))
    with pytest.raises(GentleError, match=r"'zip' of .* must be numbers, but is text, of digits"):
        gentle.fit(path, target="zip")
    assert open_source(path).schema()["zip"] == pl.String
