"""One call on raw stubs: sent again with the same request_id until it is answered, all noted."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import grpc.aio

from tests.faults.torture.calls import Attempt, Call, Op, Seen, Verdict
from tests.kit.status import call_error
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1.conversation_pb2_grpc import ConversationServiceStub

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub

PATIENCE_SECONDS = 60.0
ATTEMPT_SECONDS = 10.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 0.5
_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    # A server that was killed is dialled again at once, not a second later.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]
_SENT_AGAIN = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"}
_REASONS_SENT_AGAIN = {"TURN_TAKEN_OVER"}
# Nothing of the request is kept (docs/errors.md) and nothing of it is under way.
_REFUSALS = {"SESSION_BUSY", "SESSION_CLEARED", "SEQUENCE_MISMATCH", "INVALID_REQUEST"}
_NOTHING_DONE = {"SESSION_BUSY", "INVALID_REQUEST", "OVERLOADED"}
_ROLES = {pb.ROLE_USER: "user", pb.ROLE_ASSISTANT: "assistant"}

Request = pb.ChatRequest | pb.AddMessagesRequest | pb.ClearSessionRequest | pb.ListMessagesRequest


class Servers:
    """A channel to each address, open until close()."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._channels = [grpc.aio.insecure_channel(each, options=_OPTIONS) for each in addresses]
        self._stubs: list[ConversationServiceAsyncStub] = [
            ConversationServiceStub(each) for each in self._channels
        ]

    def __len__(self) -> int:
        return len(self._stubs)

    def __getitem__(self, number: int) -> "ConversationServiceAsyncStub":
        return self._stubs[number]

    async def close(self) -> None:
        """Closes all channels."""
        await asyncio.gather(*(each.close() for each in self._channels))


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be called.

    `first_seconds`: the first attempt's deadline; each further one has twice as long. `hangs_up`:
    after so many seconds; `comes_back`: and tries again. `hangs_up_behind`: counted from when a
    stream's text ends with this.
    """

    op: Op
    session: str
    request: Request
    texts: tuple[str, ...] = ()
    request_id: str = ""
    first_seconds: float = ATTEMPT_SECONDS
    patience_seconds: float = PATIENCE_SECONDS
    hangs_up: float | None = None
    comes_back: bool = False
    hangs_up_behind: str = ""


@dataclass(slots=True)
class _Answer:
    """What one attempt came to."""

    status: str = "OK"
    reason: str = ""
    retry_after: float | None = None
    fields: dict[str, Any] = field(default_factory=dict)


async def sent(errand: Errand, servers: Servers, first: int, dice: random.Random) -> Call:
    """Makes the call, first at the server `first`, then at the next; the record of it.

    An UNSURE call that did not hang up is one that no retry made succeed.
    """
    started = time.monotonic_ns()
    ends_at = time.monotonic() + errand.patience_seconds
    attempts: list[Attempt] = []
    while True:
        server = (first + len(attempts)) % len(servers)
        began = time.monotonic_ns()
        hangs_up = errand.hangs_up if not attempts else None
        seconds = min(errand.first_seconds * 2 ** len(attempts), ATTEMPT_SECONDS)
        answer = await _attempt(errand, servers[server], seconds, hangs_up)
        ended = time.monotonic_ns()
        attempts.append(Attempt(began, ended, answer.status, answer.reason, server))
        pause = _pause(answer, len(attempts), dice)
        gone = hangs_up is not None and answer.status == "CANCELLED" and not errand.comes_back
        if pause is None or gone or time.monotonic() + pause > ends_at:
            break
        await asyncio.sleep(pause)
    call = Call(
        # Its number is the recorder's to give.
        0,
        errand.op,
        errand.session,
        began if errand.op is Op.LIST else started,
        ended,
        verdict(attempts),
        errand.request_id,
        errand.texts,
        tuple(attempts),
    )
    return replace(call, **answer.fields)


def failed(call: Call) -> bool:
    """Whether no retry made it succeed, though it should have: its caller lost patience."""
    last = call.attempts[-1]
    # Who hangs up does so at his first attempt; a service that says CANCELLED is tried again.
    left = len(call.attempts) == 1 and last.status == "CANCELLED"
    return call.verdict is Verdict.UNSURE and not left and last.reason not in _REFUSALS


def _pause(answer: _Answer, tried: int, dice: random.Random) -> float | None:
    """How long to wait before the next attempt; None: there is none."""
    again = answer.status in _SENT_AGAIN or answer.reason in _REASONS_SENT_AGAIN
    if not again and answer.retry_after is None:
        return None
    pause = min(_FIRST_PAUSE_SECONDS * 2 ** (tried - 1), _LONGEST_PAUSE_SECONDS)
    return (answer.retry_after or 0.0) + dice.uniform(0, pause)


def verdict(attempts: Sequence[Attempt]) -> Verdict:
    """What the caller knows after these attempts, the last of which was not repeated."""
    last = attempts[-1]
    if last.status == "OK":
        return Verdict.OK
    # An attempt before that may have been carried out, or may yet be.
    certain = all(each.reason in _NOTHING_DONE for each in attempts[:-1])
    return Verdict.REFUSED if last.reason in _REFUSALS and certain else Verdict.UNSURE


async def _attempt(
    errand: Errand, stub: "ConversationServiceAsyncStub", seconds: float, hangs_up: float | None
) -> _Answer:
    method = _METHODS[errand.op]
    call = getattr(stub, method)(errand.request, timeout=seconds)
    timers: list[asyncio.TimerHandle] = []

    def leave_soon(said: str) -> None:
        if hangs_up is not None and not timers and said.endswith(errand.hangs_up_behind):
            timers.append(asyncio.get_running_loop().call_later(hangs_up, call.cancel))

    leave_soon("")
    try:
        if errand.op is Op.STREAM:
            fields = await _streamed(call, leave_soon)
        else:
            fields = _FIELDS[errand.op](await call)
    except grpc.aio.AioRpcError as error:
        told = call_error(error)
        return _Answer(told.code.name, told.reason, told.retry_after_seconds)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _Answer("CANCELLED")
    finally:
        for timer in timers:
            timer.cancel()
    # A stream that ended without its end, which must not be.
    return _Answer(fields=fields) if fields is not None else _Answer("UNKNOWN", "NO_END")


async def _streamed(call: Any, heard: Callable[[str], None]) -> dict[str, Any] | None:
    said, completed = "", None
    async for event in call:
        said += event.delta.text
        heard(said)
        if event.HasField("completed"):
            completed = event.completed
    return {**_chatted(completed), "streamed": said} if completed else None


def _chatted(answer: pb.ChatResponse) -> dict[str, Any]:
    return {
        "sequence": answer.sequence,
        "reply": answer.message.text,
        "replayed": answer.replayed,
    }


def _added(answer: pb.AddMessagesResponse) -> dict[str, Any]:
    return {"sequence": answer.sequence, "replayed": answer.replayed}


def _cleared(_: pb.ClearSessionResponse) -> dict[str, Any]:
    return {}


def _read(answer: pb.ListMessagesResponse) -> dict[str, Any]:
    seen = [Seen(each.sequence, _ROLES.get(each.role, "?"), each.text) for each in answer.messages]
    return {"seen": tuple(seen)}


_METHODS = {
    Op.CHAT: "Chat",
    Op.STREAM: "StreamChat",
    Op.ADD: "AddMessages",
    Op.CLEAR: "ClearSession",
    Op.LIST: "ListMessages",
}
_FIELDS: dict[Op, Callable[[Any], dict[str, Any]]] = {
    Op.CHAT: _chatted,
    Op.ADD: _added,
    Op.CLEAR: _cleared,
    Op.LIST: _read,
}
