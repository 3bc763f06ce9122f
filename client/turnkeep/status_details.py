"""What a failed call says beside its status: google.rpc's ErrorInfo, RetryInfo and BadRequest.

Read with protobuf alone, by field number, so that no caller needs googleapis-common-protos. The
numbers are from https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
and status.proto beside it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc

from turnkeep.errors import ERROR_CLASSES, InternalError, TurnkeepError

_DETAILS_KEY = "grpc-status-details-bin"
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_BYTES = 2  # https://protobuf.dev/programming-guides/encoding/#structure: wire type LEN


def error_of(call: grpc.RpcError, *, request_id: str, partial_text: str = "") -> TurnkeepError:
    """The error that a failed call is, with all that the service said about it."""
    code = call.code()
    return ERROR_CLASSES.get(code, InternalError)(
        call.details() or code.name,
        code=code,
        request_id=request_id,
        partial_text=partial_text,
        **_read(_trailer(call, _DETAILS_KEY)),
    )


def pushback_ms(call: grpc.RpcError) -> str | None:
    """The server's push-back (https://github.com/grpc/proposal/blob/master/A6-client-retries.md):
    milliseconds to wait, or what is no such number: do not try again. None: it said nothing.
    """
    value = _trailer(call, _PUSHBACK_KEY)
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _trailer(call: grpc.RpcError, wanted: str) -> str | bytes | None:
    trailers: Iterable[tuple[str, str | bytes]] = call.trailing_metadata() or ()  # type: ignore[assignment]  # what grpcio gives
    return next((value for key, value in trailers if key == wanted), None)


def _read(encoded: str | bytes | None) -> dict[str, Any]:
    """The error's attributes that a status's details say; none where it has none."""
    # Here, and so below, or it would cost everybody who imports the client.
    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.protobuf.message import DecodeError

    try:
        packed = [
            AnyMessage.FromString(each)
            for each in _fields(encoded if isinstance(encoded, bytes) else b"").get(3, ())
        ]
        found = {each.type_url.rpartition(".")[2]: _fields(each.value) for each in packed}
        info = found.get("ErrorInfo", {})
        return {
            "reason": _text(info, 1),
            "metadata": _pairs(info.get(3, ())),
            "retry_after": _seconds(found["RetryInfo"]) if "RetryInfo" in found else None,
            "bad_fields": _pairs(found.get("BadRequest", {}).get(1, ())),
        }
    except DecodeError:  # a proxy's own idea of the trailer; the status itself is still good
        return {}


def _fields(encoded: bytes) -> dict[int, list[bytes]]:
    """A message's fields of bytes, text and messages, by number."""
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.unknown_fields import UnknownFieldSet

    fields: dict[int, list[bytes]] = {}
    unknown: Iterable[Any] = UnknownFieldSet(Empty.FromString(encoded))  # type: ignore[assignment]
    for each in unknown:
        if each.wire_type == _BYTES:
            fields.setdefault(each.field_number, []).append(each.data)
    return fields


def _text(fields: Mapping[int, list[bytes]], number: int) -> str:
    return fields[number][-1].decode("utf-8", "replace") if number in fields else ""


def _pairs(entries: "list[bytes] | tuple[()]") -> dict[str, str]:
    """Messages whose first two fields are texts: entries of a map, violations of a field."""
    return {_text(pair, 1): _text(pair, 2) for pair in map(_fields, entries)}


def _seconds(retry_info: Mapping[int, list[bytes]]) -> float:
    from google.protobuf.duration_pb2 import Duration

    delay = Duration.FromString(retry_info[1][-1]) if 1 in retry_info else Duration()
    return max(delay.seconds + delay.nanos / 1e9, 0.0)
