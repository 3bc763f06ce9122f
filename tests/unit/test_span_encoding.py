"""Spans in OTLP's form: ours are encoded as the SDK would, and by us, over HTTP and gRPC."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_by_sdk
from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from tests.kit.otlp_sink import OtlpSink
from turnkeep_server.errors import SettingsError
from turnkeep_server.recording import Recorder, step
from turnkeep_server.settings import Settings
from turnkeep_server.telemetry import span_encoding, span_export
from turnkeep_server.telemetry.opened import opened_telemetry
from turnkeep_server.telemetry.span_encoding import CallSpan, encode_spans, whole

RESOURCE = Resource({"service.name": "turnkeep", "k8s.pod.name": "под-1"}, "https://example.org/1")
SCOPE = InstrumentationScope("turnkeep", "1.0", "https://example.org/2")

ids = st.integers(1, 2**64 - 1)
values = st.one_of(
    st.sampled_from([True, False, 1, 0, 1.0, 0.0, -0.0, "", "ответ", "你好 🙂", "م" * 65]),
    st.text(max_size=80),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=4), max_size=3).map(tuple),
)
keys = st.sampled_from(["gen_ai.response.id", "gen_ai.response.model", "a", "turnkeep.tenant"])


@st.composite
def contexts(draw: st.DrawFn, *, remote: bool) -> SpanContext:
    return SpanContext(draw(st.integers(1, 2**128 - 1)), draw(ids), remote)


@st.composite
def spans(draw: st.DrawFn) -> ReadableSpan:
    """Of a call, or of an operator's own chain."""
    events = [Event("summary", {"turnkeep.kind": "written"}, 7)] if draw(st.booleans()) else []
    return draw(st.sampled_from([CallSpan, CallSpan, ReadableSpan]))(
        draw(st.sampled_from(["context", "chat gpt-4o", "чат"])),
        draw(contexts(remote=False)),
        parent=draw(st.none() | st.booleans().flatmap(lambda remote: contexts(remote=remote))),
        resource=RESOURCE,
        attributes=cast(Any, draw(st.dictionaries(keys, values))),
        events=events,
        kind=draw(st.sampled_from(SpanKind)),
        status=Status(draw(st.sampled_from(StatusCode))),
        start_time=draw(ids),
        end_time=draw(ids),
        instrumentation_scope=SCOPE,
    )


