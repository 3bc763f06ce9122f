"""What a caller may ask about the server itself, on any call: its version and its clock."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from turnkeep_server import __version__
from turnkeep_server.credentials.identity import Identity
from turnkeep_server.errors import BadCredentials
from turnkeep_server.interceptors.around import Call, CallInterceptor

# The request's metadata that asks, and the initial metadata that answers; docs/operations.md.
ASKED = ("turnkeep-about", "1")
VERSION_KEY = "turnkeep-version"
CLOCK_KEY = "turnkeep-clock-ms"  # UTC, milliseconds since 1970


class AboutInterceptor(CallInterceptor):
    """Answers calls that carry `turnkeep-about: 1` with initial metadata, whatever becomes of them.

    For `turnkeep doctor`. Sent before the call runs, so that its length does not blur the clock,
    and before anybody is let in, since who is refused has the more reason to ask: tokens end by the
    clock. But the version, which says what a server is weak at, is for those alone who are let in.
    """

    def __init__(self, identity: Identity | None) -> None:
        super().__init__()
        self._identity = identity

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        if ASKED in (call.context.invocation_metadata() or ()):
            clock_ms = time.time_ns() // 1_000_000
            version = ((VERSION_KEY, __version__),) if await self._is_known(call) else ()
            await call.context.send_initial_metadata((*version, (CLOCK_KEY, str(clock_ms))))
        yield

    async def _is_known(self, call: Call) -> bool:
        try:
            return self._identity is None or bool(await self._identity.caller(call.context))
        except BadCredentials:
            return False
