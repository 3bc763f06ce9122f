"""The cheap way to refuse: of such a call nothing is read, built or logged singly."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NamedTuple, NoReturn

import grpc
import structlog

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.errors import TurnkeepError
from turnkeep_server.interceptors.about import ASKED
from turnkeep_server.interceptors.around import SERVICE
from turnkeep_server.interceptors.errors import STATUS, status_of
from turnkeep_server.interceptors.limit import Metadata
from turnkeep_server.token_bucket import TokenBucket

_METHODS = {
    f"/{SERVICE}/{each.name}": each.name
    for each in pb.DESCRIPTOR.services_by_name[SERVICE.rpartition(".")[2]].methods
}
_TOLD_EVERY_SECONDS = 1.0
# Taken in turn, so that those who were refused together do not all come again together.
_SPREAD = (0.0, -0.3, 0.3, -0.2, 0.2, -0.1, 0.1)
_WIDEST_SPREAD_SECONDS = 10.0
_MOST_ENCODED = 1_000
# A tenant that does not wait when it is told to, and asks in a loop, is to spend its time waiting
# and not ours in answering. A few are answered at once, so that whoever comes again late is.
_PROMPT_REFUSALS_A_SECOND = 100
_PAUSE_SECONDS = 0.25
# A balancer may send all tenants' calls over one connection, whose streams are limited.
_MOST_PAUSING = 500
_MOST_TENANTS = 10_000

Trailers = tuple[tuple[str, bytes], ...]
WhyNot = Callable[[str, Metadata], TurnkeepError | None]
"""What a call of this method, with this metadata, is refused with; None if with nothing."""


class RefuseInterceptor(grpc.aio.ServerInterceptor):
    """Turns calls away ahead of all other interceptors, while one of `reasons` says why.

    Under an overload most calls are refused, and what that costs is taken from those that are
    served: here a third of what it costs further in. It only looks ahead: whether a call is let in
    is decided, and counted, by admit and limit, which refuse in the same words. Health and
    reflection pass.
    """

    def __init__(self, *reasons: WhyNot) -> None:
        self._reasons = reasons
        self._refusals: dict[_Words, _Refusal] = {}
        self._prompt: dict[str, TokenBucket] = {}
        self._pausing = 0
        self._counts = Counter[_Counted]()

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        error = self._why_not(handler_call_details)
        if error is None:
            return await continuation(handler_call_details)
        self._count(error)
        words = _Words(error.message, error.retry_after_seconds)
        refusal = self._refusals.get(words)
        if refusal is None:
            if len(self._refusals) >= _MOST_ENCODED:
                # Those that name a time are of use for a minute.
                self._refusals.clear()
            refusal = self._refusals[words] = _Refusal.of(error)
        return self._refusing(refusal, pause=self._is_too_often(error.tenant))

    def _is_too_often(self, tenant: str) -> bool:
        """Whether a tenant was refused so often just now that the answer is to wait."""
        if not tenant or self._pausing >= _MOST_PAUSING:
            return False
        bucket = self._prompt.get(tenant)
        if bucket is None:
            if len(self._prompt) >= _MOST_TENANTS:
                self._prompt.clear()
            rate = _PROMPT_REFUSALS_A_SECOND
            bucket = self._prompt[tenant] = TokenBucket(rate, burst=rate)
        now = time.monotonic()
        if bucket.wait_seconds(now):
            return True
        bucket.take(now)
        return False

    def _refusing(self, refusal: "_Refusal", *, pause: bool) -> "grpc.RpcMethodHandler[Any, Any]":
        """A method that refuses, whatever it is sent: streams too, whose end needs no beginning."""

        async def refuse(_: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
            if pause:
                self._pausing += 1
                try:
                    await asyncio.sleep(_PAUSE_SECONDS)
                finally:
                    self._pausing -= 1
            await context.abort(refusal.code, refusal.message, next(refusal.trailers))

        # Neither deserializer nor serializer: the bytes are not looked at.
        return grpc.unary_unary_rpc_method_handler(refuse)

    def _why_not(self, details: grpc.HandlerCallDetails) -> TurnkeepError | None:
        method = _METHODS.get(details.method)
        if method is None:
            return None
        metadata = details.invocation_metadata
        for why_not in self._reasons:
            if error := why_not(method, metadata):
                # Who is refused may ask about the server all the same.
                return None if ASKED in metadata else error
        return None

    def _count(self, error: TurnkeepError) -> None:
        if not self._counts:
            asyncio.get_running_loop().call_later(_TOLD_EVERY_SECONDS, self._tell)
        self._counts[_Counted(error.reason, error.metadata.get("limit"), error.tenant)] += 1

    def _tell(self) -> None:
        counts, self._counts = self._counts, Counter[_Counted]()
        for counted, calls in counts.items():
            told = {name: value for name, value in counted._asdict().items() if value}
            structlog.get_logger().warning("calls_refused", **told, calls=calls)


class _Counted(NamedTuple):
    """What the log tells of refusals."""

    reason: str
    limit: str | None
    tenant: str


class _Words(NamedTuple):
    """What tells one refusal from another."""

    message: str
    retry_after_seconds: float | None


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
    for share in _SPREAD if asked else (0.0,):
        if asked:
            error.retry_after_seconds = asked + share * min(asked, _WIDEST_SPREAD_SECONDS)
        yield (("grpc-status-details-bin", status_of(error).SerializeToString()),)
    error.retry_after_seconds = asked
