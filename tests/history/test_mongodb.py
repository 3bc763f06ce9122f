"""The contract on a real MongoDB, and what only a real MongoDB can show."""

import asyncio
import dataclasses
import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from bson import ObjectId
from pydantic import SecretStr
from pymongo import AsyncMongoClient

from tests.history.contract import COMPLETED, VICTOR, HistoryContract, add, answer, draft, texts
from turnkeep_server.errors import SettingsError, StartupError, TurnTakenOver
from turnkeep_server.history.contract import HistoryStore, SequenceTaken
from turnkeep_server.history.mongodb import MongoDBHistoryStore, store_over
from turnkeep_server.history.mongodb_connection import connect
from turnkeep_server.history.mongodb_documents import tombstone_document
from turnkeep_server.history.mongodb_indexes import TURN_INDEXES
from turnkeep_server.history.mongodb_session import SessionDocuments
from turnkeep_server.history.stores import opened_store
from turnkeep_server.turns import (
    UNFINISHED,
    Message,
    Role,
    SessionKey,
    Summary,
    Turn,
    TurnStatus,
)


def opened(
    url: str, lease_seconds: float = 15.0, timeout_seconds: float = 10.0
) -> AbstractAsyncContextManager[HistoryStore]:
    return opened_store(
        SecretStr(url), lease_seconds=lease_seconds, operation_timeout_seconds=timeout_seconds
    )


@asynccontextmanager
async def opened_mongodb(url: str) -> AsyncIterator[MongoDBHistoryStore]:
    connection = connect(url, 10.0)
    try:
        async with store_over(connection, 15.0) as store:
            yield store
    finally:
        await connection.close()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[HistoryStore]:
    async with opened(database_url) as store:
        yield store


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Any]:
    async with AsyncMongoClient[dict[str, Any]](database_url, tz_aware=True) as client:
        yield client.get_default_database()


class TestMongoDB(HistoryContract):
    """Every behaviour of the contract; `store` is this module's."""


async def test_the_lease_of_a_dead_owner_is_taken_over_by_the_database_s_clock(
    database_url: str,
) -> None:
    async with opened(database_url) as alive:
        history = alive.history(VICTOR)
        async with opened(database_url, lease_seconds=0.5) as dead:
            running = await dead.history(VICTOR).begin(draft(request_id="r1"), 1)
            assert not await history.take_over(running)
        async with asyncio.timeout(5):
            while await history.is_running(running):
                await history.take_over(running)
                await asyncio.sleep(0.05)
        (failed,) = await history.page(UNFINISHED, limit=5)
        assert (failed.status, failed.failure) == (TurnStatus.FAILED, "TURN_TAKEN_OVER")
        assert [each.text for each in failed.messages] == [draft().messages[0].text]
        assert await history.find("r1") is None


async def test_a_living_owner_s_lease_is_renewed(database_url: str) -> None:
    async with (
        opened(database_url, lease_seconds=0.6) as owner,
        opened(database_url) as other,
    ):
        running = await owner.history(VICTOR).begin(draft(), 1)
        for _ in range(15):
            assert not await other.history(VICTOR).take_over(running)
            await asyncio.sleep(0.1)
        await owner.history(VICTOR).complete(running, answer())


async def test_a_turn_that_its_own_process_gave_up_needs_no_lease_to_run_out(
    store: HistoryStore,
) -> None:
    history = store.history(VICTOR)
    task = asyncio.create_task(history.begin(draft(), 1))
    # Cancelled at every possible step of its way to the database and back.
    for steps in range(200):
        await asyncio.sleep(0)
        if steps == 20:
            task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    tail = await history.tail(1)
    if tail.running and not task.cancelled():
        pytest.fail("the task ended before it could be cancelled: cancel earlier")
    if tail.running:
        assert await history.take_over(tail.running)


async def test_who_was_taken_over_cannot_write_any_more(database_url: str, database: Any) -> None:
    async with opened(database_url) as first, opened(database_url, lease_seconds=1) as second:
        running = await first.history(VICTOR).begin(draft(), 1)
        expired = [{"$set": {"lease_expires_at": {"$add": ["$$NOW", -1]}}}]
        await database.turns.update_one({}, expired)
        async with asyncio.timeout(5):
            while await second.history(VICTOR).is_running(running):
                await second.history(VICTOR).take_over(running)
                await asyncio.sleep(0.05)
        with pytest.raises(TurnTakenOver):
            await first.history(VICTOR).complete(running, answer())
        assert await texts(second.history(VICTOR)) == []


