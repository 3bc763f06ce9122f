"""The collection behind AsyncMongomockClient: the calls, one coroutine each."""

# ruff: noqa: A002 - pymongo names its argument "filter", and callers may too

import asyncio
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from bson.objectid import ObjectId
from pymongo import IndexModel, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteError
from pymongo.results import (
    BulkWriteResult,
    DeleteResult,
    InsertManyResult,
    InsertOneResult,
    UpdateResult,
)

from tests.kit import mongomock_writes as writes
from tests.kit.mongo_pipelines import Document, Update, classic_update, compares, plain_filter
from tests.kit.mongomock_cursor import AsyncCommandCursor, AsyncCursor, key_list

Filter = Mapping[str, Any]
Projection = Mapping[str, Any] | Sequence[str]
Keys = str | Sequence[tuple[str, int]]


class AsyncMongomockCollection:
    """A collection. `hint` and `comment` are ignored; arguments not listed are refused."""

    def __init__(self, collection: Any, clock: Callable[[], datetime.datetime]) -> None:
        self.name: str = collection.name
        self._collection = collection
        self._clock = clock

    def with_options(self, **_: object) -> Self:
        """The same: codec options and concerns are ignored."""
        return self

    async def create_index(self, keys: Keys, *, comment: object = None, **options: Any) -> str:
        """Make an index; its name."""
        return (await self.create_indexes([IndexModel(keys, **options)]))[0]

    async def create_indexes(
        self, indexes: Sequence[IndexModel], *, comment: object = None
    ) -> list[str]:
        """Make indexes; their names."""
        await asyncio.sleep(0)
        return [writes.create_index(self._collection, index.document) for index in indexes]

    async def index_information(self) -> dict[str, Document]:
        """The indexes by name."""
        await asyncio.sleep(0)
        return dict(self._collection.index_information())

    def find(
        self,
        filter: Filter | None = None,
        projection: Projection | None = None,
        *,
        skip: int = 0,
        limit: int = 0,
        sort: Keys | None = None,
        batch_size: int = 0,
        hint: object = None,
        comment: object = None,
    ) -> AsyncCursor:
        """A cursor; it reads, and takes the time, when the first document is asked for."""

        def read() -> Any:
            return self._collection.find(self._plain(filter or {}), projection)

        return AsyncCursor(read, sort, skip, limit)

    async def find_one(
        self,
        filter: Filter | None = None,
        projection: Projection | None = None,
        *,
        sort: Keys | None = None,
        hint: object = None,
        comment: object = None,
    ) -> Document | None:
        """The first document that matches, or None."""
        found = await self.find(filter, projection, sort=sort, limit=1).to_list()
        return found[0] if found else None

    async def insert_one(self, document: Document, *, comment: object = None) -> InsertOneResult:
        """Insert a document, which gets an _id if it has none."""
        await asyncio.sleep(0)
        document.setdefault("_id", ObjectId())
        writes.insert(self._collection, document)
        return InsertOneResult(document["_id"], acknowledged=True)

    async def insert_many(
        self, documents: Sequence[Document], ordered: bool = True, *, comment: object = None
    ) -> InsertManyResult:
        """Insert documents in order, up to the first duplicate, which is a BulkWriteError."""
        await asyncio.sleep(0)
        if not ordered:
            raise NotImplementedError("insert_many without an order")
        result = writes.empty_bulk_result()
        for index, document in enumerate(documents):
            document.setdefault("_id", ObjectId())
            try:
                writes.insert(self._collection, document)
            except DuplicateKeyError as error:
                details = {**(error.details or {}), "index": index, "op": document}
                raise BulkWriteError({**result, "writeErrors": [details]}) from error
            result["nInserted"] += 1
        return InsertManyResult([each["_id"] for each in documents], acknowledged=True)

    async def update_one(
        self,
        filter: Filter,
        update: Update,
        upsert: bool = False,
        *,
        hint: object = None,
        comment: object = None,
    ) -> UpdateResult:
        """Update the first document that matches; `update` may be a pipeline."""
        await asyncio.sleep(0)
        return self._update(filter, update, upsert=upsert)

    async def update_many(
        self,
        filter: Filter,
        update: Update,
        upsert: bool = False,
        *,
        hint: object = None,
        comment: object = None,
    ) -> UpdateResult:
        """Update every document that matches; `update` may be a pipeline."""
        await asyncio.sleep(0)
        return self._update(filter, update, upsert=upsert, multi=True)

    async def find_one_and_update(
        self,
        filter: Filter,
        update: Update,
        projection: Projection | None = None,
        sort: Keys | None = None,
        upsert: bool = False,
        return_document: bool = ReturnDocument.BEFORE,
        *,
        hint: object = None,
        comment: object = None,
    ) -> Document | None:
        """Update one document; what it was, or with ReturnDocument.AFTER what it is now."""
        await asyncio.sleep(0)
        plain = self._plain(filter)
        first = {"sort": key_list(sort)} if sort else {}
        before: Document | None = self._collection.find_one(plain, **first)
        if before is None:
            target = self._update(filter, update, upsert=upsert).upserted_id
            shown = None
        else:
            target = before["_id"]
            shown = self._collection.find_one({"_id": target}, projection)
            self._update({**filter, "_id": target}, update, upsert=False)
        if return_document == ReturnDocument.AFTER and target is not None:
            shown = self._collection.find_one({"_id": target}, projection)
        return shown

    async def delete_one(
        self, filter: Filter, *, hint: object = None, comment: object = None
    ) -> DeleteResult:
        """Delete the first document that matches."""
        await asyncio.sleep(0)
        deleted = self._collection.delete_one(self._plain(filter))
        return DeleteResult(deleted.raw_result, acknowledged=True)

    async def delete_many(
        self, filter: Filter, *, hint: object = None, comment: object = None
    ) -> DeleteResult:
        """Delete every document that matches."""
        await asyncio.sleep(0)
        deleted = self._collection.delete_many(self._plain(filter))
        return DeleteResult(deleted.raw_result, acknowledged=True)

    async def count_documents(
        self, filter: Filter, *, limit: int = 0, hint: object = None, comment: object = None
    ) -> int:
        """How many documents match, at most `limit` if it is not 0."""
        await asyncio.sleep(0)
        count: int = self._collection.count_documents(self._plain(filter))
        return min(count, limit) if limit else count

    async def aggregate(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        *,
        hint: object = None,
        comment: object = None,
        allowDiskUse: object = None,  # noqa: N803  # pymongo's name
    ) -> AsyncCommandCursor:
        """Run a pipeline, as far as mongomock can; the time is known in $match alone."""
        await asyncio.sleep(0)
        stages = [
            {"$match": self._plain(stage["$match"])} if "$match" in stage else stage
            for stage in pipeline
        ]
        return AsyncCommandCursor(list(self._collection.aggregate(stages)))

    async def bulk_write(
        self, requests: Sequence[UpdateOne], ordered: bool = True, *, comment: object = None
    ) -> BulkWriteResult:
        """Run updates one after the other; duplicate keys come together in one BulkWriteError."""
        await asyncio.sleep(0)
        result = writes.empty_bulk_result()
        for index, request in enumerate(requests):
            if not isinstance(request, UpdateOne):
                raise NotImplementedError(f"{type(request).__name__} in a bulk write")
            try:
                done = self._update(request._filter, request._doc, upsert=bool(request._upsert))
            except DuplicateKeyError as error:
                writes.count_error(result, index, request, error)
                if ordered:
                    break
            else:
                writes.count_update(result, index, done)
        if result["writeErrors"]:
            raise BulkWriteError(result)
        return BulkWriteResult(result, acknowledged=True)

    def _plain(self, condition: Filter) -> Document:
        writes.check_bson(condition)
        return plain_filter(condition, self._clock())

    def _update(
        self, condition: Filter, update: Update, *, upsert: bool, multi: bool = False
    ) -> UpdateResult:
        writes.check_bson({"update": update})
        if upsert and compares(condition):
            raise WriteError("$expr is not allowed in the query predicate for an upsert", 224)
        classic = classic_update(update, self._clock())
        plain = self._plain(condition)
        return writes.update(self._collection, plain, classic, upsert=upsert, multi=multi)
