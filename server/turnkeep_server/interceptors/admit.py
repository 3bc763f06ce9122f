"""Who is let in: nobody past the limit, nobody while the server drains."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from turnkeep_server.errors import Overloaded, ShuttingDown, TurnkeepError
from turnkeep_server.interceptors.around import Call, CallInterceptor
from turnkeep_server.recording import note


class AdmitInterceptor(CallInterceptor):
    """Counts the calls that run. gRPC's own limit would refuse health checks too."""

    def __init__(self, *, max_concurrent_calls: int) -> None:
        super().__init__()
        self._max = max_concurrent_calls
        self._bounds: set[asyncio.Timeout] = set()
        self._refuses = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """Calls that run now."""
        return len(self._bounds)

    def why_not(self, _method: str = "", _metadata: object = ()) -> TurnkeepError | None:
        """What a call that came now would be refused with; None if it would be let in."""
        if self._refuses:
            return ShuttingDown("the server is shutting down; send the request to another")
        if self.running >= self._max:
            return Overloaded(
                "the server has as many calls as it takes; send the request later",
                limit="concurrent_calls",
            )
        return None

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        if error := self.why_not():
            note(refused_by=error.metadata.get("limit"))
            raise error
        # A bound that is set only if the call is cut off, so that its end is told from a caller's.
        bound = asyncio.timeout(None)
        self._bounds.add(bound)
        self._idle.clear()
        try:
            async with bound:
                yield
        except TimeoutError:
            if bound.expired():
                raise ShuttingDown("the server shut down before the call was done") from None
            raise
        finally:
            self._bounds.discard(bound)
            if not self._bounds:
                self._idle.set()

    def refuse_new(self) -> None:
        """From now on lets nobody in; calls that run go on."""
        self._refuses = True

    def cut_off(self) -> None:
        """Ends the calls that run, with SHUTTING_DOWN; they still write how they ended."""
        for bound in self._bounds:
            bound.reschedule(asyncio.get_running_loop().time())

    async def idle(self) -> None:
        """Returns when no call runs."""
        await self._idle.wait()
