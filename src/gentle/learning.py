"""What the functions of a formula learn from the rows: folds over all of them, in bounded memory.

A function such as `poly` or `bs` learns by a recipe: a generator that yields the zero of a fold, is sent
the fold of all rows, perhaps yields another, and returns the state that formulaic's own function goes
by. Of nested functions the innermost learns first. So formulaic, which by itself would keep what
the first batch teaches, gives the numbers that it would give with all rows in memory at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from formulaic.parser.types import Factor
from formulaic.transforms import TRANSFORMS
from formulaic.utils.layered_mapping import LayeredMapping
from formulaic.utils.stateful_transforms import stateful_eval

from gentle.batch import Floats
from gentle.errors import GentleError
from gentle.formula import KNOWN
from gentle.levels import MOST_LEVELS

KEPT_VALUES = 2**21  # of a column in memory at a time: 16 MiB
DIGIT = 16  # bits of a number that a pass over the rows tells about its order
SPLINES = ("bs", "cc", "cr", "cs")
ROUNDING = 4 * np.finfo(np.float64).eps  # of a mean: a spread below that is none
PROBE = 1_000  # distinct values, enough for any number of knots

Array = npt.NDArray[Any]
State = dict[str, Any]


class Fold(Protocol):
    """What a pass over the values of an expression adds up; a fresh one is the zero."""

    def add(self, values: Array) -> Self: ...


Recipe = Generator[Fold, Any, State]


@dataclass(frozen=True)
class Mean:
    """Count, mean and squares about the mean of a function of the values.

    Those of a batch are merged with those before (Chan, Golub and LeVeque 1983).
    """

    of: Callable[[Array], Array] = lambda values: values  # values (n, ...) -> numbers (..., n)
    count: int = 0
    mean: Any = 0.0  # (...)
    square: Any = 0.0  # (...) sum of (x - mean)^2

    def add(self, values: Array) -> Mean:
        if not len(values):
            return self
        x = np.asarray(self.of(values), dtype=np.float64)
        mean = x.mean(axis=-1)
        x = x - mean[..., None]
        rest = x.mean(axis=-1)  # of the rounding of the mean
        count = self.count + len(values)
        square = (x**2).sum(axis=-1) - len(values) * rest**2
        d = mean + rest - self.mean
        return replace(
            self,
            count=count,
            mean=self.mean + d * (len(values) / count),
            square=self.square + square + d**2 * (self.count * (len(values) / count)),
        )

    @property
    def sum(self) -> Any:
        return self.mean * self.count


@dataclass(frozen=True)
class Extent:
    """The least and the greatest of the values, and those within bounds, while they are few."""

    within: tuple[float, float]
    keep: int = KEPT_VALUES
    low: float = np.inf
    high: float = -np.inf
    count: int = 0  # within the bounds
    kept: tuple[Array, ...] | None = ()  # None once they are too many

    def add(self, values: Array) -> Extent:
        if not len(values):
            return self
        low, high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        inside = _inside(values, self.within)
        count = self.count + len(inside)
        kept = None if self.kept is None or count > self.keep else (*self.kept, inside)
        return replace(self, low=low, high=high, count=count, kept=kept)


@dataclass(frozen=True)
class Digits:
    """How many of the values within bounds have each next digit, after each of some leading digits.

    Numbers are ordered by their bits, so that the value of any rank is found digit by digit, in as many
    passes as a number has digits and whatever the distribution.
    """

    within: tuple[float, float]
    leading: npt.NDArray[np.uint64]  # (m,) sorted
    shift: int  # of the digit that is counted, in bits
    counts: npt.NDArray[np.int64]  # (m, 2^DIGIT)

    def add(self, values: Array) -> Digits:
        keys = _ordered(_inside(values, self.within))
        lead = _leading(keys, self.shift + DIGIT)
        place = np.minimum(np.searchsorted(self.leading, lead), len(self.leading) - 1)
        there = self.leading[place] == lead
        digit = (keys[there] >> np.uint64(self.shift)).astype(np.int64) & (2**DIGIT - 1)
        found = np.bincount(place[there] * 2**DIGIT + digit, minlength=self.counts.size)
        return replace(self, counts=self.counts + found.reshape(self.counts.shape))


@dataclass(frozen=True)
class Least:
    """The least of the distinct values within bounds and above a value, as many as are kept."""

    within: tuple[float, float]
    above: float = -np.inf
    keep: int = KEPT_VALUES
    parts: tuple[Array, ...] = ()
    size: int = 0

    def add(self, values: Array) -> Least:
        found = _inside(values, self.within)
        found = found[found > self.above]
        part = replace(self, parts=(*self.parts, found), size=self.size + len(found))
        return part if part.size < 2 * self.keep else part._packed()

    def _packed(self) -> Least:
        values = self.values
        full = len(values) == self.keep
        within = (self.within[0], float(values[-1])) if full else self.within
        return replace(self, within=within, parts=(values,), size=len(values))

    @property
    def values(self) -> Array:
        """(m,) sorted"""
        return np.unique(np.concatenate([np.empty(0), *self.parts]))[: self.keep]


@dataclass(frozen=True)
class Levels:
    """The distinct values, sorted, which become the levels of a category."""

    values: Array = field(default_factory=lambda: np.empty(0, dtype=bool))

    def add(self, values: Array) -> Levels:
        if not len(values):
            return self
        found = np.unique(values)
        found = np.union1d(self.values, found) if len(self.values) else found
        if len(found) > MOST_LEVELS:
            raise ValueError(f"C() finds more than {MOST_LEVELS:,} levels")
        return Levels(found)


def _inside(values: Array, within: tuple[float, float]) -> Array:
    low, high = within
    if low == -np.inf and high == np.inf:
        return values
    return values[(values >= low) & (values <= high)]


def _ordered(values: Array) -> npt.NDArray[np.uint64]:
    """Whole numbers in the order of the values (n,)."""
    bits = np.ascontiguousarray(values + 0.0, dtype=np.float64).view(np.uint64)  # one zero
    top = np.uint64(2**63)
    return np.where(bits & top, ~bits, bits | top)


def _leading(keys: npt.NDArray[np.uint64], shift: int) -> npt.NDArray[np.uint64]:
    return keys >> np.uint64(shift) if shift < 64 else np.zeros_like(keys)


def _of_order(keys: npt.NDArray[np.uint64]) -> Floats:
    """The values that `_ordered` made the keys of."""
    top = np.uint64(2**63)
    return np.where(keys & top, keys ^ top, ~keys).view(np.float64)


def _scale(name: str, options: Mapping[str, Any]) -> Recipe:
    """The mean and the spread that `center`, `scale` and `standardize` go by."""
    centre = options.get("center", True)
    spread = False if name == "center" else options.get("scale", options.get("rescale", True))
    ddof = options.get("ddof", 1)
    seen = Mean(lambda values: np.ascontiguousarray(values.T))
    if centre is True or spread is True:
        seen = yield seen
    if isinstance(centre, bool):
        centre = seen.mean if centre else None
    if isinstance(spread, bool):
        about = seen.mean - (0.0 if centre is None else np.asarray(centre))
        squares = seen.square + seen.count * about**2
        spread = np.sqrt(squares / (seen.count - ddof)) if spread else None
        if spread is not None and np.any(spread <= ROUNDING * np.abs(seen.mean)):
            raise ValueError("a column is constant, so there is no spread to divide it by")
    return {"ddof": ddof, "center": centre, "scale": spread}


def _poly(name: str, options: Mapping[str, Any]) -> Recipe:  # noqa: ARG001
    """The recurrence of the orthogonal polynomials, one pass for each degree (Stieltjes 1884)."""
    seen = yield Mean()
    alpha, norms2 = {0: float(seen.mean)}, {0: float(seen.count)}
    for k in range(1, options["degree"] + 1):

        def weights(x: Array, k: int = k) -> Array:
            square = _monic(x, alpha, norms2, k) ** 2
            return np.stack([square, (x - alpha[0]) * square])

        seen = yield Mean(weights)
        square, first = map(float, seen.sum)
        if square <= norms2[0] * (ROUNDING * alpha[0]) ** 2 and k == 1:
            raise ValueError("the column is constant, so it has no powers beside the constant")
        if not square:
            raise ValueError(f"the column has only {k} distinct values, too few for this degree")
        if k < options["degree"]:
            alpha[k] = alpha[0] + first / square
        norms2[k] = square
    return {"alpha": alpha, "norms2": norms2}


def _monic(x: Array, alpha: Mapping[int, float], norms2: Mapping[int, float], k: int) -> Array:
    """The orthogonal polynomial of degree k, of leading coefficient 1."""
    before, found = np.zeros_like(x), np.ones_like(x)
    for i in range(k):
        lead = (x - alpha[i]) * found
        before, found = found, lead - norms2[i] / norms2[i - 1] * before if i else lead
    return found


def _spline(name: str, options: Mapping[str, Any]) -> Recipe:
    """Bounds, knots and, where a spline is centred, the means of its basis."""
    real = TRANSFORMS[name]
    given = (options["lower_bound"], options["upper_bound"])
    clipped = options["extrapolation"] in ("clip", "na", "zero") or name != "bs"
    low = -np.inf if given[0] is None else given[0]
    high = np.inf if given[1] is None else given[1]
    within = (low, high) if clipped else (-np.inf, np.inf)
    knots = options["knots"]
    seen = Extent(within)
    if None in given or knots is None:
        seen = yield seen
        if not seen.count:
            raise ValueError("there are no values within the bounds")
        low = seen.low if given[0] is None else given[0]
        high = seen.high if given[1] is None else given[1]
        one = {"df": None, "knots": [(low + high) / 2], "constraints": None}
        bare = {option: one.get(option, value) for option, value in options.items()}
        real(np.array([seen.low, seen.high]), **bare, _state={})  # formulaic checks the bounds
    bounds: State = {"lower_bound": float(low), "upper_bound": float(high)}
    if knots is None:
        state: State = dict(bounds)
        real(np.linspace(low, high, PROBE), **options, _state=state)  # formulaic counts the knots
        outer = options["degree"] + 1 if name == "bs" else 1
        whole = 1 if name == "bs" else 100
        inner = np.linspace(0, whole, len(state["knots"][outer:-outer]) + 2)[1:-1] / whole
        knots = yield from _quantiles(inner, seen, distinct=name != "bs")
    options = {**options, "df": None, "knots": knots}
    state = dict(bounds)
    if options.get("constraints") == "center":
        free = {**options, "constraints": None}
        real(np.array([low, high]), **free, _state=state)
        if options["extrapolation"] == "zero":  # the zeros come after the means
            free["extrapolation"] = "extend"
        fixed = dict(state)
        basis = yield Mean(lambda x: np.stack(list(real(x, **free, _state=dict(fixed)).values())))
        state["constraints"] = basis.mean[None, :]
    else:
        real(np.array([low, high]), **options, _state=state)
    return state


def _quantiles(
    shares: Floats, seen: Extent, *, distinct: bool
) -> Generator[Fold, Any, list[float]]:
    """Quantiles of the values seen, linear between them, as numpy has them."""
    if not len(shares):
        return []
    if seen.kept is not None:
        values = np.concatenate(seen.kept)
        return list(map(float, np.quantile(np.unique(values) if distinct else values, shares)))
    if distinct:
        found, count = yield from _ranked_distinct(shares, seen)
    else:
        count = seen.count
        found = yield from _ranked(_ranks(shares, count), seen)
    below = np.floor((count - 1) * shares)
    quantiles = []
    for rank, share in zip(below, (count - 1) * shares - below, strict=True):
        pair = [found[int(rank)], found[int(min(rank + 1, count - 1))]]
        quantiles.append(float(np.quantile(pair, share)))
    return quantiles


def _ranks(shares: Floats, count: int) -> list[int]:
    """Which of the sorted values quantiles lie between."""
    below = np.floor((count - 1) * shares).astype(int)
    return sorted({*below.tolist(), *np.minimum(below + 1, count - 1).tolist()})


def _ranked(ranks: Sequence[int], seen: Extent) -> Generator[Fold, Any, dict[int, float]]:
    """Rank -> value among all values, from 0, by a pass for each digit of a number."""
    leads = np.zeros(len(ranks), dtype=np.uint64)
    rest = np.array(ranks)
    for shift in range(64 - DIGIT, -1, -DIGIT):
        leading = np.unique(leads)
        counts = np.zeros((len(leading), 2**DIGIT), dtype=np.int64)
        tallied = yield Digits(seen.within, leading, shift, counts)
        upto = np.cumsum(tallied.counts, axis=1)
        for at, lead in enumerate(leads):
            line = upto[np.searchsorted(leading, lead)]
            digit = int(np.searchsorted(line, rest[at], side="right"))
            rest[at] -= line[digit - 1] if digit else 0
            leads[at] = (lead << np.uint64(DIGIT)) | np.uint64(digit)
    return dict(zip(ranks, map(float, _of_order(leads)), strict=True))


def _ranked_distinct(
    shares: Floats, seen: Extent
) -> Generator[Fold, Any, tuple[dict[int, float], int]]:
    """(rank -> value, count) among the distinct values: window by window, to count and to find them."""
    starts, count, above = [], 0, -np.inf
    while True:
        window = (yield Least(seen.within, above, seen.keep)).values
        starts.append((count, above))
        count += len(window)
        if len(window) < seen.keep:
            break
        above = float(window[-1])
    found: dict[int, float] = {}
    ranks = _ranks(shares, count)
    for (first, above), stop in zip(
        starts, [*(start for start, _ in starts[1:]), count], strict=True
    ):
        if inside := [rank for rank in ranks if first <= rank < stop]:
            window = (yield Least(seen.within, above, seen.keep)).values
            found |= {rank: float(window[rank - first]) for rank in inside}
    return found, count


def _levels() -> Recipe:
    """The levels of C() of numbers or truths."""
    seen = yield Levels()
    return {"categories": seen.values.tolist()}


RECIPES: Mapping[str, Callable[..., Recipe]] = {
    "center": _scale, "scale": _scale, "standardize": _scale, "poly": _poly,
    **dict.fromkeys(SPLINES, _spline),
}  # fmt: skip
STATES = {
    "poly": ("alpha", "norms2"),
    "bs": ("lower_bound", "upper_bound", "knots"),
    **dict.fromkeys(("center", "scale", "standardize"), ("ddof", "center", "scale")),
    **dict.fromkeys(
        ("cc", "cr", "cs"), ("lower_bound", "upper_bound", "knots", "constraints", "cyclic")
    ),
}


class Unlearned(Exception):  # noqa: N818
    """An expression needs what has not been learned yet."""


class Learner:
    """A recipe on its way to a state, fed once with the values of each batch."""

    def __init__(self, recipe: Recipe, state: State) -> None:
        self._recipe, self._state = recipe, state
        self._fed = self._any = False
        self._fold: Fold | None = None
        self._send(None)

    def feed(self, values: Array) -> None:
        """Take in the values of a batch, those that are missing left out."""
        if self._fed or self._fold is None:
            return
        self._fed = True
        values = np.asarray(values)
        if values.dtype.kind == "f":
            there = ~np.isnan(values)
            values = values[there if values.ndim == 1 else there.all(axis=1)]
            if np.isinf(values).any():
                raise ValueError("some values are infinite")
        self._any = self._any or len(values) > 0
        self._fold = self._fold.add(values)

    def end_batch(self) -> None:
        self._fed = False

    def end_pass(self) -> None:
        """Let the recipe take its next step, with the fold of all rows."""
        if self._fold is not None:
            if not self._any:
                raise ValueError("there are no values to learn from")
            self._send(self._fold)

    @property
    def learned(self) -> bool:
        return self._fold is None

    def _send(self, fold: Fold | None) -> None:
        try:
            self._fold = self._recipe.send(fold)
        except StopIteration as end:
            self._fold = None
            self._state.update({name: _as_plain(value) for name, value in end.value.items()})


def _as_plain(value: Any) -> Any:
    """Numbers as Python has them; arrays and texts stay."""
    if isinstance(value, np.ndarray | np.generic) and np.ndim(value) == 0:
        return value.item()
    if isinstance(value, dict):
        return {key: _as_plain(item) for key, item in value.items()}
    return value


@dataclass(frozen=True)
class Function:
    """A function of formulaic's that goes by a state: one that has none learns, or is refused."""

    name: str
    learners: dict[int, Learner] | None = None  # by the identity of their state
    __is_stateful_transform__: ClassVar[bool] = True

    @staticmethod
    def get_required_variables(*_: Any, **__: Any) -> tuple[()]:
        """Formulaic asks for columns that an argument names as a text: there are none."""
        return ()

    def __call__(
        self,
        data: Any,
        *arguments: Any,
        _state: State | None = None,
        _metadata: Any = None,
        _spec: Any = None,
        _context: Any = None,
        **options: Any,
    ) -> Any:
        if _state is None:
            return data  # formulaic looks for names of columns, and throws the value away
        real = TRANSFORMS[self.name]
        if isinstance(data, dict):
            return self._of_columns(data, arguments, options, _state)
        bound = signature(real).bind(data, *arguments, **options)
        bound.apply_defaults()
        given = {
            name: value for name, value in list(bound.arguments.items())[1:] if name != "_state"
        }
        given = given.get("kwargs", given)
        if not (given.get("raw") or _state.keys() >= set(STATES[self.name])):
            self._learn(data, given, _state)
        return real(data, *arguments, _state=_state, **options)

    def _of_columns(
        self, data: dict[Any, Any], arguments: Any, options: Any, state: State
    ) -> dict[Any, Any]:
        """The function of each of several columns, such as those of a spline."""
        found, lacking = {}, None
        for key, column in data.items():
            try:
                below = state.setdefault(key, {})
                found[key] = self(column, *arguments, _state=below, **options)
            except Unlearned as error:
                lacking = error
        if lacking is not None:
            raise lacking
        return found

    def _learn(self, data: Any, given: Mapping[str, Any], state: State) -> None:
        if self.learners is None:
            raise Unlearned(self.name)
        learner = self.learners.get(id(state))
        if learner is None:
            learner = Learner(RECIPES[self.name](self.name, given), state)
            self.learners[id(state)] = learner
        if learner.learned:
            return
        values = np.asarray(data)
        if values.ndim != 1 and (self.name in SPLINES or self.name == "poly"):
            raise ValueError(f"{self.name} takes one column")
        learner.feed(values)
        raise Unlearned(self.name)


