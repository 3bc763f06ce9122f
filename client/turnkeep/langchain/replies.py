"""Turnkeep's replies as LangChain's messages."""

from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

from turnkeep.langchain.messages import from_turnkeep
from turnkeep.messages import Reply, Usage


def answer(reply: Reply) -> AIMessage:
    """The whole reply. Its id is the message's own in the service."""
    told = from_turnkeep(reply.message)
    return AIMessage(**{**vars(told), **_about(reply)})


def last_piece(reply: Reply) -> AIMessageChunk:
    """What a stream's text leaves out: tool calls, usage, id and response_metadata."""
    calls = [
        {"name": each.name, "args": each.arguments_json, "id": each.id, "index": number}
        for number, each in enumerate(reply.message.tool_calls)
    ]
    return AIMessageChunk(
        content="", tool_call_chunks=calls, chunk_position="last", **_about(reply)
    )


def _about(reply: Reply) -> dict[str, Any]:
    return {
        "id": reply.message.id or None,
        "usage_metadata": _usage(reply.usage),
        "response_metadata": {
            "model_name": reply.model,
            "finish_reason": reply.finish_reason,
            "sequence": reply.sequence,
            "request_id": reply.request_id,
        },
    }


def _usage(usage: Usage) -> UsageMetadata | None:
    """None where the provider reported nothing."""
    if usage == Usage():
        return None
    return UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        input_token_details=InputTokenDetails(cache_read=usage.cached_input_tokens),
        output_token_details=OutputTokenDetails(reasoning=usage.reasoning_tokens),
    )
