"""Writes that are seen through, whoever still waits for them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import HistoryUnavailable

T = TypeVar("T")

# For a reply that came in the deadline's last moments: part of what is kept back for the answer.
_LEAST_COMMIT_SECONDS = 0.1


class Writes:
    """This process's writes that are under way."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begun(self, write: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A write that goes on whether or not anybody waits for it."""
        task = asyncio.create_task(write)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def seen_through(
        self, write: Coroutine[Any, Any, T] | asyncio.Task[T], deadline: Deadline
    ) -> T:
        """The outcome of a write that is not cut off, though its caller hangs up or cannot wait.

        A commit is never half made. Raises HistoryUnavailable at the deadline, with the write still
        under way: the same request_id finds out how it ended.
        """
        task = write if isinstance(write, asyncio.Task) else self.begun(write)
        patience = max(deadline.remaining(), _LEAST_COMMIT_SECONDS)
        done, _ = await asyncio.wait({task}, timeout=patience)
        if not done:
            raise HistoryUnavailable(
                "the history's store did not confirm the write in time; send the same request again"
            )
        return task.result()

    async def settle(self, timeout_seconds: float) -> None:
        """Returns when every write is done, or the time is up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_seconds)

    def _ended(self, write: asyncio.Task[Any]) -> None:
        self._tasks.discard(write)
        if not write.cancelled() and (error := write.exception()):
            # Told to the caller too, if one still waits.
            structlog.get_logger().debug("write_failed", error_type=type(error).__name__)
