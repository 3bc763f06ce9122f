"""gRPC health: can this server run a turn now?"""

import asyncio

import structlog
from grpc_health.v1 import health, health_pb2

from turnkeep_server.errors import HistoryUnavailable
from turnkeep_server.history.contract import HistoryStore
from turnkeep_server.interceptors.around import SERVICE

LIVENESS = "liveness"
"""Stays SERVING while the store is away, which a restart would not bring back; not in a drain."""

_CHECK_EVERY_SECONDS = 1.0
_FOLLOW_THE_STORE = ("", SERVICE)


class Health:
    """The health service's answers: the server's own, its service's, and liveness."""

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        self.store_answers = False
        """Whether the store did when it was asked last."""

    async def start(self) -> None:
        """Everything is well: the store was opened a moment ago."""
        self.store_answers = True
        await self._set(LIVENESS, serving=True)
        for name in _FOLLOW_THE_STORE:
            await self._set(name, serving=True)

    async def follow(self, store: HistoryStore) -> None:
        """Asks the store once a second, and changes the answers with it, until cancelled."""
        while True:
            await asyncio.sleep(_CHECK_EVERY_SECONDS)
            reachable = await _is_reachable(store)
            if reachable != self.store_answers:
                self.store_answers = reachable
                structlog.get_logger().warning("health_changed", serving=reachable)
                for name in _FOLLOW_THE_STORE:
                    await self._set(name, serving=reachable)

    async def stop(self) -> None:
        """NOT_SERVING from now on, whatever else happens: balancers send new calls elsewhere."""
        await self.servicer.enter_graceful_shutdown()

    async def _set(self, name: str, *, serving: bool) -> None:
        answers = health_pb2.HealthCheckResponse
        await self.servicer.set(name, answers.SERVING if serving else answers.NOT_SERVING)


async def _is_reachable(store: HistoryStore) -> bool:
    try:
        await store.ping()
    except HistoryUnavailable:
        return False
    return True
