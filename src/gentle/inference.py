"""Inference: what the coefficients of a least-squares fit say beyond the sample.

Every test takes the covariance of the coefficients as it is given, classical or robust, and degrees of
freedom that may be infinite: t is then the normal distribution, and F is chi-square over its degrees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.special import chdtrc, fdtrc, ndtr, ndtri, stdtr, stdtrit

from gentle.batch import Floats
from gentle.errors import GentleError, is_number, listed, show_value
from gentle.layout import bound, columns, estimate, number, spread, t_value

# Variances this much smaller than the largest, each estimate in its own standard errors, are rounding:
# eigenvalues come with errors of about 1e-15, so that those which count keep two digits or more.
RANK_TOL = 1e-13
SPAN_TOL = 1e-6  # how far estimates, in standard errors, may leave the span of their covariance
CONSISTENT_TOL = 1e-10  # how far redundant restrictions may contradict the others, in rounding
LEVERAGE_TOL = 1e-10  # a leverage this close to one is one: the row's residual is rounding
MIDPOINTS = 400  # of an integral: as good as exact but for a t near 0
FIXED = (
    1e-13  # of the terms of a variance that is a difference: what is left below that is rounding
)


def t_values(coef: Floats, std_errors: Floats) -> Floats:
    """Coefficients in standard errors (Student 1908)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return coef / std_errors


def p_values(t: Floats, df: float) -> Floats:
    """Two-sided probabilities of a |t| at least so large under a coefficient of zero."""
    below = -np.abs(t)
    return np.asarray(2 * (ndtr(below) if math.isinf(df) else stdtr(df, below)))


def intervals(coef: Floats, std_errors: Floats, df: float, level: float) -> tuple[Floats, Floats]:
    """(low, high): coef -+ t quantile * standard error.

    Raises GentleError for a level that is not between 0 and 1.
    """
    _check_level(level)
    above = (1 + level) / 2
    half = (ndtri(above) if math.isinf(df) else stdtrit(df, above)) * std_errors
    return coef - half, coef + half


def scaled_p_values(t: Floats) -> Floats:
    """Two-sided probabilities of a |t| at least so large in the law of random scaling.

    That is the law of Z / sqrt(S) with Z standard normal and, apart from it, S the integral of a squared
    Brownian bridge. With P(|Z| > a) = 2/pi int_0^{pi/2} exp(-a^2 / (2 sin^2 h)) dh (Craig 1991) and
    E exp(-z^2 S / 2) = sqrt(z / sinh z) it is

        P(|t| > c) = 2/pi int_0^{pi/2} sqrt(z / sinh z) dh,   z = c / sin h,

    a smooth integral, which the midpoint rule takes to rounding.
    """
    h = (np.arange(MIDPOINTS) + 0.5) * (math.pi / 2 / MIDPOINTS)
    z = np.clip(np.abs(np.asarray(t, dtype=np.float64))[..., None] / np.sin(h), 1e-300, 1e4)
    with np.errstate(under="ignore"):  # far out p is 0
        return np.asarray((np.sqrt(-2 * z / np.expm1(-2 * z)) * np.exp(-z / 2)).mean(axis=-1))


@cache
def scaled_quantile(level: float) -> float:
    """The |t| that the law of random scaling stays below with this probability: 6.747 for 0.95.

    Raises GentleError for a level that is not between 0 and 1.
    """
    _check_level(level)
    low, high = 0.0, 1.0
    while scaled_p_values(np.array(high)) > 1 - level:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        above = scaled_p_values(np.array(middle)) > 1 - level
        low, high = (middle, high) if above else (low, middle)
    return high


def _check_level(level: object) -> None:
    if not is_number(level) or not 0 < level < 1:
        raise GentleError(
            f"a level must lie between 0 and 1, such as 0.95, and is {show_value(level)}"
        )


@dataclass(frozen=True)
class Wald:
    """A joint test that several quantities are all zero; nan where there is nothing to be said."""

    statistic: float  # F; times df_num it is the chi-square of the same test
    df_num: int  # how many of the quantities are not made of the others
    df_denom: float  # inf: chi-square
    p_value: float
    reason: str = ""  # why the statistic is nan

    def __str__(self) -> str:
        if self.reason:
            return f"{self._name}: none, as {self.reason}"
        value = self.statistic * (self.df_num if math.isinf(self.df_denom) else 1)
        return f"{self._name} = {number(value)}, p = {number(self.p_value, 3)}"

    @property
    def _name(self) -> str:
        if math.isinf(self.df_denom):
            return f"chi2({self.df_num})"
        return f"F({self.df_num}, {self.df_denom:.10g})"


