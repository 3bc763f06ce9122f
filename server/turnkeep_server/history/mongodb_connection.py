"""The connection to MongoDB: how durable, how long, and where the driver's errors stop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import pymongo
import structlog
from bson.errors import BSONError
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern
from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import HistoryUnavailable, SettingsError, StartupError
from turnkeep_server.history.mongodb_documents import Document
from turnkeep_server.history.mongodb_elections import Elections
from turnkeep_server.history.mongodb_indexes import (
    SESSION_INDEXES,
    TENANT_DAY_INDEXES,
    TURN_INDEXES,
)
from turnkeep_server.history.mongodb_new_primary import NewPrimary
from turnkeep_server.history.mongodb_pool import Pool
from turnkeep_server.history.mongodb_url import NOT_VALID, checked_database

T = TypeVar("T")
_SHORTEST_OPERATION_SECONDS = 0.001
# How long an answer is waited for before the operation is sent again, on another connection: this
# one may lead nowhere. Twice as long each time, so that what takes long gets done.
_PATIENCE_SECONDS = 5.0
# What is still without an answer this long after another primary was elected was sent to the old
# one. By then the driver has sent again what it knows to be lost.
_ELECTED_PATIENCE_SECONDS = 0.5
_PAUSE = wait_random_exponential(multiplier=0.05, max=1.0)
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

# An answered turn survives the loss of the primary; `mongodb_url` refuses what would weaken it.
_DURABLE = WriteConcern(w="majority", j=True)


class MongoDBConnection:
    """A client, its three collections, and the one way to run an operation on them.

    `client` may be anything that acts as an AsyncMongoClient; it is closed with the connection.
    `pool` counts its connections, if it was made to listen.
    """

    def __init__(
        self,
        client: AsyncMongoClient[Document],
        database: str,
        operation_timeout_seconds: float,
        elections: Elections | None = None,
        pool: Pool | None = None,
    ) -> None:
        self._client = client
        self.pool = pool or Pool()
        self._operation_timeout_seconds = operation_timeout_seconds
        self._running: set[asyncio.Task[Any]] = set()
        self._attempts: set[asyncio.Future[None]] = set()
        elections = elections or Elections()
        elections.tell(self._elected)
        self._primary = NewPrimary(elections, self._ask_primary)
        self.turns = self._collection(database, "turns")
        self.sessions = self._collection(database, "sessions")
        self.tenant_days = self._collection(database, "tenant_days")

    def _collection(self, database: str, name: str) -> AsyncCollection[Document]:
        return self._client[database][name].with_options(
            write_concern=_DURABLE,
            read_concern=ReadConcern("majority"),
            read_preference=ReadPreference.PRIMARY,
        )

    async def reach(self) -> None:
        """Returns when a primary has answered. Raises StartupError with the remedy."""
        try:
            await self._within(self._operation_timeout_seconds, self._client.admin.command("ping"))
        except (PyMongoError, TimeoutError) as error:
            raise StartupError(startup_problem(error)) from error

    async def create_indexes(self) -> None:
        """Makes the indexes that are not there yet. Raises StartupError with the remedy."""
        await self.reach()
        try:
            await self._within(_INDEX_SECONDS, self.turns.create_indexes(TURN_INDEXES))
            await self._within(_INDEX_SECONDS, self.sessions.create_indexes(SESSION_INDEXES))
            await self._within(_INDEX_SECONDS, self.tenant_days.create_indexes(TENANT_DAY_INDEXES))
        except (PyMongoError, TimeoutError) as error:
            raise StartupError(startup_problem(error)) from error
        with suppress(HistoryUnavailable):  # else the first reading waits for it
            await self._primary.caught_up(self._end(None))

    async def run(
        self, operation: Callable[[], Awaitable[T]], deadline: Deadline | None = None
    ) -> T:
        """The outcome of an idempotent operation, tried again while no answer comes.

        An attempt that is given up may still be carried out, beside the next one or after it. Ends
        at `deadline`, or after the operation timeout if that is sooner. Raises DuplicateKeyError,
        which is an answer, and HistoryUnavailable for all else.
        """
        try:
            return await self._tried(operation, self._end(deadline))
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

        return await self.read(read, deadline)

    async def read(
        self, operation: Callable[[], Awaitable[T]], deadline: Deadline | None = None
    ) -> T:
        """The outcome of a reading, which finds every write that was acknowledged before it began.

        Behind mongos, which tells of no elections, it finds what read concern majority does. The
        driver may have waited for a new primary within the operation, and another reading have had
        that one catch up meanwhile: what counts is who was believed when it began. Raises as `run`.
        """
        end = self._end(deadline)
        while True:
            believed = self._primary.believed
            found = await self.run(operation, end)
            await self._primary.caught_up(end)
            if self._primary.believed == believed:
                return found

    async def _ask_primary(self) -> None:
        linearizable = self.turns.with_options(read_concern=ReadConcern("linearizable"))
        await self.run(lambda: linearizable.find_one({"_id": None}, {"_id": 1}))

    def _end(self, deadline: Deadline | None) -> Deadline:
        end = Deadline.after(self._operation_timeout_seconds)
        return deadline if deadline and deadline.at < end.at else end

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
            await self._within(timeout_seconds, self._client.admin.command("ping"))
        except (PyMongoError, TimeoutError) as error:
            raise HistoryUnavailable("the history's store does not answer") from error

    async def _tried(self, operation: Callable[[], Awaitable[T]], end: Deadline) -> T:
        try:
            return await self._attempt(operation, end, _PATIENCE_SECONDS)
        except (PyMongoError, TimeoutError) as error:
            if not _is_lost(error) or end.passed():
                raise
        attempts = AsyncRetrying(
            retry=retry_if_exception(_is_lost),
            wait=lambda state: min(_PAUSE(state), end.remaining()),
            stop=lambda _: end.passed(),
            reraise=True,
        )

        async def attempt() -> T:
            number: int = attempts.statistics["attempt_number"]
            return await self._attempt(operation, end, _PATIENCE_SECONDS * 2**number)

        return await attempts(attempt)

    async def _attempt(
        self, operation: Callable[[], Awaitable[T]], end: Deadline, patience_seconds: float
    ) -> T:
        async def work() -> T:
            return await operation()

        seconds = max(min(patience_seconds, end.remaining()), _SHORTEST_OPERATION_SECONDS)
        waiting = asyncio.get_running_loop().create_future()
        self._attempts.add(waiting)
        try:
            return await self._within(seconds, work(), waiting)
        finally:
            self._attempts.discard(waiting)

    def _elected(self) -> None:
        """Another primary: what waits for the old one will be given up, and so sent again.

        The old one may be frozen or cut off, its connections as good as open. The driver is to
        interrupt what waits on them, but does so only when a heartbeat has failed, 7 s later, and
        some operations it misses: they lasted until their own time was up.
        """
        before = set(self._attempts)
        loop = asyncio.get_running_loop()
        loop.call_later(_ELECTED_PATIENCE_SECONDS, _give_up, before)

    async def _within(
        self,
        seconds: float,
        work: Coroutine[Any, Any, T],
        waiting: asyncio.Future[None] | None = None,
    ) -> T:
        """What `work` returns, or TimeoutError after `seconds` or once somebody ends `waiting`.

        It is never cancelled.

        pymongo.timeout has the driver end it: at once where it waits for MongoDB, within half a
        second where it waits for a server to choose, which is too late for a deadline. Cancelled
        there, though, it leaves the lock that all operations share in disorder on Python 3.11,
        whose asyncio.wait_for, in which it waits, loses a cancellation that comes together with
        what it waits for (https://github.com/python/cpython/issues/86296): now and then one call
        went on past its deadline, and another's failed with a RuntimeError.
        """
        loop = asyncio.get_running_loop()
        waiting = waiting or loop.create_future()
        with pymongo.timeout(seconds):
            task = loop.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        # What asyncio.wait does, for half of what it costs: this is done three times a turn.
        task.add_done_callback(lambda _: _end(waiting))
        timer = loop.call_later(seconds, _end, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
        if not task.done():
            raise TimeoutError
        return task.result()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Or asyncio complains of an outcome that nobody waited for.
            task.exception()

    async def close(self) -> None:
        """Closes the client; does not wait long for a database that is away to say goodbye.

        What still waits for a server to choose ends by it, so that nothing is left to cancel.
        """
        with suppress(TimeoutError):
            await self._within(_CLOSE_SECONDS, self._client.close())
        if self._running:
            await asyncio.wait(self._running, timeout=_CLOSE_SECONDS)


def connect(url: str, operation_timeout_seconds: float) -> MongoDBConnection:
    """A connection to the MongoDB at `url`; nothing is sent yet.

    The URL's path names the database, `turnkeep` if it has none. Raises SettingsError for a URL
    that is malformed or weakens durability.
    """
    database = checked_database(url)
    elections, pool = Elections(), Pool()
    try:
        client: AsyncMongoClient[Document] = AsyncMongoClient(
            url,
            tz_aware=True,
            appname="turnkeep",
            serverSelectionTimeoutMS=_SERVER_SELECTION_MS,
            connectTimeoutMS=_CONNECT_MS,
            heartbeatFrequencyMS=_HEARTBEAT_MS,
            event_listeners=[elections, pool],
        )
    except ConfigurationError as error:  # what only the driver checks of a mongodb+srv URL
        raise SettingsError(NOT_VALID) from error
    return MongoDBConnection(client, database, operation_timeout_seconds, elections, pool)


def _give_up(attempts: set[asyncio.Future[None]]) -> None:
    for each in attempts:
        _end(each)


def _end(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _is_lost(error: BaseException) -> bool:
    """Whether no answer came, so that the operation may have been carried out or not."""
    return isinstance(error, (ConnectionFailure, TimeoutError)) or (
        isinstance(error, PyMongoError) and error.timeout
    )


def startup_problem(error: PyMongoError | TimeoutError) -> str:
    """Why MongoDB cannot be used, with the remedy."""
    if isinstance(error, OperationFailure) and error.code == _AUTHENTICATION_FAILED:
        return "MongoDB refused the user or password in TURNKEEP_HISTORY_URL"
    if isinstance(error, ConfigurationError):
        return (
            "MongoDB's address cannot be looked up; does TURNKEEP_HISTORY_URL name a host that "
            "there is?"
        )
    if isinstance(error, (ConnectionFailure, TimeoutError)) or error.timeout:
        return "MongoDB did not answer; is it running, and does TURNKEEP_HISTORY_URL name it?"
    if isinstance(error, OperationFailure) and error.code in _NOT_PERMITTED:
        return (
            "MongoDB does not let the user in TURNKEEP_HISTORY_URL make indexes; it needs "
            "readWrite on the URL's database (and a URL without a user, a MongoDB without users)"
        )
    code = f" (code {error.code})" if isinstance(error, OperationFailure) else ""
    return f"MongoDB refused to make the indexes: {type(error).__name__}{code}"
