"""Bytes that are no protobuf message."""

import random
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError

from tests.kit.server_process import ServerProcess
from tests.kit.status import CallError, error_of
from tests.rpc.session import Session
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVICE = "/turnkeep.v1.ConversationService/"
REQUESTS = {
    "Chat": pb.ChatRequest,
    "StreamChat": pb.ChatRequest,
    "AddMessages": pb.AddMessagesRequest,
    "ClearSession": pb.ClearSessionRequest,
    "ListMessages": pb.ListMessagesRequest,
    "ListSessions": pb.ListSessionsRequest,
}
MALFORMED = (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")
INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


def _random_bytes() -> list[bytes]:
    source = random.Random(20261122)
    return [source.randbytes(source.randint(1, 200)) for _ in range(100)]


def _parses(kind: Any, data: bytes) -> bool:
    try:
        kind.FromString(data)
    except DecodeError:
        return False
    return True


async def _send(channel: grpc.aio.Channel, method: str, data: bytes) -> CallError | None:
    """The error of a call with these very bytes as its request; None if there was none."""
    kind = channel.unary_stream if method == "StreamChat" else channel.unary_unary
    call = kind(SERVICE + method)(data, timeout=5)
    try:
        return await error_of(_drained(call) if method == "StreamChat" else call)
    except AssertionError:
        return None


async def _drained(call: Any) -> list[bytes]:
    return [event async for event in call]


@pytest.mark.parametrize("method", ["Chat", "StreamChat"])
async def test_random_bytes_are_an_invalid_argument(
    server: ServerProcess, session: Session, method: str
) -> None:
    """100 of 100: MALFORMED_MESSAGE, or INVALID_REQUEST where they happen to parse."""
    channel, _ = server.stub()
    for data in _random_bytes():
        error = await _send(channel, method, data)
        expected = INVALID if _parses(pb.ChatRequest, data) else MALFORMED
        assert error is not None
        assert error.what == expected
        assert b"Traceback" not in error.encoded
        assert "Error" not in error.message

    assert (await session.chat("Ещё тут?")).sequence == 1


@pytest.mark.parametrize("method", REQUESTS)
async def test_no_bytes_make_the_server_fail(server: ServerProcess, method: str) -> None:
    """Whatever comes, the answer is good or says what is wrong with the request."""
    channel, _ = server.stub()
    for data in [*_random_bytes()[:40], b"", b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x01\xff"]:
        error = await _send(channel, method, data)
        assert error is None or error.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", REQUESTS)
async def test_text_that_is_no_unicode_is_malformed(server: ServerProcess, method: str) -> None:
    """A string field of bytes that are no UTF-8 is refused, as protobuf demands."""
    error = await _send(server.stub()[0], method, b"\x0a\x02\xc3\x28")

    assert error is not None
    assert error.what == MALFORMED


async def test_a_message_over_the_limit_is_refused(session: Session) -> None:
    """By validation, which names it; past 8 MiB by gRPC itself, and the server lives on."""
    error = await error_of(session.chat("a" * (4 * 2**20 + 1)))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")

    error = await error_of(session.chat("a" * (8 * 2**20 + 1)))
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await session.chat("Ещё тут?")).sequence == 1


async def test_an_unknown_method_is_unimplemented(server: ServerProcess) -> None:
    """A method of a later contract is UNIMPLEMENTED, not an error of the server."""
    error = await _send(server.stub()[0], "Summarize", b"")

    assert error is not None
    assert error.code is grpc.StatusCode.UNIMPLEMENTED
