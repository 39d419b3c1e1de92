"""Disguise: strings that read as numbers, or name single rows, and so are hardly meant as categories."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import polars as pl

from gentle.batch import Integers
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
MARKS = r"[\s\u00a0$\u20ac\u00a3\u00a5\u20b9%,']"  # currencies, percent signs, thousands separators
CODE = r"^0[0-9]+$"  # digits whose leading zeros count
PARENTHESES = r"^\((.+)\)$"  # accountants' minus
EUROPEAN = r"^[-+]?[0-9]{1,3}(\.[0-9]{3})+(,[0-9]+)?$"


@dataclass(frozen=True)
class Census:
    """How many of the texts of a column read as numbers, as numbers after marks, or as missing: a fold."""

    n_texts: int = 0
    n_numbers: int = 0
    n_marked: int = (
        0  # numbers once a currency, a percent sign, separators or parentheses are taken off
    )
    n_blank: int = 0  # that usually stand for a missing value
    n_codes: int = 0  # integers that begin with a zero, such as ZIP codes
    marked: str = ""  # an example of each
    blank: str = ""
    code: str = ""
    word: str | None = None  # the first that is no number, and its row
    row: int = 0

    def add(self, texts: pl.Series, rows: Integers) -> Census:
        """The fold with the texts of some rows, (n,) each."""
        kinds = _kinds(texts.drop_nulls().value_counts(name="n"))
        n = dict(kinds.group_by("kind").agg(pl.col("n").sum()).iter_rows())
        others = kinds.filter(~pl.col("kind").is_in(["number", "code"]))[texts.name]
        word, row = self.word, self.row
        if word is None and len(others):
            at = int(texts.is_in(others.implode()).arg_max() or 0)
            word, row = str(texts[at]), int(rows[at])
        return Census(
            self.n_texts + sum(n.values()),
            self.n_numbers + n.get("number", 0),
            self.n_marked + n.get("marked", 0),
            self.n_blank + n.get("blank", 0),
            self.n_codes + n.get("code", 0),
            self.marked or _example(kinds, "marked"),
            self.blank or _example(kinds, "blank"),
            self.code or _example(kinds, "code"),
            word,
            row,
        )

    def merge(self, other: Census) -> Census:
        """The fold with that of the rows after these."""
        first = self if self.word is not None else other
        return Census(
            self.n_texts + other.n_texts,
            self.n_numbers + other.n_numbers,
            self.n_marked + other.n_marked,
            self.n_blank + other.n_blank,
            self.n_codes + other.n_codes,
            self.marked or other.marked,
            self.blank or other.blank,
            self.code or other.code,
            first.word,
            first.row,
        )

    def check(self, name: str, where: str, n_levels: int) -> None:
        """Warn of a column that becomes categories and is hardly meant so.

        Raises GentleError for one that must be numbers: most of it is, in many values.
        """
        column = f"column '{name}' of {where}"
        there = self.n_texts - self.n_blank
        again = n_levels <= FEW_LEVELS and 2 * n_levels <= self.n_texts
        if self.word is not None and self.n_numbers > MOSTLY * there and not self.n_codes:
            if not again:
                raise GentleError(
                    f"{column} should be numbers, as {self.n_numbers:,} of its {self.n_texts:,} values "
                    f"are, but holds '{self.word}' in row {self.row + 1:,}: correct it, or name it with "
                    f"{_option('null_values', [self.word])} where it stands for a missing value; C({name}) "
                    "in a formula makes categories"
                )
            if self.n_blank and not self.n_marked and self.n_numbers == there:
                _warn(
                    f"{column} is text with {n_levels:,} categories, as '{self.blank}' stands among its "
                    f"numbers: {_option('null_values', [self.blank])} reads it as a missing value"
                )
        elif self.n_numbers + self.n_marked > MOSTLY * there and self.n_marked:
            _warn(
                f"{column} is text that reads as numbers with marks, such as '{self.marked}', and becomes "
                f"{n_levels:,} categories: {_way_out(self.marked)} makes numbers of it"
            )
        elif n_levels > NEARLY_ALL * self.n_texts and self.n_texts >= LEAST_ROWS:
            _warn(
                f"{column} is text with {n_levels:,} levels in {self.n_texts:,} rows, nearly one for each "
                "row, which explain anything: leave it out with features= or a formula, or give numbers"
            )


def _warn(sentence: str) -> None:
    warnings.warn(sentence, GentleWarning, stacklevel=2)


def _option(name: str, value: object) -> str:
    return f"gentle.read_csv(..., {name}={value!r})"


def _way_out(text: str) -> str:
    """The option that reads a number with marks."""
    if any(mark in text for mark in "$\u20ac\u00a3\u00a5\u20b9%("):
        return "a column without the marks"
    if pl.Series([text]).str.contains(EUROPEAN).item():
        return _option("thousands", ".")
    return _option("thousands", ",") if "," in text else "a column without the marks"


def _kinds(counts: pl.DataFrame) -> pl.DataFrame:
    """Distinct texts with their counts n, and what each reads as: code, number, blank, marked or word."""
    text = pl.nth(0).str.strip_chars()
    bare = text.str.replace(PARENTHESES, "-$1").str.replace_all(MARKS, "")
    return counts.with_columns(
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
    texts = kinds.filter(kind=kind).to_series(0)
    return str(texts.min()) if len(texts) else ""
