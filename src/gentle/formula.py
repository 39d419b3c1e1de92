"""Wilkinson formulas through formulaic, held to a list of known functions.

formulaic evaluates any Python that stands in a formula. Here a formula is data: it may name columns,
operators and the functions of `FUNCTIONS`, and whatever else it holds is refused before anything
is evaluated, when fitting and when predicting.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from formulaic import Formula, SimpleFormula, StructuredFormula
from formulaic.errors import FormulaicError
from formulaic.parser.algos.tokenize import tokenize
from formulaic.parser.types import Factor, Term, Token

from gentle.batch import INTERCEPT
from gentle.errors import GentleError, first_line, listed, near
from gentle.sources import Schema
from gentle.sources.source import reads_as_number

ELEMENTWISE = {
    function.__name__: function
    for function in (
        *(
            np.abs,
            np.arccos,
            np.arcsin,
            np.arctan,
            np.cbrt,
            np.ceil,
            np.cos,
            np.cosh,
            np.exp,
            np.exp2,
        ),
        *(np.expm1, np.floor, np.log, np.log10, np.log1p, np.log2, np.maximum, np.minimum, np.sign),
        *(np.sin, np.sinh, np.sqrt, np.square, np.tan, np.tanh),
    )
} | {"abs": np.abs}
LEARNED = ("C", "bs", "cc", "center", "cr", "cs", "poly", "scale", "standardize")
CONTRASTS = ("diff", "helmert", "poly", "sum", "treatment")  # as contr.sum, inside C()
FUNCTIONS = ("I", *LEARNED, *ELEMENTWISE)  # each of ELEMENTWISE also as np.name
LARGEST_POWER = 64
LARGEST_BASIS = 100  # columns of one spline or polynomial
LARGEST_INTERACTION = 4  # in (a + b + c)**4
MOST_PRODUCTS = 10  # a * b doubles the terms: each factor more doubles them again
_DOT = re.compile(r"(?<![\w.)])\.(?![\w.(])")  # that stands alone
_TICKED = re.compile(r"`[^`]*`")
LONGEST_FORMULA = 100_000  # characters

QUOTED = re.compile(r"`([^`]*)`")
_OFFSET = re.compile(r"\s*offset\s*\((.*)\)\s*", re.DOTALL)
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Load,
    ast.Constant, ast.keyword, ast.Attribute,
    ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip


@dataclass(frozen=True)
class Parsed:
    """A formula that has been read and found harmless; nothing of it has been evaluated yet."""

    text: str
    formula: Any  # formulaic's terms, left and right of the ~ and of the offset
    target_columns: tuple[str, ...]  # the source's columns left of the ~, in the source's order
    feature_columns: tuple[str, ...]  # those right of it
    aside: tuple[str, ...]  # of these, the ones that '.' does not stand for
    offset: str  # the expression in offset(), or several as a sum; empty without one
    offset_columns: tuple[str, ...]  # the columns in it, which are among those right of the ~
    coded: frozenset[str]  # columns that stand alone in C(): their integers are names of levels

    @property
    def columns(self) -> tuple[str, ...]:
        """The source's columns it names, each once."""
        return tuple(dict.fromkeys((*self.feature_columns, *self.target_columns)))

    @property
    def factors(self) -> list[Factor]:
        """What its terms are products of, each once."""
        factors = [
            factor for side in self.formula._flatten() for term in side for factor in term.factors
        ]
        return list({factor.expr: factor for factor in factors}.values())


def parse(text: str, schema: Schema, aside: Iterable[str] = ()) -> Parsed:
    """Read a formula over the columns of a schema; `.` stands for those that are not set aside.

    Raises GentleError for what is no formula, for a column that does not exist and for anything
    beyond columns, operators and known functions.
    """
    if text.rstrip().endswith("~"):
        raise GentleError(
            f"'{text}' has nothing to the right of '~': 'y ~ 1' is the constant alone"
        )
    if len(text) > LONGEST_FORMULA:
        raise GentleError(f"the formula has {len(text):,} characters: give columns with features=")
    aside = set(aside)
    visible = [name for name in schema if name not in aside]
    meant = [name for name in visible if _DOT.search(_TICKED.sub("", text)) or f"`{name}`" in text]
    if numbers := [name for name in meant if reads_as_number(name)]:
        raise GentleError(
            f"a formula reads {listed(numbers, most=4)} as a number, with '.' and between backticks too: "
            "rename the column, or name the target without a formula"
        )
    try:
        _check_tokens(text)
        formula = Formula(text, _context={"__formulaic_variables_available__": visible})
    except GentleError:
        raise
    except (FormulaicError, SyntaxError, RecursionError, ValueError) as error:
        raise GentleError(
            f"'{text}' is not a formula that can be read: {first_line(error)}"
        ) from None
    left, right = getattr(formula, "lhs", None), getattr(formula, "rhs", None)
    if left is None or right is None or not _is_terms(left) or not _is_terms(right):
        raise GentleError(f"'{text}' must have the form 'target ~ a + b', with one '~' and no '|'")
    if not list(left):
        raise GentleError(f"'{text}' must have a target to the left of '~'")
    known, right = _offsets(list(right), text)
    sides = {"lhs": left, "rhs": SimpleFormula(right, _ordering="none")}
    if known:
        sides["offset"] = SimpleFormula(known, _ordering="none")
    target_columns, _ = _names_used(left, schema, text)
    feature_columns, coded = _names_used([*right, *known], schema, text)
    offset_columns, _ = _names_used(known, schema, text)
    named = dict.fromkeys((*feature_columns, *target_columns))
    return Parsed(
        text,
        StructuredFormula(**sides),
        target_columns,
        feature_columns,
        tuple(name for name in named if name in aside),
        " + ".join(term.factors[0].expr for term in known),
        offset_columns,
        frozenset(coded),
    )


