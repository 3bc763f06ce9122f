"""What is a reply, and what only looks like one."""

from collections.abc import Sequence
from dataclasses import replace

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks

from turnkeep_server.errors import ContentFiltered, ModelError, ModelStreamBroken, ModelUnavailable
from turnkeep_server.messages import reply_of
from turnkeep_server.model_failures import RUBBISH
from turnkeep_server.turns import FinishReason, Reply


def as_answer(output: object) -> AIMessage:
    """What a chain answered, as a message. Raises TypeError for what is neither that nor text."""
    match output:
        case AIMessage():
            return output
        case str():
            return AIMessage(content=output)
    raise TypeError(f"the chain answered with {type(output).__name__}")


def as_chunk(output: object) -> AIMessageChunk:
    """A piece of what a chain streams; raises as `as_answer`."""
    if isinstance(output, AIMessageChunk):
        return output
    answer = as_answer(output)
    return AIMessageChunk(**answer.model_dump(exclude={"type"}))


class Room:
    """How much more of a reply's text there is room for. `exceeded`: some was left out."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes
        self.exceeded = False

    def take(self, text: str) -> str:
        """As much of the text as there is room for, whole characters."""
        if self.exceeded:
            return ""
        data = text.encode()
        self.exceeded = len(data) > self._left
        fits = data[: self._left].decode(errors="ignore") if self.exceeded else text
        self._left -= len(data)
        return fits


def shortened(reply: Reply, max_bytes: int) -> Reply:
    """The reply, its text cut to `max_bytes` if it is longer; MAX_TOKENS tells that it was.

    Raises ModelUnavailable for tool calls that are longer together: a part of one would be none.
    """
    calls = reply.message.tool_calls
    if (
        sum(len(f"{each.id}{each.name}{each.arguments_json}".encode()) for each in calls)
        > max_bytes
    ):
        raise ModelUnavailable("the model's tool calls are too large to be kept")
    room = Room(max_bytes)
    text = room.take(reply.message.text)
    if not room.exceeded:
        return reply
    message = replace(reply.message, text=text)
    return replace(reply, message=message, finish_reason=FinishReason.MAX_TOKENS)


def says_something(chunk: AIMessageChunk) -> bool:
    """Whether a piece of a stream is of the reply itself: text, or a tool call."""
    return bool(chunk.text or chunk.tool_call_chunks)


def whole_reply(chunks: Sequence[AIMessageChunk], *, tells_ends: bool = True) -> Reply:
    """The reply that the chunks of an ended stream make.

    Raises ModelStreamBroken if there are none, if they do not go together, or if replies tell their
    ends and this one has none.
    """
    broken = ModelStreamBroken("the model's stream ended before the reply did")
    if not chunks:
        raise broken
    try:
        return checked_reply(_joined(chunks), broken if tells_ends else None)
    except RUBBISH as error:
        # LangChain refuses to add up fields that change their type from piece to piece.
        raise broken from error


def _joined(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk:
    """One message of all chunks. What each chunk may say anew, the last one to say it is right in.

    LangChain adds up usage, and strings reasons together; some providers send both with each chunk.
    """
    whole = add_ai_message_chunks(*chunks)
    usages = [each.usage_metadata for each in chunks if each.usage_metadata]
    reasons = [each.response_metadata.get("finish_reason") for each in chunks]
    whole.usage_metadata = usages[-1] if usages else None
    whole.response_metadata["finish_reason"] = next(filter(None, reversed(reasons)), None)
    return whole


def checked_reply(answer: AIMessage, broken: ModelError | None) -> Reply:
    """The reply in an answer that is one.

    Raises `broken`, if that is given, for an answer without a finish_reason, and ContentFiltered if
    the provider's filter left nothing of it.
    """
    if broken and not answer.response_metadata.get("finish_reason"):
        raise broken
    reply = reply_of(answer)
    nothing_said = not (reply.message.text or reply.message.tool_calls)
    if nothing_said and reply.finish_reason is FinishReason.CONTENT_FILTER:
        raise ContentFiltered("the provider's content filter left nothing of the reply")
    return reply
