"""Counts calls as they end, and reads the server's state when Prometheus asks."""

import os
from collections.abc import Callable, Collection, Iterator
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from turnkeep_server import __version__
from turnkeep_server.permissions import NEEDS
from turnkeep_server.records import CANCELLED, SUMMARY, Record, Step
from turnkeep_server.telemetry.catalogue import COUNTED, LIMITS, PREFIX, READ, Kind
from turnkeep_server.telemetry.figures import ServerFigures
from turnkeep_server.turns import Usage

# A turn takes as long as its model: from milliseconds, of a stub, to minutes.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
# Who issues the credentials could name any number; beyond this many they are counted as one.
MOST_TENANTS = 1_000
OTHER_TENANTS = "(others)"
_CONFLICTS = {
    "SESSION_BUSY",
    "SEQUENCE_MISMATCH",
    "SESSION_CLEARED",
    "TURN_TAKEN_OVER",
    "REQUEST_ID_REUSED",
}


class Metrics:
    """A listener that counts. `cost_usd`: what a model's usage costs, None where that is unknown.

    `figures`: how the server does now; called from the thread that answers Prometheus, too.
    `models`: those that are known to be asked.
    """

    def __init__(
        self,
        *,
        cost_usd: Callable[[str, Usage], float | None],
        figures: Callable[[], ServerFigures],
        models: Collection[str] = (),
    ) -> None:
        # When each counter began, which doubles the series and is asked of nobody.
        library: Any = prometheus_client  # whose functions carry no types
        library.disable_created_metrics()
        self.registry = CollectorRegistry()
        self._cost_usd = cost_usd
        self._tenants: set[str] = set()
        self._counted: dict[str, Any] = {}
        for each in COUNTED:
            given = {"buckets": _BUCKETS} if each.kind is Kind.HISTOGRAM else {}
            make = getattr(library, each.kind.capitalize())
            self._counted[each.name] = make(
                PREFIX + each.name, each.about, each.labels, registry=self.registry, **given
            )
        self._series: dict[tuple[str, ...], Any] = {}
        self._begin_at_zero(models)
        self.registry.register(_Read(figures))
        ProcessCollector(namespace="", pid=os.getpid, registry=self.registry)

    def _begin_at_zero(self, models: Collection[str]) -> None:
        """What alerts wait for: Prometheus sees no increase in a series that is born at 1."""
        for method in NEEDS:  # all that there are: a start makes sure of it
            self._counted["calls"].labels(method, "INTERNAL", "INTERNAL")
        for model in models:
            self._counted["model_calls"].labels(model, "MODEL_QUOTA_EXHAUSTED")
        for limit in LIMITS:
            self._counted["refusals"].labels(limit)

    def refused(self, method: str, code: str, reason: str, limit: str) -> None:
        self._add("calls", method, code, reason)
        if limit:
            self._add("refusals", limit)

    def ended(self, record: Record) -> None:
        if record.name != SUMMARY:
            self._add("calls", record.name, record.code, record.reason if _told(record) else "")
            self._observe("call_duration_seconds", record.seconds, record.name)
            if record.reason in _CONFLICTS:
                self._add("conflicts", record.reason)
        if limit := record.facts.get("refused_by"):
            self._add("refusals", limit)
        if record.facts.get("replayed"):
            self._add("replays")
        for what, kind, _ in record.happenings:
            self._add("summaries" if what == SUMMARY else "conflicts", kind)
        waited = 0.0
        for each in record.steps:
            group, _, operation = each.name.partition(".")
            if group == "history":
                self._observe("history_duration_seconds", each.seconds, operation)
            elif group == "session":
                waited += each.seconds
                if operation == "join":
                    self._add("joins")
            elif group == "model":
                self._model(each, record)
            elif group == "context":
                self._context(each)
        if waited:
            self._observe("session_wait_seconds", waited)
        self._turn(record)

    def _turn(self, record: Record) -> None:
        begun = [each for each in record.steps if each.name == "history.begin" and not each.error]
        if not begun:
            return
        model = begun[-1].facts["model"]
        status = {"OK": "completed", CANCELLED: "cancelled"}.get(record.code, "failed")
        self._add("turns", model, self._tenant(record), status)
        if status == "completed":
            self._observe("turn_duration_seconds", record.seconds, model)

    def _model(self, asked: Step, record: Record) -> None:
        model, usage = asked.facts["model"], asked.facts.get("usage")
        self._add("model_calls", model, asked.error or "ok")
        self._observe("model_duration_seconds", asked.seconds, model)
        if first := asked.facts.get("first_token_ns"):
            seconds = (first - record.began_ns) / 1e9
            self._observe("time_to_first_token_seconds", seconds, model)
        if usage is None:
            return
        tenant = self._tenant(record)
        for kind in ("input", "output", "cached_input", "reasoning"):
            if tokens := getattr(usage, f"{kind}_tokens"):
                self._of("tokens", model, tenant, kind).inc(tokens)
        if cost_usd := self._cost_usd(model, usage):
            self._of("cost_usd", model, tenant).inc(cost_usd)

    def _context(self, reading: Step) -> None:
        report = reading.facts.get("report")
        if report and report.omitted_messages:
            self._add("context_omissions", "used" if report.summary_used else "none")
            self._counted["context_omitted_messages"].inc(report.omitted_messages)

    def _tenant(self, record: Record) -> str:
        if record.tenant not in self._tenants:
            if len(self._tenants) >= MOST_TENANTS:
                return OTHER_TENANTS
            self._tenants.add(record.tenant)
        return record.tenant

    def _add(self, name: str, *labels: str) -> None:
        self._of(name, *labels).inc()

    def _observe(self, name: str, seconds: float, *labels: str) -> None:
        self._of(name, *labels).observe(seconds)

    def _of(self, *name_and_labels: str) -> Any:
        """The series; found once, since the library's own way takes longer than to count."""
        series = self._series.get(name_and_labels)
        if series is None:
            name, *labels = name_and_labels
            metric = self._counted[name]
            series = metric.labels(*labels) if labels else metric
            self._series[name_and_labels] = series
        return series


def _told(record: Record) -> bool:
    return record.code not in {"OK", CANCELLED}


class _Read(Collector):
    """What is read when it is asked for."""

    def __init__(self, figures: Callable[[], ServerFigures]) -> None:
        self._figures = figures

    def describe(self) -> list[Family]:
        return []

    def collect(self) -> Iterator[Family]:
        now = self._figures()
        store = now.store
        values: dict[str, dict[tuple[str, ...], float]] = {
            "calls_running": {(): now.calls_running},
            "draining": {(): now.draining},
            "history_up": {(): now.history_up},
            "history_connections": {
                ("in_use",): store.connections_in_use,
                ("idle",): store.connections_idle,
            },
            "history_operations_waiting": {(): store.operations_waiting},
            "leases_held": {(): store.leases_held},
            "lease_renewals": {
                ("renewed",): store.leases_renewed,
                ("failed",): store.leases_not_renewed,
            },
            "takeovers": {(): store.turns_taken_over},
            "workers": {(): 1},
            "build_info": {(__version__,): 1},
        }
        for each in READ:
            make = CounterMetricFamily if each.kind is Kind.COUNTER else GaugeMetricFamily
            family = make(PREFIX + each.name, each.about, labels=each.labels)
            for labels, value in values[each.name].items():
                family.add_metric(labels, value)
            yield family
