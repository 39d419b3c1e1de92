"""Renew what a page shows: run each command that stands in it and put its output below it.

    python docs/readme.py README.md

A command is marked by a line `<!-- $ gentle ... -->` before a block of code.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
MARKED = re.compile(r"<!-- \$ (.+?) -->\n```text\n.*?```", re.DOTALL)


def output(match: re.Match[str]) -> str:
    """The marked block with the command's output of now."""
    command = match[1]
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    words = shlex.split(command)
    words[0] = str(Path(sys.executable).parent / words[0])
    printed = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    lines = "\n".join(line.rstrip() for line in printed.splitlines()).strip("\n")
    return f"<!-- $ {command} -->\n```text\n$ {command}\n\n{lines}\n```"


def renewed(text: str) -> str:
    """A page with the outputs of now."""
    return MARKED.sub(output, text)


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
