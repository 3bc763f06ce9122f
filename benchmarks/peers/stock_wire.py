"""LangChain's messages to and from the wire's, as both stock servers need them."""

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from turnkeep.v1 import conversation_pb2 as pb

PAGE_SIZE = 50
_ROLES = {
    "human": pb.ROLE_USER,
    "ai": pb.ROLE_ASSISTANT,
    "AIMessageChunk": pb.ROLE_ASSISTANT,
    "system": pb.ROLE_SYSTEM,
    "tool": pb.ROLE_TOOL,
}
_FINISH_REASONS = {
    "stop": pb.FINISH_REASON_STOP,
    "length": pb.FINISH_REASON_MAX_TOKENS,
    "content_filter": pb.FINISH_REASON_CONTENT_FILTER,
    "tool_calls": pb.FINISH_REASON_TOOL_CALLS,
}


def question_of(request: pb.ChatRequest) -> str:
    """The text that is asked, in whichever field it came."""
    return request.text or request.message.text


def to_langchain(message: pb.Message) -> BaseMessage:
    """A message to store; one without a role is the user's."""
    match message.role:
        case pb.ROLE_ASSISTANT:
            return AIMessage(message.text)
        case pb.ROLE_SYSTEM:
            return SystemMessage(message.text)
        case pb.ROLE_TOOL:
            return ToolMessage(message.text, tool_call_id=message.tool_call_id)
        case _:
            return HumanMessage(message.text)


def to_wire(message: BaseMessage, sequence: int = 0) -> pb.Message:
    """A stored message. Its sequence is 0 where its turn's place is not known."""
    return pb.Message(
        role=_ROLES.get(message.type, pb.ROLE_UNSPECIFIED),
        text=str(message.content),
        status=pb.TURN_STATUS_COMPLETED,
        sequence=sequence,
    )


def chat_response(reply: BaseMessage) -> pb.ChatResponse:
    """The model's answer. The library does not tell where in the session it was stored."""
    told: dict[str, Any] = reply.response_metadata
    used: dict[str, Any] = getattr(reply, "usage_metadata", None) or {}
    return pb.ChatResponse(
        message=to_wire(reply),
        finish_reason=_FINISH_REASONS.get(
            told.get("finish_reason", ""), pb.FINISH_REASON_UNSPECIFIED
        ),
        usage=pb.Usage(
            input_tokens=used.get("input_tokens", 0),
            output_tokens=used.get("output_tokens", 0),
            total_tokens=used.get("total_tokens", 0),
        ),
        model=told.get("model_name", ""),
    )


def page(
    messages: Sequence[BaseMessage], request: pb.ListMessagesRequest
) -> pb.ListMessagesResponse:
    """A page of a session. A message's sequence is how many of the user's have come up to it.

    That is its turn's place, as long as each turn is a question and its reply in that order.
    """
    placed = list(_placed(messages))
    if request.order == pb.ORDER_NEWEST_FIRST:
        placed.reverse()
    start = int(request.page_token or 0)
    end = start + (request.page_size or PAGE_SIZE)
    return pb.ListMessagesResponse(
        messages=placed[start:end], next_page_token=str(end) if end < len(placed) else ""
    )


def _placed(messages: Iterable[BaseMessage]) -> Iterable[pb.Message]:
    sequence = 0
    for message in messages:
        sequence += message.type == "human"
        yield to_wire(message, sequence)


def session_page(
    user_id: str, session_ids: Iterable[str], request: pb.ListSessionsRequest
) -> pb.ListSessionsResponse:
    """A page of a user's sessions: their ids, and nothing else that the library keeps."""
    ordered = sorted(session_ids)
    start = int(request.page_token or 0)
    end = start + (request.page_size or PAGE_SIZE)
    return pb.ListSessionsResponse(
        sessions=[pb.Session(user_id=user_id, session_id=each) for each in ordered[start:end]],
        next_page_token=str(end) if end < len(ordered) else "",
    )
