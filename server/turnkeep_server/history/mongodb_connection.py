"""The connection to MongoDB: how durable, how long, and where the driver's errors stop."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import pymongo
import structlog
from bson.errors import BSONError
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import HistoryUnavailable, SettingsError, StartupError
from turnkeep_server.history.mongodb_documents import Document
from turnkeep_server.turns import TurnStatus

T = TypeVar("T")
_DEFAULT_DATABASE = "turnkeep"
_SHORTEST_OPERATION_SECONDS = 0.001
_AUTHENTICATION_FAILED = 18
_NOT_PERMITTED = {13, 8000}  # Unauthorized; AtlasError
# A failover at MongoDB's default settings takes 9 to 11 s; 3 s here failed where 20 s survived it.
_SERVER_SELECTION_MS = 20_000
_CONNECT_MS = 5_000
# The driver's 10 s would be waited out after some errors before it looks for the new primary.
_HEARTBEAT_MS = 2_000
# Building an index over an existing, large collection takes its time.
_INDEX_SECONDS = 3_600.0
_CLOSE_SECONDS = 2.0

# What no URL may weaken: an answered turn survives the loss of the primary.
_DURABLE = WriteConcern(w="majority", j=True)
_WEAKENING = {
    "w": "majority",
    "journal": True,
    "readConcernLevel": "majority",
    "retryWrites": True,
}

BY_REQUEST, BY_STATUS, BY_LEASE = "session_request", "session_status", "running"
"""Indexes to name in a hint: the planner would weigh them against `session_sequence` each time."""
STATUSES_INDEXED = frozenset({TurnStatus.COMPLETED.value, TurnStatus.CLEARED.value})

_SESSION = [("tenant", ASCENDING), ("user_id", ASCENDING), ("session_id", ASCENDING)]
TURN_INDEXES = [
    # Concurrency control: two writers cannot take the same place.
    IndexModel([*_SESSION, ("sequence", ASCENDING)], name="session_sequence", unique=True),
    # Idempotency: one turn a request.
    IndexModel(
        [*_SESSION, ("request_id", ASCENDING)],
        name=BY_REQUEST,
        unique=True,
        partialFilterExpression={"request_id": {"$exists": True}},
    ),
    # Finds completed turns past any number of failed ones, and tombstones past any of turns.
    IndexModel(
        [*_SESSION, ("status", ASCENDING), ("sequence", ASCENDING)],
        name=BY_STATUS,
        partialFilterExpression={"status": {"$in": sorted(STATUSES_INDEXED)}},
    ),
    # As many entries as turns are running: finds those whose server died.
    IndexModel(
        [("lease_expires_at", ASCENDING)],
        name=BY_LEASE,
        partialFilterExpression={"status": TurnStatus.RUNNING.value},
    ),
]
SESSION_INDEXES = [
    IndexModel(_SESSION, name="session", unique=True),
    IndexModel(
        [
            ("tenant", ASCENDING),
            ("user_id", ASCENDING),
            ("listed", ASCENDING),
            ("updated_at", DESCENDING),
            ("session_id", ASCENDING),
        ],
        name="newest_activity",
    ),
]


class MongoDBConnection:
    """A client, its two collections, and the one way to run an operation on them.

    `client` may be anything that acts as an AsyncMongoClient; it is closed with the connection.
    """

    def __init__(
        self, client: AsyncMongoClient[Document], database: str, operation_timeout_seconds: float
    ) -> None:
        self._client = client
        self._operation_timeout_seconds = operation_timeout_seconds
        self.turns = self._collection(database, "turns")
        self.sessions = self._collection(database, "sessions")

    def _collection(self, database: str, name: str) -> AsyncCollection[Document]:
        return self._client[database][name].with_options(
            write_concern=_DURABLE,
            read_concern=ReadConcern("majority"),
            read_preference=ReadPreference.PRIMARY,
        )

    async def create_indexes(self) -> None:
        """Makes the indexes that are not there yet. Raises StartupError with the remedy."""
        try:
            with pymongo.timeout(self._operation_timeout_seconds):
                await self._client.admin.command("ping")
            with pymongo.timeout(_INDEX_SECONDS):
                await self.turns.create_indexes(TURN_INDEXES)
                await self.sessions.create_indexes(SESSION_INDEXES)
        except PyMongoError as error:
            raise StartupError(_startup_problem(error)) from error

    async def run(
        self, operation: Callable[[], Awaitable[T]], deadline: Deadline | None = None
    ) -> T:
        """The outcome of an idempotent operation, tried again while connections are lost.

        Ends at `deadline`, or after the operation timeout if that is sooner. Raises
        DuplicateKeyError, which is an answer, and HistoryUnavailable for all else.
        """
        seconds = self._operation_timeout_seconds
        if deadline:
            seconds = max(min(seconds, deadline.remaining()), _SHORTEST_OPERATION_SECONDS)
        try:
            async with _within(seconds):
                try:
                    return await operation()
                except ConnectionFailure:
                    return await _again(operation, seconds)
        except DuplicateKeyError:
            raise
        except (PyMongoError, BSONError, OverflowError, TimeoutError) as error:
            # BSON's: a document over 16 MB, which only a reply can make.
            structlog.get_logger().warning(
                "history_unavailable",
                error_type=type(error).__name__,
                code=getattr(error, "code", None),
            )
            raise HistoryUnavailable("the history's store did not answer in time") from error

    async def find(
        self,
        collection: AsyncCollection[Document],
        wanted: Document,
        *,
        order: Sequence[tuple[str, int]],
        limit: int,
        fields: Document | None = None,
        hint: str | None = None,
        deadline: Deadline | None = None,
    ) -> list[Document]:
        """The first `limit` documents in `order`, read in one go; raises as `run`."""

        async def read() -> list[Document]:
            found = collection.find(wanted, fields, hint=hint)
            return await found.sort(order).limit(limit).to_list(None)

        return await self.run(read, deadline)

    @asynccontextmanager
    async def unbounded(self) -> AsyncIterator[None]:
        """For an operator's long reading of everything: no time limit, errors as `run` raises."""
        try:
            yield
        except PyMongoError as error:
            raise HistoryUnavailable("the history's store did not answer") from error

    async def ping(self, timeout_seconds: float) -> None:
        """Raises HistoryUnavailable unless a primary answers within the timeout."""
        try:
            async with _within(timeout_seconds):
                await self._client.admin.command("ping")
        except (PyMongoError, TimeoutError) as error:
            raise HistoryUnavailable("the history's store does not answer") from error

    async def close(self) -> None:
        """Closes the client; does not wait long for a database that is away to say goodbye."""
        with suppress(TimeoutError):
            async with _within(_CLOSE_SECONDS):
                await self._client.close()


