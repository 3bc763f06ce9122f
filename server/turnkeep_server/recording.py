"""What happens in a call, noted where it happens, for whoever counts or traces it when it is over.

The use cases say `with step("history.commit")` and `happened("summary", "written")`, and know
neither Prometheus nor OpenTelemetry. Where nobody listens, saying so costs a look at a context
variable. What was said is noted only where `wants_text` allows it; else names and figures are.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter_ns, time_ns
from types import TracebackType
from typing import Any, Protocol, Self

from turnkeep_server.errors import TurnkeepError

CANCELLED = "CANCELLED"
"""How a step, or a call, ended whose caller hung up."""

SUMMARY = "Summary"
"""The record of a session that is summarised, which no RPC asks for; and what comes of it."""

Metadata = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Trace:
    """A call's place in a trace: https://www.w3.org/TR/trace-context/.

    `parent_id` is the caller's span, None where the trace begins here; `state` the vendors' own
    word, passed on as it came. Of one that is not `sampled` nothing is exported. `entered` makes a
    span of it the current one, for libraries that trace by themselves.
    """

    trace_id: int
    span_id: int
    parent_id: int | None
    sampled: bool
    entered: "Callable[[Trace, int], AbstractContextManager[object]]" = lambda _, __: nullcontext()
    state: str = ""

    def headers(self, span_id: int) -> dict[str, str]:
        """What is sent along to whom the span `span_id` asks."""
        sent = {"traceparent": f"00-{self.trace_id:032x}-{span_id:016x}-{self.sampled:02x}"}
        return {**sent, "tracestate": self.state} if self.state else sent


@dataclass(slots=True)
class Record:
    """A call, or a piece of work behind the calls; `code`, `reason` and `tenant` once it is over.

    Times are nanoseconds of `perf_counter_ns`, which no clock's jump moves; `wall_ns` is the time
    of day at which it began.
    """

    name: str
    trace: Trace | None = None
    wants_text: bool = False
    began_ns: int = field(default_factory=perf_counter_ns)
    wall_ns: int = field(default_factory=time_ns)
    ended_ns: int = 0
    code: str = "OK"
    reason: str = ""
    tenant: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    steps: "list[Step]" = field(default_factory=list)
    happenings: list[tuple[str, str, int]] = field(default_factory=list)
    latest: "Step | None" = None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended_ns - self.began_ns) / 1e9


class Step:
    """A part of a call, from when it is made to the end of its `with` block.

    `error` is the reason of a TurnkeepError, another exception's type, CANCELLED, or "".
    """

    __slots__ = ("_record", "began_ns", "ended_ns", "error", "facts", "name", "span_id")

    def __init__(self, record: Record, name: str, facts: dict[str, Any]) -> None:
        self._record = record
        self.name = name
        self.facts = facts
        self.error = ""
        self.ended_ns = 0
        # Not secret, only different from all others; and it is needed before the span is made.
        self.span_id = random.getrandbits(64) or 1
        record.latest = self
        self.began_ns = perf_counter_ns()

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended_ns - self.began_ns) / 1e9

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return True

    @property
    def wants_text(self) -> bool:
        """Whether what was said may be noted, too."""
        return self._record.wants_text

    def note(self, **facts: Any) -> None:
        """Adds to what is known of it."""
        self.facts.update(facts)

    def first_token(self) -> None:
        """Notes when the model began to speak."""
        self.facts["first_token_ns"] = perf_counter_ns()

    def end(self, error: BaseException | None) -> None:
        """It is over; `error` is what ended it, if anything did."""
        self.ended_ns = perf_counter_ns()
        if error is not None:
            self.error = _name_of(error)
        self._record.steps.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(error)


class _Unheard(Step):
    """A step that nobody listens to: one for all."""

    def __init__(self) -> None:
        pass

    @property
    def heard(self) -> bool:
        return False

    @property
    def wants_text(self) -> bool:
        return False

    def note(self, **facts: Any) -> None:
        pass

    def first_token(self) -> None:
        pass

    def end(self, error: BaseException | None) -> None:
        pass


_UNHEARD = _Unheard()
_current: ContextVar[Record | None] = ContextVar("record", default=None)


def step(name: str, **facts: Any) -> Step:
    """A part of the current call, which begins now; use it as a context manager."""
    record = _current.get()
    return Step(record, name, facts) if record else _UNHEARD


def happened(what: str, kind: str = "") -> None:
    """Notes that something happened in the current call, such as ("conflict", "SEQUENCE_TAKEN")."""
    if record := _current.get():
        record.happenings.append((what, kind, perf_counter_ns()))


def note(**facts: Any) -> None:
    """Adds to what is known of the current call."""
    if record := _current.get():
        record.facts.update(facts)


def blame(reason: str) -> None:
    """Notes the reason that the current call's caller is told, out of the wire contract's list."""
    if record := _current.get():
        record.reason = reason


def trace_headers() -> Mapping[str, str]:
    """What is sent along to whom the step asks that began last; nothing where nobody traces."""
    record = _current.get()
    if record is None or record.trace is None or record.latest is None:
        return {}
    return record.trace.headers(record.latest.span_id)


def trace_entered() -> AbstractContextManager[object]:
    """While it is entered, what others trace belongs to the step that began last."""
    record = _current.get()
    if record is None or record.trace is None or record.latest is None:
        return nullcontext()
    return record.trace.entered(record.trace, record.latest.span_id)


class Listener(Protocol):
    """Who counts or traces calls."""

    def ended(self, record: Record) -> None:
        """A call is over, and answered. Returns soon: it is called on the event loop."""

    def refused(self, method: str, code: str, reason: str) -> None:
        """A call was turned away at the door, unread."""


class Recorder:
    """Keeps a record of each call for its listeners. `wants_text`: what was said may be told."""

    def __init__(self, *, wants_text: bool = False) -> None:
        self._listeners: list[Listener] = []
        self._begun: Callable[[str, Metadata], Trace] | None = None
        self._wants_text = wants_text

    def listen(
        self, listener: Listener, begun: Callable[[str, Metadata], Trace] | None = None
    ) -> None:
        """From now on tells it of every call; `begun` gives each its place in a trace."""
        self._listeners.append(listener)
        self._begun = begun or self._begun

    def refused(self, method: str, code: str, reason: str) -> None:
        """Tells of a call that was turned away."""
        for each in self._listeners:
            each.refused(method, code, reason)

    @contextmanager
    def recording(
        self, name: str, metadata: Callable[[], Metadata | None] = tuple
    ) -> Iterator[Record]:
        """A record of what is done in the block, and in the tasks that it begins.

        Whoever listens is told once the event loop has sent the answer on its way: what that costs
        is on nobody's way, and a mistake in it is logged and ends no call.
        """
        record = Record(name)
        if not self._listeners:
            yield record
            return
        record.wants_text = self._wants_text
        record.trace = self._begun(name, metadata() or ()) if self._begun else None
        token = _current.set(record)
        try:
            yield record
        except BaseException as error:
            record.reason = record.reason or _name_of(error)
            raise
        finally:
            _current.reset(token)
            record.ended_ns = perf_counter_ns()
            for each in self._listeners:
                asyncio.get_running_loop().call_soon(each.ended, record)


def _name_of(error: BaseException) -> str:
    """An exception in a word, never its text: that may quote a message or a key."""
    if isinstance(error, TurnkeepError):
        return error.reason
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return CANCELLED
    return type(error).__name__
