"""`python -m turnkeep_server`: the same as the `turnkeep-server` command."""

from turnkeep_server.cli import main

if __name__ == "__main__":
    main()
