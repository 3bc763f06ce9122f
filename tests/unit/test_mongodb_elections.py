"""Another primary is elected: what waits for the old one is sent again, and not for ever waited."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bson import ObjectId

from tests.kit.mongomock_async import AsyncMongomockClient
from turnkeep_server.history.mongodb_connection import MongoDBConnection
from turnkeep_server.history.mongodb_elections import Elections

FIRST, SECOND, THIRD = (ObjectId(f"7fffffff{n:016d}") for n in (1, 2, 3))


def heard(elections: Elections, election_id: ObjectId | None, *, primary: bool = True) -> None:
    """A heartbeat's answer arrives."""
    said = {"isWritablePrimary": primary, "electionId": election_id}
    event = SimpleNamespace(reply=SimpleNamespace(document=said))
    elections.succeeded(cast(Any, event))


def test_only_another_primary_is_told_and_one_that_slept_is_not_believed() -> None:
    elections, told = Elections(), list[int]()
    elections.tell(lambda: told.append(len(told)))
    heard(elections, None)  # a standalone server, or a mongos
    heard(elections, None, primary=False)
    heard(elections, SECOND)  # the first that is seen
    assert elections.latest == SECOND
    heard(elections, SECOND)
    heard(elections, FIRST)
    assert not told
    heard(elections, THIRD)
    heard(elections, SECOND)
    assert len(told) == 1
    assert elections.latest == THIRD


def test_a_new_connections_first_answer_is_heard() -> None:
    said = {"ismaster": True, "electionId": FIRST}
    elections = Elections()
    elections.succeeded(cast(Any, SimpleNamespace(reply=SimpleNamespace(document=said))))
    assert elections.latest == FIRST


class Hanging:
    """An operation whose first attempts get no answer."""

    def __init__(self, silences: int) -> None:
        self.calls = 0
        self._silences = silences

    async def run(self) -> str:
        self.calls += 1
        if self.calls <= self._silences:
            await asyncio.Event().wait()
        return "done"


@pytest.mark.filterwarnings("ignore:coroutine")
async def test_what_waits_for_the_old_primary_is_sent_again() -> None:
    elections = Elections()
    heard(elections, FIRST)
    client = cast(Any, AsyncMongomockClient())
    connection = MongoDBConnection(client, "test", 20.0, elections)
    hanging = Hanging(silences=1)
    waiting = asyncio.create_task(connection.run(hanging.run))
    await asyncio.sleep(0.01)
    heard(elections, SECOND)
    async with asyncio.timeout(3):
        assert await waiting == "done"
    assert hanging.calls == 2


async def test_a_connection_that_leads_nowhere_is_not_waited_on_for_the_whole_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("turnkeep_server.history.mongodb_connection._PATIENCE_SECONDS", 0.1)
    connection = MongoDBConnection(cast(Any, AsyncMongomockClient()), "test", 20.0)
    hanging = Hanging(silences=2)
    async with asyncio.timeout(3):
        assert await connection.run(hanging.run) == "done"
    assert hanging.calls == 3
