"""Where rows come from. To add a source: one file with the methods of `Source`, and its lines here.

`open_source` says which of them reads what a user hands over.
"""

from gentle.sources.arrays import Arrays
from gentle.sources.batches import Batches
from gentle.sources.dask import Partitions
from gentle.sources.datasets import ArrowDataset
from gentle.sources.files import read_file
from gentle.sources.frames import Frame
from gentle.sources.kinds import has_method, is_a, is_array, is_column, is_table
from gentle.sources.lending import lent
from gentle.sources.memory import array_of, joined_labels
from gentle.sources.named import Named, is_of_arrays, with_names
from gentle.sources.opening import (
    comes_in_pieces,
    files_of,
    index_of,
    open_piece,
    open_source,
    pair_targets,
    pair_weights,
    with_columns,
)
from gentle.sources.plan import Plan
from gentle.sources.shifted import Shift, Shifted
from gentle.sources.source import Chunk, Matrix, Schema, Source, unreadable
from gentle.sources.sql import query
from gentle.sources.subset import Subset, hold_out

__all__ = [
    "Arrays",
    "ArrowDataset",
    "Batches",
    "Chunk",
    "Frame",
    "Matrix",
    "Named",
    "Partitions",
    "Plan",
    "Schema",
    "Shift",
    "Shifted",
    "Source",
    "Subset",
    "array_of",
    "comes_in_pieces",
    "files_of",
    "has_method",
    "hold_out",
    "index_of",
    "is_a",
    "is_array",
    "is_column",
    "is_of_arrays",
    "is_table",
    "joined_labels",
    "lent",
    "open_piece",
    "open_source",
    "pair_targets",
    "pair_weights",
    "query",
    "read_file",
    "unreadable",
    "with_columns",
    "with_names",
]
