"""What the wire's own fields say of a LangChain message, there and back; not always all of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from turnkeep.langchain.content import from_parts, to_parts, valid_text
from turnkeep.messages import Message, Role, ToolCall

Fields = dict[str, Any]
"""A LangChain message's, under its names."""

_TYPES: dict[Role, str] = {
    "unspecified": "human",
    "user": "human",
    "assistant": "ai",
    "system": "system",
    "tool": "tool",
}
MAX_NAME_CHARACTERS = 128
"""Of Message.name and tool_call_id, ToolCall.id and .name."""


# --- to the wire's own fields -------------------------------------------------------------------


def wire_message(role: Role, fields: Fields) -> Message:
    """A message as far as the wire's own fields can say it."""
    content = fields["content"]
    whole = isinstance(content, str)
    return Message(
        role=role,
        text=valid_text(content) if whole else "",
        parts=() if whole else to_parts(content),
        name=_short(fields["name"] or ""),
        tool_calls=_calls(fields.get("tool_calls", ())),
        tool_call_id=_short(fields["tool_call_id"]) or "none" if role == "tool" else "",
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


def fields_of(message: Message) -> Fields:
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
