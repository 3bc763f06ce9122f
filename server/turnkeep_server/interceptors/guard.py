"""The services beside our own: health is for everybody, the rest for those who are let in."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health

from turnkeep_server.credentials.identity import Identity
from turnkeep_server.errors import TurnkeepError
from turnkeep_server.interceptors.around import SERVICE
from turnkeep_server.interceptors.errors import refuse

_OPEN = {
    SERVICE,  # which asks by itself: auth.py
    health.SERVICE_NAME,
}


class GuardInterceptor(grpc.aio.ServerInterceptor):
    """Has reflection ask for a credential: it tells what can be called."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        service = handler_call_details.method.removeprefix("/").rpartition("/")[0]
        if handler is None or service in _OPEN:
            return handler
        return _guarded(handler, self._identity)


def _guarded(handler: Any, identity: Identity) -> Any:
    """A method that streams both ways, as reflection's is; another kind fails for everybody."""

    async def stream(
        requests: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        try:
            await identity.caller(context)
        except TurnkeepError as error:
            await refuse(context, error)
        async for answer in handler.stream_stream(requests, context):
            yield answer

    return grpc.stream_stream_rpc_method_handler(
        stream,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
