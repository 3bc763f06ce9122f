"""Every operation of a request names the whole shard key: one shard is asked of any number.

docs/scaling.md shards both collections on (tenant, user_id, session_id).
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from tests.history.contract import COMPLETED, VICTOR, add, answer, draft, notes
from turnkeep_server.history.contract import RequestIdTaken, SequenceTaken
from turnkeep_server.history.mongodb import MongoDBHistoryStore, store_over
from turnkeep_server.history.mongodb_connection import MongoDBConnection
from turnkeep_server.history.mongodb_indexes import SESSION_INDEXES, TURN_INDEXES
from turnkeep_server.turns import TurnStatus

SHARD_KEY = ["tenant", "user_id", "session_id"]


class Filters(CommandListener):
    """Remembers each command's name and each of its filters."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.seen += [(event.command_name, each) for each in _filters(event.command)]

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to remember."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to remember."""


def _filters(command: Any) -> Iterator[dict[str, Any]]:
    if "filter" in command:
        yield command["filter"]
    for each in [*command.get("updates", ()), *command.get("deletes", ())]:
        yield each["q"]
    for stage in command.get("pipeline", ()):
        if "$match" in stage:
            yield stage["$match"]


def _is_of_a_process(wanted: dict[str, Any]) -> bool:
    """Whether it renews a process's leases, or sweeps for dead ones: those name no session."""
    return set(wanted) == {"status", "$expr"} or "$in" in wanted.get("_id", {})


@pytest.fixture
def filters() -> Filters:
    return Filters()


@pytest.fixture
async def store(database_url: str, filters: Filters) -> AsyncIterator[MongoDBHistoryStore]:
    client = AsyncMongoClient[dict[str, Any]](
        database_url, tz_aware=True, event_listeners=[filters]
    )
    connection = MongoDBConnection(client, client.get_default_database().name, 10.0)
    try:
        async with store_over(connection, 15.0) as store:
            yield store
    finally:
        await connection.close()


async def test_every_operation_of_a_request_names_the_whole_shard_key(
    store: MongoDBHistoryStore, filters: Filters
) -> None:
    history = store.history(VICTOR)
    first = await history.begin(draft(request_id="r1"), 1)
    with pytest.raises(SequenceTaken):
        await history.begin(draft(request_id="r2"), 1)
    with pytest.raises(RequestIdTaken):
        await history.begin(draft(request_id="r1"), 2)
    assert await history.is_running(first)
    assert not await history.take_over(first)
    await history.announce_wait(first)
    await history.complete(first, answer())
    await add(history, "второй", request_id="r3")
    third = await history.begin(draft(request_id="r4"), 3)
    await history.fail(third, TurnStatus.CANCELLED, "", "недо")
    assert await history.find("r1")
    assert len(await history.page(COMPLETED, limit=10)) == 2
    assert len(await history.page(COMPLETED, limit=10, newest_first=True, after=3)) == 2
    assert await history.claim_summary(None, 1.0)
    assert await history.summarize(notes(1))
    assert await history.summary()
    await history.append_all([draft("四"), draft("五")], 4)
    assert (await history.clear_session()).turns

    assert {name for name, _ in filters.seen} >= {"find", "update", "delete"}
    without = [
        (name, each)
        for name, each in filters.seen
        if not set(SHARD_KEY) <= set(each) and not _is_of_a_process(each)
    ]
    assert without == []


async def test_a_user_s_list_names_what_the_shard_key_begins_with(
    store: MongoDBHistoryStore, filters: Filters
) -> None:
    await add(store.history(VICTOR), "раз")
    filters.seen.clear()
    assert len(await store.sessions("default", "victor", limit=10)) == 1
    reads = [each for name, each in filters.seen if name == "find" and "listed" in each]
    assert [set(SHARD_KEY[:2]) <= set(each) for each in reads] == [True]


def test_every_unique_index_begins_with_the_shard_key() -> None:
    indexes = [each.document for each in (*TURN_INDEXES, *SESSION_INDEXES)]
    unique = [list(each["key"]) for each in indexes if each.get("unique")]
    assert [each[:3] for each in unique] == [SHARD_KEY] * 3
