"""The command. To add one: a file with a function, and its line in main.py."""

from gentle.cli.main import main

__all__ = ["main"]