def wald(estimates: Floats, covariance: Floats, df_resid: float, *, alike: bool = False) -> Wald:
    """F = d'V^+ d / rank V of estimates d (m,) with covariance V (m, m) (Wald 1943).

    V may be singular: what is a combination of the rest counts once. The statistic is nan where V is
    zero or has negative variances, and where d has a part without variance, which no distribution
    explains: as when restrictions contradict each other, or clusters are fewer than estimates. Its
    `reason` says which.
    """

    def none(rank: int, reason: str) -> Wald:
        return Wald(math.nan, rank, df_resid, math.nan, reason)

    if not (np.isfinite(estimates).all() and np.isfinite(covariance).all()):
        return none(len(estimates), "some of these coefficients have no standard error")
    variances = np.diag(covariance)
    unit = np.sqrt(np.where(variances > 0, variances, 1.0))
    if alike:
        unit = np.full_like(unit, unit.max(initial=0.0))
    values, vectors = np.linalg.eigh(covariance / unit[:, None] / unit)
    along = vectors.T @ (estimates / unit)
    rounding = RANK_TOL * values.max(initial=0.0)
    seen = values > rounding
    rank = int(seen.sum())
    fixed = np.any((variances <= 0) & (estimates != 0)) or _leaves(along[~seen], along, SPAN_TOL)
    if not len(estimates):
        return none(0, "there is nothing to test")
    if not rank:
        return none(rank, "their covariance is zero")
    if values.min() < -rounding:
        return none(rank, "their covariance has negative eigenvalues")
    if fixed:
        return none(
            rank, f"their covariance has rank {rank}, and there are {len(estimates)} to test"
        )
    statistic = float(np.sum(along[seen] ** 2 / values[seen])) / rank
    return Wald(statistic, rank, df_resid, _f_probability(statistic, rank, df_resid))


