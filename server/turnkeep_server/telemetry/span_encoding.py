"""OTLP's form of spans: what the SDK makes of them, of our own calls' in a third of the time.

Most attributes of a call are those of the call before. The SDK builds each one anew, and hashes the
resource for every span: half of what a traced call cost.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

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
_DIFFERENT = {"gen_ai.conversation.id", "gen_ai.response.id"}
_LONG_CHARS = 64  # and what was said, if it is told, is not kept in memory


class CallSpan(ReadableSpan):
    """A span of ours: no links, no trace state of its own, the one resource and scope.

    Its attributes are str, bool, int, float or tuples of str. A call waits for its export as one
    span, and `under` makes those of its steps when they are asked for: five times as many objects
    that live for seconds would cost more than making them.
    """

    context: SpanContext
    under: "Callable[[], Iterable[CallSpan]]" = tuple


def whole(spans: Iterable[ReadableSpan]) -> Iterator[ReadableSpan]:
    """All of them, each behind those under it."""
    for each in spans:
        if type(each) is CallSpan:
            yield from each.under()
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
            _encode(each, add)
        else:
            request = encode_any([each])
            add = request.resource_spans[0].scope_spans[0].spans.add
    if others:
        request.MergeFrom(encode_any(others))
    return request


def _encode(span: CallSpan, add: Callable[..., Span]) -> None:
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
    ).attributes.extend([_attribute(*each) for each in (span.attributes or {}).items()])


def _attribute(key: str, value: Any) -> KeyValue:
    kind = type(value)
    if kind is float or key in _DIFFERENT or (kind is str and len(value) > _LONG_CHARS):
        return _new(key, value)
    return _kept(key, value)


def _new(key: str, value: Any) -> KeyValue:
    return KeyValue(key=key, value=_value(value))


# By type, too: True, 1 and 1.0 are equal.
_kept = lru_cache(maxsize=4_096, typed=True)(_new)


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
        case _:
            return AnyValue(array_value=ArrayValue(values=map(_value, value)))