def functions(learners: dict[int, Learner] | None = None) -> dict[str, Any]:
    """All that a formula may call, by name; those that learn do so where learners are collected."""
    return KNOWN | {"C": category} | {name: Function(name, learners) for name in RECIPES}


def category(data: Any, *arguments: Any, **options: Any) -> Any:
    """C() of formulaic's, with zeros for a value that is none of the levels that were learned."""
    found = TRANSFORMS["C"](data, *arguments, **options)
    encode = found.__formulaic_metadata__.encoder

    def encode_known(values: Any, *, encoder_state: State, **more: Any) -> Any:
        inside = pd.Series(getattr(values, "__wrapped__", values))
        if "categories" in encoder_state and not isinstance(inside.dtype, pd.CategoricalDtype):
            inside = inside.where(inside.isin(encoder_state["categories"]))
        return encode(inside, encoder_state=encoder_state, **more)

    found.__formulaic_metadata__.encoder = encode_known
    return found


def learn_states(
    factors: Iterable[Factor],
    nothing: pd.DataFrame,
    tables: Callable[[Sequence[str]], Iterator[pd.DataFrame]],
) -> tuple[State, State]:
    """(transforms, categories) by expression: what the functions of a formula learn from all rows.

    Args:
        factors: the expressions.
        nothing: a table of their columns without rows.
        tables: complete rows of these columns in batches, read anew by each call, which says what
            expressions are to learn from them; there is none where nothing is to be learned.
    """
    transforms: State = {}
    categories: State = {}
    learners: dict[int, Learner] = {}
    context = functions(learners)
    waiting = [factor for factor in factors if factor.eval_method.value == "python"]

    def settled(factor: Factor, table: pd.DataFrame) -> bool:
        """Whether nothing is left to learn; the factor's learners are fed with the rows."""
        layers = LayeredMapping(table, context, TRANSFORMS)
        try:
            value = stateful_eval(factor.expr, layers, None, transforms, None)
        except Unlearned:
            return False
        values = _coded(value)
        if values is None:
            return True
        state = categories.setdefault(factor.expr, {})
        if id(state) not in learners:
            learners[id(state)] = Learner(_levels(), state)
        learners[id(state)].feed(values)
        return learners[id(state)].learned

    def end_batch() -> None:
        for learner in learners.values():
            learner.end_batch()

    while waiting := [factor for factor in waiting if not settled(factor, nothing)]:
        end_batch()
        for table in tables([factor.expr for factor in waiting]):
            for factor in waiting:
                settled(factor, table)
            end_batch()
        names = {id(state): name for name, state in transforms.items()}
        for key, learner in list(learners.items()):
            try:
                learner.end_pass()
            except ValueError as error:
                raise ValueError(f"{names[key]}: {error}" if key in names else error) from None
    return transforms, categories


def _coded(value: Any) -> Array | None:
    """The values of C(), where its levels are not known from their type."""
    metadata = getattr(value, "__formulaic_metadata__", None)
    if metadata is None or metadata.kind is not Factor.Kind.CATEGORICAL:
        return None
    values = value.__wrapped__
    if isinstance(getattr(values, "dtype", None), pd.CategoricalDtype):
        return None
    found = np.asarray(values)
    if isinstance(values, dict) or found.ndim != 1:
        raise GentleError("C() takes one column")
    return found
