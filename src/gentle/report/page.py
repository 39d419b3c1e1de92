"""A story as one self-contained HTML page, pictures and all."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gentle.errors import printable
from gentle.files import written
from gentle.story import Output, Part, Picture, Text, Title


def write_page(parts: Sequence[Part], folder: Path, to: Path, *, title: str, note: str) -> None:
    """Write the parts of a story as a page; pictures are read from folder and put into it."""
    environment = Environment(
        loader=PackageLoader("gentle.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [part.title for part in parts if isinstance(part, Title)]
    page = environment.get_template("story.html").render(
        title=printable(title),
        note=printable(note),
        sections=list(map(printable, sections)),
        blocks=list(_blocks(parts, folder)),
    )
    with written(to) as beside:
        beside.write_text(page, encoding="utf-8")


def _blocks(parts: Sequence[Part], folder: Path) -> list[dict[str, Any]]:
    """The parts as plain values for the template; lines of output that follow each other are one."""
    blocks: list[dict[str, Any]] = []
    number = 0
    for kind, group in groupby(parts, type):
        members = list(group)
        if kind is Output:
            lines = [member.text for member in members if isinstance(member, Output)]
            blocks.append(
                {
                    "kind": "output",
                    "text": printable(_joined(lines), keep="\n"),
                    "long": len(lines) > 24,
                }
            )
            continue
        for part in members:
            if isinstance(part, Title):
                number += 1
                blocks.append({"kind": "title", "text": printable(part.title), "number": number})
            elif isinstance(part, Text):
                blocks.append({"kind": "text", "text": printable(part.text)})
            elif isinstance(part, Picture):
                blocks.append(
                    {
                        "kind": "picture",
                        "source": _data(folder / part.file),
                        "text": printable(part.caption),
                    }
                )
    return blocks


def _joined(lines: list[str]) -> str:
    """Outputs below each other, with air around those of more than one line."""
    texts = [line if "\n" not in line else f"{line}\n" for line in lines]
    return "\n".join(texts).rstrip()


def _data(path: Path) -> str:
    kind = path.suffix.removeprefix(".")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
