"""What a caller may ask about the server itself, on any call: its version and its clock."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from turnkeep_server import __version__
from turnkeep_server.interceptors.around import Call, CallInterceptor

# The request's metadata that asks, and the initial metadata that answers; docs/operations.md.
ASKED = ("turnkeep-about", "1")
VERSION_KEY = "turnkeep-version"
CLOCK_KEY = "turnkeep-clock-ms"  # UTC, milliseconds since 1970


class AboutInterceptor(CallInterceptor):
    """Answers calls that carry `turnkeep-about: 1` with initial metadata, whatever becomes of them.

    For `turnkeep doctor`. Sent before the call runs, so that its length does not blur the clock,
    and before anybody is let in, since who is refused has the more reason to ask.
    """

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        if ASKED in (call.context.invocation_metadata() or ()):
            clock_ms = time.time_ns() // 1_000_000
            await call.context.send_initial_metadata(
                ((VERSION_KEY, __version__), (CLOCK_KEY, str(clock_ms)))
            )
        yield
