"""Wilkinson formulas: a string to the terms of a model, each a product of factors.

A formula is data. It is read once, by the grammar of `expressions` for what stands inside calls and by the
algebra here for what stands between them, into trees that can say only what a formula may say; what is
evaluated later is these trees. Terms are counted while they are expanded, so that a short formula never
becomes a long computation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import NoReturn

import polars as pl

from gentle.batch import EXACT_COLUMNS
from gentle.calls import (
    ARITY,
    DATES,
    FUNCTIONS,
    SCALES,
    SHIFTS,
    SIGNATURES,
    TRANSFORMS,
    basis_fields,
    bind,
    canonical,
    children,
    columns_of,
    reads_of,
    shifted_name,
    walk,
)
from gentle.errors import GentleError, near
from gentle.expressions import (
    Binary,
    Call,
    Comparison,
    Constant,
    Name,
    Node,
    Number,
    Parser,
    String,
    Unary,
    show,
)
from gentle.sources import Schema, Shift

MAX_TERMS = EXACT_COLUMNS
MAX_PRODUCTS = 2**18  # of terms, that an operator may form: many of them may be the same
MAX_FACTORS = 32  # of one term
MAX_POWER = 64  # as in I(a**64), and of a sum of terms
NUMERIC = ("number", "truth")

Term = tuple[Node, ...]  # a product of factors; the empty one is the intercept
_Terms = dict[frozenset[Node], Term]  # distinct ones, in order: a:b is b:a
_WITH: frozenset[Node] = frozenset()  # the key of the intercept
_WITHOUT: frozenset[Node] = frozenset((Number("0"),))  # that of 0, which takes it away


@dataclass(frozen=True)
class Parsed:
    """A formula that has been read; nothing of it has been evaluated yet."""

    text: str
    targets: tuple[Node, ...]  # left of the ~
    terms: tuple[Term, ...]  # right of it, by their number of factors
    offsets: tuple[Node, ...]  # what stands in offset()
    target_columns: tuple[str, ...]  # the source's columns left of the ~, in the source's order
    feature_columns: tuple[str, ...]  # those right of it
    aside: tuple[str, ...]  # of these, the ones that '.' does not stand for
    offset_columns: tuple[str, ...]  # the columns in offset(), which are among those right of the ~
    whole: frozenset[str]  # columns that are no numbers to be imputed: categories and dates
    split: bool  # whether a '+' on the left made several targets

    @property
    def columns(self) -> tuple[str, ...]:
        """The source's columns it names, each once."""
        return tuple(dict.fromkeys((*self.feature_columns, *self.target_columns)))

    @property
    def shifts(self) -> tuple[Shift, ...]:
        """The columns of rows before, which lag() and diff() need."""
        reads = dict.fromkeys(chain.from_iterable(map(reads_of, self.factors)))
        return tuple(Shift(shifted_name(name, back), name, back) for name, back in reads if back)

    @property
    def offset(self) -> str:
        """The expression in offset(), or several as a sum; empty without one."""
        return " + ".join(map(str, self.offsets))

    @property
    def categories(self) -> frozenset[str]:
        """The columns that C() says are categories."""
        calls = [inner for node in self.factors for inner in walk(node) if isinstance(inner, Call)]
        first = [call.arguments[0] for call in calls if call.function == "C"]
        return frozenset(node.name for node in first if isinstance(node, Name))

    @property
    def compared(self) -> frozenset[str]:
        """Those that stand in C() alone, which compares by value whatever the type."""
        nodes = [inner for node in self.factors for inner in walk(node)]
        others = [node for node in nodes if not (isinstance(node, Call) and node.function == "C")]
        used = chain(self.factors, *map(children, others))
        return self.categories - {node.name for node in used if isinstance(node, Name)}

    @property
    def factors(self) -> tuple[Node, ...]:
        """What its terms are products of, each once, with the targets and the offsets."""
        return tuple(dict.fromkeys((*chain(*self.terms), *self.targets, *self.offsets)))


