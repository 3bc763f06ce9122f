"""Where the two clients differ: this one blocks the thread that calls."""

from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, TypeAlias

import grpc
from grpc import Channel
from grpc import UnaryUnaryMultiCallable as UnaryMethod

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1.conversation_pb2_grpc import ConversationServiceStub as Stub

if TYPE_CHECKING:
    EventCall: TypeAlias = grpc._CallIterator[pb.StreamChatResponse]

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


class HungUp(Exception):
    """Never raised: a thread is not cancelled. asyncio's twin is CancelledError."""


def opened(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    options: Sequence[tuple[str, str | int]],
) -> "tuple[Channel, Stub]":
    """A channel, and the service's stub on it."""
    channel = (
        grpc.secure_channel(target, credentials, options=options)
        if credentials
        else grpc.insecure_channel(target, options=options)
    )
    return channel, Stub(channel)


class Bell:
    """Rings once, which ends everybody's wait."""

    def __init__(self) -> None:
        self._rung = Event()

    def ring(self) -> None:
        """Ends the waits, those to come too."""
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Until so many seconds are over, or it rings."""
        self._rung.wait(seconds)


def running_loop() -> object:
    """None: threads share a client."""
    return None


def is_stopping() -> bool:
    """Never: a thread is not cancelled."""
    return False
