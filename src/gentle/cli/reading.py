"""How the rows of a command are read: options of CSV files, the same for every command that takes rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from gentle.errors import GentleError

OPTIONS: dict[str, Any] = {
    "separator": Annotated[
        str | None,
        typer.Option(help="Of a CSV file: the character between columns.", metavar="CHAR"),
    ],
    "decimal": Annotated[
        str | None, typer.Option(help="Of a CSV file: the decimal mark.", metavar="CHAR")
    ],
    "thousands": Annotated[
        str | None,
        typer.Option(help="Of a CSV file: the mark between groups of digits.", metavar="CHAR"),
    ],
    "encoding": Annotated[
        str | None,
        typer.Option(help="Of a CSV file, such as latin-1 or cp1252.", metavar="NAME"),
    ],
    "null_values": Annotated[
        list[str] | None,
        typer.Option(
            help="Of a CSV file: a string that stands for a missing value; repeat for more.",
            metavar="TEXT",
        ),
    ],
    "dtype": Annotated[
        list[str] | None,
        typer.Option(
            help="Of a CSV file: the type of a column, such as zip=text; repeat for more.",
            metavar="COLUMN=TYPE",
        ),
    ],
    "symbols": Annotated[
        str | None,
        typer.Option(
            help="Of a CSV file: characters beside numbers that are left out.", metavar="CHARS"
        ),
    ],
    "parentheses": Annotated[
        bool | None,
        typer.Option("--parentheses/--no-parentheses", help="Of a CSV file: (3) is -3."),
    ],
}
TABS = ("\\t", "tab")  # as people write one in a shell


def reading(command: Callable[..., None]) -> Callable[..., None]:
    """The command with options of CSV files, and their rows in place of a path."""
    own = inspect.signature(command, eval_str=True)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in OPTIONS.items()
    ]

    @wraps(command)
    def read(*args: Any, file: str, **kwargs: Any) -> None:
        options = {name: kwargs.pop(name, None) for name in OPTIONS}
        command(*args, file=_rows(file, options), **kwargs)

    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own.parameters.values()
    ]
    read.__signature__ = own.replace(parameters=[*parameters, *more])  # type: ignore[attr-defined]
    return read


def _rows(file: str, options: dict[str, Any]) -> Any:
    """The path, or where an option is given the CSV files that are read with it."""
    given = {name: value for name, value in options.items() if value not in (None, [])}
    if not given:
        return file
    from gentle.sources.files import read_csv

    if given.get("separator") in TABS:
        given["separator"] = "\t"
    if "dtype" in given:
        given["dtypes"] = dict(_typed(each) for each in given.pop("dtype"))
    return read_csv(file, **given)


def _typed(given: str) -> tuple[str, str]:
    name, equals, dtype = given.rpartition("=")
    if not equals or not name:
        raise GentleError(f"--dtype takes COLUMN=TYPE, such as zip=text, and is {given!r}")
    return name, dtype
