"""request_id: one request, one turn, one model call, however often it is sent."""

import asyncio

import pytest

from tests.kit.openai_stub import OpenAIStub
from tests.rpc.session import Session, message, new_id
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _replay_of(answer: pb.ChatResponse) -> pb.ChatResponse:
    replay = pb.ChatResponse()
    replay.CopyFrom(answer)
    replay.replayed = True
    return replay


async def _ask(session: Session, streams: bool, text: str, **fields: object) -> pb.ChatResponse:
    if streams:
        return (await session.streamed(text, **fields))[-1].completed
    return await session.chat(text, **fields)


@pytest.mark.parametrize("first", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize("again", [False, True], ids=["chat", "stream"])
async def test_a_repeated_request_is_replayed(
    session: Session, model: OpenAIStub, first: bool, again: bool
) -> None:
    """The stored answer comes again, equal but for `replayed`, over either RPC."""
    request_id = new_id("r")
    answer = await _ask(session, first, "Привет", request_id=request_id)
    replay = await _ask(session, again, "Привет", request_id=request_id)

    assert not answer.replayed
    assert replay == _replay_of(answer)
    assert len(model.calls) == 1
    assert len(await session.everything()) == 2


async def test_twenty_equal_requests_at_once_are_one_turn(
    session: Session, model: OpenAIStub
) -> None:
    """One model call, twenty equal answers, nineteen of them replayed."""
    model.delay_seconds, request_id = 0.1, new_id("r")
    answers = await asyncio.gather(
        *(_ask(session, n % 2 == 1, "Привет", request_id=request_id) for n in range(20))
    )

    assert sum(each.replayed for each in answers) == 19
    (answer,) = (each for each in answers if not each.replayed)
    assert all(each in (answer, _replay_of(answer)) for each in answers)
    assert len(model.calls) == 1
    assert len(await session.everything()) == 2


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_retry_joins_the_turn_that_runs(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """While the model works, the same request waits for that turn and asks nothing itself."""
    answer, request_id = asyncio.Event(), new_id("r")
    model.gate = lambda _: answer.wait()
    running = asyncio.create_task(session.chat("Привет", request_id=request_id))
    await model.arrived(1)
    joining = asyncio.create_task(_ask(session, streams, "Привет", request_id=request_id))
    done, _ = await asyncio.wait({joining}, timeout=0.2)
    assert not done
    answer.set()

    assert await joining == _replay_of(await running)
    assert len(model.calls) == 1


async def test_a_retry_goes_on_where_the_first_caller_hung_up(
    session: Session, model: OpenAIStub
) -> None:
    """Whoever joined a turn that is then cancelled runs the request itself."""
    never, request_id = asyncio.Event(), new_id("r")
    model.gate = lambda _: never.wait()
    first = asyncio.create_task(session.chat("Привет", request_id=request_id))
    await model.arrived(1)
    joining = asyncio.create_task(session.chat("Привет", request_id=request_id))
    await asyncio.sleep(0.05)
    model.gate = None
    first.cancel()
    answer = await joining

    assert (answer.sequence, answer.replayed) == (2, False)
    assert len(model.calls) == 2


async def test_a_replay_does_not_wait_for_a_turn_that_runs(
    session: Session, model: OpenAIStub
) -> None:
    """A completed request is answered at once while another turn of its session runs."""
    answer, request_id = asyncio.Event(), new_id("r")
    first = await session.chat("раз", request_id=request_id)
    model.gate = lambda _: answer.wait()
    running = asyncio.create_task(session.chat("два"))
    await model.arrived(2)

    async with asyncio.timeout(5):
        assert await session.chat("раз", request_id=request_id) == _replay_of(first)
    assert not running.done()
    answer.set()
    assert (await running).sequence == 2


async def test_the_same_id_elsewhere_is_another_request(
    session: Session, model: OpenAIStub
) -> None:
    """A request_id counts within its session: another session's or user's is its own."""
    request_id = new_id("r")
    other_session = Session(session.turnkeep, user_id=session.user_id)
    other_user = Session(session.turnkeep, session.id, user_id="user-2")
    nobody = Session(session.turnkeep, session.id, user_id="")
    sessions = (session, other_session, other_user, nobody)
    answers = [
        await each.chat(f"я {number}", request_id=request_id)
        for number, each in enumerate(sessions)
    ]

    assert not any(each.replayed for each in answers)
    assert len(model.calls) == 4


async def test_requests_without_an_id_are_never_the_same(
    session: Session, model: OpenAIStub
) -> None:
    """No request_id, no idempotency: the same text twice is two turns."""
    answers = [await session.chat("да"), await session.chat("да")]

    assert [each.sequence for each in answers] == [1, 2]
    assert not any(each.replayed for each in answers)


async def test_appended_messages_are_appended_once(session: Session) -> None:
    """AddMessages replays the stored messages, twenty times at once too."""
    request_id, added = new_id("r"), [message("user", "раз"), message("assistant", "два")]
    answers = await asyncio.gather(*(session.add(*added, request_id=request_id) for _ in range(20)))
    answers.append(await session.add(*added, request_id=request_id))

    assert sum(each.replayed for each in answers) == 20
    stored = await session.messages()
    assert all(list(each.messages) == stored for each in answers)
    assert {each.sequence for each in answers} == {1}
