"""What bytes are thrown at, in this process: each target takes any bytes and must not raise.

A target tells what became of its input in one word, so that a run shows how much got how far. What
may be raised by design is caught here, by its exact type; anything else is a crash.
"""

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, cast

import bson
from google.protobuf.message import DecodeError, Message

from tests.fuzz import model
from tests.fuzz.conversions import check_chat, check_messages
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server import commands, wire
from turnkeep_server import validation as valid
from turnkeep_server.errors import InvalidRequest, MissingVariable, SettingsError, UnknownPrompt
from turnkeep_server.interceptors.errors import MAX_STATUS_BYTES, status_of
from turnkeep_server.paging import page_token, position_in
from turnkeep_server.prompts import DEFAULT, Prompts, parse_prompt
from turnkeep_server.request_limits import Limits
from turnkeep_server.server_sent_events import EventData

__all__ = ["KINDS", "TARGETS"]

Target = Callable[[bytes], str]

_SERVICE = pb.DESCRIPTOR.services_by_name["ConversationService"]
KINDS: tuple[type[Message], ...] = tuple(
    getattr(pb, name) for name in sorted({each.input_type.name for each in _SERVICE.methods})
)
"""The requests of all RPCs. An input's first byte says which one the rest of it is to be."""
_VIOLATIONS: dict[str, Callable[[Any, Limits], valid.Violations]] = {
    "ChatRequest": valid.chat_violations,
    "AddMessagesRequest": valid.add_messages_violations,
    "ClearSessionRequest": valid.clear_session_violations,
    "ListMessagesRequest": valid.list_messages_violations,
    "ListSessionsRequest": valid.list_sessions_violations,
}
_LIMITS = Limits()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LISTING = ("tenant", "session", True)


def validation(data: bytes) -> str:
    """Decode and validate; a valid request becomes the domain's."""
    return _decoded(data)[0]


def conversions(data: bytes) -> str:
    """The same, and what the domain's becomes: LangChain's, the provider's JSON, BSON and back."""
    became, command = _decoded(data)
    match command:
        case commands.Chat():
            check_chat(command)
        case commands.AddMessages(messages=messages):
            check_messages(messages)
    return became


def _decoded(data: bytes) -> tuple[str, object]:
    """What became of a request's bytes, and the domain's command if they are a good one."""
    kind = KINDS[data[0] % len(KINDS)] if data else KINDS[0]
    try:
        request: Any = kind.FromString(data[1:])
    except DecodeError:
        return "malformed", None
    try:
        valid.check(_VIOLATIONS[kind.__name__](request, _LIMITS))
    except InvalidRequest as error:
        _check_status(error)
        return "refused", None
    match request:
        case pb.ChatRequest():
            return "accepted", wire.chat_of("tenant", request)
        case pb.AddMessagesRequest():
            return "accepted", wire.add_messages_of("tenant", request)
        case pb.ListMessagesRequest():
            return "accepted", wire.list_messages_of("tenant", request, _LIMITS)
        case pb.ListSessionsRequest():
            return "accepted", wire.list_sessions_of("tenant", request, _LIMITS)
    return "accepted", wire.session_key("tenant", request)


def page_tokens(data: bytes) -> str:
    """A page token: one that is none is refused; one that is taken names a place in BSON's range.

    A first byte under 128 has the rest be what a token holds, encoded as tokens are: by chance
    nobody meets the digest of a listing.
    """
    kinds = (int, int) if data[:1] < b"\x40" else (int, str)
    token = data[1:].decode(errors="replace")
    if data[:1] < b"\x80":
        token = page_token((1, token), *_LISTING) if len(data) % 2 else _holding(token)
    try:
        position = position_in(token, kinds, *_LISTING)
    except InvalidRequest as error:
        _check_status(error)
        return "refused"
    if position is not None:
        bson.encode({"after": position, "at": _EPOCH + position[0] * timedelta(milliseconds=1)})
    return "accepted"


def _holding(inside: str) -> str:
    """A token of this listing with JSON of a stranger's in the place of the position."""
    real = base64.urlsafe_b64decode(page_token((), *_LISTING) + "==").decode()
    return base64.urlsafe_b64encode(f"{real[:-1]},{inside}]".encode()).decode().rstrip("=")


def prompts(data: bytes) -> str:
    """An operator's template, split from a caller's variables at the first NUL."""
    template, _, rest = data.decode(errors="replace").partition("\0")
    names = rest.split("\0")
    variables = dict(zip(names[::2], names[1::2], strict=False))
    try:
        prompt = parse_prompt(DEFAULT, template)
    except SettingsError:
        return "refused"
    try:
        picked, values = Prompts({DEFAULT: prompt}).pick("", variables)
    except (MissingVariable, UnknownPrompt) as error:
        _check_status(error)
        return "missing"
    model.filled(picked, values)
    return "accepted"


def events(data: bytes) -> str:
    """A stream of events, cut at random: the pieces say what the whole says."""
    whole, cut = EventData(), EventData()
    said = whole.feed(data)
    pieces = model.pieces_of(data)
    assert [each for piece in pieces for each in cut.feed(piece)] == said
    assert b"".join(pieces) == data
    return "events" if said else "nothing"


def answers(data: bytes) -> str:
    """A model's whole answer: a reply that can be kept and sent, or a model's error."""
    return _loop().run_until_complete(model.answered(data))


def streams(data: bytes) -> str:
    """The same for a stream, cut at random."""
    return _loop().run_until_complete(model.streamed(data))


def refusals(data: bytes) -> str:
    """A provider's refusal: any HTTP status, any headers, any body."""
    return model.refused(data)


TARGETS: dict[str, Target] = {
    each.__name__: each
    for each in (validation, conversions, page_tokens, prompts, events, answers, streams, refusals)
}


def _check_status(error: InvalidRequest | MissingVariable | UnknownPrompt) -> None:
    assert status_of(error).ByteSize() <= MAX_STATUS_BYTES + 128


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return cast(asyncio.AbstractEventLoop, asyncio.new_event_loop())
