"""expected_sequence: a request that goes through only on the session that its caller knows."""

from collections.abc import Awaitable, Callable

import grpc
import pytest

from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.status import error_of
from tests.rpc.session import Session, message, new_id

pytestmark = pytest.mark.asyncio(loop_scope="session")

MISMATCH = (grpc.StatusCode.ABORTED, "SEQUENCE_MISMATCH")
Send = Callable[[Session, int], Awaitable[object]]
SENDS: dict[str, Send] = {
    "chat": lambda session, expected: session.chat("да", expected_sequence=expected),
    "stream": lambda session, expected: session.streamed("да", expected_sequence=expected),
    "add": lambda session, expected: session.add(message("user", "да"), expected_sequence=expected),
}
each_way = pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)


@each_way
async def test_a_caller_who_knows_the_last_turn_goes_through(session: Session, send: Send) -> None:
    """0 is an empty session; after that the last turn's sequence."""
    for last in range(3):
        await send(session, last)
    assert (await session.messages())[-1].sequence == 3


@each_way
@pytest.mark.parametrize("expected", [0, 1, 3, 2**62])
async def test_a_caller_who_does_not_is_told_the_current_one(
    session: Session, model: OpenAIStub, send: Send, expected: int
) -> None:
    """SEQUENCE_MISMATCH names the last turn; nothing is stored and no model asked."""
    await session.add(message("user", "раз"))
    await session.add(message("user", "два"))
    error = await error_of(send(session, expected))

    assert error.what == MISMATCH
    assert error.metadata["current_sequence"] == "2"
    assert len(await session.everything()) == 2
    assert not model.calls


@each_way
async def test_an_empty_session_is_at_zero(session: Session, send: Send) -> None:
    """A caller who knows turns of a session that has none is told 0."""
    error = await error_of(send(session, 5))

    assert error.what == MISMATCH
    assert error.metadata["current_sequence"] == "0"


@each_way
async def test_a_cleared_session_is_empty(session: Session, send: Send) -> None:
    """0 is right after a clear, whatever sequences the session has had."""
    await session.chat("раз")
    await session.chat("два")
    await session.clear()
    await send(session, 0)


@each_way
@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("cleared", [False, True], ids=["new", "cleared"])
async def test_a_failed_turn_does_not_move_the_session(
    session: Session, model: OpenAIStub, send: Send, turns: int, cleared: bool
) -> None:
    """The very same request goes through after its first try failed."""
    if cleared:
        await session.chat("до очистки")
        await session.clear()
    last = (await session.chat("раз")).sequence if turns else 0
    model.faults.append(Fault.QUOTA)
    await error_of(session.chat("да", expected_sequence=last))
    await send(session, last)


async def test_many_failed_turns_do_not_move_the_session_either(
    session: Session, model: OpenAIStub
) -> None:
    """A caller who tried all through the provider's outage still knows the last turn."""
    last = (await session.chat("раз")).sequence
    model.always(Fault.QUOTA)
    for _ in range(25):
        await error_of(session.chat("да", expected_sequence=last))
    model.heal()
    assert (await session.chat("да", expected_sequence=last)).message.text == "reply to: да"


@pytest.mark.parametrize("turns_since", [1, 30])
async def test_a_replay_does_not_look_at_the_sequence(session: Session, turns_since: int) -> None:
    """A completed request that is sent again, as it was, is replayed though the session went on."""
    request_id = new_id("r")
    first = {"request_id": request_id, "expected_sequence": 0}
    await session.add(message("user", "раз"), **first)
    for _ in range(turns_since):
        await session.add(message("user", "и ещё"))

    assert (await session.add(message("user", "раз"), **first)).replayed
