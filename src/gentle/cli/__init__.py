"""The command. To add one: a file with a function, and its line in app.py."""

from gentle.cli.starting import loading


def main() -> None:
    """Run the command `gentle`. Ctrl-C ends it from here on, also while libraries load."""
    with loading():
        from gentle.cli.app import run
    run()


__all__ = ["main"]
