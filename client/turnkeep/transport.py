"""Where the two clients differ: this one runs on asyncio.

What imports this module is written once, for asyncio: calls, reply_stream, session and client.
`make sync-client` makes their synchronous twins in turnkeep/sync/, beside a transport of its own;
hence their imports of one another are relative.
"""

import asyncio
from asyncio import CancelledError as HungUp
from asyncio import get_running_loop as running_loop
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import grpc
from grpc.aio import Channel
from grpc.aio import UnaryUnaryMultiCallable as UnaryMethod

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1.conversation_pb2_grpc import ConversationServiceStub

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub as Stub

    EventCall: TypeAlias = grpc.aio.UnaryStreamCall[pb.ChatRequest, pb.StreamChatResponse]

__all__ = [
    "Bell",
    "Channel",
    "HungUp",
    "Stub",
    "UnaryMethod",
    "is_stopping",
    "opened",
    "running_loop",
]


def opened(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    options: Sequence[tuple[str, str | int]],
) -> "tuple[Channel, Stub]":
    """A channel on the running event loop, and the service's stub on it."""
    channel = (
        grpc.aio.secure_channel(target, credentials, options=options)
        if credentials
        else grpc.aio.insecure_channel(target, options=options)
    )
    return channel, ConversationServiceStub(channel)


class Bell:
    """Rings once, which ends everybody's wait."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Ends the waits, those to come too."""
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Until so many seconds are over, or it rings."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()


def is_stopping() -> bool:
    """Whether the caller's own task was cancelled, so that its CancelledError must go on."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
