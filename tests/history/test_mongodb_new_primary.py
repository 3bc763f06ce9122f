"""A new primary is believed once it knows of all that was acknowledged before it was elected.

That it may not know is MongoDB's, for some milliseconds of one failover in a hundred; the torture
suite meets it (`failovers`). Here it is looked at what is asked of which primary.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import HistoryUnavailable
from turnkeep_server.history.mongodb_connection import MongoDBConnection
from turnkeep_server.history.mongodb_documents import Document
from turnkeep_server.history.mongodb_elections import Elections
from turnkeep_server.history.mongodb_new_primary import NewPrimary

LATER = ObjectId("7fffffff" + "f" * 16)


class Finds(CommandListener):
    """The read concerns of what was looked for, in order."""

    def __init__(self) -> None:
        self.levels: list[str] = []
        self.then: Callable[[object], None] = lambda _: None

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in {"find", "aggregate"}:
            self.levels.append(event.command["readConcern"]["level"])

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self.then(event)

    def failed(self, event: CommandFailedEvent) -> None:
        pass


@pytest.fixture
def elections() -> Elections:
    return Elections()


@pytest.fixture
def finds() -> Finds:
    return Finds()


@pytest.fixture
async def connection(
    database_url: str, elections: Elections, finds: Finds
) -> AsyncIterator[MongoDBConnection]:
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        database_url, event_listeners=[elections, finds]
    )
    connection = MongoDBConnection(client, "новая", 10.0, elections)
    yield connection
    await connection.close()


async def looked(connection: MongoDBConnection) -> list[Document]:
    return await connection.find(connection.turns, {}, order=[("_id", 1)], limit=5)


async def test_it_is_asked_to_catch_up_once_and_the_reading_is_repeated(
    connection: MongoDBConnection, elections: Elections, finds: Finds
) -> None:
    """Afterwards: the driver may have waited for it within the reading."""
    await connection.turns.insert_one({"text": "Привет"})
    for elected in (True, False, True):
        if elected and finds.levels:
            elections.latest = LATER
        finds.levels.clear()
        assert [each["text"] for each in await looked(connection)] == ["Привет"]
        assert finds.levels == (
            ["majority", "linearizable", "majority"] if elected else ["majority"]
        )


async def test_a_start_has_it_catch_up(connection: MongoDBConnection, finds: Finds) -> None:
    await connection.create_indexes()
    await looked(connection)
    assert finds.levels == ["linearizable", "majority"]


async def test_an_election_while_it_catches_up_is_another_one(
    connection: MongoDBConnection, elections: Elections, finds: Finds
) -> None:
    def elected(_: object) -> None:
        if finds.levels[-1] == "linearizable":
            elections.latest = LATER

    finds.then = elected
    await looked(connection)
    assert finds.levels == ["majority", "linearizable", "linearizable", "majority"]


async def test_whoever_began_before_it_had_caught_up_looks_again(
    connection: MongoDBConnection, elections: Elections, finds: Finds
) -> None:
    """Though another reading had it catch up; and all share one question."""
    await connection.create_indexes()
    elections.latest = LATER
    calls, slow_ended = Counter[str](), asyncio.Event()

    async def quick() -> None:
        calls["quick"] += 1
        await connection.turns.find_one({})

    async def slow() -> None:
        calls["slow"] += 1
        await connection.turns.find_one({})
        await slow_ended.wait()

    waiting = asyncio.create_task(connection.read(slow))
    finds.levels.clear()
    await asyncio.gather(*(connection.read(quick) for _ in range(20)))
    assert (calls["quick"], calls["slow"]) == (40, 1)
    slow_ended.set()
    await waiting
    assert calls["slow"] == 2
    assert finds.levels.count("linearizable") == 1


async def test_a_primary_that_cannot_catch_up_is_waited_for_as_long_as_for_all_else(
    connection: MongoDBConnection, elections: Elections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever hangs up meanwhile does so for himself."""
    await connection.create_indexes()
    elections.latest = LATER
    asked, go_on = list[int](), asyncio.Event()

    async def ask() -> None:
        asked.append(1)
        await go_on.wait()

    monkeypatch.setattr(connection._primary, "_ask", ask)

    async def read(seconds: float) -> None:
        await connection.read(lambda: connection.turns.find_one({}), Deadline.after(seconds))

    patient, leaving = asyncio.create_task(read(10)), asyncio.create_task(read(10))
    with pytest.raises(HistoryUnavailable):
        await read(0.3)
    leaving.cancel()
    go_on.set()
    await patient
    assert asked == [1]


async def test_a_question_that_fails_when_all_have_gone_is_no_error_of_the_loop(
    elections: Elections,
) -> None:
    """Each of them was told; asyncio would have it logged that nobody was."""

    async def ask() -> None:
        await asyncio.sleep(0.05)
        raise HistoryUnavailable("no majority")

    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: errors.append(told))
    elections.latest = LATER
    primary = NewPrimary(elections, ask)
    with pytest.raises(HistoryUnavailable, match="in time"):
        await primary.caught_up(Deadline.after(0.01))
    await asyncio.sleep(0.2)
    gc.collect()
    assert errors == []
