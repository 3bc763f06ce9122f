"""MongoDB's own fault tool: a mongod's commands of some names fail, in the way that is asked for.

It needs `enableTestCommands`, which the kit's mongods have. Only the service is hit (by its
appName), so that a test can look at the database meanwhile.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pymongo import AsyncMongoClient

from tests.kit.mongod import Mongod

APP_NAME = "turnkeep"
RETRYABLE = ["RetryableWriteError"]


@dataclass(frozen=True, slots=True)
class Failure:
    """One way in which a command fails."""

    name: str
    data: dict[str, Any] = field(hash=False)

    def __str__(self) -> str:
        return self.name


CLOSED = Failure("connection closed", {"closeConnection": True})
"""Before the command runs."""


def error(name: str, code: int, *labels: str) -> Failure:
    """The command does not run, and is answered with this error."""
    return Failure(name, {"errorCode": code, "errorLabels": list(labels)})


def done_but(name: str, code: int, *labels: str) -> Failure:
    """The write is made, and then its answer is an error of its write concern."""
    concern = {"code": code, "errmsg": "told to fail"}
    return Failure(name, {"writeConcernError": concern, "errorLabels": list(labels)})


def delayed(seconds: float) -> Failure:
    """The command runs, so much later."""
    blocks = {"blockConnection": True, "blockTimeMS": int(seconds * 1_000)}
    return Failure(f"{seconds:g} s late", blocks)


@asynccontextmanager
async def failing(
    mongod: Mongod,
    commands: Sequence[str],
    failure: Failure,
    *,
    times: int | None = None,
    skip: int | None = None,
    probability: float | None = None,
) -> AsyncIterator[None]:
    """While the block runs the service's commands of these names fail.

    The next `times`, or all after the first `skip`, or each with this `probability`, or all.
    """
    mode: object = "alwaysOn"
    if times is not None:
        mode = {"times": times}
    elif skip is not None:
        mode = {"skip": skip}
    elif probability is not None:
        mode = {"activationProbability": probability}
    data = {"failCommands": list(commands), "appName": APP_NAME, **failure.data}
    point = {"configureFailPoint": "failCommand"}
    async with AsyncMongoClient[dict[str, Any]](mongod.url) as client:
        await client.admin.command({**point, "mode": mode, "data": data})
        try:
            yield
        finally:
            await client.admin.command({**point, "mode": "off"})


async def times_entered(mongod: Mongod) -> int:
    """How many commands have failed so far, since mongod started."""
    async with AsyncMongoClient[dict[str, Any]](mongod.url) as client:
        found = await client.admin.command({"getParameter": 1, "failpoint.failCommand": 1})
    count: int = found["failpoint.failCommand"]["timesEntered"]
    return count