def grouped(request: otlp.ExportTraceServiceRequest) -> list[tuple[bytes, ...]]:
    """Each span with its resource and scope, in an order that is always the same."""
    return sorted(
        (
            each.SerializeToString(deterministic=True),
            scope.scope.SerializeToString(deterministic=True) + scope.schema_url.encode(),
            group.resource.SerializeToString(deterministic=True) + group.schema_url.encode(),
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for each in scope.spans
    )


@st.composite
def calls(draw: st.DrawFn) -> ReadableSpan:
    """Of which some have steps."""
    span = draw(spans())
    if isinstance(span, CallSpan):
        under = [each for each in draw(st.lists(spans(), max_size=3)) if type(each) is CallSpan]
        span.under = lambda: under
    return span


@given(st.lists(calls(), max_size=8))
def test_what_is_sent_is_what_the_sdk_would_send(batch: Sequence[ReadableSpan]) -> None:
    assert grouped(encode_spans(batch)) == grouped(encode_by_sdk([*whole(batch)]))


def test_values_that_are_equal_keep_their_types() -> None:
    """What is encoded once is looked for by its type, too."""
    context = SpanContext(1, 2, False)
    like_one, like_zero = (1, True, 1.0) * 2, (0, False, 0.0, -0.0) * 2
    batch = [
        CallSpan("a", context, attributes={"turnkeep.tenant": n}) for n in (*like_one, *like_zero)
    ]
    assert grouped(encode_spans(batch)) == grouped(encode_by_sdk(batch))


@pytest.mark.parametrize("wrong", ["m\ud83d", ["a"], 2**70, object()])
@pytest.mark.parametrize("key", ["gen_ai.response.model", "gen_ai.response.id"])
def test_what_cannot_be_sent_costs_an_attribute(key: str, wrong: Any) -> None:
    """A provider may answer anything for its model's name."""
    context = SpanContext(1, 2, False)
    said = [{"a": "ответ"}, {key: wrong, "a": "b"}, {"a": "c"}]
    batch = [CallSpan(f"span {n}", context, attributes=each) for n, each in enumerate(said)]
    assert grouped(encode_spans(batch)) == grouped(encode_by_sdk(batch))


def test_steps_that_cannot_be_made_cost_their_call_alone() -> None:
    context = SpanContext(1, 2, False)
    calls = [CallSpan(name, context) for name in ("a", "b")]
    calls[0].under = lambda: [][1]
    encoded = encode_spans(calls)
    assert [each.name for each in encoded.resource_spans[0].scope_spans[0].spans] == ["a", "b"]


def test_nothing_that_was_said_is_kept() -> None:
    said = {"gen_ai.request.stop_sequences": ("стоп",), "gen_ai.input.messages": "[]"}
    span_encoding._kept.cache_clear()
    encode_spans([CallSpan("chat", SpanContext(1, 2, False), attributes=said)] * 3)
    assert span_encoding._kept.cache_info().currsize == 0


class Collector(otlp_grpc.TraceServiceServicer):
    """Which keeps the names of the spans that come over gRPC."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def Export(  # noqa: N802
        self, request: otlp.ExportTraceServiceRequest, context: Any
    ) -> otlp.ExportTraceServiceResponse:
        for group in request.resource_spans:
            self.names += [each.name for scope in group.scope_spans for each in scope.spans]
        return otlp.ExportTraceServiceResponse()


@pytest.fixture
def two() -> list[ReadableSpan]:
    """A call and its step, of which the SDK has to encode one."""
    step, call = (
        CallSpan(name, SpanContext(1, 2, False), resource=RESOURCE) for name in ("контекст", "Chat")
    )
    call.under = lambda: [step]
    return [call]


@pytest.fixture
def by_sdk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many spans the SDK encoded, of each request."""
    counts: list[int] = []

    def counted(spans: Sequence[ReadableSpan]) -> otlp.ExportTraceServiceRequest:
        counts.append(len(spans))
        return encode_by_sdk(spans)

    monkeypatch.setattr(span_encoding, "encode_any", counted)
    return counts


async def test_the_exporter_over_http_encodes_so(
    two: list[ReadableSpan], by_sdk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with OtlpSink() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
        exporter = span_export.exporter()
        assert await asyncio.to_thread(exporter.export, two) is SpanExportResult.SUCCESS
        exporter.shutdown()
    assert [each.name for each in sink.spans] == ["контекст", "Chat"]
    assert by_sdk == [1]


async def test_an_exporter_that_encodes_by_itself_gets_whole_calls(
    two: list[ReadableSpan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a later version might."""
    monkeypatch.setattr(span_export, "encode_with_ours", lambda _: False)
    monkeypatch.setattr(over_http, "encode_spans", encode_by_sdk)
    async with OtlpSink() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
        exporter = span_export.exporter()
        assert await asyncio.to_thread(exporter.export, two) is SpanExportResult.SUCCESS
        exporter.shutdown()
    assert [each.name for each in sink.spans] == ["контекст", "Chat"]


async def test_the_exporter_over_grpc_encodes_so(
    two: list[ReadableSpan], by_sdk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    collector, server = Collector(), grpc.aio.server()
    otlp_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    try:
        exporter = span_export.exporter()
        assert await asyncio.to_thread(exporter.export, two) is SpanExportResult.SUCCESS
        exporter.shutdown()
    finally:
        await server.stop(None)
    assert collector.names == ["контекст", "Chat"]
    assert by_sdk == [1]


async def test_calls_that_are_over_when_the_server_ends_are_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also those that nobody was told of yet."""
    recorder = Recorder()
    settings = Settings(model="parrot", history_url="memory://")
    async with OtlpSink() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
        monkeypatch.setattr(api, "set_tracer_provider", lambda _: None)  # once in a process
        figures = cast(Any, None)
        async with opened_telemetry(settings, recorder, figures, is_worker=False):
            with recorder.recording("Chat") as record, step("context"):
                record.tenant = "default"
    assert [each.name for each in sink.spans] == [
        "context",
        "turnkeep.v1.ConversationService/Chat",
    ]


@pytest.mark.parametrize("size", ["0", "100", "-1"])
def test_batches_that_cannot_be_are_a_bad_setting(
    size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", size)
    with pytest.raises(SettingsError, match="OTEL_BSP_MAX_EXPORT_BATCH_SIZE"):
        span_export._processor(Settings(model="parrot", history_url="memory://"))


@pytest.mark.parametrize(("queue", "size"), [(None, 64), ("100", 64), ("20", 20)])
def test_batches_with_what_was_said_are_small(
    queue: str | None, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if queue:
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", queue)
    made: list[Any] = []
    monkeypatch.setattr(
        span_export,
        "BatchSpanProcessor",
        lambda _, max_export_batch_size: made.append(max_export_batch_size),
    )
    span_export._processor(Settings(model="parrot", history_url="memory://", log_text=True))
    assert made == [size]