async def test_a_lease_that_ran_out_in_an_outage_is_the_living_s_to_renew_first(
    database_url: str, database: Any
) -> None:
    async with opened(database_url) as owner, opened(database_url) as other:
        running = await owner.history(VICTOR).begin(draft(), 1)
        expired = [{"$set": {"lease_expires_at": {"$add": ["$$NOW", -60_000]}}}]
        await database.turns.update_one({}, expired)
        # The store is back: others look before the owner's renewal has come, and again after it.
        assert not await owner.history(VICTOR).take_over(running)
        assert not await other.history(VICTOR).take_over(running)
        renewed = [{"$set": {"lease_expires_at": {"$add": ["$$NOW", 60_000]}}}]
        await database.turns.update_one({}, renewed)
        await asyncio.sleep(2.1)
        assert not await other.history(VICTOR).take_over(running)
        await owner.history(VICTOR).complete(running, answer())


async def test_a_sweep_ends_the_dead_s_turns_and_no_others(
    database_url: str, database: Any
) -> None:
    sessions = [SessionKey("default", "victor", f"{n}") for n in range(5)]
    async with opened(database_url) as living, opened_mongodb(database_url) as sweeper:
        kept = await living.history(VICTOR).begin(draft(), 1)
        async with opened(database_url) as dead:
            lost = [await dead.history(each).begin(draft(), 1) for each in sessions]
        expired = [{"$set": {"lease_expires_at": {"$add": ["$$NOW", -60_000]}}}]
        await database.turns.update_many({}, expired)
        await sweeper.sweep()
        assert await database.turns.count_documents({"status": "RUNNING"}) == 6
        renewed = [{"$set": {"lease_expires_at": {"$add": ["$$NOW", 60_000]}}}]
        await database.turns.update_one({"_id": ObjectId(kept.id)}, renewed)
        await asyncio.sleep(1.1)
        await sweeper.sweep()
        for session, turn in zip(sessions, lost, strict=True):
            assert not await living.history(session).is_running(turn)
        await living.history(VICTOR).complete(kept, answer())


async def test_a_commit_whose_answer_was_lost_is_found_done(store: HistoryStore) -> None:
    history = store.history(VICTOR)
    running = await history.begin(draft(), 1)
    assert await history.complete(running, answer()) != running
    again = await history.complete(running, answer())
    assert again.status is TurnStatus.COMPLETED
    assert len(await texts(history)) == 2


async def test_readers_stop_at_a_tombstone_though_the_turns_below_are_still_there(
    store: HistoryStore, database: Any
) -> None:
    history = store.history(VICTOR)
    old = await add(history, "старое", request_id="r1")
    # A clear that died between its two steps.
    await database.turns.insert_one(
        {**{k: getattr(VICTOR, k) for k in VICTOR.__slots__}, "sequence": 2, "status": "CLEARED"}
    )
    assert (await history.tail(10)).turns == ()
    assert await history.page(COMPLETED, limit=5) == []
    assert await history.page(COMPLETED, limit=5, newest_first=True) == []
    assert await history.find("r1") is None
    assert await database.turns.find_one({"_id": ObjectId(old.id)}) is None
    assert (await add(history, "новое", request_id="r1")).sequence == 3


async def test_a_summary_below_a_tombstone_is_not_found_though_it_is_still_there(
    store: HistoryStore, database: Any
) -> None:
    history = store.history(VICTOR)
    await add(history, "старое")
    assert await history.summarize(Summary((Message(Role.SYSTEM, "Его зовут Виктор."),), 1, 1))
    # A clear that died between its two steps.
    await database.turns.insert_one(tombstone_document(VICTOR, 2))
    assert await database.turns.count_documents({"summary.pieces.0": {"$exists": True}}) == 1
    assert await history.summary() is None


