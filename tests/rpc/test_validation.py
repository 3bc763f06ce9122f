"""Requests that break the contract: every bad field is named, at once, before anything happens."""

from collections.abc import Awaitable, Callable

import grpc
import pytest

from tests.kit.openai_stub import OpenAIStub
from tests.kit.status import CallError, error_of
from tests.rpc.session import Session, message, new_id
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
MAX_STATUS_BYTES = 6 * 1024

BAD_IDS = ["a b", "a\tb", "a\nb", "\x00", "\x7f", "имя", "é", "🌧", "x" * 129]
# Each gives one bad field to a request that is otherwise good.
BAD_CHATS: dict[str, tuple[dict[str, object], str]] = {
    "no-session": ({"session_id": ""}, "session_id"),
    "long-request-id": ({"request_id": "x" * 65}, "request_id"),
    "request-id-with-space": ({"request_id": "a b"}, "request_id"),
    "no-input": ({"text": None}, "input"),
    "empty-text": ({"text": ""}, "text"),
    "long-text": ({"text": "я" * 65_537}, "text"),
    "empty-message": ({"message": pb.Message()}, "message.text"),
    "system-question": ({"message": message("system", "да")}, "message.role"),
    "assistant-question": ({"message": message("assistant", "да")}, "message.role"),
    "unknown-role": ({"message": pb.Message(role=9, text="да")}, "message.role"),
    "tool-without-call": ({"message": message("tool", "да")}, "message.tool_call_id"),
    "call-without-tool": (
        {"message": pb.Message(text="да", tool_call_id="x")},
        "message.tool_call_id",
    ),
    "text-and-parts": (
        {"message": pb.Message(text="да", parts=[pb.ContentPart(text="нет")])},
        "message.parts",
    ),
    "empty-part": ({"message": pb.Message(parts=[pb.ContentPart()])}, "message.parts[0]"),
    "image-of-ftp": (
        {"message": pb.Message(parts=[pb.ContentPart(image_url="ftp://x")])},
        "message.parts[0].image_url",
    ),
    "file-without-type": (
        {"message": pb.Message(parts=[pb.ContentPart(file=pb.File(data=b"x"))])},
        "message.parts[0].file.media_type",
    ),
    "too-many-labels": (
        {"message": pb.Message(text="да", metadata={str(n): "" for n in range(33)})},
        "message.metadata",
    ),
    "unknown-policy": ({"on_conflict": 7}, "on_conflict"),
    "negative-sequence": ({"expected_sequence": -1}, "expected_sequence"),
    "33-variables": ({"variables": {str(n): "x" for n in range(33)}}, "variables"),
    "long-variable": ({"variables": {"a": "я" * 2048}}, "variables"),
    "hot": ({"options": pb.ModelOptions(temperature=2.1)}, "options.temperature"),
    "cold": ({"options": pb.ModelOptions(temperature=-0.1)}, "options.temperature"),
    "nan": ({"options": pb.ModelOptions(temperature=float("nan"))}, "options.temperature"),
    "infinite": ({"options": pb.ModelOptions(temperature=float("inf"))}, "options.temperature"),
    "nan-top-p": ({"options": pb.ModelOptions(top_p=float("nan"))}, "options.top_p"),
    "no-top-p": ({"options": pb.ModelOptions(top_p=0)}, "options.top_p"),
    "no-output": ({"options": pb.ModelOptions(max_output_tokens=0)}, "options.max_output_tokens"),
    "five-stops": ({"options": pb.ModelOptions(stop=list("abcde"))}, "options.stop"),
    "empty-stop": ({"options": pb.ModelOptions(stop=[""])}, "options.stop"),
    "negative-window": ({"context": pb.ContextPolicy(max_messages=-1)}, "context.max_messages"),
    "large-window": ({"context": pb.ContextPolicy(max_messages=1001)}, "context.max_messages"),
    "token-budget": ({"context": pb.ContextPolicy(max_input_tokens=0)}, "context.max_input_tokens"),
}