def connect(url: str, operation_timeout_seconds: float) -> MongoDBConnection:
    """A connection to the MongoDB at `url`; nothing is sent yet.

    The URL's path names the database, `turnkeep` if it has none. Raises SettingsError for a URL
    that is malformed or weakens durability.
    """
    database = _checked_database(url)
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        url,
        tz_aware=True,
        appname="turnkeep",
        serverSelectionTimeoutMS=_SERVER_SELECTION_MS,
        connectTimeoutMS=_CONNECT_MS,
        heartbeatFrequencyMS=_HEARTBEAT_MS,
    )
    return MongoDBConnection(client, database, operation_timeout_seconds)


def _checked_database(url: str) -> str:
    try:
        parsed = parse_uri(_without_dns(url), warn=False)
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise SettingsError(
            "TURNKEEP_HISTORY_URL is no valid MongoDB URL; write mongodb://USER:PASSWORD@HOST/"
            "DATABASE, and escape special characters in the user and password (%40 for @)"
        ) from error
    options: dict[str, Any] = parsed["options"]
    for name, durable in _WEAKENING.items():
        if options.get(name, durable) != durable:
            raise SettingsError(
                f"TURNKEEP_HISTORY_URL sets {name}={options[name]}, which would lose answered "
                f"turns; leave it out (Turnkeep uses {name}={durable})"
            )
    if options.get("readPreference", "primary").lower() != "primary":
        raise SettingsError("TURNKEEP_HISTORY_URL: readPreference must be primary; leave it out")
    return parsed["database"] or _DEFAULT_DATABASE


def _without_dns(url: str) -> str:
    """A mongodb+srv URL as one that can be checked offline: names are looked up at the connect."""
    if not url.startswith("mongodb+srv://"):
        return url
    plain = url.replace("mongodb+srv://", "mongodb://", 1)
    return re.sub(r"(?<=[?&])srv(MaxHosts|ServiceName)=[^&]*&?", "", plain, flags=re.IGNORECASE)


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """Bounds a block in time.

    pymongo.timeout sends the bound along to the server and has the driver retry until then, but the
    driver looks at it only every half second while it finds no server.
    """
    with pymongo.timeout(seconds):
        async with asyncio.timeout(seconds):
            yield


async def _again(operation: Callable[[], Awaitable[T]], seconds: float) -> T:
    attempts = AsyncRetrying(
        retry=retry_if_exception_type(ConnectionFailure),
        wait=wait_random_exponential(multiplier=0.05, max=1.0),
        stop=stop_after_delay(seconds),
        reraise=True,
    )

    # A coroutine function by its looks too: tenacity does not await what a lambda returns.
    async def attempt() -> T:
        return await operation()

    return await attempts(attempt)


def _startup_problem(error: PyMongoError) -> str:
    if isinstance(error, OperationFailure) and error.code == _AUTHENTICATION_FAILED:
        return "MongoDB refused the user or password in TURNKEEP_HISTORY_URL"
    if isinstance(error, ConnectionFailure) or error.timeout:
        return "MongoDB did not answer; is it running, and does TURNKEEP_HISTORY_URL name it?"
    if isinstance(error, OperationFailure) and error.code in _NOT_PERMITTED:
        return (
            "MongoDB does not let the user in TURNKEEP_HISTORY_URL make indexes; it needs "
            "readWrite on the URL's database (and a URL without a user, a MongoDB without users)"
        )
    code = f" (code {error.code})" if isinstance(error, OperationFailure) else ""
    return f"MongoDB refused to make the indexes: {type(error).__name__}{code}"
