"""Double-double matrices: each number is a sum of two float64, which makes about 32 digits.

Products are had from BLAS without error. A matrix is cut into slices of so few bits that the products of
two slices, summed, fit into the 53 bits of a float64 (Ozaki, Ogita, Oishi and Rump 2012); the
partial products are then added with their rounding errors kept (Ogita, Rump and Oishi 2005).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gentle.batch import Floats

BITS = 53  # of a float64
ENOUGH = 112  # bits of a double-double product, and a few to spare
SPLITTER = 2.0**27 + 1


class Doubled(NamedTuple):
    """high + low, where low is what high lacks."""

    high: Floats
    low: Floats

    def plus(self, other: Doubled) -> Doubled:
        """The sum, rounded to double-double."""
        high, error = two_sum(self.high, other.high)
        return Doubled(*two_sum(high, error + (self.low + other.low)))

    def minus(self, other: Doubled) -> Doubled:
        """The difference, rounded to double-double."""
        return self.plus(Doubled(-other.high, -other.low))

    def times(self, factor: Doubled) -> Doubled:
        """The elementwise product, rounded to double-double."""
        high, error = two_product(self.high, factor.high)
        return Doubled(*two_sum(high, error + (self.high * factor.low + self.low * factor.high)))


def total(terms: Doubled) -> Doubled:
    """The sum of terms (m, ...) over the first axis, by pairs (Ogita, Rump and Oishi 2005)."""
    high, low = terms
    while len(high) > 1:
        half, odd = divmod(len(high), 2)
        both, error = two_sum(high[:half], high[half : 2 * half])
        error += low[:half] + low[half : 2 * half]
        high = np.concatenate([both, high[-1:]]) if odd else both
        low = np.concatenate([error, low[-1:]]) if odd else error
    return Doubled(*two_sum(high[0], low[0]))


def doubled(values: Floats) -> Doubled:
    """Float64 numbers, which lack nothing."""
    return Doubled(values, np.zeros_like(values))


def two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """a + b rounded, and the rounding error (Knuth 1969)."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def two_product(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """a * b rounded, and the rounding error (Dekker 1971)."""
    product = a * b
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def power(base: Floats, exponent: int) -> Doubled:
    """base ** exponent for a whole exponent of 1 or more, by repeated squaring."""
    result: Doubled | None = None
    square = doubled(base)
    while True:
        if exponent & 1:
            result = square if result is None else result.times(square)
        exponent >>= 1
        if not exponent:
            assert result is not None
            return result
        square = square.times(square)


@dataclass(frozen=True, eq=False)
class Sliced:
    """A matrix as the sizes of its columns times a sum of slices, each on a grid of its own.

    Slice i holds whole multiples of 2^-(bits (i + 1)), below 2^-(bits i) in size.
    """

    sizes: Floats  # (n,) powers of two above the entries of each column, 0 of zeros
    slices: tuple[Floats, ...]  # each (m, n)
    bits: int

    def times(self, matrix: Doubled, enough: int = ENOUGH) -> Doubled:
        """This matrix (m, n) times another (n, k), to so many bits of the sum of sizes."""
        right = Doubled(*(part * self.sizes[:, None] for part in matrix))
        return _product(self.slices, self.bits, right, enough)

    def transposed_times(self, matrix: Doubled, enough: int = ENOUGH) -> Doubled:
        """The transpose of this matrix times another (m, k): (n, k)."""
        transposed = [piece.T for piece in self.slices]
        found = _product(transposed, self.bits, matrix, enough)
        return Doubled(*(part * self.sizes[:, None] for part in found))


def cut(matrix: Floats) -> Sliced:
    """The slices of a matrix (m, n) whose products, also with its transpose, BLAS makes exactly."""
    bits = (BITS - _log2(max(matrix.shape))) // 2
    sizes = _sizes(matrix)
    rest = matrix / _or_one(sizes)
    slices = []
    for at in range(-(-ENOUGH // bits)):
        slices.append(_top(rest, bits * (at + 1)))
        rest -= slices[-1]
        if not rest.any():
            break
    return Sliced(sizes, tuple(slices), bits)


def _product(
    slices: Sequence[Floats],
    bits: int,
    right: Doubled,
    enough: int,
) -> Doubled:
    """The sum over pairs of slices, of which those beyond `enough` bits are left out."""
    m, k = len(slices[0]), right.high.shape[1]
    sizes = _sizes(right.high)
    own = BITS - bits - _log2(len(right.high))
    pieces = list(_pieces([part / _or_one(sizes) for part in right], own, enough))
    parts = [np.zeros((1, m, k))]
    for at, left in enumerate(slices):
        near = [piece for place, piece in pieces if bits * at + own * place < enough]
        if near:
            parts.append((left @ np.hstack(near)).reshape(m, -1, k).swapaxes(0, 1))
    terms = np.concatenate(parts)
    found = total(Doubled(terms, np.zeros_like(terms)))
    return Doubled(*(part * sizes for part in found))


def _pieces(parts: list[Floats], bits: int, enough: int) -> Iterator[tuple[int, Floats]]:
    """(place, slice) of each part, those that are zero left out."""
    for part in parts:
        rest = part
        for place in range(-(-enough // bits)):
            piece = _top(rest, bits * (place + 1))
            rest = rest - piece
            if piece.any():
                yield place, piece
            if not rest.any():
                break


def _top(values: Floats, bits: int) -> Floats:
    """Values below 1 in size, rounded to whole multiples of 2^-bits."""
    magnet = 1.5 * 2.0 ** (BITS - 1 - bits)
    return np.asarray((values + magnet) - magnet)


def _sizes(matrix: Floats) -> Floats:
    """(n,) powers of two above the entries of each column; 0 of one of zeros, which so never counts."""
    top = np.abs(matrix).max(axis=0, initial=0.0)
    return np.asarray(np.ldexp((top > 0).astype(np.float64), np.frexp(top)[1]))


def _or_one(sizes: Floats) -> Floats:
    return np.where(sizes > 0, sizes, 1.0)


def _log2(count: int) -> int:
    return max(count - 1, 1).bit_length()


def _halves(values: Floats) -> tuple[Floats, Floats]:
    """Values as a sum of two of 26 bits each (Veltkamp 1968)."""
    wide = SPLITTER * values
    high = wide - (wide - values)
    return high, values - high
