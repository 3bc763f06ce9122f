"""The leases of this process's running turns, renewed together by the database's clock."""

import asyncio
import uuid
from typing import Any

import structlog
from bson import ObjectId

from turnkeep_server.errors import HistoryUnavailable
from turnkeep_server.history.mongodb_connection import MongoDBConnection
from turnkeep_server.turns import TurnStatus

_RENEWALS_A_LEASE = 3


class Leases:
    """Which turns this process is working on, and that it still is.

    `owner` is a new name for each process; a turn is finished only by the owner it names.
    """

    def __init__(self, connection: MongoDBConnection, lease_seconds: float) -> None:
        self.owner = uuid.uuid4().hex
        self._connection = connection
        self._lease_seconds = lease_seconds
        self._held: set[ObjectId] = set()

    def expiry(self) -> dict[str, Any]:
        """When a lease taken now runs out, as an expression for the database to evaluate."""
        return {"$add": ["$$NOW", int(self._lease_seconds * 1000)]}

    def hold(self, turn_id: ObjectId) -> None:
        """From now on this turn's lease is renewed."""
        self._held.add(turn_id)

    def release(self, turn_id: ObjectId) -> None:
        """This turn's lease is not renewed any more."""
        self._held.discard(turn_id)

    def holds(self, turn_id: ObjectId) -> bool:
        """Whether this process works on the turn."""
        return turn_id in self._held

    async def keep_renewed(self) -> None:
        """Renews the held leases, three times a lease, until cancelled."""
        while True:
            await asyncio.sleep(self._lease_seconds / _RENEWALS_A_LEASE)
            try:
                await self.renew()
            except HistoryUnavailable:
                # The next round tries again. Who cannot reach the store for a whole lease loses
                # the turn, and learns of it when it commits.
                structlog.get_logger().warning("leases_not_renewed", turns=len(self._held))

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
        await self._connection.run(lambda: self._connection.turns.update_many(ours, until))
