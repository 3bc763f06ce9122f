# Made by `make sync-client` out of ../reply_stream.py: change that, not this.
"""A streamed turn, read as text."""

from collections.abc import Iterator
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc

from turnkeep.attempts import Attempts
from turnkeep.errors import TurnkeepError, Unavailable
from turnkeep.messages import Reply, Started
from turnkeep.status_details import error_of, pushback_ms
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.wire import reply_from_wire, started_from_wire

from .calls import Calls
from .transport import HungUp, is_stopping

if TYPE_CHECKING:
    from .transport import EventCall


class ReplyStream:
    """A reply as it comes: iterate over it for its text, then ask for its `reply`.

    The call begins with the first piece that is asked for. Leaving the `with` block, or
    dropping the stream, cancels what is not finished; the turn then ends CANCELLED and keeps the
    text that had come. Iterating raises TurnkeepError, with the text so far as its `partial_text`.
    """

    def __init__(
        self, calls: Calls, request: pb.ChatRequest, timeout_seconds: float | None
    ) -> None:
        self._over = True  # nothing to hang up, should the next line raise
        calls.attempts(timeout_seconds)  # says now what is wrong with the time
        self._timeout_seconds = timeout_seconds
        self._calls = calls
        self._request = request
        self._call: EventCall | None = None
        self._events: Iterator[pb.StreamChatResponse] | None = None
        self._pieces: list[str] = []
        self._reply: Reply | None = None
        self._over = False
        self.started: Started | None = None
        """The turn's place, model and context; None until the model is asked."""

    @property
    def request_id(self) -> str:
        """The turn's idempotency key."""
        return self._request.request_id

    @property
    def text(self) -> str:
        """The text that has come so far."""
        return "".join(self._pieces)

    @property
    def reply(self) -> Reply:
        """The whole reply. Raises RuntimeError while it is not complete; see `result`."""
        if self._reply is None:
            raise RuntimeError("the reply is not complete: iterate over the stream to its end")
        return self._reply

    def result(self) -> Reply:
        """Reads to the end and gives the whole reply. Raises TurnkeepError as iterating does."""
        for _ in self:
            pass
        return self.reply

    def cancel(self) -> None:
        """Ends the call, if it still runs. Whoever iterates comes to the end of the text."""
        self._over = True
        if self._call is not None:
            self._call.cancel()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while not self._over:
            if text := self._next_text():
                self._pieces.append(text)
                return text
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

    def __del__(self) -> None:
        # A loop that was left by `break`: the model must not go on for nobody.
        if not self._over:
            self.cancel()

    @cached_property
    def _attempts(self) -> Attempts:
        """Made with the first piece that is asked for: their time begins there."""
        return self._calls.attempts(self._timeout_seconds)

    def _next_text(self) -> str:
        """The next piece; "" for an event without text, or for an attempt that failed."""
        try:
            event = self._next_event()
        except grpc.RpcError as failed:
            error = error_of(failed, request_id=self.request_id, partial_text=self.text)
            self._recover(error, pushback_ms(failed))
            return ""
        except HungUp:
            if self._over and not is_stopping():
                return ""
            self.cancel()
            raise self._calls.hung_up(self.request_id, self.text) from None
        if event is None:
            self._recover(self._ended_early())
            return ""
        match event.WhichOneof("event"):
            case "started":
                self.started = started_from_wire(event.started)
            case "completed":
                self._reply = reply_from_wire(event.completed, self.request_id)
                self._end()
        return event.delta.text

    def _end(self) -> None:
        """Reads the call's status, good or bad: cancelled before, it would be CANCELLED there."""
        try:
            self._next_event()
        except grpc.RpcError:
            pass  # the reply is whole and stored, whatever came after it
        except HungUp:  # or the client was closed just now, and the reply is whole all the same
            if is_stopping():
                raise
        self._over = True

    def _next_event(self) -> pb.StreamChatResponse | None:
        if self._call is None or self._events is None:
            self._call = self._calls.stream(self._request, self._attempts)
            self._events = iter(self._call)
        return next(self._events, None)

    def _recover(self, error: TurnkeepError, pushback_ms: str | None = None) -> None:
        """Back to where the call can begin anew, unless it is over."""
        if self._over:
            return
        self._call = self._events = self.started = None
        try:
            self._calls.recover(self._attempts, error, pushback_ms)
        except BaseException:
            self._over = True
            raise

    def _ended_early(self) -> TurnkeepError:
        """A stream that ends without `completed` has stored no reply, says the contract."""
        return Unavailable(
            "the stream ended before the reply was complete",
            code=grpc.StatusCode.UNAVAILABLE,
            request_id=self.request_id,
            partial_text=self.text,
        )
