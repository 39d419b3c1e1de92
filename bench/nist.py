"""Digits of agreement with the exact solutions of the NIST linear sets, exact answer and descent.

    python bench/nist.py

Each figure is the least over the coefficients, from float64 arrays, by default settings.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import gentle

SETS = Path(__file__).parent.parent / "tests" / "agree" / "nist"


def columns(data: dict[str, object]) -> np.ndarray:
    """X (n, p) of a set without its constant: columns, or the powers of one column."""
    x = np.array(data["x"], dtype=float)
    degree = int(data["degree"])  # type: ignore[call-overload]
    return x if degree == 1 else np.hstack([x**power for power in range(1, degree + 1)])


def digits(fit: gentle.Fit, exact: np.ndarray) -> float:
    """Correct digits of the worst coefficient."""
    found = np.array(list(fit.coef.values()))
    with np.errstate(divide="ignore"):
        return float(np.clip(-np.log10(np.abs(found / exact - 1)), 0, 16).min())


def main() -> None:
    """Print the table."""
    print(f"{'set':10}{'condition':>12}{'exact':>8}{'descent':>9}{'apart (SE)':>12}")
    for path in sorted(SETS.glob("*.json")):
        data = json.loads(path.read_text())
        exact = np.array([float(value) for value in data["exact_50"]["coef"]])
        pair = (columns(data), np.array(data["y"], dtype=float))
        one = gentle.fit(pair, intercept=data["intercept"])
        two = gentle.fit(pair, intercept=data["intercept"], solver="sgd")
        print(
            f"{path.stem:10}{one.condition:12.1e}{digits(one, exact):8.1f}{digits(two, exact):9.1f}"
            f"{two.certificate.in_se:12.1e}"
        )


if __name__ == "__main__":
    main()
