"""What a span says: OpenTelemetry's conventions for RPCs and for generative AI, and a few of ours.

https://opentelemetry.io/docs/specs/semconv/rpc/ and, for gen_ai,
https://github.com/open-telemetry/semantic-conventions-genai. What was said is told only under
TURNKEEP_LOG_TEXT; no exception's text ever is.
"""

import json
from typing import Any

from turnkeep_server.records import SUMMARY, Record, Step
from turnkeep_server.turns import FinishReason, Message, Role

_FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.MAX_TOKENS: "length",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.TOOL_CALLS: "tool_call",
}


def call_attributes(record: Record) -> dict[str, Any]:
    """Of the span of a whole call, or of a session that is summarised."""
    attributes: dict[str, Any] = {"turnkeep.tenant": record.tenant} if record.tenant else {}
    if record.name != SUMMARY:
        attributes["rpc.system.name"] = "grpc"
        attributes["rpc.method"] = f"turnkeep.v1.ConversationService/{record.name}"
        attributes["rpc.response.status_code"] = record.code
    if record.reason:
        attributes["error.type"] = record.reason
    facts = record.facts
    if session_id := facts.get("session_id"):
        attributes["gen_ai.conversation.id"] = session_id
    if "sequence" in facts:
        attributes["turnkeep.sequence"] = facts["sequence"]
        attributes["turnkeep.replayed"] = facts["replayed"]
    return attributes


def model_attributes(step: Step, record: Record, provider_name: str) -> dict[str, Any]:
    """Of the span of one call of the model."""
    facts, options = step.facts, step.facts["options"]
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider_name,
        "gen_ai.request.model": facts["model"],
        "gen_ai.request.temperature": options.temperature,
        "gen_ai.request.top_p": options.top_p,
        "gen_ai.request.max_tokens": options.max_output_tokens,
        "gen_ai.request.seed": options.seed,
        "gen_ai.conversation.id": record.facts.get("session_id"),
    }
    if first := facts.get("first_token_ns"):
        attributes["gen_ai.request.stream"] = True
        attributes["gen_ai.response.time_to_first_chunk"] = (first - step.began_ns) / 1e9
    if usage := facts.get("usage"):
        attributes["gen_ai.response.model"] = facts["answered_by"] or None
        attributes["gen_ai.response.id"] = facts["answer_id"] or None
        attributes["gen_ai.response.finish_reasons"] = (_finish(facts["finish_reason"]),)
        attributes["gen_ai.usage.input_tokens"] = usage.input_tokens
        attributes["gen_ai.usage.output_tokens"] = usage.output_tokens
        attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cached_input_tokens or None
        attributes["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens or None
    if "question" in facts:
        attributes.update(_text_attributes(facts))
    return {name: value for name, value in attributes.items() if value is not None}


def _text_attributes(facts: dict[str, Any]) -> dict[str, Any]:
    """What was said. stop_sequences are text of the request, and go along."""
    question, reply = facts["question"], facts["reply"]
    said = {
        "gen_ai.input.messages": [*map(_told, (*question.history, question.message))],
        "gen_ai.output.messages": [
            {**_told(reply.message), "finish_reason": _finish(reply.finish_reason)}
        ],
    }
    if question.system:
        said["gen_ai.system_instructions"] = [{"type": "text", "content": question.system.text}]
    told: dict[str, Any] = {
        name: json.dumps(value, ensure_ascii=False) for name, value in said.items()
    }
    if question.options.stop:
        told["gen_ai.request.stop_sequences"] = tuple(question.options.stop)
    return told


def _told(message: Message) -> dict[str, Any]:
    """A message in the conventions' form; images and files by their kind only."""
    parts: list[dict[str, Any]] = [{"type": "text", "content": message.text}]
    for part in message.parts:
        text = getattr(part, "text", None)
        kind = type(part).__name__.removesuffix("Part").lower()
        parts.append({"type": "text", "content": text} if text is not None else {"type": kind})
    for call in message.tool_calls:
        arguments = call.arguments_json
        parts.append(
            {"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments}
        )
    if message.role is Role.TOOL:
        parts = [
            {"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}
        ]
    return {"role": message.role.lower(), "parts": parts}


def _finish(reason: FinishReason) -> str:
    return _FINISH.get(reason, "stop")
