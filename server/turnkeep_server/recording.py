"""What happens in a call, noted where it happens, for whoever counts or traces it when it is over.

The use cases say `with step("history.commit")` and `happened("summary", "written")`, and know
neither Prometheus nor OpenTelemetry. Where nobody listens, saying so costs a look at a context
variable. What was said is noted only where `wants_text` allows it; else names and figures are.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context, ContextVar
from time import perf_counter_ns
from typing import Any, Protocol

from turnkeep_server.records import Record, Step, Trace, name_of

Metadata = Sequence[tuple[str, Any]]

# Alone, each telling finds the processor's caches cold, and takes three times as long. So many
# at once hold the event loop up for a millisecond or two.
_TOLD_WITHIN_SECONDS, _TOLD_AT_ONCE = 0.1, 64


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
        """A call is over. Returns soon: it is called on the event loop."""

    def refused(self, method: str, code: str, reason: str, limit: str) -> None:
        """A call was turned away at the door, unread; `limit` names the one that it met, if any."""


class Recorder:
    """Keeps a record of each call for its listeners. `wants_text`: what was said may be told."""

    def __init__(self, *, wants_text: bool = False) -> None:
        self._listeners: list[Listener] = []
        self._begun: Callable[[str, Metadata], Trace] | None = None
        self._wants_text = wants_text
        self._untold: list[Record] = []

    def listen(
        self, listener: Listener, begun: Callable[[str, Metadata], Trace] | None = None
    ) -> None:
        """From now on tells it of every call; `begun` gives each its place in a trace."""
        self._listeners.append(listener)
        self._begun = begun or self._begun

    def refused(self, method: str, code: str, reason: str, limit: str = "") -> None:
        """Tells of a call that was turned away."""
        for each in self._listeners:
            each.refused(method, code, reason, limit)

    @contextmanager
    def recording(self, name: str, metadata: Callable[[], Metadata] = tuple) -> Iterator[Record]:
        """A record of what is done in the block, and in the tasks that it begins.

        Whoever listens is told later, of several calls together: what that costs is on nobody's
        way, and a mistake in it is logged and ends no call.
        """
        record = Record(name)
        if not self._listeners:
            yield record
            return
        record.wants_text = self._wants_text
        record.trace = self._begun(name, metadata()) if self._begun else None
        token = _current.set(record)
        try:
            yield record
        except BaseException as error:
            record.reason = record.reason or name_of(error)
            raise
        finally:
            _current.reset(token)
            record.ended_ns = perf_counter_ns()
            self._tell_soon(record)

    def _tell_soon(self, record: Record) -> None:
        self._untold.append(record)
        # Not in the call's context, which may be another than that of the calls told with it.
        if len(self._untold) == 1:
            loop = asyncio.get_running_loop()
            loop.call_later(_TOLD_WITHIN_SECONDS, self.tell, context=Context())
        elif len(self._untold) == _TOLD_AT_ONCE:
            asyncio.get_running_loop().call_soon(self.tell, context=Context())

    def tell(self) -> None:
        """Tells the listeners now of all calls that are over. To be called on the event loop."""
        untold, self._untold = self._untold, []
        for listener in self._listeners:
            for record in untold:
                try:
                    listener.ended(record)
                except Exception as error:  # noqa: BLE001  # the next ones are told all the same
                    context = {"message": "a call was not told", "exception": error}
                    asyncio.get_running_loop().call_exception_handler(context)
