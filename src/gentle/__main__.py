"""python -m gentle: the command."""

from gentle.cli import main

if __name__ == "__main__":
    main()
