"""A new primary is believed once it is known to find all that was acknowledged before it.

It has every such write, but for some milliseconds does not know that a majority has it, too, and
answers without: read concern majority promises no more. It knows once a linearizable read has ended
(https://www.mongodb.com/docs/manual/reference/read-concern-linearizable/).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import HistoryUnavailable
from turnkeep_server.history.mongodb_elections import Elections


class NewPrimary:
    """Which primary is believed. `ask` has the present one answer a linearizable read."""

    def __init__(self, elections: Elections, ask: Callable[[], Awaitable[object]]) -> None:
        self._elections = elections
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self.believed: Any = None
        """The election_id of the newest primary that is; None where nobody tells of elections."""

    async def caught_up(self, end: Deadline) -> None:
        """Returns once the newest primary that is known is believed; at once if it is already.

        All who wait share one question, since each writes to the oplog. Raises HistoryUnavailable
        at `end`, or as `ask` does.
        """
        while self.believed != self._elections.latest:
            if self._asking is None:
                self._asking = asyncio.create_task(self._catch_up(self._elections.latest))
                self._asking.add_done_callback(_looked_at)
            asking = self._asking
            # Not awaited itself: whoever hangs up would end it for all.
            await asyncio.wait({asking}, timeout=end.remaining())
            if not asking.done():
                raise HistoryUnavailable("the history's store did not answer in time")
            asking.result()

    async def _catch_up(self, elected: Any) -> None:
        try:
            await self._ask()
            self.believed = elected
        finally:
            self._asking = None


def _looked_at(asked: asyncio.Task[None]) -> None:
    """Or asyncio would log a failure that came once all who waited had gone, each told."""
    if not asked.cancelled():
        asked.exception()
