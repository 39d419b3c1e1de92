"""The middle of the sandwich: what the residuals say about the noise when it is not all alike.

With root root' = (X'WX + penalty)^-1 and z = [1 x-c] root, the coefficients on [1 x] have covariance

    B M B',    B = uncentred root,

where the meat M sums outer products of the scores s = w e z. The kinds differ in which rows may share
noise: none (White), those of one group (clusters), those near in time (Newey and West). Each is a
statistic, so its parts merge; small-sample corrections are factors, applied once at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor

from gentle.batch import Batch, Floats, Labels
from gentle.doubled import Doubled, doubled
from gentle.errors import GentleError, listed, near, show_value
from gentle.fitted import Fitted
from gentle.passes import Divisible, fold
from gentle.refinement import Refinement, orthonormal
from gentle.statistics import EPSILON, SAFE, invert_upper

SLACK_POWERS = {"HC0": 0, "HC1": 0, "HC2": 1, "HC3": 2}  # of 1 / (1 - leverage)
ERRORS = ("classical", *SLACK_POWERS, "cluster", "HAC")
APART = 100.0  # condition up to which scores keep 11 digits when columns are combined last
ROUNDING_OF_RESIDUALS = 2.0**-60  # of their terms: of a polished answer, in double-double
PINNED = 1e-7  # of 1 - leverage: below it the power of it has less than eight digits
TELLING = 2e7  # times its rounding: what a number must be above, to have seven or eight digits
FLAT = 1e-15  # of the trace of a meat: a variance below it is rounding
HANGS = 1e-12  # of a direction: what rows of leverage 1 may have of it
LEAST_SLACK = float(np.sqrt(EPSILON))  # of 1 - leverage: below it, a residual is rounding
ROUNDING = 1e-10  # of the largest eigenvalue: a negative one above minus this is rounding


Truths = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sandwich:
    """A meat with its corrections in it, and what inference needs beside it."""

    meat: Floats  # (q, q) in the coordinates z
    df: float  # degrees of freedom of t
    description: str  # such as "clustered by firm (30 groups)"
    clipped: bool = False  # whether negative eigenvalues were set to zero
    # (all, all) the covariance of all coefficients, each in units of the length of its row of the basis,
    # as sums in these directions make it, which lose nothing; None where the meat says it.
    scaled: Floats | None = None
    # (q, q) in the coordinates z: sum w z z' of the rows of leverage 1, whose noise the residuals do not
    # show and HC2 and HC3 need; None where there are none.
    pinned: Floats | None = None

    def variances(self, z: Floats) -> Floats:
        """Of predictions whose rows have these coordinates (n, q), (n,); nan where that is not known.

        Not known are those that hang on rows of leverage 1, and those that are zero to rounding.
        """
        squares = (z**2).sum(axis=1)
        variances = ((z @ self.meat) * z).sum(axis=1)
        lost = (variances <= FLAT * np.trace(self.meat) * squares) & (squares > 0)
        if not np.any(self.meat):
            lost[:] = False  # of residuals that are exactly zero
        if self.pinned is not None:
            lost |= ((z @ self.pinned) * z).sum(axis=1) > HANGS * squares
        return np.where(lost, np.nan, variances)

    def covariance(self, fitted: Fitted) -> Floats:
        """Covariance of the coefficients on [1 x], (q, q)."""
        outside = fitted.uncentred(fitted.root)
        covariance = outside @ self.meat @ outside.T
        return np.asarray((covariance + covariance.T) / 2)

    def _mended(self, fitted: Fitted) -> Sandwich:
        """Itself, or where a coefficient has a negative variance the nearest that is positive."""
        rows = fitted.uncentred(fitted.root)
        along = rows / np.linalg.norm(rows, axis=1)[:, None]
        if (((along @ self.meat) * along).sum(axis=1) >= 0).all():
            return self
        meat, clipped = positive(self.meat)
        note = ", negative eigenvalues set to zero" if clipped else ""
        return replace(self, meat=meat, description=self.description + note, clipped=clipped)


def sandwich(
    rows: Divisible,
    fitted: Fitted,
    errors: str,
    n_rows: float,
    *,
    sigma2: float,
    clusters: Sequence[str] = (),
    lags: int | None = None,
    scores: ExactScores | None = None,
) -> Sandwich:
    """The meat of a fit with one target, by the name of its errors; all but the classical read the rows.

    Args:
        errors: one of `ERRORS`.
        n_rows: how many rows the fit stands for.
        sigma2: its residual variance, the classical meat.
        clusters: names of the keys, in the order of `Batch.groups`. With several, rows that share
            any of them may share noise.
        lags: rows further apart than this share no noise; by default `default_lags`.
        scores: in which coordinates the meat is wanted; by default z.

    Raises GentleError for another name, for clusters without keys or with one group, for lags that
    are negative or reach beyond the rows, and for rows with frequencies in order of time.
    """
    q = len(fitted.root)
    if errors == "classical":
        return Sandwich(sigma2 * np.eye(q), n_rows - q, "classical")
    if n_rows <= q:
        return Sandwich(
            np.full((q, q), np.nan), n_rows - q, f"{errors}, without a degree of freedom"
        )
    at = scores or Scores.of(fitted, SLACK_POWERS.get(errors, 0) > 0, _power_of_two(sigma2))
    if errors in SLACK_POWERS:
        white = fold(Heteroscedastic.of(at, errors), rows)
        return _white(white, n_rows, q)
    if errors == "cluster":
        if not clusters:
            raise GentleError("clustered errors need the column that names each row's group")
        key = tuple(range(len(clusters)))
        by_all = fold(Clustered(at, key), rows).settled()
        return _clustered(by_all, clusters, n_rows, q)
    if errors == "HAC":
        lags = min(default_lags(n_rows), int(n_rows) - 1) if lags is None else lags
        if not 0 <= lags < n_rows:
            raise GentleError(
                f"lags must be a whole number from 0 to {n_rows - 1:g}, one less than the rows, "
                f"and is {show_value(lags)}"
            )
        ordered = fold(Autocorrelated.of(at, lags), rows)
        meat = ordered.meat * correction_autocorrelated(n_rows, q)
        return Sandwich(meat, n_rows - q, f"Newey-West with {lags} {_plural('lag', lags)}")
    raise GentleError(f"there is no kind of errors '{errors}': {near(errors, ERRORS)}")


def correction_heteroscedastic(kind: str, n_rows: float, q: int) -> float:
    """n / (n - q) for HC1 (Hinkley 1977), 1 for the others; nan without a degree of freedom."""
    return _over(n_rows, n_rows - q) if kind == "HC1" else 1.0


def correction_cluster(n_rows: float, q: int, n_groups: int) -> float:
    """(n - 1) / (n - q) G / (G - 1), that of Stata, fixest and pyfixest; nan where undefined.

    With several keys every term takes the G of the key that has fewest groups, as theirs do.
    """
    return _over(n_rows - 1, n_rows - q) * _over(n_groups, n_groups - 1)


def correction_autocorrelated(n_rows: float, q: int) -> float:
    """n / (n - q), that of Stata's newey; nan without a degree of freedom."""
    return _over(n_rows, n_rows - q)


