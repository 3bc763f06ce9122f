"""What the supervisor answers Prometheus: the figures of all its workers together."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from turnkeep_server.telemetry.merged import Merged, Snapshot, counted, merged
from turnkeep_server.telemetry.port import opened_port

_ANSWER_SECONDS = 5.0


class Asked(Protocol):
    """A worker's place, whichever process has it now."""

    async def figures(self) -> tuple[int, Any]:
        """Process id and figures. Raises ConnectionError if there is none now, or TimeoutError."""


class Place:
    """The figures of one worker's place: of its process, and what earlier ones had counted."""

    def __init__(self, worker: Asked) -> None:
        self._worker = worker
        self._pid = 0
        self._latest: Snapshot = []
        self._before: Snapshot = []

    async def figures(self) -> Snapshot:
        """As they are; as they were when it answered last if it is too busy to."""
        try:
            pid, figures = await self._worker.figures()
        except ConnectionError:
            self._retire()
        except TimeoutError:
            pass
        else:
            if pid != self._pid:
                self._retire()
            self._pid, self._latest = pid, figures
        return merged([self._before, self._latest])

    def _retire(self) -> None:
        self._before, self._latest = merged([self._before, counted(self._latest)]), []


@asynccontextmanager
async def opened_metrics_of(workers: Sequence[Asked], listen: str) -> AsyncIterator[str]:
    """Answers Prometheus for all workers until the block is left; yields where.

    Raises StartupError if it cannot listen there.
    """
    loop = asyncio.get_running_loop()
    places = [Place(each) for each in workers]

    async def ask() -> Iterable[Snapshot]:
        return await asyncio.gather(*(each.figures() for each in places))

    def ask_from_the_ports_thread() -> Iterable[Snapshot]:
        return asyncio.run_coroutine_threadsafe(ask(), loop).result(_ANSWER_SECONDS)

    registry = CollectorRegistry()
    registry.register(Merged(ask_from_the_ports_thread))
    async with opened_port(listen, registry) as address:
        yield address
