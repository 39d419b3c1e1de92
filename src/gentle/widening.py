"""Widening: the sums of rows that can be read only once, whose levels are known when all have come.

A level that first appears late was a column of zeros before. About a shift of zero such a column adds
nothing to sums and cross-products, so they widen by zeros, exactly. Every level has a column while
rows come; in the end the sorted ones but the reference are taken out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from gentle.batch import EXACT_COLUMNS, rows_per_batch
from gentle.design import Design, Rows
from gentle.errors import GentleError
from gentle.levels import Texts
from gentle.passes import fold
from gentle.plain import Plain
from gentle.sources import Chunk, Source
from gentle.statistics import Moments, Opening, Tally, Triangle


def read_once(
    source: Source, design: Design, sums: Moments | Triangle, *, most: float = EXACT_COLUMNS
) -> tuple[Design, Opening]:
    """(the design with its levels, the opening of all rows) of a source, in one reading.

    Args:
        source: the rows.
        design: what they are to become, whose texts have no levels yet.
        sums: the zero of the sums; where there are texts, `Moments`.
        most: columns, of which the sums hold the square.

    Raises GentleError for more columns, and for sums that cannot widen.
    """
    if not design.levels:
        return design, fold(Opening(Tally(), sums), Rows(source, design))
    if not isinstance(sums, Moments):
        raise GentleError(
            f"a QR triangle needs all levels from its first row on, and {source.name} can be read only "
            "once: leave out method='qr', or give a file or a frame"
        )
    texts = {name: Texts.of(name, source) for name in design.levels}
    opening, wide = Opening(Tally(), sums), design
    selection = design.selection
    for chunk in source.scan(design.needed, rows_per_batch(len(design.needed))):
        used = selection.used(chunk, source.name)
        texts = {name: seen.add(used, chunk) for name, seen in texts.items()}
        wide, before = _with_levels(wide, texts), wide
        if len(wide.names) - len(wide.levels) > most:
            raise GentleError(
                f"the texts of {source.name} make more than {most:,} columns, and one reading takes the "
                "square of the columns in memory: give a file or a frame, or leave some out"
            )
        opening = replace(opening, sums=_widened(opening.sums, before, wide))
        for piece in _pieces(chunk, rows_per_batch(len(wide.names))):
            opening = opening.add(wide.batch(piece, source.name))
    levels = {name: seen.levels() for name, seen in texts.items()}
    learned = replace(
        design, levels=levels, encoder=replace(_plain(design), levels=levels, full=False)
    )
    return learned, replace(opening, sums=_taken(opening.sums, wide, learned))


def _with_levels(design: Design, texts: dict[str, Texts]) -> Design:
    """The design with a column for each level seen so far, new ones after those before."""
    levels = {}
    for name, seen in texts.items():
        before = design.levels[name]
        levels[name] = (*before, *sorted({*seen.seen["text"]}.difference(before)))
    if _plain(design).full and levels == design.levels:
        return design
    return replace(design, levels=levels, encoder=replace(_plain(design), levels=levels, full=True))


def _widened(sums: Moments | Triangle, before: Design, wide: Design) -> Moments:
    """The sums with zeros for the columns that came."""
    assert isinstance(sums, Moments)
    if not sums.total or before.names == wide.names:
        return sums
    at = _places(wide, before)
    q = len(wide.names) + len(wide.targets)
    shift, unit, first, second = np.zeros(q), np.ones(q), np.zeros(q), np.zeros((q, q))
    shift[at], unit[at], first[at] = sums.shift, sums.unit, sums.first
    second[np.ix_(at, at)] = sums.second
    return replace(sums, shift=shift, unit=unit, first=first, second=second)


def _taken(sums: Moments | Triangle, wide: Design, learned: Design) -> Moments:
    """The sums of the columns that are learned."""
    assert isinstance(sums, Moments)
    return sums.at(_places(wide, learned)) if sums.total else sums


def _places(wide: Design, narrow: Design) -> list[int]:
    """Where the columns and targets of a design stand in one that has all of them, and more."""
    at = {term: place for place, term in enumerate(_plain(wide).terms)}
    p = len(at)
    return [*(at[term] for term in _plain(narrow).terms), *range(p, p + len(wide.targets))]


def _plain(design: Design) -> Plain:
    assert isinstance(design.encoder, Plain)
    return design.encoder


def _pieces(chunk: Chunk, rows: int) -> Iterator[Chunk]:
    """The rows of a chunk, at most so many at a time."""
    assert isinstance(chunk.table, pl.DataFrame)
    for at in range(0, len(chunk.rows), rows):
        yield Chunk(chunk.rows[at : at + rows], chunk.table[at : at + rows])
