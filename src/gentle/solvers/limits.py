"""The largest stable learning rate of each rule on a quadratic, and what a given one is held to.

Every rule acts on the eigenvectors of the Hessian H one by one; lambda is an eigenvalue, in (0, L],
h = rate * lambda, and b a momentum in [0, 1). The objective has the 1/2 of `problem`: without it H, and
with it every eigenvalue, is twice as large, and a rate half as large.
"""

from __future__ import annotations

from math import floor, log10
from numbers import Integral

import numpy as np

from gentle.batch import Floats
from gentle.errors import GentleError, is_number, show_value

NEWTON = 2.0  # a step of rate * H^-1 g scales the error by 1 - rate, on any data
FLAT = 1e-12  # of the largest eigenvalue: directions that no row has
MOST_ITERATIONS = 1000
DIGITS = 4  # of a limit that is shown


def plain(largest: float) -> float:
    """Gradient descent: an error is scaled by 1 - h, so 2/L."""
    return 2 / largest if largest > 0 else float("inf")


def heavy_ball(largest: float, momentum: float) -> float:
    """Heavy ball (Polyak 1964): errors obey z^2 - (1 + b - h) z + b, so 2 (1 + b)/L.

    Both roots of z^2 - t z + d are inside the unit circle where |d| < 1 and |t| < 1 + d (Jury).
    """
    return (1 + momentum) * plain(largest)


def nesterov(largest: float, momentum: float) -> float:
    """Nesterov (1983): errors obey z^2 - (1 - h)(1 + b) z + (1 - h) b, so 2 (1 + b)/((1 + 2b) L).

    By the same rule: for h <= 1 both roots are inside; for h > 1, t > -(1 + d) is
    (h - 1)(1 + 2b) < 1, and that makes |d| < 1.
    """
    return (1 + momentum) / (1 + 2 * momentum) * plain(largest)


def minibatch(rows: Floats, batch_size: int, n: float, penalty: Floats | None = None) -> float:
    """Minibatches of B rows drawn from n: the rate at which the mean square of the error stops to fall.

    With G = X'X/n of the rows (m, q), which are all n or stand for them, H = G + diag(penalty) and
    c = (n - B)/(B (n - 1)) it is 2 over the largest eigenvalue of the map

        M -> L^-1[ H M H + c (mean_i (x_i'M x_i) x_i x_i' - G M G) ],    L[M] = (H M + M H)/2

    (Defossez and Bach 2015). At B = n that is the rule of gradient descent. A row of mass w is one of
    length sqrt(w / mean w).
    """
    c = (n - batch_size) / (batch_size * max(n - 1, 1)) if batch_size < n else 0.0
    gram = rows.T @ rows / len(rows)
    values, vectors = np.linalg.eigh(gram if penalty is None else gram + np.diag(penalty))
    if c == 0 or not values.max(initial=0.0) > 0:
        return plain(float(values.max(initial=0.0)))
    x = rows @ vectors  # H is diagonal from here on, and L divides by means of eigenvalues
    gram = vectors.T @ gram @ vectors
    middle = (values[:, None] + values) / 2
    seen = middle > FLAT * values[-1]
    m = np.eye(len(values))
    largest = 0.0
    for _ in range(MOST_ITERATIONS):  # the power method
        fourth = x.T @ (x * ((x @ m) * x).sum(axis=1, keepdims=True)) / len(x)
        image = values[:, None] * m * values + c * (fourth - gram @ m @ gram)
        m = np.where(seen, image / np.where(seen, middle, 1.0), 0.0)
        before, largest = largest, float(np.linalg.norm(m))
        if abs(largest - before) <= 1e-13 * largest:
            break
        m /= largest
    return plain(largest)


def ends(spectrum: Floats) -> tuple[float, float]:
    """The least and the largest eigenvalue of a Hessian; 1 and 1 where nothing is to be found."""
    return (float(spectrum[0]), float(spectrum[-1])) if len(spectrum) else (1.0, 1.0)


def radius(trace: Floats, determinant: Floats | float) -> float:
    """The largest root of z^2 - trace z + determinant in size, over all of them: a contraction."""
    inner = trace**2 - 4 * determinant
    apart = np.sqrt(np.clip(inner, 0, None))
    real = (np.abs(trace) + apart) / 2
    roots = np.where(inner < 0, np.sqrt(np.abs(determinant)), real)
    return float(roots.max(initial=0.0))


def check_rate(rate: float | None) -> None:
    """Raises GentleError for a learning rate that is none on any data."""
    if rate is not None and not (is_number(rate) and 0 < rate < float("inf")):
        raise GentleError(f"the learning rate must be a number above 0, and is {show_value(rate)}")


def check_momentum(momentum: float | None) -> None:
    """Raises GentleError for a momentum outside [0, 1)."""
    if momentum is not None and not (is_number(momentum) and 0 <= momentum < 1):
        raise GentleError(
            f"momentum must be a number from 0 to below 1, and is {show_value(momentum)}"
        )


def check_batch_size(size: int) -> None:
    """Raises GentleError for a number of rows that is none."""
    if not isinstance(size, Integral) or isinstance(size, bool) or not 1 <= size < 2**63:
        raise GentleError(
            f"batch_size must be a whole number of rows above 0, and is {show_value(size)}"
        )


def check_stable(rate: float, limit: float, rule: str, beside: str = "") -> None:
    """Raises GentleError for a learning rate above the largest stable one, and says which that is."""
    if rate > limit:
        raise GentleError(
            f"a learning rate of {rate:g} makes every step of {rule} larger than the one before: the "
            f"largest stable one for this data{beside} is {_shown(limit)}, in columns of mean 0 and "
            "spread 1"
        )


def beside(momentum: float | None) -> str:
    """What a limit depends on, for print."""
    return "" if momentum is None else f" and a momentum of {momentum:g}"


def _shown(limit: float) -> str:
    """A limit in a few digits, and never more than it is."""
    unit = 10.0 ** (DIGITS - 1 - floor(log10(limit)))
    return f"{floor(limit * unit * (1 + 1e-12)) / unit:.{DIGITS}g}"