def kind_of_type(dtype: pl.DataType) -> str:
    """What a column of a type is in a formula: number, truth, text, date or duration."""
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return "text"
    if isinstance(dtype, pl.Date | pl.Datetime):
        return "date"
    if dtype == pl.Duration:
        return "duration"
    return "truth" if dtype == pl.Boolean else "number"


def parse(text: str, schema: Schema, aside: Iterable[str] = ()) -> Parsed:
    """Read a formula over the columns of a schema; `.` stands for those that are not set aside.

    Raises GentleError for what is no formula, for a column that does not exist, for anything beyond
    columns, operators and known functions, and for more than MAX_TERMS terms.
    """
    return _Formula(text, schema, set(aside)).parsed()


class _Formula:
    """One formula, while it is read."""

    def __init__(self, text: str, schema: Schema, aside: set[str]) -> None:
        self._text = text
        self._schema = schema
        self._aside = aside
        self._parser = Parser(text, schema)
        self._kinds = _Kinds(text, schema)
        self._left: set[str] = set()

    def parsed(self) -> Parsed:
        targets = self._targets()
        self._left = set(chain.from_iterable(map(columns_of, targets)))
        if self._parser.token.kind == "end":
            raise GentleError(
                f"'{show(self._text)}' has nothing to the right of '~': 'y ~ 1' is the intercept alone"
            )
        terms: _Terms = {_WITH: ()}
        self._sum(terms)
        terms.pop(_WITHOUT, None)
        if self._parser.token.kind != "end":
            self._refuse_rest()
        right, offsets = self._offsets(terms)
        for factor in dict.fromkeys(chain(*right)):
            self._kinds.check_factor(factor)
        names = set(chain.from_iterable(columns_of(it) for it in (*chain(*right), *offsets)))
        known = set(chain.from_iterable(map(columns_of, offsets)))
        named = {*names, *self._left}
        return Parsed(
            self._text,
            tuple(dict.fromkeys(targets)),
            tuple(sorted(right, key=len)),
            tuple(offsets),
            tuple(name for name in self._schema if name in self._left),
            tuple(name for name in self._schema if name in names),
            tuple(name for name in self._schema if name in named & self._aside),
            tuple(name for name in self._schema if name in known),
            frozenset(self._kinds.whole),
            self._split and len(set(targets)) > 1,
        )

    def _targets(self) -> list[Node]:
        """What stands left of the ~: terms of a sum are targets, all else is arithmetic, as in R."""
        parser = self._parser
        if parser.opens("~"):
            raise GentleError(f"'{show(self._text)}' must have a target to the left of '~'")
        start = parser.begin()
        targets = [parser.expression(5)]
        while parser.take("+"):
            targets.append(parser.expression(5))
        self._split = len(targets) > 1
        if parser.opens("-", "<", "<=", ">", ">=", "==", "!=", "&", "|"):
            parser.rewind(start)
            whole = parser.expression()
            if self._split:
                raise GentleError(
                    f"'{show(self._text)}' may mean one target or several: write I({whole}) for one, or "
                    "cbind(a, b) for the targets a and b"
                )
            targets = [whole]
        if not parser.take("~"):
            if parser.opens(":", "^", "%in%", "."):
                raise GentleError(
                    f"'{show(self._text)}' has '{parser.token.text}' left of '~', which holds for terms: "
                    "write the target as I(...), with ** for a power"
                )
            raise GentleError(
                f"'{show(self._text)}' must have the form 'target ~ a + b', with one '~' and no '|'"
            )
        if isinstance(targets[0], Call) and targets[0].function == "cbind" and not self._split:
            self._split = False
            targets = list(targets[0].arguments)
        for target in targets:
            self._kinds.check_target(target)
        if not targets:
            raise GentleError("cbind needs the targets, as in cbind(a, b)")
        return targets

    def _refuse_rest(self) -> NoReturn:
        """Say why a formula does not end where its terms do."""
        operator = self._parser.token.text
        if operator in ("~", "|"):
            raise GentleError(
                f"'{show(self._text)}' must have the form 'target ~ a + b', with one '~' and no '|'"
            )
        if self._parser.opens("<", "<=", ">", ">=", "==", "!=", "&", "//", "%"):
            raise self._parser.error(
                f"'{operator}' stands between terms: inside I() it is an operation, as in I(a {operator} b)"
            )
        raise self._parser.error(f"'{show(operator)}' cannot stand where it does")

    def _offsets(self, terms: _Terms) -> tuple[list[Term], list[Node]]:
        """(the other terms, what stands in offset()) of the right side."""
        others: list[Term] = []
        offsets: list[Node] = []
        for term in terms.values():
            inside = [factor for factor in term if _is_offset(factor)]
            if not inside:
                others.append(term)
            elif len(term) == 1:
                offsets.append(self._kinds.check_offset(term[0]))
            else:
                raise GentleError(
                    f"'{_written(term)}' of '{show(self._text)}' multiplies an offset, whose coefficient "
                    "is 1: offset(a * b) is one of a product"
                )
        return others, offsets

    # The algebra: each method reads one level of operators, from the weakest on.

    def _sum(self, terms: _Terms) -> None:
        """Add and remove the terms of a sum, 0 being the intercept taken away."""
        while True:
            minus = self._sign()
            one = self._product()
            if minus and any(map(_is_offset, chain(*one.values()))):
                raise self._parser.error("an offset cannot be taken away: leave it out")
            for key, term in one.items():
                if key in (_WITH, _WITHOUT):
                    terms.pop(_WITH, None)
                    terms.pop(_WITHOUT, None)
                    terms[_WITH if (key == _WITH) != minus else _WITHOUT] = ()
                elif minus:
                    terms.pop(key, None)
                else:
                    terms.setdefault(key, term)
            if len(terms) > MAX_TERMS + 1:
                self._refuse_many()
            if not self._parser.opens("+", "-"):
                return

    def _sign(self) -> bool:
        """Whether the signs that are next make a minus."""
        minus = False
        while sign := self._parser.take("+", "-"):
            minus ^= sign == "-"
        return minus

    def _product(self) -> _Terms:
        left = self._interaction()
        while operator := self._parser.take("*", "/", "%in%"):
            right = self._interaction()
            if operator == "*":
                left = self._joined(left, right, self._multiplied(left, right))
            else:
                parents, nested = (left, right) if operator == "/" else (right, left)
                whole: Term = tuple(dict.fromkeys(chain(*parents.values())))
                left = self._joined(parents, self._multiplied({frozenset(whole): whole}, nested))
        return left

    def _interaction(self) -> _Terms:
        left = self._power()
        while self._parser.take(":"):
            left = self._multiplied(left, self._power())
        return left

    def _power(self) -> _Terms:
        dot = self._parser.opens(".")
        base = self._atom()
        operator = self._parser.take("**", "^")
        if not operator:
            return base
        power = self._parser.skip()
        whole = power.kind == "number" and power.text.isdigit()
        if not (whole and 1 <= int(power.text[:9]) <= MAX_POWER):
            raise GentleError(
                f"'{show(self._text)}' raises terms to the power '{show(power.text)}': a whole number "
                f"from 1 to {MAX_POWER} is needed"
            )
        if self._parser.opens("**", "^"):
            raise self._parser.error("a power of a power needs parentheses")
        if len(base) == 1 and int(power.text) > 1 and not dot:
            self._refuse_own_product(next(iter(base.values())), operator, power.text)
        result = base
        for _ in range(int(power.text) - 1):
            before = len(result)
            result = self._joined(result, self._multiplied(result, base))
            if len(result) == before:
                break
        return result

    def _atom(self) -> _Terms:
        parser = self._parser
        token = parser.token
        if parser.take("("):
            return parser.nested(self._parenthesised)
        if parser.take("."):
            names = [n for n in self._schema if n not in self._aside and n not in self._left]
            return self._joined({frozenset((Name(name),)): (Name(name),) for name in names})
        if token.kind == "number":
            parser.skip()
            if token.text not in ("0", "1"):
                raise parser.error(
                    f"the number {show(token.text)} stands among terms: a multiple of a column is "
                    f"I({show(token.text)} * a), and 1 and 0 are with and without an intercept"
                )
            return {_WITH if token.text == "1" else _WITHOUT: ()}
        if token.kind == "word" and parser.peek()[:2] != ("operator", "("):
            parser.skip()
            factor: Node = Name(token.text)
        elif token.kind in ("word", "quoted") or parser.opens("{"):
            parser.begin()
            factor = parser.atom()
        else:
            what = "nothing" if token.kind == "end" else f"'{show(token.text)}'"
            raise parser.error(f"a column is needed where {what} stands")
        self._kinds.check_names(factor)
        return {frozenset((factor,)): (factor,)}

    def _parenthesised(self) -> _Terms:
        terms: _Terms = {}
        self._sum(terms)
        self._parser.require(")")
        return terms

    def _multiplied(self, left: _Terms, right: _Terms) -> _Terms:
        """Each term of one side times each of the other."""
        left.pop(_WITHOUT, None)
        right.pop(_WITHOUT, None)
        if len(left) == 1 and left.keys() == right.keys() and _WITH not in left:
            self._refuse_own_product(next(iter(left.values())), "*", "")
        if len(left) * len(right) > MAX_PRODUCTS:
            self._refuse_many()
        products: _Terms = {}
        for one in left.values():
            for other in right.values():
                term = tuple(dict.fromkeys((*one, *other)))
                if len(term) > MAX_FACTORS:
                    raise GentleError(
                        f"'{show(self._text)}' has a product of more than {MAX_FACTORS} factors"
                    )
                products.setdefault(frozenset(term), term)
            if len(products) > MAX_TERMS + 1:
                self._refuse_many()
        return products

    def _joined(self, *several: _Terms) -> _Terms:
        """All terms, each once, in order."""
        terms: _Terms = {}
        for more in several:
            self._put(terms, more)
        return terms

    def _put(self, terms: _Terms, more: _Terms) -> None:
        for key, term in more.items():
            terms.setdefault(key, term)
        if len(terms) > MAX_TERMS + 1:
            self._refuse_many()

    def _refuse_many(self) -> NoReturn:
        raise GentleError(
            f"'{show(self._text)}' has more than {MAX_TERMS:,} terms, and so more columns than the exact "
            "solution takes: leave out interactions, or name columns with features= for a descent"
        )

    def _refuse_own_product(self, term: Term, operator: str, power: str) -> NoReturn:
        """Say that a term times itself is that term, and how its square is written."""
        one = _written(term)
        said = f"{one}{operator}{power}" if power else f"{one}:{one}"
        way = ""
        if len(term) == 1 and self._kinds.of(term[0]) in NUMERIC:
            whole = Binary("**", _without_identity(term[0]), Number(power or "2"))
            way = f": use I({str(whole).replace(' ** ', '**')}) for the power of its values"
        raise GentleError(
            f"'{said}' in '{show(self._text)}' is '{one}' itself, since a product of terms has each factor "
            f"once{way or ': leave it out'}"
        )


