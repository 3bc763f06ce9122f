"""A server that stood still for a while: a paused machine, a throttled container."""

import asyncio
import os
import signal
from collections import Counter

import grpc
import pytest

from tests.faults.service import Caller, environment
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
CALLS, CHANNELS = 3_200, 4
SECONDS = 90.0


async def test_calls_that_came_while_a_server_stood_still_are_answered(model: OpenAIStub) -> None:
    """Served, or told when to come again: gRPC would drop those beyond a thousand or so with
    CANCELLED, which says nothing."""
    env = environment("memory://", model, max_concurrent_calls=20)
    async with ServerProcess(env) as server:
        callers = [Caller(server) for _ in range(CHANNELS)]
        for each in callers:
            await each.health()
        os.kill(server.pid, signal.SIGSTOP)
        calls = [
            asyncio.create_task(_status(callers[number % CHANNELS], number))
            for number in range(CALLS)
        ]
        await asyncio.sleep(2)
        os.kill(server.pid, signal.SIGCONT)
        statuses = Counter(await asyncio.gather(*calls))

    assert statuses.keys() <= {"OK", "RESOURCE_EXHAUSTED"}, statuses


async def _status(caller: Caller, number: int) -> str:
    try:
        # Listing: the least that a call can cost, so that thousands of them take seconds.
        await asyncio.wait_for(caller.messages(f"s-{number}"), SECONDS)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"
