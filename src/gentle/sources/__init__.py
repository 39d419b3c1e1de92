"""Where rows come from. To add a source: one file with the methods of `Source`, and its lines here.

`open_source` says which of them reads what a user hands over.
"""

from gentle.sources.arrays import Arrays
from gentle.sources.batches import Batches
from gentle.sources.dask import Partitions
from gentle.sources.files import read_file
from gentle.sources.frames import Frame
from gentle.sources.lending import lent
from gentle.sources.opening import files_of, open_source, pair_targets, with_columns
from gentle.sources.plan import Plan
from gentle.sources.source import Chunk, Matrix, Schema, Source
from gentle.sources.sql import query
from gentle.sources.subset import Subset, hold_out

__all__ = [
    "Arrays",
    "Batches",
    "Chunk",
    "Frame",
    "Matrix",
    "Partitions",
    "Plan",
    "Schema",
    "Source",
    "Subset",
    "files_of",
    "hold_out",
    "lent",
    "open_source",
    "pair_targets",
    "query",
    "read_file",
    "with_columns",
]
