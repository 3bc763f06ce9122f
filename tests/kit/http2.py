"""Bare HTTP/2 (RFC 9113, RFC 7541), for callers that send what no gRPC client would."""

import asyncio
import struct
from collections.abc import Mapping

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x6, 0x8
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
EMPTY_MESSAGE = bytes(5)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame, whole."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def request(address: str, path: str, headers: Mapping[bytes, bytes] | None = None) -> bytes:
    """A gRPC request's headers, each a literal or an entry of HPACK's static table."""
    return b"".join(
        [
            b"\x83\x86",  # :method POST, :scheme http
            b"\x04" + _string(path.encode()),
            b"\x01" + _string(address.encode()),
            b"\x0f\x10" + _string(b"application/grpc"),  # content-type
            b"\x00" + _string(b"te") + _string(b"trailers"),
            *(b"\x00" + _string(name) + _string(value) for name, value in (headers or {}).items()),
        ]
    )


async def called(address: str, path: str, headers: Mapping[bytes, bytes], *, calls: int = 1) -> int:
    """Calls `path` with exactly these headers and an empty message, on a connection of its own.

    Returns how many of the calls were answered or reset; fewer if the server hung up.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + frame(SETTINGS, 0, 0, b""))
    for stream in range(1, 2 * calls, 2):
        writer.write(frame(HEADERS, END_HEADERS, stream, request(address, path, headers)))
        writer.write(frame(DATA, END_STREAM, stream, EMPTY_MESSAGE))
    ended = 0
    try:
        async with asyncio.timeout(20):
            while ended < calls:
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3]))
                kind, flags = head[3], head[4]
                ended += kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM > 0)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
    return ended


def _string(text: bytes) -> bytes:
    assert len(text) < 127, "longer ones begin with several bytes"
    return bytes([len(text)]) + text
