"""A file that may be replaced at any time: what it says is what it says now."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar, cast

import structlog

from turnkeep_server.errors import SettingsError

T = TypeVar("T")

_MAX_BYTES = 2**24
# Two changes within a tick of the kernel's clock look like one.
_TICK_NS = 20_000_000
# Longer than `turnkeep-server key new > FILE` takes to come to its line.
_HALF_WRITTEN_NS = 5_000_000_000

_Look = tuple[int, ...] | None


class SaysNothing(SettingsError):
    """A file without a line that counts: emptied on purpose, or caught while it is written."""

    def __init__(self, problem: str, instead: object) -> None:
        """`instead`: what the file says if it is meant so."""
        super().__init__(problem)
        self.instead = instead


class WatchedFile(Generic[T]):
    """A file's content by `parse`, which raises SettingsError and quotes no secret.

    Each look at it costs one stat. It is read again, in a thread, when it has become another file:
    whoever asks then waits for that, so a line that was deleted counts no more from the next call
    on. A file that has become bad or unreadable changes nothing, and the log says so. One for which
    `parse` raises SaysNothing counts once it has been so for 5 seconds.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T], *, variable: str) -> None:
        """`variable`: the setting that names it, for messages."""
        self._path = path
        self._parse = parse
        self._variable = variable
        self._value: T
        self._judged: bytes | None = None
        self._in_doubt = False
        self._seen: _Look = None
        self._told_to = False
        self._telling: asyncio.Task[T] | None = None
        self._reading = asyncio.Lock()
        # Whoever hangs up leaves the lock above, though his thread still reads.
        self._one_thread = threading.Lock()

    async def first(self) -> T:
        """What it says at the start. Raises SettingsError."""
        self._note(self._look())
        self._judged = await asyncio.to_thread(self._read)
        self._value = self._parse(self._judged)
        return self._value

    def reload(self) -> None:
        """Has it read again at once, changed or not, and taken for whole."""
        self._told_to = True
        self._telling = asyncio.create_task(self.current())

    async def current(self) -> T:
        """What it says now, after first(); what it said last, if that cannot be told."""
        if self._told_to or self._look() != self._seen:
            async with self._reading:
                seen = self._look()
                if self._told_to or seen != self._seen:
                    told_to, self._told_to = self._told_to, False
                    # What is told of the file is told of no call, whichever had it read.
                    read_again = partial(Context().run, self._read_again, seen, told_to=told_to)
                    await asyncio.to_thread(read_again)
                    # After it: a caller who hangs up meanwhile leaves it to the next one.
                    self._note(seen)
        return self._value

    def _read_again(self, seen: _Look, *, told_to: bool) -> None:
        with self._one_thread:
            try:
                content = self._read()
            except SettingsError as error:
                self._tell_not_reloaded(str(error))
                return
            if content != self._judged or told_to:
                self._judge(content, whole=told_to or _has_stayed(seen))
            else:
                self._in_doubt = False  # it is as it was

    def _judge(self, content: bytes, *, whole: bool) -> None:
        log = structlog.get_logger().bind(variable=self._variable)
        doubted, self._in_doubt = self._in_doubt, False
        try:
            self._value = self._parse(content)
            log.info("file_reloaded")
        except SaysNothing as nothing:
            if not whole:
                self._in_doubt = True
                if not doubted:
                    remedy = "it counts if it stays so for 5 seconds, or at SIGHUP"
                    log.warning("file_may_be_half_written", problem=str(nothing), remedy=remedy)
                return
            self._value = cast(T, nothing.instead)
            log.error("file_says_nothing", problem=str(nothing))
        except SettingsError as error:
            self._tell_not_reloaded(str(error))
        except Exception as error:  # noqa: BLE001  # a bug in a parser must not end the call
            self._tell_not_reloaded(f"unexpected: {type(error).__name__}")
        self._judged = content

    def _tell_not_reloaded(self, problem: str) -> None:
        structlog.get_logger().error("file_not_reloaded", variable=self._variable, problem=problem)

    def _note(self, seen: _Look) -> None:
        """What the file looks like, before it is read; not if it is to be read once more."""
        settled = seen is None or time.time_ns() - seen[0] > _TICK_NS
        self._seen = seen if settled and not self._in_doubt else ()

    def _look(self) -> _Look:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise SettingsError(
                f"{self._variable}: {self._path} cannot be read: {error.strerror}"
            ) from None
        if len(content) > _MAX_BYTES:
            raise SettingsError(f"{self._variable}: {self._path} is over {_MAX_BYTES} bytes")
        return content


def _has_stayed(seen: _Look) -> bool:
    """Whether nothing was written for so long that nobody is writing. By ctime: mv keeps mtime."""
    return seen is not None and time.time_ns() - seen[1] > _HALF_WRITTEN_NS
