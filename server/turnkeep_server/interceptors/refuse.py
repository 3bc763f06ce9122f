"""The cheap way to refuse: of such a call nothing is read, built or logged singly."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.errors import TurnkeepError
from turnkeep_server.interceptors.around import SERVICE, ServiceInterceptor, of_kind
from turnkeep_server.interceptors.limit import LimitInterceptor, Metadata
from turnkeep_server.interceptors.refusals import Refusals

_METHODS = {
    f"/{SERVICE}/{each.name}": each.name
    for each in pb.DESCRIPTOR.services_by_name[SERVICE.rpartition(".")[2]].methods
}

WhyNot = Callable[[str, Metadata], TurnkeepError | None]
"""What a call of this method, with this metadata, is refused with; None if with nothing."""


class RefuseInterceptor(grpc.aio.ServerInterceptor):
    """Turns calls away ahead of all other interceptors, while one of `reasons` says why.

    Under an overload most calls are refused, and what that costs is taken from those that are
    served: here a third of what it costs further in. It only looks ahead: whether a call is let in
    is decided, and counted, by admit and limit, which refuse in the same words. Health and
    reflection pass.
    """

    def __init__(self, refusals: Refusals, *reasons: WhyNot) -> None:
        self._refusals = refusals
        self._reasons = reasons

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method = _METHODS.get(handler_call_details.method)
        error = self._why_not(method, handler_call_details.invocation_metadata) if method else None
        if method and error:
            return self._refusals.handler(error, method, handler_call_details.invocation_metadata)
        return await continuation(handler_call_details)

    def _why_not(self, method: str, metadata: Metadata) -> TurnkeepError | None:
        for why_not in self._reasons:
            if error := why_not(method, metadata):
                return error
        return None


class RefuseConnectionsInterceptor(ServiceInterceptor):
    """The same for callers who are known by their connection's certificate alone.

    Which one a call came with is not known before the call begins: hence apart.
    """

    def __init__(self, refusals: Refusals, limit: LimitInterceptor) -> None:
        super().__init__()
        self._refusals = refusals
        self._limit = limit

    def wrap(self, method: str, handler: Any) -> Any:
        behavior = handler.unary_stream if handler.response_streaming else handler.unary_unary

        async def first(unread: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            if error := self._limit.why_not_by_certificate(context, method):
                metadata = [*(context.invocation_metadata() or ())]
                await self._refusals.refuse(error, method, metadata, context)
                return None
            return await behavior(unread, context)

        return of_kind(handler, first, first)
