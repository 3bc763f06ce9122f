"""The load: so many callers, each with one call at a time, on sessions that no two share."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING

import grpc.aio
from aiohttp import ClientSession

from turnkeep.v1 import conversation_pb2 as pb

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub as Stub

QUESTION = "Расскажи, пожалуйста, подробнее: что здесь важнее всего? 请举一个例子。"

Call = Callable[[str], Awaitable[float | None]]
"""Makes one call on a session; the moment its first token came, by time.perf_counter()."""


@dataclass(slots=True)
class Load:
    """What the callers saw: milliseconds of each call, and to each first token."""

    seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)
    first_token_milliseconds: list[float] = field(default_factory=list)
    failed: int = 0


async def load(call: Call, sessions: deque[str], *, concurrency: int, seconds: float) -> Load:
    """Calls are begun for so many seconds, at least one a caller; all are waited for."""
    seen = Load()
    began = time.perf_counter()

    async def caller() -> None:
        first = True
        while first or time.perf_counter() - began < seconds:
            first = False
            session_id = sessions.popleft()
            await _timed(call, session_id, seen)
            sessions.append(session_id)

    await asyncio.gather(*(caller() for _ in range(concurrency)))
    seen.seconds = time.perf_counter() - began
    return seen


async def _timed(call: Call, session_id: str, seen: Load) -> None:
    began = time.perf_counter()
    try:
        first_token = await call(session_id)
    except grpc.aio.AioRpcError:
        seen.failed += 1
        return
    seen.milliseconds.append((time.perf_counter() - began) * 1e3)
    if first_token:
        seen.first_token_milliseconds.append((first_token - began) * 1e3)


def calls(stubs: "Sequence[Stub]", rpc: str) -> Call:
    """How an RPC is called, the stubs in turns."""
    make, each = _CALLS[rpc], cycle(stubs)

    async def call(session_id: str) -> float | None:
        return await make(next(each), session_id)

    return call


async def _chat(stub: "Stub", session_id: str) -> None:
    await stub.Chat(pb.ChatRequest(session_id=session_id, text=QUESTION))


async def _stream(stub: "Stub", session_id: str) -> float | None:
    first = None
    async for event in stub.StreamChat(pb.ChatRequest(session_id=session_id, text=QUESTION)):
        if first is None and event.WhichOneof("event") == "delta":
            first = time.perf_counter()
    return first


async def _add(stub: "Stub", session_id: str) -> None:
    message = pb.Message(role=pb.ROLE_USER, text=QUESTION)
    await stub.AddMessages(pb.AddMessagesRequest(session_id=session_id, messages=[message]))


async def _list(stub: "Stub", session_id: str) -> None:
    await stub.ListMessages(
        pb.ListMessagesRequest(session_id=session_id, page_size=50, order=pb.ORDER_NEWEST_FIRST)
    )


_CALLS: "dict[str, Callable[[Stub, str], Awaitable[float | None]]]" = {
    "chat": _chat,
    "stream": _stream,
    "add": _add,
    "list": _list,
}


def model_alone(http: ClientSession, base_url: str) -> Call:
    """The model asked for a stream with nothing between: what its own first token takes."""
    messages = [{"role": "user", "content": QUESTION}]
    body = {"model": "gpt-4o-mini", "messages": messages, "stream": True}

    async def call(session_id: str) -> float | None:
        async with http.post(f"{base_url}/chat/completions", json=body) as answer:
            first = None
            async for line in answer.content:
                if first is None and line.startswith(b"data: "):
                    first = time.perf_counter()
        return first

    return call