def _offsets(terms: list[Term], text: str) -> tuple[list[Term], list[Term]]:
    """(what stands in offset(), the other terms) of the right side."""
    known, others = [], []
    for term in terms:
        inner = [_in_offset(factor.expr) for factor in term.factors]
        if not any(inner):
            others.append(term)
        elif len(inner) == 1:
            known.append(Term([Factor(inner[0], eval_method="python")]))
        else:
            raise GentleError(
                f"'{term}' of '{text}' multiplies an offset, whose coefficient is 1: offset(a * b) is "
                "one of a product"
            )
    return known, others


def _in_offset(expression: str) -> str:
    """What stands in offset(...), where an expression is that; else nothing."""
    found = _OFFSET.fullmatch(expression)
    if found is None:
        return ""
    try:
        node = ast.parse(unquoted(expression.strip())[0], mode="eval").body
    except (SyntaxError, RecursionError, ValueError, MemoryError):
        return ""
    if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords:
        return ""
    return found[1].strip() if ast.unparse(node.func) == "offset" else ""


def unquoted(expression: str) -> tuple[str, dict[str, str]]:
    """An expression with plain names for those in backticks, and which name stands for which."""
    quoted = QUOTED.findall(expression)
    plain = expression
    for at in range(len(quoted)):
        plain = QUOTED.sub(f"_quoted_{at}_", plain, count=1)
    return plain, {f"_quoted_{at}_": name for at, name in enumerate(quoted)}


class _Numpy:
    """What `np.` may reach inside a formula."""


for _name, _function in ELEMENTWISE.items():
    setattr(_Numpy, _name, staticmethod(_function))

KNOWN = ELEMENTWISE | {"np": _Numpy}  # the functions of a formula that learn nothing


def _is_terms(side: Any) -> bool:
    return all(isinstance(term, Term) for term in side)


def _check_tokens(text: str) -> None:
    """Raises GentleError for foreign words, and for products that take for ever to write out."""
    products = 0
    tokens = list(tokenize(text))
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.kind is Token.Kind.PYTHON:
            _Reading(
                _in_offset(token.token) or token.token, text
            )  # also where a minus takes its term away again
        if token.kind is not Token.Kind.OPERATOR:
            continue
        products += token.token in ("*", "/", "%in%")
        if token.token in ("**", "^"):
            power = after.token if after is not None else ""
            if not power.isdigit() or int(power) > LARGEST_INTERACTION:
                raise GentleError(
                    f"'{text}' raises a sum to the power '{power}': interactions of at most "
                    f"{LARGEST_INTERACTION} columns can be written so"
                )
    if products > MOST_PRODUCTS:
        raise GentleError(f"'{text}' has {products} products: at most {MOST_PRODUCTS} are allowed")


def _names_used(
    terms: Iterable[Term], schema: Schema, text: str
) -> tuple[tuple[str, ...], set[str]]:
    """(columns, coded) that the terms of a formula name; anything else is refused."""
    columns: set[str] = set()
    coded: set[str] = set()
    factors: list[Factor] = [factor for term in terms for factor in term.factors]
    for factor in factors:
        method = factor.eval_method.value
        if method == "lookup":
            columns.add(factor.expr)
        elif method == "python":
            found = _Reading(factor.expr, text)
            columns |= found.columns
            coded |= found.coded
    if INTERCEPT in columns:
        raise GentleError(
            f"'{text}' names a column '{INTERCEPT}', which is what formulas call the constant: rename it"
        )
    for name in sorted(columns - set(schema)):
        raise GentleError(
            f"'{text}' names a column '{name}' that is not there: {near(name, schema)}"
        )
    return tuple(name for name in schema if name in columns), coded


