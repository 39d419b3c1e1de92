"""The command. To add one: a file with a function, and its line in app.py."""

from gentle.cli.starting import ignore_at_exit, loading


def main() -> None:
    """Run the command `gentle`. Ctrl-C ends it from here on, also while libraries load."""
    with loading():
        from gentle.cli.app import run
    ignore_at_exit()
    run()


__all__ = ["main"]
