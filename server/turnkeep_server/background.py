"""Tasks that run beside the calls, as long as what they serve is open."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

_PAUSE_AFTER_A_BUG_SECONDS = 5.0


@asynccontextmanager
async def running(work: Callable[[], Awaitable[None]], name: str) -> AsyncIterator[None]:
    """Runs `work`, which goes on until cancelled, until the block is left.

    Should it end all the same, which is a bug, the log says so and it is begun again: leases that
    are not renewed are too much to lose for one unforeseen document.
    """
    task = asyncio.create_task(_again_and_again(work, name), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def done_before(stop: asyncio.Event, task: asyncio.Task[Any]) -> bool:
    """Waits for the task, or cancels it once `stop` is set. Whether it ended by itself.

    A start may take a while, and can be called off.
    """
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if task.done():
        return True
    task.cancel()
    await asyncio.wait({task})
    return False


async def _again_and_again(work: Callable[[], Awaitable[None]], name: str) -> None:
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001  # whatever it is, it must not end the task
            structlog.get_logger().error("background_task_failed", task=name, exc_info=True)
        await asyncio.sleep(_PAUSE_AFTER_A_BUG_SECONDS)
