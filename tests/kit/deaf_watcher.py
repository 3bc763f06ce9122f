"""A caller that asks to watch a server's health, and lets nothing be sent to it."""

import asyncio
import struct
from types import TracebackType
from typing import Self

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING = 0x0, 0x1, 0x4, 0x6
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_INITIAL_WINDOW_SIZE = 0x4
_PATH = b"/grpc.health.v1.Health/Watch"


class DeafWatcher:
    """Watches of `address` (host:port) over one connection, in bare HTTP/2 (RFC 9113, RFC 7541).

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
        self._writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, settings))
        for number in range(self._watches):
            stream = 2 * number + 1
            self._writer.write(_frame(_HEADERS, _END_HEADERS, stream, self._headers()))
            self._writer.write(_frame(_DATA, _END_STREAM, stream, bytes(5)))
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
            if kind == _HEADERS:
                self._answered.set()
            elif kind == _PING and not flags & _ACK:
                writer.write(_frame(_PING, _ACK, 0, payload))

    def _headers(self) -> bytes:
        """A request's, each a literal or an entry of HPACK's static table."""
        authority = f"{self._host}:{self._port}".encode()
        return b"".join(
            [
                b"\x83\x86",  # :method POST, :scheme http
                b"\x04" + _string(_PATH),
                b"\x01" + _string(authority),
                b"\x0f\x10" + _string(b"application/grpc"),  # content-type
                b"\x00" + _string(b"te") + _string(b"trailers"),
            ]
        )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _string(text: bytes) -> bytes:
    assert len(text) < 127, "longer ones begin with several bytes"
    return bytes([len(text)]) + text
