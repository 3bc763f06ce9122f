"""Refusals that cost little: encoded once, counted in the log, late for who asks in a loop."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NamedTuple

import grpc

from turnkeep_server.errors import TurnkeepError
from turnkeep_server.interceptors.about import ASKED, tell
from turnkeep_server.interceptors.errors import STATUS, status_of
from turnkeep_server.interceptors.refused_calls import RefusedCalls
from turnkeep_server.recording import Metadata, Recorder
from turnkeep_server.token_bucket import TokenBucket

# Taken in turn, so that those who were refused together do not all come again together.
_SPREAD = (0.0, -0.3, 0.3, -0.2, 0.2, -0.1, 0.1)
_WIDEST_SPREAD_SECONDS = 10.0
_MOST_ENCODED = 1_000
# A tenant that does not wait when it is told to, and asks in a loop, is to spend its time waiting
# and not ours in answering. A few are answered at once, so that whoever comes again late is.
_PROMPT_A_SECOND, _PROMPT_AT_ONCE = 100.0, 100
# Of different length, or those who were refused together would come again together, for good.
_LEAST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 0.75
_MOST_PAUSING = 4_000
_MOST_TENANTS = 10_000
# Half the price of a refusal again, so not for whoever asks in a loop.
_ABOUT_A_SECOND, _ABOUT_AT_ONCE = 10.0, 50

Trailers = tuple[tuple[str, bytes], ...]


class Refusals:
    """Makes the methods that refuse calls.

    `anybody`: whether callers need no credential. `streams`: how many calls a connection may have
    open; up to half of them wait for their refusal, since a balancer may send the calls of all
    tenants over one.
    """

    def __init__(
        self, recorder: Recorder, refused: RefusedCalls, *, anybody: bool, streams: int
    ) -> None:
        self._recorder = recorder
        self._refused = refused
        self._anybody = anybody
        self._most_pausing_on_one = streams // 2
        self._encoded: dict[_Words, _Refusal] = {}
        self._prompt: dict[str, TokenBucket] = {}
        self._pausing = Counter[str]()
        """Calls of each connection that wait for their refusal."""
        self._about = TokenBucket(_ABOUT_A_SECOND, _ABOUT_AT_ONCE)

    def handler(
        self, error: TurnkeepError, method: str, metadata: Metadata = ()
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        """The method that refuses with `error`, whatever it is sent: streams too."""

        async def refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            await self.refuse(error, method, metadata, context)

        # Streams of nothing, for unary methods too: the request is not taken in, and the call ends
        # with the status alone.
        return grpc.stream_stream_rpc_method_handler(refuse)

    async def refuse(
        self,
        error: TurnkeepError,
        method: str,
        metadata: Metadata,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> None:
        """Has a call of `method` end with `error`, when its handler returns without an answer.

        Not by `context.abort`: what that raises is a cycle for the collector, some twenty objects
        of each call. Under a flood these made pauses of a quarter of a second, for everybody.
        """
        if ASKED in metadata:
            await self._tell_about(error, context)
        self._refused.count(error)
        limit = error.metadata.get("limit", "")
        self._recorder.refused(method, STATUS[type(error)].name, error.reason, limit)
        refusal = self._refusal(error)
        if self._is_too_often(error.tenant):
            await self._pause(context.peer())
        context.set_code(refusal.code)
        context.set_details(refusal.message)
        context.set_trailing_metadata(next(refusal.trailers))

    def _refusal(self, error: TurnkeepError) -> "_Refusal":
        words = _Words(error.message, error.retry_after_seconds)
        refusal = self._encoded.get(words)
        if refusal is None:
            if len(self._encoded) >= _MOST_ENCODED:
                # Those that name a time are of use for a minute.
                self._encoded.clear()
            refusal = self._encoded[words] = _Refusal.of(error)
        return refusal

    async def _tell_about(
        self, error: TurnkeepError, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        now = time.monotonic()
        if not self._about.wait_seconds(now):
            self._about.take(now)
            # Where it is no tenant's limit, the credential was not looked at.
            await tell(context, known=self._anybody or bool(error.tenant))

    def _is_too_often(self, tenant: str) -> bool:
        """Whether a tenant was refused so often just now that the answer is to wait."""
        if not tenant:
            return False
        bucket = self._prompt.get(tenant)
        if bucket is None:
            if len(self._prompt) >= _MOST_TENANTS:
                self._prompt.clear()
            bucket = self._prompt[tenant] = TokenBucket(_PROMPT_A_SECOND, _PROMPT_AT_ONCE)
        now = time.monotonic()
        if bucket.wait_seconds(now):
            return True
        bucket.take(now)
        return False

    async def _pause(self, connection: str) -> None:
        pausing = self._pausing
        if pausing[connection] >= self._most_pausing_on_one or pausing.total() >= _MOST_PAUSING:
            return
        pausing[connection] += 1
        try:
            seconds = random.uniform(_LEAST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)  # noqa: S311 - spreads, hides nothing
            await asyncio.sleep(seconds)
        finally:
            pausing[connection] -= 1
            if not pausing[connection]:
                del pausing[connection]


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
