"""What a section found: faults made, calls answered, promises broken, and figures with bounds."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

# What a caller must never be told: it says nothing about what to do.
FORBIDDEN_STATUSES = ("UNKNOWN", "INTERNAL")


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number. `at_most` or `at_least`: the bound it must keep, if it has one."""

    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the value is within its bounds."""
        low = self.at_least is None or self.value >= self.at_least
        high = self.at_most is None or self.value <= self.at_most
        return low and high


def p99(values: Sequence[float]) -> float:
    """What 99 of 100 stay under; infinite, so that no bound is kept, where nothing was measured."""
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else math.inf


@dataclass(slots=True)
class Outcome:
    """Of one section. Counted up while it runs."""

    section: str
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    """Faults by kind, as the report shall name them: "kills of the service", "failovers"."""
    calls: int = 0
    """Calls that came to an end, however often each was tried."""
    failed_calls: int = 0
    """Calls that no retry made succeed, though they should have."""
    statuses: Counter[str] = field(default_factory=Counter)
    """The gRPC status of every attempt."""
    violations: Counter[str] = field(default_factory=Counter)
    """Broken promises by kind."""
    first_violation: str = ""
    """The first one with its history, for a person to read."""
    figures: dict[str, Figure] = field(default_factory=dict)
    skipped: str = ""
    """Why the section could not run on this machine, or nothing."""

    @property
    def problems(self) -> list[str]:
        """Everything that must not be, one line each; none means that the section passed."""
        found = [f"{count} x {kind}" for kind, count in self.violations.items() if count]
        found += [
            f"{self.statuses[name]} x status {name}"
            for name in FORBIDDEN_STATUSES
            if self.statuses[name]
        ]
        if self.failed_calls:
            found.append(f"{self.failed_calls} calls failed")
        for name, figure in self.figures.items():
            if not figure.kept:
                bound = (
                    f"at most {figure.at_most:g}"
                    if figure.at_most is not None and figure.value > figure.at_most
                    else f"at least {figure.at_least:g}"
                )
                found.append(f"{name}: {figure.value:.3g} {figure.unit}, but {bound}")
        return found
