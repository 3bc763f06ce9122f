"""The façade over mongomock: what it adds to mongomock, and what it refuses to guess."""

import asyncio
import datetime
from typing import Any

import pymongo
import pytest
from pymongo import IndexModel, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from tests.kit.mongomock_async import AsyncMongomockClient, AsyncMongomockCollection

NOON = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)
INDEXES = [
    IndexModel([("session", 1), ("sequence", 1)], name="order", unique=True),
    IndexModel(
        [("session", 1), ("request_id", 1)],
        name="request",
        unique=True,
        partialFilterExpression={"request_id": {"$exists": True}},
    ),
]


@pytest.fixture
def client() -> AsyncMongomockClient:
    client = AsyncMongomockClient()
    client.clock = lambda: NOON
    return client


@pytest.fixture
async def turns(client: AsyncMongomockClient) -> AsyncMongomockCollection:
    """A collection with the two unique indexes of turn documents, one of them partial."""
    turns = client["turnkeep"]["turns"]
    await turns.create_indexes(INDEXES)
    return turns


async def test_a_duplicate_key_names_the_index_that_was_violated(
    turns: AsyncMongomockCollection,
) -> None:
    await turns.insert_one({"_id": 1, "session": "s", "sequence": 1, "request_id": "r"})
    for document, pattern in (
        ({"session": "s", "sequence": 1, "request_id": "q"}, {"session": 1, "sequence": 1}),
        ({"session": "s", "sequence": 2, "request_id": "r"}, {"session": 1, "request_id": 1}),
        ({"_id": 1, "session": "t", "sequence": 1}, {"_id": 1}),
    ):
        with pytest.raises(DuplicateKeyError) as raised:
            await turns.insert_one(document)
        assert raised.value.code == 11000
        assert raised.value.details is not None
        assert raised.value.details["keyPattern"] == pattern
        assert set(raised.value.details["keyValue"]) == set(pattern)
    assert await turns.count_documents({}) == 1


async def test_an_update_that_violates_an_index_changes_nothing_and_names_it(
    turns: AsyncMongomockCollection,
) -> None:
    await turns.insert_one({"_id": 1, "session": "s", "sequence": 1})
    await turns.insert_one({"_id": 2, "session": "s", "sequence": 2})
    with pytest.raises(DuplicateKeyError) as raised:
        await turns.update_one({"_id": 2}, [{"$set": {"sequence": 1}}])
    assert raised.value.details is not None
    assert raised.value.details["keyPattern"] == {"session": 1, "sequence": 1}
    assert await turns.find_one({"_id": 2}) == {"_id": 2, "session": "s", "sequence": 2}


async def test_documents_outside_a_partial_index_do_not_clash(
    turns: AsyncMongomockCollection,
) -> None:
    for sequence in (1, 2):
        await turns.insert_one({"session": "s", "sequence": sequence})
    assert await turns.count_documents({"session": "s"}) == 2
    # A second server that starts up makes the indexes again.
    await turns.create_indexes(INDEXES)


async def test_of_two_racing_inserts_one_wins(turns: AsyncMongomockCollection) -> None:
    raced = await asyncio.gather(
        *(turns.insert_one({"session": "s", "sequence": 1, "by": n}) for n in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, DuplicateKeyError) for result in raced) == 19
    assert await turns.count_documents({}) == 1


async def test_every_call_lets_other_tasks_run(turns: AsyncMongomockCollection) -> None:
    order: list[str] = []

    async def write(name: str) -> None:
        for sequence in range(3):
            order.append(name)
            await turns.insert_one({"session": name, "sequence": sequence})

    await asyncio.gather(write("a"), write("b"))
    assert order == ["a", "b"] * 3


async def test_a_pipeline_takes_the_servers_time_and_literals(
    turns: AsyncMongomockCollection,
) -> None:
    await turns.insert_one({"_id": 1, "owner": "me", "old": 1, "status": "RUNNING"})
    pipeline: list[dict[str, Any]] = [
        {"$set": {"status": "DONE", "text": {"$literal": "$5"}, "at": "$$NOW"}},
        {"$set": {"until": {"$add": ["$$NOW", 15_000]}, "parts": {"$literal": [{"k": "$a"}]}}},
        {"$unset": ["owner", "old"]},
    ]
    done = await turns.update_one({"_id": {"$eq": 1}}, pipeline, hint="_id_", comment="why")

    assert (done.matched_count, done.modified_count) == (1, 1)
    assert await turns.find_one({"_id": 1}) == {
        "_id": 1,
        "status": "DONE",
        "text": "$5",
        "parts": [{"k": "$a"}],
        "at": NOON,
        "until": NOON + 15 * SECOND,
    }