@dataclass(frozen=True, eq=False)
class Contrast:
    """Linear restrictions R b = r of the coefficients, each tested alone and all of them together.

    The estimates and their intervals are those of R b; t and p are of R b - r.
    """

    names: tuple[str, ...]  # (m,) the text of each restriction
    estimates: Floats  # (m,) R b
    values: Floats  # (m,) r
    std_errors: Floats  # (m,)
    t_values: Floats  # (m,)
    p_values: Floats  # (m,)
    df: float  # of t; inf: normal
    wald: Wald

    def conf_int(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """(low, high) of R b, each (m,).

        Raises GentleError for a level that is not between 0 and 1.
        """
        return intervals(self.estimates, self.std_errors, self.df, level)

    def __str__(self) -> str:
        low, high = self.conf_int()
        lines = columns(
            self.names,
            [
                ("estimate", list(map(estimate, self.estimates, self.std_errors))),
                ("std. error", [spread(value) for value in self.std_errors]),
                ("z" if math.isinf(self.df) else "t", [t_value(value) for value in self.t_values]),
                ("p", [number(value, 3) for value in self.p_values]),
                ("[0.025", list(map(bound, low, self.std_errors))),
                ("0.975]", list(map(bound, high, self.std_errors))),
            ],
        )
        return "\n".join([*lines, "", f"together: {self.wald}"])


def contrast(
    matrix: Floats,
    values: Floats,
    coef: Floats,
    vcov: Floats,
    df: float,
    labels: Sequence[str],
    names: Sequence[str],
    *,
    unit: Floats | None = None,
    reason: str = "",
) -> Contrast:
    """Tests of R b = r, with R the matrix (m, q), r the values (m,), b = coef (q,), and vcov (q, q).

    Restrictions that follow from others change nothing of the joint test, and those that contradict
    each other leave its statistic nan. vcov is that of b / unit, with unit (q,) or 1:
    squares of far units are never formed. `reason` says why a vcov that is nan is so.

    Raises GentleError for a shape that does not fit, and for a restriction on a coefficient that is
    nan, which was left out of the fit: `names` (q,) say which.
    """
    _check_restrictions(matrix, values, coef, labels, names)
    known = (matrix != 0).any(axis=0)  # 0 * nan would spread
    unit = np.ones(len(coef)) if unit is None else unit
    matrix, coef = (matrix * unit)[:, known], (coef / unit)[known]
    vcov = vcov[np.ix_(known, known)]
    size = np.ldexp(1.0, np.frexp(np.abs(matrix).max(axis=1, initial=0.0))[1])
    matrix, values = matrix / size[:, None], values / size
    estimates = matrix @ coef
    variances = np.sum((matrix @ vcov) * matrix, axis=1)
    std_errors = np.sqrt(np.where(variances >= 0, variances, np.nan))
    terms = np.sum((np.abs(matrix) @ np.abs(vcov)) * np.abs(matrix), axis=1)
    # What has no variance beside its parts, as the equal shares of a column and its copy, is no estimate.
    std_errors[variances <= FIXED * terms] = np.nan
    t = t_values(estimates - values, std_errors)
    joint = _joint(matrix, values, coef, vcov, df)
    if np.isnan(std_errors).any():
        reason = reason or joint.reason or "some of these restrictions have no standard error"
        joint = replace(joint, statistic=math.nan, p_value=math.nan, reason=reason)
    return Contrast(
        tuple(labels),
        estimates * size,
        values * size,
        std_errors * size,
        t,
        p_values(t, df),
        df,
        joint,
    )


def log_likelihood(rss: float, n_rows: float, sum_log_weights: float = 0.0) -> float:
    """Gaussian log-likelihood at its maximum, where the variance of row i is (rss / n) / w_i:

        -n/2 (log(2 pi rss/n) + 1) + 1/2 sum_i log w_i

    with rss = sum_i w_i r_i^2. It is inf where the rows are met exactly. Weights are precisions; a row
    of frequency f counts f times in all three arguments.
    """
    if n_rows <= 0:
        return math.nan
    if rss <= 0:
        return math.inf
    return (sum_log_weights - n_rows * (math.log(2 * math.pi * rss / n_rows) + 1)) / 2


def aic(log_likelihood: float, q: int) -> float:
    """2 q - 2 log-likelihood, smaller is better (Akaike 1974).

    q counts the coefficients, as in statsmodels; R counts the variance as one more.
    """
    return 2 * q - 2 * log_likelihood


def bic(log_likelihood: float, q: int, n_rows: float) -> float:
    """q log n - 2 log-likelihood, smaller is better (Schwarz 1978).

    q counts the coefficients, as in statsmodels; R counts the variance as one more.
    """
    return q * math.log(n_rows) - 2 * log_likelihood if n_rows > 0 else math.nan


@dataclass(frozen=True, eq=False)
class Influence:
    """What each row does to the fit, (n,) each; nan for a row of leverage one, which is met always."""

    standardized: Floats  # internally studentized: residual / (sigma sqrt(1 - h))
    studentized: Floats  # externally: with the sigma of a fit without the row
    cooks_distance: Floats  # (b - b_(i))'X'WX(b - b_(i)) / (q sigma^2)
    dffits: Floats  # change of the row's own prediction, in standard errors of a fit without it
    covratio: Floats  # det of the coefficients' covariance without the row, over that with it


def influence(
    residual: Floats,
    leverage: Floats,
    sigma: float,
    df_resid: float,
    q: int,
    weight: Floats | None = None,
) -> Influence:
    """Influence of each of n rows, without fitting again (Belsley, Kuh and Welsch 1980; Cook 1977).

    The residual (n,) is y - x'b, and leverage (n,) that of the weighted row, h = w x'(X'WX)^-1 x; sigma
    and df_resid are those of the fit with all its rows, and q counts its coefficients. Of a row that
    stands for several, one is left out: its leverage is that of one.

    With e = sqrt(w) residual, a fit without row i has the sum of squares df sigma^2 - e^2 / (1 - h).
    """
    left = _left(leverage)
    odds = np.maximum(leverage, 0.0) / left
    spare = df_resid - 1 if df_resid > 1 else math.nan
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        standardized = _whitened(residual, weight) / (sigma * np.sqrt(left))
        ratio = np.maximum(df_resid - standardized**2, 0.0) / spare  # sigma_(i)^2 / sigma^2
        studentized = standardized / np.sqrt(ratio)
        return Influence(
            standardized=standardized,
            studentized=studentized,
            cooks_distance=standardized**2 * odds / q,
            dffits=studentized * np.sqrt(odds),
            covratio=ratio**q / left,
        )


def dfbetas(
    z: Floats,
    root: Floats,
    studentized: Floats,
    leverage: Floats,
    weight: Floats | None = None,
) -> Floats:
    """(n, q): change of each coefficient by each row, in standard errors of a fit without the row.

    Without row i the coefficients b are b - (X'WX)^-1 x w r / (1 - h), and their standard errors have
    sigma_(i) for sigma (Belsley, Kuh and Welsch 1980). With root root' = (X'WX)^-1 and z = x root, (n, q),
    that needs no other inverse. `studentized` (n,) are the external ones of `influence`.
    """
    size = np.linalg.norm(root, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = _whitened(studentized, weight) / np.sqrt(_left(leverage))
        return np.asarray(scale[:, None] * (z @ (root / size[:, None]).T))


def vif(inverse_diagonal: Floats, sums_of_squares: Floats) -> Floats:
    """Variance inflation factors ((X'WX)^-1)_jj SS_j of the slopes, (p,) (Marquardt 1970).

    SS_j is the weighted sum of squares of column j, about its mean where the model has a constant. It
    is 1 / (1 - R^2) of that column on the others: how much larger they make its variance.
    """
    return inverse_diagonal * sums_of_squares


def _f_probability(statistic: float, df_num: int, df_denom: float) -> float:
    """Probability of an F at least so large."""
    if math.isinf(df_denom):
        return float(chdtrc(df_num, df_num * statistic))
    return float(fdtrc(df_num, df_denom, statistic))


def _joint(matrix: Floats, values: Floats, coef: Floats, vcov: Floats, df: float) -> Wald:
    """All of R b = r, written as independent restrictions first.

    Which of them are redundant is a property of R, and the covariance of R b shows it badly where
    columns are nearly collinear. So R = U S V' in units of the standard errors, and the restrictions
    become V'b = S^-1 U'r, if r lies in the span of U.
    """
    variances = np.diag(vcov)
    unit = np.sqrt(np.where(variances > 0, variances, 1.0))
    size = np.linalg.norm(matrix * unit, axis=1)
    size[size == 0] = 1.0
    u, s, v = np.linalg.svd(matrix * unit / size[:, None], full_matrices=False)
    seen = s > RANK_TOL * s.max(initial=0.0)
    u, s, v = u[:, seen], s[seen], v[seen]
    target = values / size
    if _leaves(target - u @ (u.T @ target), target, CONSISTENT_TOL):
        reason = "the restrictions contradict each other"
        return Wald(math.nan, int(seen.sum()), df, math.nan, reason)
    estimates = u.T @ ((matrix @ coef - values) / size) / s
    return wald(estimates, v @ (vcov / unit[:, None] / unit) @ v.T, df)


def _check_restrictions(
    matrix: Floats, values: Floats, coef: Floats, labels: Sequence[str], names: Sequence[str]
) -> None:
    q = len(coef)
    if matrix.shape != (len(labels), q) or values.shape != (len(labels),):
        raise GentleError(
            f"restrictions of {q} coefficients need a matrix of shape (m, {q}) and m values, and their "
            f"shapes are {matrix.shape} and {values.shape}"
        )
    if not (np.isfinite(matrix).all() and np.isfinite(values).all()):
        raise GentleError("restrictions need numbers, and some of theirs are missing or infinite")
    for row, label in zip(matrix, labels, strict=True):
        missing = [names[j] for j in range(q) if row[j] != 0 and np.isnan(coef[j])]
        if missing:
            raise GentleError(
                f"'{label}' needs the coefficient of {listed(missing)}, which the fit does not have, as "
                "other columns make it up: restrict coefficients that have a value"
            )


def _leaves(part: Floats, whole: Floats, tolerance: float) -> bool:
    return bool(np.linalg.norm(part) > tolerance * np.linalg.norm(whole))


def _whitened(residual: Floats, weight: Floats | None) -> Floats:
    return residual if weight is None else np.sqrt(weight) * residual


def _left(leverage: Floats) -> Floats:
    """1 - h, and nan where nothing is left."""
    left = 1 - leverage
    return np.where(left > LEVERAGE_TOL, left, np.nan)
