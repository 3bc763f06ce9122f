"""The façade over mongomock against a real mongod: the same calls, the same outcomes."""

import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient, IndexModel, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteError

from tests.kit.mongod import Mongod
from tests.kit.mongomock_async import AsyncMongomockClient

PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
FUTURE = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
AFTER = ReturnDocument.AFTER
EXPIRED = {"$expr": {"$lt": ["$until", "$$NOW"]}}
LIVE = {"$expr": {"$and": [{"$gt": ["$until", "$$NOW"]}, {"$lte": ["$since", "$$NOW"]}]}}
STAMP: list[dict[str, Any]] = [
    {"$set": {"text": {"$literal": "$x"}, "n": 7, "deep.er": "π"}},
    {"$unset": ["owner"]},
]
PARTIAL = {"request_id": {"$exists": True}}
INDEXES = [
    IndexModel([("session", 1), ("sequence", 1)], unique=True),
    IndexModel([("session", 1), ("request_id", 1)], unique=True, partialFilterExpression=PARTIAL),
]
TURNS = [
    {"_id": 1, "session": "s", "sequence": 1, "request_id": "r1", "until": PAST, "owner": "a"},
    {"_id": 2, "session": "s", "sequence": 2, "until": FUTURE, "since": PAST, "owner": "b"},
    {"_id": 3, "session": "s", "sequence": 3, "until": None, "messages": [{"role": "user"}]},
    {"_id": 4, "session": "t", "sequence": 1, "request_id": "r1"},
]

# A call on a collection that holds TURNS.
CALLS: list[Callable[[Any], Awaitable[Any]]] = [
    lambda c: c.insert_one({"_id": 5, "session": "s", "sequence": 3}),
    lambda c: c.insert_one({"_id": 5, "session": "s", "sequence": 9, "request_id": "r1"}),
    lambda c: c.insert_one({"_id": 1, "session": "s", "sequence": 9}),
    lambda c: c.insert_one({"_id": 5, "session": "s", "sequence": 4, "text": "Привет 👋🏽"}),
    lambda c: c.update_one({"_id": {"$eq": 1}, "owner": {"$eq": "a"}}, STAMP),
    lambda c: c.update_one({"_id": {"$eq": 1}, "owner": {"$eq": "b"}}, STAMP),
    lambda c: c.update_many({"session": "s", **EXPIRED}, STAMP),
    lambda c: c.update_many(LIVE, {"$set": {"live": True}, "$inc": {"n": 1}}),
    lambda c: c.update_many({"$or": [LIVE, {"owner": "a"}]}, STAMP),
    lambda c: c.update_one({"_id": 2}, [{"$set": {"sequence": 1}}]),
    lambda c: c.update_one({"_id": 2}, {"$set": {"request_id": "r1"}}),
    lambda c: c.update_one({"_id": 6, "session": {"$eq": "u"}, **EXPIRED}, STAMP, upsert=True),
    lambda c: c.update_one({"_id": 6, "session": {"$eq": "u"}}, STAMP, upsert=True),
    lambda c: c.update_one({"_id": 1, "owner": {"$eq": "b"}}, STAMP, upsert=True),
    lambda c: c.update_one(
        {"owner": {"$eq": "z"}, "n": {"$exists": True}}, {"$set": {"_id": 6}}, True
    ),
    lambda c: c.update_one({"_id": 6, "$and": [{"k.v": 1}]}, {"$set": {"a": 1}}, upsert=True),
    lambda c: c.update_one({"_id": 6}, {"$setOnInsert": {"a": 1}, "$max": {"b": 2}}, upsert=True),
    lambda c: c.update_one({"_id": 1}, {"$setOnInsert": {"a": 1}, "$max": {"b": 2}}, upsert=True),
    lambda c: c.find_one_and_update({"_id": 1}, STAMP, return_document=AFTER),
    lambda c: c.find_one_and_update({"session": "s"}, STAMP, sort=[("sequence", -1)]),
    lambda c: c.find_one_and_update({"_id": 6}, STAMP, upsert=True, return_document=AFTER),
    lambda c: c.find_one_and_update({"_id": 6}, STAMP, upsert=True),
    lambda c: c.find_one_and_update({"_id": 6}, STAMP, return_document=AFTER),
    lambda c: c.find({"session": "s", **EXPIRED}, {"owner": 1}).sort("sequence", -1).to_list(None),
    lambda c: c.find(LIVE).to_list(None),
    lambda c: c.find_one({"session": "s"}, ["sequence"], sort=[("sequence", -1)]),
    lambda c: c.find({"messages.role": "user"}, {"_id": 0, "messages": 1}).to_list(None),
    lambda c: c.delete_many({"session": "s", "sequence": {"$lt": 3}}),
    lambda c: c.delete_one({"_id": 99}),
    lambda c: c.count_documents({"session": "s"}, limit=2),
    lambda c: c.bulk_write(
        [
            UpdateOne({"_id": 2}, {"$set": {"sequence": 1}}),
            UpdateOne({"_id": 1}, {"$set": {"n": 1}}),
            UpdateOne({"_id": 6}, STAMP, upsert=True),
        ],
        ordered=False,
    ),
]


async def outcome(collection: Any, call: Callable[[Any], Awaitable[Any]]) -> Any:
    """What a call returns or raises, and what the collection holds after it."""
    await collection.create_indexes(INDEXES)
    for turn in TURNS:
        await collection.insert_one(dict(turn))
    try:
        returned = await call(collection)
    except DuplicateKeyError as error:
        details = dict(error.details or {})
        told: Any = (error.code, details["keyPattern"], details["keyValue"])
    except BulkWriteError as error:
        details = dict(error.details or {})
        errors = [(e["index"], e["code"], e["keyPattern"]) for e in details["writeErrors"]]
        counters = {name: details[name] for name in ("nMatched", "nModified", "nUpserted")}
        told = (errors, counters)
    except WriteError as error:
        told = error.code
    else:
        names = ("matched_count", "modified_count", "upserted_id", "deleted_count", "inserted_id")
        counts = {name: getattr(returned, name) for name in names if hasattr(returned, name)}
        told = counts or returned
    return told, await collection.find().sort("_id").to_list(None)


@pytest.fixture
async def mongod(tmp_path: Path) -> AsyncIterator[Mongod]:
    async with Mongod(tmp_path / "data", replica_set=None) as running:
        yield running


async def test_every_call_ends_as_it_does_on_a_real_mongod(mongod: Mongod) -> None:
    async with AsyncMongoClient[dict[str, Any]](mongod.url, tz_aware=True) as real:
        for number, call in enumerate(CALLS):
            expected = await outcome(real[f"call_{number}"]["turns"], call)
            assert await outcome(AsyncMongomockClient()["kit"]["turns"], call) == expected, number
