"""Who is let in: nobody past the limit, nobody while the server drains."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from turnkeep_server.errors import Overloaded, ShuttingDown
from turnkeep_server.interceptors.around import Call, CallInterceptor


class AdmitInterceptor(CallInterceptor):
    """Counts the calls that run. gRPC's own limit would refuse health checks too."""

    def __init__(self, *, max_concurrent_calls: int) -> None:
        self._max = max_concurrent_calls
        self._running = 0
        self._refuses = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """Calls that run now."""
        return self._running

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        if self._refuses:
            raise ShuttingDown("the server is shutting down; send the request to another")
        if self._running >= self._max:
            raise Overloaded("the server has as many calls as it takes; send the request later")
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if self._running == 0:
                self._idle.set()

    def refuse_new(self) -> None:
        """From now on lets nobody in; calls that run go on."""
        self._refuses = True

    async def idle(self) -> None:
        """Returns when no call runs."""
        await self._idle.wait()
