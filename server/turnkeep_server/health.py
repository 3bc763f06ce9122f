"""gRPC health: can this server run a turn now?"""

import asyncio

import structlog

from turnkeep_server.errors import HistoryUnavailable
from turnkeep_server.health_servicer import HealthServicer
from turnkeep_server.history.contract import HistoryStore
from turnkeep_server.interceptors.around import SERVICE

LIVENESS = "liveness"
"""Stays SERVING while the store is away, which a restart would not bring back; not in a drain."""

_CHECK_EVERY_SECONDS = 1.0
_FOLLOW_THE_STORE = ("", SERVICE)


class Health:
    """The health service's answers: the server's own, its service's, and liveness."""

    def __init__(self) -> None:
        self.servicer = HealthServicer()
        self.store_answers = False
        """Whether the store did when it was asked last."""
        self._stopped = False

    def start(self) -> None:
        """Everything is well: the store was opened a moment ago."""
        self.store_answers = True
        self.servicer.set(LIVENESS, *_FOLLOW_THE_STORE, serving=True)

    async def follow(self, store: HistoryStore) -> None:
        """Asks the store once a second, and changes the answers with it, until cancelled."""
        while True:
            await asyncio.sleep(_CHECK_EVERY_SECONDS)
            reachable = await _is_reachable(store)
            if reachable != self.store_answers:
                self.store_answers = reachable
                structlog.get_logger().warning("health_changed", serving=reachable)
                if not self._stopped:
                    self.servicer.set(*_FOLLOW_THE_STORE, serving=reachable)

    def stop(self) -> None:
        """NOT_SERVING from now on, whatever else happens: balancers send new calls elsewhere."""
        self._stopped = True
        self.servicer.set(LIVENESS, *_FOLLOW_THE_STORE, serving=False)


async def _is_reachable(store: HistoryStore) -> bool:
    try:
        await store.ping()
    except HistoryUnavailable:
        return False
    return True
