"""Where sessions' histories live: the contract, one URL-scheme table, one backend a file."""