async def test_an_upsert_takes_its_equalities_from_the_filter(
    turns: AsyncMongomockCollection,
) -> None:
    await turns.insert_one({"_id": 8, "session": "s", "sequence": 1, "owner": "me"})
    condition = {"session": {"$eq": "s"}, "$and": [{"sequence": 1}], "owner": {"$exists": False}}
    with pytest.raises(DuplicateKeyError):
        await turns.update_one(condition, [{"$set": {"at": "$$NOW"}}], upsert=True)

    condition["$and"] = [{"sequence": 2}]
    stamp = [{"$set": {"at": "$$NOW"}}]
    done = await turns.update_one({"_id": 9, **condition}, stamp, upsert=True)
    assert done.upserted_id == 9
    made = await turns.find_one({"_id": 9})
    assert made == {"_id": 9, "session": "s", "sequence": 2, "at": NOON}


async def test_a_filter_compares_a_field_with_the_servers_time(
    client: AsyncMongomockClient, turns: AsyncMongomockCollection
) -> None:
    for number, until in enumerate((NOON - SECOND, NOON, NOON + SECOND, None)):
        await turns.insert_one({"_id": number, "session": number, "until": until})
    await turns.insert_one({"_id": 4, "session": 4})

    async def matching(expression: dict[str, Any]) -> list[int]:
        found = await turns.find({"$expr": expression}, {"_id": 1}).sort("_id").to_list(None)
        return [document["_id"] for document in found]

    # Null and missing come before every date, in an expression.
    assert await matching({"$lt": ["$until", "$$NOW"]}) == [0, 3, 4]
    assert await matching({"$lte": ["$until", "$$NOW"]}) == [0, 1, 3, 4]
    assert await matching({"$gt": ["$until", "$$NOW"]}) == [2]
    later = {"$lt": ["$until", {"$add": ["$$NOW", 1_500]}]}
    assert await matching({"$and": [{"$gte": ["$until", "$$NOW"]}, later]}) == [1, 2]
    client.clock = lambda: NOON + 2 * SECOND
    assert await matching({"$lt": ["$until", "$$NOW"]}) == [0, 1, 2, 3, 4]


async def test_find_one_and_update_returns_before_or_after(turns: AsyncMongomockCollection) -> None:
    for sequence in (1, 2):
        await turns.insert_one({"_id": sequence, "session": "s", "sequence": sequence, "n": 0})
    up = {"$inc": {"n": 1}}
    newest = await turns.find_one_and_update(
        {"session": "s"}, up, sort=[("sequence", -1)], projection={"n": 1}
    )
    assert newest == {"_id": 2, "n": 0}
    after = await turns.find_one_and_update({"_id": 2}, up, return_document=ReturnDocument.AFTER)
    assert after == {"_id": 2, "session": "s", "sequence": 2, "n": 2}
    assert await turns.find_one_and_update({"_id": 3}, up) is None
    assert await turns.find_one_and_update({"_id": 3}, up, upsert=True) is None
    assert await turns.find_one({"_id": 3}) == {"_id": 3, "n": 1}


async def test_a_bulk_write_goes_on_after_a_duplicate_key_and_tells_all(
    turns: AsyncMongomockCollection,
) -> None:
    await turns.insert_one({"_id": 1, "session": "s", "sequence": 1})
    await turns.insert_one({"_id": 2, "session": "s", "sequence": 2})
    requests = [
        UpdateOne({"_id": 2}, {"$set": {"sequence": 1}}),
        UpdateOne({"_id": 1}, {"$set": {"seen": True}}),
        UpdateOne({"_id": 3}, {"$set": {"session": "t"}}, upsert=True),
    ]
    with pytest.raises(BulkWriteError) as raised:
        await turns.bulk_write(requests, ordered=False)
    assert raised.value.details is not None
    (error,) = raised.value.details["writeErrors"]
    assert (error["index"], error["code"]) == (0, 11000)

    result = await turns.bulk_write(requests[1:], ordered=False)
    assert (result.matched_count, result.modified_count) == (2, 0)
    assert await turns.count_documents({}) == 3


