"""Names and values never act on a terminal, a page or a typesetter: every output is printable text."""

import re
import unicodedata
import warnings

import numpy as np
import polars as pl
import pytest
from rich.cells import cell_len

import gentle
from gentle.errors import GentleError, GentleWarning, printable
from gentle.layout import columns, shortened
from gentle.report.page import write_page
from gentle.story import Output, Picture, Text, Title

ESC = "\x1b"
HOSTILE = [
    *(f"{ESC}[31mred", f"{ESC}[2J{ESC}[H", f"{ESC}]0;title\x07", f"{ESC}]52;c;cm0=\x07"),
    *(
        f"{ESC}]8;;http://evil{ESC}\\link{ESC}]8;;{ESC}\\",
        f"{ESC}P1$r{ESC}\\",
        f"{ESC}c",
        f"{ESC}[6n",
    ),
    *(
        "\x9b31mred",
        "\x9d0;title\x9c",
        "\x90q\x9c",
        "\x84\x85\x8d",
        "a\x00b",
        "a\x07b",
        "a\x08\x08b",
    ),
    *(
        "a\nb",
        "a\rb",
        "a\r\nb",
        "a\tb",
        "a\x0bb",
        "a\x0cb",
        "a\x7fb",
        "a\u2028b",
        "a\u2029b",
        "a\x85b",
    ),
    *("a\u202eb", "a\u202db\u202c", "a\u2066b\u2069", "a\u200fb", "a\u061cb"),
    *(
        "a\u200bb",
        "a\u200cb",
        "a\u200db",
        "a\u2060b",
        "\ufeffa",
        "a\u00adb",
        "a\u00a0b",
        "a\u3164b",
    ),
    *("a\u115fb", "a\u034fb", "a\U000e0041b", "a\ue000b", "a\ufffeb", "a\u3000b"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><b>', "&lt;b&gt;", "a&amp;b"),
    *(
        "[x](javascript:alert(1))",
        "<javascript:alert(1)>",
        "https://evil.example/x",
        "www.evil.example",
    ),
    *(
        "a@evil.example",
        "![i](http://evil/i.png)",
        "a|b",
        "`a`",
        "**a**",
        "_a_",
        "~~a~~",
        "# a",
        "- a",
    ),
    *("[red]a[/red]", "[link=http://evil]a[/link]", "[/]", "\\[bold]", ":smile:"),
    *(
        "$a",
        "$\\frac{1}{2}$",
        "$a$b$",
        "\\input{/etc/passwd}",
        "a&b",
        "50%",
        "a_b^c",
        "{a}",
        "~a",
        "a\\",
    ),
    *(
        "",
        " ",
        "  a  b  ",
        "'a'",
        '"a"',
        "{{ 7*7 }}",
        "%(a)s",
        "a" * 300,
        "価" * 90,
        "e\u0301" * 90,
    ),
]


def is_inert(text, keep="\n"):
    """Whether nothing in a text moves a cursor, reorders, hides or breaks a line."""
    return all(
        sign in keep or unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")
        for sign in text
    )


def table(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 2))
    other = "z" if name != "z" else "w"
    return pl.DataFrame(
        {name: x[:, 0], other: x[:, 1], "twin": 2 * x[:, 0], "y": x @ [1.0, 2.0] + x[:, 0] ** 2}
    )


