"""A frame that comes in pieces of few rows, as often as asked or only once."""

from dataclasses import dataclass, field

import polars as pl

from gentle.sources import Frame


@dataclass(eq=False)
class Pieces:
    """Rows of a frame, at most so many at a time; one that is not replayable refuses to be read again."""

    frame: pl.DataFrame
    rows: int = 7
    replayable: bool = True
    start: int = 0
    name: str = "the pieces"
    seeks: bool = False
    divides: bool = False
    sparse: bool = False
    readings: list = field(default_factory=list)

    def schema(self):
        return self.frame.schema

    def height(self):
        assert self.replayable, "the rows of a stream are not counted before they come"
        return self.frame.height

    def scan(self, columns, rows):
        self.readings.append(tuple(columns))
        assert self.replayable or len(self.readings) == 1, "a stream was read twice"
        return Frame(self.frame, self.name, self.start).scan(columns, min(rows, self.rows))

    def split(self, parts):
        assert parts == 1
        return [self]
