"""Backups: every turn as of one moment, in the file that mongodump writes, and back again.

The turns are all there is to keep: the list of sessions and the indexes are made from them.
"""

import gzip
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

import bson
from bson.codec_options import CodecOptions
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument
from pydantic import SecretStr
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from turnkeep_server.errors import SettingsError, StartupError
from turnkeep_server.history.embedded_mongod import opened_mongod
from turnkeep_server.history.mongodb_connection import MongoDBConnection, connect
from turnkeep_server.history.stores import scheme_of

_RAW = CodecOptions(document_class=RawBSONDocument)
_INSERTED_AT_ONCE = 1_000
_GZIP_MAGIC = b"\x1f\x8b"
_DUPLICATE_KEY, _SNAPSHOT_TOO_OLD = 11_000, 239


@dataclass(slots=True)
class Counted:
    """What went into a backup or came out of one; `conflicts` are turns whose place is taken."""

    turns: int = 0
    messages: int = 0
    already_there: int = 0
    conflicts: int = 0


@asynccontextmanager
async def opened_connection(url: str, timeout_seconds: float) -> AsyncIterator[MongoDBConnection]:
    """The MongoDB of a history's URL, without the store's tasks: a backup needs to read only.

    Raises SettingsError for a store that is no MongoDB, StartupError if there is none.
    """
    scheme = scheme_of(SecretStr(url))
    if scheme == "local":
        async with (
            opened_mongod(url) as mongod_url,
            opened_connection(mongod_url, timeout_seconds) as connection,
        ):
            yield connection
        return
    if scheme not in ("mongodb", "mongodb+srv"):
        raise SettingsError(f"TURNKEEP_HISTORY_URL: a backup is of a MongoDB, not of {scheme}://")
    connection = connect(url, timeout_seconds)
    try:
        yield connection
    finally:
        await connection.close()


async def write_backup(connection: MongoDBConnection, file: IO[bytes]) -> Counted:
    """Writes every turn to `file`, gzipped, as of the moment when it begins.

    On a standalone mongod, which has no such moments, turns that are written meanwhile may be in it
    or not. Raises StartupError with the remedy.
    """
    counted = Counted()
    with gzip.GzipFile(filename="", fileobj=file, mode="wb") as packed:
        try:
            level = "snapshot" if await _has_snapshots(connection) else "majority"
            turns = connection.turns.with_options(read_concern=ReadConcern(level))
            # Typed as documents; they are the bytes of many.
            batches: AsyncIterator[bytes] = cast(Any, turns.find_raw_batches())
            async for batch in batches:
                packed.write(batch)
                documents = bson.decode_all(batch, _RAW)
                counted.turns += len(documents)
                counted.messages += sum(map(_messages, documents))
        except PyMongoError as error:
            raise StartupError(_why_not_read(error)) from error
    return counted


async def read_backup(connection: MongoDBConnection, file: IO[bytes]) -> Counted:
    """Stores every turn of `file`, gzipped or not; what is there already is left as it is.

    So it may be run again after it was cut short. Raises StartupError with the remedy.
    """
    await connection.create_indexes()
    counted = Counted()
    try:
        for documents in _batches(_documents(file)):
            await _insert(connection, documents, counted)
    except (InvalidBSON, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise StartupError(
            f"the backup is damaged or cut short behind turn {counted.turns}; what came before is "
            "stored. Use another copy: it may be restored on top"
        ) from error
    except PyMongoError as error:
        raise StartupError(
            f"MongoDB did not take the turns ({type(error).__name__}); run it again when it does"
        ) from error
    return counted


async def _has_snapshots(connection: MongoDBConnection) -> bool:
    hello = await connection.turns.database.client.admin.command("hello")
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def _why_not_read(error: PyMongoError) -> str:
    if isinstance(error, OperationFailure) and error.code == _SNAPSHOT_TOO_OLD:
        return (
            "the backup took longer than MongoDB keeps a moment (300 s): raise its parameter "
            "minSnapshotHistoryWindowInSeconds, or copy the disk of a secondary instead"
        )
    return f"MongoDB could not be read to the end ({type(error).__name__}): the file is of no use"


def _documents(file: IO[bytes]) -> Iterator[RawBSONDocument]:
    """Its documents, one by one. Raises InvalidBSON, EOFError and gzip's for a damaged file."""
    plain = cast(Any, file)
    if plain.peek(2)[:2] == _GZIP_MAGIC:
        plain = gzip.GzipFile(fileobj=file)
    return bson.decode_file_iter(plain, _RAW)


def _batches(documents: Iterator[RawBSONDocument]) -> Iterator[Sequence[RawBSONDocument]]:
    batch: list[RawBSONDocument] = []
    for each in documents:
        batch.append(each)
        if len(batch) == _INSERTED_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


async def _insert(
    connection: MongoDBConnection, documents: Sequence[RawBSONDocument], counted: Counted
) -> None:
    refused: list[dict[str, Any]] = []
    try:
        await cast(Any, connection.turns).insert_many(documents, ordered=False)
    except BulkWriteError as error:
        refused = error.details["writeErrors"]
        if any(each["code"] != _DUPLICATE_KEY for each in refused):
            raise
    known = sum(each["keyPattern"] == {"_id": 1} for each in refused)
    counted.already_there += known
    counted.conflicts += len(refused) - known
    counted.turns += len(documents)
    counted.messages += sum(map(_messages, documents))


def _messages(document: RawBSONDocument) -> int:
    return len(document.get("messages") or ())
