"""A TCP proxy that cuts connections at random points, as a bad network does."""

import asyncio
import random
from types import TracebackType
from typing import Self

from tests.kit.ports import bound_socket

CHUNK_BYTES = 4_096


class CuttingProxy:
    """Stands before `target` (host:port) on a free port of 127.0.0.1.

    Each connection carries a random number of bytes, `mean_bytes` on average, both ways together,
    and is then cut: half of them with a reset, half with an orderly end, wherever in the stream
    that is. `cuts` counts them. Setting `mean_bytes` to None lets new connections live.
    """

    def __init__(self, target: str, *, mean_bytes: float | None, seed: int) -> None:
        self.mean_bytes = mean_bytes
        self.cuts = 0
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
        finally:
            for each in writers:
                self._end(each)
            self._running.discard(task)

    async def _carry(
        self,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Until one side ends, or the connection has carried what it may."""
        left = _Allowance(self._random, self.mean_bytes)
        ways = [
            asyncio.create_task(_copy(here[0], there[1], left)),
            asyncio.create_task(_copy(there[0], here[1], left)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        self.cuts += left.used_up

    def _end(self, writer: asyncio.StreamWriter) -> None:
        if self._random.random() < 0.5:
            writer.transport.abort()
        else:
            writer.close()


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


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: _Allowance
) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(left.take(data))
        await writer.drain()
        if left.used_up:
            return
