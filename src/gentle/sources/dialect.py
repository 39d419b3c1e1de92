"""How the text of a CSV file stands for numbers: given by options, or inferred where it is unambiguous."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import polars as pl

from gentle.errors import GentleError, listed, show_value
from gentle.sources.plan import Types

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")  # texts that stand for a missing value
SEPARATORS = ",;\t|"
SYMBOLS = "%$€£¥"
SPACES = " \u00a0\u2009\u202f"  # as thousands separators each stands for all
THOUSANDS = (" ", "'", "\u2019", ",", ".")
COMPARED_LINES = 50  # from which the separator is inferred
NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
TYPES: Mapping[Any, pl.DataType] = {
    **dict.fromkeys(("text", "string", "str", "category", str), pl.String()),
    **dict.fromkeys(("number", "float", "float64", float), pl.Float64()),
    **dict.fromkeys(("integer", "int", "int64", int), pl.Int64()),
    **dict.fromkeys(("boolean", "bool", bool), pl.Boolean()),
    "date": pl.Date(),
    "datetime": pl.Datetime("us"),
}


@dataclass(frozen=True)
class Dialect:
    """The options of `read_csv`; what is None is inferred from each file."""

    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    null_values: tuple[str, ...] = MISSING
    symbols: str | None = None  # characters that may stand beside a number
    parentheses: bool | None = None  # whether (3) is -3
    dtypes: tuple[tuple[str, pl.DataType], ...] = ()

    def __post_init__(self) -> None:
        for option in ("separator", "decimal"):
            mark = getattr(self, option)
            if mark is not None and (len(mark) != 1 or not mark.isascii() or mark in '"\r\n'):
                raise GentleError(f"{option} must be one ASCII character, not {show_value(mark)}")
        if self.decimal is not None and (self.decimal.isalnum() or self.decimal in "+-()"):
            raise GentleError(
                f"decimal must be a mark such as '.' or ',', not {show_value(self.decimal)}"
            )
        if self.thousands is not None and self.thousands not in THOUSANDS:
            raise GentleError(
                f"thousands must be one of {listed(THOUSANDS)}, not {show_value(self.thousands)}"
            )
        if self.decimal == self.thousands is not None:
            raise GentleError(
                f"decimal and thousands are both {show_value(self.decimal)}: they must differ"
            )
        if self.decimal == self.separator is not None and self.decimal != ",":
            raise GentleError(
                f"decimal and separator are both {show_value(self.decimal)}: they must differ"
            )
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except (LookupError, ValueError):
                raise GentleError(
                    f"encoding={show_value(self.encoding)} is unknown: use a name such as 'latin-1', "
                    "'cp1252' or 'utf-16'"
                ) from None
        if self.symbols is not None and re.search(r"[0-9.,+\-()eE\s]", self.symbols):
            raise GentleError(
                f"symbols are characters such as '%$€' beside a number, not {show_value(self.symbols)}"
            )

    @property
    def number(self) -> Number:
        """How a number is written, in what was given."""
        return Number(
            self.decimal or ".", self.thousands or "", self.symbols or "", bool(self.parentheses)
        )

    @property
    def asked(self) -> Types:
        """Column -> the type that is asked for."""
        return dict(self.dtypes)

    def typed(self, dtypes: Types) -> Dialect:
        """The same with more types of columns."""
        return replace(self, dtypes=tuple({**self.asked, **dtypes}.items()))


def as_dtype(name: str, dtype: Any) -> pl.DataType:
    """A type of polars, also from words such as "text" or Python's types.

    Raises GentleError for another word.
    """
    if isinstance(dtype, pl.DataType):
        return dtype
    if isinstance(dtype, type) and issubclass(dtype, pl.DataType):
        return dtype()
    found = TYPES.get(dtype.lower() if isinstance(dtype, str) else dtype)
    if found is None:
        words = listed((word for word in TYPES if isinstance(word, str)), "or")
        raise GentleError(f"the dtype of column '{name}' must be {words}, not {show_value(dtype)}")
    return found


@dataclass(frozen=True)
class Number:
    """How the numbers of a column are written."""

    decimal: str = "."
    thousands: str = ""
    symbols: str = ""
    parentheses: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether polars reads such numbers itself."""
        return self == PLAIN_NUMBER

    def parse(self, column: pl.Expr, *, strict: bool) -> pl.Expr:
        """Texts as float64; what is no such number is null, or an error where strict."""
        text = column.str.strip_chars()
        if self.is_plain:
            return text.cast(pl.Float64, strict=strict)
        size = text.str.replace_all(f"[{SPACES}()+{re.escape(self._marks)}]", "")
        size = size.str.replace_all("\u2212", "-", literal=True)
        size = size.str.replace(self.decimal, ".", literal=True) if self.decimal != "." else size
        size = pl.when(text.str.contains(self.pattern)).then(size)
        if strict:  # a text that polars names in its error
            size = size.otherwise(text + " ")
        value = size.cast(pl.Float64, strict=strict)
        return pl.when(text.str.starts_with("(")).then(-value).otherwise(value)

    @property
    def pattern(self) -> str:
        """A regular expression of all such numbers."""
        thousands = f"[{SPACES}]" if self.thousands in set(SPACES) else re.escape(self.thousands)
        whole = (
            rf"\d{{1,3}}(?:{thousands}\d{{2,3}})*{thousands}\d{{3}}|\d+" if thousands else r"\d+"
        )
        point = re.escape(self.decimal)
        symbol = f"[{re.escape(self.symbols)}]?" if self.symbols else ""
        space = f"[{SPACES}]*"
        body = rf"(?:(?:{whole})(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?"
        sign = "[+\u2212-]?"
        number = rf"{space}{symbol}{space}{sign}{space}{symbol}{space}{body}{space}{symbol}{space}"
        closed = rf"|\({number}\)" if self.parentheses else ""
        return rf"^(?:{number}{closed})$"

    @property
    def _marks(self) -> str:
        return self.thousands + self.symbols


