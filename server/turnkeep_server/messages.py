"""Messages: the domain's ↔ LangChain's, without loss either way."""

import base64
import codecs
import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCallChunk,
    ToolMessage,
)

from turnkeep_server.turns import (
    ContentPart,
    FilePart,
    FinishReason,
    ImagePart,
    Message,
    Reply,
    Role,
    TextPart,
    ToolCall,
    Usage,
)

_BEYOND_ANY_COUNT = 2**63  # BSON's and protobuf's integers end there

_ROLES = {
    "human": Role.USER,
    "ai": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "tool": Role.TOOL,
}
# https://platform.openai.com/docs/api-reference/chat/object: choices[].finish_reason
_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.MAX_TOKENS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
}


class SurrogateCleaner:
    """Makes text that came in pieces valid Unicode.

    Models emit halves of surrogate pairs, which neither BSON nor protobuf takes: a pair that was
    cut between two pieces is put together, a half on its own becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")

    def clean(self, piece: str, *, last: bool = False) -> str:
        """The valid part of the text so far; the half of a pair waits for the next piece."""
        return self._decoder.decode(piece.encode("utf-16-le", "surrogatepass"), last)


def clean_text(text: str) -> str:
    """`text` as valid Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return SurrogateCleaner().clean(text, last=True)
    return text


def to_langchain(message: Message) -> BaseMessage:
    """The message as the model's chain takes it; metadata are the caller's and stay here."""
    fields: dict[str, Any] = {"content": _content(message), "name": message.name or None}
    match message.role:
        case Role.USER:
            return HumanMessage(**fields)
        case Role.SYSTEM:
            return SystemMessage(**fields)
        case Role.TOOL:
            return ToolMessage(**fields, tool_call_id=message.tool_call_id)
        case Role.ASSISTANT:
            return AIMessage(**fields, **_langchain_calls(message.tool_calls))


def from_langchain(message: BaseMessage) -> Message:
    """A LangChain message in the domain's terms. Raises ValueError for a kind it does not know."""
    if message.type not in _ROLES:
        raise ValueError(f"no role for a LangChain message of type {message.type!r}")
    text, parts = _text_and_parts(message.content)
    return Message(
        role=_ROLES[message.type],
        text=text,
        parts=parts,
        name=message.name or "",
        tool_calls=_tool_calls(message) if isinstance(message, AIMessage) else (),
        tool_call_id=message.tool_call_id if isinstance(message, ToolMessage) else "",
    )


def reply_of(message: AIMessage) -> Reply:
    """What the model answered, with its reason to stop and what it cost."""
    # A model that refuses says so in a field of its own.
    text = clean_text(message.text or str(message.additional_kwargs.get("refusal") or ""))
    tool_calls = _tool_calls(message)
    reason = _FINISH_REASONS.get(
        str(message.response_metadata.get("finish_reason")), FinishReason.UNSPECIFIED
    )
    return Reply(
        message=Message(role=Role.ASSISTANT, text=text, tool_calls=tool_calls),
        finish_reason=reason,
        usage=usage_of(message.usage_metadata or {}),
    )


def _langchain_calls(calls: Sequence[ToolCall]) -> dict[str, Any]:
    """The calls as LangChain keeps them: those whose arguments are no JSON object apart.

    Models do answer such. LangChain sends them back word for word, so that the model may mend them.
    """
    valid, invalid = [], []
    for each in calls:
        call = {"id": each.id, "name": each.name}
        arguments = _json_object(each.arguments_json)
        if arguments is None:
            invalid.append({**call, "args": each.arguments_json, "error": None})
        else:
            valid.append({**call, "args": arguments})
    return {"tool_calls": valid, "invalid_tool_calls": invalid}


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _content(message: Message) -> str | list[str | dict[str, Any]]:
    return [block_of(each) for each in message.parts] if message.parts else message.text


