"""The event loop that a server runs on."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from turnkeep_server.settings import Settings

T = TypeVar("T")


def run(job: Coroutine[Any, Any, T], settings: Settings) -> T:
    """What `job` returns, run to its end on the loop that the settings name.

    uvloop is asyncio's own loop in C: a turn takes a tenth less. It is not made for Windows, where
    asyncio's loop is taken whatever the settings say.
    """
    if settings.event_loop == "asyncio":
        return asyncio.run(job)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(job)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(job)
