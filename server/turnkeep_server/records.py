"""The record of a call: its place in a trace, its steps, and what is known of it. Plain data."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter_ns, time_ns
from types import TracebackType
from typing import Any, Self

from turnkeep_server.errors import TurnkeepError

CANCELLED = "CANCELLED"
"""How a step, or a call, ended whose caller hung up."""

SUMMARY = "Summary"
"""The record of a session that is summarised, which no RPC asks for; and what comes of it."""


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
        self._record: Record | None = record
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
        """Whether what was said may be noted, too; not any more once it is over."""
        return self._record is not None and self._record.wants_text

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
            self.error = name_of(error)
        if record := self._record:
            record.steps.append(self)
            # A cycle of the two would be left to the garbage collector, with all that they know.
            self._record = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(error)


def name_of(error: BaseException) -> str:
    """An exception in a word, never its text: that may quote a message or a key."""
    if isinstance(error, TurnkeepError):
        return error.reason
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return CANCELLED
    return type(error).__name__
