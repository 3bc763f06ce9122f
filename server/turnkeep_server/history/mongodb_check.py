"""What a server would find at its MongoDB, looked at without writing anything."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from pymongo import IndexModel
from pymongo.errors import PyMongoError

from turnkeep_server.errors import StartupError
from turnkeep_server.history.mongodb_backup import opened_connection
from turnkeep_server.history.mongodb_connection import MongoDBConnection, startup_problem
from turnkeep_server.history.mongodb_indexes import SESSION_INDEXES, TURN_INDEXES

_OLDEST = (6, 0)
_ACTIONS = {"find", "insert", "update", "remove", "createIndex"}

Command = Mapping[str, Any]


async def findings(url: str, timeout_seconds: float) -> AsyncIterator[str]:
    """A line for each thing that is well. Raises SettingsError or StartupError, with the remedy."""
    async with opened_connection(url, timeout_seconds) as connection:
        admin = connection.turns.database.client.admin
        try:
            await connection.reach()
            yield _version(await admin.command("buildInfo"))
            yield _topology(await admin.command("hello"))
            status = await admin.command("connectionStatus", showPrivileges=True)
            yield _permissions(status["authInfo"], connection.turns.database.name)
            async for line in _indexes(connection):
                yield line
        except PyMongoError as error:
            raise StartupError(startup_problem(error)) from error


def _version(build: Command) -> str:
    if tuple(build["versionArray"][:2]) < _OLDEST:
        raise StartupError(f"MongoDB {build['version']} is too old: Turnkeep needs 6.0 or newer")
    return f"MongoDB {build['version']}"


def _topology(hello: Command) -> str:
    durable = "writes are majority with journal"
    if hello.get("msg") == "isdbgrid":
        return f"a sharded cluster; {durable}"
    if "setName" not in hello:
        return (
            "a standalone mongod: nothing goes on when it dies, and the driver does not send a "
            "lost write again. A replica set is better, of one member too"
        )
    members = len(hello.get("hosts", ()))
    alone = "" if members > 2 else "; three members go on when one dies"
    primary = hello.get("primary", "none")
    return f"replica set {hello['setName']}, {members} members, primary {primary}; {durable}{alone}"


def _permissions(auth: Command, database: str) -> str:
    if not auth["authenticatedUsers"]:
        return "no user: whoever reaches this MongoDB may read and write all of it"
    granted = {
        action
        for each in auth["authenticatedUserPrivileges"]
        if _covers(each["resource"], database)
        for action in each["actions"]
    }
    if missing := sorted(_ACTIONS - granted):
        raise StartupError(
            f"the user may not {', '.join(missing)} in {database}: grant it readWrite there"
        )
    return f"the user may read and write {database}"


def _covers(resource: Command, database: str) -> bool:
    return bool(resource.get("anyResource")) or (
        resource.get("db") in ("", database) and resource.get("collection") == ""
    )


async def _indexes(connection: MongoDBConnection) -> AsyncIterator[str]:
    for collection, wanted in (
        (connection.turns, TURN_INDEXES),
        (connection.sessions, SESSION_INDEXES),
    ):
        there = {each["name"]: each async for each in await collection.list_indexes()}
        yield f"{collection.name}: {_compared(there, wanted)}"


def _compared(there: Mapping[str, Command], wanted: Sequence[IndexModel]) -> str:
    missing = []
    for each in (index.document for index in wanted):
        name = each["name"]
        if name not in there:
            missing.append(name)
        elif _shape(there[name]) != _shape(each):
            raise StartupError(
                f"the index {name} is not the one that Turnkeep makes: drop it, and the next "
                "start makes it"
            )
    return f"would make the indexes {', '.join(missing)}" if missing else "all indexes are there"


def _shape(index: Command) -> tuple[list[tuple[str, int]], bool, Any]:
    keys = [(name, int(direction)) for name, direction in dict(index["key"]).items()]
    return keys, bool(index.get("unique")), index.get("partialFilterExpression")
