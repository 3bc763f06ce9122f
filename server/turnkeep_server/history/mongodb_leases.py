"""The leases of this process's running turns, renewed together by the database's clock."""

import asyncio
import uuid
from datetime import datetime
from typing import Any

import structlog
from bson import ObjectId

from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import HistoryUnavailable
from turnkeep_server.history.mongodb_connection import MongoDBConnection
from turnkeep_server.turns import TurnStatus

_RENEWALS_A_LEASE = 3
_SECONDS_BEFORE_TRYING_AGAIN = 0.2
# Ten sweeps' worth: clearing them makes the living wait, not the dead come back.
_SUSPECTS_KEPT = 10_000
# With the default lease of 15 s: 1 s, so that a dead server's turn is ended within 18 s.
_LEAST_GRACE_SECONDS, _GRACE_SHARE = 1.0, 1 / 15


class Leases:
    """Which turns this process is working on, and that it still is.

    `owner` is a new name for each process; a turn is finished only by the owner it names.
    `renewed` and `not_renewed` count updates, `taken_over` the turns of dead servers ended here.
    """

    def __init__(self, connection: MongoDBConnection, lease_seconds: float) -> None:
        self.owner = uuid.uuid4().hex
        self._connection = connection
        self._lease_seconds = lease_seconds
        self._held: set[ObjectId] = set()
        self.renewed = self.not_renewed = self.taken_over = 0
        self._suspects: dict[ObjectId, tuple[datetime, float]] = {}
        self.grace_seconds = max(_LEAST_GRACE_SECONDS, lease_seconds * _GRACE_SHARE)

    def expiry(self) -> dict[str, Any]:
        """When a lease taken now runs out, as an expression for the database to evaluate."""
        return {"$add": ["$$NOW", int(self._lease_seconds * 1000)]}

    def hold(self, turn_id: ObjectId) -> None:
        """From now on this turn's lease is renewed."""
        self._held.add(turn_id)

    def release(self, turn_id: ObjectId) -> None:
        """This turn's lease is not renewed any more."""
        self._held.discard(turn_id)

    @property
    def held(self) -> int:
        """Turns that this process works on."""
        return len(self._held)

    def holds(self, turn_id: ObjectId) -> bool:
        """Whether this process works on the turn."""
        return turn_id in self._held

    async def keep_renewed(self) -> None:
        """Renews the held leases, three times a lease, until cancelled."""
        while True:
            try:
                await self.renew()
                await asyncio.sleep(self._lease_seconds / _RENEWALS_A_LEASE)
            except HistoryUnavailable:
                # At once again: when the store comes back, the living are to be first (see
                # `is_dead`). Who cannot reach it for longer than that loses the turn, and learns
                # of it at the commit.
                self.not_renewed += 1
                structlog.get_logger().warning("leases_not_renewed", turns=len(self._held))
                await asyncio.sleep(_SECONDS_BEFORE_TRYING_AGAIN)

    async def renew(self) -> None:
        """Renews the held leases with one update."""
        if not self._held:
            return
        ours = {
            "_id": {"$in": list(self._held)},
            "owner": {"$eq": self.owner},
            "status": {"$eq": TurnStatus.RUNNING.value},
        }
        until = [{"$set": {"lease_expires_at": self.expiry()}}]
        turns = self._connection.turns
        # Not the operation timeout, which may be longer than a lease.
        soon = Deadline.after(self._lease_seconds / _RENEWALS_A_LEASE)
        await self._connection.run(lambda: turns.update_many(ours, until), soon)
        self.renewed += 1

    def is_dead(self, turn_id: ObjectId, expired_at: datetime | None) -> bool:
        """Whether another process's turn, whose lease is seen to have run out, is to be ended.

        `expired_at` is when it ran out, None if it has not. After an outage of the store every
        lease has run out, of the living too: a turn is dead only if the same lease is still not
        renewed a while after it was first seen so.
        """
        if expired_at is None:
            self._suspects.pop(turn_id, None)
            return False
        now = asyncio.get_running_loop().time()
        if len(self._suspects) > _SUSPECTS_KEPT:
            self._suspects.clear()  # most were ended by others; who is still dead is seen again
        lease, seen_at = self._suspects.setdefault(turn_id, (expired_at, now))
        if lease != expired_at:
            self._suspects[turn_id] = (expired_at, now)
            return False
        return now - seen_at >= self.grace_seconds

    def forget(self, turn_id: ObjectId) -> None:
        """This turn has ended; it need not be watched any more."""
        self._suspects.pop(turn_id, None)
