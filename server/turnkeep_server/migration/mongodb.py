"""What langchain-mongodb's MongoDBChatMessageHistory wrote: one document a message.

langchain_mongodb/chat_message_histories.py, 0.12: `{SessionId: …, History: "<JSON>"}`, both names
options of its. It reads in no stated order; its _ids are made one after the other.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from pymongo import ASCENDING, AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ConfigurationError, ConnectionFailure, InvalidName, PyMongoError

from turnkeep_server.errors import SettingsError, StartupError
from turnkeep_server.migration.sources import (
    SourceLost,
    SourceOptions,
    SourceSession,
    Unreadable,
)

_DATABASE, _COLLECTION = "chat_history", "message_store"  # langchain-mongodb's own
_SESSION_ID_KEY, _HISTORY_KEY = "SessionId", "History"
_SESSIONS_A_READ = 100  # few enough that the cursor is asked again within MongoDB's ten minutes
_MESSAGES_A_READ = 500
_NAMES_SHOWN = 20
# https://www.mongodb.com/docs/manual/reference/error-codes/
_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18

Document = dict[str, Any]


@asynccontextmanager
async def opened(options: SourceOptions) -> AsyncIterator["MongoDBSource"]:
    """The collection that the options name. Raises SettingsError or StartupError."""
    try:
        client: AsyncMongoClient[Document] = AsyncMongoClient(
            options.url,
            appname="turnkeep-import",
        )
        own = client.get_default_database(_DATABASE)
        database = client[options.database] if options.database else own
        collection = database[options.collection or _COLLECTION]
    except (PyMongoError, ValueError):
        raise SettingsError(
            "--from is no valid MongoDB URL, or --database or --collection no valid name; write "
            "mongodb://USER:PASSWORD@HOST, with special characters escaped (%40 for @)"
        ) from None
    async with client:
        try:
            name = await _name_of(client, collection)
            source = MongoDBSource(collection, name, options)
            await source.check()
        except PyMongoError as error:
            raise StartupError(_problem(error)) from error
        yield source


class MongoDBSource:
    """One collection of messages; read by find and aggregate alone."""

    def __init__(
        self, collection: AsyncCollection[Document], name: str, options: SourceOptions
    ) -> None:
        self.name = name
        self._collection = collection
        self._id_key = options.session_id_key or _SESSION_ID_KEY
        self._history_key = options.history_key or _HISTORY_KEY
        self._only = sorted(options.sessions)

    async def check(self) -> None:
        """Raises SettingsError unless there is a document with both fields, or none at all."""
        some = await self._collection.find_one()
        for option, key in (("session-id", self._id_key), ("history", self._history_key)):
            if some and not await self._collection.find_one({key: {"$exists": True}}, {"_id": 1}):
                fields = _shown(name for name in some if name != "_id")
                raise SettingsError(
                    f"no document of {self._collection.full_name} has the field {key!r} "
                    f"(--{option}-key); there are: {fields}"
                )

    async def count(self) -> int:
        with _told():
            if self._only:
                return await self._collection.count_documents(self._wanted())
            return await self._collection.estimated_document_count()

    async def sessions(self) -> AsyncGenerator[SourceSession]:
        # Sorted first, the index that langchain-mongodb makes is read one key a session.
        by_id = {"$sort": {self._id_key: ASCENDING}}
        grouped = {"$group": {"_id": f"${self._id_key}"}}
        pipeline = [{"$match": self._wanted()}, by_id, grouped]
        with _told():
            found = await self._collection.aggregate(
                pipeline, allowDiskUse=True, batchSize=_SESSIONS_A_READ
            )
            async with found:
                async for each in found:
                    key = each["_id"]
                    yield SourceSession(None if key is None else str(key), key)

    async def messages(self, session: SourceSession) -> AsyncGenerator[object]:
        wanted = {self._id_key: {"$eq": session.key}}
        with _told():
            found = self._collection.find(
                wanted,
                {self._history_key: 1},
                sort=[("_id", ASCENDING)],
                batch_size=_MESSAGES_A_READ,
                allow_disk_use=True,
            )
            async with found:
                async for each in found:
                    missing = Unreadable(f"has no field {self._history_key!r}")
                    yield each.get(self._history_key, missing)

    def _wanted(self) -> Document:
        return {self._id_key: {"$in": self._only}} if self._only else {}


async def _name_of(
    client: AsyncMongoClient[Document], collection: AsyncCollection[Document]
) -> str:
    """The collection's UUID: the same through any host, and no other collection's.

    Raises SettingsError, naming what there is, if the collection is not there.
    """
    database = collection.database
    async for each in await database.list_collections(filter={"name": collection.name}):
        uuid = each.get("info", {}).get("uuid")
        return f"mongodb {uuid.hex() if uuid else collection.full_name}"
    there = await database.list_collection_names()
    if there:
        raise SettingsError(
            f"the database {database.name!r} has no collection {collection.name!r} "
            f"(--collection); there are: {_shown(there)}"
        )
    raise SettingsError(
        f"there is no database {database.name!r}, or nothing in it (--database); there are: "
        f"{_shown(await client.list_database_names())}"
    )


def _shown(names: Any) -> str:
    found = sorted(names)
    more = f" and {len(found) - _NAMES_SHOWN} more" if len(found) > _NAMES_SHOWN else ""
    return ", ".join(found[:_NAMES_SHOWN]) + more or "none"


def _problem(error: PyMongoError) -> str:
    match error:
        case ConfigurationError():
            return (
                "the source's address cannot be looked up; does --from name a host that there is?"
            )
        case InvalidName():
            return "--database or --collection is no name that MongoDB allows"
        case ConnectionFailure():
            return "the source did not answer; is it running, and does --from name it?"
    code = getattr(error, "code", None)
    if code == _AUTHENTICATION_FAILED:
        return "the source refused the user or password in --from"
    if code == _UNAUTHORIZED:
        return "the user in --from may not read the source: it needs the role read there"
    return f"the source refused to be read: {type(error).__name__}, code {code}"


@contextmanager
def _told() -> Any:
    """What the driver raises, in words: its own may quote the URL."""
    try:
        yield
    except PyMongoError as error:
        raise SourceLost(
            f"the source stopped answering ({type(error).__name__}); run the import again"
        ) from error
