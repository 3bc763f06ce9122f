"""What is a reply, and what only looks like one."""

from collections.abc import Sequence

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import add_ai_message_chunks

from turnkeep_server.errors import ContentFiltered, ModelError, ModelStreamBroken
from turnkeep_server.messages import reply_of
from turnkeep_server.turns import FinishReason, Reply


def says_something(chunk: AIMessageChunk) -> bool:
    """Whether a piece of a stream is of the reply itself: text, or a tool call."""
    return bool(chunk.text or chunk.tool_call_chunks)


def whole_reply(chunks: Sequence[AIMessageChunk]) -> Reply:
    """The reply that the chunks of an ended stream make. Raises as `checked_reply`."""
    broken = ModelStreamBroken("the model's stream ended before the reply did")
    if not chunks:
        raise broken
    return checked_reply(add_ai_message_chunks(*chunks), broken)


def checked_reply(answer: BaseMessage, broken: ModelError) -> Reply:
    """The reply in an answer that is one.

    Raises `broken` if it has no finish_reason, which every whole reply has, and ContentFiltered if
    the provider's filter left nothing of it.
    """
    if not isinstance(answer, AIMessage) or not answer.response_metadata.get("finish_reason"):
        raise broken
    reply = reply_of(answer)
    nothing_said = not (reply.message.text or reply.message.tool_calls)
    if nothing_said and reply.finish_reason is FinishReason.CONTENT_FILTER:
        raise ContentFiltered("the provider's content filter left nothing of the reply")
    return reply
