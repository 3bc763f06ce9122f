"""One session's documents: how they are addressed, read, and cleared."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from turnkeep_server.deadlines import Deadline
from turnkeep_server.history.contract import Cleared
from turnkeep_server.history.mongodb_connection import MongoDBConnection
from turnkeep_server.history.mongodb_documents import (
    Document,
    key_fields,
    object_id,
    tombstone_document,
)
from turnkeep_server.history.mongodb_indexes import BY_STATUS
from turnkeep_server.history.waiting import look_again_soon
from turnkeep_server.turns import SessionKey, Turn, TurnStatus

T = TypeVar("T")

_DUPLICATE_KEY = 11_000


class SessionDocuments:
    """The documents of one session, for one request; every operation ends at its deadline."""

    def __init__(
        self, session: SessionKey, connection: MongoDBConnection, deadline: Deadline | None
    ) -> None:
        self._session = session
        self._connection = connection
        self._deadline = deadline
        # $eq: a value that is a dict would otherwise be read as an operator.
        self._key = {name: {"$eq": value} for name, value in key_fields(session).items()}

    def place(self, turn: Turn) -> Document:
        """A filter for this turn's document alone, by the shard key too: one shard is asked."""
        return {"_id": {"$eq": object_id(turn)}, **self.at(turn.sequence)}

    def at(self, sequence: int) -> Document:
        """A filter for the session's document at this place."""
        return {**self._key, "sequence": {"$eq": sequence}}

    async def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """An operation within the request's deadline; raises as MongoDBConnection.run."""
        return await self._connection.run(operation, self._deadline)

    def running(self, turn: Turn) -> Document:
        """A filter for this turn's document while the turn runs."""
        return {**self.place(turn), "status": {"$eq": TurnStatus.RUNNING.value}}

    async def read(
        self,
        wanted: Document,
        *,
        limit: int,
        newest_first: bool = True,
        fields: Document | None = None,
        hint: str | None = None,
    ) -> list[Document]:
        """The session's documents that match, at most `limit`; `hint` names the index to use.

        Always sorted: an unsorted read is in no order, on a secondary least of all.
        """
        return await self._connection.find(
            self._connection.turns,
            {**self._key, **wanted},
            hint=hint,
            order=[("sequence", DESCENDING if newest_first else ASCENDING)],
            limit=limit,
            fields=fields,
            deadline=self._deadline,
        )

    async def insert_in_order(self, documents: Sequence[Document]) -> bool:
        """Inserts them one after the other, as far as none is a duplicate; whether all are in.

        A lost answer to an insert that was made makes its repetition a duplicate too.
        """
        turns = self._connection.turns

        async def insert() -> bool:
            try:
                await turns.insert_many(documents, ordered=True)
            except BulkWriteError as error:
                _duplicate_in(error)
                return False
            return True

        return await self.run(insert)

    async def insert_in_sight(self, fresh: Document, change: list[Document], sequence: int) -> bool:
        """Inserts a turn by an upsert; False if it came to lie below a tombstone, unseen.

        A clear frees the places that it deletes: an insert that was under way since before another
        turn took its place, and a clear then removed that one, finds the place free again. Looked
        for after the insert, the tombstone cannot be missed: it is written before anything is
        deleted. Both go in one command, whose parts are carried out in order; the look is an update
        that changes nothing, since only updates go together. Raises DuplicateKeyError.
        """
        cleared = TurnStatus.CLEARED.value
        above = {**self._key, "status": {"$eq": cleared}, "sequence": {"$gt": sequence}}
        requests = [
            UpdateOne(fresh, change, upsert=True),
            UpdateOne(above, {"$set": {"status": cleared}}, hint=BY_STATUS),
        ]

        async def insert() -> bool:
            try:
                done = await self._connection.turns.bulk_write(requests)
            except BulkWriteError as error:
                duplicate = _duplicate_in(error)
                raise DuplicateKeyError(duplicate["errmsg"], _DUPLICATE_KEY, duplicate) from None
            # What is sent again after a lost answer matches itself.
            itself = 0 if done.upserted_count else 1
            return done.matched_count == itself

        return await self.run(insert)

    async def floor(self) -> int:
        """The sequence of the session's newest tombstone; 0 if it was never cleared."""
        stones = {"status": {"$eq": TurnStatus.CLEARED.value}}
        newest = await self.read(stones, limit=1, fields={"sequence": 1}, hint=BY_STATUS)
        return newest[0]["sequence"] if newest else 0

    async def entomb(self) -> int:
        """The sequence of the tombstone above all turns; 0 if there never was a turn."""
        while True:
            newest = await self.read({}, limit=1, fields={"sequence": 1, "status": 1})
            if not newest:
                return 0
            head: int = newest[0]["sequence"]
            if newest[0]["status"] == TurnStatus.CLEARED.value:
                return head
            if await self._place_tombstone(head + 1):
                return head + 1
            await look_again_soon()

    async def _place_tombstone(self, sequence: int) -> bool:
        """False if the place is taken: by a turn, by another clear, or by a lost answer of ours."""
        stone = {"_id": ObjectId(), **tombstone_document(self._session, sequence)}
        turns = self._connection.turns
        try:
            await self._connection.run(lambda: turns.insert_one(stone), self._deadline)
        except DuplicateKeyError:
            return False
        return True

    async def count_below(self, sequence: int) -> Cleared:
        """How much a clear at `sequence` has to remove."""
        below = {
            **self._key,
            "sequence": {"$lt": sequence},
            "status": {"$ne": TurnStatus.CLEARED.value},
        }
        total = {"turns": {"$sum": 1}, "messages": {"$sum": {"$size": "$messages"}}}
        pipeline: list[Document] = [{"$match": below}, {"$group": {"_id": None, **total}}]

        async def count() -> list[Document]:
            return await (await self._connection.turns.aggregate(pipeline)).to_list(None)

        counts = await self._connection.read(count, self._deadline)
        return Cleared(counts[0]["messages"], counts[0]["turns"]) if counts else Cleared()

    async def delete_below(self, sequence: int) -> None:
        """Removes what a clear at `sequence` covers, older tombstones included.

        Not bound by the request's deadline: the clear is decided by then.
        """
        below = {**self._key, "sequence": {"$lt": sequence}}
        turns = self._connection.turns
        await self._connection.run(lambda: turns.delete_many(below))


def _duplicate_in(error: BulkWriteError) -> Document:
    """The first duplicate of a bulk write. Raises the error itself if that is not all of it."""
    details: Document = dict(error.details or {})
    errors: list[Document] = details.get("writeErrors", [])
    if {each["code"] for each in errors} != {_DUPLICATE_KEY} or details.get("writeConcernErrors"):
        raise error
    return errors[0]