ANY = Dialect()
PLAIN_NUMBER = Number()
_ANY_SYMBOL = f"[{re.escape(SYMBOLS)}]"
# a number in any of the notations that are known
_ALIKE = (
    rf"^\(?\s*{_ANY_SYMBOL}?\s*[+\u2212-]?\s*{_ANY_SYMBOL}?\s*[.,]?\d[\d.,'\u2019{SPACES}]*"
    rf"(?:[eE][+-]?\d+)?\s*{_ANY_SYMBOL}?\s*\)?$"
)
# what a number alone says of its marks: a group of three digits may also be three decimals
_GROUPS = rf"[1-9]\d{{0,2}}(?:[#'\u2019{SPACES}]\d{{3}})+"
_EVIDENCE = {
    "decimal comma": r"^(?:\d*,(?:\d{1,2}|\d{4,})|\d{4,},\d+|0*,\d+|"
    + _GROUPS.replace("#", ".")
    + r",\d+)$",
    "decimal point": r"^(?:\d*\.(?:\d{0,2}|\d{4,})|\d{4,}\.\d+|0*\.\d+|"
    + _GROUPS.replace("#", ",")
    + r"\.\d+)(?:[eE][+-]?\d+)?$",
    "thousands comma": r"^[1-9]\d{0,2}(?:(?:,\d{2,3})+,\d{3}(?:\.\d+)?|(?:,\d{3})+\.\d+)$",
    "thousands point": r"^[1-9]\d{0,2}(?:(?:\.\d{3}){2,}(?:,\d+)?|(?:\.\d{3})+,\d+)$",
}


def infer_numbers(texts: pl.DataFrame, dialect: Dialect) -> dict[str, Number]:
    """Column -> how its numbers are written, of columns that are numbers throughout.

    The marks of a file are inferred from all of its columns together. What could be read in two ways,
    as 1,234 where nothing says whether that is a decimal comma, is left out.
    """
    plain = dialect.number
    numbers = {name: plain for name in texts.columns if _fits(texts[name], plain)}
    open_ = [name for name in texts.columns if name not in numbers]
    alike = {name: body for name in open_ if (body := _body(texts[name])) is not None}
    if not alike or None not in (
        *(dialect.decimal, dialect.thousands, dialect.symbols, dialect.parentheses),
    ):
        return numbers
    bodies = [*alike.values(), *(_bare(texts[name].unique()) for name in numbers)]
    shown = {
        mark for mark, rule in _EVIDENCE.items() if any(b.str.contains(rule).any() for b in bodies)
    }
    decimal = dialect.decimal or _decimal(shown)
    if decimal is None:
        return numbers
    if (
        decimal != plain.decimal
    ):  # what is no number with this decimal mark, as 1.5, is left as text
        plain = replace(plain, decimal=decimal)
        numbers = {name: plain for name in numbers if _fits(texts[name], plain)}
        alike |= {
            name: _bare(texts[name].unique())
            for name in texts.columns
            if name not in alike and name not in numbers and name not in open_
        }
    for name, body in alike.items():
        number = _notation(texts[name], body, dialect, decimal, shown)
        if number is not None:
            numbers[name] = number
    return numbers


