"""Bare HTTP/2 (RFC 9113, RFC 7541): what no gRPC client would send."""

import struct
from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x6, 0x8
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of at most 16 KiB."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def request_headers(path: str, others: Iterable[tuple[str, str]] = ()) -> bytes:
    """A gRPC request's, each a literal or an entry of HPACK's static table."""
    return b"".join(
        [
            b"\x83\x86",  # :method POST, :scheme http
            b"\x04" + _string(path.encode()),
            b"\x01" + _string(b"localhost"),  # :authority
            b"\x0f\x10" + _string(b"application/grpc"),  # content-type
            b"\x00" + _string(b"te") + _string(b"trailers"),
            *(b"\x00" + _string(key.encode()) + _string(value.encode()) for key, value in others),
        ]
    )


def _string(text: bytes) -> bytes:
    assert len(text) < 127, "longer ones begin with several bytes"
    return bytes([len(text)]) + text
