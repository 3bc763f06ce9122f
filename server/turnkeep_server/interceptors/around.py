"""The family's contract: an interceptor is a context manager around a call of our own service."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any

import grpc

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.errors import WaitTimeout

SERVICE = pb.DESCRIPTOR.services_by_name["ConversationService"].full_name
_LONGEST_WRITE_SECONDS = 60.0


class CallerGone(asyncio.CancelledError):
    """The caller hung up while it was written to, before gRPC cancelled the call. Expected."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call as interceptors see it. `method` is the RPC's name alone, such as Chat.

    `request` is bytes: who sent them is asked before they are read (decode.py).
    """

    method: str
    request: bytes
    context: grpc.aio.ServicerContext[Any, Any]


class ServiceInterceptor(grpc.aio.ServerInterceptor, ABC):
    """Puts something around each method of our own service; health and reflection pass by it."""

    def __init__(self) -> None:
        # gRPC asks for every call, and what is around a method is the same each time.
        self._wrapped: dict[tuple[str, Any], Any] = {}

    @abstractmethod
    def wrap(self, method: str, handler: Any) -> Any:
        """The handler of a method, with what goes around it; made once."""

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler: Any = await continuation(handler_call_details)
        service, _, method = handler_call_details.method.removeprefix("/").rpartition("/")
        if handler is None or service != SERVICE:
            return handler
        wrapped = self._wrapped.get((method, handler))
        if wrapped is None:
            wrapped = self._wrapped[method, handler] = self.wrap(method, handler)
        return wrapped


class Layers(ServiceInterceptor):
    """Several interceptors as one, outermost first: gRPC asks each it has anew for every call."""

    def __init__(self, *layers: ServiceInterceptor) -> None:
        super().__init__()
        self._layers = layers

    def wrap(self, method: str, handler: Any) -> Any:
        for each in reversed(self._layers):
            handler = each.wrap(method, handler)
        return handler


class CallInterceptor(ServiceInterceptor):
    """Runs `around` about each call, unary or streaming."""

    @abstractmethod
    def around(self, call: Call) -> AbstractAsyncContextManager[None]:
        """What to do before and after the call; what it raises, the next one out sees."""

    def wrap(self, method: str, handler: Any) -> Any:
        async def unary(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with self.around(Call(method, request, context)):
                return await handler.unary_unary(request, context)

        async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            async with self.around(Call(method, request, context)):
                await _streamed(handler.unary_stream(request, context), context)

        make, behavior = (
            (grpc.unary_stream_rpc_method_handler, stream)
            if handler.response_streaming
            else (grpc.unary_unary_rpc_method_handler, unary)
        )
        return make(
            behavior,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


async def _streamed(inner: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Writes what a servicer's generator yields; an interceptor further in has done it already.

    Written here, not yielded on: when the caller hangs up, the cancellation strikes in this frame,
    and the generators below are closed in order, at once, not when they are collected.
    """
    if not hasattr(inner, "__aiter__"):
        await inner
        return
    async with aclosing(inner) as events:
        async for event in events:
            try:
                async with asyncio.timeout(_LONGEST_WRITE_SECONDS):
                    await context.write(event)
            except grpc.aio.BaseError as error:
                raise CallerGone from error
            except TimeoutError:
                # A reader who stops reading must not hold a session for ever.
                raise WaitTimeout("the caller did not read its stream") from None
