"""A place among the workers: whatever happens to its process, there is soon another one."""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog

from turnkeep_server.errors import SettingsError, StartupError
from turnkeep_server.exit_codes import BAD_SETTINGS
from turnkeep_server.worker_line import Order
from turnkeep_server.worker_process import WorkerProcess

_STEADY_SECONDS = 60.0
_FIGURES_SECONDS = 2.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 10.0


class KeptWorker:
    """Worker `number`: `start()` once, then `keep()` until it was ordered to drain and has."""

    def __init__(self, number: int, environment: Mapping[str, str]) -> None:
        self._number = number
        self._environment = environment
        self._draining = asyncio.Event()
        self._process: WorkerProcess | None = None
        self._log = structlog.get_logger().bind(worker=number)
        self.drained = True
        """Whether, once it was ordered to drain, it ended as it should."""

    async def start(self) -> None:
        """Returns when it serves.

        Raises SettingsError or StartupError if it cannot: in its own words, as a single server.
        """
        try:
            process = await self._new_process()
        except OSError as error:
            raise StartupError(f"cannot start a worker: {error.strerror}") from error
        problem = await process.serving()
        if problem is None:
            self._log.info("worker_serving", pid=process.pid)
            return
        code = await process.ended()
        if code == BAD_SETTINGS and problem:
            raise SettingsError(problem)
        raise StartupError(problem or f"a worker {_how_it_ended(code)} before it served")

    async def keep(self) -> None:
        """Starts it again whenever it ends, with growing pauses, until it has drained."""
        loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE_SECONDS
        while self._process is not None:
            served_from = loop.time()
            code = await self._process.ended()
            if self._draining.is_set():
                self.drained = code == 0
                return
            if loop.time() - served_from > _STEADY_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            # Told to end by somebody else, it drained: that may have been meant.
            told = self._log.warning if code == 0 else self._log.error
            told("worker_ended", how=_how_it_ended(code), restart_in_seconds=pause)
            pause = await self._restart(pause)

    def order(self, order: Order) -> None:
        """Passes an order on; after one to drain, or to hurry, the worker is not kept any more."""
        if order is not Order.RELOAD:
            self._draining.set()
        if self._process is not None:
            self._process.order(order)

    async def figures(self) -> tuple[int, Any]:
        """The process id of the worker that serves now, and its figures.

        Raises ConnectionError if none does, TimeoutError if it does not answer in time.
        """
        if self._process is None:
            raise ConnectionError
        async with asyncio.timeout(_FIGURES_SECONDS):
            return self._process.pid, await self._process.figures()

    def kill(self) -> None:
        """SIGKILL, for one that does not drain."""
        if self._process is not None:
            self._log.error("worker_killed", pid=self._process.pid)
            self._process.kill()

    async def _new_process(self) -> WorkerProcess:
        self._process = await WorkerProcess.started(self._number, self._environment)
        if self._draining.is_set():
            self._process.order(Order.DRAIN)
        return self._process

    async def _restart(self, pause: float) -> float:
        """Has it serve again, however often that must be tried; the pause before the next time.

        Gives up when it is to drain, for then nothing is left to be kept.
        """
        while not await self._is_draining_within(pause):
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            try:
                await self.start()
            except (SettingsError, StartupError) as error:
                if self._draining.is_set():
                    break
                self._log.error(
                    "worker_not_restarted", problem=str(error), restart_in_seconds=pause
                )
            else:
                return pause
        self._process = None
        return pause

    async def _is_draining_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._draining.wait(), seconds)
        return self._draining.is_set()


def _how_it_ended(code: int) -> str:
    """An exit code in words, with the signal's name."""
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
