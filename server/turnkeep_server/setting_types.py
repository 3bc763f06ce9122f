"""What several settings are, and how they are written in the environment."""

from typing import Annotated

from pydantic import Field

PREFIX = "TURNKEEP_"
_A_DAY = 86_400.0

Seconds = Annotated[float, Field(gt=0, le=_A_DAY, allow_inf_nan=False)]
SecondsFromZero = Annotated[float, Field(ge=0, le=_A_DAY, allow_inf_nan=False)]
"""Times, each a day at most."""


def unset_if_empty(value: object) -> object:
    """A setting as it was written, without the newline of a file it came from; None if empty."""
    stripped = value.strip() if isinstance(value, str) else value
    return None if stripped == "" else stripped


def separated_by_commas(value: object) -> object:
    """A setting of several values, as it was written: a list of them, without the empty ones."""
    if not isinstance(value, str):
        return value
    return [each.strip() for each in value.split(",") if each.strip()]


def variable(name: str) -> str:
    """The environment's variable for a field of the settings."""
    return name.upper() if name.upper().startswith("OPENAI_") else PREFIX + name.upper()
