"""The servicer: translate only. Wire in, one call, wire out."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1 import conversation_pb2_grpc as pb_grpc
from turnkeep_server import validation as valid
from turnkeep_server import wire
from turnkeep_server.caller import current_caller
from turnkeep_server.conversations import Conversations
from turnkeep_server.deadlines import Deadline
from turnkeep_server.settings import Settings

Context = grpc.aio.ServicerContext[Any, Any]


class ConversationServicer(pb_grpc.ConversationServiceServicer):
    """turnkeep.v1.ConversationService over the use cases. Errors are made statuses outside."""

    def __init__(self, conversations: Conversations, settings: Settings) -> None:
        self._conversations = conversations
        self._settings = settings

    async def Chat(self, request: pb.ChatRequest, context: Context) -> pb.ChatResponse:
        valid.check(valid.chat_violations(request, self._settings))
        chat = wire.chat_of(_tenant(), request)
        return wire.chat_response(await self._conversations.chat(chat, self._deadline(context)))

    async def StreamChat(
        self, request: pb.ChatRequest, context: Context
    ) -> AsyncIterator[pb.StreamChatResponse]:
        valid.check(valid.chat_violations(request, self._settings))
        chat = wire.chat_of(_tenant(), request)
        events = self._conversations.stream_chat(chat, self._deadline(context))
        async with aclosing(events):
            async for event in events:
                yield wire.stream_chat_response(event)

    async def PreviewContext(
        self, request: pb.ChatRequest, context: Context
    ) -> pb.PreviewContextResponse:
        valid.check(valid.chat_violations(request, self._settings))
        chat = wire.chat_of(_tenant(), request)
        preview = await self._conversations.preview_context(chat, self._deadline(context))
        return wire.preview_context_response(preview)

    async def AddMessages(
        self, request: pb.AddMessagesRequest, context: Context
    ) -> pb.AddMessagesResponse:
        valid.check(valid.add_messages_violations(request, self._settings))
        added = wire.add_messages_of(_tenant(), request)
        finished = await self._conversations.add_messages(added, self._deadline(context))
        return wire.add_messages_response(finished)

    async def ClearSession(
        self, request: pb.ClearSessionRequest, context: Context
    ) -> pb.ClearSessionResponse:
        valid.check(valid.clear_session_violations(request, self._settings))
        session = wire.session_key(_tenant(), request)
        cleared = await self._conversations.clear_session(session, self._deadline(context))
        return wire.clear_session_response(cleared)

    async def ListMessages(
        self, request: pb.ListMessagesRequest, context: Context
    ) -> pb.ListMessagesResponse:
        valid.check(valid.list_messages_violations(request, self._settings))
        listed = wire.list_messages_of(_tenant(), request, self._settings)
        page = await self._conversations.list_messages(listed, self._deadline(context))
        return wire.list_messages_response(page)

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        valid.check(valid.list_sessions_violations(request, self._settings))
        listed = wire.list_sessions_of(_tenant(), request, self._settings)
        page = await self._conversations.list_sessions(listed, self._deadline(context))
        return wire.list_sessions_response(page)

    def _deadline(self, context: Context) -> Deadline:
        return Deadline.of_call(
            context.time_remaining(),
            default_seconds=self._settings.default_timeout_seconds,
            cap_seconds=self._settings.max_timeout_seconds,
        )


def _tenant() -> str:
    return current_caller.get().tenant
