"""What of a session's history the model is sent."""

import pytest

from tests.kit.openai_stub import Fault, OpenAIStub
from tests.rpc.session import SYSTEM, Session, message, texts
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _grown(session: Session, pairs: int) -> list[tuple[str, str]]:
    """The messages of so many turns of two messages each, appended."""
    for number in range(pairs):
        await session.add(message("user", f"вопрос {number}"), message("assistant", f"答 {number}"))
    return texts(await session.messages())


def _window(answer: pb.ChatResponse) -> tuple[int, int]:
    return answer.context.included_messages, answer.context.omitted_messages


async def test_the_newest_forty_messages_are_sent(session: Session, model: OpenAIStub) -> None:
    """Of 50 messages the newest 40 go to the model, in order; the answer counts both parts."""
    history = await _grown(session, 25)
    answer = await session.chat("А теперь?")

    assert model.inputs == [[SYSTEM, *history[-40:], ("user", "А теперь?")]]
    assert _window(answer) == (40, 10)


async def test_a_started_stream_tells_its_window_first(session: Session) -> None:
    """Started carries the same report as the end does."""
    await _grown(session, 3)
    events = await session.streamed("А теперь?", context=pb.ContextPolicy(max_messages=4))

    assert _window(events[0].started) == _window(events[-1].completed) == (4, 2)


@pytest.mark.parametrize(
    ("most", "sent"), [(0, 0), (1, 0), (2, 2), (3, 2), (7, 6), (50, 50), (1000, 50)]
)
async def test_a_request_chooses_how_much_is_sent(
    session: Session, model: OpenAIStub, most: int, sent: int
) -> None:
    """max_messages counts messages and takes whole turns; 0 sends none of the history."""
    history = await _grown(session, 25)
    answer = await session.chat("А теперь?", context=pb.ContextPolicy(max_messages=most))

    chosen = history[len(history) - sent :]
    assert model.inputs == [[SYSTEM, *chosen, ("user", "А теперь?")]]
    assert _window(answer) == (sent, 50 - sent)


async def test_a_turn_too_large_for_the_window_is_left_out_whole(
    session: Session, model: OpenAIStub
) -> None:
    """A turn is sent whole or not at all, and nothing from before it is sent in its place."""
    await _grown(session, 2)
    await session.add(*(message("user", f"строка {number}") for number in range(41)))
    answer = await session.chat("Что там?")

    assert model.inputs == [[SYSTEM, ("user", "Что там?")]]
    assert _window(answer) == (0, 45)


@pytest.mark.parametrize(("most", "sent"), [(1, 0), (2, 0), (3, 0), (4, 4), (5, 4)])
async def test_a_tool_result_is_never_parted_from_its_call(
    session: Session, model: OpenAIStub, most: int, sent: int
) -> None:
    """Where the turn that called the tool does not fit, the turn with its result is left out."""
    model.faults.append(Fault.TOOL_CALLS)
    (call,) = (await session.chat("Погода?")).message.tool_calls
    await session.chat(message=message("tool", "Дождь", tool_call_id=call.id))
    answer = await session.chat("А завтра?", context=pb.ContextPolicy(max_messages=most))

    assert _window(answer) == (sent, 4 - sent)
    roles = [role for role, _ in model.inputs[-1]]
    assert roles == ["system", *["user", "assistant", "tool", "assistant"][:sent], "user"]


@pytest.mark.parametrize(("most", "sent"), [(1, 0), (3, 0), (4, 4)])
async def test_results_in_turns_of_their_own_stay_with_their_calls(
    session: Session, model: OpenAIStub, most: int, sent: int
) -> None:
    """Two results that came one by one go to the model with the turn that called, or not at all."""
    calls = [pb.ToolCall(id=each, name="get", arguments_json="{}") for each in ("a", "b")]
    await session.add(message("user", "Погода?"), message("assistant", tool_calls=calls))
    await session.add(message("tool", "Дождь", tool_call_id="a"))
    await session.add(message("tool", "Снег", tool_call_id="b"))
    answer = await session.chat("?", context=pb.ContextPolicy(max_messages=most))

    assert _window(answer) == (sent, 4 - sent)
    roles = [role for role, _ in model.inputs[0]]
    assert roles == ["system", *["user", "assistant", "tool", "tool"][:sent], "user"]
