"""A story in parts: told once, heard twice, live in a terminal and then as a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Title:
    """The start of a chapter."""

    title: str


@dataclass(frozen=True)
class Text:
    """A paragraph of prose."""

    text: str


@dataclass(frozen=True)
class Output:
    """What a program prints, in its own lines."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A picture that has been written."""

    file: str
    caption: str


Part = Title | Text | Output | Picture


@dataclass
class Story:
    """Keeps the parts in order, and hands each one to a listener as it is told."""

    listen: Callable[[Part], None] | None = None
    parts: list[Part] = field(default_factory=list)

    def title(self, title: str) -> None:
        self._tell(Title(title))

    def text(self, text: str) -> None:
        self._tell(Text(" ".join(text.split())))

    def output(self, text: str) -> None:
        self._tell(Output(text))

    def picture(self, file: str, caption: str) -> None:
        self._tell(Picture(file, caption))

    def _tell(self, part: Part) -> None:
        self.parts.append(part)
        if self.listen is not None:
            self.listen(part)
