"""A caller whose requests are large, and never come to their end."""

import asyncio
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tests.kit.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    request,
)

_WINDOW = 65_535
_A_FRAME = 16_384
_INITIAL_WINDOW_SIZE = 0x4


class UnendingRequests:
    """Requests of `announced` bytes, but for the last of them, each on a stream of one connection.

    Sends what flow control lets it send, and no more on a stream that the server has ended.
    """

    def __init__(
        self,
        address: str,
        path: str,
        *,
        streams: int,
        announced: int,
        metadata: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._host, _, self._port = address.rpartition(":")
        headers = {key.encode(): value.encode() for key, value in metadata}
        self._headers = request(address, path, headers)
        self._announced = announced
        self._windows = {2 * number + 1: _WINDOW for number in range(streams)}
        self._all_window = _WINDOW
        self._left = dict.fromkeys(self._windows, announced - 1)
        self._writer: asyncio.StreamWriter
        self._listening: asyncio.Task[None]
        self.ended: set[int] = set()
        """Streams that the server has ended."""

    async def __aenter__(self) -> Self:
        reader, self._writer = await asyncio.open_connection(self._host, int(self._port))
        self._writer.write(PREFACE + frame(SETTINGS, 0, 0, b""))
        for stream in self._windows:
            self._writer.write(frame(HEADERS, END_HEADERS, stream, self._headers))
            self._send(stream, struct.pack(">BI", 0, self._announced))
        self._listening = asyncio.create_task(self._listen(reader))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listening.cancel()
        self._writer.close()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            self._send_what_may_be_sent()
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:]) & 0x7FFF_FFFF
            if kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
                self.ended.add(stream)
            elif kind == PING and not flags & ACK:
                self._writer.write(frame(PING, ACK, 0, payload))
            elif kind == SETTINGS and not flags & ACK:
                self._take_up(payload)
            elif kind == WINDOW_UPDATE and stream:
                self._windows[stream] += int.from_bytes(payload)
            elif kind == WINDOW_UPDATE:
                self._all_window += int.from_bytes(payload)

    def _take_up(self, settings: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", settings):
            if name == _INITIAL_WINDOW_SIZE:
                self._windows = {each: had + value - _WINDOW for each, had in self._windows.items()}
        self._writer.write(frame(SETTINGS, ACK, 0, b""))

    def _send_what_may_be_sent(self) -> None:
        for stream, left in self._left.items():
            while (
                stream not in self.ended
                and (size := min(left, self._windows[stream], self._all_window, _A_FRAME)) > 0
            ):
                self._send(stream, bytes(size))
                left -= size
            self._left[stream] = left

    def _send(self, stream: int, data: bytes) -> None:
        self._windows[stream] -= len(data)
        self._all_window -= len(data)
        self._writer.write(frame(DATA, 0, stream, data))