def default_lags(n_rows: float) -> int:
    """floor(4 (n / 100)^(2/9)), the rule of thumb of Newey and West (1994)."""
    return int(4 * (n_rows / 100) ** (2 / 9))


def positive(meat: Floats) -> tuple[Floats, bool]:
    """(the meat with negative eigenvalues set to zero, whether one was there beyond rounding).

    The remedy of Cameron, Gelbach and Miller (2011) for a difference of positive matrices. In the
    coordinates z, unlike in the user's, it does not depend on the units of the columns. `sandwich`
    takes it where a coefficient would have a negative variance, as fixest does (pyfixest never,
    reghdfe whenever an eigenvalue is negative): a joint test of several must ask for itself.
    """
    values, vectors = np.linalg.eigh(meat)
    if not len(values) or values[0] >= 0:
        return meat, False
    clipped = (vectors * np.clip(values, 0, None)) @ vectors.T
    return clipped, bool(values[0] < -ROUNDING * values[-1])


@dataclass(frozen=True, eq=False)
class Scores:
    """How rows become scores, and the coordinates v = [1 x-c] inner that these are added up in.

    inner @ outer = root. With K the condition of the columns at unit length, sums in [1 x-c] itself
    lose K^2 and those in z only K, but z costs n q^2 more: inner is I where the columns are well
    apart, and root where they are not or where leverage is asked for.
    """

    fitted: Fitted
    inner: Floats | None  # (q, q); None stands for I
    outer: Floats  # (q, q)
    unit: float = 1.0  # of the residuals, a power of two: squares of far ones are never formed

    @classmethod
    def of(cls, fitted: Fitted, leverage: bool = False, unit: float = 1.0) -> Scores:
        if leverage or not _condition(fitted.root) <= APART:
            return cls(fitted, fitted.root, np.eye(len(fitted.root)), unit)
        return cls(fitted, None, fitted.root, unit)

    def __len__(self) -> int:
        return len(self.fitted.root)

    def rows(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(v, w e) of the rows of a batch, (n, q) and (n,); v is the caller's to change."""
        rows = self.fitted.rows(batch)
        residual = self.fitted.residuals(batch, rows)[:, 0] / self.unit
        v = rows if self.inner is None else rows @ torch.tensor(self.inner)
        return v, residual if batch.weight is None else residual * batch.weight

    def mass(self, batch: Batch) -> Tensor:
        """What rows v are multiplied by in sum w z z', (n,)."""
        ones = torch.ones(len(batch.x), dtype=torch.float64)
        return ones if batch.mass is None else batch.mass

    def slack(self, batch: Batch, v: Tensor) -> Tensor:
        """1 - h of one copy of each row, (n,); v must be z."""
        square = torch.einsum("ij,ij->i", v, v)
        return 1 - (square if batch.weight is None else square * batch.weight)

    def meat(self, cross: Floats) -> Floats:
        """A sum of outer products in v, brought to the coordinates z, (q, q)."""
        return np.asarray(self.outer.T @ cross @ self.outer) * self.unit**2


@dataclass(frozen=True, eq=False)
class ExactScores:
    """Scores of each coefficient: v = z directions, residuals and z rounded from double-double.

    The variance of a coefficient is then a sum of squares, in which nothing cancels. With
    z = X B turn, sum w z z' = I to rounding, whatever the condition of the columns.
    """

    refinement: Refinement  # at the coefficients, with the basis B
    turn: Floats  # (q, q)
    directions: Floats  # (q, q + m): I, then unit columns, the rows of the basis over their lengths
    unit: float  # of the residuals

    def __len__(self) -> int:
        return int(self.directions.shape[1])

    def rows(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(u v, w e / u) of the rows of a batch, (n, m) and (n,), with u near the root of their mass."""
        residual, z, rest = self._seen(batch)
        size = residual * rest / self.unit
        if batch.frequency is not None:
            size = size / batch.frequency.numpy()[:, None]
        return torch.from_numpy(z @ self.directions), torch.from_numpy(size[:, 0])

    def mass(self, batch: Batch) -> Tensor:
        """What rows v are multiplied by in sum w z z', (n,)."""
        _, _, rest = self._seen(batch)
        return torch.from_numpy(np.broadcast_to(rest, (len(batch.x), 1))[:, 0].copy())

    def slack(self, batch: Batch, v: Tensor) -> Tensor:  # noqa: ARG002
        """1 - h of one copy of each row, (n,)."""
        _, z, rest = self._seen(batch)
        square = (z**2 * rest).sum(axis=1)
        if batch.frequency is not None:
            square = square / batch.frequency.numpy()
        return torch.from_numpy(1 - square)

    def doubt(self, batch: Batch) -> Floats:
        """(n, m) what rounding may make of w e v / (u unit), of one copy of each row."""
        residual, z, rest = self._seen(batch)
        reach = np.abs(self.refinement.reach(batch)) * ROUNDING_OF_RESIDUALS
        lengths = np.linalg.norm(z, axis=1)[:, None]
        each = reach * np.abs(z @ self.directions) + EPSILON * np.abs(residual) * lengths
        copies = 1.0 if batch.frequency is None else batch.frequency.numpy()[:, None]
        return np.asarray(each * rest / self.unit / copies)

    def meat(self, cross: Floats) -> Floats:
        return cross * self.unit**2

    def _seen(self, batch: Batch) -> tuple[Floats, Floats, Floats | float]:
        residual, directions, rest = self.refinement.seen(batch)
        return residual, directions @ self.turn, rest


@dataclass(frozen=True, eq=False)
class Doubt:
    """What is not known of the variance of each coefficient: sums of squares, (m,) each."""

    scores: ExactScores
    power: int  # of 1 / (1 - leverage)
    rounding: Floats  # that rounding may make of it, in units of the scores
    # How much of the noise of rows of leverage 1 each direction has: e^2 is about sigma^2 (1 - h) / w, and
    # it is divided by a power of 1 - h, which is not known.
    pinned: Floats

    def add(self, batch: Batch) -> Doubt:
        if not len(batch.x):
            return self
        v, _ = self.scores.rows(batch)
        slack = self.scores.slack(batch, v).numpy()[:, None]
        doubt = self.scores.doubt(batch) / np.maximum(slack, PINNED) ** (self.power / 2)
        copies = 1.0 if batch.frequency is None else batch.frequency.numpy()[:, None]
        share = (slack < PINNED) * v.numpy() ** 2 * self.scores.mass(batch).numpy()[:, None]
        share /= np.maximum(slack, EPSILON) ** max(self.power - 1, 0)
        return self._plus((copies * doubt**2).sum(axis=0), share.sum(axis=0))

    def merge(self, other: Doubt) -> Doubt:
        return self._plus(other.rounding, other.pinned)

    def _plus(self, rounding: Floats, pinned: Floats) -> Doubt:
        return replace(self, rounding=self.rounding + rounding, pinned=self.pinned + pinned)

    def unknown(self, variances: Floats, sigma2: float) -> Truths:
        """Which variances (m,) are not known to eight digits."""
        rounding = TELLING**2 * self.rounding * self.scores.unit**2
        pinned = self.pinned * sigma2 * TELLING if self.power else np.zeros_like(self.pinned)
        return ~(variances > np.maximum(rounding, pinned))


def exact_scores(
    rows: Divisible, fitted: Fitted, expand: Callable[[Floats], Floats], total: float, sigma2: float
) -> ExactScores | None:
    """Scores of all coefficients, whose rows of the basis `expand` makes of those solved for.

    None where the rows do not say how to turn the basis. One pass.
    """
    coef = doubled(fitted.coef) if fitted.low is None else Doubled(fitted.coef, fitted.low)
    basis = fitted.uncentred_exactly(doubled(fitted.root))
    zero = Refinement(
        fitted.columns, fitted.intercept, fitted.uncentred_exactly(coef), basis, total
    )
    gram = fold(zero, rows).gram
    turn = None if gram is None else orthonormal(gram)
    if turn is None:
        return None
    wide = expand(basis.high @ turn)
    lengths = np.linalg.norm(wide, axis=1)[:, None]
    directions = np.nan_to_num(wide / np.where(lengths > 0, lengths, 1.0)).T
    return ExactScores(
        zero, turn, np.hstack([np.eye(len(turn)), directions]), _power_of_two(sigma2)
    )


def scaled_covariance(
    rows: Divisible, found: Sandwich, scores: ExactScores, errors: str, n_rows: float, **asked: Any
) -> Sandwich:
    """The sandwich of these scores, with the covariance in their directions.

    That is nan where eight digits are not known. Two passes more.
    """
    again = sandwich(rows, asked.pop("fitted"), errors, n_rows, scores=scores, **asked)
    power, nothing = SLACK_POWERS.get(errors, 0), np.zeros(len(scores))
    doubt = fold(Doubt(scores, power, nothing, nothing), rows)
    q, turn = len(scores.turn), scores.turn
    unknown = doubt.unknown(np.diag(again.meat), asked["sigma2"])[q:]
    scaled = again.meat[q:, q:].copy()
    scaled[unknown] = scaled[:, unknown] = np.nan
    pinned = None if again.pinned is None else turn @ again.pinned[:q, :q] @ turn.T
    meat = turn @ again.meat[:q, :q] @ turn.T
    return replace(found, meat=meat, description=again.description, scaled=scaled, pinned=pinned)


@dataclass(frozen=True, eq=False)
class Heteroscedastic:
    """M = sum f (w e)^2 a(h) z z', for rows that share no noise (White 1980).

    f is the frequency, w the weight and h = w |z|^2 the leverage of one copy of a row;
    a = 1, 1, 1/(1-h), 1/(1-h)^2 for HC0, HC1, HC2, HC3 (MacKinnon and White 1985).

    A row of leverage 1 fixes a coefficient by itself. Its residual is zero whatever its noise was,
    so that HC2 and HC3 are 0/0 there: R's sandwich says NaN, its car refuses, and statsmodels returns
    rounding over rounding. Here such a row counts as zero, as it does in HC0, and
    `n_pinned` says how many there were: their coefficients have no honest standard error of any kind.
    """

    scores: Scores | ExactScores
    kind: str
    cross: Floats  # (q, q)
    n_pinned: int = 0  # rows of leverage 1
    pinned: Floats | None = None  # (q, q) sum w v v' of these

    @classmethod
    def zero(cls, fitted: Fitted, kind: str) -> Heteroscedastic:
        return cls.of(Scores.of(fitted, leverage=SLACK_POWERS[kind] > 0), kind)

    @classmethod
    def of(cls, scores: Scores | ExactScores, kind: str) -> Heteroscedastic:
        return cls(scores, kind, np.zeros((len(scores), len(scores))))

    def add(self, batch: Batch) -> Heteroscedastic:
        v, size = self.scores.rows(batch)
        n_pinned, space = 0, None
        if power := SLACK_POWERS[self.kind]:
            slack = self.scores.slack(batch, v)
            pinned = slack < LEAST_SLACK
            if n_pinned := int(pinned.sum()):
                space = _cross((v * self.scores.mass(batch).sqrt()[:, None])[pinned])
            size = torch.where(pinned, 0.0, size / slack.clamp(min=LEAST_SLACK) ** (power / 2))
        if batch.frequency is not None:
            size = size * batch.frequency.sqrt()
        v *= size[:, None]
        return self._plus(_cross(v), n_pinned, space)

    def merge(self, other: Heteroscedastic) -> Heteroscedastic:
        return self._plus(other.cross, other.n_pinned, other.pinned)

    @property
    def meat(self) -> Floats:
        """(q, q), without the factor of HC1."""
        return self.scores.meat(self.cross)

    def _plus(self, cross: Floats, n_pinned: int, pinned: Floats | None) -> Heteroscedastic:
        both = [part for part in (self.pinned, pinned) if part is not None]
        return replace(
            self,
            cross=self.cross + cross,
            n_pinned=self.n_pinned + n_pinned,
            pinned=sum(both[1:], both[0]) if both else None,
        )


@dataclass(frozen=True, eq=False)
class Groups:
    """Sums by group, each group once and in the order of its labels."""

    labels: tuple[Labels, ...]  # each (G,): what names a group, the first one leading
    sums: Floats  # (G, q)

    def __len__(self) -> int:
        return len(self.sums)


@dataclass(frozen=True, eq=False)
class Clustered:
    """M = sum over groups g of S_g S_g', S_g = sum in g of f w e z (Liang and Zeger 1986).

    A group is the rows that have the labels of every key in common. Rows of a group may come in any
    order and in any part: labels are matched by value, and groups x q numbers are kept. Fewer keys
    need no other pass: `margin` adds up what these groups have.
    """

    scores: Scores | ExactScores
    key: tuple[int, ...]  # which of `Batch.groups` name a group
    runs: tuple[Groups, ...] = ()  # the first leads; the others wait until they weigh as much

    @classmethod
    def zero(cls, fitted: Fitted, key: tuple[int, ...]) -> Clustered:
        return cls(Scores.of(fitted), key)

    def add(self, batch: Batch) -> Clustered:
        if not len(batch.x):
            return self
        v, size = self.scores.rows(batch)
        if batch.frequency is not None:
            size = size * batch.frequency
        labels = tuple(_plain(batch.groups[at]) for at in self.key)
        return self._with(_grouped(labels, v.numpy(), size.numpy()))

    def merge(self, other: Clustered) -> Clustered:
        return self._with(*other.runs)

    def settled(self) -> Clustered:
        """The same sums in a single run."""
        return self if len(self.runs) < 2 else replace(self, runs=(_joined(self.runs),))

    def margin(self, key: tuple[int, ...]) -> Clustered:
        """What a pass with some of the keys would have found."""
        if key == self.key or not self.runs:
            return replace(self, key=key)
        groups = _joined(self.runs)
        labels = tuple(groups.labels[self.key.index(at)] for at in key)
        return replace(self, key=key, runs=(_grouped(labels, groups.sums),))

    @property
    def n_groups(self) -> int:
        return len(_joined(self.runs)) if self.runs else 0

    @property
    def meat(self) -> Floats:
        """(q, q), without a correction."""
        if not self.runs:
            return np.zeros((len(self.scores), len(self.scores)))
        sums = _joined(self.runs).sums
        return self.scores.meat(sums.T @ sums)

    def _with(self, *runs: Groups) -> Clustered:
        """Joining only what has grown as long as the first run costs each row two joins in all."""
        runs = (*self.runs, *runs)
        waiting = sum(len(run) for run in runs[1:])
        if waiting and waiting >= len(runs[0]):
            runs = (_joined(runs),)
        return replace(self, runs=runs)


@dataclass(frozen=True, eq=False)
class Autocorrelated:
    """M = G_0 + sum over l of (1 - l / (lags + 1)) (G_l + G_l'), G_l = sum over t of s_t s_{t-l}'.

    This is Newey and West (1987), for rows in the order of time. Bartlett's weights are what windows
    of lags + 1 rows have in common, so with b the sum of the scores in a window

        M = sum over windows of b b' / (lags + 1),

    those that overhang either end included. `cross` has the windows inside the rows seen; the first
    and last `lags` scores are kept for those across a seam. Merging takes the other's rows as later.
    Rows next to each other in the data count as neighbours, also where rows between were left out.
    """

    scores: Scores | ExactScores
    lags: int
    head: Floats  # (min(n, lags), q) the first scores
    tail: Floats  # (min(n, lags), q) the last ones
    cross: Floats  # (q, q)

    @classmethod
    def zero(cls, fitted: Fitted, lags: int) -> Autocorrelated:
        return cls.of(Scores.of(fitted), lags)

    @classmethod
    def of(cls, scores: Scores | ExactScores, lags: int) -> Autocorrelated:
        none = np.empty((0, len(scores)))
        return cls(scores, lags, none, none, np.zeros((len(scores), len(scores))))

    def add(self, batch: Batch) -> Autocorrelated:
        """Raises GentleError for rows with frequencies, which have no place in time."""
        if batch.frequency is not None:
            raise GentleError(
                "errors 'HAC' need each row in its place in time, but the rows have frequencies: "
                "give the rows themselves, or choose other errors"
            )
        v, size = self.scores.rows(batch)
        v *= size[:, None]
        return self.merge(self._of(v.numpy()))

    def merge(self, other: Autocorrelated) -> Autocorrelated:
        seam = np.concatenate([self.tail, other.head])  # neither side of it has a window of its own
        tail = np.concatenate([self.tail, other.tail])
        return replace(
            self,
            head=np.concatenate([self.head, other.head])[: self.lags],
            tail=tail[max(0, len(tail) - self.lags) :],
            cross=self.cross + other.cross + _window_cross(seam, self.lags + 1),
        )

    @property
    def meat(self) -> Floats:
        """(q, q), without a correction."""
        nothing = self._of(np.zeros((self.lags, len(self.cross))))
        overhung = nothing.merge(self).merge(nothing)
        return self.scores.meat(overhung.cross / (self.lags + 1))

    def _of(self, scores: Floats) -> Autocorrelated:
        """The statistic of nothing but these scores (n, q)."""
        return replace(
            self,
            head=scores[: self.lags],
            tail=scores[max(0, len(scores) - self.lags) :],
            cross=_window_cross(scores, self.lags + 1),
        )


def _white(white: Heteroscedastic, n_rows: float, q: int) -> Sandwich:
    meat = white.meat * correction_heteroscedastic(white.kind, n_rows, q)
    note = ""
    if white.n_pinned:
        note = f"; {white.n_pinned:,} {_plural('row', white.n_pinned)} of leverage 1 left out"
    description = f"heteroscedasticity-consistent ({white.kind}{note})"
    return Sandwich(meat, n_rows - q, description, pinned=white.pinned)


def _clustered(by_all: Clustered, names: Sequence[str], n_rows: float, q: int) -> Sandwich:
    """Over every choice of keys: added for one, taken off for two, and so on.

    That is Cameron, Gelbach and Miller (2011); t has one degree of freedom less than the key of
    fewest groups.
    """
    terms = {
        key: by_all.margin(key)
        for size in range(1, len(names) + 1)
        for key in combinations(by_all.key, size)
    }
    counts = [terms[(at,)].n_groups for at in by_all.key]
    if single := [name for name, count in zip(names, counts, strict=True) if count < 2]:
        raise GentleError(
            f"clustered errors need two groups or more, but all rows are of one by {listed(single)}"
        )
    scores = by_all.scores
    meat = np.zeros((len(scores), len(scores)))
    for key, term in terms.items():
        meat += term.meat if len(key) % 2 else -term.meat
    groups = [f"{name} ({count:,} groups)" for name, count in zip(names, counts, strict=True)]
    found = Sandwich(meat, min(counts) - 1, f"clustered by {' and '.join(groups)}")
    if isinstance(scores, Scores):
        found = found._mended(scores.fitted)
    return replace(found, meat=found.meat * correction_cluster(n_rows, q, min(counts)))


def _cross(scores: Tensor) -> Floats:
    """Sum of s s' over rows s, (q, q).

    By torch, which made the rows: its idle threads keep turning for a while, and where numpy's then
    ask for the same cores a pass takes ten times as long.
    """
    return np.asarray((scores.T @ scores).numpy())


def _condition(root: Floats) -> float:
    """How far a sum of outer products may lose digits when its columns are combined after it.

    With U root orthonormal and d the lengths of the columns of U, it is |diag(d) root|. The entry ii
    of any cross = sum s s' is at most d_i^2 trace M, so that rounding in it of relative size r
    becomes r |diag(d) root|^2 trace M in M = root' cross root.
    """
    if not len(root):
        return 1.0
    lengths = np.linalg.norm(invert_upper(root), axis=0)
    if not (lengths.max() < SAFE and lengths.min() > 1 / SAFE):
        return math.inf  # units so far that squares of scores would not fit
    return float(np.linalg.norm(lengths[:, None] * root, 2))


def _plain(labels: Labels) -> Labels:
    """Text in numpy's own kind, which sorts without a call into Python."""
    return labels.astype(str) if labels.dtype.kind in "OT" else labels


def _grouped(labels: tuple[Labels, ...], rows: Floats, factor: Floats | None = None) -> Groups:
    """Sums of factor times rows (n, q), n > 0, by the combination of labels that each row has."""
    n = len(rows)
    order = np.lexsort(labels[::-1])
    labels = tuple(column[order] for column in labels)
    new = np.zeros(n, dtype=bool)
    new[0] = True
    for column in labels:
        new[1:] |= column[1:] != column[:-1]
    starts = np.flatnonzero(new)
    factors = np.ones(n) if factor is None else factor[order]
    members = csr_array((factors, order, np.append(starts, n)), shape=(len(starts), n))
    return Groups(tuple(column[starts] for column in labels), members @ rows)


def _joined(runs: tuple[Groups, ...]) -> Groups:
    """The sums of one or more runs together."""
    if len(runs) == 1:
        return runs[0]
    labels = tuple(
        np.concatenate(columns) for columns in zip(*(run.labels for run in runs), strict=True)
    )
    return _grouped(labels, np.concatenate([run.sums for run in runs]))


def _window_cross(scores: Floats, width: int) -> Floats:
    """Sum of b b' over the sums b of `width` neighbours, (q, q)."""
    sums = _window_sums(scores, width) if len(scores) >= width else scores[:0]
    return _cross(torch.from_numpy(sums))


def _window_sums(scores: Floats, width: int) -> Floats:
    """Sums of `width` neighbours, (n - width + 1, q): by halves, as no running total loses digits."""
    if width == 1:
        return scores
    half = width // 2
    halves = _window_sums(scores, half)
    sums = halves[: len(halves) - half] + halves[half:]
    return sums if width % 2 == 0 else sums[:-1] + scores[width - 1 :]


def _power_of_two(sigma2: float) -> float:
    """The one nearest to sigma; 1 where that is not known."""
    return float(2.0 ** round(math.log2(sigma2) / 2)) if 0 < sigma2 < math.inf else 1.0


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else float("nan")


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
