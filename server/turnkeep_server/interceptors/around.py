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

    Its request has not been read: who sends it is asked before (decode.py).
    """

    method: str
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
    """Several interceptors as one, outermost first: gRPC asks each it has anew for every call.

    Together they make of each method one whose request streams, which is the same on the wire. Of
    such a one gRPC takes in nothing but headers until the request is asked for, by decode; that of
    a unary method it would take in, whole, before anybody is asked who sends it.
    """

    def __init__(self, *layers: ServiceInterceptor) -> None:
        super().__init__()
        self._layers = layers

    def wrap(self, method: str, handler: Any) -> Any:
        for each in reversed(self._layers):
            handler = each.wrap(method, handler)
        make, behavior = (
            (grpc.stream_stream_rpc_method_handler, handler.unary_stream)
            if handler.response_streaming
            else (grpc.stream_unary_rpc_method_handler, handler.unary_unary)
        )
        return make(behavior, response_serializer=handler.response_serializer)


class CallInterceptor(ServiceInterceptor):
    """Runs `around` about each call, unary or streaming."""

    @abstractmethod
    def around(self, call: Call) -> AbstractAsyncContextManager[None]:
        """What to do before and after the call; what it raises, the next one out sees."""

    def wrap(self, method: str, handler: Any) -> Any:
        async def unary(unread: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with self.around(Call(method, context)):
                return await handler.unary_unary(unread, context)

        async def stream(unread: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            async with self.around(Call(method, context)):
                await handler.unary_stream(unread, context)

        return of_kind(handler, unary, stream)


def of_kind(handler: Any, unary: Any, stream: Any) -> Any:
    """A handler that has `unary` or `stream` in the place of what it had."""
    make, behavior = (
        (grpc.unary_stream_rpc_method_handler, stream)
        if handler.response_streaming
        else (grpc.unary_unary_rpc_method_handler, unary)
    )
    return make(behavior, response_serializer=handler.response_serializer)


async def streamed(inner: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Writes what a servicer's generator yields.

    Written here, not yielded on: when the caller hangs up, the cancellation strikes in this frame,
    and the generators below are closed in order, at once, not when they are collected.
    """
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
