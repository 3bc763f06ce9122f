"""The wire's messages ↔ the domain's."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server import commands
from turnkeep_server.commands import (
    Claim,
    ConflictPolicy,
    ContextPolicy,
    ModelOptions,
    fingerprint,
)
from turnkeep_server.conversations import Finished, Preview, Started, StreamEvent
from turnkeep_server.history.contract import Cleared
from turnkeep_server.listing import MessagePage, SessionPage
from turnkeep_server.request_limits import Limits
from turnkeep_server.turns import (
    ContentPart,
    ContextReport,
    FilePart,
    FinishReason,
    ImagePart,
    Message,
    Role,
    SessionKey,
    SessionSummary,
    TextPart,
    ToolCall,
    Turn,
    TurnStatus,
    Usage,
)

# --- wire → domain; the wire's message has been validated ---------------------------------------


def session_key(
    tenant: str,
    request: pb.ChatRequest
    | pb.AddMessagesRequest
    | pb.ClearSessionRequest
    | pb.ListMessagesRequest,
) -> SessionKey:
    """The session that a request names, within the caller's tenant."""
    return SessionKey(tenant, request.user_id, request.session_id)


def chat_of(tenant: str, request: pb.ChatRequest) -> commands.Chat:
    """The turn to run. Its fingerprint is over all that the model's answer depends on."""
    question = (
        _message_of(request.message)
        if request.WhichOneof("input") == "message"
        else Message(role=Role.USER, text=request.text)
    )
    options = _options_of(request.options)
    context = _context_policy_of(request.context)
    variables = dict(request.variables)
    said: list[object] = [question, request.prompt or "default", variables, options]
    said.append(context.max_messages)
    if context.max_input_tokens is not None:
        said.append(context.max_input_tokens)
    return commands.Chat(
        session=session_key(tenant, request),
        question=question,
        claim=_claim_of(request, "chat", *said),
        prompt=request.prompt,
        variables=variables,
        options=options,
        context=context,
    )


def add_messages_of(tenant: str, request: pb.AddMessagesRequest) -> commands.AddMessages:
    """The messages to append."""
    messages = tuple(_message_of(each) for each in request.messages)
    return commands.AddMessages(
        session=session_key(tenant, request),
        messages=messages,
        claim=_claim_of(request, "add", *messages),
    )


def list_messages_of(
    tenant: str, request: pb.ListMessagesRequest, limits: Limits
) -> commands.ListMessages:
    """The page of messages to list."""
    return commands.ListMessages(
        session=session_key(tenant, request),
        page_size=_page_size(request.page_size, limits),
        page_token=request.page_token,
        newest_first=request.order == pb.ORDER_NEWEST_FIRST,
        include_unfinished=request.include_unfinished,
    )


def list_sessions_of(
    tenant: str, request: pb.ListSessionsRequest, limits: Limits
) -> commands.ListSessions:
    """The page of sessions to list."""
    return commands.ListSessions(
        tenant=tenant,
        user_id=request.user_id,
        page_size=_page_size(request.page_size, limits),
        page_token=request.page_token,
    )


def _page_size(asked: int, limits: Limits) -> int:
    return min(asked or limits.default_page_size, limits.max_page_size)


def _claim_of(request: pb.ChatRequest | pb.AddMessagesRequest, kind: str, *said: object) -> Claim:
    rejects = request.on_conflict == pb.CONFLICT_POLICY_REJECT
    return Claim(
        request_id=request.request_id,
        # Compared only between requests of one request_id.
        fingerprint=fingerprint(kind, *said) if request.request_id else "",
        on_conflict=ConflictPolicy.REJECT if rejects else ConflictPolicy.WAIT,
        expected_sequence=(
            request.expected_sequence if request.HasField("expected_sequence") else None
        ),
    )


def _context_policy_of(policy: pb.ContextPolicy) -> ContextPolicy:
    return ContextPolicy(**{field.name: value for field, value in policy.ListFields()})


def _options_of(options: pb.ModelOptions) -> ModelOptions:
    given = {field.name: value for field, value in options.ListFields() if field.name != "stop"}
    return ModelOptions(**given, stop=tuple(options.stop))


def _message_of(message: pb.Message) -> Message:
    role = message.role or pb.ROLE_USER
    return Message(
        role=Role(pb.Role.Name(role).removeprefix("ROLE_")),
        text=message.text,
        parts=tuple(_part_of(each) for each in message.parts),
        name=message.name,
        tool_calls=tuple(
            ToolCall(each.id, each.name, each.arguments_json or "{}") for each in message.tool_calls
        ),
        tool_call_id=message.tool_call_id,
        metadata=dict(message.metadata),
    )


