"""A request_id that comes back with another content, or after its turn came to nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.status import error_of
from tests.rpc.session import Session, message, new_id, texts
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

REUSED = (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
Sending = Callable[[Session, str], Awaitable[object]]
OTHER_CONTENTS: dict[str, Sending] = {
    "text": lambda s, r: s.chat("Пока", request_id=r),
    "stream": lambda s, r: s.streamed("Пока", request_id=r),
    "options": lambda s, r: s.chat(
        "Привет", request_id=r, options=pb.ModelOptions(temperature=0.0)
    ),
    "variables": lambda s, r: s.chat("Привет", request_id=r, variables={"a": "b"}),
    "context": lambda s, r: s.chat(
        "Привет", request_id=r, context=pb.ContextPolicy(max_messages=0)
    ),
    "metadata": lambda s, r: s.chat(
        message=pb.Message(text="Привет", metadata={"a": "b"}), request_id=r
    ),
    "appended": lambda s, r: s.add(message("user", "Привет"), request_id=r),
}


@pytest.mark.parametrize("send", OTHER_CONTENTS.values(), ids=OTHER_CONTENTS)
async def test_the_same_id_with_another_content_is_refused(
    session: Session, model: OpenAIStub, send: Sending
) -> None:
    """One id, one request: whatever else it says, nothing is stored and no model asked."""
    request_id = new_id("r")
    await session.chat("Привет", request_id=request_id)
    error = await error_of(send(session, request_id))

    assert error.what == REUSED
    assert error.metadata == {"request_id": request_id, "sequence": "1"}
    assert len(await session.everything()) == 2
    assert len(model.calls) == 1


async def test_appended_messages_under_a_used_id_are_refused(session: Session) -> None:
    """AddMessages is held to its request_id as Chat is."""
    request_id = new_id("r")
    await session.add(message("user", "раз"), request_id=request_id)
    error = await error_of(session.add(message("user", "два"), request_id=request_id))

    assert error.what == REUSED
    assert texts(await session.everything()) == [("user", "раз")]


async def test_another_content_is_refused_while_the_turn_runs(
    session: Session, model: OpenAIStub
) -> None:
    """The refusal does not wait for the turn that has the id."""
    answer, request_id = asyncio.Event(), new_id("r")
    model.gate = lambda _: answer.wait()
    running = asyncio.create_task(session.chat("Привет", request_id=request_id))
    await model.arrived(1)

    async with asyncio.timeout(5):
        error = await error_of(session.chat("Пока", request_id=request_id))
    assert error.what == REUSED
    answer.set()
    await running


async def test_the_same_content_said_otherwise_is_the_same_request(session: Session) -> None:
    """The default prompt by its name, and a text as a message, are what they stand for."""
    request_id = new_id("r")
    await session.chat("Привет", request_id=request_id)

    assert (await session.chat("Привет", request_id=request_id, prompt="default")).replayed
    assert (await session.chat(message=pb.Message(text="Привет"), request_id=request_id)).replayed


async def test_a_failed_request_runs_again_under_its_id(
    session: Session, model: OpenAIStub
) -> None:
    """A turn that FAILED gives its request_id up; the next try is a turn of its own."""
    request_id = new_id("r")
    model.faults.append(Fault.QUOTA)
    await error_of(session.chat("Привет", request_id=request_id))
    answer = await session.chat("Привет", request_id=request_id)

    assert (answer.sequence, answer.replayed) == (2, False)
    assert (await session.chat("Привет", request_id=request_id)).replayed


async def test_a_cancelled_request_runs_again_under_its_id(
    session: Session, model: OpenAIStub
) -> None:
    """A turn that was CANCELLED gives its request_id up too; the next try may come at once."""
    request_id, never = new_id("r"), asyncio.Event()
    model.gate = lambda _: never.wait()
    call = asyncio.create_task(session.chat("Привет", request_id=request_id))
    await model.arrived(1)
    call.cancel()
    model.gate = None
    answer = await session.chat("Привет", request_id=request_id)

    assert (answer.sequence, answer.replayed) == (2, False)
