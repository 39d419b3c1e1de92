"""Random formulas: by the grammar, and with strings, backticks, brackets and look-alikes anywhere."""

import random

TICK = "`"
NAMES = [
    *("a", "b", "n", "t", "g", "h", "flag", "day", "two words", "class", "C", "np", "scale", "log", "I"),
    *("True", "Intercept", "µ", "μ", "log(x)", "a_b", "a b", "x; import os", "__import__('os')", "'", '"'),
    *("open('MARK','w').close()", "#", "a`b", "]", "(", "\\", "pi", "_0", "é", "ﬁ", "1", "nan", "", "~"),
]  # fmt: skip
HOSTILE = [
    "open('MARK', 'w').close()",
    "__import__('os').system('touch MARK')",
    "().__class__.__base__.__subclasses__()",
    "exec('import os')",
    "ｅｖａｌ('1')",
    "ｏｐｅｎ('MARK','w')",
    "lambda: 0",
    "a.__class__",
    "contr.__globals__",
    "np.save('MARK', a)",
    "[i for i in a]",
    "f'{a}'",
    "(z := a)",
    "*a",
    "**a",
    "# a comment",
    "a if b else a",
    "await a",
    "`",
    "'",
    '"',
    "\\",
    "\x00",
    "\u202e",
    "‘a’",
    "1e999",
    "0x10",
    "9**9**9",
    "@",
    ";",
    "\n",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "~",
    "|",
    "^2",
    "**3",
    "?",
    "$",
    "!",
    "->",
    "...",
    "_0",
]
ELEMENTWISE = ["log", "np.exp", "abs", "sqrt", "round", "floor", "sign", "cos"]
LEARNING = [
    *("bs({}, df=4)", "cr({}, df=3)", "cc({}, df=3)", "poly({}, 2)", "poly({}, 2, raw=True)"),
    *("scale({})", "center({})", "standardize({})", "bs({}, knots=[0.1, 0.5])", "scale(poly({}, 2))"),
    *("bs({}, degree={})", "poly({}, degree={})", "cr({}, {})", "scale({}, {})", "C({}, levels={})"),
    *("C({})", "C({}, contr.sum)", "C({}, contr.treatment({}))", "C({}, {})", "lag({})", "diff({}, 2)"),
]  # fmt: skip


class Formulas:
    """A stream of formulas from one seed."""

    def __init__(self, seed, names=NAMES):
        self._random = random.Random(seed)
        self._names = names

    def formula(self):
        """One formula, sometimes broken."""
        pick = self._random.random
        text = f"{self._left()} ~ {self._terms(3)}"
        while pick() < 0.35:
            text = self._broken(text)
        return text

    def _left(self):
        return self._random.choice(
            ["y"] * 8 + ["log(y)", "y - a", "y + a", "y**2", "I(y)", "cbind(y, a)"]
        )

    def _terms(self, depth):
        count = self._random.choice([1, 1, 2, 3])
        return self._random.choice([" + ", " + ", "*", ":", " - ", "/", " %in% "]).join(
            self._term(depth) for _ in range(count)
        )

    def _term(self, depth):
        roll = self._random.random()
        if depth and roll < 0.1:
            power = self._random.choice(["", "", "**2", "^2", "**3", "**99", "**a"])
            return f"({self._terms(depth - 1)}){power}"
        if roll < 0.4:
            return self._name()
        if roll < 0.47:
            return self._random.choice([".", "0", "1", "-1", "offset(a)", "Q('a')", "{a + b}"])
        if roll < 0.9:
            return self._call(depth)
        return self._hostile()

    def _name(self):
        name = self._random.choice(self._names)
        if name.isidentifier() and self._random.random() < 0.5:
            return name
        return f"{TICK}{name}{TICK}" if self._random.random() < 0.9 else f"Q({name!r})"

    def _call(self, depth):
        roll = self._random.random()
        if roll < 0.4:
            form = self._random.choice(LEARNING)
            blanks = form.count("{}")
            return form.format(self._argument(depth), *(self._option() for _ in range(blanks - 1)))
        if roll < 0.6:
            return f"{self._random.choice(ELEMENTWISE)}({self._argument(depth)})"
        if roll < 0.7:
            return f"where({self._argument(depth)} > {self._number()}, a, {self._number()})"
        return f"I({self._argument(depth)})"

    def _argument(self, depth):
        roll = self._random.random()
        if not depth or roll < 0.4:
            return self._name()
        if roll < 0.5:
            return self._number()
        if roll < 0.65:
            return self._call(depth - 1)
        if roll < 0.7:
            return self._hostile()
        operator = self._random.choice(
            ["+", "-", "*", "/", "//", "%", "**", ">", "==", "&", "|", "<"]
        )
        return f"{self._argument(depth - 1)} {operator} {self._argument(depth - 1)}"

    def _number(self):
        return self._random.choice(
            ["1", "2", "-1", "0.5", "1e300", "64", "0", "1700000000000000000"]
        )

    def _option(self):
        choices = [
            "3",
            "None",
            "True",
            "-1",
            "1e9",
            "[1, 2]",
            "'north'",
            "['a', 'b']",
            "[[1, 0], [0, 1]]",
        ]
        return self._random.choice([*choices, self._string(), self._hostile(), "b"])

    def _string(self):
        inner = self._random.choice([*HOSTILE, *self._names])
        quote = self._random.choice(["'", '"'])
        return f"{quote}{inner}{quote}"

    def _hostile(self):
        return self._random.choice(
            [*HOSTILE, self._string(), f"{TICK}{self._random.choice(HOSTILE)}{TICK}"]
        )

    def _broken(self, text):
        at, to = sorted(self._random.randrange(len(text) + 1) for _ in range(2))
        roll = self._random.random()
        if roll < 0.4:
            return text[:at] + self._hostile() + text[at:]
        if roll < 0.6:
            return text[:at] + text[to:]
        if roll < 0.8:
            return text[:to] + text[at:to] + text[to:]
        return (
            text[:at]
            + chr(self._random.choice([9, 34, 39, 40, 41, 91, 96, 92, 0x2028, 0xFF08]))
            + text[at:]
        )
