"""Reading CSV: types that are asked for, options, and what is said of them."""

import gzip
import io
import itertools
import os
import random
import warnings

import polars as pl
import pytest

import gentle
from gentle.errors import GentleError
from gentle.sources import files, open_source

PROOFS = bool(os.environ.get("GENTLE_PROOFS"))
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


VALUES = [0.0, 1.5, -2.25, 1234.5, -987654.125, 0.001, 3.0, 12345678.0, 7.125, -0.5, 100.0, 999.0]
WHOLE = [0, 7, 1000, -12, 123456, 1, 2, 3, 4, 5, 6, 1234567]
TEXTS = ["a", "été", "Ж", 'say "x"', "a;b", "a,b", "a|b", "x\ty", "1a", "NAN", "b", "c"]
NOTATIONS = {
    "plain": {},
    "european": {"decimal": ",", "thousands": "."},
    "decimal comma": {"decimal": ","},
    "english": {"thousands": ","},
    "swiss": {"thousands": "'"},
    "french": {"decimal": ",", "thousands": " "},
}
SIGNED = {"": "{}", "$": "${}", "€": "{} €", "%": "{}%", "£": "£ {}"}


def written(value, decimal=".", thousands="", *, sign="", closed=False):
    """A number as people write it."""
    text = f"{abs(value):,}" if isinstance(value, int) else f"{abs(value):,.3f}"
    text = text.translate({ord(","): thousands.replace(" ", "\u202f"), ord("."): decimal})
    text = SIGNED[sign].format(text)
    return text if value >= 0 else f"({text})" if closed else f"-{text}"


def csv_of(columns, separator):
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    quoted = [['"' + field.replace('"', '""') + '"' for field in row] for row in rows]
    return "".join(separator.join(row) + "\n" for row in quoted)


WRITTEN = list(itertools.product((",", ";", "\t", "|"), NOTATIONS, SIGNED))
SOME_WRITTEN = random.Random(0).sample(WRITTEN, 45)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(("separator", "notation", "sign"), WRITTEN if PROOFS else SOME_WRITTEN)
def test_every_notation_is_read_by_its_options_and_inferred_or_left(
    separator, notation, sign, tmp_path
):
    """With options the numbers are those that were written. Without, they are too, with a warning that
    names each option, or else the column is text: never another number."""
    marks = NOTATIONS[notation]
    closed = sign == "$"
    columns = {
        "x": [written(value, **marks, sign=sign, closed=closed) for value in VALUES],
        "k": [written(value, **marks) for value in WHOLE],
        "g": TEXTS,
    }
    path = tmp_path / "t.csv"
    path.write_text(csv_of(columns, separator), encoding="utf-8")
    options = {**marks, "separator": separator, "symbols": sign, "parentheses": closed}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = rows(open_source(gentle.read_csv(path, **options)))
    assert table["x"].to_list() == VALUES
    assert table["k"].to_list() == WHOLE
    assert table["g"].to_list() == TEXTS
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        inferred = rows(open_source(path))
    sentence = " ".join(str(each.message) for each in said)
    assert inferred["x"].to_list() == VALUES
    assert inferred["k"].to_list() == WHOLE
    assert inferred["g"].to_list() == TEXTS
    for option, mark in options.items():
        needed = bool(mark) and not (option == "separator" and mark == ",")
        assert (f"{option}={mark!r}" in sentence) == needed
    assert bool(said) == any(
        mark for option, mark in options.items() if (option, mark) != ("separator", ",")
    )


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(
    ("values", "also"),
    [
        (["1,234", "5,678"], ["1", "2"]),  # thousands or three decimals
        (["1,5", "2,5"], ["1.5", "2.5"]),  # a file with both decimal marks
        (["$1", "€2"], ["1", "2"]),  # two currencies
        (["12%", "0.12"], ["1", "2"]),  # with and without
        (["(1)", "(2)"], ["1", "2"]),  # no minus seen: these may be numbers of notes
        (["1,23", "1,234,5"], ["1.5", "2"]),  # no groups of three
        (["1 2", "3 4"], ["1", "2"]),
        (["1.2.3.4", "1.2.4.5"], ["1", "2"]),
        (["-", "1"], ["1", "2"]),
        (["0x1", "1_0"], ["1", "2"]),
    ],
)
def test_what_could_be_several_numbers_is_none(values, also, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(csv_of({"x": values, "z": also}, ","))
    table = rows(open_source(path))
    assert table["x"].to_list() == values
    assert table["z"].to_list() == [float(value) for value in also]


@pytest.mark.parametrize("zeros", [["007", "010"], ["00", "1"], ["7", "0012345678901234567890"]])
def test_digits_with_a_leading_zero_are_text_and_said(zeros, pieces, tmp_path):
    path = tmp_path / "t.csv"
    late = ["5"] * (12_000 if pieces else 0) + zeros  # beyond the rows from which types are guessed
    path.write_text("y,zip,x\n" + "".join(f"{at},{each},0.5\n" for at, each in enumerate(late)))
    with pytest.warns(gentle.ReadingWarning, match=r"'zip' as text.*dtypes={'zip': 'text'}"):
        source = open_source(path)
    assert source.schema() == {"y": pl.Int64, "zip": pl.String, "x": pl.Float64}
    assert rows(source)["zip"].to_list() == late
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asked = open_source(gentle.read_csv(path, dtypes={"zip": "text"}))
        numbers = open_source(gentle.read_csv(path, dtypes={"zip": "number"}))
        open_source(path, dtypes={"zip": pl.String()})
    assert rows(asked)["zip"].to_list() == late
    assert rows(numbers)["zip"].to_list() == [float(each) for each in late]


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(
    "encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig", "utf-32", "cp1251"]
)
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_an_encoding_is_read_by_its_name(encoding, ending, tmp_path):
    word = "Ж" if encoding == "cp1251" else "é"
    data = f"y,{word}\n1,{word}\n2,b\n".encode(encoding)
    path = tmp_path / f"t{ending}"
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    table = rows(open_source(gentle.read_csv(path, encoding=encoding)))
    assert table.to_dict(as_series=False) == {"y": [1, 2], word: [word, "b"]}
    if encoding in ("utf-16", "utf-32"):
        with pytest.warns(gentle.ReadingWarning, match=f"encoding='{encoding}'"):
            assert rows(open_source(path)).equals(table)


