"""`python -m turnkeep.cli` is `turnkeep`."""

from turnkeep.cli import main

if __name__ == "__main__":
    main()
