"""SIGTERM: what runs is finished, what is new is refused, and the process exits with 0."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from tests.conftest import fresh_database_name
from tests.faults.gate import Gate
from tests.faults.service import POLL_SECONDS, Caller, Stopwatch, environment
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import call_error, error_of
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
SESSIONS = 10


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def history_url(mongod: Mongod) -> str:
    """The database of these tests."""
    return mongod.url_for(fresh_database_name())


@pytest_asyncio.fixture(loop_scope="module")
async def server(
    request: pytest.FixtureRequest, model: OpenAIStub, history_url: str
) -> AsyncIterator[ServerProcess]:
    """A server of the test's own, with the settings that it is parametrized with."""
    settings = getattr(request, "param", {})
    async with ServerProcess(environment(history_url, model, **settings)) as process:
        yield process


async def test_twenty_turns_that_run_are_finished_and_new_ones_refused(
    server: ServerProcess, model: OpenAIStub
) -> None:
    model.delay_seconds = 1.0
    caller, late = Caller(server), Caller(server)
    assert await late.health() == "SERVING"
    turns: list[asyncio.Task[Any]] = []
    for n in range(SESSIONS):
        unary, streamed = caller.chat(f"{n}", f"unary {n}"), caller.stream(f"{n}", f"streamed {n}")
        turns += [asyncio.create_task(unary), asyncio.create_task(streamed)]
    await model.arrived(SESSIONS)
    server.terminate()

    await late.health_becomes("NOT_SERVING", timeout_seconds=5.0)
    refused = await _first_refusal(late)
    assert refused == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    running = [turn for turn in turns if not turn.done()]
    assert running
    assert await late.health() == "NOT_SERVING"
    answers = await asyncio.gather(*turns)
    assert await server.wait() == 0

    for n in range(SESSIONS):
        assert answers[2 * n].message.text == f"reply to: unary {n}"
        said, completed = answers[2 * n + 1]
        assert said == completed.message.text == f"reply to: streamed {n}"
    assert (await error_of(late.chat("drain", "gone"))).code is grpc.StatusCode.UNAVAILABLE


async def test_ctrl_c_drains_as_sigterm_does(server: ServerProcess, model: OpenAIStub) -> None:
    model.delay_seconds = 0.5
    running = asyncio.create_task(Caller(server).chat("ctrl-c", "still there?"))
    await model.arrived(1)
    os.kill(server.pid, signal.SIGINT)
    assert (await running).message.text == "reply to: still there?"
    assert await server.wait() == 0


@pytest.mark.parametrize(
    "server", [{"drain_seconds": 0.5, "lame_duck_seconds": 0}], indirect=True, ids=["drain 0.5 s"]
)
async def test_turns_that_outlast_the_drain_are_cancelled_and_keep_what_had_come(
    server: ServerProcess, model: OpenAIStub, history_url: str
) -> None:
    model.delta_delay_seconds = 0.02
    caller = Caller(server)
    streamed = asyncio.create_task(_deltas(caller, "cut-stream", "long " * 500))
    Gate(model, "never")
    unary = asyncio.create_task(caller.chat("cut-unary", "never"))
    await model.arrived(2)
    server.terminate()

    deltas = await streamed
    assert (await error_of(unary)).code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert await server.wait() == 0
    assert await _only_turn(history_url, "cut-unary") == ("CANCELLED", ["never"])
    status, kept = await _only_turn(history_url, "cut-stream")
    assert status == "CANCELLED"
    assert kept[1].startswith("".join(deltas))
    assert f"reply to: {kept[0]}".startswith(kept[1])
    assert deltas


async def test_a_second_signal_ends_the_waiting(
    server: ServerProcess, model: OpenAIStub, history_url: str
) -> None:
    Gate(model)
    running = asyncio.create_task(Caller(server).chat("hurried", "never"))
    await model.arrived(1)
    server.terminate()
    await Caller(server).health_becomes("NOT_SERVING")
    hurried = Stopwatch()
    server.terminate()
    await error_of(running)
    assert await server.wait() == 0
    assert hurried.seconds < 5
    assert await _only_turn(history_url, "hurried") == ("CANCELLED", ["never"])


async def test_an_idle_server_exits_at_once_though_a_health_watch_is_open(
    server: ServerProcess,
) -> None:
    watching = Caller(server).watch_health()
    assert await anext(watching) == "SERVING"
    stopped = Stopwatch()
    server.terminate()
    assert await server.wait() == 0
    assert stopped.seconds < 5
    await watching.aclose()


async def _first_refusal(caller: Caller) -> tuple[grpc.StatusCode, str]:
    """How the first call fails that is refused after the lame-duck pause."""
    async with asyncio.timeout(10):
        while True:
            try:
                await caller.add("lame-duck", "let in?")
            except grpc.aio.AioRpcError as error:
                return call_error(error).what
            await asyncio.sleep(POLL_SECONDS)


async def _deltas(caller: Caller, session_id: str, text: str) -> list[str]:
    """The deltas of a stream that must be cut off."""
    deltas: list[str] = []
    try:
        async for event in caller.stub.StreamChat(pb.ChatRequest(session_id=session_id, text=text)):
            deltas += [event.delta.text]
    except grpc.aio.AioRpcError:
        return deltas
    raise AssertionError("the stream came to its end")


async def _only_turn(history_url: str, session_id: str) -> tuple[str, list[str]]:
    """Status and texts of the one turn of a session, as stored."""
    async with AsyncMongoClient[dict[str, Any]](history_url) as client:
        turns = client.get_default_database()["turns"]
        (turn,) = await turns.find({"session_id": session_id}).to_list()
    return turn["status"], [message["text"] for message in turn["messages"]]
