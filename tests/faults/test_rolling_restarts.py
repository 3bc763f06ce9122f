"""Two servers that are restarted in turn under load: no call fails."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.faults.service import Stopwatch, environment
from tests.faults.steady_callers import call_on, stored_questions
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess
from turnkeep import ConversationClient

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
CALLERS = 50
LOAD_SECONDS, LOAD_SECONDS_IN_FULL = 8.0, 60.0
LAME_DUCK_SECONDS = 0.5


@pytest_asyncio.fixture(loop_scope="module", params=[1, 2], ids=["1 worker", "2 workers"])
async def pair(
    request: pytest.FixtureRequest, model: OpenAIStub, mongod: Mongod
) -> AsyncIterator[list[ServerProcess]]:
    """Two servers over one MongoDB, each on a port that it keeps when it is started again.

    And each on an event loop of its own kind: the one that most have, and Python's.
    """
    env = environment(
        mongod.url_for(fresh_database_name()),
        model,
        lame_duck_seconds=LAME_DUCK_SECONDS,
        max_messages=4,
        workers=request.param,
    )
    processes = [
        ServerProcess(
            {**env, "TURNKEEP_LISTEN": f"127.0.0.1:{free_port()}", "TURNKEEP_EVENT_LOOP": loop}
        )
        for loop in ("uvloop", "asyncio")
    ]
    async with processes[0], processes[1]:
        yield processes


async def test_no_call_fails_while_two_servers_are_restarted_in_turn(
    pair: list[ServerProcess], model: OpenAIStub, full: bool
) -> None:
    model.delay_seconds = 0.05
    model.delta_delay_seconds = 0.02
    load = Stopwatch()
    seconds = LOAD_SECONDS_IN_FULL if full else LOAD_SECONDS
    over = asyncio.Event()
    addresses = ",".join(each.address for each in pair)
    async with ConversationClient(f"ipv4:{addresses}") as client:
        callers = [asyncio.create_task(call_on(client, n, over)) for n in range(CALLERS)]
        restarts = 0
        for process in itertools.cycle(pair):
            await restart(process)
            restarts += 1
            enough = restarts >= 2 and load.seconds > seconds
            if enough or any(each.done() for each in callers):
                break
        over.set()
        made = await asyncio.gather(*callers)
        stored = {n: await stored_questions(client, n) for n in range(CALLERS)}

    assert restarts >= 2
    assert stored == {n: Counter(texts) for n, texts in enumerate(made)}
    assert min(map(len, made)) > restarts  # nobody stood aside while the servers came and went


async def restart(process: ServerProcess) -> None:
    """As a deployment does it: SIGTERM, wait until it has drained, start the next one."""
    process.terminate()
    assert await process.wait() == 0, process.log[-20:]
    await process.start()
