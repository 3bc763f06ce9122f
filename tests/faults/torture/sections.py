"""The sections of the suite, one visible table, and what each of them is given."""

import importlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from tests.faults.torture.outcome import Outcome


class Service(StrEnum):
    """What is tortured: ours, or the usual assembly behind the same RPCs."""

    TURNKEEP = "turnkeep"
    STOCK_AIO = "stock-aio"
    STOCK_THREADS = "stock-threads"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a section is to run."""

    full: bool
    seed: int
    folder: Path
    """Scratch of this section's own: data of mongods, logs. Removed afterwards."""
    service: Service = Service.TURNKEEP
    mutant: str = ""
    """The name of a wrong version of the service (`mutants.py`), or none."""

    def sized(self, quick: int, full: int) -> int:
        """A count for the size that runs."""
        return full if self.full else quick


Section = Callable[[Plan], Coroutine[Any, Any, Outcome]]

SECTIONS: dict[str, str] = {
    # name: module:function. The docstring's first line of the function is the report's.
    "kills": "kills:service_killed",
    "cancels": "cancels:cancel_storm",
    "open-streams": "open_streams:open_streams",
    "overload": "overload:overload",
}


def section(name: str) -> Section:
    """The section of this name, imported when it is asked for."""
    module, _, function = SECTIONS[name].partition(":")
    found = getattr(importlib.import_module(f"tests.faults.torture.{module}"), function)
    return cast(Section, found)