def _part_of(part: pb.ContentPart) -> ContentPart:
    match part.WhichOneof("part"):
        case "image_url":
            return ImagePart(part.image_url)
        case "file":
            return FilePart(part.file.name, part.file.media_type, part.file.data)
        case _:
            return TextPart(part.text)


# --- domain → wire ------------------------------------------------------------------------------


def chat_response(finished: Finished) -> pb.ChatResponse:
    """The answer of a completed turn, the same at each replay but for `replayed`."""
    turn = finished.turn
    return pb.ChatResponse(
        message=message_in(turn, len(turn.messages) - 1),
        sequence=turn.sequence,
        finish_reason=_finish_reason(turn.finish_reason),
        usage=_usage(turn.usage),
        context=_context(turn.context),
        model=turn.model,
        replayed=finished.replayed,
    )


def stream_chat_response(event: StreamEvent) -> pb.StreamChatResponse:
    """One event of a streamed turn."""
    match event:
        case Started(turn):
            started = pb.Started(
                sequence=turn.sequence, model=turn.model, context=_context(turn.context)
            )
            return pb.StreamChatResponse(started=started)
        case Finished():
            return pb.StreamChatResponse(completed=chat_response(event))
        case text:
            return pb.StreamChatResponse(delta=pb.TextDelta(text=text))


def add_messages_response(finished: Finished) -> pb.AddMessagesResponse:
    """The appended turn."""
    turn = finished.turn
    return pb.AddMessagesResponse(
        messages=[message_in(turn, index) for index in range(len(turn.messages))],
        sequence=turn.sequence,
        replayed=finished.replayed,
    )


def clear_session_response(cleared: Cleared) -> pb.ClearSessionResponse:
    """What was forgotten."""
    return pb.ClearSessionResponse(cleared_messages=cleared.messages, cleared_turns=cleared.turns)


def list_messages_response(page: MessagePage) -> pb.ListMessagesResponse:
    """A page of messages."""
    messages = [message_in(each.turn, each.index) for each in page.messages]
    return pb.ListMessagesResponse(messages=messages, next_page_token=page.next_page_token)


def list_sessions_response(page: SessionPage) -> pb.ListSessionsResponse:
    """A page of sessions."""
    sessions = [_session(each) for each in page.sessions]
    return pb.ListSessionsResponse(sessions=sessions, next_page_token=page.next_page_token)


def preview_context_response(preview: Preview) -> pb.PreviewContextResponse:
    """What would be sent."""
    return pb.PreviewContextResponse(
        context=_context(preview.report),
        messages=[said(each) for each in preview.messages],
        model=preview.model,
    )


def message_in(turn: Turn, index: int) -> pb.Message:
    """A stored message. Its id is its turn's and its index there: unique, and kept nowhere."""
    message = said(turn.messages[index])
    message.id = f"{turn.id}-{index}"
    message.sequence = turn.sequence
    message.status = _status(turn.status)
    message.create_time.CopyFrom(_timestamp(turn.messages[index].created_at or turn.created_at))
    return message


def said(message: Message) -> pb.Message:
    """A message as the wire has it, but for what says where it is stored."""
    return pb.Message(
        role=pb.Role.Value(f"ROLE_{message.role}"),
        text=message.text,
        parts=[_part(each) for each in message.parts],
        name=message.name,
        tool_calls=[
            pb.ToolCall(id=each.id, name=each.name, arguments_json=each.arguments_json)
            for each in message.tool_calls
        ],
        tool_call_id=message.tool_call_id,
        metadata=dict(message.metadata),
    )


def _part(part: ContentPart) -> pb.ContentPart:
    match part:
        case TextPart(text):
            return pb.ContentPart(text=text)
        case ImagePart(url):
            return pb.ContentPart(image_url=url)
        case FilePart(name, media_type, data):
            return pb.ContentPart(file=pb.File(name=name, media_type=media_type, data=data))


def _session(summary: SessionSummary) -> pb.Session:
    return pb.Session(
        session_id=summary.session.session_id,
        user_id=summary.session.user_id,
        last_sequence=summary.last_sequence,
        message_count=summary.message_count,
        create_time=_timestamp(summary.created_at),
        update_time=_timestamp(summary.updated_at),
    )


def _status(status: TurnStatus) -> pb.TurnStatus.ValueType:
    return pb.TurnStatus.Value(f"TURN_STATUS_{status}")


def _finish_reason(reason: FinishReason) -> pb.FinishReason.ValueType:
    return pb.FinishReason.Value(f"FINISH_REASON_{reason}")


def _usage(usage: Usage) -> pb.Usage:
    return pb.Usage(**{name: getattr(usage, name) for name in usage.__slots__})


def _context(report: ContextReport) -> pb.ContextReport:
    return pb.ContextReport(**{name: getattr(report, name) for name in report.__slots__})


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
