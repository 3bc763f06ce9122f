"""Writes to a mongomock collection that end, or fail, as a server's do; nothing here awaits."""

from collections.abc import Mapping
from typing import Any

import bson
import mongomock
from bson.codec_options import CodecOptions
from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError
from pymongo.results import UpdateResult

from tests.kit.mongo_pipelines import Document, equality_fields
from tests.kit.mongomock_unique import explained

TZ_AWARE: CodecOptions[Document] = CodecOptions(tz_aware=True)

INDEX_OPTIONS = {"name", "unique", "sparse", "expireAfterSeconds", "partialFilterExpression"}


def check_bson(document: Mapping[str, Any]) -> None:
    """Raise what a driver raises for a document that BSON cannot hold."""
    bson.encode(document)


def create_index(collection: Any, model: Mapping[str, Any]) -> str:
    """Make the index that an IndexModel's document describes, unless it is there; its name."""
    options = dict(model)
    keys = list(options.pop("key").items())
    name: str = options["name"]
    if unknown := options.keys() - INDEX_OPTIONS:
        raise NotImplementedError(f"index options {sorted(unknown)}")
    there = collection.index_information().get(name)
    # Not made twice: mongomock would check the documents again and forget that it is partial. Not
    # made by its create_indexes(), which loses partialFilterExpression without a word.
    if there is None or list(there["key"]) != keys:
        collection.create_index(keys, **options)
    return name


def insert(collection: Any, document: Document) -> None:
    """Insert a document that has its _id. DuplicateKeyError names the index in its details."""
    stored = bson.decode(bson.encode(document), codec_options=TZ_AWARE)
    try:
        collection.insert_one(stored)
    except DuplicateKeyError as error:
        raise explained(error, collection, [stored], inserted=True) from error


def update(
    collection: Any, condition: Document, change: Document, *, upsert: bool, multi: bool
) -> UpdateResult:
    """Apply a classic update under a plain filter, to the first match or to all."""
    found = list(collection.find(condition).limit(0 if multi else 1))
    if found:
        return _change(collection, condition, change, found)
    if not upsert:
        return UpdateResult({"n": 0, "nModified": 0, "updatedExisting": False}, acknowledged=True)
    # Made aside: in place, mongomock would also update what matches the equalities alone.
    made = _applied([], equality_fields(condition), change)[0]
    insert(collection, made)
    done = {"n": 1, "nModified": 0, "upserted": made["_id"], "updatedExisting": False}
    return UpdateResult(done, acknowledged=True)


def empty_bulk_result() -> Document:
    """The counters of a bulk write."""
    counters = ("nInserted", "nMatched", "nModified", "nRemoved", "nUpserted")
    return {
        **dict.fromkeys(counters, 0),
        "upserted": [],
        "writeErrors": [],
        "writeConcernErrors": [],
    }


def count_update(result: Document, index: int, done: UpdateResult) -> None:
    """Add one update to a bulk write's counters."""
    if done.upserted_id is not None:
        result["nUpserted"] += 1
        result["upserted"].append({"index": index, "_id": done.upserted_id})
    else:
        result["nMatched"] += done.matched_count
        result["nModified"] += done.modified_count


def count_error(result: Document, index: int, request: UpdateOne, error: DuplicateKeyError) -> None:
    """Add one duplicate key to a bulk write's errors."""
    asked = {"q": request._filter, "u": request._doc, "upsert": bool(request._upsert)}
    result["writeErrors"].append({**(error.details or {}), "index": index, "op": asked})


def _change(
    collection: Any, condition: Document, change: Document, found: list[Document]
) -> UpdateResult:
    modified = 0
    for document in found:
        one = {**condition, "_id": document["_id"]}
        try:
            done = collection.update_one(one, change)
        except DuplicateKeyError as error:
            wanted = _applied([document], one, change)
            raise explained(error, collection, wanted, inserted=False) from error
        modified += done.modified_count
    raw = {"n": len(found), "nModified": modified, "updatedExisting": True}
    return UpdateResult(raw, acknowledged=True)


def _applied(documents: list[Document], condition: Document, change: Document) -> list[Document]:
    """What an upsert would make of the documents, were there no other and no unique index."""
    aside: Any = mongomock.MongoClient(tz_aware=True)["aside"]["aside"]
    if documents:
        aside.insert_many(documents)
    aside.update_one(condition, change, upsert=True)
    return list(aside.find())