def _check(error: CallError, *fields: str) -> None:
    assert error.what == INVALID
    assert error.domain == "turnkeep.v1"
    assert sorted(error.bad_fields) == sorted(fields)
    assert all(error.bad_fields.values())
    assert len(error.encoded) < MAX_STATUS_BYTES


async def _send(session: Session, streams: bool, request: pb.ChatRequest) -> object:
    if streams:
        return [event async for event in session.turnkeep.StreamChat(request, timeout=5)]
    return await session.turnkeep.Chat(request, timeout=5)


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize(("bad", "field"), BAD_CHATS.values(), ids=BAD_CHATS)
async def test_a_bad_field_is_named(
    session: Session, model: OpenAIStub, bad: dict[str, object], field: str, streams: bool
) -> None:
    """INVALID_ARGUMENT with its path; nothing is stored and no model asked."""
    fields = {"session_id": session.id, "user_id": session.user_id, "text": "да", **bad}
    if "message" in bad:
        del fields["text"]
    _check(await error_of(_send(session, streams, pb.ChatRequest(**fields))), field)

    assert await session.everything() == []
    assert not model.calls


@pytest.mark.parametrize("bad", BAD_IDS, ids=ascii)
async def test_ids_are_printable_ascii(session: Session, bad: str) -> None:
    """Every method refuses a session_id and a user_id that are not, and names both."""
    api, ids = session.turnkeep, {"session_id": bad, "user_id": bad}
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: api.Chat(pb.ChatRequest(**ids, text="да")),
        lambda: _send(session, True, pb.ChatRequest(**ids, text="да")),
        lambda: api.AddMessages(pb.AddMessagesRequest(**ids, messages=[message("user", "да")])),
        lambda: api.ClearSession(pb.ClearSessionRequest(**ids)),
        lambda: api.ListMessages(pb.ListMessagesRequest(**ids)),
    ]
    for call in calls:
        _check(await error_of(call()), "session_id", "user_id")
    _check(await error_of(api.ListSessions(pb.ListSessionsRequest(user_id=bad))), "user_id")


async def test_ids_as_long_as_allowed_are_taken(session: Session) -> None:
    """128 characters of every kind that is printable, 64 of a request_id."""
    printable = "".join(map(chr, range(0x21, 0x7F)))
    longest = new_id()[-34:] + printable
    assert len(longest) == 128
    wide = Session(session.turnkeep, longest, user_id=longest)
    answer = await wide.chat("я" * 65_536, request_id=printable[:64])

    assert (answer.sequence, len(await wide.messages())) == (1, 2)


async def test_every_bad_field_is_named_at_once(session: Session) -> None:
    """One answer tells all that is to be mended."""
    bad = pb.ChatRequest(
        session_id="a b",
        user_id="имя",
        request_id="x" * 65,
        message=pb.Message(role=9, parts=[pb.ContentPart()], name="я" * 129),
        prompt="мой промпт",
        variables={str(n): "" for n in range(33)},
        options=pb.ModelOptions(temperature=3, top_p=2, max_output_tokens=-1, stop=[""]),
        context=pb.ContextPolicy(max_messages=-1, max_input_tokens=-5),
        on_conflict=9,
        expected_sequence=-1,
    )
    options = ("temperature", "top_p", "max_output_tokens", "stop")
    _check(
        await error_of(session.turnkeep.Chat(bad)),
        *("session_id", "user_id", "request_id", "prompt", "variables"),
        *("message.role", "message.parts[0]", "message.name"),
        *(f"options.{name}" for name in options),
        *("context.max_messages", "context.max_input_tokens"),
        *("on_conflict", "expected_sequence"),
    )


async def test_a_status_stays_small_however_much_is_bad(session: Session) -> None:
    """500 bad messages: as many are named as fit into 6 KiB."""
    error = await error_of(session.add(*[message("tool", "", name="я" * 129)] * 500))

    assert error.what == INVALID
    assert 20 < len(error.bad_fields) < 500
    assert len(error.encoded) < MAX_STATUS_BYTES


async def test_an_unknown_order_is_refused(session: Session) -> None:
    """Enum values from a later contract are not guessed at."""
    _check(await error_of(session.page(order=5)), "order")
