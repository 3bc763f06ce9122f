"""What a valid request is made into on its way: none of it may fail, and nothing may be lost."""

import bson

from tests.fuzz.model import CHAT_MODEL
from turnkeep_server import wire
from turnkeep_server.commands import Chat
from turnkeep_server.completions import encoded
from turnkeep_server.history.mongodb_documents import turn_document, turn_of
from turnkeep_server.messages import from_langchain, to_langchain
from turnkeep_server.tokens import counted
from turnkeep_server.turns import Message, Role, SessionKey, Turn, TurnStatus, utc_now

_KEY = SessionKey("tenant", "user", "session")
_NOW = utc_now()
_ID = bson.ObjectId()
# What takes long is done to one of so many: messages of the largest size would take all the time.
_LONG_CHARS = 4_096


def check_chat(chat: Chat) -> None:
    """A turn's question, with the request's options around it."""
    check_messages((chat.question,))
    options = chat.options
    asked = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "seed": options.seed,
        "max_tokens": options.max_output_tokens,
        "stop": list(options.stop) or None,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    encoded(CHAT_MODEL.payload([chat.question], given))


def check_messages(messages: tuple[Message, ...]) -> None:
    """Messages as LangChain's and back, as the provider gets them, as documents and back."""
    if sum(len(each.text) for each in messages) < _LONG_CHARS:
        messages = tuple(map(counted, messages))
    for message in messages:
        _check_langchain(message)
    encoded(CHAT_MODEL.payload(messages, {}))
    _check_document(messages)


def _check_langchain(message: Message) -> None:
    back = from_langchain(to_langchain(message))
    assert (back.role, back.text, back.parts) == (message.role, message.text, message.parts)
    assert (back.name, back.tool_call_id) == (message.name, message.tool_call_id)
    if message.role is Role.ASSISTANT:
        # Those whose arguments are no JSON come last.
        assert sorted(each.id for each in back.tool_calls) == sorted(
            each.id for each in message.tool_calls
        )


def _check_document(messages: tuple[Message, ...]) -> None:
    turn = Turn(
        id=str(_ID),
        sequence=1,
        status=TurnStatus.COMPLETED,
        messages=messages,
        messages_before=0,
        created_at=_NOW,
        completed_at=_NOW,
    )
    document = bson.decode(
        bson.encode({"_id": _ID, **turn_document(_KEY, turn)}),
        bson.CodecOptions(tz_aware=True),
    )
    assert turn_of(document) == turn
    for index in range(len(messages)):
        wire.message_in(turn, index).SerializeToString()
