"""Makes spans of calls that are over, and has them exported in batches, in a thread.

A call's span is made after it is over, and those of its steps while they are encoded, out of what
was noted while it ran: a record is a tenth of what the SDK's spans cost that live while they are
written to, with their locks and copies. Sampler, resource, batches and exporter are the SDK's own,
and so are the variables that configure them:
https://opentelemetry.io/docs/languages/sdk-configuration/.
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import trace as api
from opentelemetry.sdk.trace import Event, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from turnkeep_server import __version__
from turnkeep_server.recording import Metadata
from turnkeep_server.records import CANCELLED, SUMMARY, Record, Step, Trace
from turnkeep_server.telemetry.span_attributes import call_attributes, model_attributes
from turnkeep_server.telemetry.span_encoding import CallSpan

_PROPAGATOR = TraceContextTextMapPropagator()
_HEADERS = {"traceparent", "tracestate"}
_SCOPE = InstrumentationScope("turnkeep", __version__)
_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
_FLAGS = {True: TraceFlags(TraceFlags.SAMPLED), False: TraceFlags(TraceFlags.DEFAULT)}
# https://opentelemetry.io/docs/specs/semconv/rpc/grpc/: what of a server's codes is its failure.
_FAILED = {
    "DATA_LOSS",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
    "UNKNOWN",
}


class Tracing:
    """A listener that makes spans. `processor` takes them; `provider` says which are sampled.

    `provider_name`: the model's, in the conventions' words.
    """

    def __init__(
        self, provider: TracerProvider, processor: BatchSpanProcessor, *, provider_name: str
    ) -> None:
        self._sampler = provider.sampler
        self._resource = provider.resource
        self._processor = processor
        self._provider_name = provider_name

    def begun(self, name: str, metadata: Metadata) -> Trace:
        """A call's place in its caller's trace, or at the head of a new one."""
        carrier = {key: [value] for key, value in metadata if key in _HEADERS}
        context = _PROPAGATOR.extract(carrier) if carrier else None
        parent = api.get_current_span(context).get_span_context() if context else None
        if parent is not None and not parent.is_valid:
            parent = None
        trace_id = parent.trace_id if parent else random.getrandbits(128) or 1
        sampled = self._sampler.should_sample(context, trace_id, name, SpanKind.SERVER)
        state = sampled.trace_state or (parent.trace_state if parent else None)
        return Trace(
            trace_id=trace_id,
            span_id=random.getrandbits(64) or 1,
            parent_id=parent.span_id if parent else None,
            sampled=sampled.decision is Decision.RECORD_AND_SAMPLE,
            entered=_entered,
            state=state.to_header() if state else "",
        )

    def refused(self, method: str, code: str, reason: str, limit: str) -> None:
        """No span: refusing is to cost next to nothing, and the metrics count it."""

    def ended(self, record: Record) -> None:
        trace, is_call = record.trace, record.name != SUMMARY
        if trace is None or not trace.sampled:
            return
        if is_call and not record.tenant:
            # Of nobody who is known: a stranger does not decide that a span is made.
            return
        offset = record.wall_ns - record.began_ns
        context = _context(trace, trace.span_id)
        failed = record.code in _FAILED if is_call else bool(record.reason)
        span = self._span(
            f"turnkeep.v1.ConversationService/{record.name}" if is_call else "summarize",
            context,
            parent=_parent(trace),
            kind=SpanKind.SERVER if is_call else SpanKind.INTERNAL,
            times=(record.began_ns + offset, record.ended_ns + offset),
            attributes=call_attributes(record),
            failed=failed,
            events=[
                Event(what, {"turnkeep.kind": kind}, at + offset)
                for what, kind, at in record.happenings
            ],
        )

        def under() -> list[CallSpan]:
            return [self._step_span(each, trace, context, offset, record) for each in record.steps]

        span.steps = len(record.steps)
        span.under = under
        if record.wants_text:
            # Now: what was said may have files in it, which the spans have not.
            made = under()
            span.under = lambda: made
        self._processor.on_end(span)

    def _step_span(
        self, step: Step, trace: Trace, parent: SpanContext, offset: int, record: Record
    ) -> CallSpan:
        is_model = step.name == "model"
        attributes: dict[str, Any] = (
            model_attributes(step, record, self._provider_name) if is_model else {}
        )
        if report := step.facts.get("report"):
            attributes["turnkeep.context.included_messages"] = report.included_messages
            attributes["turnkeep.context.omitted_messages"] = report.omitted_messages
            attributes["turnkeep.context.summary_used"] = report.summary_used
        if step.error:
            attributes["error.type"] = step.error
        return self._span(
            f"chat {step.facts['model']}" if is_model else step.name,
            _context(trace, step.span_id),
            parent=parent,
            kind=SpanKind.CLIENT if is_model else SpanKind.INTERNAL,
            times=(step.began_ns + offset, step.ended_ns + offset),
            attributes=attributes,
            failed=bool(step.error) and step.error != CANCELLED,
        )

    def _span(
        self,
        name: str,
        context: SpanContext,
        *,
        parent: SpanContext | None,
        kind: SpanKind,
        times: tuple[int, int],
        attributes: Mapping[str, Any],
        failed: bool,
        events: Sequence[Event] = (),
    ) -> CallSpan:
        return CallSpan(
            name,
            context,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            events=events,
            kind=kind,
            status=_ERROR if failed else _UNSET,
            start_time=times[0],
            end_time=times[1],
            instrumentation_scope=_SCOPE,
        )


def _entered(trace: Trace, span_id: int) -> AbstractContextManager[object]:
    return api.use_span(api.NonRecordingSpan(_context(trace, span_id)))


def _context(trace: Trace, span_id: int) -> SpanContext:
    return SpanContext(trace.trace_id, span_id, False, _FLAGS[trace.sampled])


def _parent(trace: Trace) -> SpanContext | None:
    if trace.parent_id is None:
        return None
    return SpanContext(trace.trace_id, trace.parent_id, True, _FLAGS[trace.sampled])
