"""What the functions of a formula learn from the rows: folds over all of them, in bounded memory.

A function such as `poly` or `bs` learns by a recipe: a generator that yields the zero of a fold, is sent
the fold of all rows, perhaps yields another, and returns the state that formulaic's own function goes
by. Of nested functions the innermost learns first. So formulaic, which by itself would keep what
the first batch teaches, gives the numbers that it would give with all rows in memory at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from gentle.batch import Floats
from gentle.calls import SCALES, SPLINES, basis_fields, bind, walk
from gentle.evaluation import Basis, Evaluator, State, apply_transform, stateful
from gentle.expressions import Call, Node
from gentle.formula import Parsed
from gentle.levels import MOST_LEVELS

KEPT_VALUES = 2**21  # of a column in memory at a time: 16 MiB
DIGIT = 16  # bits of a number that a pass over the rows tells about its order
ROUNDING = 4 * np.finfo(np.float64).eps  # of a mean: a spread below that is none
PROBE = 1_000  # distinct values, enough for any number of knots

Array = npt.NDArray[Any]


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
    real = partial(apply_transform, name)
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
    if not all(low <= knot <= high for knot in knots):
        raise ValueError(f"the knots must lie within the bounds, {low:g} to {high:g}")
    options = {**options, "df": None, "knots": knots}
    state = dict(bounds)
    if options.get("constraints") == "center":
        free = {**options, "constraints": None}
        real(np.array([low, high]), **free, _state=state)
        if options["extrapolation"] == "zero":  # the zeros come after the means
            free["extrapolation"] = "extend"
        fixed = dict(state)
        basis = yield Mean(lambda x: real(x, **free, _state=dict(fixed)).T)
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


def _levels(*, truth: bool) -> Recipe:
    """The levels of C() of numbers, booleans or dates."""
    seen = yield Levels()
    return {"categories": (seen.values.astype(bool) if truth else seen.values).tolist()}


RECIPES: Mapping[str, Callable[..., Recipe]] = {
    "center": _scale, "scale": _scale, "standardize": _scale, "poly": _poly,
    **dict.fromkeys(SPLINES, _spline),
}  # fmt: skip


class Learner:
    """A recipe on its way to a state, fed once with the values of each batch."""

    def __init__(self, label: str, recipe: Recipe) -> None:
        self.state: State | None = None  # once it is learned
        self._label = label
        self._recipe = recipe
        self._any = False
        self._fold: Fold | None = None
        self._send(None)

    def feed(self, values: Array) -> None:
        """Take in the values of a batch, those that are missing left out."""
        assert self._fold is not None
        if values.dtype.kind == "f":
            there = ~np.isnan(values)
            values = values[there if values.ndim == 1 else there.all(axis=1)]
            if np.isinf(values).any():
                raise ValueError(f"{self._label}: some values are infinite")
        self._any = self._any or len(values) > 0
        self._fold = self._fold.add(values)

    def end_pass(self) -> None:
        """Let the recipe take its next step, with the fold of all rows."""
        if not self._any:
            raise ValueError(f"{self._label}: there are no values to learn from")
        self._send(self._fold)

    def _send(self, fold: Fold | None) -> None:
        try:
            self._fold = self._recipe.send(fold)
        except StopIteration as end:
            self.state = {name: _as_plain(value) for name, value in end.value.items()}
        except ValueError as error:
            raise ValueError(f"{self._label}: {error}") from None


def _as_plain(value: Any) -> Any:
    """Numbers as Python has them; arrays and texts stay."""
    if isinstance(value, np.ndarray | np.generic) and np.ndim(value) == 0:
        return value.item()
    if isinstance(value, dict):
        return {key: _as_plain(item) for key, item in value.items()}
    return value


def learn_states(
    parsed: Parsed,
    kinds: Callable[[Node], str],
    tables: Callable[[Sequence[str]], Iterator[pl.DataFrame]],
) -> tuple[dict[str, State], dict[str, State]]:
    """(transforms, categories) by expression: what the functions of a formula learn from all rows.

    Args:
        parsed: the formula.
        kinds: what a node is: number, truth, text or date.
        tables: complete rows of its columns in batches, read anew by each call, which says what
            expressions are to learn from them; there is none where nothing is to be learned.
    """
    waiting = list(dict.fromkeys(node for node in walk_all(parsed.factors) if learns(node, kinds)))
    states: dict[str, State] = {}
    learners: dict[Node, Learner] = {}
    while waiting:
        for node in waiting:
            if node not in learners and _is_ready(node, waiting):
                learners[node] = Learner(str(node), _recipe(node, kinds))
        _settle(learners, waiting, states)
        if not learners:
            continue
        for table in tables(list(dict.fromkeys(map(str, learners)))):
            values = Evaluator(table, states)
            for node, learner in learners.items():
                learner.feed(_argument(values, node))
        for learner in learners.values():
            learner.end_pass()
        _settle(learners, waiting, states)
    found = {str(node): node for node in walk_all(parsed.factors)}
    categories = {label: states.pop(label) for label in [*states] if _is_category(found[label])}
    return states, categories


def walk_all(nodes: Iterable[Node]) -> Iterator[Node]:
    """The nodes of several trees, those below before those above."""
    return (inner for node in nodes for inner in walk(node))


def learns(node: Node, kinds: Callable[[Node], str]) -> bool:
    """Whether a node learns from the rows; C() of a text column has the levels of the column."""
    if _is_category(node):
        assert isinstance(node, Call)
        return kinds(node.arguments[0]) != "text"
    return stateful(node)


def _is_category(node: Node) -> bool:
    return isinstance(node, Call) and node.function == "C"


def _is_ready(node: Node, waiting: Sequence[Node]) -> bool:
    """Whether what is inside a function has learned."""
    return not any(inner in waiting for inner in walk(node) if inner != node)


def _recipe(node: Node, kinds: Callable[[Node], str]) -> Recipe:
    assert isinstance(node, Call)
    if _is_category(node):
        return _levels(truth=kinds(node.arguments[0]) == "truth")
    return RECIPES[node.function](node.function, bind(node))


def _argument(values: Evaluator, node: Node) -> Array:
    """What a function learns from, (n,) or (n, k)."""
    assert isinstance(node, Call)
    argument = node.arguments[0]
    if _is_category(node):
        labels = values.labels(argument)
        if isinstance(labels, pl.Series):
            return np.array(labels.drop_nulls().to_list(), dtype=object)
        assert isinstance(labels, np.ndarray)
        return labels
    value = values.value(argument)
    return value.values if isinstance(value, Basis) else values.numbers(argument)


def _settle(learners: dict[Node, Learner], waiting: list[Node], states: dict[str, State]) -> None:
    """Move what has been learned to the states."""
    for node, learner in list(learners.items()):
        if learner.state is not None:
            states[str(node)] = learner.state
            del learners[node]
            waiting.remove(node)


def check_state(node: Node, state: State, inner: int | None) -> None:
    """Raises ValueError for what is no state of a function; `inner` columns has its argument, or is one."""
    assert isinstance(node, Call)
    name, options = node.function, bind(node)
    if name in SCALES:
        shape = () if inner is None else (inner,)
        ok = state.keys() == {"ddof", "center", "scale"} and _is_number(state["ddof"])
        ok = ok and all(
            state[part] is None or _is_number(state[part]) or np.shape(state[part]) in ((), shape)
            for part in ("center", "scale")
        )
    elif name == "poly":
        degree = int(options["degree"])
        ok = state.keys() == {"alpha", "norms2"}
        ok = (
            ok
            and _are_numbers(state["alpha"], degree)
            and _are_numbers(state["norms2"], degree + 1)
        )
        ok = ok and min(state["norms2"].values()) > 0
    else:
        ok = _is_spline(name, options, state)
    if not ok:
        raise ValueError(f"the state of {node} is not what this function learns")


def _is_spline(name: str, options: Mapping[str, Any], state: State) -> bool:
    """Whether a state has the bounds, knots and constraints of a spline."""
    parts = {"lower_bound", "upper_bound", "knots"}
    cubic = {"constraints", "cyclic"}
    if state.keys() != (parts if name == "bs" else parts | cubic):
        return False
    if name != "bs" and state["cyclic"] is not (name == "cc"):
        return False
    knots = state["knots"]
    if not (isinstance(knots, list) and all(map(_is_number, knots)) and knots == sorted(knots)):
        return False
    if not (_is_number(state["lower_bound"]) and _is_number(state["upper_bound"])):
        return False
    columns = len(basis_fields(name, options, None))
    if name == "bs":
        return (
            len(knots) == columns + (not options["include_intercept"]) + int(options["degree"]) + 1
        )
    constraints = state["constraints"]
    free = len(knots) - (name == "cc")
    if constraints is None:
        return free == columns and len(set(knots)) == len(knots)
    shape = np.shape(constraints)
    return len(shape) == 2 and shape[1] == free and free - shape[0] == columns


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < np.inf


def _are_numbers(value: Any, count: int) -> bool:
    """Whether a mapping has a number for each integer below a count."""
    return (
        isinstance(value, dict)
        and value.keys() == set(range(count))
        and all(map(_is_number, value.values()))
    )