def test_an_encoding_that_a_file_has_not_is_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("y,g\n1,é\n".encode("latin-1"))
    for encoding in ("ascii", "utf-16", "utf-8"):
        with pytest.raises(GentleError, match=r"encod|UTF-8"):
            open_source(gentle.read_csv(path, encoding=encoding))
    with pytest.raises(GentleError, match="encoding='cp1252'"):
        open_source(path)


@pytest.mark.usefixtures("pieces")
def test_null_values_join_the_usual_ones(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("y,x,g\n1,.,a\n2,?,NA\n3,7.5,?\n4,-,b\n")
    table = rows(open_source(gentle.read_csv(path, null_values=[".", "?", "-"])))
    assert table["x"].to_list() == [None, None, 7.5, None]
    assert table["g"].to_list() == ["a", None, None, "b"]


UNREADABLE = {
    "mixed dates": ["2020-01-01", "01/02/2020"],
    "a word among numbers": ["1", "two"],
    "a date that does not exist": ["2020-02-30", "2020-01-01"],
    "a word among booleans": ["true", "maybe"],
    "a fraction among whole numbers": ["1", "1.5"],
    "numbers beyond all types": ["9" * 400, "1"],
}


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_only_columns_that_are_used_must_be_readable(kind, place, tmp_path):
    """Also where the odd value comes after the rows from which types are guessed."""
    first, odd = UNREADABLE[kind]
    for many in (2, 10_100):
        u = [first] * many + [odd]
        y = [1 + 2 * (at % 7) for at in range(many + 1)]
        x = [str(at % 7) for at in range(many + 1)]
        columns = (
            {"u": u, "x": x, "y": map(str, y)}
            if place == "first"
            else {"x": x, "y": map(str, y), "u": u}
        )
        path = tmp_path / f"{many}.csv"
        path.write_text(csv_of(columns, ","))
        assert gentle.fit(path, "y ~ x").coef["x"] == pytest.approx(2)


def table(tmp_path, name="t.csv", *, shift=0.0):
    """A European file whose fit is y = 1 + 2 x."""
    x = [at + shift for at in range(8)]
    columns = {
        "x": [f"{v:.2f}".replace(".", ",") for v in x],
        "y": [f"{1 + 2 * v:.2f}".replace(".", ",") for v in x],
    }
    path = tmp_path / name
    path.write_text(csv_of(columns, ";"))
    return path


def test_a_source_with_options_goes_wherever_a_path_goes(pieces, tmp_path):  # noqa: ARG001
    path = table(tmp_path)
    read = gentle.read_csv(path, decimal=",", separator=";")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = gentle.fit(read, "y ~ x")
        assert fit.coef["x"] == pytest.approx(2)
        assert gentle.fit(read, target="y", engine="threads:2").coef["x"] == pytest.approx(2)
        assert fit.predict(read) == pytest.approx([1 + 2 * at for at in range(8)])
        assert gentle.certify(fit.coef, read, "y ~ x").fit.n_rows == 8
        fit.predict_to(read, tmp_path / "out.csv", append=True)
    assert gentle.contest(read, "y ~ x", solvers=["gd"]).fits.keys() >= {"gd"}
    table(tmp_path, "more.csv", shift=0.5)
    for place in (str(tmp_path / "*.csv"), [path, tmp_path / "more.csv"]):
        several = gentle.read_csv(place, decimal=",")
        if isinstance(place, str):
            (tmp_path / "out.csv").unlink(missing_ok=True)
        assert gentle.fit(several, target="y").n_rows == 16


def test_file_objects_and_lists_of_paths_are_data(tmp_path):
    path = table(tmp_path)
    frame = pl.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 3.0, 5.0]})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_ipc(tmp_path / "t.arrow")
    plain = frame.write_csv()
    objects = [
        io.StringIO(plain),
        io.BytesIO(plain.encode()),
        io.BytesIO(gzip.compress(plain.encode())),
        io.BytesIO((tmp_path / "t.parquet").read_bytes()),
        io.BytesIO((tmp_path / "t.arrow").read_bytes()),
        gentle.read_csv(io.StringIO(path.read_text()), decimal=","),
    ]
    for data in objects:
        fit = gentle.fit(data, "y ~ x")
        assert fit.coef["x"] == pytest.approx(2)
        assert fit.predict(data) == pytest.approx(fit.predict(data))
    with open(tmp_path / "t.parquet", "rb") as binary, open(path) as text:
        assert gentle.fit(binary, "y ~ x").coef["x"] == pytest.approx(2)
        assert gentle.fit(text, "y ~ x").coef["x"] == pytest.approx(2)
    assert gentle.fit([path, str(path)], "y ~ x").n_rows == 16
    for bad in (io.StringIO(""), io.BytesIO(b"\0\1\2" * 90)):
        with pytest.raises(GentleError, match="the file object"):
            gentle.fit(bad, "y ~ x")


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    table(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert gentle.fit("~/t.csv", "y ~ x").n_rows == 8
    with pytest.raises(GentleError, match="there is no file"):
        gentle.fit("~/none.csv", "y ~ x")


@pytest.mark.parametrize(
    "options",
    [
        {"separator": ";;"}, {"separator": '"'}, {"decimal": "1"}, {"decimal": ""}, {"thousands": "x"},
        {"decimal": ",", "thousands": ","}, {"encoding": "klingon"}, {"symbols": "1"},
        {"dtypes": {"x": "words"}}, {"separator": ".", "decimal": "."},
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_is_refused(options):
    with pytest.raises(GentleError):
        gentle.read_csv("t.csv", **options)


def test_dtypes_of_a_column_that_is_not_there_name_the_nearest(tmp_path):
    with pytest.raises(GentleError, match=r"dtypes names 'X'.*did you mean 'x'"):
        gentle.fit(gentle.read_csv(table(tmp_path), dtypes={"X": "text"}), "y ~ x")
