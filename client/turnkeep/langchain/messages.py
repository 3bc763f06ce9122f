"""LangChain's messages ↔ Turnkeep's, without loss.

The wire's own fields say what they can, so that every client and the service's own model can read
the message. The codec reads them back at once, and what does not come out the same goes into the
metadata too (metadata.py), which reading prefers.
"""

from collections.abc import Sequence
from dataclasses import replace

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)
from pydantic import BaseModel

from turnkeep.langchain.borrowed import lend, put_back
from turnkeep.langchain.metadata import from_metadata, to_metadata
from turnkeep.langchain.wire_fields import Fields, fields_of, wire_message
from turnkeep.messages import ContentPart, Message, Role

# Which class a type is, and who speaks in it.
_CLASSES: dict[str, tuple[type[BaseMessage], Role]] = {
    "human": (HumanMessage, "user"),
    "ai": (AIMessage, "assistant"),
    "system": (SystemMessage, "system"),
    "tool": (ToolMessage, "tool"),
    "HumanMessageChunk": (HumanMessageChunk, "user"),
    "AIMessageChunk": (AIMessageChunk, "assistant"),
    "SystemMessageChunk": (SystemMessageChunk, "system"),
    "ToolMessageChunk": (ToolMessageChunk, "tool"),
    # These two may say anything of who speaks: to others it is a user's word.
    "chat": (ChatMessage, "user"),
    "function": (FunctionMessage, "user"),
    "ChatMessageChunk": (ChatMessageChunk, "user"),
    "FunctionMessageChunk": (FunctionMessageChunk, "user"),
}
_LOANS = "turnkeep.parts"


def to_turnkeep(message: BaseMessage) -> Message:
    """The message as the service keeps it.

    Raises ValueError for a type that is no message of a conversation, and for what cannot be kept
    exactly: values that JSON has not, or more of them than there is room for.
    """
    if message.type not in _CLASSES:
        raise ValueError(f"a LangChain message of type {message.type!r} cannot be kept")
    try:
        fields = _fields(message)
        plain = wire_message(_CLASSES[message.type][1], fields)
        missing = _missing(fields, fields_of(plain))
        return replace(plain, metadata=to_metadata(_borrowing(missing, plain.parts)))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a LangChain message of type {message.type!r}: {error}") from error


def from_turnkeep(message: Message) -> BaseMessage:
    """The message as LangChain has it; exactly as it was, if it came from there.

    What others stored has no id, and no usage: the service tells that of its own turns with the
    reply only. Raises ValueError for metadata under langchain.* that hold no message.
    """
    try:
        fields = {**fields_of(message), **from_metadata(message.metadata)}
        put_back(fields["content"], fields.pop(_LOANS, ()), message.parts)
        cls, _ = _CLASSES[fields.pop("type")]
        return cls(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"message {message.id} (sequence {message.sequence}) has metadata langchain.* "
            f"that hold no LangChain message: {error}"
        ) from error


def _fields(message: BaseMessage) -> Fields:
    """The message's own values, extra ones too."""
    fields = {**vars(message), **(message.model_extra or {})}
    if fields.get("artifact") is not None:
        fields["artifact"] = _plain(fields["artifact"])
    return fields


def _missing(fields: Fields, wire: Fields) -> Fields:
    """What the wire does not give back: each field that it says otherwise, or is silent about."""
    defaults = _defaults(fields["type"])
    return {
        name: value for name, value in fields.items() if wire.get(name, defaults.get(name)) != value
    }


def _borrowing(missing: Fields, parts: Sequence[ContentPart]) -> Fields:
    """The fields with a content that leaves to the parts what they hold."""
    if "content" not in missing:
        return missing
    content, loans = lend(missing["content"], parts)
    return {**missing, "content": content, **({_LOANS: loans} if loans else {})}


def _defaults(kind: str) -> Fields:
    fields = _CLASSES[kind][0].model_fields
    return {
        name: each.get_default(call_default_factory=True)
        for name, each in fields.items()
        if not each.is_required()
    }


def _plain(artifact: object) -> object:
    """An artifact as LangChain's own histories keep it: models as objects, tuples as lists.

    Those of its retriever tools are lists of Document.
    """
    match artifact:
        case BaseModel():
            return _plain(artifact.model_dump())
        case dict():
            return {key: _plain(each) for key, each in artifact.items()}
        case list() | tuple():
            return [_plain(each) for each in artifact]
    return artifact
