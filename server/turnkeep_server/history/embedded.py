"""`local://PATH`: a real mongod as a child of this process, its data kept in PATH.

The binary comes with the `embedded` extra. It listens on a unix socket alone, in a folder only this
user may enter, and is a replica set of one node: the driver retries writes only there.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from turnkeep_server.history.contract import HistoryStore
from turnkeep_server.history.embedded_mongod import opened_mongod
from turnkeep_server.history.mongodb import open_store as open_mongodb


@asynccontextmanager
async def open_store(
    url: str, *, lease_seconds: float, operation_timeout_seconds: float
) -> AsyncIterator[HistoryStore]:
    """The store in the folder that `url` names (made if need be), over a mongod of its own.

    The mongod is started again whenever it dies, and ended after the store is closed. Raises
    SettingsError for a URL without a path, StartupError if the mongod is not installed for this
    platform, cannot start, or another server uses the folder.
    """
    async with (
        opened_mongod(url) as mongod_url,
        open_mongodb(
            mongod_url,
            lease_seconds=lease_seconds,
            operation_timeout_seconds=operation_timeout_seconds,
        ) as store,
    ):
        yield store
