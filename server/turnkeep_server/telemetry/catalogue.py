"""Every metric that there is: one visible table. docs/metrics.md says the same; a test compares."""

from dataclasses import dataclass
from enum import StrEnum

PREFIX = "turnkeep_"


class Kind(StrEnum):
    """Prometheus' kinds of metrics."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(StrEnum):
    """What several workers' figures come to together. Counters and histograms are summed."""

    SUM = "sum"
    LEAST = "least"
    MOST = "most"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. `name` is without the prefix `turnkeep_`, and of a counter without `_total`."""

    name: str
    kind: Kind
    about: str
    labels: tuple[str, ...] = ()
    merge: Merge = Merge.SUM

    @property
    def full_name(self) -> str:
        """Its name, as PromQL knows it."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"


def _counter(name: str, about: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, about, labels)


def _histogram(name: str, about: str, *labels: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, about, labels)


COUNTED = (
    _counter(
        "calls",
        "calls that ended, by code and reason (none for OK and CANCELLED); refused ones too",
        "method",
        "code",
        "reason",
    ),
    _counter(
        "refusals",
        "calls refused as OVERLOADED, by the limit: concurrent_calls is the server's, and the "
        "tenant's are requests_per_second, concurrent_turns and tokens_per_day",
        "limit",
    ),
    _histogram("call_duration_seconds", "time from a call's arrival to its end", "method"),
    _counter(
        "turns", "turns that ended: completed, failed or cancelled", "model", "tenant", "status"
    ),
    _histogram(
        "turn_duration_seconds",
        "time from a call's arrival to its turn's commit; neither replays nor turns that failed",
        "model",
    ),
    _histogram(
        "time_to_first_token_seconds",
        "time from a StreamChat's arrival to the model's first token",
        "model",
    ),
    _counter(
        "model_calls",
        "calls of the model, retries and summaries too: ok, CANCELLED, or a reason",
        "model",
        "outcome",
    ),
    _histogram("model_duration_seconds", "time that a call of the model took", "model"),
    _counter(
        "tokens",
        "tokens that the provider reported, of turns and summaries: input, output; and of these, "
        "cached_input and reasoning",
        "model",
        "tenant",
        "kind",
    ),
    _counter(
        "cost_usd",
        "what those tokens cost, in US dollars; nothing for models without prices",
        "model",
        "tenant",
    ),
    _histogram(
        "history_duration_seconds",
        "time that a step in the history took, reconnects included",
        "operation",
    ),
    _histogram(
        "session_wait_seconds", "time that calls waited for their session; those that did not, not"
    ),
    _counter(
        "conflicts",
        "collisions in a session: the reason that the caller was told, or SEQUENCE_TAKEN where "
        "another server was first and the call tried again",
        "kind",
    ),
    _counter("replays", "requests that had been completed before, answered from the history"),
    _counter("joins", "repeated requests that waited for their first attempt, which still ran"),
    _counter(
        "summaries",
        "summaries by outcome: written, failed, skipped, not_folded, dropped, put_off",
        "outcome",
    ),
    _counter("context_omissions", "turns whose history did not fit the window", "summary"),
    _counter("context_omitted_messages", "messages that did not fit the window of their turn"),
)
"""Counted as calls end. A label is a name out of a closed list, a model that is allowed, or a
tenant that a credential names; never an id that a caller makes up."""

READ = (
    Metric("calls_running", Kind.GAUGE, "calls that are served now"),
    Metric("draining", Kind.GAUGE, "1 once the server was told to stop, else 0", merge=Merge.MOST),
    Metric(
        "history_up",
        Kind.GAUGE,
        "1 if the history's store answered when last asked, else 0",
        merge=Merge.LEAST,
    ),
    Metric("history_connections", Kind.GAUGE, "connections to the store: in_use, idle", ("state",)),
    Metric("history_operations_waiting", Kind.GAUGE, "operations that wait for a connection"),
    Metric("leases_held", Kind.GAUGE, "turns that run here, whose leases are renewed"),
    Metric(
        "lease_renewals",
        Kind.COUNTER,
        "updates that renew all leases held: renewed, failed",
        ("outcome",),
    ),
    Metric("takeovers", Kind.COUNTER, "turns of dead servers that this one ended"),
    Metric("workers", Kind.GAUGE, "processes whose figures these are"),
    Metric("build_info", Kind.GAUGE, "1, for the version", ("version",), merge=Merge.MOST),
)
"""Read when they are asked for."""

LIMITS = ("concurrent_calls", "requests_per_second", "concurrent_turns", "tokens_per_day")
"""What a call can be refused by."""

CATALOGUE = {each.full_name: each for each in (*COUNTED, *READ)}
