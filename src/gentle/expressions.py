"""Expressions of formulas: a string is read once, by one grammar, into a small tree of frozen values.

The tree can say only what the grammar knows: columns, numbers, strings, operators and calls of functions
by name. It is checked and evaluated by walking it; no part of the string goes anywhere else. A column is
a node that holds the column's name, which is never taken for an identifier, a constant or a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from math import isinf
from typing import NamedTuple, TypeVar

from gentle.errors import GentleError

T = TypeVar("T")

MAX_LENGTH = 100_000  # characters of a formula
MAX_NESTING = 50  # parentheses and calls inside each other
MAX_OPERATIONS = 200  # of one expression, which bounds the depth of its tree
MAX_DIGITS = 308  # of an integer
SHOWN_CHARACTERS = 200  # of a formula in a message

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<word>\.?[^\W\d][\w.]*)
      | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?!\w))
      | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<quoted>`[^`]*`)
      | (?P<operator>\*\*|//|<=|>=|==|!=|%in%|[-+*/%:^~|&<>=(),.{}\[\]])""",
    re.VERBOSE | re.DOTALL,
)
QUOTED = re.compile(r"`([^`]*)`")
_BARE = re.compile(r"[^\W\d][\w.]*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}
RESERVED = (
    "True",
    "False",
    "None",
)  # constants in an expression; a column of such a name is quoted
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
# operator -> how strongly it binds; '&' and '|' bind less than comparisons, as in R
PRECEDENCE = {"|": 1, "&": 2, **dict.fromkeys(COMPARISONS, 3), "+": 4, "-": 4} | {
    **dict.fromkeys(("*", "/", "//", "%"), 5)
}
_SIGN, _POWER, _ATOM = 6, 7, 8


@dataclass(frozen=True)
class Name:
    """A column."""

    name: str

    def __str__(self) -> str:
        return quote_name(self.name)


@dataclass(frozen=True)
class Number:
    """A number, by its shortest text: 1 and 1.0 are two."""

    text: str

    @property
    def value(self) -> int | float:
        return int(self.text) if self.text.isdigit() else float(self.text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class String:
    """A string, such as the name of a level."""

    value: str

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True)
class Constant:
    """True, False, None, pi, or a contrast such as contr.sum."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Items:
    """A list or a tuple."""

    items: tuple[Node, ...]
    brackets: str = "[]"

    def __str__(self) -> str:
        comma = "," if len(self.items) == 1 and self.brackets == "()" else ""
        return f"{self.brackets[0]}{', '.join(map(str, self.items))}{comma}{self.brackets[1]}"


@dataclass(frozen=True)
class Unary:
    """A sign or a negation: + - ~."""

    operator: str
    operand: Node

    def __str__(self) -> str:
        return f"{self.operator}{_inside(self.operand, _SIGN)}"


@dataclass(frozen=True)
class Binary:
    """An operation on two values: + - * / // % ** & |."""

    operator: str
    left: Node
    right: Node

    def __str__(self) -> str:
        own = _strength(self)
        power = self.operator == "**"
        left = _inside(self.left, own + power)
        return f"{left} {self.operator} {_inside(self.right, own + (not power))}"


@dataclass(frozen=True)
class Comparison:
    """A chain of comparisons, such as 0 < x <= 1."""

    operators: tuple[str, ...]
    operands: tuple[Node, ...]

    def __str__(self) -> str:
        first, *rest = (_inside(operand, PRECEDENCE["+"]) for operand in self.operands)
        return first + "".join(
            f" {operator} {operand}" for operator, operand in zip(self.operators, rest, strict=True)
        )


@dataclass(frozen=True)
class Call:
    """A function of arguments by position and by name."""

    function: str
    arguments: tuple[Node, ...]
    options: tuple[tuple[str, Node], ...] = ()

    def __str__(self) -> str:
        options = (f"{name}={value}" for name, value in self.options)
        return f"{self.function}({', '.join((*map(str, self.arguments), *options))})"


Node = Name | Number | String | Constant | Items | Unary | Binary | Comparison | Call


def is_condition(node: Node) -> bool:
    """Whether a node is true or false in each row, whatever its columns hold."""
    match node:
        case Comparison() | Unary("~") | Binary("&" | "|") | Constant("True" | "False"):
            return True
    return False


def quote_name(name: str) -> str:
    """How a formula names a column: bare, in backticks, or with a backtick in it as Q("...")."""
    if _BARE.fullmatch(name) and name not in RESERVED:
        return name
    return f"Q({name!r})" if "`" in name else f"`{name}`"


def show(text: str) -> str:
    """A formula in a message: on one line, printable, and not too long."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}..."


def _strength(node: Node) -> int:
    match node:
        case Comparison():
            return 0  # in parentheses wherever it is an operand
        case Unary():
            return _SIGN
        case Binary("**"):
            return _POWER
        case Binary(operator):
            return PRECEDENCE[operator]
    return _ATOM


def _inside(node: Node, least: int) -> str:
    """A node as an operand, in parentheses where it binds less strongly than that."""
    return f"({node})" if _strength(node) < least else str(node)


class Token(NamedTuple):
    """A word, number, string, quoted name, operator, or the end, and where it starts."""

    kind: str
    text: str
    start: int


def tokenize(text: str) -> list[Token]:
    """The tokens of a formula, an end after them; GentleError for a character that has no place."""
    if len(text) > MAX_LENGTH:
        raise GentleError(
            f"the formula has {len(text):,} characters, and at most {MAX_LENGTH:,} are read: name the "
            "columns with features="
        )
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise GentleError(f"'{show(text)}' is not a formula: {_stray(text, at)}")
        if match.lastgroup != "space":
            tokens.append(Token(str(match.lastgroup), match[0], at))
        at = match.end()
    return [*tokens, Token("end", "the end", at)]


def _stray(text: str, at: int) -> str:
    """Why no token starts here."""
    if text[at] in "'\"`":
        what = "backtick" if text[at] == "`" else "quotation mark"
        return f"the {what} at character {at + 1:,} is never closed"
    if text[at] in ".0123456789":
        return (
            f"'{show(text[at : at + 20])}' begins like a number: a column of such a name stands in "
            "backticks"
        )
    return f"{show(text[at])!r} has no place in it (character {at + 1:,})"


class Parser:
    """The expressions of a formula, read from its tokens one after the other."""

    def __init__(self, text: str, columns: Container[str]) -> None:
        self.text = text
        self._columns = columns
        self._tokens = tokenize(text)
        self._at = 0
        self._nesting = 0
        self._operations = 0

    @property
    def token(self) -> Token:
        """The token that is next."""
        return self._tokens[self._at]

    def peek(self) -> Token:
        """The token after the next."""
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    def take(self, *operators: str) -> str:
        """The next token's text if it is one of these operators, which is then behind us; else ''."""
        if not self.opens(*operators):
            return ""
        self._at += 1
        return self._tokens[self._at - 1].text

    def require(self, operator: str) -> None:
        """Take an operator that must be next."""
        if not self.take(operator):
            raise self.error(f"'{operator}' is needed where '{show(self.token.text)}' stands")

    def error(self, reason: str) -> GentleError:
        """What is said of a formula that cannot be read."""
        return GentleError(f"'{show(self.text)}' is not a formula: {reason}")

    def begin(self) -> int:
        """Start another expression, with all the operations it may have; where it starts."""
        self._operations = 0
        return self._at

    def rewind(self, at: int) -> None:
        """Go back to the token where an expression started."""
        self._at = at

    def skip(self) -> Token:
        """The next token, which is then behind us."""
        token = self.token
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def expression(self, least: int = 1) -> Node:
        """Operations that bind at least so strongly, from left to right."""
        left = self.unary()
        while True:
            kind, text, _ = self.token
            if kind == "operator" and text == "^":
                raise self.error(
                    "'^' has no meaning inside an expression: a power is written with **, as in I(year**2)"
                )
            if kind != "operator" or PRECEDENCE.get(text, 0) < least:
                return left
            if text in COMPARISONS:
                left = self._comparison(left)
            else:
                self._at += 1
                left = self._counted(Binary(text, left, self.expression(PRECEDENCE[text] + 1)))

    def _comparison(self, first: Node) -> Node:
        """A chain of comparisons, of which the first operand was read."""
        operands, operators = [first], []
        while operator := self.take(*COMPARISONS):
            operators.append(operator)
            operands.append(self.expression(PRECEDENCE["+"]))
        return self._counted(Comparison(tuple(operators), tuple(operands)))

    def unary(self) -> Node:
        """Signs before a power."""
        signs = []
        while sign := self.take("+", "-", "~"):
            signs.append(sign)
        node = self.power()
        for sign in reversed(signs):
            node = self._counted(Unary(sign, node))
        return node

    def power(self) -> Node:
        """An atom, or a power of one."""
        base = self.atom()
        return self._counted(Binary("**", base, self.unary())) if self.take("**") else base

    def atom(self) -> Node:
        """A column, a number, a string, a call, a list, or an expression in parentheses."""
        kind, text, _ = self.token
        if kind == "word":
            self._at += 1
            return self._call(text) if self.opens("(") else self.named(text)
        if kind in ("number", "string", "quoted"):
            self._at += 1
            return self._literal(kind, text)
        if self.opens("("):
            return self.nested(self._parenthesised)
        if self.opens("["):
            return self.nested(lambda: Items(self._items("[", "]")))
        if self.opens("{"):
            return self.nested(self._braces)
        raise self.error(f"a column, a number or a function is needed where '{show(text)}' stands")

    def named(self, word: str) -> Node:
        """A column by a bare word, or the constant of that name where no column has it."""
        named = (word == "pi" or word.startswith("contr.")) and word not in self._columns
        if named or word in RESERVED:
            return Constant(word)
        return Name(word)

    def nested(self, read: Callable[[], T]) -> T:
        """What stands in one more pair of parentheses; GentleError where they are too many."""
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise self.error(f"it nests more than {MAX_NESTING} parentheses")
        inner = read()
        self._nesting -= 1
        return inner

    def opens(self, *operators: str) -> bool:
        """Whether one of these operators is next."""
        return self.token.kind == "operator" and self.token.text in operators

    def _braces(self) -> Node:
        self.require("{")
        inner = self.expression()
        self.require("}")
        return inner

    def _parenthesised(self) -> Node:
        self.require("(")
        first = self.expression()
        if not self.opens(","):
            self.require(")")
            return first
        items = [first]
        while self.take(","):
            if self.opens(")"):
                break
            items.append(self.expression())
        self.require(")")
        return Items(tuple(items), "()")

    def _items(self, first: str, last: str) -> tuple[Node, ...]:
        self.require(first)
        items = []
        while not self.opens(last):
            items.append(self.expression())
            if not self.take(","):
                break
        self.require(last)
        return tuple(items)

    def _call(self, function: str) -> Node:
        arguments, options = self.nested(self._arguments)
        if function == "Q":
            if len(arguments) == 1 and isinstance(arguments[0], String) and not options:
                return Name(arguments[0].value)
            raise self.error("Q takes the name of a column as a string, as in Q('two words')")
        return self._counted(Call(function, arguments, options))

    def _arguments(self) -> tuple[tuple[Node, ...], tuple[tuple[str, Node], ...]]:
        arguments: list[Node] = []
        options: dict[str, Node] = {}
        self.require("(")
        while not self.opens(")"):
            name = self.token.text
            if self.token.kind == "word" and self.peek()[:2] == ("operator", "="):
                self._at += 2
                if name in options:
                    raise self.error(f"'{name}=' stands twice in one call")
                options[name] = self.expression()
            elif options:
                raise self.error("arguments by position come before those by name")
            else:
                arguments.append(self.expression())
            if not self.take(","):
                break
        self.require(")")
        return tuple(arguments), tuple(options.items())

    def _counted(self, node: Node) -> Node:
        self._operations += 1
        if self._operations > MAX_OPERATIONS:
            raise self.error(f"one expression has more than {MAX_OPERATIONS} operations")
        return node

    def _literal(self, kind: str, text: str) -> Node:
        if kind == "quoted":
            return Name(text[1:-1])
        if kind == "string":
            return String(self._unescaped(text[1:-1]))
        if re.fullmatch("[0-9]+", text):
            if len(text) > MAX_DIGITS:
                raise self.error(f"an integer of {len(text):,} digits is too large")
            return Number(str(int(text)))
        if isinf(float(text)):
            raise self.error(f"{show(text)} is beyond the largest number, 1.8e308")
        return Number(repr(float(text)))

    def _unescaped(self, inner: str) -> str:
        def replace(match: re.Match[str]) -> str:
            letter = match[1]
            if letter not in _ESCAPES:
                raise self.error(f"the escape {show(match[0])} in a string is unknown")
            return _ESCAPES[letter]

        return re.sub(r"\\(.)", replace, inner, flags=re.DOTALL)
