"""OTLP's form of spans: what the SDK makes of them, of our own calls' in a third of the time.

Most attributes of a call are those of the call before. The SDK builds each one anew, and hashes the
resource for every span: half of what a traced call cost.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import structlog
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_any
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

_KIND = {each: Span.SpanKind.Value(f"SPAN_KIND_{each.name}") for each in SpanKind}
_STATUS = {each: Status(code=each.value) for each in StatusCode}  # type: ignore[arg-type]
_LOCAL = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE = _LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
# What is mostly as it was in the call before. Nothing of what was said is kept in memory.
_REPEATED = {
    "error.type",
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.request.stream",
    "gen_ai.response.finish_reasons",
    "gen_ai.response.model",
    "rpc.method",
    "rpc.response.status_code",
    "rpc.system.name",
    "turnkeep.context.included_messages",
    "turnkeep.context.omitted_messages",
    "turnkeep.context.summary_used",
    "turnkeep.replayed",
    "turnkeep.tenant",
}


class CallSpan(ReadableSpan):
    """A span of ours: no links, no trace state of its own, the one resource and scope.

    A call waits for its export as one span, and `under` makes those of its steps when they are
    asked for: five times as many objects that live for seconds would cost more than making them.
    """

    context: SpanContext
    under: "Callable[[], Sequence[CallSpan]]" = tuple
    steps: int = 0
    """How many those are."""


def whole(spans: Iterable[ReadableSpan]) -> Iterator[ReadableSpan]:
    """All of them, each behind those under it."""
    for each in spans:
        if type(each) is CallSpan:
            try:
                steps = each.under()
            except Exception:  # noqa: BLE001  # a bug: it costs this call's steps, not the batch
                structlog.get_logger().error("steps_not_traced", exc_info=True)
            else:
                yield from steps
        yield each


def encode_with_ours(exporter: ModuleType) -> bool:
    """Has an SDK's module of an OTLP exporter encode by `encode_spans`; False if it has none.

    It looks the function up by this name. A version that does so no more encodes by itself, and is
    to be given whole calls.
    """
    if not hasattr(exporter, "encode_spans"):
        return False
    exporter.encode_spans = encode_spans  # type: ignore[attr-defined]
    return True


def encode_spans(sdk_spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """As the SDK's `encode_spans`, of whole calls; the spans' order may be another."""
    request, others = ExportTraceServiceRequest(), list[ReadableSpan]()
    add: Callable[..., Span] | None = None
    for each in whole(sdk_spans):
        if type(each) is not CallSpan or each.events:
            others.append(each)
        elif add:
            try:
                attributes = [_attribute(*item) for item in (each.attributes or {}).items()]
            except (TypeError, ValueError):
                # What a provider answered may be anything. The SDK leaves out what it cannot send.
                others.append(each)
            else:
                _encode(each, attributes, add)
        else:
            request = encode_any([each])
            add = request.resource_spans[0].scope_spans[0].spans.add
    if others:
        request.MergeFrom(encode_any(others))
    return request


def _encode(span: CallSpan, attributes: list[KeyValue], add: Callable[..., Span]) -> None:
    context, parent = span.context, span.parent
    add(
        trace_id=context.trace_id.to_bytes(16),
        span_id=context.span_id.to_bytes(8),
        parent_span_id=parent.span_id.to_bytes(8) if parent else None,
        name=span.name,
        kind=_KIND[span.kind],
        start_time_unix_nano=span.start_time,
        end_time_unix_nano=span.end_time,
        status=_STATUS[span.status.status_code],
        flags=_REMOTE if parent and parent.is_remote else _LOCAL,
    ).attributes.extend(attributes)


def _attribute(key: str, value: Any) -> KeyValue:
    # A float is not repeated, and 0.0 is equal to -0.0.
    if key in _REPEATED and type(value) is not float:
        return _kept(key, value)
    return _new(key, value)


def _new(key: str, value: Any) -> KeyValue:
    return KeyValue(key=key, value=_value(value))


# By type, too: True and 1 are equal.
_kept = lru_cache(maxsize=1_024, typed=True)(_new)


def _value(value: Any) -> AnyValue:
    match value:
        case str():
            return AnyValue(string_value=value)
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case tuple():
            return AnyValue(array_value=ArrayValue(values=map(_value, value)))
        case _:
            raise TypeError(type(value).__name__)
