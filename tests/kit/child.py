"""Child processes that never outlive the tests, whichever way those end.

Nothing here is bound to an event loop: output goes to files and waiting is polling, so a child that
a session's fixture started can be killed from a test that runs on a loop of its own.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

POLL_SECONDS = 0.005
TAIL_LINES = 30

# Asks the kernel to kill this process when its parent dies, looks that it has not died already,
# and becomes the program. preexec_fn could do the same, but forks a process full of gRPC's threads.
PR_SET_PDEATHSIG = 1
LAUNCHER = f"""
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the tests are gone")
os.execvpe(sys.argv[2], sys.argv[2:], os.environ)
"""


class Process(Protocol):
    """A process that somebody started, whichever way."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def exit_code(self) -> int | None:
        """What it exited with, -N after signal N; None while it runs."""

    def send(self, number: signal.Signals) -> None:
        """Send a signal; to a process that has ended, nothing happens."""

    async def wait(self, timeout_seconds: float) -> int:
        """Its exit code once it has ended; TimeoutError when it goes on for longer than that."""

    def kill(self) -> int:
        """SIGKILL it, paused or not, and reap it; its exit code."""


class Child:
    """A child process whose output is kept in two files. A missing program is an exit code of 1.

    Linux counts the thread that starts it as its parent: start it from the main thread.
    """

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None, stdout: Path, stderr: Path
    ) -> None:
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid())]
        with stdout.open("ab") as out, stderr.open("ab") as err:
            self._process = subprocess.Popen(
                [*launcher, *argv], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def pid(self) -> int:
        """The program's process id; it was the launcher's."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it exited with, -N after signal N; None while it runs."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal; to a process that has ended, nothing happens."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def wait(self, timeout_seconds: float) -> int:
        """Its exit code once it has ended; TimeoutError when it goes on for longer than that."""
        async with asyncio.timeout(timeout_seconds):
            while (code := self.exit_code) is None:
                await asyncio.sleep(POLL_SECONDS)
            return code

    def kill(self) -> int:
        """SIGKILL it, paused or not, and reap it; its exit code."""
        self.send(signal.SIGKILL)
        return self._process.wait()


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a file, for an error's text; a file that is not there is empty."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
