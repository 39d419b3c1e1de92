"""Reading CSV: types that are asked for, options, and what is said of them."""

import polars as pl
import pytest

from gentle.sources import files, open_source

WORDS = ["01", "1", "True", "1.0"]


def rows(source):
    return pl.concat([chunk.table for chunk in source.scan(list(source.schema()), 3)])


@pytest.fixture(params=["whole", "in pieces"])
def pieces(request, monkeypatch):
    """Whether a file is read into memory or in each pass."""
    monkeypatch.setattr(files, "SMALL", 0 if request.param == "in pieces" else files.SMALL)
    return request.param == "in pieces"


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("name", ["g", 'a "g"'])
@pytest.mark.parametrize(
    "words", [WORDS, ["01", "02"], ["True", "False"], ["2020-01-01", "x"], ["", "7"]]
)
def test_a_column_is_read_as_the_type_that_is_asked_for(words, name, tmp_path):
    quoted = '"' + name.replace('"', '""') + '"'
    (tmp_path / "t.csv").write_text(
        f"y,{quoted}\n" + "".join(f"{at},{w}\n" for at, w in enumerate(words))
    )
    source = open_source(tmp_path / "t.csv", dtypes={name: pl.String(), "other": pl.Int64()})
    assert rows(source)[name].to_list() == [word or None for word in words]
    assert source.schema()[name] == pl.String
