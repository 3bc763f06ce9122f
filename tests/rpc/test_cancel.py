"""A caller who hangs up: the model's call ends, what was said is kept, the session goes on."""

import asyncio
import time
from math import inf

import pytest

from tests.kit.openai_stub import OpenAIStub
from tests.rpc.session import SYSTEM, Session, joined, message, texts
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONGEST_SECONDS, TRIES = 0.05, 3  # the fastest try counts: a machine may stand still for a moment
QUESTION = "Расскажи длинную историю"


async def _cancelled_stream(session: Session, deltas: int) -> tuple[str, float]:
    """A stream cancelled after so many deltas: the text that came, and when it was cancelled."""
    call = session.stream(QUESTION)
    events = []
    async for event in call:
        events.append(event)
        if len(events) == 1 + deltas:
            break
    call.cancel()
    return joined(events), time.monotonic()


async def test_a_cancelled_stream_ends_the_models_call(session: Session, model: OpenAIStub) -> None:
    """The provider sees its connection closed within 50 ms."""
    model.delta_delay_seconds = 0.02
    took = []
    for n in range(TRIES):
        _, cancelled_at = await _cancelled_stream(session, 3)
        await model.calls[n].ended()
        assert not model.calls[n].finished
        took.append((model.calls[n].closed_at or inf) - cancelled_at)
    assert min(took) < LONGEST_SECONDS


async def test_the_text_of_a_cancelled_stream_is_kept(session: Session, model: OpenAIStub) -> None:
    """The turn is CANCELLED with the text that had come, listed with unfinished turns alone."""
    model.delta_delay_seconds = 0.05
    text, _ = await _cancelled_stream(session, 3)
    kept = await session.ended_turn()

    assert texts(kept) == [("user", QUESTION), ("assistant", text)]
    assert text == "reply to: Ра"
    assert {each.status for each in kept} == {pb.TURN_STATUS_CANCELLED}
    assert await session.messages() == []


async def test_the_next_turn_works_at_once_and_knows_nothing_of_it(
    session: Session, model: OpenAIStub
) -> None:
    """A cancelled turn frees its session at once and is not sent to the model."""
    model.delta_delay_seconds = 0.02
    _, cancelled_at = await _cancelled_stream(session, 3)
    model.delta_delay_seconds = 0
    answer = await session.chat("Короче")

    assert time.monotonic() - cancelled_at < 5
    assert answer.sequence == 2
    assert model.inputs[1] == [SYSTEM, ("user", "Короче")]
    assert answer.context.included_messages == 0


async def test_a_stream_cancelled_before_the_model_spoke_keeps_its_question(
    session: Session, model: OpenAIStub
) -> None:
    """Nothing had come, so there is no reply to keep; the question is."""
    model.delay_seconds = 60  # so that only a cancelled call ends in time
    call = session.stream(QUESTION)
    asked = await model.arrived(1)
    call.cancel()
    await asked.ended()

    assert texts(await session.ended_turn()) == [("user", QUESTION)]


async def test_a_cancelled_chat_ends_the_models_call(session: Session, model: OpenAIStub) -> None:
    """Unary calls are cancelled all the way down too; the turn is CANCELLED."""
    model.delay_seconds = 60  # so that only a cancelled call ends in time
    took = []
    for n in range(TRIES):
        call = asyncio.create_task(session.chat(QUESTION))
        await model.arrived(n + 1)
        cancelled_at = time.monotonic()
        call.cancel()
        await model.calls[n].ended()
        took.append((model.calls[n].closed_at or inf) - cancelled_at)
    assert min(took) < LONGEST_SECONDS
    kept = await session.ended_turn()
    assert {(each.text, each.status) for each in kept} == {(QUESTION, pb.TURN_STATUS_CANCELLED)}


async def test_a_caller_who_hangs_up_while_waiting_leaves_nothing(
    session: Session, model: OpenAIStub
) -> None:
    """A request that had no place yet is not stored, and those behind it move up."""
    answer = asyncio.Event()
    model.gate = lambda _: answer.wait()
    running = asyncio.create_task(session.chat("первый"))
    await model.arrived(1)
    waiting = asyncio.create_task(session.chat("второй"))
    await asyncio.sleep(0.05)
    behind = asyncio.create_task(session.add(message("user", "третий")))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.sleep(0.05)
    answer.set()

    assert ((await running).sequence, (await behind).sequence) == (1, 2)
    assert [text for _, text in texts(await session.everything())] == [
        "первый",
        "reply to: первый",
        "третий",
    ]


async def test_a_hundred_cancelled_streams_leave_a_session_that_works(
    session: Session, model: OpenAIStub
) -> None:
    """Callers who hang up at any moment leave no turn running and no gap in the sequence."""
    model.delta_delay_seconds = 0.001

    async def hang_up(after: float) -> None:
        call = session.stream(QUESTION, timeout=10)
        await asyncio.sleep(after)
        call.cancel()

    for number in range(100):
        await hang_up(number % 25 / 1000)
    last = await session.chat("Ещё тут?")

    assert last.message.text == "reply to: Ещё тут?"
    turns = sorted({each.sequence for each in await session.everything()})
    assert turns == list(range(1, last.sequence + 1))
