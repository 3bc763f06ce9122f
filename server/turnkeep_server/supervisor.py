"""Several workers on one address: started, kept running, drained together.

The supervisor serves no call and loads neither gRPC nor LangChain. It owns what there can be only
one of: the address, the embedded mongod, the line on stdout.
"""

import asyncio
import os
import signal
from contextlib import AsyncExitStack, ExitStack

import structlog

from turnkeep_server.announcement import announce
from turnkeep_server.background import done_before
from turnkeep_server.hangups import hearing_hangups
from turnkeep_server.history.stores import scheme_of
from turnkeep_server.kept_worker import KeptWorker
from turnkeep_server.logs import tell_loop_error
from turnkeep_server.reserved_address import reserved
from turnkeep_server.settings import Settings
from turnkeep_server.worker_line import Order

# Beside lame duck and drain: a worker's last writes, its goodbye to a database that is away.
_GOODBYE_SECONDS = 20.0


class Supervisor:
    """The workers of one set of settings: `serve()` once, from start to the end of the drain."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._workers: list[KeptWorker] = []
        self._keeping: list[asyncio.Task[None]] = []

    async def serve(self) -> bool:
        """Serves until SIGTERM or SIGINT, then has the workers drain; a second signal hurries them.

        True if all of them drained. Raises SettingsError or StartupError, each with the remedy.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(tell_loop_error)
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._on_signal)
        with ExitStack() as addresses:
            address = addresses.enter_context(reserved(self._settings.listen))
            health_address = self._settings.health_listen
            if health_address:
                health_address = addresses.enter_context(
                    reserved(health_address, "TURNKEEP_HEALTH_LISTEN")
                )
            async with AsyncExitStack() as stack:
                stack.enter_context(
                    hearing_hangups(asked=self._reload, terminal_gone=self._on_signal)
                )
                starting = asyncio.create_task(self._startup(stack, address, health_address))
                if await done_before(self._stop, starting):
                    announce(self._settings, address, health_address, starting.result())
                    await self._watch()
        return all(each.drained for each in self._workers)

    async def _startup(
        self, stack: AsyncExitStack, address: str, health_address: str | None
    ) -> str:
        """Returns when all workers serve: where Prometheus is answered, "" if nowhere."""
        environment = await self._environment(stack, address, health_address)
        numbers = range(1, self._settings.workers + 1)
        self._workers = [KeptWorker(number, environment) for number in numbers]
        metrics_address = await self._metrics(stack)
        # Before the port is closed that shows it, and the mongod stopped that they use.
        stack.push_async_callback(self._drain)
        await asyncio.gather(*(each.start() for each in self._workers))
        self._keeping = [asyncio.create_task(each.keep()) for each in self._workers]
        return metrics_address

    async def _metrics(self, stack: AsyncExitStack) -> str:
        if self._settings.metrics_listen is None:
            return ""
        # Imported here: a supervisor that is not asked needs none of it.
        from turnkeep_server.telemetry.workers import opened_metrics_of

        opened = opened_metrics_of(self._workers, self._settings.metrics_listen)
        return await stack.enter_async_context(opened)

    async def _environment(
        self, stack: AsyncExitStack, address: str, health_address: str | None
    ) -> dict[str, str]:
        """The workers' environment: ours, but for what the supervisor has settled for all."""
        settled = {"TURNKEEP_LISTEN": address, "TURNKEEP_HEALTH_LISTEN": health_address or ""}
        url = self._settings.history_url
        if scheme_of(url) == "local":
            # Imported here: pymongo is loaded by the one supervisor that needs it.
            from turnkeep_server.history.embedded_mongod import opened_mongod

            settled["TURNKEEP_HISTORY_URL"] = await stack.enter_async_context(
                opened_mongod(url.get_secret_value())
            )
        ours = {name: value for name, value in os.environ.items() if name.upper() not in settled}
        return ours | settled

    async def _watch(self) -> None:
        """Returns when it is time to drain."""
        stopping = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait(
            {stopping, *self._keeping}, return_when=asyncio.FIRST_COMPLETED
        )
        stopping.cancel()
        for each in done - {stopping}:
            each.result()  # a bug, and a worker that nobody would start again

    async def _drain(self) -> None:
        """All at once, each as a single server does; one that does not end is killed."""
        if not self._workers:
            return
        # Workers that were never announced have nobody to take leave of.
        order = Order.DRAIN if self._keeping else Order.HURRY
        structlog.get_logger().info("draining_workers", workers=len(self._workers))
        for each in self._workers:
            each.order(order)
        keeping = self._keeping or [asyncio.create_task(each.keep()) for each in self._workers]
        settings = self._settings
        seconds = settings.lame_duck_seconds + settings.drain_seconds + _GOODBYE_SECONDS
        await asyncio.wait(keeping, timeout=seconds)
        for worker, task in zip(self._workers, keeping, strict=True):
            if not task.done():
                worker.kill()
        await asyncio.wait(keeping)

    def _on_signal(self) -> None:
        if self._stop.is_set():
            for each in self._workers:
                each.order(Order.HURRY)
        self._stop.set()

    def _reload(self) -> None:
        for each in self._workers:
            each.order(Order.RELOAD)
