"""`local://PATH`: a real mongod as a child of this process, its data kept in PATH.

The binary comes with the `embedded` extra. It listens on a unix socket alone, in a folder only this
user may enter, and is a replica set of one node: the driver retries writes only there.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

from turnkeep_server.background import running
from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import SettingsError
from turnkeep_server.history.contract import HistoryStore, Position
from turnkeep_server.history.embedded_mongod import EmbeddedMongod
from turnkeep_server.history.mongodb import MongoDBHistoryStore
from turnkeep_server.history.mongodb import open_store as open_mongodb
from turnkeep_server.history.mongodb_history import MongoDBChatMessageHistory
from turnkeep_server.turns import SessionKey, SessionSummary


async def open_store(
    url: str, *, lease_seconds: float, operation_timeout_seconds: float
) -> "EmbeddedHistoryStore":
    """The store in the folder that `url` names (made if need be), its mongod started.

    Raises SettingsError for a URL without a path, StartupError if the mongod is not installed for
    this platform, cannot start, or another server uses the folder.
    """
    parts = urlsplit(url)
    path = unquote(parts.netloc + parts.path)
    if not path:
        raise SettingsError(
            "TURNKEEP_HISTORY_URL: local:// needs a path, as local://./data/mongodb"
        )
    mongod = await EmbeddedMongod.started(Path(path).resolve())
    try:
        store = await open_mongodb(
            mongod.url,
            lease_seconds=lease_seconds,
            operation_timeout_seconds=operation_timeout_seconds,
        )
    except BaseException:
        await mongod.stop()
        raise
    embedded = EmbeddedHistoryStore(mongod, store)
    await embedded.supervise()
    return embedded


class EmbeddedHistoryStore(HistoryStore):
    """A MongoDB store together with the mongod under it, started again whenever it dies."""

    def __init__(self, mongod: EmbeddedMongod, store: MongoDBHistoryStore) -> None:
        self._mongod = mongod
        self._store = store
        self._background = AsyncExitStack()

    async def supervise(self) -> None:
        """From now on the mongod is started again whenever it ends."""
        work = running(self._mongod.keep_running(), "embedded-mongod")
        await self._background.enter_async_context(work)

    def history(
        self, session: SessionKey, deadline: Deadline | None = None
    ) -> MongoDBChatMessageHistory:
        return self._store.history(session, deadline)

    async def sessions(
        self,
        tenant: str,
        user_id: str,
        *,
        limit: int,
        after: Position | None = None,
        deadline: Deadline | None = None,
    ) -> Sequence[SessionSummary]:
        return await self._store.sessions(
            tenant, user_id, limit=limit, after=after, deadline=deadline
        )

    async def ping(self) -> None:
        await self._store.ping()

    async def repair(self) -> int:
        return await self._store.repair()

    async def close(self) -> None:
        await self._store.close()
        await self._background.aclose()
        await self._mongod.stop()