async def test_repair_rebuilds_the_list_and_finishes_clears(
    store: HistoryStore, database: Any
) -> None:
    kept, gone = VICTOR, dataclasses.replace(VICTOR, session_id="gone")
    for n in range(3):
        await add(store.history(kept), f"{n}")
    await add(store.history(gone), "старое")
    listed = await store.sessions("default", "victor", limit=5)
    await database.turns.insert_one(
        {**{k: getattr(gone, k) for k in gone.__slots__}, "sequence": 2, "status": "CLEARED"}
    )
    await database.sessions.delete_many({})
    assert await store.repair() == 1
    assert await store.sessions("default", "victor", limit=5) == [
        each for each in listed if each.session == kept
    ]
    assert await database.turns.count_documents({"session_id": "gone"}) == 1


async def test_writes_are_majority_and_journalled_whatever_the_url_leaves_out(
    database_url: str,
) -> None:
    connection = connect(database_url, 5.0)
    for collection in (connection.turns, connection.sessions):
        assert collection.write_concern.document == {"w": "majority", "j": True}
        assert collection.read_concern.level == "majority"
    await connection.close()


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("w=1", "w=1"),
        ("w=0", "w=0"),
        ("journal=false", "journal"),
        ("readConcernLevel=local", "readConcernLevel"),
        ("retryWrites=false", "retryWrites"),
        ("readPreference=secondary", "readPreference"),
    ],
)
def test_a_url_that_weakens_durability_is_refused(option: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        connect(f"mongodb://user:secret@127.0.0.1:1/db?{option}", 5.0)


@pytest.mark.parametrize(
    "url",
    ["mongodb://:0/db", "mongodb://a:b:c@x", "mongodb://u:p@ss@127.0.0.1/db", "mongodb://h:99999"],
)
def test_a_malformed_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        connect(url, 5.0)
    assert "TURNKEEP_HISTORY_URL" in str(refused.value)
    assert url not in str(refused.value)


async def test_a_dead_mongodb_at_start_up_is_said_within_the_timeout() -> None:
    async with asyncio.timeout(5):
        with pytest.raises(StartupError, match="did not answer"):
            async with opened("mongodb://127.0.0.1:1/db", timeout_seconds=0.5):
                pass
    # Closed while its monitors try to connect, pymongo 4.20 leaves a socket to the collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def test_indexes_are_made_once_and_again_without_harm(
    database_url: str, database: Any
) -> None:
    for _ in range(2):
        async with opened(database_url) as store:
            await store.ping()
    names = set(await database.turns.index_information())
    assert names == {
        "_id_",
        "session_sequence",
        "session_request",
        "session_status",
        "session_summary",
        "running",
    }


async def test_many_processes_at_one_session_make_one_order(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(database_url)) for _ in range(4)]
        outcomes = await asyncio.gather(
            *(_append_somewhere(stores[n % 4], n) for n in range(40)), return_exceptions=True
        )
        assert [each for each in outcomes if isinstance(each, BaseException)] == []
        turns = await stores[0].history(VICTOR).page(COMPLETED, limit=100)
        assert [turn.sequence for turn in turns] == list(range(1, 41))
        assert [turn.messages_before for turn in turns] == list(range(40))


async def _append_somewhere(store: HistoryStore, n: int) -> Turn:
    while True:
        try:
            return await add(store.history(VICTOR), f"{n}")
        except SequenceTaken:
            continue


def test_a_session_key_leads_every_index_that_orders_or_identifies_turns() -> None:
    for index in TURN_INDEXES:
        if index.document["name"] != "running":
            assert list(index.document["key"])[:3] == list(SessionKey.__slots__)


async def test_a_dead_server_s_turn_reads_failed_though_nobody_asks(database_url: str) -> None:
    async with opened(database_url, lease_seconds=1.0) as alive:
        history = alive.history(VICTOR)
        async with opened(database_url, lease_seconds=0.3) as dead:
            await dead.history(VICTOR).begin(draft(request_id="r1"), 1)
        async with asyncio.timeout(5):
            while not (ended := await history.page(UNFINISHED, limit=5)):
                await asyncio.sleep(0.05)
        assert (ended[0].status, ended[0].failure) == (TurnStatus.FAILED, "TURN_TAKEN_OVER")


