"""The index of a pandas frame, which stands in an Arrow table among the columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

KEY = b'{"index_columns"'  # how the metadata begins that pandas and Dask write
RESERVED = re.compile(r"__index_level_\d+__|__null_dask_index__")  # names of an index without one


def index_columns(metadata: str | bytes | None, names: Iterable[str] = ()) -> tuple[str, ...]:
    """The columns among `names` that are an index: by the metadata "pandas" of a schema, or by name."""
    try:
        record = json.loads(metadata or "{}")
        listed = record.get("index_columns", ()) if isinstance(record, dict) else ()
        stated = {name for name in listed if isinstance(name, str)}  # a range is no column
    except (ValueError, TypeError, RecursionError):
        stated = set()
    return tuple(name for name in names if name in stated or RESERVED.fullmatch(name))


def metadata_in(footer: bytes) -> str | None:
    """The metadata "pandas" in the footer of an Arrow file, where it stands as text."""
    at = footer.find(KEY)
    if at < 0:
        return None
    text = footer[at:].decode("utf-8", errors="replace")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return text[:end]
