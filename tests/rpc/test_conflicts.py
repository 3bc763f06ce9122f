"""Two turns at once on one session: one order, by waiting or by refusing."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
import pytest_asyncio

from tests.kit.openai_stub import OpenAIStub
from tests.kit.status import error_of
from tests.rpc.session import SYSTEM, Session, message, new_id
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

REJECT = pb.CONFLICT_POLICY_REJECT
Send = Callable[..., Awaitable[object]]
SENDS: dict[str, Callable[[Session], Send]] = {
    "chat": lambda session: lambda **fields: session.chat("второй", **fields),
    "stream": lambda session: lambda **fields: session.streamed("второй", **fields),
    "add": lambda session: lambda **fields: session.add(message("user", "второй"), **fields),
}


@pytest_asyncio.fixture(loop_scope="session")
async def running(session: Session, model: OpenAIStub) -> AsyncIterator[str]:
    """A turn of the session that runs until the test ends; its request_id."""
    answer, request_id = asyncio.Event(), new_id("r")
    model.gate = lambda _: answer.wait()
    turn = asyncio.create_task(session.chat("первый", request_id=request_id))
    await model.arrived(1)
    yield request_id
    answer.set()
    assert (await turn).sequence == 1


async def test_turns_of_a_session_wait_for_each_other(session: Session, model: OpenAIStub) -> None:
    """Ten turns at once get sequences 1 to 10, and each input holds all turns before it."""
    model.delay_seconds = 0.01
    answers = await asyncio.gather(*(session.chat(f"вопрос {n}") for n in range(10)))

    assert sorted(each.sequence for each in answers) == list(range(1, 11))
    said = [SYSTEM]
    for answer in sorted(answers, key=lambda each: each.sequence):
        question = answer.message.text.removeprefix("reply to: ")
        assert model.inputs[answer.sequence - 1] == [*said, ("user", question)]
        said += [("user", question), ("assistant", answer.message.text)]


async def test_sessions_do_not_wait_for_each_other(session: Session, running: str) -> None:
    """A turn that runs holds up its own session alone."""
    other = Session(session.turnkeep, session.id, user_id="user-2")
    async with asyncio.timeout(5):
        await other.add(message("user", "раз"))


@pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)
async def test_a_request_that_will_not_wait_is_told_who_is_running(
    session: Session, running: str, send: Callable[[Session], Send]
) -> None:
    """REJECT fails at once with SESSION_BUSY, and stores nothing."""
    began = time.monotonic()
    error = await error_of(send(session)(on_conflict=REJECT))

    assert error.what == (grpc.StatusCode.ABORTED, "SESSION_BUSY")
    assert error.metadata == {"running_request_id": running}
    assert time.monotonic() - began < 5


async def test_of_many_that_will_not_wait_each_is_told_who_is_served(session: Session) -> None:
    """Also while that one has no turn yet."""
    calls = [error_of(session.chat("?", request_id=f"r-{n}", on_conflict=REJECT)) for n in range(8)]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each for each in ended if not isinstance(each, AssertionError)]
    assert len(refused) < len(ended), "one of them is served"
    named = {each.metadata["running_request_id"] for each in refused}
    assert named <= {f"r-{n}" for n in range(8)}


@pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)
async def test_a_request_that_will_not_wait_runs_on_an_idle_session(
    session: Session, send: Callable[[Session], Send]
) -> None:
    """REJECT is no obstacle where nobody is running."""
    await send(session)(on_conflict=REJECT)
    await send(session)(on_conflict=REJECT)


@pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)
async def test_a_wait_ends_with_the_deadline(
    session: Session, model: OpenAIStub, running: str, send: Callable[[Session], Send]
) -> None:
    """The server itself says WAIT_TIMEOUT, before gRPC cuts the call off; nothing is stored."""
    error = await error_of(send(session)(timeout=2.0))

    assert error.what == (grpc.StatusCode.DEADLINE_EXCEEDED, "WAIT_TIMEOUT")
    assert len(model.calls) == 1


async def test_a_joined_turn_that_outlasts_the_deadline_is_a_wait_timeout(
    session: Session, running: str
) -> None:
    """A retry that joins a running turn is bound by its own deadline; the turn goes on."""
    error = await error_of(session.chat("первый", request_id=running, timeout=2.0))

    assert error.what == (grpc.StatusCode.DEADLINE_EXCEEDED, "WAIT_TIMEOUT")


async def test_appending_waits_for_the_turn_that_runs(session: Session, model: OpenAIStub) -> None:
    """AddMessages comes behind the reply, never between a question and its reply."""
    model.delay_seconds = 0.2
    turn = asyncio.create_task(session.chat("вопрос"))
    await model.arrived(1)
    added = await session.add(message("user", "примечание"))

    assert ((await turn).sequence, added.sequence) == (1, 2)
