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
import pandas as pd
import polars as pl
from formulaic import Formula, ModelSpec
from formulaic.errors import FormulaicError
from formulaic.parser.types import Factor, Term

from gentle.batch import Floats
from gentle.errors import GentleError, near
from gentle.sources import Schema

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
LONGEST_FORMULA = 100_000  # characters

_QUOTED = re.compile(r"`([^`]*)`")
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Load,
    ast.Constant, ast.keyword, ast.Tuple, ast.List, ast.Attribute,
    ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip


@dataclass(frozen=True)
class Parsed:
    """A formula that has been read and found harmless; nothing of it has been evaluated yet."""

    text: str
    formula: Formula
    target_columns: tuple[str, ...]  # the source's columns left of the ~, in the source's order
    feature_columns: tuple[str, ...]  # those right of it
    learns: bool  # whether a function of it has a state that comes from the data

    @property
    def columns(self) -> tuple[str, ...]:
        """The source's columns it names, each once."""
        return tuple(dict.fromkeys((*self.feature_columns, *self.target_columns)))


@dataclass(frozen=True)
class Wilkinson:
    """A formula with the state it learned, such as knots and means: frames to numbers."""

    text: str
    target: str
    names: tuple[str, ...]  # columns of x, the constant not among them
    intercept: bool
    spec: Any  # formulaic's ModelSpecs

    def encode(self, frame: pl.DataFrame) -> tuple[Floats, Floats]:
        """(x, y) of complete rows: (n, p) and (n, 1)."""
        return self._numbers(self.spec.rhs, frame), self._side(self.spec.lhs, frame)

    def encode_x(self, frame: pl.DataFrame) -> Floats:
        """x of complete rows, (n, p), where there is no target."""
        return self._numbers(self.spec.rhs, frame)

    def _numbers(self, spec: ModelSpec, frame: pl.DataFrame) -> Floats:
        x = self._side(spec, frame)
        return x[:, 1:] if self.intercept else x

    def _side(self, spec: ModelSpec, frame: pl.DataFrame) -> Floats:
        table = _pandas(frame)
        with np.errstate(all="ignore"):  # log(-1) is a missing value and is counted as one
            matrix = spec.get_model_matrix(table, context=ELEMENTWISE | {"np": _Numpy})
        # A formula of the constant alone has no column that would tell formulaic the height.
        numbers = np.asarray(matrix, dtype=np.float64)
        return numbers if len(numbers) == len(table) else np.ones((len(table), 1))


