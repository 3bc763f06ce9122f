"""How an operation on MongoDB is run: again while connections are lost, never half."""

import asyncio
from typing import Any, cast

import pytest
from pymongo.errors import AutoReconnect, DuplicateKeyError, OperationFailure

from tests.kit.mongomock_async import AsyncMongomockClient
from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import HistoryUnavailable
from turnkeep_server.history.mongodb_connection import MongoDBConnection


@pytest.fixture
def connection() -> MongoDBConnection:
    return MongoDBConnection(cast(Any, AsyncMongomockClient()), "test", 5.0)


class Flaky:
    """An operation that loses its connection some times, then answers."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.calls = 0

    async def run(self) -> str:
        self.calls += 1
        await asyncio.sleep(0)
        if self.calls <= self.losses:
            raise AutoReconnect("connection closed")
        return "done"


@pytest.mark.parametrize("losses", [0, 1, 2, 5])
async def test_an_operation_is_run_again_until_it_answers(
    connection: MongoDBConnection, losses: int
) -> None:
    flaky = Flaky(losses)
    # A lambda, as the backend gives it: its coroutine must be awaited on every attempt.
    assert await connection.run(lambda: flaky.run()) == "done"
    assert flaky.calls == losses + 1


async def test_at_the_deadline_the_history_is_unavailable(connection: MongoDBConnection) -> None:
    flaky = Flaky(1_000_000)
    async with asyncio.timeout(5):
        with pytest.raises(HistoryUnavailable):
            await connection.run(flaky.run, Deadline.after(0.2))


async def test_an_operation_that_goes_on_past_the_deadline_is_not_waited_for(
    connection: MongoDBConnection,
) -> None:
    """The driver looks at the time only every half second while it finds no server."""
    released = asyncio.Event()
    async with asyncio.timeout(5):
        with pytest.raises(HistoryUnavailable):
            await connection.run(released.wait, Deadline.after(0.05))
    released.set()


async def test_a_caller_who_hangs_up_does_not_cancel_the_driver(
    connection: MongoDBConnection,
) -> None:
    """It ends by itself, by pymongo.timeout; cancelled, it may harm operations of others."""
    answered = asyncio.Event()

    async def slow() -> None:
        await asyncio.sleep(0.1)
        answered.set()

    call = asyncio.create_task(connection.run(slow))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(5):
        await answered.wait()


async def test_a_duplicate_key_is_an_answer(connection: MongoDBConnection) -> None:
    async def clash() -> None:
        raise DuplicateKeyError("E11000")

    with pytest.raises(DuplicateKeyError):
        await connection.run(clash)


async def test_what_the_server_refuses_is_not_asked_again(connection: MongoDBConnection) -> None:
    calls: list[int] = []

    async def refused() -> None:
        calls.append(1)
        raise OperationFailure("not authorized on canary", 13)

    with pytest.raises(HistoryUnavailable) as unavailable:
        await connection.run(refused)
    assert len(calls) == 1
    assert "canary" not in str(unavailable.value)
