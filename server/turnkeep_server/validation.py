"""Checks of requests against the wire contract: pure, and every bad field at once."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.commands import MAX_STOP_CHARS, MAX_STOPS, MAX_TEMPERATURE
from turnkeep_server.errors import FieldViolation, InvalidRequest
from turnkeep_server.prompts import RESERVED
from turnkeep_server.request_limits import Limits

_PRINTABLE = re.compile(r"[\x21-\x7e]*")
_MAX_NAME_CHARS = 128
_MAX_FILE_NAME_CHARS = 256
_CHAT_ROLES = {pb.ROLE_UNSPECIFIED, pb.ROLE_USER, pb.ROLE_TOOL}

Violations = Iterator[FieldViolation]


def check(violations: Iterable[FieldViolation]) -> None:
    """Raises InvalidRequest if there are any."""
    if found := list(violations):
        raise InvalidRequest(found)


def chat_violations(request: pb.ChatRequest, limits: Limits) -> Violations:
    """What is wrong with a ChatRequest."""
    yield from session_violations(request.session_id, request.user_id, limits)
    yield from _claim(request, limits)
    match request.WhichOneof("input"):
        case "text":
            yield from _text("text", request.text, limits, required=True)
        case "message":
            yield from message_violations("message", request.message, limits)
            if _says_nothing(request.message) and request.message.role != pb.ROLE_TOOL:
                yield FieldViolation("message.text", "is empty")
            if (size := request.message.ByteSize()) > limits.max_added_bytes:
                yield FieldViolation(
                    "message", f"has {size} bytes; at most {limits.max_added_bytes} are allowed"
                )
            if request.message.role not in _CHAT_ROLES and request.message.role in pb.Role.values():
                yield FieldViolation(
                    "message.role", "must be USER or TOOL; add others by AddMessages"
                )
        case None:
            yield FieldViolation("input", "is missing; set text or message")
    yield from _id("prompt", request.prompt, limits.max_id_chars, required=False)
    yield from _map("variables", request.variables, limits)
    for name in sorted(RESERVED & set(request.variables)):
        yield FieldViolation(f"variables[{name}]", "is the chain's own input; use another name")
    yield from _options(request.options)
    yield from _context(request.context, limits)


def add_messages_violations(request: pb.AddMessagesRequest, limits: Limits) -> Violations:
    """What is wrong with an AddMessagesRequest."""
    yield from session_violations(request.session_id, request.user_id, limits)
    yield from _claim(request, limits)
    count, size = len(request.messages), request.ByteSize()
    if not 1 <= count <= limits.max_added_messages:
        yield FieldViolation(
            "messages", f"has {count} messages; send 1 to {limits.max_added_messages} a request"
        )
    elif size > limits.max_added_bytes:
        yield FieldViolation(
            "messages", f"has {size} bytes; send at most {limits.max_added_bytes} a request"
        )
    else:
        for index, message in enumerate(request.messages):
            yield from message_violations(f"messages[{index}]", message, limits)


def clear_session_violations(request: pb.ClearSessionRequest, limits: Limits) -> Violations:
    """What is wrong with a ClearSessionRequest."""
    yield from session_violations(request.session_id, request.user_id, limits)


def list_messages_violations(request: pb.ListMessagesRequest, limits: Limits) -> Violations:
    """What is wrong with a ListMessagesRequest; its token is checked where it is used."""
    yield from session_violations(request.session_id, request.user_id, limits)
    yield from _page_size(request.page_size)
    yield from _enum("order", request.order, "Order")


def list_sessions_violations(request: pb.ListSessionsRequest, limits: Limits) -> Violations:
    """What is wrong with a ListSessionsRequest; its token is checked where it is used."""
    yield from _id("user_id", request.user_id, limits.max_id_chars, required=False)
    yield from _page_size(request.page_size)


def session_violations(session_id: str, user_id: str, limits: Limits) -> Violations:
    """What is wrong with the names of a session and its user."""
    yield from _id("session_id", session_id, limits.max_id_chars, required=True)
    yield from _id("user_id", user_id, limits.max_id_chars, required=False)


def _claim(request: pb.ChatRequest | pb.AddMessagesRequest, limits: Limits) -> Violations:
    yield from _id("request_id", request.request_id, limits.max_request_id_chars, required=False)
    yield from _enum("on_conflict", request.on_conflict, "ConflictPolicy")
    if request.expected_sequence < 0:
        yield FieldViolation("expected_sequence", "is negative; the first turn is 1, none is 0")


def _id(field: str, value: str, longest: int, *, required: bool) -> Violations:
    if required and not value:
        yield FieldViolation(field, "is missing")
    elif len(value) > longest:
        yield FieldViolation(field, f"has {len(value)} characters; at most {longest} are allowed")
    elif not _PRINTABLE.fullmatch(value):
        yield FieldViolation(field, "must be printable ASCII characters without a space")


def message_violations(field: str, message: pb.Message, limits: Limits) -> Violations:
    """What is wrong with a message to store; `field` is the path to it.

    It may say nothing at all: models do answer so, and histories from elsewhere hold that.
    """
    yield from _enum(f"{field}.role", message.role, "Role")
    yield from _content(field, message, limits)
    yield from _name(f"{field}.name", message.name, required=False)
    yield from _tools(field, message, limits)
    yield from _map(f"{field}.metadata", message.metadata, limits)


def _says_nothing(message: pb.Message) -> bool:
    return not (message.text or message.parts)


def _content(field: str, message: pb.Message, limits: Limits) -> Violations:
    yield from _text(f"{field}.text", message.text, limits, required=False)
    if message.text and message.parts:
        yield FieldViolation(f"{field}.parts", "cannot go with text; put the text into a part")
    if len(message.parts) > limits.max_parts:
        yield FieldViolation(f"{field}.parts", f"has over {limits.max_parts} parts")
        return
    for index, part in enumerate(message.parts):
        yield from _part(f"{field}.parts[{index}]", part, limits)


def _part(field: str, part: pb.ContentPart, limits: Limits) -> Violations:
    match part.WhichOneof("part"):
        case "text":
            yield from _text(f"{field}.text", part.text, limits, required=True)
        case "image_url":
            if not part.image_url.startswith(("https://", "http://", "data:")):
                yield FieldViolation(f"{field}.image_url", "must be an https:, http: or data: URL")
            if len(part.image_url.encode()) > limits.max_part_bytes:
                yield FieldViolation(f"{field}.image_url", f"is over {limits.max_part_bytes} bytes")
        case "file":
            if not re.fullmatch(r"[\w.+-]+/[\w.+-]+", part.file.media_type, re.ASCII):
                yield FieldViolation(f"{field}.file.media_type", "must be type/subtype")
            if len(part.file.name) > _MAX_FILE_NAME_CHARS:
                yield FieldViolation(
                    f"{field}.file.name", f"is over {_MAX_FILE_NAME_CHARS} characters"
                )
            if not 0 < len(part.file.data) <= limits.max_part_bytes:
                yield FieldViolation(
                    f"{field}.file.data", f"must be 1 to {limits.max_part_bytes} bytes"
                )
        case None:
            yield FieldViolation(field, "is empty; set text, image_url or file")


def _tools(field: str, message: pb.Message, limits: Limits) -> Violations:
    if message.role == pb.ROLE_TOOL:
        yield from _name(f"{field}.tool_call_id", message.tool_call_id, required=True)
    elif message.tool_call_id:
        yield FieldViolation(f"{field}.tool_call_id", "is only for the role TOOL")
    if message.tool_calls and message.role != pb.ROLE_ASSISTANT:
        yield FieldViolation(f"{field}.tool_calls", "are only for the role ASSISTANT")
    if len(message.tool_calls) > limits.max_tool_calls:
        yield FieldViolation(f"{field}.tool_calls", f"has over {limits.max_tool_calls} calls")
        return
    for index, call in enumerate(message.tool_calls):
        at = f"{field}.tool_calls[{index}]"
        yield from _name(f"{at}.id", call.id, required=True)
        yield from _name(f"{at}.name", call.name, required=True)
        yield from _arguments(f"{at}.arguments_json", call.arguments_json, limits)


def _arguments(field: str, text: str, limits: Limits) -> Violations:
    if len(text.encode()) > limits.max_tool_arguments_bytes:
        yield FieldViolation(field, f"is over {limits.max_tool_arguments_bytes} bytes")
        return
    try:
        arguments = json.loads(text or "{}")
        # An escaped half of a surrogate pair parses as JSON and is no text.
        json.dumps(arguments, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        yield FieldViolation(field, "must be a JSON object")


def _text(field: str, text: str, limits: Limits, *, required: bool) -> Violations:
    if required and not text:
        yield FieldViolation(field, "is empty")
    elif len(text) > limits.max_text_chars:
        yield FieldViolation(
            field, f"has {len(text)} code points; at most {limits.max_text_chars} are allowed"
        )
    elif len(text.encode()) > limits.max_text_bytes:
        yield FieldViolation(field, f"is over {limits.max_text_bytes} bytes")


def _name(field: str, name: str, *, required: bool) -> Violations:
    if required and not name:
        yield FieldViolation(field, "is missing")
    elif len(name) > _MAX_NAME_CHARS:
        yield FieldViolation(field, f"is over {_MAX_NAME_CHARS} code points")


def _map(field: str, entries: Mapping[str, str], limits: Limits) -> Violations:
    if len(entries) > limits.max_map_entries:
        yield FieldViolation(field, f"has over {limits.max_map_entries} entries")
    if any(
        len(k.encode()) + len(v.encode()) > limits.max_map_entry_bytes for k, v in entries.items()
    ):
        yield FieldViolation(field, f"has an entry over {limits.max_map_entry_bytes} bytes")


def _options(options: pb.ModelOptions) -> Violations:
    if options.HasField("model"):
        yield from _name("options.model", options.model, required=True)
    if not 0.0 <= options.temperature <= MAX_TEMPERATURE or math.isnan(options.temperature):
        yield FieldViolation("options.temperature", f"must be 0 to {MAX_TEMPERATURE:g}")
    if options.HasField("top_p") and not 0.0 < options.top_p <= 1.0:
        yield FieldViolation("options.top_p", "must be over 0, up to 1")
    if options.HasField("max_output_tokens") and options.max_output_tokens < 1:
        yield FieldViolation("options.max_output_tokens", "must be at least 1")
    if len(options.stop) > MAX_STOPS or not all(
        1 <= len(s) <= MAX_STOP_CHARS for s in options.stop
    ):
        yield FieldViolation(
            "options.stop",
            f"must be at most {MAX_STOPS} texts of 1 to {MAX_STOP_CHARS} code points",
        )


def _context(context: pb.ContextPolicy, limits: Limits) -> Violations:
    if context.HasField("max_input_tokens") and context.max_input_tokens < 1:
        yield FieldViolation("context.max_input_tokens", "must be at least 1")
    longest = limits.max_requested_context_messages
    if not 0 <= context.max_messages <= longest:
        yield FieldViolation("context.max_messages", f"must be 0 to {longest}")


def _page_size(page_size: int) -> Violations:
    if page_size < 0:
        yield FieldViolation("page_size", "is negative; 0 takes the default")


def _enum(field: str, value: int, enum: str) -> Violations:
    if value not in pb.DESCRIPTOR.enum_types_by_name[enum].values_by_number:
        yield FieldViolation(field, f"has the unknown value {value}")
