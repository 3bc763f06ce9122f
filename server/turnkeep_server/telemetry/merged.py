"""The figures of several workers as one, for the supervisor that is asked for all of them.

A counter must never fall, or Prometheus takes the fall for a restart and counts all of it again:
what a worker counted that has ended is kept. What it counted after it was asked last is lost.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from turnkeep_server.telemetry.catalogue import CATALOGUE, Merge

Labels = tuple[tuple[str, str], ...]
Snapshot = list[tuple[str, str, str, list[tuple[str, dict[str, str], float]]]]
"""Families as JSON can hold them: name, kind, meaning, and samples of name, labels and value."""

_COUNTED = {"counter", "histogram"}
# prometheus_client's own, of each process.
_MERGED = {
    "process_start_time_seconds": Merge.MOST,
    "process_max_fds": Merge.LEAST,
    **{name: each.merge for name, each in CATALOGUE.items()},
}


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """All that a registry holds now."""
    return [
        (
            each.name,
            each.type,
            each.documentation,
            [(sample.name, sample.labels, sample.value) for sample in each.samples],
        )
        for each in registry.collect()
    ]


class Merged(Collector):
    """Collects what `ask` returns: a snapshot of each worker."""

    def __init__(self, ask: Callable[[], Iterable[Snapshot]]) -> None:
        self._ask = ask

    def describe(self) -> list[Family]:
        return []

    def collect(self) -> Iterator[Family]:
        for name, kind, about, samples in merged(self._ask()):
            family = Family(name, about, kind)
            for sample, labels, value in samples:
                family.add_sample(sample, labels, value)
            yield family


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Each sample of any of them once, with what it comes to together."""
    values: dict[str, dict[tuple[str, Labels], float]] = {}
    heads: dict[str, tuple[str, str]] = {}
    for each in snapshots:
        for name, kind, about, samples in each:
            heads[name] = (kind, about)
            known = values.setdefault(name, {})
            for sample, labels, value in samples:
                key = (sample, tuple(sorted(labels.items())))
                known[key] = _together(sample, known[key], value) if key in known else value
    return [
        (name, *heads[name], [(sample, dict(labels), value) for (sample, labels), value in found])
        for name, found in ((name, each.items()) for name, each in values.items())
    ]


def counted(figures: Snapshot) -> Snapshot:
    """What of these figures stays when the process is gone: all that only grows."""
    return [each for each in figures if each[1] in _COUNTED]


def _together(sample: str, one: float, other: float) -> float:
    merge = _MERGED.get(sample, Merge.SUM)
    ways: dict[Merge, Any] = {Merge.LEAST: min, Merge.MOST: max}
    return float(ways[merge](one, other)) if merge in ways else one + other
