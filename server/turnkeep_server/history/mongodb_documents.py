"""Turns as MongoDB documents: one document a turn, typed sub-documents, never a JSON string."""

from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId

from turnkeep_server.turns import (
    ContentPart,
    ContextReport,
    FilePart,
    FinishReason,
    ImagePart,
    Message,
    Role,
    SessionKey,
    Summary,
    TextPart,
    TokenCounts,
    ToolCall,
    Turn,
    TurnStatus,
    Usage,
)

Document = dict[str, Any]


def key_fields(session: SessionKey) -> Document:
    """The fields that lead every index, so that the collection shards on them."""
    return {
        "tenant": session.tenant,
        "user_id": session.user_id,
        "session_id": session.session_id,
    }


def turn_document(session: SessionKey, turn: Turn) -> Document:
    """The whole document of a turn, but for its `_id` and its lease.

    `request_id` is left out when it is empty: the unique index is over documents that have one.
    """
    document = {
        **key_fields(session),
        "sequence": turn.sequence,
        "status": turn.status.value,
        "fingerprint": turn.fingerprint,
        "model": turn.model,
        "context": _fields(turn.context),
        "messages_before": turn.messages_before,
        "owner": turn.owner,
        "created_at": turn.created_at,
        **ending_fields(turn),
    }
    if turn.request_id:
        document["request_id"] = turn.request_id
    return document


def ending_fields(turn: Turn) -> Document:
    """The fields that change when a turn ends."""
    fields: Document = {
        "status": turn.status.value,
        "messages": [_message_document(each) for each in turn.messages],
        "usage": _fields(turn.usage),
        "finish_reason": turn.finish_reason.value,
        "failure": turn.failure,
        "completed_at": turn.completed_at,
    }
    return fields


def turn_of(document: Mapping[str, Any]) -> Turn:
    """The turn that a document holds."""
    return Turn(
        id=str(document["_id"]),
        sequence=document["sequence"],
        status=_STATUSES[document["status"]],
        messages=tuple(map(_message_of, document["messages"])),
        messages_before=document["messages_before"],
        created_at=document["created_at"],
        request_id=document.get("request_id", ""),
        fingerprint=document["fingerprint"],
        model=document["model"],
        context=ContextReport(**document["context"]),
        completed_at=document["completed_at"],
        finish_reason=_REASONS[document["finish_reason"]],
        usage=Usage(**document["usage"]),
        failure=document["failure"],
        owner=document["owner"],
        awaited_by=document.get("awaited_by", ""),
    )


def object_id(turn: Turn) -> ObjectId:
    """The `_id` of a turn's document."""
    return ObjectId(turn.id)


def summary_fields(summary: Summary) -> Document:
    """The fields that a summary adds to the turn it goes through."""
    pieces = [_message_document(each) for each in summary.pieces]
    return {"summary": {"pieces": pieces, "covers_messages": summary.covers_messages}}


def summary_of(document: Mapping[str, Any]) -> Summary | None:
    """The summary on a record; None on a tombstone, which remembers nothing."""
    kept = document["summary"]
    if not kept["pieces"]:
        return None
    return Summary(
        pieces=tuple(_message_of(each) for each in kept["pieces"]),
        through_sequence=document["sequence"],
        covers_messages=kept["covers_messages"],
    )


def _fields(value: Usage | ContextReport | TokenCounts) -> Document:
    return {name: getattr(value, name) for name in value.__slots__}


def _message_document(message: Message) -> Document:
    """Only what the message has: most have a role, a text and a time."""
    document: Document = {"role": message.role.value, "text": message.text}
    if message.parts:
        document["parts"] = [_part_document(each) for each in message.parts]
    if message.tool_calls:
        document["tool_calls"] = [
            {"id": each.id, "name": each.name, "arguments_json": each.arguments_json}
            for each in message.tool_calls
        ]
    if message.metadata:
        # A list of pairs: a caller's key may hold `$` or `.`, which no field's name should.
        document["metadata"] = [{"k": k, "v": v} for k, v in message.metadata.items()]
    if message.tokens:
        # Images are rare, and an estimate is there in every message.
        document["tokens"] = {name: n for name, n in _fields(message.tokens).items() if n}
    for name in ("name", "tool_call_id", "created_at"):
        if value := getattr(message, name):
            document[name] = value
    return document


def _message_of(document: Mapping[str, Any]) -> Message:
    """Forty times a turn, and most have a role, a text, a time and counts: those take no detour."""
    tokens = document.get("tokens")
    counts = TokenCounts(**tokens) if tokens is not None else None
    role, created_at = _ROLES[document["role"]], document.get("created_at")
    if len(document) == 4 and counts and created_at:
        return Message(role, document["text"], created_at=created_at, tokens=counts)
    return Message(
        role=role,
        text=document["text"],
        parts=tuple(_part_of(each) for each in document.get("parts", ())),
        name=document.get("name", ""),
        tool_calls=tuple(ToolCall(**each) for each in document.get("tool_calls", ())),
        tool_call_id=document.get("tool_call_id", ""),
        metadata={each["k"]: each["v"] for each in document.get("metadata", ())},
        created_at=created_at,
        tokens=counts,
    )


# An enum looks its members up with a call of Python's own.
_ROLES = {each.value: each for each in Role}
_STATUSES = {each.value: each for each in TurnStatus}
_REASONS = {each.value: each for each in FinishReason}


def _part_document(part: ContentPart) -> Document:
    match part:
        case TextPart(text):
            return {"kind": "text", "text": text}
        case ImagePart(url):
            return {"kind": "image", "url": url}
        case FilePart(name, media_type, data):
            return {"kind": "file", "name": name, "media_type": media_type, "data": data}


def _part_of(document: Mapping[str, Any]) -> ContentPart:
    match document["kind"]:
        case "text":
            return TextPart(document["text"])
        case "image":
            return ImagePart(document["url"])
        case "file":
            return FilePart(document["name"], document["media_type"], document["data"])
    raise ValueError(f"unknown kind of part: {document['kind']}")


def tombstone_document(session: SessionKey, sequence: int) -> Document:
    """The record of a clear: readers stop at it, and sequences go on from it.

    It bears an empty summary, so that whoever looks for the newest one does not look below it.
    """
    return {
        **key_fields(session),
        "sequence": sequence,
        "status": TurnStatus.CLEARED.value,
        **summary_fields(Summary((), sequence, 0)),
    }


def visible_turns(documents: Sequence[Mapping[str, Any]]) -> tuple[Turn, ...]:
    """The turns of documents that come newest first, up to the first tombstone."""
    turns: list[Turn] = []
    for document in documents:
        if document["status"] == TurnStatus.CLEARED.value:
            break
        turns.append(turn_of(document))
    return tuple(turns)
