"""gentle: linear models by gradient descent, with the exact answer beside every fit.

    import gentle
    fit = gentle.fit("data.csv", target="price", solver="sgd")
    print(fit.summary())

Heavy libraries load when they are used: `import gentle` brings in none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gentle._version import version as __version__
from gentle.forking import watch_forks

if TYPE_CHECKING:
    from gentle import textbook as textbook
    from gentle.checking import Check as Check
    from gentle.checking import certify as certify
    from gentle.comparison import Claim as Claim
    from gentle.contesting import Contest as Contest
    from gentle.contesting import compare as compare
    from gentle.contesting import contest as contest
    from gentle.descended import Descended as Descended
    from gentle.errors import CovarianceWarning as CovarianceWarning
    from gentle.errors import GentleError as GentleError
    from gentle.errors import GentleWarning as GentleWarning
    from gentle.errors import PrecisionWarning as PrecisionWarning
    from gentle.errors import RankWarning as RankWarning
    from gentle.errors import ReadingWarning as ReadingWarning
    from gentle.estimators import LinearRegression as LinearRegression
    from gentle.fitting import fit as fit
    from gentle.model_file import load as load
    from gentle.online import OnePass as OnePass
    from gentle.online import Online as Online
    from gentle.result import Fit as Fit
    from gentle.result import Fits as Fits
    from gentle.sources.files import read_csv as read_csv
    from gentle.sources.sql import read_sql as read_sql

_WHERE = {
    "Check": "gentle.checking",
    "Claim": "gentle.comparison",
    "Contest": "gentle.contesting",
    "CovarianceWarning": "gentle.errors",
    "Fit": "gentle.result",
    "Fits": "gentle.result",
    "GentleError": "gentle.errors",
    "GentleWarning": "gentle.errors",
    "LinearRegression": "gentle.estimators",
    "Descended": "gentle.descended",
    "OnePass": "gentle.online",
    "Online": "gentle.online",
    "PrecisionWarning": "gentle.errors",
    "RankWarning": "gentle.errors",
    "ReadingWarning": "gentle.errors",
    "certify": "gentle.checking",
    "compare": "gentle.contesting",
    "contest": "gentle.contesting",
    "fit": "gentle.fitting",
    "load": "gentle.model_file",
    "read_csv": "gentle.sources.files",
    "read_sql": "gentle.sources.sql",
    "textbook": "gentle",
}

__all__ = [*_WHERE, "__version__"]


watch_forks()


def __getattr__(name: str) -> Any:
    if name == "textbook":
        return import_module("gentle.textbook")
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'gentle' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
