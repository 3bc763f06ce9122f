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

    @property
    def patience_seconds(self) -> float:
        """How long a caller tries again. A mutant whose calls fail is not waited for as long."""
        return 15.0 if self.mutant else 60.0

    def at_most(self, limit: float) -> float | None:
        """The bound of a figure in time: of a full run's, on a machine that does nothing else.

        A quick run is one of many things that a machine does; there the figure is told.
        """
        return limit if self.full else None

    def sized(self, quick: int, full: int) -> int:
        """A count for the size that runs."""
        return full if self.full else quick


Section = Callable[[Plan], Coroutine[Any, Any, Outcome]]

SECTIONS: dict[str, str] = {
    # name: module:function. The docstring's first line of the function is the report's.
    "races": "races:races",
    "frozen": "races:frozen",
    "clears": "cut_clears:cut_clears",
    "stale": "stale_secondary:stale_secondary",
    "kills": "kills:service_killed",
    "mongod": "kills:mongod_killed",
    "restarts": "kills:restarted_in_turn",
    "failovers": "failovers:failovers",
    "freezes": "database_faults:mongod_frozen",
    "commands": "database_faults:commands_fail",
    "disk": "database_faults:disk_full",
    "network": "network:bad_network",
    "clocks": "clock_jumps:clocks_jump",
    "storm": "retry_storm:retry_storm",
    "cancels": "cancels:cancel_storm",
    "open-streams": "open_streams:open_streams",
    "overload": "overload:overload",
}

MEASURED = frozenset({"failovers", "cancels", "open-streams", "overload"})
"""Sections with bounds on times: they have the machine to themselves."""

OURS_AS_IT_IS = frozenset({"clocks", "cancels", "open-streams", "overload"})
"""Sections that start `turnkeep-server` itself, or judge what it alone has, such as its limits."""


def section(name: str) -> Section:
    """The section of this name, imported when it is asked for."""
    module, _, function = SECTIONS[name].partition(":")
    found = getattr(importlib.import_module(f"tests.faults.torture.{module}"), function)
    return cast(Section, found)