def _is_offset(node: Node) -> bool:
    return isinstance(node, Call) and node.function == "offset"


def _without_identity(node: Node) -> Node:
    """What stands inside I()."""
    return node.arguments[0] if isinstance(node, Call) and node.function == "I" else node


def _written(term: Term) -> str:
    return ":".join(map(str, term)) or "1"


class _Kinds:
    """What each node of a formula is: number, truth, text, date, duration, basis or category.

    An invalid node, or an operation on what it cannot take, is refused before anything is read.
    """

    def __init__(self, text: str, schema: Schema) -> None:
        self._text = text
        self._schema = schema
        self._known: dict[Node, str] = {}
        self.whole: set[str] = set()  # columns that are no numbers to be imputed

    def check_names(self, node: Node) -> None:
        """Raises GentleError for a column that does not exist."""
        for name, back in reads_of(node):
            if name not in self._schema and shifted_name(name, back) not in self._schema:
                raise GentleError(
                    f"'{show(self._text)}' names a column '{show(name)}' that is not there: "
                    f"{near(name, self._schema)}"
                )

    def check_factor(self, node: Node) -> None:
        """Raises GentleError for what can be no factor of a term."""
        kind = self.of(node)
        if kind in ("date", "duration"):
            self._refuse(
                node,
                "a date is no number: take days(), year(), month(), weekday() or hour() of it, or C() for "
                "its levels",
            )
        if not set(columns_of(node)):
            self._refuse(node, "it names no column")

    def check_target(self, node: Node) -> None:
        """Raises GentleError for what can be no target."""
        self.check_names(node)
        kind = self.of(node)
        if kind == "text" and isinstance(node, Name):
            return  # refused with its first row, where the rows are
        if kind not in NUMERIC:
            self._refuse(node, "a target must be one column of numbers")
        if not set(columns_of(node)):
            self._refuse(
                node, "a target names a column: one that is shifted by a number is I(y + 1)"
            )

    def check_offset(self, node: Node) -> Node:
        """What stands in offset()."""
        assert isinstance(node, Call)
        if len(node.arguments) != 1 or node.options:
            self._refuse(node, "an offset is one expression")
        if self.of(node.arguments[0]) not in NUMERIC:
            self._refuse(node, "an offset must be one column of numbers")
        return node.arguments[0]

    def of(self, node: Node) -> str:
        """The kind of a node."""
        if node not in self._known:
            self._known[node] = self._of(node)
        return self._known[node]

    def _of(self, node: Node) -> str:
        match node:
            case Name(name):
                kind = kind_of_type(self._schema.get(name, pl.Float64()))
                if kind in ("date", "duration"):
                    self.whole.add(name)
                return kind
            case Number():
                return "number"
            case Constant("True" | "False"):
                return "truth"
            case Constant("pi"):
                return "number"
            case Unary("~", operand):
                self._condition(operand, node)
                return "truth"
            case Unary(_, operand):
                self._numbers(node, operand)
                return "number"
            case Binary("&" | "|", left, right):
                self._condition(left, node)
                self._condition(right, node)
                return "truth"
            case Binary("**", base, exponent):
                return self._power(node, base, exponent)
            case Binary(_, left, right):
                self._numbers(node, left, right)
                return "number"
            case Comparison(operators, operands):
                return self._comparison(node, operators, operands)
            case Call():
                return self._call(node)
        raise self._refusal(node, "it is no column of numbers")

    def _numbers(self, whole: Node, *nodes: Node) -> None:
        """Raises GentleError where one of these is not one column of numbers."""
        for node in nodes:
            kind = self.of(node)
            if kind in ("date", "duration"):
                self._refuse(whole, f"{node} is a date: days({node}) is a number made of it")
            if kind not in NUMERIC:
                what = {"text": "text", "category": "a category", "basis": "several columns"}[kind]
                self._refuse(whole, f"{node} is {what}, where one column of numbers is needed")

    def _condition(self, node: Node, whole: Node) -> None:
        """Raises GentleError for what is not true or false: a number does where it is a column."""
        kind = self.of(node)
        if kind == "truth" or (kind == "number" and isinstance(node, Name)):
            return
        self._refuse(
            whole,
            f"{node} is no condition: '&', '|' and '~' take comparisons in parentheses, as in "
            "(a > 1) & (b > 2), and columns of booleans",
        )

    def _power(self, node: Node, base: Node, exponent: Node) -> str:
        inner = exponent.operand if isinstance(exponent, Unary) else exponent
        if isinstance(exponent, Unary) and exponent.operator == "~":
            self._refuse(node, "a power must be a number")
        if not (isinstance(inner, Number) and abs(inner.value) <= MAX_POWER):
            self._refuse(node, f"a power must be a number of at most {MAX_POWER}")
        if not set(columns_of(base)):
            self._refuse(node, "a power must be one of a column")
        self._numbers(node, base)
        return "number"

    def _comparison(
        self, node: Node, operators: tuple[str, ...], operands: tuple[Node, ...]
    ) -> str:
        kinds = {"string" if isinstance(it, String) else self.of(it) for it in operands}
        ordered = any(operator not in ("==", "!=") for operator in operators)
        if not set(columns_of(node)):
            self._refuse(node, "a comparison must be one of a column")
        if kinds <= {"text", "string"}:
            if ordered:
                self._refuse(node, "texts are compared by == and !=")
            return "truth"
        if kinds <= {"date", "string"}:
            return "truth"
        if not kinds <= set(NUMERIC):
            self._refuse(
                node,
                "numbers are compared with numbers, texts with strings, and dates with strings such as "
                "'2024-12-31'",
            )
        return "truth"

    def _call(self, node: Call) -> str:
        function = canonical(node.function)
        if function in ARITY:
            return self._elementwise(node, function)
        if function in DATES:
            return self._date(node)
        if function not in SIGNATURES or function.startswith("contr."):
            self._refuse_function(node)
        try:
            options = bind(node)
        except GentleError as error:
            self._refuse(node, str(error))
        first = node.arguments[0]
        kind = self.of(first)
        if function in SHIFTS and any(
            isinstance(inner, Call) and inner.function in TRANSFORMS for inner in walk(first)
        ):
            self._refuse(
                node, f"{function} takes columns, and not what a function learns: put it inside"
            )
        if function == "C":
            if kind in ("basis", "category"):
                self._refuse(node, "C() takes one column")
            if isinstance(first, Name):
                self.whole.add(first.name)
            return "category"
        if kind == "basis" and function in SCALES:
            return "basis"
        if kind == "basis" and function in TRANSFORMS:
            self._refuse(node, f"{function} takes one column")
        self._numbers(node, first)
        if function in TRANSFORMS and basis_fields(function, options, None):
            return "basis"
        return "number"

    def _elementwise(self, node: Call, function: str) -> str:
        arity = ARITY[function]
        if node.options or len(node.arguments) != arity:
            self._refuse(node, f"{function} takes {arity} argument{'s' * (arity > 1)}")
        if function == "I":
            kind = self.of(node.arguments[0])
            if kind == "category":
                self._refuse(node, "I() takes an expression of numbers")
            return kind
        first, *others = node.arguments
        if function == "where":
            self._condition(first, node)
            self._numbers(node, *others)
        else:
            self._numbers(node, first, *others)
        return "number"

    def _date(self, node: Call) -> str:
        if node.options or len(node.arguments) != 1:
            self._refuse(node, f"{node.function} takes a column of dates")
        kind = self.of(node.arguments[0])
        if kind != "date" and not (kind == "duration" and node.function == "days"):
            self._refuse(
                node,
                f"{node.function} takes a column of dates, and {node.arguments[0]} is {kind}",
            )
        return "number"

    def _refuse_function(self, node: Call) -> NoReturn:
        if node.function == "offset":
            self._refuse(node, "an offset is a term of its own")
        self._refuse(
            node,
            f"'{show(node.function)}' is not one of the functions it may call: "
            f"{', '.join((*FUNCTIONS, 'offset'))}",
        )

    def _refuse(self, node: Node, reason: str) -> NoReturn:
        raise self._refusal(node, reason)

    def _refusal(self, node: Node, reason: str) -> GentleError:
        expression, text = show(str(node)), show(self._text)
        where = "" if text == expression else f" of '{text}'"
        return GentleError(f"'{expression}'{where} is refused: {reason}")
