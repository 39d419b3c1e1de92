"""Where rows come from. To add a source: one file with the methods of `Source`, and its lines here.

`open_source` says which of them reads what a user hands over.
"""

from gentle.sources.arrays import Arrays
from gentle.sources.files import File, read_file
from gentle.sources.frames import Frame
from gentle.sources.opening import open_source, pair_targets, with_columns
from gentle.sources.source import Chunk, Matrix, Schema, Source
from gentle.sources.subset import Subset, hold_out

__all__ = [
    "Arrays",
    "Chunk",
    "File",
    "Frame",
    "Matrix",
    "Schema",
    "Source",
    "Subset",
    "hold_out",
    "open_source",
    "pair_targets",
    "read_file",
    "with_columns",
]
