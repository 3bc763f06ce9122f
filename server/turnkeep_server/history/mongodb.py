"""`mongodb://` and `mongodb+srv://`: histories in MongoDB, for any number of servers."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog
from pymongo import ASCENDING

from turnkeep_server.background import running
from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import HistoryUnavailable
from turnkeep_server.history.contract import HistoryStore, Position, StoreFigures
from turnkeep_server.history.mongodb_connection import MongoDBConnection, connect
from turnkeep_server.history.mongodb_documents import Document, turn_of
from turnkeep_server.history.mongodb_history import MongoDBChatMessageHistory
from turnkeep_server.history.mongodb_indexes import BY_LEASE
from turnkeep_server.history.mongodb_leases import Leases
from turnkeep_server.history.mongodb_sessions import SessionsView
from turnkeep_server.history.mongodb_tenant_days import TenantDays
from turnkeep_server.turns import SessionKey, SessionSummary, TurnStatus, check_tenant

_PING_SECONDS = 1.0
_LAST_WRITE_SECONDS = 2.0
_SWEEPS_A_LEASE = 15
_SWEPT_AT_ONCE = 1_000
_LISTED_AT_ONCE = 1_000


@asynccontextmanager
async def open_store(
    url: str, *, lease_seconds: float, operation_timeout_seconds: float
) -> AsyncIterator["MongoDBHistoryStore"]:
    """The store in the database that `url` names, its indexes made.

    Raises SettingsError for a bad URL, StartupError if MongoDB does not answer or refuses.
    """
    async with AsyncExitStack() as stack:
        connection = connect(url, operation_timeout_seconds)
        stack.push_async_callback(connection.close)
        yield await stack.enter_async_context(store_over(connection, lease_seconds))


@asynccontextmanager
async def store_over(
    connection: MongoDBConnection, lease_seconds: float
) -> AsyncIterator["MongoDBHistoryStore"]:
    """A store over an open connection, with the tasks that it needs beside it."""
    await connection.create_indexes()
    leases, view = Leases(connection, lease_seconds), SessionsView(connection)
    store = MongoDBHistoryStore(connection, leases, view)
    async with (
        running(leases.keep_renewed, "leases"),
        running(view.keep_flushed, "sessions-view"),
        running(lambda: store.keep_swept(lease_seconds / _SWEEPS_A_LEASE), "sweep"),
    ):
        yield store
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WRITE_SECONDS):
            await view.try_flush()


class MongoDBHistoryStore(HistoryStore):
    """One connection, one process's leases, one list of sessions."""

    def __init__(self, connection: MongoDBConnection, leases: Leases, view: SessionsView) -> None:
        self._connection = connection
        self._leases = leases
        self._view = view
        self._days = TenantDays(connection, leases.owner)

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
        check_tenant(tenant)
        # So that a caller of this server finds what it has just done here.
        await self._view.flush_of_user(tenant, user_id, deadline)
        return await self._view.page(tenant, user_id, limit, after, deadline)

    async def share_tokens(
        self, day: int, mine: Mapping[str, int], tenants: Collection[str]
    ) -> Mapping[str, tuple[int, int]]:
        return await self._days.share(day, mine, tenants)

    def figures(self) -> StoreFigures:
        pool, leases = self._connection.pool, self._leases
        return StoreFigures(
            connections_in_use=pool.in_use,
            connections_idle=pool.open - pool.in_use,
            operations_waiting=pool.waiting,
            leases_held=leases.held,
            leases_renewed=leases.renewed,
            leases_not_renewed=leases.not_renewed,
            turns_taken_over=leases.taken_over,
        )

    async def ping(self) -> None:
        await self._connection.ping(_PING_SECONDS)

    async def keep_swept(self, every_seconds: float) -> None:
        """Ends dead servers' turns, so that they read FAILED unasked, until cancelled."""
        while True:
            # Jitter: many servers should not sweep in step.
            await asyncio.sleep(every_seconds * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            try:
                await self.sweep()
            except HistoryUnavailable:
                structlog.get_logger().warning("dead_turns_not_swept")

    async def sweep(self) -> None:
        """Ends the turns, of any session, whose leases have run out by the database's clock.

        In an order of its own: all servers see the same turns, and are to share them.
        """
        dead = await self._connection.find(
            self._connection.turns,
            {
                "status": {"$eq": TurnStatus.RUNNING.value},
                "$expr": {"$lt": ["$lease_expires_at", "$$NOW"]},
            },
            order=[("lease_expires_at", ASCENDING)],
            limit=_SWEPT_AT_ONCE,
            hint=BY_LEASE,
        )
        random.shuffle(dead)
        for document in dead:
            session = SessionKey(document["tenant"], document["user_id"], document["session_id"])
            turn, expired_at = turn_of(document), document["lease_expires_at"]
            if await self.history(session).end_if_dead(turn, expired_at):
                structlog.get_logger().warning("turn_taken_over", sequence=document["sequence"])

    async def repair(self) -> int:
        """Rebuilds the list of sessions from the turns, and finishes clears that were cut short.

        Reads every session's first and last turn; safe beside running servers.
        """
        async with self._connection.unbounded():
            await self._finish_clears()
            return await self._list_sessions_anew()

    async def _list_sessions_anew(self) -> int:
        count = 0
        async for first, last in self._first_and_last_turns():
            session = SessionKey(last["tenant"], last["user_id"], last["session_id"])
            self._view.note(session, turn_of({**last, "created_at": first["created_at"]}))
            count += 1
            if count % _LISTED_AT_ONCE == 0:
                await self._view.flush()
        await self._view.flush()
        return count

    async def _finish_clears(self) -> None:
        stones = self._connection.turns.find({"status": TurnStatus.CLEARED.value})
        async for stone in stones:
            session = SessionKey(stone["tenant"], stone["user_id"], stone["session_id"])
            await self.history(session).finish_clear(stone["sequence"])
        # Before the turns above the tombstones are noted, which would take their place.
        await self._view.flush()

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