async def test_an_insert_that_comes_too_late_is_not_buried_below_a_tombstone(
    store: HistoryStore,
) -> None:
    history = store.history(VICTOR)
    await add(history, "раз")
    # Somebody read the tail here, and means to be second; a turn and a clear come first.
    await add(history, "два")
    await history.clear_session()
    for method in (history.begin, history.append):
        with pytest.raises(SequenceTaken):
            await method(draft("поздно", request_id="r1"), 2)
    assert (await history.tail(5)).head == 3
    assert await history.find("r1") is None
    assert (await add(history, "поздно", request_id="r1")).sequence == 4


async def test_an_insert_that_is_sent_again_after_a_lost_answer_finds_itself(
    database_url: str,
) -> None:
    async with AsyncExitStack() as stack:
        connection = connect(database_url, 10.0)
        stack.push_async_callback(connection.close)
        await connection.create_indexes()
        documents = SessionDocuments(VICTOR, connection, deadline=None)
        fresh = {"_id": {"$eq": ObjectId()}, **documents.at(1), "status": {"$eq": "RUNNING"}}
        change = [{"$set": {"lease_expires_at": "$$NOW"}}]
        assert await documents.insert_in_sight(fresh, change, 1)
        assert await documents.insert_in_sight(fresh, change, 1)
        await connection.turns.insert_one(tombstone_document(VICTOR, 2))
        assert not await documents.insert_in_sight(fresh, change, 1)
        (stone,) = await connection.turns.find({"status": "CLEARED"}, {"_id": 0}).to_list(None)
        assert stone == tombstone_document(VICTOR, 2)


async def test_failed_turns_cost_a_reader_nothing(store: HistoryStore, database: Any) -> None:
    history = store.history(VICTOR)
    await add(history, "раз")
    for n in range(30):
        turn = await history.begin(draft(before=1), 2 + n)
        await history.fail(turn, TurnStatus.FAILED, "MODEL_UNAVAILABLE", "")
    await database.command("profile", 2)
    assert len(await history.page(COMPLETED, limit=5, newest_first=True)) == 1
    await database.command("profile", 0)
    reads = await database["system.profile"].find({"ns": {"$regex": r"\.turns$"}}).to_list(None)
    assert sum(each["docsExamined"] for each in reads) == 1


async def test_an_append_whose_given_up_attempt_was_carried_out_is_no_other_turns_place(
    store: HistoryStore, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It clashes with itself, if the document has changed meanwhile, and must not come twice."""
    own = ObjectId()
    monkeypatch.setattr("turnkeep_server.history.mongodb_history.ObjectId", lambda: own)
    history = store.history(VICTOR)
    await history.append(draft("Привет 👋"), 1)
    await database["turns"].update_one({"_id": own}, {"$set": {"owner": "another"}})
    assert (await history.append(draft("Привет 👋"), 1)).sequence == 1
    assert await database["turns"].count_documents({}) == 1


async def test_processes_tell_each_other_what_tenants_used(database_url: str) -> None:
    """Whatever a tenant is called; a number that comes twice, or late, counts once."""
    tenants = ["acme", "a.b$c", "глобекс"]
    async with opened(database_url) as one, opened(database_url) as two:
        assert await one.share_tokens(20_000, {}, tenants) == {}
        await one.share_tokens(20_000, {"acme": 5, "a.b$c": 7}, tenants)
        await one.share_tokens(20_000, {"acme": 9}, tenants)
        await one.share_tokens(20_000, {"acme": 5}, tenants)
        others = await two.share_tokens(20_000, {"acme": 100, "глобекс": 1}, tenants)
        assert others == {"acme": (100, 9), "a.b$c": (0, 7), "глобекс": (1, 0)}
        assert await one.share_tokens(20_000, {}, ["acme"]) == {"acme": (9, 100)}
        assert await two.share_tokens(20_001, {}, tenants) == {}
    async with opened(database_url) as again:
        assert await again.share_tokens(20_000, {}, ["acme"]) == {"acme": (0, 109)}


async def test_what_tenants_used_is_kept_for_a_while_only(database_url: str) -> None:
    async with opened_mongodb(database_url) as store:
        await store.share_tokens(20_000, {"acme": 5}, [])
        days = store._connection.tenant_days
        (document,) = [each async for each in days.find({})]
        assert document["day"].isoformat() == "2024-10-04T00:00:00+00:00"
        indexes = await days.index_information()
        assert indexes["over"]["expireAfterSeconds"] == 40 * 86_400
