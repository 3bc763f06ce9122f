"""The client's plain data ↔ the wire's messages."""

from datetime import UTC, datetime
from typing import cast

from google.protobuf.timestamp_pb2 import Timestamp

from turnkeep import messages as m
from turnkeep.v1 import conversation_pb2 as pb

# --- to the wire --------------------------------------------------------------------------------


def message_to_wire(message: m.Message) -> pb.Message:
    """A message as the service takes it. Raises ValueError for a role that it does not have."""
    return pb.Message(
        role=_role(message.role),
        text=message.text,
        parts=[_part_to_wire(each) for each in message.parts],
        name=message.name,
        tool_calls=[
            pb.ToolCall(id=each.id, name=each.name, arguments_json=each.arguments_json)
            for each in message.tool_calls
        ],
        tool_call_id=message.tool_call_id,
        metadata=message.metadata,
    )


def _role(name: str) -> pb.Role.ValueType:
    if name not in {"system", "user", "assistant", "tool"}:
        raise ValueError(f"a role is system, user, assistant or tool, not {name!r}")
    return pb.Role.Value(f"ROLE_{name.upper()}")


def _part_to_wire(part: m.ContentPart) -> pb.ContentPart:
    match part:
        case m.TextPart(text):
            return pb.ContentPart(text=text)
        case m.ImagePart(url):
            return pb.ContentPart(image_url=url)
        case m.FilePart(name, media_type, data):
            return pb.ContentPart(file=pb.File(name=name, media_type=media_type, data=data))


# --- from the wire ------------------------------------------------------------------------------


def message_from_wire(message: pb.Message) -> m.Message:
    """A message as the service gave it."""
    return m.Message(
        role=cast(m.Role, _word(pb.Role, message.role, "ROLE_")),
        text=message.text,
        parts=tuple(map(_part_from_wire, message.parts)),
        name=message.name,
        tool_calls=tuple(
            m.ToolCall(each.id, each.name, each.arguments_json) for each in message.tool_calls
        ),
        tool_call_id=message.tool_call_id,
        metadata=dict(message.metadata),
        id=message.id,
        sequence=message.sequence,
        status=cast(m.TurnStatus, _word(pb.TurnStatus, message.status, "TURN_STATUS_")),
        create_time=_time(message.create_time) if message.HasField("create_time") else None,
    )


def _part_from_wire(part: pb.ContentPart) -> m.ContentPart:
    match part.WhichOneof("part"):
        case "image_url":
            return m.ImagePart(part.image_url)
        case "file":
            return m.FilePart(part.file.name, part.file.media_type, part.file.data)
        case _:
            return m.TextPart(part.text)


def reply_from_wire(answer: pb.ChatResponse, request_id: str) -> m.Reply:
    """A completed turn's answer."""
    return m.Reply(
        message=message_from_wire(answer.message),
        sequence=answer.sequence,
        finish_reason=cast(
            m.FinishReason, _word(pb.FinishReason, answer.finish_reason, "FINISH_REASON_")
        ),
        usage=_usage(answer.usage),
        context=_context(answer.context),
        model=answer.model,
        replayed=answer.replayed,
        request_id=request_id,
    )


def started_from_wire(event: pb.Started) -> m.Started:
    """A streamed turn's first event."""
    return m.Started(event.sequence, event.model, _context(event.context))


def added_from_wire(answer: pb.AddMessagesResponse, request_id: str) -> m.Added:
    """An appended turn."""
    messages = tuple(map(message_from_wire, answer.messages))
    return m.Added(messages, answer.sequence, answer.replayed, request_id)


def cleared_from_wire(answer: pb.ClearSessionResponse) -> m.Cleared:
    """What was forgotten."""
    return m.Cleared(answer.cleared_messages, answer.cleared_turns)


def preview_from_wire(answer: pb.PreviewContextResponse) -> m.Preview:
    """What would be sent."""
    messages = tuple(map(message_from_wire, answer.messages))
    return m.Preview(messages, _context(answer.context), answer.model)


def session_from_wire(session: pb.Session) -> m.SessionInfo:
    """A session as it is listed."""
    return m.SessionInfo(
        session_id=session.session_id,
        user_id=session.user_id,
        last_sequence=session.last_sequence,
        message_count=session.message_count,
        create_time=_time(session.create_time),
        update_time=_time(session.update_time),
    )


def _word(enum: object, value: int, prefix: str) -> str:
    """An enumeration's value as a word; "unspecified" for one of a newer contract than this."""
    known = enum.DESCRIPTOR.values_by_number  # type: ignore[attr-defined]
    name = known[value].name if value in known else "unspecified"
    return str(name).removeprefix(prefix).lower()


def _usage(usage: pb.Usage) -> m.Usage:
    return m.Usage(**{name: getattr(usage, name) for name in m.Usage.__slots__})


def _context(report: pb.ContextReport) -> m.ContextReport:
    return m.ContextReport(**{name: getattr(report, name) for name in m.ContextReport.__slots__})


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
