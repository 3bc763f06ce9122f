"""What the process exits with; 0 is a clean drain."""

FAILED = 1
BAD_SETTINGS = 2
