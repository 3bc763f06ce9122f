"""A message that LangChain stored, as Turnkeep keeps it, with nothing lost.

What the domain's Message has no field for, or not in LangChain's exact form, goes into its metadata
(beyond.py); text, parts and tool calls then hold what comes nearest, for the model.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    messages_from_dict,
)

from turnkeep_server.messages import arguments_json, block_of, clean_text, part_of, usage_of
from turnkeep_server.migration.beyond import metadata_of
from turnkeep_server.migration.sources import Unreadable
from turnkeep_server.request_limits import Limits
from turnkeep_server.turns import (
    ContentPart,
    ImagePart,
    Message,
    Role,
    TextPart,
    ToolCall,
    Usage,
)

_ROLES: dict[type[BaseMessage], Role] = {
    HumanMessage: Role.USER,
    AIMessage: Role.ASSISTANT,
    SystemMessage: Role.SYSTEM,
    ToolMessage: Role.TOOL,
}
_MOST_NAME_CHARS = 128  # the wire's, for names and tool call ids
_LONGEST_TYPE_CHARS = 32
_ODD = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


def langchain_message(stored: object) -> BaseMessage:
    """The message that `message_to_dict` made, or its JSON. Raises Unreadable."""
    try:
        document = json.loads(stored) if isinstance(stored, str) else stored
    except (ValueError, RecursionError):
        raise Unreadable("is no valid JSON") from None
    if not isinstance(document, Mapping) or not isinstance(document.get("data"), Mapping):
        raise Unreadable('is no LangChain message: {"type": …, "data": {…}}')
    try:
        return messages_from_dict([dict(document)])[0]
    except _ODD:
        # Not the exception's text: pydantic's quote what the message says.
        raise Unreadable(f"is no message of {_kind(document)} that LangChain can read") from None


def message_of(found: BaseMessage, limits: Limits) -> Message:
    """The message in the domain's terms. Raises Unreadable if it cannot be kept whole."""
    role = next((role for kind, role in _ROLES.items() if isinstance(found, kind)), None)
    if role is None:
        raise Unreadable(f"is of {_kind({'type': found.type})}, for which there is no role")
    fields: dict[str, Any] = {"role": role}
    fields |= _text_or_parts(found.content, limits)
    if isinstance(found, AIMessage):
        fields["tool_calls"] = _calls(found)
    if isinstance(found, ToolMessage):
        fields["tool_call_id"] = _name(found.tool_call_id, "unknown")
    if found.name:
        fields["name"] = _name(found.name, "")
    message = Message(**fields)
    return Message(**fields, metadata=metadata_of(_beyond(found, message), limits))


def cost_of(found: BaseMessage) -> tuple[Usage, str]:
    """What the message cost and which model said it, as far as LangChain knows."""
    if not isinstance(found, AIMessage):
        return Usage(), ""
    model = found.response_metadata.get("model_name") or found.response_metadata.get("model")
    named = model if isinstance(model, str) else ""
    return usage_of(found.usage_metadata or {}), _name(named, "")


def _beyond(found: BaseMessage, message: Message) -> dict[str, Any]:
    """Every field of LangChain's message that `message` does not give back exactly."""
    kept = {
        "content": [block_of(each) for each in message.parts] or message.text,
        "name": message.name or None,
        "tool_call_id": message.tool_call_id,
        "tool_calls": [_langchain_call(each) for each in message.tool_calls],
    }
    given_back = dict(_defaults(type(found)))
    given_back |= {name: value for name, value in kept.items() if name in given_back}
    beyond = {
        name: value
        for name, value in found.model_dump().items()
        if name not in given_back or value != given_back[name]
    }
    if type(found) not in _ROLES:
        beyond["type"] = found.type
    return beyond


@cache
def _defaults(kind: type[BaseMessage]) -> dict[str, Any]:
    """What a field is where nothing was said; pydantic takes its time to tell."""
    fields = kind.model_fields.items()
    return {name: field.get_default(call_default_factory=True) for name, field in fields}


def _text_or_parts(content: str | Sequence[Any], limits: Limits) -> dict[str, Any]:
    """The content's text, or its parts: all that there are parts for.

    Content in several texts and nothing else that is not plainly LangChain's becomes one text.
    """
    if isinstance(content, str):
        return {"text": clean_text(content)}
    parts = [_part(each) for each in content]
    whole = [each for each in parts if each is not None]
    exact = [block_of(each) for each in whole] == content
    texts = [each.text for each in whole if isinstance(each, TextPart)]
    if whole and len(whole) <= limits.max_parts and (exact or len(texts) < len(whole)):
        return {"parts": tuple(whole)}
    return {"text": "".join(texts)}


def _part(block: object) -> ContentPart | None:
    """None for what there is no part for, and for a part that would say nothing."""
    try:
        part = part_of(block) if isinstance(block, (str, Mapping)) else None
    except _ODD:
        return None
    match part:
        case TextPart(text):
            return TextPart(clean_text(text)) if text else None
        case ImagePart(url):
            known = url.startswith(("https://", "http://", "data:"))
            return ImagePart(clean_text(url)) if known else None
    return part


def _calls(found: AIMessage) -> tuple[ToolCall, ...]:
    """The calls that the model made well; those that are no JSON stay in LangChain's own field."""
    return tuple(
        ToolCall(
            id=_name(each["id"] or "", f"call-{n}"),
            name=_name(each["name"], "unknown"),
            arguments_json=clean_text(arguments_json(each["args"])),
        )
        for n, each in enumerate(found.tool_calls)
    )


def _langchain_call(call: ToolCall) -> dict[str, Any]:
    arguments = json.loads(call.arguments_json)
    return {"name": call.name, "args": arguments, "id": call.id, "type": "tool_call"}


def _name(text: str, without: str) -> str:
    return clean_text(text)[:_MOST_NAME_CHARS] or without


def _kind(document: Mapping[str, Any]) -> str:
    """The type of a message, if it is short enough to be one and not a text."""
    kind = document.get("type") or ""
    known = isinstance(kind, str) and kind.isidentifier() and len(kind) <= _LONGEST_TYPE_CHARS
    return f"type {kind!r}" if known else "an unknown type"
