"""A caller hangs up while MongoDB is at work: what was begun there is seen through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from tests.conftest import fresh_database_name
from tests.faults.gate import Gate
from tests.faults.service import POLL_SECONDS, Caller, environment, texts
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
SLOW_MILLISECONDS = 500


DATABASE = fresh_database_name()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(mongod: Mongod, model_provider: OpenAIStub) -> AsyncIterator[list[Caller]]:
    """A caller of each of two servers over a database of their own."""
    env = environment(mongod.url_for(DATABASE), model_provider)
    async with ServerProcess(env) as one, ServerProcess(env) as other:
        yield [Caller(one), Caller(other)]


@pytest.fixture
def caller(two: list[Caller]) -> Caller:
    """A caller of one of them."""
    return two[0]


class SlowUpdate:
    """The server's next update, which MongoDB takes half a second over."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]]) -> None:
        self._client = client

    async def begun(self) -> None:
        """Waits until MongoDB has it."""
        await self._becomes(running=True)

    async def over(self) -> None:
        """Waits until MongoDB has done it."""
        await self._becomes(running=False)

    async def _becomes(self, *, running: bool) -> None:
        async with asyncio.timeout(10):
            while await self._runs() != running:
                await asyncio.sleep(POLL_SECONDS)

    async def _runs(self) -> bool:
        ours = {"$match": {"appName": "turnkeep", "command.update": "turns"}}
        found = await self._client.admin.aggregate([{"$currentOp": {}}, ours])
        return bool(await found.to_list())


@asynccontextmanager
async def slow_update(mongod: Mongod) -> AsyncIterator[SlowUpdate]:
    """Slows down the next update of a turn; the list of sessions is written beside them."""
    data = {
        "failCommands": ["update"],
        "namespace": f"{DATABASE}.turns",
        "appName": "turnkeep",
        "blockConnection": True,
        "blockTimeMS": SLOW_MILLISECONDS,
    }
    async with AsyncMongoClient[dict[str, Any]](mongod.url) as client:
        failpoint = {"configureFailPoint": "failCommand"}
        await client.admin.command({**failpoint, "mode": {"times": 1}, "data": data})
        try:
            yield SlowUpdate(client)
        finally:
            await client.admin.command({**failpoint, "mode": "off"})


async def test_a_reply_that_is_being_committed_is_kept_though_its_caller_hangs_up(
    mongod: Mongod, caller: Caller, model: OpenAIStub
) -> None:
    gate = Gate(model)
    leaving = asyncio.create_task(caller.chat("commit", "once", request_id="r"))
    await model.arrived(1)
    async with slow_update(mongod) as commit:
        gate.open()
        await commit.begun()
        leaving.cancel()
        assert (await caller.chat("commit", "once", request_id="r")).replayed
    assert len(model.calls) == 1
    assert texts(await caller.messages("commit", unfinished=True)) == [
        (1, "once"),
        (1, "reply to: once"),
    ]


async def test_messages_that_are_being_added_are_added_once_though_their_caller_hangs_up(
    mongod: Mongod, caller: Caller, model: OpenAIStub
) -> None:
    async with slow_update(mongod) as append:
        leaving = asyncio.create_task(caller.add("append", "once", request_id="r"))
        await append.begun()
        leaving.cancel()
        assert (await caller.add("append", "once", request_id="r")).sequence == 1
        await append.over()
    assert (await caller.add("append", "once", request_id="r")).replayed
    assert texts(await caller.messages("append")) == [(1, "once")]


@pytest.mark.parametrize("asked", ["the same", "another"])
@pytest.mark.parametrize("leaves", ["by hanging up", "at its deadline"])
async def test_a_turn_that_is_being_reserved_does_not_block_its_session_when_its_caller_leaves(
    mongod: Mongod, two: list[Caller], model: OpenAIStub, asked: str, leaves: str
) -> None:
    """Neither on its own server nor on others, which know nothing of it but what is stored."""
    session_id = f"begin-{asked}-{leaves}".replace(" ", "-")
    seconds = 0.4 if leaves == "at its deadline" else 30.0
    async with slow_update(mongod) as begin:
        leaving = asyncio.create_task(
            two[0].chat(session_id, "never mind", request_id="r", timeout_seconds=seconds)
        )
        await begin.begun()
        if leaves == "by hanging up":
            leaving.cancel()
        await asyncio.wait({leaving})
        # The insert lands now, and nobody waits for it any more.
        await begin.over()
        other = two[0] if asked == "the same" else two[1]
        answer = await other.chat(session_id, "next", timeout_seconds=5)
        again = await other.chat(session_id, "never mind", request_id="r", timeout_seconds=5)
    assert not again.replayed
    listed = await other.messages(session_id, unfinished=True)
    assert listed[-3].text == answer.message.text
    states = {pb.TURN_STATUS_CANCELLED, pb.TURN_STATUS_COMPLETED}
    assert {message.status for message in listed} <= states
    assert model.inputs[-2][1:] == [("user", "next")]
