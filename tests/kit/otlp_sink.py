"""A real OTLP collector over HTTP and protobuf, as far as traces go: it keeps every span."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Proto

from tests.kit.ports import bound_socket

WAIT_SECONDS = 30.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Span:
    """A span as it came."""

    proto: Proto
    resource: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return self.proto.name

    @property
    def id(self) -> str:
        """Its id, in hexadecimal."""
        return self.proto.span_id.hex()

    @property
    def parent_id(self) -> str:
        """The id of its parent, "" if it has none."""
        return self.proto.parent_span_id.hex()

    @property
    def trace_id(self) -> str:
        """The id of its trace."""
        return self.proto.trace_id.hex()

    @property
    def kind(self) -> str:
        """SERVER, CLIENT, INTERNAL …"""
        return Proto.SpanKind.Name(self.proto.kind).removeprefix("SPAN_KIND_")

    @property
    def failed(self) -> bool:
        """Whether its status is an error."""
        return self.proto.status.code == self.proto.status.STATUS_CODE_ERROR

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes, as Python has them."""
        return _plain(self.proto.attributes)

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Its events: name and attributes."""
        return [(each.name, _plain(each.attributes)) for each in self.proto.events]


class OtlpSink:
    """Listens on a free port of 127.0.0.1 between __aenter__ and __aexit__."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        """Every request's body: what a secret is looked for in."""
        self.headers: list[dict[str, str]] = []
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self._port}"

    async def trace_with(self, wanted: Callable[[Span], bool]) -> list[Span]:
        """All spans of the trace of the first span that is wanted, once its first one has come.

        A call's spans come together, its own the last. TimeoutError if there is none in time.
        """
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                if found := next(filter(wanted, self.spans), None):
                    trace = [each for each in self.spans if each.trace_id == found.trace_id]
                    if any(each.kind == "SERVER" or not each.parent_id for each in trace):
                        return trace
                await asyncio.sleep(POLL_SECONDS)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/traces", self._traces)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        listener = bound_socket()
        self._port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _traces(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _plain(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [Span(each, resource) for each in scope.spans]
        return web.Response(body=b"", content_type="application/x-protobuf")


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