async def test_cursors_sort_skip_limit_and_iterate(turns: AsyncMongomockCollection) -> None:
    for sequence in range(1, 6):
        await turns.insert_one({"_id": sequence, "session": "s", "sequence": sequence})
    cursor = turns.find({"session": "s"}).sort("sequence", pymongo.DESCENDING).limit(3)
    assert [turn["sequence"] async for turn in cursor] == [5, 4, 3]
    found = turns.find({"session": "s"}, sort=[("sequence", 1)], skip=1, limit=3)
    assert [turn["sequence"] for turn in await found.to_list(2)] == [2, 3]
    assert [turn["sequence"] for turn in await found.to_list(None)] == [4]
    pipeline: list[dict[str, Any]] = [
        {"$match": {"sequence": {"$lte": 2}}},
        {"$count": "turns"},
    ]
    counted = await turns.aggregate(pipeline)
    assert await counted.to_list() == [{"turns": 2}]
    assert (await turns.delete_many({"sequence": {"$lt": 4}})).deleted_count == 3
    assert (await turns.delete_one({})).deleted_count == 1


async def test_times_come_back_aware_and_to_the_millisecond(
    turns: AsyncMongomockCollection,
) -> None:
    moscow = datetime.timezone(datetime.timedelta(hours=3))
    await turns.insert_one({"_id": 1, "at": NOON.astimezone(moscow).replace(microsecond=1_999)})
    found = await turns.find_one({"at": {"$gt": NOON}})
    assert found is not None
    assert found["at"] == NOON.replace(microsecond=1_000)
    assert found["at"].utcoffset() == datetime.timedelta(0)


async def test_what_bson_cannot_hold_is_refused_and_the_stored_is_no_callers_object(
    turns: AsyncMongomockCollection,
) -> None:
    with pytest.raises(UnicodeEncodeError):
        await turns.insert_one({"text": "\ud83d"})
    document: dict[str, Any] = {"messages": [{"text": "Привет"}]}
    stored = (await turns.insert_one(document)).inserted_id
    document["messages"].clear()
    assert document["_id"] == stored
    assert await turns.find_one({"_id": stored}) == {
        "_id": stored,
        "messages": [{"text": "Привет"}],
    }


@pytest.mark.parametrize(
    "update",
    [
        [{"$set": {"a": "$b"}}],
        [{"$set": {"a": {"b": 1}}}],
        [{"$set": {"a": {"$subtract": ["$$NOW", 1]}}}],
        [{"$set": {"a": 1, "a.b": 2}}],
        [{"$set": {"messages.0": 1}}],
        [{"$replaceWith": {"a": 1}}],
        {"$currentDate": {"a": True}},
    ],
)
async def test_a_form_that_it_does_not_know_is_refused(
    turns: AsyncMongomockCollection, update: Any
) -> None:
    await turns.insert_one({"_id": 1})
    with pytest.raises(NotImplementedError):
        await turns.update_one({"_id": 1}, update)
    unknown: list[dict[str, Any]] = [
        {"$lt": ["$$NOW", "$a"]},
        {"$eq": ["$a", "$$NOW"]},
        {"$or": []},
    ]
    for expression in unknown:
        with pytest.raises(NotImplementedError):
            await turns.find_one({"$expr": expression})


async def test_a_client_answers_as_a_client_does(client: AsyncMongomockClient) -> None:
    async with client:
        assert await client.admin.command("ping") == {"ok": 1.0}
        database = client.get_database("some", write_concern=pymongo.WriteConcern("majority"))
        things = database["things"].with_options(read_preference=pymongo.ReadPreference.PRIMARY)
        with pymongo.timeout(5):
            await things.insert_one({"_id": 1})
        assert await client["some"].get_collection("things").count_documents({}) == 1
        assert await AsyncMongomockClient()["some"]["things"].find_one() is None
