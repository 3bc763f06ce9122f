"""Tasks that run beside the calls, as long as what they serve is open."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Runs `work` until the block is left; if it ends by itself, a bug, the log says so."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_tell_if_it_died)
    try:
        yield
    finally:
        task.cancel()
        # What else it may have died of is in the log; the rest is to be closed all the same.
        await asyncio.wait({task})


def _tell_if_it_died(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        structlog.get_logger().error(
            "background_task_died", task=task.get_name(), exc_info=task.exception()
        )
