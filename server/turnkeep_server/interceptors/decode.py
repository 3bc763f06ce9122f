"""Bytes become a request, innermost: only of a caller who was let in, and within its bounds."""

from typing import Any

import grpc
import structlog

from turnkeep_server.caller import current_caller
from turnkeep_server.errors import MalformedMessage
from turnkeep_server.interceptors.around import ServiceInterceptor, of_kind, streamed
from turnkeep_server.interceptors.reading import read_request
from turnkeep_server.permissions import check_request

_LONGEST_REQUEST_ID = 128
# It holds a place of its tenant meanwhile.
_READ_WITHIN_SECONDS = 30.0


class DecodeInterceptor(ServiceInterceptor):
    """Reads and decodes what gRPC would have read and decoded before any interceptor runs.

    To bytes that are no message gRPC itself would answer UNKNOWN.
    """

    def wrap(self, method: str, handler: Any) -> Any:
        decode = handler.request_deserializer

        async def unary(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            data = await read_request(context, _READ_WITHIN_SECONDS)
            return await handler.unary_unary(_request(data, decode), context)

        async def stream(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            data = await read_request(context, _READ_WITHIN_SECONDS)
            await streamed(handler.unary_stream(_request(data, decode), context), context)

        return of_kind(handler, unary, stream)


def _request(data: bytes, decode: Any) -> Any:
    """Raises MalformedMessage or NotPermitted."""
    try:
        request = decode(data)
    except Exception:  # noqa: BLE001  # protobuf's runtimes differ in what they raise
        raise MalformedMessage("the request's bytes are no message of this method") from None
    request_id = getattr(request, "request_id", "")
    structlog.contextvars.bind_contextvars(request_id=_loggable(request_id))
    check_request(current_caller.get(), request)
    return request


def _loggable(request_id: str) -> str:
    """The id if it can be one: it is logged before it is validated, and may hold anything."""
    fits = len(request_id) <= _LONGEST_REQUEST_ID and request_id.isascii()
    return request_id if fits and request_id.isprintable() else "(invalid)"
