"""What several settings are: times in seconds, each over zero or from zero on, a day at most."""

from typing import Annotated

from pydantic import Field

_A_DAY = 86_400.0

Seconds = Annotated[float, Field(gt=0, le=_A_DAY, allow_inf_nan=False)]
SecondsFromZero = Annotated[float, Field(ge=0, le=_A_DAY, allow_inf_nan=False)]


def unset_if_empty(value: object) -> object:
    """A setting as it was written, without the newline of a file it came from; None if empty."""
    stripped = value.strip() if isinstance(value, str) else value
    return None if stripped == "" else stripped
