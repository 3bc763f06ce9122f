"""The view that lists a user's sessions: one document a session, written behind its turns.

It serves listing only. Order, existence and content of turns are never read from it, so that a
lost write here costs a stale list and nothing else.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.errors import BulkWriteError

from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import HistoryUnavailable
from turnkeep_server.history.contract import Position
from turnkeep_server.history.mongodb_connection import MongoDBConnection
from turnkeep_server.history.mongodb_documents import Document, key_fields
from turnkeep_server.turns import SessionKey, SessionSummary, Turn

_FLUSH_EVERY_SECONDS = 0.5
_FLUSH_AT_MOST = 1_000
_DUPLICATE_KEY = 11_000


@dataclass(frozen=True, slots=True)
class _Change:
    """What a session's document becomes, unless it is already further on."""

    sequence: int
    update: Document

    def operation(self, session: SessionKey) -> UpdateOne:
        # A document that is further on does not match; the upsert then clashes with it on the
        # unique session key, and that clash is the answer "nothing to do".
        behind = {**key_fields(session), "last_sequence": {"$lte": self.sequence}}
        return UpdateOne(behind, self.update, upsert=True)


class SessionsView:
    """The `sessions` collection, with the changes that are still to be written."""

    def __init__(self, connection: MongoDBConnection) -> None:
        self._connection = connection
        self._behind: dict[SessionKey, _Change] = {}

    def note(self, session: SessionKey, turn: Turn) -> None:
        """Has the session listed as of this turn, within a second."""
        shown = {
            "last_sequence": turn.sequence,
            "message_count": turn.messages_so_far,
            "updated_at": turn.updated_at,
            "listed": True,
        }
        update = {"$set": shown, "$min": {"created_at": turn.created_at}}
        self._note(session, _Change(turn.sequence, update))

    def note_clear(self, session: SessionKey, sequence: int) -> None:
        """Has the session unlisted as of its tombstone's sequence, within a second."""
        hidden = {"last_sequence": sequence, "message_count": 0, "listed": False}
        self._note(session, _Change(sequence, {"$set": hidden, "$unset": {"created_at": ""}}))

    def _note(self, session: SessionKey, change: _Change) -> None:
        waiting = self._behind.get(session)
        if waiting is None or waiting.sequence <= change.sequence:
            self._behind[session] = change

    async def keep_flushed(self) -> None:
        """Writes what is behind, twice a second, until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_EVERY_SECONDS)
            await self.try_flush()

    async def try_flush(self) -> None:
        """Writes what is behind; what cannot be written now stays for the next time."""
        try:
            await self.flush()
        except HistoryUnavailable:
            structlog.get_logger().warning("sessions_view_behind", sessions=len(self._behind))

    async def flush(self) -> None:
        """Writes what is behind. Raises HistoryUnavailable; nothing is forgotten then."""
        while self._behind:
            await self._flush(list(self._behind)[:_FLUSH_AT_MOST])

    async def flush_session(self, session: SessionKey, deadline: Deadline | None) -> None:
        """Writes one session's change now, if the store lets it; else it stays behind."""
        with suppress(HistoryUnavailable):
            await self._flush([session], deadline)

    async def flush_of_user(self, tenant: str, user_id: str, deadline: Deadline | None) -> None:
        """Writes the changes of one user's sessions. Raises HistoryUnavailable."""
        await self._flush(
            [each for each in self._behind if (each.tenant, each.user_id) == (tenant, user_id)],
            deadline,
        )

    async def _flush(
        self, sessions: Sequence[SessionKey], deadline: Deadline | None = None
    ) -> None:
        batch = {each: self._behind[each] for each in sessions if each in self._behind}
        if batch:
            operations = [change.operation(key) for key, change in batch.items()]
            await self._write(operations, deadline)
        for key, change in batch.items():
            if self._behind.get(key) is change:
                del self._behind[key]

    async def _write(self, operations: list[UpdateOne], deadline: Deadline | None) -> None:
        async def write() -> None:
            try:
                await self._connection.sessions.bulk_write(operations, ordered=False)
            except BulkWriteError as error:
                details: Mapping[str, Any] = error.details or {}
                if any(each["code"] != _DUPLICATE_KEY for each in details.get("writeErrors", ())):
                    raise
                if details.get("writeConcernErrors"):
                    raise

        await self._connection.run(write, deadline)

    async def page(
        self,
        tenant: str,
        user_id: str,
        limit: int,
        after: Position | None,
        deadline: Deadline | None,
    ) -> Sequence[SessionSummary]:
        """A user's sessions, newest activity first."""
        mine: Document = {
            "tenant": {"$eq": tenant},
            "user_id": {"$eq": user_id},
            "listed": {"$eq": True},
        }
        if after:
            mine["updated_at"] = {"$lte": after.updated_at}
            mine["$or"] = [
                {"updated_at": {"$lt": after.updated_at}},
                {"session_id": {"$gt": after.session_id}},
            ]
        found = await self._connection.find(
            self._connection.sessions,
            mine,
            order=[("updated_at", DESCENDING), ("session_id", ASCENDING)],
            limit=limit,
            deadline=deadline,
        )
        return [_summary(each) for each in found]


def _summary(document: Document) -> SessionSummary:
    return SessionSummary(
        session=SessionKey(document["tenant"], document["user_id"], document["session_id"]),
        last_sequence=document["last_sequence"],
        message_count=document["message_count"],
        created_at=document["created_at"],
        updated_at=document["updated_at"],
    )