def block_of(part: ContentPart) -> dict[str, Any]:
    """The part as LangChain's content holds it."""
    match part:
        case TextPart(text):
            return {"type": "text", "text": text}
        case ImagePart(url):
            return {"type": "image_url", "image_url": {"url": url}}
        case FilePart(name, media_type, data):
            url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
            return {"type": "file", "file": {"filename": name, "file_data": url}}


def _text_and_parts(content: str | Sequence[Any]) -> tuple[str, tuple[ContentPart, ...]]:
    if isinstance(content, str):
        return content, ()
    return "", tuple(part_of(each) for each in content)


def part_of(block: str | Mapping[str, Any]) -> ContentPart:
    """A piece of LangChain's content. Raises ValueError for a kind that there is no part for."""
    if isinstance(block, str):
        return TextPart(block)
    match block:
        case {"type": "text", "text": str(text)}:
            return TextPart(text)
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            return ImagePart(url)
        case {"type": "file", "file": {"file_data": str(url), **rest}} if ";base64," in url:
            head, _, data = url.partition(";base64,")
            media_type = head.removeprefix("data:")
            return FilePart(str(rest.get("filename", "")), media_type, base64.b64decode(data))
    raise ValueError(f"no content part for a LangChain block of type {block.get('type')!r}")


def _tool_calls(message: AIMessage) -> tuple[ToolCall, ...]:
    """The model's tool calls, those with arguments that are no JSON included, word for word."""
    if isinstance(message, AIMessageChunk):
        # Not its tool_calls: LangChain completes half a JSON object there as it sees fit.
        return tuple(
            ToolCall(
                id=clean_text(each["id"] or ""),
                name=clean_text(each["name"] or ""),
                arguments_json=clean_text(each["args"] or "{}"),
            )
            for each in _with_their_ends(message.tool_call_chunks)
        )
    valid = [
        ToolCall(
            id=clean_text(each["id"] or ""),
            name=clean_text(each["name"]),
            arguments_json=clean_text(arguments_json(each["args"])),
        )
        for each in message.tool_calls
    ]
    invalid = [
        ToolCall(
            id=clean_text(each["id"] or ""),
            name=clean_text(each["name"] or ""),
            arguments_json=clean_text(each["args"] or ""),
        )
        for each in message.invalid_tool_calls
    ]
    return (*valid, *invalid)


def _with_their_ends(chunks: Sequence[ToolCallChunk]) -> list[ToolCallChunk]:
    """The calls whole: providers that give pieces no index have LangChain keep each as a call."""
    whole: list[ToolCallChunk] = []
    for each in chunks:
        if whole and each["index"] is None and not each["id"] and not each["name"]:
            last = whole.pop()
            each = ToolCallChunk(**{**last, "args": (last["args"] or "") + (each["args"] or "")})
        whole.append(each)
    return whole


def arguments_json(arguments: Any) -> str:
    """Arguments as JSON; NaN and the infinities, which Python reads and JSON has not, as null."""
    try:
        return json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(arguments), parse_constant=lambda _: None)
        return json.dumps(finite, ensure_ascii=False)


def usage_of(reported: Mapping[str, Any]) -> Usage:
    """What a LangChain message's usage_metadata say, as far as Turnkeep keeps it."""
    return Usage(
        input_tokens=_count(reported.get("input_tokens")),
        output_tokens=_count(reported.get("output_tokens")),
        total_tokens=_count(reported.get("total_tokens")),
        cached_input_tokens=_count((reported.get("input_token_details") or {}).get("cache_read")),
        reasoning_tokens=_count((reported.get("output_token_details") or {}).get("reasoning")),
    )


def _count(reported: object) -> int:
    """A figure as the provider reported it; 0 for what is no count that can be kept."""
    # Not isinstance: true is an int to Python, and none to protobuf.
    return reported if type(reported) is int and 0 <= reported < _BEYOND_ANY_COUNT else 0
