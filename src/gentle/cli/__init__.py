"""The command. To add one: a file with a function, and its line in `_app`."""

from gentle.cli.main import main

__all__ = ["main"]
