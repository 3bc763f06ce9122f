"""LangChain's messages ↔ Turnkeep's, without loss.

The wire's own fields say what they can, so that every client and the service's own model can read
the message. The codec reads them back at once, and what does not come out the same goes into the
metadata too (metadata.py), which reading prefers.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

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
from turnkeep.langchain.content import from_parts, to_parts, valid_text
from turnkeep.langchain.metadata import from_metadata, to_metadata
from turnkeep.messages import ContentPart, Message, Role, ToolCall

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
_TYPES: dict[Role, str] = {
    "unspecified": "human",
    "user": "human",
    "assistant": "ai",
    "system": "system",
    "tool": "tool",
}
MAX_NAME_CHARACTERS = 128
"""Of Message.name and tool_call_id, ToolCall.id and .name."""

Fields = dict[str, Any]
_LOANS = "turnkeep.parts"


def to_turnkeep(message: BaseMessage) -> Message:
    """The message as the service keeps it.

    Raises ValueError for a type that is no message of a conversation, and for what cannot be kept
    exactly: values that JSON has not, or more of them than there is room for.
    """
    if message.type not in _CLASSES:
        raise ValueError(f"a LangChain message of type {message.type!r} cannot be kept")
    fields = _fields(message)
    plain = _said_by_the_wire(message, fields)
    try:
        metadata = to_metadata(_borrowing(_missing(fields, _wire_fields(plain)), plain.parts))
    except ValueError as error:
        raise ValueError(f"a LangChain message of type {message.type!r}: {error}") from error
    return Message(
        plain.role,
        plain.text,
        plain.parts,
        plain.name,
        plain.tool_calls,
        plain.tool_call_id,
        metadata,
    )


def from_turnkeep(message: Message) -> BaseMessage:
    """The message as LangChain has it; exactly as it was, if it came from there.

    What others stored has no id, and no usage: the service tells that of its own turns with the
    reply only. Raises ValueError for metadata under langchain.* that hold no message.
    """
    try:
        fields = {**_wire_fields(message), **from_metadata(message.metadata)}
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


# --- to the wire's own fields -------------------------------------------------------------------


def _said_by_the_wire(message: BaseMessage, fields: Fields) -> Message:
    """The message as far as the wire's own fields can say it."""
    whole = isinstance(message.content, str)
    return Message(
        role=_CLASSES[message.type][1],
        text=valid_text(message.content) if isinstance(message.content, str) else "",
        parts=() if whole else to_parts(message.content),
        name=_short(message.name or ""),
        tool_calls=_calls(fields.get("tool_calls", ())),
        tool_call_id=_short(fields["tool_call_id"]) or "none" if "tool_call_id" in fields else "",
    )


def _short(text: str) -> str:
    return valid_text(text)[:MAX_NAME_CHARACTERS]


def _calls(calls: Sequence[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    """The calls; the wire wants an id and a name for each."""
    return tuple(
        ToolCall(
            _short(each["id"] or "") or f"call-{number}",
            _short(each["name"]) or "unnamed",
            _arguments_json(each["args"]),
        )
        for number, each in enumerate(calls, start=1)
    )


def _arguments_json(arguments: object) -> str:
    """A JSON object; {} for what cannot be one, which the metadata then say no to."""
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return valid_text(text)
    except (TypeError, ValueError, RecursionError):
        return "{}"


# --- from the wire's own fields -----------------------------------------------------------------


def _wire_fields(message: Message) -> Fields:
    """What the wire's own fields say of a LangChain message."""
    fields: Fields = {
        "type": _TYPES[message.role],
        "content": from_parts(message.text, message.parts),
    }
    if message.name:
        fields["name"] = message.name
    if message.role == "tool":
        fields["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        fields |= _langchain_calls(message.tool_calls)
    return fields


def _langchain_calls(calls: Sequence[ToolCall]) -> Fields:
    """The calls, those whose arguments are no JSON object apart: models do answer such."""
    valid, invalid = [], []
    for each in calls:
        call = {"name": each.name, "id": each.id}
        arguments = _json_object(each.arguments_json)
        if arguments is None:
            told = {"args": each.arguments_json, "error": None, "type": "invalid_tool_call"}
            invalid.append({**call, **told})
        else:
            valid.append({**call, "args": arguments, "type": "tool_call"})
    return {"tool_calls": valid, "invalid_tool_calls": invalid}


def _json_object(text: str) -> Fields | None:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
