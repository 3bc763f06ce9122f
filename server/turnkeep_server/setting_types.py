"""What several settings are: times in seconds, each over zero or from zero on, a day at most."""

from typing import Annotated

from pydantic import Field

_A_DAY = 86_400.0

Seconds = Annotated[float, Field(gt=0, le=_A_DAY, allow_inf_nan=False)]
SecondsFromZero = Annotated[float, Field(ge=0, le=_A_DAY, allow_inf_nan=False)]
