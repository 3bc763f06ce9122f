"""What the settings and the environment ask for: a port for Prometheus, spans for a collector."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import structlog

from turnkeep_server.model_catalog import figures_of
from turnkeep_server.recording import Recorder
from turnkeep_server.settings import Settings
from turnkeep_server.telemetry.environment import traces_are_wanted
from turnkeep_server.telemetry.figures import ServerFigures
from turnkeep_server.turns import Usage

if TYPE_CHECKING:
    from turnkeep_server.telemetry.merged import Snapshot
    from turnkeep_server.telemetry.metrics import Metrics

_SCRAPE_WAITS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What was opened. `metrics_address` is "" where no port of this process's is."""

    metrics: "Metrics | None"
    metrics_address: str
    recorder: Recorder

    def snapshot(self) -> "Snapshot":
        """The figures of this process, for its supervisor."""
        from turnkeep_server.telemetry.merged import snapshot

        self.recorder.tell()
        return snapshot(self.metrics.registry) if self.metrics else []


@asynccontextmanager
async def opened_telemetry(
    settings: Settings,
    recorder: Recorder,
    figures: Callable[[], ServerFigures],
    *,
    is_worker: bool,
) -> AsyncIterator[Telemetry]:
    """Has the recorder listened to by all who were asked for; what they know is sent on leaving.

    Each is imported only if it is wanted. A worker has no port: its supervisor asks it. Raises
    SettingsError or StartupError, each with the remedy.
    """
    if settings.log_text:
        structlog.get_logger().warning(
            "text_is_logged",
            remedy="set TURNKEEP_LOG_TEXT=0 wherever people speak in confidence",
        )
    async with AsyncExitStack() as stack:
        if traces_are_wanted():
            from turnkeep_server.telemetry.span_export import opened_tracing

            tracing = await stack.enter_async_context(opened_tracing(settings))
            recorder.listen(tracing, tracing.begun)
        stack.callback(recorder.tell)
        if settings.metrics_listen is None:
            yield Telemetry(None, "", recorder)
            return
        from turnkeep_server.telemetry.metrics import Metrics
        from turnkeep_server.telemetry.port import opened_port

        metrics = Metrics(cost_usd=_prices(settings), figures=figures, models=_models(settings))
        recorder.listen(metrics)
        address = ""
        if not is_worker:
            opened = opened_port(
                settings.metrics_listen, metrics.registry, first=_told_from_a_thread(recorder)
            )
            address = await stack.enter_async_context(opened)
        yield Telemetry(metrics, address, recorder)


def _told_from_a_thread(recorder: Recorder) -> Callable[[], None]:
    """What has a scrape see each call that was answered before it; called in the port's thread."""
    loop = asyncio.get_running_loop()

    def tell() -> None:
        done = threading.Event()
        with suppress(RuntimeError):  # the event loop has ended
            loop.call_soon_threadsafe(recorder.tell)
            loop.call_soon_threadsafe(done.set)
            done.wait(_SCRAPE_WAITS_SECONDS)

    return tell


def _prices(settings: Settings) -> Callable[[str, Usage], float | None]:
    figures = cache(lambda model: figures_of(model, settings.model_figures))
    return lambda model, usage: figures(model).cost_usd(usage)


def _models(settings: Settings) -> set[str]:
    """All that may be asked."""
    return {*settings.allowed_models, settings.model, settings.summary_model or settings.model}