class _Reading(ast.NodeVisitor):
    """One Python expression of a formula, walked over and refused at the first foreign word."""

    def __init__(self, expression: str, text: str) -> None:
        self.columns: set[str] = set()
        self.coded: set[str] = set()
        self._text = text
        self._expression = expression
        plain, self._quoted = unquoted(expression)
        try:
            tree = ast.parse(plain, mode="eval")
        except (SyntaxError, RecursionError, ValueError, MemoryError):
            raise self._refusal("it cannot be read as an expression") from None
        self.visit(tree)

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, _NODES):
            raise self._refusal(f"{type(node).__name__} has no place in a formula")
        super().visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.columns.add(self._quoted.get(node.id, node.id))

    def visit_Call(self, node: ast.Call) -> None:
        function = self._function(node.func)
        if function not in LEARNED:  # numpy would write into a further argument
            arity = ELEMENTWISE[function].nin if function in ELEMENTWISE else 1
            if node.keywords or len(node.args) != arity:
                raise self._refusal(f"{function} takes {arity} argument{'s' * (arity > 1)}")
        if any(keyword.arg is None for keyword in node.keywords):
            raise self._refusal("** has no place in a call")
        if function == "C":
            self._levels_of(node)
        for name, argument in _arguments(node):
            if function in LEARNED:
                self._option(name, argument)
            else:
                self.visit(argument)

    def _levels_of(self, node: ast.Call) -> None:
        if any(it.arg == "levels" for it in node.keywords) or not 1 <= len(node.args) <= 2:
            raise self._refusal("levels are those of the data: C takes a column and a contrast")
        named = [it.value for it in node.keywords if it.arg == "contrasts"]
        for contrast in (*node.args[1:], *named):
            matrix = isinstance(contrast, ast.List | ast.Tuple)
            if not (matrix or ast.unparse(contrast) == "None" or self._is_contrast(contrast)):
                raise self._refusal(
                    f"{ast.unparse(contrast)} is no contrast, which may be "
                    f"{listed((f'contr.{name}' for name in CONTRASTS), 'or')}, and with another reference "
                    "contr.treatment('level')"
                )
        if isinstance(node.args[0], ast.Name):
            self.coded.add(self._quoted.get(node.args[0].id, node.args[0].id))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        raise self._refusal(f"'.{node.attr}' reaches into an object")

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, int | float):
            raise self._refusal(f"{node.value!r} is not a number")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.LShift | ast.RShift | ast.MatMult):
            raise self._refusal("of the operators only + - * / // % ** & | ^ are known")
        if isinstance(node.op, ast.Pow):
            if not _small_number(node.right, LARGEST_POWER):
                raise self._refusal(f"a power must be a number of at most {LARGEST_POWER}")
            if not any(isinstance(part, ast.Name) for part in ast.walk(node.left)):
                raise self._refusal("a power must be one of a column")
        self.visit(node.left)
        self.visit(node.right)

    def _option(self, name: str | None, node: ast.expr) -> None:
        """An argument of a function that learns may also be a text, a truth or a list of numbers."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bool | None):
            return
        counts = isinstance(node, ast.Constant) and name in (None, "df", "degree")
        if counts and not _small_number(node, LARGEST_BASIS):
            raise self._refusal(f"at most {LARGEST_BASIS} columns can come of one")
        if isinstance(node, ast.List | ast.Tuple):
            for item in node.elts:
                self._option("", item)
        elif not self._is_contrast(node):
            self.visit(node)

    def _is_contrast(self, node: ast.expr) -> bool:
        """contr.treatment or contr.treatment('base')"""
        if isinstance(node, ast.Call) and self._is_contrast(node.func):
            for name, argument in _arguments(node):
                self._option(name, argument)
            return True
        return (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "contr"
            and node.attr in CONTRASTS
        )

    def _function(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name) and node.id in FUNCTIONS:
            return node.id
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "np"
            and node.attr in ELEMENTWISE
        ):
            return node.attr
        raise self._refusal(f"'{ast.unparse(node)}' is not one of the functions it may call")

    def _refusal(self, reason: str) -> GentleError:
        where = "" if self._text == self._expression else f" of '{self._text}'"
        return GentleError(
            f"'{self._expression}'{where} is refused: {reason}. A formula may name columns, "
            f"operators and these functions: {', '.join((*FUNCTIONS, 'offset'))}"
        )


def _arguments(node: ast.Call) -> list[tuple[str | None, ast.expr]]:
    """The arguments of a call, each with its keyword where it has one."""
    return [(None, argument) for argument in node.args] + [
        (keyword.arg, keyword.value) for keyword in node.keywords
    ]


def _small_number(node: ast.expr, most: int) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        node = node.operand
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and abs(node.value) <= most
    )
