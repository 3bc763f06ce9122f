"""The real service as a child process, configured by its environment alone."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, cast

import grpc.aio

from tests.kit import canary
from tests.kit.child import POLL_SECONDS, Child, Process, tail

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub

START_SECONDS = 60.0
WAIT_SECONDS = 30.0
ADDRESS = re.compile(r"127\.0\.0\.1:[1-9][0-9]*")


class Fork(Protocol):
    """Starts `turnkeep-server` cheaply."""

    def __call__(
        self, env: Mapping[str, str], stdout: Path, stderr: Path, arguments: tuple[str, ...]
    ) -> Process: ...


_FORKABLE = re.compile(r"(TURNKEEP|OPENAI|OTEL)_|(PATH|HOME)$")
_forks: list[Fork] = []


@contextmanager
def forked_by(fork: Fork) -> Iterator[None]:
    """In the block, servers whose interpreter does not matter are started by it."""
    _forks.append(fork)
    try:
        yield
    finally:
        _forks.pop()


def turnkeep_server(env: Mapping[str, str], stdout: Path, stderr: Path, *arguments: str) -> Process:
    """The command with its whole environment; what it writes is added to two files."""
    # Other variables come too late for an interpreter that runs; and workers are started by it.
    known = all(_FORKABLE.match(name) for name in env) and "TURNKEEP_WORKERS" not in env
    if _forks and known:
        return _forks[-1](env, stdout, stderr, arguments)
    argv = [sys.executable, "-m", "turnkeep_server", *arguments]
    return Child(argv, env=env, stdout=stdout, stderr=stderr)


class ServerProcess:
    """A `turnkeep-server` on a free port, serving between __aenter__ and __aexit__.

    It gets exactly `env`, plus PATH, HOME and TURNKEEP_LISTEN=127.0.0.1:0 unless `env` says
    otherwise; `address` finds in its line where it serves. Leaving kills it; a test that wants a
    clean end calls terminate() and wait() first. Secrets are planted in its settings (`canary`);
    leaving raises SecretLeaked if one of them, or what a caller said or heard on a channel of
    `stub()`, is in its output. `module` is what Python runs in its place: one of
    benchmarks.peers, which are configured and announce themselves as it does.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        address: re.Pattern[str] = ADDRESS,
        *,
        module: str = "turnkeep_server",
    ) -> None:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.env = {**inherited, "TURNKEEP_LISTEN": "127.0.0.1:0", **canary.planted(env)}
        self._address = address
        self._module = module
        self.address = ""
        """host:port, once it serves."""
        self._folder = tempfile.TemporaryDirectory(prefix="turnkeep-server-")
        self._stdout = Path(self._folder.name, "stdout")
        self._stderr = Path(self._folder.name, "stderr")
        self._child: Process | None = None
        self._channels: list[grpc.aio.Channel] = []
        self._last_log: list[str] | None = None
        self.overheard: set[str] = set()
        """What callers said and heard through stub(), as far as it can be told from other text."""

    @property
    def pid(self) -> int:
        """Its process id. RuntimeError before it was started."""
        return self._started().pid

    @property
    def line(self) -> str:
        """What it wrote on stdout: the one line that says address, history and model."""
        return self._stdout.read_text() if self._stdout.exists() else ""

    @property
    def log(self) -> list[str]:
        """The lines that it has written on stderr so far; JSON when TURNKEEP_LOG_FORMAT=json.

        Whole lines while it runs: of one that is being written, a reader may see the beginning.
        """
        if self._last_log is not None:
            return self._last_log
        return self._log_lines(unfinished=False) if self._child else []

    def stub(self) -> "tuple[grpc.aio.Channel, ConversationServiceAsyncStub]":
        """A new channel to it and the service's stub; leaving closes the channel, if it is open."""
        from turnkeep.v1.conversation_pb2_grpc import ConversationServiceStub

        # Channels with equal arguments share one connection unless each has a pool of its own.
        channel = grpc.aio.insecure_channel(
            self.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._channels.append(channel)
        if self._module != "turnkeep_server":
            return channel, ConversationServiceStub(channel)
        noted = cast(grpc.aio.Channel, canary.Overheard(channel, self.overheard))
        return noted, ConversationServiceStub(noted)

    def kill(self) -> None:
        """SIGKILL: it is gone when this returns."""
        self._started().kill()

    def terminate(self) -> None:
        """SIGTERM: it drains, then exits; wait() for that."""
        self._started().send(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: its connections stay, nothing answers."""
        self._started().send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after pause()."""
        self._started().send(signal.SIGCONT)

    def hang_up(self) -> None:
        """SIGHUP: it reads its prompts again. One that has ended is not sent it."""
        self._started().send(signal.SIGHUP)

    async def wait(self, timeout_seconds: float = WAIT_SECONDS) -> int:
        """Its exit code, -N after signal N; TimeoutError when it still runs then."""
        return await self._started().wait(timeout_seconds)

    async def start(self) -> None:
        """Start it (again), wait for its line. RuntimeError with its log's end when none comes."""
        self._check_silent()
        self._stdout.unlink(missing_ok=True)  # what it said when it ran before
        self._child = self._launched(self._stdout, self._stderr)
        try:
            async with asyncio.timeout(START_SECONDS):
                self.address = await self._serving()
        except TimeoutError:
            raise self._failure(f"did not serve within {START_SECONDS:.0f} s") from None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for channel in self._channels:
            await channel.close()
        if self._child is not None:
            self._child.kill()
            self._last_log = self._log_lines(unfinished=True)
        try:
            if error is None:
                self._check_silent()
        finally:
            self._folder.cleanup()

    def _log_lines(self, *, unfinished: bool) -> list[str]:
        *lines, last = self._stderr.read_text(errors="replace").split("\n")
        return [*lines, last] if unfinished and last else lines

    def _check_silent(self) -> None:
        """Raises SecretLeaked if its output has a secret in it."""
        told_to_log = self.env.get("TURNKEEP_LOG_TEXT") == "1"
        if self._module == "turnkeep_server" and not told_to_log:
            canary.check("its line on stdout", self.line)
            canary.check("its log", "\n".join(self.log), self.overheard)

    def _launched(self, stdout: Path, stderr: Path) -> Process:
        """The service's new process."""
        if self._module == "turnkeep_server":
            return turnkeep_server(self.env, stdout, stderr)
        argv = [sys.executable, "-m", self._module]
        return Child(argv, env=self.env, stdout=stdout, stderr=stderr)

    def _started(self) -> Process:
        if self._child is None:
            raise RuntimeError("the server was not started")
        return self._child

    async def _serving(self) -> str:
        while True:
            # Looked at before the line: who has said it and then ended did serve.
            code = self._started().exit_code
            if self.line.endswith("\n"):
                break
            if code is not None:
                raise self._failure(f"exited with {code}")
            await asyncio.sleep(POLL_SECONDS)
        if found := self._address.search(self.line):
            return found[0]
        raise self._failure(f"named no address in {self.line!r}")

    def _failure(self, what: str) -> RuntimeError:
        return RuntimeError(f"{self._module} {what}; its log ends:\n{tail(self._stderr)}")
