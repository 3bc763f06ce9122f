"""A session as a test talks to it: the generated stub, with the ids filled in."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from turnkeep.v1 import conversation_pb2 as pb

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub as Stub

Events = list[pb.StreamChatResponse]

TIMEOUT_SECONDS = 20.0
SYSTEM = ("system", "You are a helpful assistant.")


def new_id(kind: str = "s") -> str:
    """An id that nobody used before."""
    return f"{kind}-{uuid4().hex}"


def message(role: str, text: str = "", **fields: Any) -> pb.Message:
    """A message of the role "user", "assistant", "system" or "tool"."""
    return pb.Message(role=pb.Role.Value(f"ROLE_{role.upper()}"), text=text, **fields)


class Session:
    """One session at one server. A call's `timeout` is in seconds; None sets no deadline."""

    def __init__(
        self,
        turnkeep: "Stub",
        session_id: str | None = None,
        user_id: str = "user-1",
    ) -> None:
        self.turnkeep = turnkeep
        self.id = session_id or new_id()
        self.user_id = user_id
        self._ids = {"session_id": self.id, "user_id": user_id}

    async def chat(
        self, text: str | None = None, *, timeout: float | None = TIMEOUT_SECONDS, **fields: Any
    ) -> pb.ChatResponse:
        """A turn, answered whole."""
        return await self.turnkeep.Chat(self.request(text, **fields), timeout=timeout)

    def stream(
        self, text: str | None = None, *, timeout: float | None = TIMEOUT_SECONDS, **fields: Any
    ) -> Any:
        """A turn, streamed: the call itself, to read from and to cancel."""
        return self.turnkeep.StreamChat(self.request(text, **fields), timeout=timeout)

    async def streamed(
        self,
        text: str | None = None,
        *,
        into: list[pb.StreamChatResponse] | None = None,
        **fields: Any,
    ) -> list[pb.StreamChatResponse]:
        """A turn, streamed to its end; the events also go `into` a list, for when it fails."""
        events = [] if into is None else into
        async for event in self.stream(text, **fields):
            events.append(event)
        return events

    async def preview(self, text: str | None = None, **fields: Any) -> pb.PreviewContextResponse:
        """What a turn would send to the model."""
        request = self.request(text, **fields)
        return await self.turnkeep.PreviewContext(request, timeout=TIMEOUT_SECONDS)

    async def add(
        self, *messages: pb.Message, timeout: float | None = TIMEOUT_SECONDS, **fields: Any
    ) -> pb.AddMessagesResponse:
        """Messages, appended as one turn."""
        request = pb.AddMessagesRequest(messages=messages, **self._ids, **fields)
        return await self.turnkeep.AddMessages(request, timeout=timeout)

    async def clear(self) -> tuple[int, int]:
        """Forgets the session: how many messages and turns it had."""
        request = pb.ClearSessionRequest(**self._ids)
        answer = await self.turnkeep.ClearSession(request, timeout=TIMEOUT_SECONDS)
        return answer.cleared_messages, answer.cleared_turns

    async def page(self, **fields: Any) -> pb.ListMessagesResponse:
        """One page of its messages."""
        request = pb.ListMessagesRequest(**self._ids, **fields)
        return await self.turnkeep.ListMessages(request, timeout=TIMEOUT_SECONDS)

    async def messages(self, **fields: Any) -> list[pb.Message]:
        """All its messages, however many pages they are."""
        found: list[pb.Message] = []
        fields.setdefault("page_size", 1000)
        while True:
            page = await self.page(**fields)
            found += page.messages
            if not page.next_page_token:
                return found
            fields["page_token"] = page.next_page_token

    async def everything(self) -> list[pb.Message]:
        """All its messages, those of FAILED and CANCELLED turns too."""
        return await self.messages(include_unfinished=True)

    async def ended_turn(self) -> list[pb.Message]:
        """All its messages, once its first turn has ended: that is stored behind the hang-up."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not (kept := await self.everything()):
                await asyncio.sleep(0.01)
        return kept

    def request(self, text: str | None = None, **fields: Any) -> pb.ChatRequest:
        """The request for a turn."""
        return pb.ChatRequest(text=text, **self._ids, **fields)


def texts(messages: Sequence[pb.Message]) -> list[tuple[str, str]]:
    """Messages as (role, text), the way the model stub tells its input."""
    return [(pb.Role.Name(each.role).removeprefix("ROLE_").lower(), each.text) for each in messages]


def joined(events: Sequence[pb.StreamChatResponse]) -> str:
    """The text of a stream's deltas."""
    return "".join(each.delta.text for each in events)


def kinds(events: Sequence[pb.StreamChatResponse]) -> list[str | None]:
    """What each event of a stream is."""
    return [each.WhichOneof("event") for each in events]
