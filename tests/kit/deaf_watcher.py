"""A caller that asks to watch a server's health, and lets nothing be sent to it."""

import asyncio
import struct
from types import TracebackType
from typing import Self

from tests.kit.http2 import (
    ACK,
    DATA,
    EMPTY_MESSAGE,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    SETTINGS,
    frame,
    request,
)

_INITIAL_WINDOW_SIZE = 0x4
_PATH = "/grpc.health.v1.Health/Watch"


class DeafWatcher:
    """Watches of `address` (host:port) over one connection, in bare HTTP/2.

    Its flow-control window is 0 from the first frame on, as no gRPC client's can be: the server
    may send it headers, and no answer ever, so that a write to it does not end. It answers pings,
    so that the server does not take it for dead.
    """

    def __init__(self, address: str, *, watches: int = 1) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._watches = watches
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._answered = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Returns once the server writes to one of them: headers come with the first answer."""
        reader, self._writer = await asyncio.open_connection(self._host, int(self._port))
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, 0)
        self._writer.write(PREFACE + frame(SETTINGS, 0, 0, settings))
        headers = request(f"{self._host}:{self._port}", _PATH)
        for number in range(self._watches):
            stream = 2 * number + 1
            self._writer.write(frame(HEADERS, END_HEADERS, stream, headers))
            self._writer.write(frame(DATA, END_STREAM, stream, EMPTY_MESSAGE))
        self._listening = asyncio.create_task(self._listen(reader, self._writer))
        await asyncio.wait_for(self._answered.wait(), 10)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._writer is not None
        assert self._listening is not None
        self._listening.cancel()
        self._writer.close()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            kind, flags = head[3], head[4]
            if kind == HEADERS:
                self._answered.set()
            elif kind == PING and not flags & ACK:
                writer.write(frame(PING, ACK, 0, payload))
