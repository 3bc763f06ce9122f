"""A TCP proxy that cuts, delays and loses at random points, as a bad network does."""

import asyncio
import random
import socket
import struct
from collections.abc import Coroutine, Sequence
from enum import Enum
from types import TracebackType
from typing import Any, Self

from tests.kit.ports import bound_socket

CHUNK_BYTES = 4_096


class Ending(Enum):
    """What becomes of a connection that has carried what it may."""

    RESET = "reset"
    ORDERLY = "orderly end"
    HALF_CLOSED = "half-close"
    """One side is told that no more comes; what it sends itself is still carried."""
    HOLE = "hole"
    """It stays open, and whatever is sent, either way, is swallowed."""


CUT = (Ending.RESET, Ending.ORDERLY)
_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class CuttingProxy:
    """Stands before `target` (host:port) on a free port of 127.0.0.1.

    Each connection carries a random number of bytes, `mean_bytes` on average, both ways together,
    and then meets one of `endings`, wherever in the stream that is; `cuts` counts them. Setting
    `mean_bytes` to None lets new connections live. What is carried is up to `delay_seconds` late.
    """

    def __init__(
        self,
        target: str,
        *,
        mean_bytes: float | None,
        seed: int,
        endings: Sequence[Ending] = CUT,
        delay_seconds: float = 0.0,
    ) -> None:
        self.mean_bytes = mean_bytes
        self.delay_seconds = delay_seconds
        self.cuts = 0
        self._endings = endings
        self._host, _, self._port = target.rpartition(":")
        self._random = random.Random(seed)
        self._running: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.address = ""
        """host:port to connect to."""

    async def __aenter__(self) -> Self:
        listener = bound_socket()
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self._server = await asyncio.start_server(self._connected, sock=listener)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        writers = [writer]
        try:
            there = await asyncio.open_connection(self._host, int(self._port))
            writers.append(there[1])
            await self._carry((reader, writer), there)
        except OSError:  # the target is down, or one side has gone: so is the other, then
            pass
        except asyncio.CancelledError:  # the proxy ends; asyncio would complain of it
            pass
        finally:
            for each in writers:
                each.close()
            self._running.discard(task)

    async def _carry(self, here: _Stream, there: _Stream) -> None:
        """Until one side ends, or the connection has carried what it may and met its ending."""
        left = _Allowance(self._random, self.mean_bytes)
        ending = self._random.choice(self._endings)
        if ending is Ending.HALF_CLOSED:
            told, heard = self._random.sample([here, there], 2)
            await self._half_closed(told, heard, left)
            return
        if not await self._both_ways(here, there, left):
            return
        self.cuts += 1
        if ending is Ending.HOLE:
            await _first_of(_swallow(here[0]), _swallow(there[0]))
        for _, writer in (here, there):
            if ending is Ending.RESET:
                _reset(writer)

    async def _half_closed(self, told: _Stream, heard: _Stream, left: "_Allowance") -> None:
        """What `told` is sent ends, at some time; what it sends goes on, whole."""

        async def ends() -> None:
            await self._copy(heard[0], told[1], left)
            if left.used_up:
                self.cuts += 1
                told[1].write_eof()
                await asyncio.Event().wait()

        await _first_of(ends(), self._copy(told[0], heard[1], _Allowance(self._random, None)))

    async def _both_ways(self, here: _Stream, there: _Stream, left: "_Allowance") -> bool:
        """Whether the allowance was used up before either side ended."""
        await _first_of(
            self._copy(here[0], there[1], left),
            self._copy(there[0], here[1], left),
        )
        return left.used_up

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: "_Allowance"
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self.delay_seconds:
                await asyncio.sleep(self._random.uniform(0, self.delay_seconds))
            writer.write(left.take(data))
            await writer.drain()
            if left.used_up:
                return


class _Allowance:
    """How many bytes a connection may still carry."""

    def __init__(self, dice: random.Random, mean_bytes: float | None) -> None:
        self._left = None if mean_bytes is None else int(dice.expovariate(1 / mean_bytes)) + 1

    @property
    def used_up(self) -> bool:
        return self._left == 0

    def take(self, data: bytes) -> bytes:
        """The part of `data` that may still go."""
        if self._left is None:
            return data
        taken = data[: self._left]
        self._left -= len(taken)
        return taken


async def _first_of(*ways: Coroutine[Any, Any, None]) -> None:
    """Runs them until one has ended; the others end with it."""
    tasks = [asyncio.create_task(each) for each in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends it with RST, whether or not anything was left unread (socket(7), SO_LINGER)."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(CHUNK_BYTES):
        pass
