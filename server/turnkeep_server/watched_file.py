"""A file that may be replaced at any time: what it says is what it says now."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from turnkeep_server.errors import SettingsError

T = TypeVar("T")

_MAX_BYTES = 2**24
# Two changes within a tick of the kernel's clock look like one.
_TICK_NS = 20_000_000

_Look = tuple[int, ...] | None


class WatchedFile(Generic[T]):
    """A file's content by `parse`, which raises SettingsError and quotes no secret.

    Each look at it costs one stat. It is read again, in a thread, when it has become another file:
    whoever asks then waits for that, so a line that was deleted counts no more from the next call
    on. A file that has become unreadable changes nothing, and the log says so.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T], *, variable: str) -> None:
        """`variable`: the setting that names it, for messages."""
        self._path = path
        self._parse = parse
        self._variable = variable
        self._value: T
        self._content: bytes | None = None
        self._seen: _Look = None
        self._reading = asyncio.Lock()

    async def first(self) -> T:
        """What it says at the start. Raises SettingsError."""
        self._note(self._look())
        self._content = await asyncio.to_thread(self._read)
        self._value = self._parse(self._content)
        return self._value

    def reload(self) -> None:
        """Has it read again, changed or not, by whoever asks next."""
        self._seen = ()

    async def current(self) -> T:
        """What it says now, after first(); what it said last, if that cannot be told."""
        if self._look() != self._seen:
            async with self._reading:
                if (seen := self._look()) != self._seen:
                    await asyncio.to_thread(self._read_again)
                    # After it: a caller who hangs up meanwhile leaves it to the next one.
                    self._note(seen)
        return self._value

    def _read_again(self) -> None:
        log = structlog.get_logger()
        try:
            content = self._read()
            if content == self._content:
                return
            self._content = content
            self._value = self._parse(content)
        except SettingsError as error:
            log.error("file_not_reloaded", variable=self._variable, problem=str(error))
        else:
            log.info("file_reloaded", variable=self._variable)

    def _note(self, seen: _Look) -> None:
        """What the file looks like, before it is read; not if it may yet change unnoticed."""
        settled = seen is None or time.time_ns() - seen[0] > _TICK_NS
        self._seen = seen if settled else ()

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
