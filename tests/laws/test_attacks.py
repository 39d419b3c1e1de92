"""Laws that attacks found to be broken: odd weights of new rows, sizes of numbers, names of columns."""

import datetime

import polars as pl
import pytest

import gentle
from gentle import GentleError

FRAME = pl.DataFrame(
    {"x": [1.0, 2, 3, 4], "y": [1.0, 3, 4, 9], "g": ["a", "b", "a", "b"], "w": [1.0, 2, 3, 4]}
)
NO_NUMBERS = {
    "strings": pl.col("g"),
    "strings of digits": pl.col("w").cast(pl.String),
    "dates": pl.lit(datetime.date(2020, 1, 1)),
    "categories": pl.col("g").cast(pl.Categorical),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
@pytest.mark.parametrize("name", ["w", None])
def test_weights_of_new_rows_that_are_no_numbers_are_refused_by_name(kind, name):
    fit = gentle.fit(FRAME, "y ~ x", weights="w")
    rows = FRAME.with_columns(NO_NUMBERS[kind].alias("w"))
    with pytest.raises(GentleError, match="column 'w' of the frame"):
        fit.predict(rows, interval=0.9, kind="new", weights=name)


def test_a_number_far_above_its_error_is_written():
    from gentle.layout import estimate

    assert estimate(1e308, 1e-8) == "1e+308"
    assert estimate(-1e308, 5e-324) == "-1e+308"
