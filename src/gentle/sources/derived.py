"""What sources have in common that change the rows of another."""

from __future__ import annotations

from dataclasses import dataclass

from gentle.errors import GentleError
from gentle.sources.batches import Batches
from gentle.sources.source import Schema, Source


@dataclass(frozen=True, eq=False)
class Derived:
    """The rows of another source, of which a subclass changes what it is about."""

    source: Source

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def start(self) -> int:
        return self.source.start

    @property
    def replayable(self) -> bool:
        return self.source.replayable

    @property
    def seeks(self) -> bool:
        return self.source.seeks

    @property
    def divides(self) -> bool:
        return self.source.divides

    @property
    def sparse(self) -> bool:
        return self.source.sparse

    def schema(self) -> Schema:
        return self.source.schema()

    def height(self) -> int:
        return self.source.height()


def check_order(source: Source, needing: str) -> None:
    """Raises GentleError for shuffled batches, where something needs the rows in one order."""
    if isinstance(source, Batches) and not source.ordered:
        raise GentleError(
            f"{needing} the rows in the same order each time, and these batches are shuffled: leave that "
            "out (shuffle=False in a DataLoader)"
        )
