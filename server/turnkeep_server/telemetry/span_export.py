"""Where spans go: the SDK's own pipeline, as OpenTelemetry's variables configure it."""

import asyncio
import logging
import os
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from opentelemetry import trace as api
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)

from turnkeep_server import __version__
from turnkeep_server.errors import SettingsError
from turnkeep_server.settings import Settings
from turnkeep_server.telemetry.environment import otlp_protocol, traces_exporter
from turnkeep_server.telemetry.span_encoding import encode_with_ours, whole
from turnkeep_server.telemetry.tracing import Tracing

_FLUSH_SECONDS = 5.0
_BATCH_WITH_TEXT = 64


@asynccontextmanager
async def opened_tracing(settings: Settings) -> AsyncIterator[Tracing]:
    """Spans to where the environment says; on leaving, those that wait are sent.

    Raises SettingsError for an exporter or a protocol that there is none of.
    """
    provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    # Its log lines quote exceptions and headers; what matters of them is told by `_Told`.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    # But that spans are dropped, because the queue is full, is told by nobody else.
    logging.getLogger("opentelemetry.sdk._shared_internal").setLevel(logging.WARNING)
    processor = _processor(settings)
    provider.add_span_processor(processor)
    # For what an operator's own chain traces.
    api.set_tracer_provider(provider)
    try:
        yield Tracing(provider, processor, provider_name=_provider_name(settings))
    finally:
        await _flushed(processor)


async def _flushed(processor: Any) -> None:
    """In a thread that nobody waits for long: a collector that is away must not hold the exit."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        processor.shutdown()
        with suppress(RuntimeError):  # the loop is gone, and nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=shut_down, name="last-spans", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(_FLUSH_SECONDS):
            await done.wait()


class _Whole(SpanExporter):
    """For an exporter that does not know that a call waits as one span."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([*whole(spans)])

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Told(SpanExporter):
    """An exporter whose failures the log tells of, in our words."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        with suppress(Exception):
            result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            structlog.get_logger().warning(
                "spans_not_exported", spans=sum(1 + getattr(each, "steps", 0) for each in spans)
            )
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _processor(settings: Settings) -> BatchSpanProcessor:
    """In smaller batches where what was said is told: collectors take some megabytes at once."""
    size = None
    if settings.log_text and not os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"):
        queue = os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "")
        size = min(_BATCH_WITH_TEXT, int(queue)) if queue.isdecimal() else _BATCH_WITH_TEXT
    try:
        return BatchSpanProcessor(_Told(exporter()), max_export_batch_size=size)
    except ValueError as error:
        raise SettingsError(
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE must not be over OTEL_BSP_MAX_QUEUE_SIZE (by default "
            "512 and 2048), and these and OTEL_BSP_SCHEDULE_DELAY must be 1 or more"
        ) from error


def exporter() -> SpanExporter:
    """To where the environment says, in the protocol that it names."""
    if traces_exporter() == "console":
        # stdout is for the one line that says where the server is.
        return _Whole(ConsoleSpanExporter(out=sys.stderr))
    if otlp_protocol() == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as over_grpc

        grpc_exporter = over_grpc.OTLPSpanExporter()
        return grpc_exporter if encode_with_ours(over_grpc) else _Whole(grpc_exporter)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http

    http_exporter = over_http.OTLPSpanExporter()
    return http_exporter if encode_with_ours(over_http) else _Whole(http_exporter)


def _resource() -> Resource:
    """What the environment says of this service, and a name where it says none."""
    known = Resource.create()
    unnamed = str(known.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    return known.merge(
        Resource(
            {
                **({SERVICE_NAME: "turnkeep"} if unnamed else {}),
                "service.version": __version__,
                "service.instance.id": str(uuid.uuid4()),
            }
        )
    )


def _provider_name(settings: Settings) -> str:
    """https://github.com/open-telemetry/semantic-conventions-genai: who speaks this protocol."""
    return "turnkeep" if settings.model == "parrot" else "openai"
