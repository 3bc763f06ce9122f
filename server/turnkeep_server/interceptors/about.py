"""What a caller may ask about the server itself, on any call: its version and its clock."""

import time
from typing import Any

import grpc

from turnkeep_server import __version__

# The request's metadata that asks, and the initial metadata that answers; docs/operations.md.
ASKED = ("turnkeep-about", "1")
VERSION_KEY = "turnkeep-version"
CLOCK_KEY = "turnkeep-clock-ms"  # UTC, milliseconds since 1970


async def tell_if_asked(context: grpc.aio.ServicerContext[Any, Any], *, known: bool) -> None:
    """Answers a call that carries `turnkeep-about: 1`, see `tell`."""
    if ASKED in (context.invocation_metadata() or ()):
        await tell(context, known=known)


async def tell(context: grpc.aio.ServicerContext[Any, Any], *, known: bool) -> None:
    """Answers a call with initial metadata, whatever becomes of it; for `turnkeep doctor`.

    To be said before the call runs, so that its length does not blur the clock, and to those who
    are refused, who have the more reason to ask: tokens end by the clock. But the version, which
    says what a server is weak at, is for those alone who are let in, and so `known`.
    """
    clock_ms = time.time_ns() // 1_000_000
    version = ((VERSION_KEY, __version__),) if known else ()
    await context.send_initial_metadata((*version, (CLOCK_KEY, str(clock_ms))))