def parse(text: str, schema: Schema) -> Parsed:
    """Read a formula over the columns of a schema.

    Raises GentleError for what is no formula, for a column that does not exist and for anything
    beyond columns, operators and known functions.
    """
    if len(text) > LONGEST_FORMULA:
        raise GentleError(f"the formula has {len(text):,} characters: give columns with features=")
    try:
        formula = Formula(text, _context={"__formulaic_variables_available__": list(schema)})
    except (FormulaicError, SyntaxError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GentleError(f"'{text}' is not a formula that can be read: {reason}") from None
    left, right = getattr(formula, "lhs", None), getattr(formula, "rhs", None)
    if left is None or right is None or not _is_terms(left) or not _is_terms(right):
        raise GentleError(f"'{text}' must have the form 'target ~ a + b', with one '~' and no '|'")
    if len(list(left)) != 1:
        raise GentleError(f"'{text}' must have one target to the left of '~'")
    target_columns, target_functions = _names_used(left, schema, text)
    feature_columns, functions = _names_used(right, schema, text)
    learns = bool((functions | target_functions) & set(LEARNED))
    return Parsed(text, formula, target_columns, feature_columns, learns)


def learn(parsed: Parsed, frame: pl.DataFrame) -> Wilkinson:
    """The formula with the state that complete rows teach it.

    The frame holds all rows where the formula has functions that learn, else any few of them.
    """
    try:
        with np.errstate(all="ignore"):
            matrices = parsed.formula.get_model_matrix(
                _pandas(frame), context=ELEMENTWISE | {"np": _Numpy}, na_action="ignore"
            )
    except (FormulaicError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GentleError(f"'{parsed.text}' cannot be evaluated on these data: {reason}") from None
    spec = matrices.model_spec
    columns = tuple(str(name) for name in spec.rhs.column_names)
    targets = tuple(str(name) for name in spec.lhs.column_names)
    if len(targets) != 1:
        raise GentleError(f"the target of '{parsed.text}' must be one column of numbers")
    intercept = columns[:1] == ("Intercept",)
    return Wilkinson(parsed.text, targets[0], columns[int(intercept) :], intercept, spec)


class _Numpy:
    """What `np.` may reach inside a formula."""


for _name, _function in ELEMENTWISE.items():
    setattr(_Numpy, _name, staticmethod(_function))


def _is_terms(side: Any) -> bool:
    return all(isinstance(term, Term) for term in side)


def _pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """The frame for formulaic: numbers as numpy has them, text as categories with all its levels."""
    return pd.DataFrame({column.name: _pandas_column(column) for column in frame})


def _pandas_column(column: pl.Series) -> Any:
    if isinstance(column.dtype, pl.Enum):
        codes = column.to_physical().to_numpy().astype(np.int64)
        return pd.Categorical.from_codes(codes, pd.Index(column.dtype.categories.to_list()))
    return column.to_numpy()


def _names_used(
    terms: Iterable[Term], schema: Schema, text: str
) -> tuple[tuple[str, ...], set[str]]:
    """(columns, functions) that the terms of a formula name; anything else is refused."""
    columns: set[str] = set()
    functions: set[str] = set()
    factors: list[Factor] = [factor for term in terms for factor in term.factors]
    for factor in factors:
        method = factor.eval_method.value
        if method == "lookup":
            columns.add(factor.expr)
        elif method == "python":
            found = _Reading(factor.expr, text)
            columns |= found.columns
            functions |= found.functions
    for name in sorted(columns - set(schema)):
        raise GentleError(
            f"'{text}' names a column '{name}' that is not there: {near(name, schema)}"
        )
    return tuple(name for name in schema if name in columns), functions


class _Reading(ast.NodeVisitor):
    """One Python expression of a formula, walked over and refused at the first foreign word."""

    def __init__(self, expression: str, text: str) -> None:
        self.columns: set[str] = set()
        self.functions: set[str] = set()
        self._text = text
        self._expression = expression
        quoted = _QUOTED.findall(expression)
        self._quoted = {f"_quoted_{at}_": name for at, name in enumerate(quoted)}
        plain = expression
        for at in range(len(quoted)):
            plain = _QUOTED.sub(f"_quoted_{at}_", plain, count=1)
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
        self.functions.add(function)
        if function not in LEARNED:  # numpy would write into a further argument
            arity = ELEMENTWISE[function].nin if function in ELEMENTWISE else 1
            if node.keywords or len(node.args) != arity:
                raise self._refusal(f"{function} takes {arity} argument{'s' * (arity > 1)}")
        if any(keyword.arg is None for keyword in node.keywords):
            raise self._refusal("** has no place in a call")
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            self._argument(argument)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        raise self._refusal(f"'.{node.attr}' reaches into an object")

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, int | float):
            raise self._refusal(f"{node.value!r} is not a number")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.LShift | ast.RShift | ast.MatMult):
            raise self._refusal("of the operators only + - * / // % ** & | ^ are known")
        if isinstance(node.op, ast.Pow) and not _small_number(node.right):
            raise self._refusal(f"a power must be a number of at most {LARGEST_POWER}")
        self.visit(node.left)
        self.visit(node.right)

    def _argument(self, node: ast.expr) -> None:
        """An argument may also be a text, a truth or a list of them, for levels and options."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bool | None):
            return
        if isinstance(node, ast.List | ast.Tuple):
            for item in node.elts:
                self._argument(item)
        elif not self._is_contrast(node):
            self.visit(node)

    def _is_contrast(self, node: ast.expr) -> bool:
        """contr.treatment or contr.treatment('base')"""
        if isinstance(node, ast.Call) and self._is_contrast(node.func):
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                self._argument(argument)
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
            f"operators and these functions: {', '.join(FUNCTIONS)}"
        )


def _small_number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        node = node.operand
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and abs(node.value) <= LARGEST_POWER
    )


__all__ = ["FUNCTIONS", "Parsed", "Wilkinson", "learn", "parse"]
