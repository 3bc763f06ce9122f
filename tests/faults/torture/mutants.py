"""Wrong versions of the service, by name: what the suite must be able to catch."""


def apply_mutant(name: str) -> None:
    """Makes this process the mutant. Raises KeyError, or TargetGone."""
    raise KeyError(name)
