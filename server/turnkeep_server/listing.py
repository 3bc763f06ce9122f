"""Listing messages and sessions, a page at a time, while others go on writing."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from turnkeep_server.commands import ListMessages, ListSessions
from turnkeep_server.deadlines import Deadline
from turnkeep_server.history.contract import ChatMessageHistory, HistoryStore, Position
from turnkeep_server.paging import page_token, position_in
from turnkeep_server.turns import (
    UNFINISHED,
    FilePart,
    ImagePart,
    Message,
    SessionSummary,
    TextPart,
    Turn,
    TurnStatus,
)

_TURNS_A_READ = 50
# Over what protobuf adds: a tag and a length to each text, and the message's other fields.
_FIELD_BYTES, _FIELDS_BYTES = 12, 128
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class PlacedMessage:
    """A message with the turn it belongs to and its index there."""

    turn: Turn
    index: int

    @property
    def message(self) -> Message:
        """The message itself."""
        return self.turn.messages[self.index]


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages in the order asked for; the token is empty on the last page."""

    messages: Sequence[PlacedMessage]
    next_page_token: str = ""


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, newest activity first; the token is empty on the last page."""

    sessions: Sequence[SessionSummary]
    next_page_token: str = ""


async def message_page(
    history: ChatMessageHistory, request: ListMessages, *, max_bytes: int
) -> MessagePage:
    """The page that the request's token names.

    It has `page_size` messages, or fewer where they would exceed `max_bytes` together; always one
    at least. Messages that arrive while a caller pages come on later pages (or, newest first, on
    none); none is doubled or left out. Raises InvalidRequest for a bad token.
    """
    listing = (request.session, request.newest_first, request.include_unfinished)
    position = position_in(request.page_token, (int, int), *listing)
    page: list[PlacedMessage] = []
    size = 0
    async for each in _messages_from(history, request, position):
        size += _size_in_bytes(each.message)
        if len(page) == request.page_size or (page and size > max_bytes):
            return MessagePage(page, page_token((each.turn.sequence, each.index), *listing))
        page.append(each)
    return MessagePage(page)


async def session_page(
    store: HistoryStore, request: ListSessions, deadline: Deadline
) -> SessionPage:
    """The page that the request's token names. Raises InvalidRequest for a bad token."""
    listing = (request.tenant, request.user_id)
    position = position_in(request.page_token, (int, str), *listing)
    after = Position(_EPOCH + position[0] * _MILLISECOND, position[1]) if position else None
    found = await store.sessions(
        request.tenant, request.user_id, limit=request.page_size + 1, after=after, deadline=deadline
    )
    page = found[: request.page_size]
    if len(found) == len(page):
        return SessionPage(page)
    last = page[-1]
    milliseconds = (last.updated_at - _EPOCH) // _MILLISECOND
    return SessionPage(page, page_token((milliseconds, last.session.session_id), *listing))


async def _messages_from(
    history: ChatMessageHistory, request: ListMessages, position: Sequence[int] | None
) -> AsyncIterator[PlacedMessage]:
    """All messages from a position on, read a few turns at a time as they are taken."""
    step = -1 if request.newest_first else 1
    statuses = {TurnStatus.COMPLETED, *(UNFINISHED if request.include_unfinished else ())}
    limit = min(request.page_size + 1, _TURNS_A_READ)
    after = position[0] - step if position else None
    while True:
        turns = await history.page(
            statuses, limit=limit, newest_first=request.newest_first, after=after
        )
        for turn in turns:
            for index in range(len(turn.messages))[::step]:
                seen = (
                    position and turn.sequence == position[0] and index * step < position[1] * step
                )
                if not seen:
                    yield PlacedMessage(turn, index)
        if len(turns) < limit:
            return
        after = turns[-1].sequence


def _size_in_bytes(message: Message) -> int:
    """What the message takes on the wire, and a little more."""
    size = _FIELDS_BYTES
    for text in _texts(message):
        size += _FIELD_BYTES + len(text.encode())
    return size + sum(len(part.data) for part in message.parts if isinstance(part, FilePart))


def _texts(message: Message) -> Iterator[str]:
    yield from (message.text, message.name, message.tool_call_id)
    for key, value in message.metadata.items():
        yield from (key, value)
    for call in message.tool_calls:
        yield from (call.id, call.name, call.arguments_json)
    for part in message.parts:
        match part:
            case TextPart(text) | ImagePart(text):
                yield text
            case FilePart(name, media_type, _):
                yield from (name, media_type)
