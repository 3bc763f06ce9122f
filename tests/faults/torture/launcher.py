"""Real servers, started cheaply and, if asked, wrong: forked off a process that has imported them.

    with Launcher() as launcher:
        async with launcher.server(environment(url, model)) as server:
            server.kill()
            await server.start()  # on the same port

What differs from a plain start of `turnkeep-server` (`tests.kit.server_process.ServerProcess`, with
whose interface this one's can be exchanged):

- The modules but gRPC's are imported before the fork, once for all servers, so that a start takes
  a few tenths of a second. They share what an import makes: the seed of string hashes, caches.
- Variables for the interpreter itself (PYTHONHASHSEED, PYTHONDEVMODE, …) come too late.
- It serves on a port of its own choice, chosen when it is made, and keeps it when started again.
- The process has a session of its own, and its name in /proc is the zygote's.

Apart from that it is the service: its own process, environment, output, sockets and death.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faults.torture.zygote import Job
from tests.kit.child import LAUNCHER, POLL_SECONDS, Process
from tests.kit.ports import free_port
from tests.kit.server_process import ADDRESS, ServerProcess

_ROOT = Path(__file__).parents[3]
_END_SECONDS = 5.0


class Launcher:
    """A zygote, which runs between __enter__ and __exit__; its servers end with it.

    Linux counts the thread that starts it as its parent: enter it in the main thread.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def server(
        self,
        env: Mapping[str, str],
        *,
        mutant: str = "",
        die_at: tuple[str, int] | None = None,
        address: re.Pattern[str] = ADDRESS,
    ) -> "ForkedServer":
        """A server that is not started yet. `mutant`, `die_at`: see ForkedServer."""
        return ForkedServer(self, env, mutant=mutant, die_at=die_at, address=address)

    async def ready(self) -> None:
        """Waits until servers start at once. Whoever does not would block the event loop."""
        await asyncio.to_thread(self._asked, {"ready": True})

    def started(self, job: Job) -> Process:
        """Forks a server. It may fail later: look at its output."""
        return _Forked(self, self._asked({"start": asdict(job)})["pid"])

    def exit_code(self, pid: int) -> int | None:
        """What a server that was started here exited with; None while it runs."""
        code: int | None = self._asked({"poll": pid})["code"]
        return code

    def kill(self, pid: int) -> int:
        """SIGKILLs a server that was started here; it is gone when this returns."""
        code: int = self._asked({"kill": pid})["code"]
        return code

    def __enter__(self) -> Self:
        self._socket, theirs = socket.socketpair()
        self._lines = self._socket.makefile("rw")
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid())]
        zygote = [sys.executable, "-m", "tests.faults.torture.zygote"]
        # As a server has it, but for where the tests are: what an import reads of it stays.
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        env = {**inherited, "PYTHONPATH": str(_ROOT)}
        with theirs:
            self._process = subprocess.Popen([*launcher, *zygote], env=env, stdin=theirs)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            self._lines.write(json.dumps(request) + "\n")
            self._lines.flush()
            line = self._lines.readline()
        except OSError:
            line = ""
        if not line:
            raise RuntimeError("the zygote has ended; what it said is on stderr")
        answer: dict[str, Any] = json.loads(line)
        return answer


class ForkedServer(ServerProcess):
    """A `turnkeep-server` forked off the launcher's zygote; else as ServerProcess.

    `mutant` is the name of a wrong version of the service (`mutants.MUTANTS`), or none. `die_at` is
    a step of a turn (`steps.STEPS`) and a number n: at its n-th passing the process SIGKILLs
    itself, having said so in its log. It counts for the next start alone: set it again for more.
    """

    def __init__(
        self,
        launcher: Launcher,
        env: Mapping[str, str],
        *,
        mutant: str = "",
        die_at: tuple[str, int] | None = None,
        address: re.Pattern[str] = ADDRESS,
    ) -> None:
        super().__init__({"TURNKEEP_LISTEN": f"127.0.0.1:{free_port()}", **env}, address)
        self._launcher = launcher
        self.mutant = mutant
        self.die_at = die_at

    def _launched(self, stdout: Path, stderr: Path) -> Process:
        die_at, self.die_at = self.die_at, None
        job = Job(dict(self.env), str(stdout), str(stderr), self.mutant, die_at)
        stderr.touch()
        return self._launcher.started(job)


class _Forked:
    """A process that the zygote forked, and reaps."""

    def __init__(self, launcher: Launcher, pid: int) -> None:
        self._launcher = launcher
        self._pid = pid
        self._code: int | None = None

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def exit_code(self) -> int | None:
        if self._code is None:
            self._code = self._launcher.exit_code(self._pid)
        return self._code

    def send(self, number: signal.Signals) -> None:
        if self.exit_code is None:  # not reaped: the process id is its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    async def wait(self, timeout_seconds: float) -> int:
        async with asyncio.timeout(timeout_seconds):
            while (code := self.exit_code) is None:
                await asyncio.sleep(POLL_SECONDS)
            return code

    def kill(self) -> int:
        if self._code is None:
            self._code = self._launcher.kill(self._pid)
        return self._code
