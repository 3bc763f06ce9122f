# Made by `make sync-client` out of ../calls.py: change that, not this.
"""Sends requests, again where they may be: the same request, with the same request_id."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import grpc

from turnkeep.attempts import Attempts
from turnkeep.channel import Tls, channel_options, credentials
from turnkeep.errors import Cancelled, TurnkeepError
from turnkeep.status_details import error_of, pushback_ms
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.version import __version__

from .transport import HungUp, UnaryMethod, is_stopping, opened, sleep

if TYPE_CHECKING:
    from .transport import Channel, EventCall, Stub

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

Token = str | Callable[[], str]


class Calls:
    """One channel, opened by the first call, and the calls on it."""

    def __init__(
        self,
        target: str,
        *,
        token: Token | None,
        tls: Tls,
        timeout_seconds: float,
        max_attempts: int | None,
    ) -> None:
        Attempts(timeout_seconds, max_attempts)  # says now what is wrong with them
        self._target, self._token = target, token
        self._credentials = credentials(target, token, tls)
        self._timeout_seconds, self._max_attempts = timeout_seconds, max_attempts
        self._opening = threading.Lock()
        self._opened: tuple[Channel, Stub] | None = None
        self._closed = False

    @property
    def stub(self) -> "Stub":
        """The service's stub. Raises RuntimeError once the client is closed."""
        with self._opening:
            if self._closed:
                raise RuntimeError("this client is closed")
            if self._opened is None:
                options = channel_options(f"turnkeep-client/{__version__}")
                self._opened = opened(self._target, self._credentials, options)
            return self._opened[1]

    def attempts(self, timeout_seconds: float | None) -> Attempts:
        """The attempts of one call; None is the client's own time."""
        seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        return Attempts(seconds, self._max_attempts)

    def unary(
        self,
        method: "UnaryMethod[_Request, _Response]",
        request: _Request,
        timeout_seconds: float | None,
    ) -> _Response:
        """The answer to a request. Raises TurnkeepError."""
        attempts = self.attempts(timeout_seconds)
        request_id = getattr(request, "request_id", "")
        while True:
            try:
                return method(
                    request, timeout=attempts.remaining_seconds, metadata=self._metadata()
                )
            except grpc.RpcError as failed:
                error = error_of(failed, request_id=request_id)
                self.recover(attempts, error, pushback_ms(failed))
            except HungUp:
                raise self.hung_up(request_id) from None

    def stream(self, request: pb.ChatRequest, attempts: Attempts) -> "EventCall":
        """One attempt at a streamed turn."""
        return self.stub.StreamChat(
            request, timeout=attempts.remaining_seconds, metadata=self._metadata()
        )

    def recover(
        self, attempts: Attempts, error: TurnkeepError, pushback_ms: str | None = None
    ) -> None:
        """Returns when it is time for the next attempt; raises `error` if there is to be none.

        There is none once part of a reply has come: what was shown cannot be taken back.
        """
        if self._closed or error.partial_text:
            raise error
        sleep(attempts.wait_seconds(error, pushback_ms))
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

    def close(self) -> None:
        """Ends running calls and closes the channel. Calls after it raise RuntimeError."""
        with self._opening:
            self._closed = True
            channel = self._opened[0] if self._opened else None
        if channel is not None:
            channel.close()

    def _metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        if self._token is None:
            return ()
        token = self._token if isinstance(self._token, str) else self._token()
        return (("authorization", f"Bearer {token}"),)
