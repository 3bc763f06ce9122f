"""Waiting for a turn that somebody else runs, in this process or another."""

import asyncio
import random
from datetime import timedelta

from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import WaitTimeout
from turnkeep_server.history.contract import ChatMessageHistory
from turnkeep_server.turns import Turn, utc_now

LEAST_READ_SECONDS = 0.05
"""Less time than this is not worth a read: that it failed would be laid to the store's door."""

_FIRST_POLL_SECONDS = 0.005
_LONGEST_POLL_SECONDS = 0.1
_POLL_GROWTH = 1.5
_TAKE_OVER_EVERY_SECONDS = 0.5
_COURTESY_ENDS_AFTER = timedelta(seconds=1)


async def wait_until_idle(
    history: ChatMessageHistory, running: Turn, deadline: Deadline | None = None
) -> None:
    """Returns when the turn is not running any more, ending it if its owner is dead.

    Polls with a growing, jittered pause of 5 to 100 ms. Raises WaitTimeout at the deadline.
    """
    await history.announce_wait(running)
    pause, next_take_over = _FIRST_POLL_SECONDS, 0.0
    clock = asyncio.get_running_loop().time
    while not (deadline and deadline.remaining() < LEAST_READ_SECONDS):
        if clock() >= next_take_over:
            if await history.take_over(running):
                return
            next_take_over = clock() + _TAKE_OVER_EVERY_SECONDS
        await asyncio.sleep(min(pause, deadline.remaining() if deadline else pause))
        if deadline and deadline.remaining() < LEAST_READ_SECONDS:
            break
        if not await history.is_running(running):
            return
        # Jitter keeps many waiters from asking in step; nothing here is a secret.
        longest = min(pause * _POLL_GROWTH, _LONGEST_POLL_SECONDS)
        pause = longest * random.uniform(0.75, 1.0)  # noqa: S311  # to spread, not to hide
    raise WaitTimeout("the deadline came while another turn of the session was running")


async def look_again_soon() -> None:
    """A jittered pause of 1 to 5 ms after a place was found taken.

    A majority read may not show yet what the unique index already refuses.
    """
    await asyncio.sleep(random.uniform(0.001, 0.005))  # noqa: S311  # to spread, not to hide


async def let_others_pass(history: ChatMessageHistory, last: Turn | None) -> bool:
    """Pauses if another process waited for the session's last turn; says whether it did.

    The next request of the process that ran it is there in milliseconds, and would be first every
    time. Whoever polled through a turn of some length looks again within half of it, as its pauses
    grow by a half each time.
    """
    if last is None or not history.is_awaited_elsewhere(last) or last.completed_at is None:
        return False
    if utc_now() - last.completed_at > _COURTESY_ENDS_AFTER:
        return False
    lasted = (last.completed_at - last.created_at).total_seconds()
    await asyncio.sleep(min(lasted / 2, _LONGEST_POLL_SECONDS) + _FIRST_POLL_SECONDS)
    return True
