"""Messages as JSON: what --json and export write, and add and import read."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import click

from turnkeep import FilePart, ImagePart, Message, Reply, TextPart, ToolCall

_FIELDS = {"role", "text", "content", "parts", "name", "tool_calls", "tool_call_id", "metadata"}
_OF_THE_SERVICE = {"id", "sequence", "status", "create_time"}


def document_of(message: Message) -> dict[str, object]:
    """A message for programs; what it does not have is left out, but for role and text."""
    document = {
        "role": message.role,
        "text": message.text,
        "parts": [_part_document(each) for each in message.parts],
        "name": message.name,
        "tool_calls": [asdict(each) for each in message.tool_calls],
        "tool_call_id": message.tool_call_id,
        "metadata": dict(message.metadata),
        "id": message.id,
        "sequence": message.sequence,
        "status": "" if message.status == "unspecified" else message.status,
        "create_time": message.create_time,
    }
    return {name: value for name, value in document.items() if value or name in {"role", "text"}}


def reply_document(reply: Reply, session_id: str) -> dict[str, object]:
    """A turn's answer for programs."""
    return {
        "session_id": session_id,
        "sequence": reply.sequence,
        "text": reply.text,
        "message": document_of(reply.message),
        "finish_reason": reply.finish_reason,
        "usage": asdict(reply.usage),
        "context": asdict(reply.context),
        "model": reply.model,
        "replayed": reply.replayed,
        "request_id": reply.request_id,
    }


def messages_in(lines: Iterable[str], source: str) -> Iterator[tuple[int, dict[str, Any], Message]]:
    """Each line's number, document and message; empty lines are passed over.

    Raises UsageError that names the line which is no message.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            yield number, document, message_of(document)
        except (ValueError, TypeError, KeyError) as error:
            problem = "is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
            raise click.UsageError(f"{source}, line {number}: {problem}") from None


def message_of(document: object) -> Message:
    """The message of a document; "content" is taken for "text". Raises ValueError or TypeError."""
    if not isinstance(document, dict):
        raise TypeError('a message is a JSON object, such as {"role": "user", "text": "Hi"}')
    if unknown := document.keys() - _FIELDS - _OF_THE_SERVICE:
        raise ValueError(f"a message has no field {min(unknown)!r}")
    role = document.get("role", "user")
    if role not in {"system", "user", "assistant", "tool"}:
        raise ValueError(f"a role is system, user, assistant or tool, not {role!r}")
    metadata = document.get("metadata", {})
    if not isinstance(metadata, dict):
        raise TypeError("metadata is an object of texts")
    return Message(
        role=role,
        text=_text(document, "text") or _text(document, "content"),
        parts=tuple(map(_part_of, _objects(document, "parts"))),
        name=_text(document, "name"),
        tool_calls=tuple(map(_tool_call_of, _objects(document, "tool_calls"))),
        tool_call_id=_text(document, "tool_call_id"),
        metadata={name: _text(metadata, name) for name in metadata},
    )


def _part_document(part: TextPart | ImagePart | FilePart) -> dict[str, object]:
    match part:
        case TextPart(text):
            return {"text": text}
        case ImagePart(url):
            return {"image_url": url}
        case FilePart(name, media_type, data):
            encoded = base64.b64encode(data).decode()
            return {"file": {"name": name, "media_type": media_type, "data": encoded}}


def _part_of(document: dict[str, Any]) -> TextPart | ImagePart | FilePart:
    match document:
        case {"text": str(text)} if len(document) == 1:
            return TextPart(text)
        case {"image_url": str(url)} if len(document) == 1:
            return ImagePart(url)
        case {"file": {"media_type": str(media_type), "data": str(data)} as file}:
            try:
                return FilePart(
                    _text(file, "name"), media_type, base64.b64decode(data, validate=True)
                )
            except binascii.Error:
                raise ValueError("a file's data is in base64") from None
    raise ValueError('a part is {"text": …}, {"image_url": …} or {"file": {…}}')


def _tool_call_of(document: dict[str, Any]) -> ToolCall:
    arguments = _text(document, "arguments_json") or "{}"
    return ToolCall(_text(document, "id"), _text(document, "name"), arguments)


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name, "")
    if not isinstance(value, str):
        raise TypeError(f"{name} is a text")
    value.encode()  # refuses half of a surrogate pair, which JSON can hold and the wire cannot
    return value


def _objects(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    values = document.get(name, [])
    if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
        raise TypeError(f"{name} is a list of objects")
    return values
