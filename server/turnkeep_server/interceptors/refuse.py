"""The cheap way to refuse: of such a call nothing is read, built or logged singly."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NoReturn

import grpc
import structlog

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.errors import TurnkeepError
from turnkeep_server.interceptors.about import ASKED
from turnkeep_server.interceptors.around import SERVICE
from turnkeep_server.interceptors.errors import STATUS, status_of
from turnkeep_server.recording import Recorder

_METHODS = frozenset(
    f"/{SERVICE}/{each.name}"
    for each in pb.DESCRIPTOR.services_by_name[SERVICE.rpartition(".")[2]].methods
)
_TOLD_EVERY_SECONDS = 1.0
# Taken in turn, so that those who were refused together do not all come again together.
_SPREAD = (1.0, 0.7, 1.3, 0.8, 1.2, 0.9, 1.1)

Trailers = tuple[tuple[str, bytes], ...]


class RefuseInterceptor(grpc.aio.ServerInterceptor):
    """Turns calls away ahead of all other interceptors, while `why_not()` says why.

    Under an overload most calls are refused, and what that costs is taken from those that are
    served: here a third of what it costs further in. It only looks ahead: whether a call is let in
    is decided, and counted, by admit, which refuses in the same words. Health and reflection pass.
    """

    def __init__(self, why_not: Callable[[], TurnkeepError | None], recorder: Recorder) -> None:
        self._why_not = why_not
        self._recorder = recorder
        self._refusals: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._counts = Counter[str]()

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        error = self._why_not()
        if (
            error is None
            or handler_call_details.method not in _METHODS
            # Who is refused may ask about the server all the same.
            or ASKED in handler_call_details.invocation_metadata
        ):
            return await continuation(handler_call_details)
        self._count(error.reason)
        method = handler_call_details.method.rpartition("/")[2]
        self._recorder.refused(method, STATUS[type(error)].name, error.reason)
        if error.reason not in self._refusals:
            self._refusals[error.reason] = _refusing(error)
        return self._refusals[error.reason]

    def _count(self, reason: str) -> None:
        if not self._counts:
            asyncio.get_running_loop().call_later(_TOLD_EVERY_SECONDS, self._tell)
        self._counts[reason] += 1

    def _tell(self) -> None:
        counts, self._counts = self._counts, Counter[str]()
        for reason, calls in counts.items():
            structlog.get_logger().warning("calls_refused", reason=reason, calls=calls)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What is sent, encoded once and not once a call."""

    code: grpc.StatusCode
    message: str
    trailers: Iterator[Trailers]

    @classmethod
    def of(cls, error: TurnkeepError) -> "_Refusal":
        return cls(STATUS[type(error)], error.message, cycle([*_encoded(error)]))


def _encoded(error: TurnkeepError) -> Iterator[Trailers]:
    """The details of an error, with a few delays around the one that it asks for, if it does."""
    asked = error.retry_after_seconds
    for factor in _SPREAD if asked else (1.0,):
        if asked:
            error.retry_after_seconds = asked * factor
        yield (("grpc-status-details-bin", status_of(error).SerializeToString()),)
    error.retry_after_seconds = asked


def _refusing(error: TurnkeepError) -> "grpc.RpcMethodHandler[Any, Any]":
    """A method that refuses, whatever it is sent: streams too, whose end needs no beginning."""
    refusal = _Refusal.of(error)

    async def refuse(_: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
        await context.abort(refusal.code, refusal.message, next(refusal.trailers))

    # Neither deserializer nor serializer: the bytes are not looked at.
    return grpc.unary_unary_rpc_method_handler(refuse)
