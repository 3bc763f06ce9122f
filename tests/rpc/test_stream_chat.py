"""StreamChat: the same turn as Chat's, as it comes."""

import asyncio

import pytest

from tests.kit.openai_stub import OpenAIStub
from tests.rpc.session import Session, joined, kinds, new_id
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANSWER = "Привет, Виктор! 你好 مرحبا 👩‍👩‍👧‍👦"


async def test_a_stream_is_started_then_deltas_then_completed(
    session: Session, model: OpenAIStub
) -> None:
    """Each piece of the model's text is one delta, and the text is the deltas joined."""
    model.reply = lambda _: ANSWER
    events = await session.streamed("Привет GPT! Меня зовут Виктор")

    pieces = model.deltas(ANSWER)
    assert kinds(events) == ["started", *["delta"] * len(pieces), "completed"]
    assert [each.delta.text for each in events[1:-1]] == pieces
    assert joined(events) == events[-1].completed.message.text == ANSWER


async def test_a_stream_ends_with_the_answer_that_chat_would_give(
    session: Session, model: OpenAIStub
) -> None:
    """completed has usage, reason, model and context; the turn is stored as Chat stores it."""
    other = Session(session.turnkeep)
    for each in (session, other):
        await each.chat("Привет")
    streamed = (await session.streamed("Как меня зовут?"))[-1].completed
    answered = await other.chat("Как меня зовут?")

    assert streamed.message == (await session.messages())[-1]
    assert streamed.usage.total_tokens > 0
    assert model.inputs[2] == model.inputs[3]
    for each in (streamed, answered):
        each.message.ClearField("id")
        each.message.ClearField("create_time")
        # The usage that the former turn reported corrects the estimate of the next one.
        each.context.ClearField("estimated_input_tokens")
    assert streamed == answered


async def test_the_turn_is_durable_before_completed_is_sent(session: Session) -> None:
    """Whoever reads completed finds the turn in the list."""
    async for event in session.stream("Привет"):
        if event.HasField("completed"):
            assert (await session.messages())[-1] == event.completed.message


async def test_deltas_come_while_the_model_still_speaks(
    session: Session, model: OpenAIStub
) -> None:
    """The first delta does not wait for the last one."""
    model.delta_delay_seconds = 0.05
    call = session.stream("Привет")
    async for event in call:
        if event.HasField("delta"):
            assert not model.calls[0].finished
            break
    async for _ in call:
        pass
    assert model.calls[0].finished


async def test_started_comes_before_the_model_answers(session: Session, model: OpenAIStub) -> None:
    """The turn has its place, and its caller knows it, while the model has said nothing."""
    answer = asyncio.Event()
    model.gate = lambda _: answer.wait()
    events = aiter(session.stream("Привет"))
    started = (await anext(events)).started
    assert (started.sequence, started.model) == (1, "gpt-4o-mini")
    answer.set()
    assert [event async for event in events][-1].completed.sequence == 1


async def test_a_replayed_stream_is_started_one_delta_completed(
    session: Session, model: OpenAIStub
) -> None:
    """The stored answer comes in one piece, and completed says that it is a replay."""
    request_id = new_id("r")
    first = await session.streamed("Привет", request_id=request_id)
    again = await session.streamed("Привет", request_id=request_id)

    assert kinds(again) == ["started", "delta", "completed"]
    assert again[0] == first[0]
    assert joined(again) == joined(first)
    expected = pb.ChatResponse()
    expected.CopyFrom(first[-1].completed)
    expected.replayed = True
    assert again[-1].completed == expected
    assert len(model.calls) == 1
