"""Disguise: strings that read as numbers, or name single rows, and so are hardly meant as categories."""

from __future__ import annotations

import re
import warnings

import polars as pl

from gentle.errors import GentleError, GentleWarning

MOSTLY = 0.5  # a column of which more than this share reads as numbers is meant as numbers
FEW_LEVELS = 20  # so few that occur again and again are categories, though most are digits
NEARLY_ALL = 0.8  # a column with more levels than this share of its rows names single rows
LEAST_ROWS = 8  # of which that can be said
BLANKS = (  # strings that stand for a missing value in files of other programs
    *(
        ".",
        "..",
        "-",
        "--",
        "?",
        "*",
        "#N/A",
        "#NA",
        "#VALUE!",
        "#DIV/0!",
        "<NA>",
        "n/a",
        "na",
        "N.A.",
    ),
    *("none", "None", "NONE", "missing", "Missing", "nil", "-nan", "(null)"),
)
SYMBOLS = "$\u20ac\u00a3\u00a5\u20b9%"  # currencies and percent signs
MARKS = rf"[\s\u00a0{SYMBOLS},']"  # these and separators of thousands
CODE = r"^0[0-9]+$"  # digits whose leading zeros count
PARENTHESES = r"^\((.+)\)$"  # accountants' minus
EUROPEAN = r"^[-+]?[0-9]{1,3}(\.[0-9]{3})+(,[0-9]+)?$"


def check_categories(seen: pl.DataFrame, name: str, where: str) -> None:
    """Warn of a text column that becomes categories and is hardly meant so.

    Args:
        seen: its distinct strings `text`, each with how often it is there, `n`, and first in which `row`.
        name: of the column.
        where: the name of its source.

    Raises GentleError for a column that must be numbers: most of it is, in many values.
    """
    kinds = _kinds(seen)
    n = dict(kinds.group_by("kind").agg(pl.col("n").sum()).iter_rows())
    n_numbers, n_marked, n_blank = (n.get(kind, 0) for kind in ("number", "marked", "blank"))
    others = kinds.filter(~pl.col("kind").is_in(["number", "code"])).sort("row").head(1)
    n_texts, n_levels = sum(n.values()), seen.height
    column = f"column '{name}' of {where}"
    there = n_texts - n_blank
    again = n_levels <= FEW_LEVELS and 2 * n_levels <= n_texts
    mostly = others.height > 0 and n_numbers > MOSTLY * there and "code" not in n
    if mostly and not again:
        word, row = others["text"].item(), others["row"].item()
        options = {} if word in BLANKS else _options(word)
        way = _reader(**(options or {"null_values": [word]}))
        missing = "" if options else " where it stands for a missing value"
        raise GentleError(
            f"{column} should be numbers, as {n_numbers:,} of its {n_texts:,} values are, but holds "
            f"'{word}' in row {row + 1:,}: correct it, or read it with {way}{missing}; C({name}) in a "
            "formula makes categories"
        )
    if n_marked and n_numbers + n_marked > MOSTLY * there:
        marked = _example(kinds, "marked")
        _warn(
            f"{column} is text that reads as numbers with marks, such as '{marked}', and becomes "
            f"{n_levels:,} categories: give numbers, as {_marked_reader(marked)} reads from a CSV"
        )
    elif mostly and n_blank and n_numbers == there:
        blank = _example(kinds, "blank")
        _warn(
            f"{column} is text with {n_levels:,} categories, as '{blank}' stands among its numbers: "
            f"{_reader(null_values=[blank])} reads it as a missing value"
        )
    elif n_levels > NEARLY_ALL * n_texts and n_texts >= LEAST_ROWS:
        _warn(
            f"{column} is text with {n_levels:,} levels in {n_texts:,} rows, nearly one for each row, "
            "which explain anything: leave it out with features= or a formula, or give numbers"
        )


def way_to_read(text: str) -> str:
    """How a CSV is read where such a string is a number with marks, or stands for a missing value.

    Empty for a word.
    """
    kind = _kinds(pl.DataFrame({"text": [text]}))["kind"].item()
    if kind == "blank":
        return f"{_reader(null_values=[text])} reads it as a missing value"
    return f"{_marked_reader(text)} reads it as a number" if kind == "marked" else ""


def _marked_reader(text: str) -> str:
    """What reads a number with marks; of 1,234 either decimal or thousands, as the file means it."""
    options = _options(text)
    if options == {"thousands": ","} and re.fullmatch(r"[-+]?[0-9]{1,3},[0-9]{3}", text.strip()):
        return f"{_reader(decimal=',')} or {_reader(thousands=',')}"
    return _reader(**options)


def _warn(sentence: str) -> None:
    warnings.warn(sentence, GentleWarning, stacklevel=2)


def _reader(**options: object) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    flags = ", ".join(f"--{name.replace('_', '-')}" for name in options)
    return f"gentle.read_csv(..., {given}) ({flags})"


def _options(text: str) -> dict[str, object]:
    """The options with which a CSV is read where a number with marks is a number."""
    options: dict[str, object] = {}
    if symbols := "".join(mark for mark in SYMBOLS if mark in text):
        options["symbols"] = symbols
    if "(" in text:
        options["parentheses"] = True
    digits = re.sub(r"[^0-9.,'\s]", "", text).strip()
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{3})+(,[0-9]*)?", digits):
        return options | {"thousands": ".", "decimal": ","}
    if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?", digits):
        return options | {"thousands": ","}
    if "," in digits:
        return options | {"decimal": ","}
    groups = [mark for mark in "' " if mark in digits.replace("\u00a0", " ")]
    return options | ({"thousands": groups[0]} if groups else {})


def _kinds(seen: pl.DataFrame) -> pl.DataFrame:
    """Distinct strings with what each reads as: code, number, blank, marked or word."""
    text = pl.col("text").str.strip_chars()
    bare = text.str.replace(PARENTHESES, "-$1").str.replace_all(MARKS, "")
    return seen.with_columns(
        kind=pl.when(text.str.contains(CODE))
        .then(pl.lit("code"))
        .when(text.cast(pl.Float64, strict=False).is_not_null())
        .then(pl.lit("number"))
        .when(text.is_in(BLANKS))
        .then(pl.lit("blank"))
        .when(bare.cast(pl.Float64, strict=False).is_not_null() | text.str.contains(EUROPEAN))
        .then(pl.lit("marked"))
        .otherwise(pl.lit("word"))
    )


def _example(kinds: pl.DataFrame, kind: str) -> str:
    return str(kinds.filter(kind=kind)["text"].min())
