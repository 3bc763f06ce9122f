"""What the server says of itself to a caller who asks: its version and its clock."""

import time

import grpc
import pytest

from tests.rpc.session import TIMEOUT_SECONDS, Session
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server import __version__

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASKS = (("turnkeep-about", "1"),)


async def test_a_caller_who_asks_is_told_version_and_clock(session: Session) -> None:
    """In the initial metadata; the clock is UTC, in milliseconds."""
    before_ms = time.time_ns() // 1_000_000
    call = session.turnkeep.StreamChat(
        session.request("Который час?"), timeout=TIMEOUT_SECONDS, metadata=ASKS
    )
    told = dict(await call.initial_metadata())
    after_ms = time.time_ns() // 1_000_000
    kinds = [event.WhichOneof("event") async for event in call]

    assert told["turnkeep-version"] == __version__
    assert before_ms <= int(told["turnkeep-clock-ms"]) <= after_ms
    assert kinds[-1] == "completed"


async def test_a_call_that_fails_tells_it_too(session: Session) -> None:
    """A caller who is refused is the one with a reason to ask."""
    call = session.turnkeep.Chat(pb.ChatRequest(), timeout=TIMEOUT_SECONDS, metadata=ASKS)
    told = dict(await call.initial_metadata())

    assert told["turnkeep-version"] == __version__
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_nobody_else_is_told(session: Session) -> None:
    """Calls that do not ask, or ask something else, carry no more than before."""
    for metadata in ((), (("turnkeep-about", "0"),)):
        call = session.turnkeep.Chat(
            session.request("你好"), timeout=TIMEOUT_SECONDS, metadata=metadata
        )
        assert (
            not {"turnkeep-version", "turnkeep-clock-ms"}
            & dict(await call.initial_metadata()).keys()
        )
        await call
