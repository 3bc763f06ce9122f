"""`mongodb://` and `mongodb+srv://`: histories in MongoDB, for any number of servers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

from pymongo import ASCENDING

from turnkeep_server.background import running
from turnkeep_server.deadlines import Deadline
from turnkeep_server.history.contract import HistoryStore, Position
from turnkeep_server.history.mongodb_connection import MongoDBConnection, connect
from turnkeep_server.history.mongodb_documents import Document, turn_of
from turnkeep_server.history.mongodb_history import MongoDBChatMessageHistory
from turnkeep_server.history.mongodb_leases import Leases
from turnkeep_server.history.mongodb_sessions import SessionsView
from turnkeep_server.turns import SessionKey, SessionSummary, TurnStatus

_PING_SECONDS = 1.0


async def open_store(
    url: str, *, lease_seconds: float, operation_timeout_seconds: float
) -> "MongoDBHistoryStore":
    """The store in the database that `url` names, its indexes made.

    Raises SettingsError for a bad URL, StartupError if MongoDB does not answer or refuses.
    """
    connection = connect(url, operation_timeout_seconds)
    try:
        return await MongoDBHistoryStore.opened(connection, lease_seconds)
    except BaseException:
        await connection.close()
        raise


class MongoDBHistoryStore(HistoryStore):
    """One connection, one task that renews leases, one that keeps the list of sessions."""

    def __init__(self, connection: MongoDBConnection, lease_seconds: float) -> None:
        self._connection = connection
        self._leases = Leases(connection, lease_seconds)
        self._view = SessionsView(connection)
        self._background = AsyncExitStack()

    @classmethod
    async def opened(
        cls, connection: MongoDBConnection, lease_seconds: float
    ) -> "MongoDBHistoryStore":
        """A store over a connection, which it closes when it is closed itself."""
        await connection.create_indexes()
        store = cls(connection, lease_seconds)
        for work, name in (
            (store._leases.keep_renewed(), "leases"),
            (store._view.keep_flushed(), "sessions-view"),
        ):
            await store._background.enter_async_context(running(work, name))
        return store

    def history(
        self, session: SessionKey, deadline: Deadline | None = None
    ) -> MongoDBChatMessageHistory:
        return MongoDBChatMessageHistory(
            session,
            connection=self._connection,
            leases=self._leases,
            view=self._view,
            deadline=deadline,
        )

    async def sessions(
        self,
        tenant: str,
        user_id: str,
        *,
        limit: int,
        after: Position | None = None,
        deadline: Deadline | None = None,
    ) -> Sequence[SessionSummary]:
        # So that a caller of this server finds what it has just done here.
        await self._view.flush_of_user(tenant, user_id, deadline)
        return await self._view.page(tenant, user_id, limit, after, deadline)

    async def ping(self) -> None:
        await self._connection.ping(_PING_SECONDS)

    async def repair(self) -> int:
        """Rebuilds the list of sessions from the turns, and finishes clears that were cut short.

        Reads every session's first and last turn; safe beside running servers.
        """
        await self._finish_clears()
        count = 0
        async for first, last in self._first_and_last_turns():
            session = SessionKey(last["tenant"], last["user_id"], last["session_id"])
            self._view.note(session, turn_of({**last, "created_at": first["created_at"]}))
            count += 1
            if count % 1_000 == 0:
                await self._view.flush()
        await self._view.flush()
        return count

    async def _finish_clears(self) -> None:
        stones = self._connection.turns.find({"status": TurnStatus.CLEARED.value})
        async for stone in stones:
            session = SessionKey(stone["tenant"], stone["user_id"], stone["session_id"])
            history = self.history(session)
            await history.finish_clear(stone["sequence"])

    async def _first_and_last_turns(self) -> AsyncIterator[tuple[Document, Document]]:
        by_session = {name: f"${name}" for name in ("tenant", "user_id", "session_id")}
        pipeline: list[Document] = [
            {"$match": {"status": {"$ne": TurnStatus.CLEARED.value}}},
            {"$sort": {**dict.fromkeys(by_session, ASCENDING), "sequence": ASCENDING}},
            {
                "$group": {
                    "_id": by_session,
                    "first": {"$first": {"created_at": "$created_at"}},
                    "last": {"$last": "$$ROOT"},
                }
            },
        ]
        found = await self._connection.turns.aggregate(pipeline, allowDiskUse=True)
        async for each in found:
            yield each["first"], each["last"]

    async def close(self) -> None:
        await self._background.aclose()
        await self._view.try_flush()
        await self._connection.close()
