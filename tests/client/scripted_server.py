"""A real gRPC server with the service's contract, whose calls end as a test says."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1 import conversation_pb2_grpc as pb_grpc

WAIT_SECONDS = 20.0
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Failure:
    """How a call fails; `after` are the deltas of a stream that come first."""

    code: grpc.StatusCode
    reason: str = ""
    retry_after_seconds: float | None = None
    pushback_ms: str | None = None
    after: tuple[str, ...] = ()
    bad_fields: tuple[tuple[str, str], ...] = ()
    details: bytes | None = None
    """What stands in the details' place, sense or not."""

    def trailers(self) -> list[tuple[str, str | bytes]]:
        """What its caller finds in the trailing metadata."""
        found: list[tuple[str, str | bytes]] = []
        if self.details is not None or self.reason:
            details = self._status() if self.details is None else self.details
            found.append(("grpc-status-details-bin", details))
        if self.pushback_ms is not None:
            found.append(("grpc-retry-pushback-ms", self.pushback_ms))
        return found

    def _status(self) -> bytes:
        info = error_details_pb2.ErrorInfo(
            reason=self.reason, domain="turnkeep.v1", metadata={"заметка": "值"}
        )
        details: list[Any] = [info]
        if self.retry_after_seconds is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromNanoseconds(int(self.retry_after_seconds * 1e9))
            details.append(retry)
        if self.bad_fields:
            violations = [
                error_details_pb2.BadRequest.FieldViolation(field=name, description=what)
                for name, what in self.bad_fields
            ]
            details.append(error_details_pb2.BadRequest(field_violations=violations))
        packed = []
        for each in details:
            packed.append(AnyMessage())
            packed[-1].Pack(each)
        return status_pb2.Status(
            code=self.code.value[0], message="ошибка", details=packed
        ).SerializeToString()


UNAVAILABLE = Failure(grpc.StatusCode.UNAVAILABLE)


@dataclass
class Attempt:
    """One call as the server got it."""

    request: Any
    metadata: dict[str, str | bytes]
    remaining_seconds: float | None
    cancelled: bool = False

    async def hung_up(self) -> None:
        """Waits until its caller has hung up; TimeoutError if it does not."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not self.cancelled:
                await asyncio.sleep(POLL_SECONDS)


@dataclass
class ScriptedServer(pb_grpc.ConversationServiceServicer):
    """On a free port between __aenter__ and __aexit__; each call takes the next of `script`.

    A Failure fails it, None answers it. When the script is used up every call is answered; with
    `hang`, not before it is cancelled.
    """

    script: deque[Failure | None] = field(default_factory=deque)
    attempts: list[Attempt] = field(default_factory=list)
    deltas: tuple[str, ...] = ("При", "вет ", "你好 ", "🙂")
    hang: bool = False
    ends_early: int = 0
    """So many streams end in good order and without `completed`."""
    lingers: bool = False
    """Whether a stream goes on behind `completed` until it is cancelled."""
    lingering: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once one does."""
    certificate: tuple[bytes, bytes] | None = None
    """The key and the certificate to serve with; None serves in the clear."""
    clients_ca: bytes | None = None
    """Whose certificates clients must show; None asks for none."""
    address: str = ""

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server()
        pb_grpc.add_ConversationServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._port()}"
        await self._server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._server.stop(None)

    async def Chat(self, request: pb.ChatRequest, context: Any) -> pb.ChatResponse:  # noqa: N802
        await self._next(request, context)
        return self._answer(request)

    async def StreamChat(  # noqa: N802
        self, request: pb.ChatRequest, context: Any
    ) -> AsyncIterator[pb.StreamChatResponse]:
        failure = self._arrived(request, context)
        with self._noticing_hang_up():
            yield pb.StreamChatResponse(started=pb.Started(sequence=1, model="stub"))
            for text in failure.after if failure else self.deltas:
                yield pb.StreamChatResponse(delta=pb.TextDelta(text=text))
            await self._end(failure, context)
        if self.ends_early:
            self.ends_early -= 1
            return
        yield pb.StreamChatResponse(completed=self._answer(request))
        if self.lingers:
            self.lingering.set()
            await asyncio.Event().wait()

    async def AddMessages(  # noqa: N802
        self, request: pb.AddMessagesRequest, context: Any
    ) -> pb.AddMessagesResponse:
        await self._next(request, context)
        return pb.AddMessagesResponse(messages=request.messages, sequence=1)

    async def ClearSession(  # noqa: N802
        self, request: pb.ClearSessionRequest, context: Any
    ) -> pb.ClearSessionResponse:
        await self._next(request, context)
        return pb.ClearSessionResponse(cleared_messages=2, cleared_turns=1)

    def _port(self) -> int:
        if self.certificate is None:
            return self._server.add_insecure_port("127.0.0.1:0")
        credentials = grpc.ssl_server_credentials(
            [self.certificate], self.clients_ca, self.clients_ca is not None
        )
        return self._server.add_secure_port("127.0.0.1:0", credentials)

    async def attempted(self, count: int) -> Attempt:
        """Waits until `count` calls have come in all and gives that one; TimeoutError if none."""
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.attempts) < count:
                await asyncio.sleep(POLL_SECONDS)
        return self.attempts[count - 1]

    async def _next(self, request: Any, context: Any) -> None:
        with self._noticing_hang_up():
            await self._end(self._arrived(request, context), context)

    @contextmanager
    def _noticing_hang_up(self) -> Iterator[None]:
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.attempts[-1].cancelled = True
            raise

    def _arrived(self, request: Any, context: Any) -> Failure | None:
        metadata = dict(context.invocation_metadata())
        self.attempts.append(Attempt(request, metadata, context.time_remaining()))
        return self.script.popleft() if self.script else None

    async def _end(self, failure: Failure | None, context: Any) -> None:
        if failure is not None:
            context.set_trailing_metadata(failure.trailers())
            await context.abort(failure.code, "ошибка 错误")
        if self.hang:
            await asyncio.Event().wait()

    def _answer(self, request: pb.ChatRequest) -> pb.ChatResponse:
        message = pb.Message(role=pb.ROLE_ASSISTANT, text="".join(self.deltas), sequence=1)
        return pb.ChatResponse(
            message=message, sequence=1, finish_reason=pb.FINISH_REASON_STOP, model="stub"
        )
