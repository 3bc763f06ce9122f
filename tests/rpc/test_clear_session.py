"""ClearSession: a session forgotten at once, even while a turn runs in it."""

import asyncio

import grpc
import pytest

from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.status import error_of
from tests.rpc.session import SYSTEM, Session, kinds, message, new_id, texts

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLEARED = (grpc.StatusCode.ABORTED, "SESSION_CLEARED")


async def test_clearing_counts_what_was_forgotten(session: Session, model: OpenAIStub) -> None:
    """Messages and turns are counted, those of unfinished turns included."""
    await session.chat("раз")
    await session.add(message("user", "два"), message("assistant", "три"), message("user", "4"))
    model.faults.append(Fault.QUOTA)
    await error_of(session.chat("пять"))

    assert await session.clear() == (6, 3)
    assert await session.everything() == []


async def test_clearing_twice_is_clearing_once(session: Session) -> None:
    """A second clear finds nothing, and neither does the clear of an unknown session."""
    assert await session.clear() == (0, 0)
    await session.chat("раз")
    assert await session.clear() == (2, 1)
    assert await session.clear() == (0, 0)
    assert await session.everything() == []


async def test_a_cleared_session_starts_anew(session: Session, model: OpenAIStub) -> None:
    """The model hears nothing from before; sequences go on and never back."""
    await session.chat("Меня зовут Виктор")
    before = (await session.chat("Запомни")).sequence
    await session.clear()
    answer = await session.chat("Как меня зовут?")

    assert model.inputs[2] == [SYSTEM, ("user", "Как меня зовут?")]
    assert answer.sequence > before
    assert (answer.context.included_messages, answer.context.omitted_messages) == (0, 0)
    assert (await session.messages())[0].text == "Как меня зовут?"
    assert await session.clear() == (2, 1)


async def test_a_clear_leaves_other_sessions_alone(session: Session) -> None:
    """The same session_id of another user is another session."""
    other = Session(session.turnkeep, session.id, user_id="user-2")
    await session.chat("моё")
    await other.chat("чужое")
    await session.clear()

    assert len(await other.messages()) == 2


async def test_a_clear_frees_request_ids(session: Session) -> None:
    """A request_id from before the clear is a new request, of any content."""
    request_id = new_id("r")
    await session.chat("раз", request_id=request_id)
    await session.clear()
    answer = await session.chat("два", request_id=request_id)

    assert (answer.replayed, answer.message.text) == (False, "reply to: два")


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_turn_that_runs_through_a_clear_is_forgotten_too(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """The clear does not wait; the turn ends ABORTED, nothing of it comes back, life goes on."""
    before = (await session.chat("до")).sequence
    answer = asyncio.Event()
    model.gate = lambda _: answer.wait()
    events: list = []
    call = session.streamed("во время", into=events) if streams else session.chat("во время")
    running = asyncio.create_task(error_of(call))
    await model.arrived(2)

    async with asyncio.timeout(5):
        assert await session.clear() == (3, 2)
    assert await session.everything() == []
    model.gate = None
    answer.set()
    assert (await running).what == CLEARED
    assert "completed" not in kinds(events)
    assert await session.everything() == []

    after = await session.chat("после")
    assert after.sequence > before + 1
    assert model.inputs[-1] == [SYSTEM, ("user", "после")]
    assert [text for _, text in texts(await session.everything())] == ["после", "reply to: после"]


async def test_a_request_that_waited_through_a_clear_runs_on_the_empty_session(
    session: Session, model: OpenAIStub
) -> None:
    """What was queued behind the forgotten turn sees the session as it is then."""
    answer = asyncio.Event()
    model.gate = lambda _: answer.wait()
    running = asyncio.create_task(error_of(session.chat("первый")))
    await model.arrived(1)
    waiting = asyncio.create_task(session.chat("второй"))
    await asyncio.sleep(0.05)
    await session.clear()
    answer.set()

    assert (await running).what == CLEARED
    assert (await waiting).message.text == "reply to: второй"
    assert model.inputs[1] == [SYSTEM, ("user", "второй")]


async def test_clears_and_turns_at_once_leave_a_whole_session(session: Session) -> None:
    """Whatever order they take: no half turns, no doubled sequences, nothing before a clear."""

    async def turns(number: int) -> None:
        for each in range(5):
            await session.add(message("user", f"{number}.{each}"), message("assistant", "да"))

    async def clears() -> None:
        for _ in range(10):
            await session.clear()

    await asyncio.gather(clears(), *(turns(number) for number in range(4)))
    left = await session.messages()
    counted = await session.clear()

    assert counted == (len(left), len(left) // 2)
    assert [each.sequence for each in left[::2]] == [each.sequence for each in left[1::2]]
    assert len({each.sequence for each in left}) == len(left) // 2
