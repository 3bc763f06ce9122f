"""A real replica set of mongods, which elects another primary when its own is killed or frozen.

With the timings given here a set elects within two seconds; MongoDB's own take 9 to 11.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from tests.kit.mongod import Mongod

ELECTION_TIMEOUT_MS = 1_000
HEARTBEAT_MS = 200
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.05
ANSWER_MS = 500
STEP_DOWN_SECONDS = 3
CONFIRM_MS = 4_000
NAME = "rs0"
# A secondary that copies from a frozen member would leave it after 12 s only; without it a set of
# three, which by then has another primary, acknowledges nothing.
LEAVES_A_SILENT_SOURCE_SOON = [
    *("--setParameter", "oplogNetworkTimeoutBufferSeconds=1"),
    *("--setParameter", "oplogFetcherSteadyStateMaxFetcherRestarts=0"),
]

Client = AsyncMongoClient[dict[str, Any]]


class Member(Mongod):
    """One mongod of a set: started when it listens; whether it takes writes the set decides."""

    def __init__(self, data_dir: Path, flags: Sequence[str]) -> None:
        super().__init__(data_dir, NAME)
        self._flags = flags

    def _argv(self) -> list[str]:
        return [*super()._argv(), *self._flags]

    async def _ready(self) -> None:
        pass


class ReplicaSet:
    """A replica set on 127.0.0.1, with a primary and nobody behind when __aenter__ returns.

    Its data lie below `folder`. Every wait ends with TimeoutError after WAIT_SECONDS.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: int = 3,
        election_timeout_ms: int = ELECTION_TIMEOUT_MS,
        heartbeat_ms: int = HEARTBEAT_MS,
        flags: Sequence[str] = LEAVES_A_SILENT_SOURCE_SOON,
    ) -> None:
        self.members = [Member(folder / f"member-{n}", flags) for n in range(size)]
        self._settings = {
            "electionTimeoutMillis": election_timeout_ms,
            "heartbeatIntervalMillis": heartbeat_ms,
        }
        self._down: set[Mongod] = set()
        self._frozen: set[Mongod] = set()

    def url_for(self, database: str) -> str:
        """The MongoDB URI of one database, which names every member."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.members)
        return f"mongodb://{hosts}/{database}?replicaSet={NAME}"

    async def primary(self) -> Mongod:
        """The member that takes writes, once there is one; of two, the one elected last."""
        found: list[Mongod] = []

        def elected(said: dict[Mongod, dict[str, Any]]) -> bool:
            claims = {each: hello for each, hello in said.items() if hello["isWritablePrimary"]}
            found[:] = sorted(claims, key=lambda each: claims[each]["electionId"])
            return bool(found)

        await self._until(elected)
        return found[-1]

    async def settled(self) -> None:
        """Waits until one member is the primary and all others that run replicate from it.

        To be a secondary is not enough: one that was started a moment ago may be about to choose
        a source, which it waits for up to half a minute if that is frozen meanwhile.
        """

        def whole(said: dict[Mongod, dict[str, Any]]) -> bool:
            primaries = sum(bool(hello["isWritablePrimary"]) for hello in said.values())
            secondaries = sum(bool(hello["secondary"]) for hello in said.values())
            return primaries == 1 and primaries + secondaries == len(self._awake())

        await self._until(whole)
        async with asyncio.timeout(WAIT_SECONDS):
            while not await self._all_confirm_a_write():
                await asyncio.sleep(POLL_SECONDS)

    async def _all_confirm_a_write(self) -> bool:
        by_all = WriteConcern(len(self._awake()), wtimeout=CONFIRM_MS)
        async with _asking(await self.primary()) as client:
            confirmed = client["replica_set"]["confirmed"].with_options(write_concern=by_all)
            try:
                await confirmed.insert_one({})
            except PyMongoError:
                return False
        return True

    async def kill(self, member: Mongod) -> None:
        """SIGKILL."""
        member.kill()
        self._frozen.discard(member)
        self._down.add(member)

    async def restart(self, member: Mongod) -> None:
        """Starts a killed member again; returns when it listens, not when it has caught up."""
        await member.start()
        self._down.discard(member)

    async def step_down(self, member: Mongod) -> None:
        """Has the primary give up its office, in order; it may be elected again 3 s later."""
        async with _asking(member) as client:
            await client.admin.command(
                {
                    "replSetStepDown": STEP_DOWN_SECONDS,
                    "secondaryCatchUpPeriodSecs": STEP_DOWN_SECONDS - 1,
                    "force": True,
                }
            )

    def freeze(self, member: Mongod) -> None:
        """SIGSTOP: its connections stay open, and nothing on them is answered."""
        member.pause()
        self._frozen.add(member)

    def resume(self, member: Mongod) -> None:
        """SIGCONT, after freeze(); it takes itself for the primary until it hears of another."""
        member.resume()
        self._frozen.discard(member)

    async def __aenter__(self) -> Self:
        try:
            for member in self.members:
                await member.start()
            await self._initiate()
            await self.settled()
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        # The data are the test's: nothing is worth a clean end.
        for member in self.members:
            member.kill()

    def _awake(self) -> list[Mongod]:
        return [each for each in self.members if each not in self._down | self._frozen]

    async def _initiate(self) -> None:
        hosts = [
            {"_id": n, "host": f"127.0.0.1:{each.port}"} for n, each in enumerate(self.members)
        ]
        config = {"_id": NAME, "members": hosts, "settings": self._settings}
        async with _asking(self.members[0], answer_ms=int(WAIT_SECONDS * 1_000)) as client:
            await client.admin.command("replSetInitiate", config)

    async def _until(self, condition: Callable[[dict[Mongod, dict[str, Any]]], bool]) -> None:
        """Asks every member that is awake for its `hello` until the condition holds on them."""
        async with AsyncExitStack() as stack, asyncio.timeout(WAIT_SECONDS):
            clients = {
                each: await stack.enter_async_context(_asking(each)) for each in self._awake()
            }
            while not condition(await _hellos(clients)):
                await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def _asking(member: Mongod, answer_ms: int = ANSWER_MS) -> AsyncIterator[Client]:
    """A client of this member alone, that does not wait long for it."""
    client = Client(
        member.url,
        serverSelectionTimeoutMS=answer_ms,
        connectTimeoutMS=answer_ms,
        socketTimeoutMS=max(answer_ms, STEP_DOWN_SECONDS * 2_000),
    )
    async with client:
        yield client


async def _hellos(clients: dict[Mongod, Client]) -> dict[Mongod, dict[str, Any]]:
    """What each member says of itself; one that does not answer is left out."""

    async def hello(client: Client) -> dict[str, Any] | None:
        try:
            return await client.admin.command("hello")
        except PyMongoError:
            return None

    said = await asyncio.gather(*map(hello, clients.values()))
    return {each: answer for each, answer in zip(clients, said, strict=True) if answer}
