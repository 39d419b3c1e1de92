"""Rounding: how coarsely the values of x were rounded before they came here.

A column computed from others agrees with them only to the rounding of its values: of the type in which
it came, such as float32, or of the decimals with which it was written, such as 0.333333. What differs
by no more than that cannot be distinguished.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gentle.batch import Batch, Floats, Integers
from gentle.statistics import EPSILON

MAX_DECIMAL = 1e13  # of a value in units of its last decimal: beyond, any float64 may look like one
DECADES = np.arange(-20, 21)  # of the values that are looked at
FEW = 64
SINGLE_DIGITS = 9  # at most, with which a float32 is written
SINGLE_SPACING = 2.0**-23  # of float32 at 1
MIN_SINGLE = 30  # bits: from which on it is no chance that all values are float32 as written
FULL = -1  # decimals of a column that has more of them than can be told from float64


@dataclass(frozen=True, eq=False)
class Decimals:
    """A statistic: with how many decimals, and with how many significant digits, each column was written.

    A column that was written with a fixed number of decimals, or with a fixed number of digits, was rounded
    by half a unit of the last one. Whole numbers were not: they count things. A column of float32 was
    rounded by half of its spacing, also where it was written with as few digits as distinguish its values.
    """

    places: Integers  # (p,) digits after the point, or FULL
    digits: Integers  # (p,) significant digits
    mass: Floats  # (p, decades) of the values, by their decade
    single: (
        Floats  # (p,) bits that say that all values are float32 as written, -inf where one is not
    )

    @classmethod
    def zero(cls, p: int) -> Decimals:
        """The statistic of no rows."""
        mass = np.zeros((p, len(DECADES)))
        return cls(np.zeros(p, np.int64), np.ones(p, np.int64), mass, np.zeros(p))

    def add(self, batch: Batch) -> Decimals:
        mass = np.ones(len(batch.x)) if batch.mass is None else batch.mass.numpy()
        columns = [
            _written(values, mass, int(places), int(digits))
            for values, places, digits in zip(
                batch.x.numpy().T, self.places, self.digits, strict=True
            )
        ]
        if not columns or not len(batch.x):
            return self
        places, digits, masses = zip(*columns, strict=True)
        single = [
            _single(values, int(most))
            for values, most in zip(batch.x.numpy().T, places, strict=True)
        ]
        added = (np.array(places), np.array(digits), np.array(masses), np.array(single))
        return self.merge(Decimals(*added))

    def merge(self, other: Decimals) -> Decimals:
        full = (self.places == FULL) | (other.places == FULL)
        return replace(
            self,
            places=np.where(full, FULL, np.maximum(self.places, other.places)),
            digits=np.maximum(self.digits, other.digits),
            mass=self.mass + other.mass,
            single=self.single + other.single,
        )

    @property
    def relative(self) -> Floats:
        """The spacing at 1 of the numbers a column can hold, (p,): that of float32 or of float64.

        Whole numbers are exact, also those that float32 has.
        """
        single = (self.single >= MIN_SINGLE) & (self.digits <= SINGLE_DIGITS) & (self.places != 0)
        return np.where(single, SINGLE_SPACING, EPSILON)

    @property
    def deviation(self) -> Floats:
        """The standard deviation of the rounding of each column, (p,): 0 of whole numbers, nan if FULL."""
        unit = np.maximum(
            10.0 ** -self.places[:, None], 10.0 ** (DECADES - self.digits[:, None] + 1)
        )
        total = np.maximum(self.mass.sum(axis=1), np.finfo(np.float64).tiny)
        deviation = np.sqrt((self.mass * unit**2).sum(axis=1) / total / 12)
        deviation[self.places == 0] = 0.0
        return np.where(self.places == FULL, np.nan, deviation)


@dataclass(frozen=True, eq=False)
class Rounding:
    """What is known of the rounding of the columns of x."""

    relative: Floats  # (p,) of a value, by its type: the spacing of its numbers at 1
    decimal: Floats | None = None  # (p,) `Decimals.deviation`; None where nobody looked


def _written(values: Floats, mass: Floats, places: int, digits: int) -> tuple[int, int, Floats]:
    """(decimals, digits, mass by decade) of a column that has so many, or more."""
    by_decade = np.zeros(len(DECADES))
    places = _places(values, _places(values[:FEW], places))  # mostly the first ones say it
    there = values != 0
    if places == FULL or not there.any():
        return places, digits, by_decade
    size = np.abs(values[there])
    decade = np.floor(np.log10(size)).astype(np.int64)
    if decade.min() < DECADES[0] or decade.max() > DECADES[-1]:
        return FULL, digits, by_decade
    units = np.rint(size * 10.0**places)
    length = decade + places + 1
    while (units % 10.0 ** np.maximum(length - digits, 0)).any():
        digits += 1
    by_decade += np.bincount(decade - DECADES[0], weights=mass[there], minlength=len(DECADES))
    return places, digits, by_decade


def _single(values: Floats, places: int) -> float:
    """How many bits say that all values are float32 as written, by at most so many decimals.

    Such a value is the decimal next to its float32, among those with as many decimals as it has, and
    another one with so many decimals is that by a chance of unit / spacing. -inf where one is not.
    """
    if places == FULL:
        return -np.inf
    own = np.full(len(values), places)
    for fewer in range(places - 1, -1, -1):
        units = values * 10.0**fewer
        own[np.abs(units - np.rint(units)) <= 2 * EPSILON * np.abs(units)] = fewer
    unit = 10.0**-own
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if (np.abs(values - single) > 0.5 * unit * (1 + 1e-6)).any():
        return -np.inf
    spacing = np.spacing(np.abs(single)).astype(np.float64)
    return float(np.log2(np.maximum(spacing / unit, 1)).sum())


def _places(values: Floats, places: int) -> int:
    """The fewest decimals, no fewer than so many, with which all values are written."""
    largest = float(np.abs(values).max(initial=0.0))
    while places != FULL:
        if largest * 10.0**places > MAX_DECIMAL:
            return FULL
        units = values * 10.0**places
        off = np.abs(units - np.rint(units)) > 2 * EPSILON * np.abs(units)
        if not off.any():
            return places
        places = places + 1 if not _hopeless(values[off], places) else FULL
    return FULL


def _hopeless(values: Floats, places: int) -> bool:
    """Whether some value, in the first few, has more decimals than are looked for."""
    few = values[:8]
    for more in range(places + 1, 32):
        units = few * 10.0**more
        if np.abs(units).max() > MAX_DECIMAL:
            return True
        if (np.abs(units - np.rint(units)) <= 2 * EPSILON * np.abs(units)).all():
            return False
    return True