def fitted(rows, **asked):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = gentle.fit(rows, **asked)
    return fit, [str(one.message) for one in caught if issubclass(one.category, GentleWarning)]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_is_printable_in_every_way_out(name):
    rows = table(name)
    for role, asked in {
        "feature": {"target": "y"},
        "level": {"target": "y"},
        "target": {"target": name, "features": ["y"]},
        "cluster": {"target": "y", "features": ["twin"], "cluster": name},
        "weights": {"target": "y", "features": ["twin"], "weights": name},
    }.items():
        data = rows
        if role == "level":
            data = rows.select(g=pl.Series([name, "a level", "b"] * 8), y="y")
        elif role == "cluster":
            data = rows.with_columns(pl.Series(name, np.arange(24) % 6))
        elif role == "weights":
            data = rows.with_columns(pl.col(name) ** 2 + 1)
        fit, said = fitted(data, **asked)
        texts = [
            *said,
            fit.summary(),
            repr(fit),
            str(fit.verdict),
            fit.to_latex(),
            fit.to_markdown(),
        ]
        for text in texts:
            assert is_inert(text), (role, text)
        assert max(map(cell_len, fit.summary().splitlines())) <= 80
        for line in fit.to_markdown().splitlines():
            assert not re.search(
                r"(?<!\\)<[a-zA-Z/!?]|(?<!\\)\]\(|https?://|(?<!\\)`|javascript:\w+>", line
            )
        assert len(re.findall(r"\\\\$", fit.to_latex(), re.MULTILINE)) >= len(fit.names) + 2
        assert "\\input" not in fit.to_latex()
    with pytest.raises(GentleError) as error:
        gentle.fit(rows, target=f"no{name}such")
    assert is_inert(str(error.value), keep="")
    assert " ".join(printable(name)[:8].split()) in " ".join(fit.summary().split())


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_values_predictions_files_and_pages_are_printable(name, tmp_path):
    from gentle.predicting import Asked, first_rows
    from gentle.tables import as_text, predictions

    fit, _ = fitted(table("x")[:, :2].with_columns(y=table("x")["y"]), target="y")
    rows = table("x").with_columns(pl.lit(name).alias("a text"), pl.lit(1.0).alias(name or "empty"))
    first, written = first_rows(fit, rows, Asked(append=True), 5)
    assert is_inert(as_text(predictions(first, written)))
    text = str(fit.test(f"`{'x'}` = 0"))
    assert is_inert(text)
    with pytest.raises(GentleError) as error:
        fit.test(f"x{name}y = 0")
    assert is_inert(str(error.value), keep="")
    with pytest.raises(GentleError) as error:
        gentle.fit(f"/no/such/{name.replace(chr(0), '')}.csv", target="y")
    assert is_inert(str(error.value), keep="")
    mixed = (
        table("x").with_columns(x=pl.lit(name))[:3].vstack(table("x").with_columns(x=pl.lit("a")))
    )
    with pytest.raises(GentleError) as error:
        fit.predict(mixed)
    assert is_inert(str(error.value), keep="")
    (tmp_path / "p.png").write_bytes(b"")
    parts = [Title(name), Text(name), Output(name), Picture("p.png", name)]
    write_page(parts, tmp_path, tmp_path / "page.html", title=name, note=name)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert is_inert(page)
    assert len(re.findall("<script|<img|javascript:[^a]|<b>", page)) == 1  # the picture


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_picture_draws_a_name_as_it_is_read(name):
    from gentle.pictures.style import label

    fit, _ = fitted(table(name).drop("twin"), target="y")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that the font lacks
        figure = fit.plot.coefficients()
        figure.canvas.draw()
    (axes,) = figure.axes
    drawn = [tick.get_text() for tick in axes.get_yticklabels()]
    assert label(name) in drawn
    assert is_inert("".join(drawn))
    assert "$" not in label(name).replace("\\$", "")


def test_printable_text_is_left_as_it_is():
    for text in ("naïve ~ 価格", "Ünïcödé", "שלום", "a 🙂 b", "C(cut)[T.Very Good]", "x̄"):
        assert printable(text) == text
    assert printable("a\nb", keep="\n") == "a\nb"
    assert printable(printable("a\x1bb")) == printable("a\x1bb") == "a\\x1bb"
    assert is_inert(printable("".join(map(chr, range(0x110000)))), keep="")


def test_shortened_names_fit_and_those_that_differ_still_do():
    rng = np.random.default_rng(0)
    signs = list("ab価é…#1")
    for trial in range(300):
        room = int(rng.integers(12, 30))
        ends = ["".join(rng.choice(signs, size=rng.integers(0, 30))) for _ in range(4)]
        names = [
            "".join(rng.choice(ends, size=rng.integers(1, 5))) for _ in range(rng.integers(1, 9))
        ]
        short = shortened(names, room)
        assert max(map(cell_len, short)) <= room, (trial, names)
        assert len(set(short)) == len(set(names)), (trial, names, short)
        for name, cut in zip(names, short, strict=True):
            assert (cell_len(name) > room) or cut == name or "…" in name
    many = [f"{'prefix ' * 9}{at}{' suffix' * 9}" for at in range(500)]
    assert len(set(shortened(many, 12))) == 500


def test_every_line_of_a_table_has_its_columns():
    names = ["a", "b" * 200, "価" * 50, "c d " * 40]
    lines = columns(names, [("head", ["1", "22", "333", "4444"]), ("other", ["5", "6", "7", "8"])])
    assert len({cell_len(line) for line in lines[:5]}) == 1
    assert max(map(cell_len, lines)) <= 80
    whole = "".join("".join(lines[5:]).split())
    for name in names[1:]:
        assert "".join(name.split()) in whole