def _decimal(shown: Iterable[str]) -> str | None:
    """The decimal mark of a file; None where it shows both."""
    comma = "decimal comma" in shown or "thousands point" in shown
    point = "decimal point" in shown or "thousands comma" in shown
    return None if comma and point else "," if comma else "."


def _notation(
    texts: pl.Series, body: pl.Series, dialect: Dialect, decimal: str, shown: Iterable[str]
) -> Number | None:
    """How the numbers of one column are written; None where that is ambiguous."""
    values = texts.drop_nulls().unique()
    symbols, thousands, parentheses = dialect.symbols, dialect.thousands, dialect.parentheses
    if symbols is None:
        used = [mark for mark in SYMBOLS if values.str.contains(mark, literal=True).any()]
        bare = values.filter(~values.str.contains(_ANY_SYMBOL))
        if len(used) > 1 or (used and not bare.str.contains(r"^[\s0.,]*$").all()):
            return None
        symbols = "".join(used)
    if thousands is None:
        thousands = _thousands(body, decimal, shown)
        if thousands is None:
            return None
    if parentheses is None:
        closed = values.str.starts_with("(")
        parentheses = bool(closed.any() and not closed.all())
    number = Number(decimal, thousands, symbols, parentheses)
    return number if _fits(values, number) else None


def _thousands(body: pl.Series, decimal: str, shown: Iterable[str]) -> str | None:
    """The mark between thousands in a column; None where it may also be another mark."""
    other = "," if decimal == "." else "."
    used = [mark for mark in (SPACES, "'", "\u2019") if body.str.contains(rf"\d[{mark}]\d").any()]
    if body.str.contains(other, literal=True).any():
        decided = {".": {"decimal point", "thousands comma"}, ",": {"thousands point"}}[decimal]
        if decided.isdisjoint(shown):
            return None
        used.append(other)
    return None if len(used) > 1 else used[0][0] if used else ""


def _fits(texts: pl.Series, number: Number) -> bool:
    """Whether every value of a column is such a number, and there is one."""
    parsed = texts.to_frame("text").select(number.parse(pl.col("text"), strict=False)).to_series()
    return texts.null_count() < len(texts) and parsed.null_count() == texts.null_count()


def _body(texts: pl.Series) -> pl.Series | None:
    """The distinct values of a column without their signs and symbols, if all look like numbers."""
    values = texts.drop_nulls().unique()
    if not len(values) or not values.str.strip_chars().str.contains(_ALIKE).all():
        return None
    return _bare(values)


def _bare(values: pl.Series) -> pl.Series:
    return values.str.replace_all(rf"^[\s()+\u2212\-]+|[\s()]+$|{_ANY_SYMBOL}", "").str.strip_chars(
        SPACES + "+-\u2212"
    )


def infer_separator(lines: Iterable[str]) -> tuple[str, str | None]:
    """(the mark between columns, another that the first lines would allow too)."""
    head = list(islice(lines, COMPARED_LINES))
    widths = {mark: _width(head, mark) for mark in SEPARATORS}
    if not widths[","]:
        first = _fields(head[:1])
        possible = [mark for mark in SEPARATORS[1:] if widths[mark]]
        if not possible and len(first) == 1:  # ragged rows are refused elsewhere
            possible = [mark for mark in SEPARATORS[1:] if mark in first[0]]
        if len(first) == 1 or len(possible) == 1:
            return (possible[0] if possible else ","), None
        return ",", None
    others = [mark for mark in SEPARATORS[1:] if widths[mark]]
    return ",", others[0] if others else None


def _fields(lines: Sequence[str]) -> list[str]:
    """The fields of the first line; none where they cannot be read, which is refused elsewhere."""
    try:
        return next(csv.reader(lines), [])
    except csv.Error:
        return []


def _width(lines: Sequence[str], mark: str) -> int:
    """How many columns all lines have with this separator; 0 where they differ or have one."""
    try:
        widths = {len(row) for row in csv.reader(lines, delimiter=mark) if row}
    except csv.Error:
        return 0
    width = widths.pop() if len(widths) == 1 else 0
    return width if width > 1 else 0
