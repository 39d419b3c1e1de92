"""What is used of rich. Its first import draws from Python's random state, which is put back."""

from __future__ import annotations

import random

_before = random.getstate()

from rich.console import Console, Group, OverflowMethod, RenderableType  # noqa: E402
from rich.text import Text  # noqa: E402

random.setstate(_before)

__all__ = ["Console", "Group", "OverflowMethod", "RenderableType", "Text"]
