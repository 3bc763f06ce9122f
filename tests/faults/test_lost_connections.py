"""MongoDB's own fault tool closes connections, before a command runs or after: one turn results."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from tests.conftest import fresh_database_name
from tests.faults.gate import Gate
from tests.faults.service import Caller, environment, texts
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import call_error

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
# Once is hidden by the driver's own retry.
TWICE = {"times": 2}
CLOSED = {"closeConnection": True}
# The write is made, and then its answer is an error. Not 91, a primary that shuts down: without a
# real one's change of topologyVersion the driver would look for another for 10 s.
DONE_BUT_FAILED = {
    "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"},
    "errorLabels": ["RetryableWriteError"],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller(mongod: Mongod, model_provider: OpenAIStub) -> AsyncIterator[Caller]:
    """A caller of a server over a database of its own."""
    url = mongod.url_for(fresh_database_name())
    async with ServerProcess(environment(url, model_provider)) as server:
        yield Caller(server)


@asynccontextmanager
async def failing(mongod: Mongod, command: str, how: dict[str, Any]) -> AsyncIterator[None]:
    """The server's next two commands of this name fail; nobody else's do."""
    data = {"failCommands": [command], "appName": "turnkeep", **how}
    async with AsyncMongoClient[dict[str, object]](mongod.url) as client:
        failpoint = {"configureFailPoint": "failCommand"}
        await client.admin.command({**failpoint, "mode": TWICE, "data": data})
        try:
            yield
        finally:
            await client.admin.command({**failpoint, "mode": "off"})


@pytest.mark.parametrize("command", ["find", "update"])
@pytest.mark.parametrize("how", [CLOSED, DONE_BUT_FAILED], ids=["closed", "done but failed"])
async def test_a_connection_lost_twice_as_a_turn_begins_makes_one_turn(
    mongod: Mongod, caller: Caller, model: OpenAIStub, command: str, how: dict[str, Any]
) -> None:
    session_id = f"begin-{command}-{'closed' if how is CLOSED else 'failed'}"
    async with failing(mongod, command, how):
        await _until_ok(caller, session_id)
    await _is_one_turn(caller, session_id)


@pytest.mark.parametrize("how", [CLOSED, DONE_BUT_FAILED], ids=["closed", "done but failed"])
async def test_a_connection_lost_twice_at_the_commit_makes_one_turn(
    mongod: Mongod, caller: Caller, model: OpenAIStub, how: dict[str, Any]
) -> None:
    session_id = f"commit-{'closed' if how is CLOSED else 'failed'}"
    gate = Gate(model)
    running = asyncio.create_task(_until_ok(caller, session_id))
    await model.arrived(1)
    async with failing(mongod, "update", how):
        gate.open()
        await running
    await _is_one_turn(caller, session_id)


@pytest.mark.parametrize("command", ["find", "insert", "aggregate", "delete"])
async def test_a_connection_lost_twice_during_a_clear_leaves_the_session_cleared(
    mongod: Mongod, caller: Caller, model: OpenAIStub, command: str
) -> None:
    session_id = f"clear-{command}"
    await caller.add(session_id, "a", "b")
    async with failing(mongod, command, CLOSED):
        cleared = await caller.clear(session_id)
    assert (cleared.cleared_turns, cleared.cleared_messages) == (1, 2)
    assert await caller.messages(session_id) == []
    assert (await caller.chat(session_id, "next")).sequence == 3


async def _until_ok(caller: Caller, session_id: str) -> None:
    for _ in range(20):
        try:
            await caller.chat(session_id, "once", request_id="r")
        except grpc.aio.AioRpcError as error:
            if call_error(error).reason != "HISTORY_UNAVAILABLE":
                raise
        else:
            return
    raise AssertionError("the call failed 20 times")


async def _is_one_turn(caller: Caller, session_id: str) -> None:
    again = await caller.chat(session_id, "once", request_id="r")
    assert again.replayed
    assert texts(await caller.messages(session_id)) == [
        (again.sequence, "once"),
        (again.sequence, "reply to: once"),
    ]
