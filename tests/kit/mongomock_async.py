"""AsyncMongoClient's face over mongomock: the part of it that a history backend uses.

    client = AsyncMongomockClient()
    store = MongoDBHistoryStore(client)

Every call first lets other tasks run, then does its work in one piece, as one document's write does
on a server. Documents pass through BSON on their way in, so what a driver refuses is refused here.
Times come back aware, in UTC. `$$NOW` is `client.clock()`.
"""

import asyncio
import datetime
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import mongomock

from tests.kit.mongo_pipelines import Document
from tests.kit.mongomock_collection import AsyncMongomockCollection

__all__ = ["AsyncMongomockClient", "AsyncMongomockCollection", "AsyncMongomockDatabase", "utc_now"]


def utc_now() -> datetime.datetime:
    """Now, in UTC, to the millisecond, as MongoDB keeps time."""
    now = datetime.datetime.now(datetime.UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class AsyncMongomockClient:
    """A MongoDB of its own for every instance, in memory."""

    def __init__(self) -> None:
        self.clock: Callable[[], datetime.datetime] = utc_now
        """What the server takes for now; must return aware times."""
        self._client: Any = mongomock.MongoClient(tz_aware=True)

    @property
    def admin(self) -> "AsyncMongomockDatabase":
        """The database that answers ping."""
        return self["admin"]

    def __getitem__(self, name: str) -> "AsyncMongomockDatabase":
        return AsyncMongomockDatabase(self, self._client[name])

    def get_database(self, name: str, **_: object) -> "AsyncMongomockDatabase":
        """A database; codec options and concerns are ignored."""
        return self[name]

    async def drop_database(self, name: str, **_: object) -> None:
        """Forget a database."""
        await asyncio.sleep(0)
        self._client.drop_database(name)

    async def close(self) -> None:
        """Nothing is open."""
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncMongomockDatabase:
    """A database of an AsyncMongomockClient."""

    def __init__(self, client: AsyncMongomockClient, database: Any) -> None:
        self.client = client
        self.name: str = database.name
        self._database = database

    def __getitem__(self, name: str) -> "AsyncMongomockCollection":
        return AsyncMongomockCollection(self._database[name], lambda: self.client.clock())

    def get_collection(self, name: str, **_: object) -> "AsyncMongomockCollection":
        """A collection; codec options and concerns are ignored."""
        return self[name]

    def with_options(self, **_: object) -> Self:
        """The same: codec options and concerns are ignored."""
        return self

    async def command(self, command: str | Mapping[str, Any], **_: object) -> Document:
        """Answers ping; any other command raises NotImplementedError."""
        await asyncio.sleep(0)
        name = command if isinstance(command, str) else next(iter(command))
        if name != "ping":
            raise NotImplementedError(f"command {name!r}")
        return {"ok": 1.0}
