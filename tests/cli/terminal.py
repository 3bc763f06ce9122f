"""The command `turnkeep` in a real pseudo-terminal, driven as a person does."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import pexpect
from pexpect.fdpexpect import fdspawn

from tests.cli.command import PROGRAM
from tests.kit.child import PR_SET_PDEATHSIG

SEE_SECONDS = 20.0
ROWS, COLUMNS = 24, 80
# What the line editor tells the terminal when it begins to read: bracketed paste, please.
PROMPT_IS_UP = "\x1b[?2004h"
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78])")

CTRL_C, CTRL_D, CTRL_J, ENTER, ALT_ENTER, UP = "\x03", "\x04", "\n", "\r", "\x1b\r", "\x1b[A"

# pexpect's own spawn forks a process that is full of gRPC's threads. This makes the pseudo-terminal
# the child's own instead, and dies with the tests.
LAUNCHER = f"""
import ctypes, fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, signal.SIGKILL)
os.execvpe(sys.argv[1], sys.argv[1:], os.environ)
"""


class Terminal:
    """A terminal of 80 columns with the command in it; leaving the block ends both.

    Use it from a test on an event loop: waiting is done in a thread.
    """

    def __init__(self, *arguments: str, env: Mapping[str, str]) -> None:
        self._master, slave = os.openpty()
        termios.tcsetwinsize(slave, (ROWS, COLUMNS))
        self.attributes = termios.tcgetattr(slave)
        """How the terminal was before the command came."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCHER, *PROGRAM, *arguments],
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        self._slave = slave
        self._screen = fdspawn(self._master, encoding="utf-8", timeout=SEE_SECONDS)

    def press(self, keys: str) -> None:
        """Types text or presses keys, as the terminal sends them."""
        os.write(self._master, keys.encode())

    async def see(self, text: str) -> str:
        """Waits until the text comes; what came before it, without escapes. AssertionError."""
        try:
            await asyncio.to_thread(self._screen.expect_exact, text)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            raise AssertionError(f"{text!r} did not come, but {self._screen.buffer!r}") from error
        return shown(self._screen.before)

    async def prompt(self) -> str:
        """Waits for the prompt; what came before it."""
        return await self.see(PROMPT_IS_UP)

    async def say(self, text: str) -> None:
        """Types a line and sends it, at the prompt that is up."""
        self.press(text + ENTER)
        await self.see("\x1b[?2004l")

    async def ask(self, text: str) -> str:
        """Sends a line and waits for the next prompt; what came between."""
        await self.say(text)
        return await self.prompt()

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """A signal, SIGINT for one, as another process sends it."""
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Waits for its end; its exit code."""
        return await asyncio.to_thread(self._process.wait, SEE_SECONDS)

    def attributes_now(self) -> list[object]:
        """How the terminal is."""
        return termios.tcgetattr(self._slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._slave)
        os.close(self._master)


def shown(written: str) -> str:
    """What was written, without the escapes."""
    return _ESCAPES.sub("", written).replace("\r\n", "\n")
