"""The service as the fault tests see it: its settings, its calls, its health."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from turnkeep.v1 import conversation_pb2 as pb

CALL_SECONDS = 30.0
POLL_SECONDS = 0.05


def environment(history_url: str, model: OpenAIStub, **settings: object) -> dict[str, str]:
    """What configures a server: its history, its model, and other settings without their prefix."""
    return {
        "TURNKEEP_HISTORY_URL": history_url,
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": "test",
        "TURNKEEP_LOG_FORMAT": "json",
        "TURNKEEP_SUMMARY": "off",
        **{f"TURNKEEP_{name.upper()}": str(value) for name, value in settings.items()},
    }


class Caller:
    """One channel to one server, and the calls that these tests make on it."""

    def __init__(self, server: ServerProcess) -> None:
        self.channel, self.stub = server.stub()
        self._health: Any = health_pb2_grpc.HealthStub(self.channel)

    async def chat(
        self,
        session_id: str,
        text: str,
        *,
        request_id: str = "",
        window: int | None = None,
        timeout_seconds: float = CALL_SECONDS,
    ) -> pb.ChatResponse:
        """One turn, answered whole. `window`: the most messages of the history, if not all."""
        context = pb.ContextPolicy(max_messages=window)
        request = pb.ChatRequest(
            session_id=session_id, text=text, request_id=request_id, context=context
        )
        return await self.stub.Chat(request, timeout=timeout_seconds)

    async def stream(self, session_id: str, text: str) -> tuple[str, pb.ChatResponse]:
        """One turn, streamed: its deltas joined, and its end."""
        said, completed = "", pb.ChatResponse()
        request = pb.ChatRequest(session_id=session_id, text=text)
        async for event in self.stub.StreamChat(request, timeout=CALL_SECONDS):
            said += event.delta.text
            completed = event.completed
        return said, completed

    async def add(
        self, session_id: str, *texts: str, request_id: str = ""
    ) -> pb.AddMessagesResponse:
        """One turn of user messages, appended."""
        messages = [pb.Message(text=text) for text in texts]
        request = pb.AddMessagesRequest(
            session_id=session_id, messages=messages, request_id=request_id
        )
        return await self.stub.AddMessages(request, timeout=CALL_SECONDS)

    async def clear(self, session_id: str) -> pb.ClearSessionResponse:
        """Forgets the session."""
        request = pb.ClearSessionRequest(session_id=session_id)
        return await self.stub.ClearSession(request, timeout=CALL_SECONDS)

    async def messages(self, session_id: str, *, unfinished: bool = False) -> list[pb.Message]:
        """All messages of a session, oldest first, over as many pages as it takes."""
        found: list[pb.Message] = []
        request = pb.ListMessagesRequest(
            session_id=session_id, page_size=1_000, include_unfinished=unfinished
        )
        while True:
            page = await self.stub.ListMessages(request, timeout=CALL_SECONDS)
            found += page.messages
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def sessions(
        self, user_id: str, page_size: int, page_token: str = ""
    ) -> pb.ListSessionsResponse:
        """A page of a user's sessions."""
        request = pb.ListSessionsRequest(
            user_id=user_id, page_size=page_size, page_token=page_token
        )
        return await self.stub.ListSessions(request, timeout=CALL_SECONDS)

    async def health(self) -> str:
        """The server's health: SERVING, NOT_SERVING, or the status of a check that failed."""
        try:
            answer = await self._health.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    async def watch_health(self) -> AsyncGenerator[str]:
        """The server's health as it changes, until the server ends the stream."""
        try:
            async for answer in self._health.Watch(health_pb2.HealthCheckRequest()):
                yield health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        except grpc.aio.AioRpcError:
            return

    async def health_becomes(self, wanted: str, timeout_seconds: float = 20.0) -> None:
        """Waits for it; TimeoutError when it does not come."""
        async with asyncio.timeout(timeout_seconds):
            while await self.health() != wanted:
                await asyncio.sleep(POLL_SECONDS)


def texts(messages: list[pb.Message]) -> list[tuple[int, str]]:
    """Messages as (sequence, text)."""
    return [(message.sequence, message.text) for message in messages]


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._from = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._from
