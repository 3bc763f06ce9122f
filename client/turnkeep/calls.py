"""Sends requests, again where they may be: the same request, with the same request_id."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import grpc

from turnkeep.attempts import Attempts
from turnkeep.channel import Certificate, Tls, bearer, channel_options, credentials
from turnkeep.errors import Cancelled, TurnkeepError
from turnkeep.status_details import error_of, pushback_ms
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.version import __version__

from .transport import Bell, HungUp, UnaryMethod, is_stopping, opened, running_loop

if TYPE_CHECKING:
    from .transport import Channel, EventCall, Stub

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

Token = str | Callable[[], str]
_CLOSED = "this client is closed"


class Calls:
    """One channel, opened by the first call, and the calls on it."""

    def __init__(
        self,
        target: str,
        *,
        token: Token | None,
        tls: Tls,
        certificate: Certificate | None,
        timeout_seconds: float,
        max_attempts: int | None,
    ) -> None:
        Attempts(timeout_seconds, max_attempts)  # says now what is wrong with them
        if isinstance(token, str):
            bearer(token)  # and so here
        self._target, self._token = target, token
        self._credentials = credentials(target, token, tls, certificate)
        self._timeout_seconds, self._max_attempts = timeout_seconds, max_attempts
        self._opening = threading.Lock()
        self._opened: tuple[Channel, Stub] | None = None
        self._loop: object = None
        self._closed, self._closing = False, Bell()

    @property
    def stub(self) -> "Stub":
        """The service's stub. Raises RuntimeError once the client is closed, or on another loop."""
        with self._opening:
            if self._closed:
                raise RuntimeError(_CLOSED)
            if self._opened is None:
                options = channel_options(f"turnkeep-client/{__version__}")
                self._opened = opened(self._target, self._credentials, options)
                self._loop = running_loop()
            if self._loop is not running_loop():
                raise RuntimeError(
                    "this client belongs to the event loop that used it first: make one for each"
                )
            return self._opened[1]

    def attempts(self, timeout_seconds: float | None) -> Attempts:
        """The attempts of one call; None is the client's own time."""
        seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        return Attempts(seconds, self._max_attempts)

    async def unary(
        self,
        method: "UnaryMethod[_Request, _Response]",
        request: _Request,
        timeout_seconds: float | None,
    ) -> _Response:
        """The answer to a request. Raises TurnkeepError."""
        attempts = self.attempts(timeout_seconds)
        request_id = getattr(request, "request_id", "")
        while True:
            metadata = self._metadata()
            try:
                with self._while_open():
                    return await method(
                        request, timeout=attempts.remaining_seconds, metadata=metadata
                    )
            except grpc.RpcError as failed:
                error = error_of(failed, request_id=request_id)
                await self.recover(attempts, error, pushback_ms(failed))
            except HungUp:
                raise self.hung_up(request_id) from None

    def stream(self, request: pb.ChatRequest, attempts: Attempts) -> "EventCall":
        """One attempt at a streamed turn."""
        stub, metadata = self.stub, self._metadata()
        with self._while_open():
            return stub.StreamChat(request, timeout=attempts.remaining_seconds, metadata=metadata)

    async def recover(
        self, attempts: Attempts, error: TurnkeepError, pushback_ms: str | None = None
    ) -> None:
        """Returns when it is time for the next attempt; raises `error` if there is to be none.

        There is none once part of a reply has come: what was shown cannot be taken back.
        """
        if self._closed or error.partial_text:
            raise error
        await self._closing.wait(attempts.wait_seconds(error, pushback_ms))
        if self._closed:
            raise error

    def hung_up(self, request_id: str, partial_text: str = "") -> BaseException:
        """What to raise for a call that was cancelled on this side."""
        if is_stopping() or not self._closed:
            return HungUp()
        return Cancelled(
            "the client was closed while this call ran",
            code=grpc.StatusCode.CANCELLED,
            request_id=request_id,
            partial_text=partial_text,
        )

    async def close(self) -> None:
        """Ends running calls and closes the channel. Calls after it raise RuntimeError."""
        with self._opening:
            self._closed = True
            self._closing.ring()
            channel = self._opened[0] if self._opened else None
        if channel is not None:
            await channel.close()

    def _metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        if self._token is None:
            return ()
        token = self._token if isinstance(self._token, str) else self._token()
        return (("authorization", bearer(token)),)

    @contextmanager
    def _while_open(self) -> Iterator[None]:
        """gRPC's ValueError for a channel that another thread closed just now, as our own error."""
        try:
            yield
        except ValueError:
            if self._closed:
                raise RuntimeError(_CLOSED) from None
            raise
