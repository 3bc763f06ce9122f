"""One session, as a caller uses it."""

from collections.abc import AsyncIterator, Iterable
from typing import Unpack

from turnkeep.messages import Added, Cleared, Message, Preview, Reply
from turnkeep.requests import (
    Addable,
    ConflictPolicy,
    TurnOptions,
    add_messages_request,
    chat_request,
    checked_ids,
)
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.wire import (
    added_from_wire,
    cleared_from_wire,
    message_from_wire,
    preview_from_wire,
    reply_from_wire,
)

from .calls import Calls
from .reply_stream import ReplyStream

_PAGE_SIZE = 200


class Session:
    """One session of one user, made by `ConversationClient.session`. It needs no closing.

    `content` is a text, or a Message of role "user" or, for the result of a tool call, "tool".
    Every call is sent again, with the same request_id, while nobody can answer it and its time
    lasts: it happens once however often it is sent. All raise TurnkeepError.
    """

    def __init__(self, calls: Calls, session_id: str, user_id: str) -> None:
        self._calls = calls
        self.session_id, self.user_id = checked_ids(session_id, user_id)

    async def chat(
        self, content: str | Message | pb.Message, **options: Unpack[TurnOptions]
    ) -> Reply:
        """Runs one turn and gives its reply, which is durable by then."""
        request = chat_request(self.session_id, self.user_id, content, options)
        timeout_seconds = options.get("timeout_seconds")
        answer = await self._calls.unary(self._calls.stub.Chat, request, timeout_seconds)
        return reply_from_wire(answer, request.request_id)

    def stream(
        self, content: str | Message | pb.Message, **options: Unpack[TurnOptions]
    ) -> ReplyStream:
        """Runs one turn and gives its text as it comes.

        Sent again only while no text has come; after that it raises, with the text so far.
        """
        request = chat_request(self.session_id, self.user_id, content, options)
        return ReplyStream(self._calls, request, options.get("timeout_seconds"))

    async def preview(
        self, content: str | Message | pb.Message, **options: Unpack[TurnOptions]
    ) -> Preview:
        """What `chat` would send to the model now. Calls no model and stores nothing."""
        request = chat_request(self.session_id, self.user_id, content, options)
        timeout_seconds = options.get("timeout_seconds")
        answer = await self._calls.unary(self._calls.stub.PreviewContext, request, timeout_seconds)
        return preview_from_wire(answer)

    async def add(
        self,
        messages: Iterable[Addable],
        *,
        request_id: str | None = None,
        on_conflict: ConflictPolicy = "wait",
        expected_sequence: int | None = None,
        timeout_seconds: float | None = None,
    ) -> Added:
        """Appends messages as one turn, all or nothing, without calling the model."""
        request = add_messages_request(
            self.session_id,
            self.user_id,
            messages,
            request_id=request_id,
            on_conflict=on_conflict,
            expected_sequence=expected_sequence,
        )
        answer = await self._calls.unary(self._calls.stub.AddMessages, request, timeout_seconds)
        return added_from_wire(answer, request.request_id)

    async def messages(
        self,
        *,
        newest_first: bool = False,
        include_unfinished: bool = False,
        page_size: int = _PAGE_SIZE,
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[Message]:
        """The session's messages, fetched a page at a time as they are read.

        `include_unfinished` gives those of failed and cancelled turns too. `timeout_seconds` is for
        each page. An unknown session is empty.
        """
        request = pb.ListMessagesRequest(
            session_id=self.session_id,
            user_id=self.user_id,
            page_size=page_size,
            order=pb.ORDER_NEWEST_FIRST if newest_first else pb.ORDER_OLDEST_FIRST,
            include_unfinished=include_unfinished,
        )
        while True:
            page = await self._calls.unary(self._calls.stub.ListMessages, request, timeout_seconds)
            for each in page.messages:
                yield message_from_wire(each)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def clear(self, *, timeout_seconds: float | None = None) -> Cleared:
        """Forgets the session; one that is unknown is forgotten already.

        Sent again after an answer that was lost, it finds nothing more to clear and says 0.
        """
        request = pb.ClearSessionRequest(session_id=self.session_id, user_id=self.user_id)
        answer = await self._calls.unary(self._calls.stub.ClearSession, request, timeout_seconds)
        return cleared_from_wire(answer)

    def __repr__(self) -> str:
        return f"Session({self.session_id!r}, user_id={self.user_id!r})"
