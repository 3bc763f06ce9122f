"""LangChain's stored messages, kept whole: what is kept gives them back."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    message_to_dict,
)
from langchain_core.messages.tool import invalid_tool_call

from tests.kit.langchain_back import back
from turnkeep_server.migration.langchain_messages import cost_of, langchain_message, message_of
from turnkeep_server.migration.sources import Unreadable
from turnkeep_server.request_limits import Limits
from turnkeep_server.turns import FilePart, ImagePart, Message, Role, TextPart, Usage
from turnkeep_server.validation import message_violations
from turnkeep_server.wire import said

LIMITS = Limits()
CALL = ToolCall(name="поиск", args={"q": "天气", "n": 1.5}, id="call-1")
PDF = {"filename": "отчёт.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}


def kept(message: BaseMessage) -> Message:
    """The message after it was stored by LangChain; what AddMessages would refuse is a failure."""
    found = langchain_message(json.dumps(message_to_dict(message)))
    made = message_of(found, LIMITS)
    assert list(message_violations("message", said(made), LIMITS)) == []
    return made


PLAIN: list[tuple[BaseMessage, Message]] = [
    (HumanMessage("Привет 👋", name="Виктор"), Message(Role.USER, "Привет 👋", name="Виктор")),
    (SystemMessage("أجب باختصار"), Message(Role.SYSTEM, "أجب باختصار")),
    (ToolMessage("晴", tool_call_id="c1"), Message(Role.TOOL, "晴", tool_call_id="c1")),
    (AIMessage(""), Message(Role.ASSISTANT)),
    (
        HumanMessage(
            [
                {"type": "text", "text": "что это?"},
                {"type": "image_url", "image_url": {"url": "https://e.org/кот.png"}},
                {"type": "file", "file": PDF},
            ]
        ),
        Message(
            Role.USER,
            parts=(
                TextPart("что это?"),
                ImagePart("https://e.org/кот.png"),
                FilePart("отчёт.pdf", "application/pdf", b"%PDF"),
            ),
        ),
    ),
]


@pytest.mark.parametrize(("message", "expected"), PLAIN)
def test_what_the_domain_has_a_place_for_needs_no_metadata(
    message: BaseMessage, expected: Message
) -> None:
    assert kept(message) == expected


THINKING = {"type": "thinking", "thinking": "хм", "signature": "s"}
RICH: list[tuple[BaseMessage, set[str]]] = [
    (AIMessage("да", id="run-1"), {"id"}),
    (AIMessage("", tool_calls=[CALL], additional_kwargs={"a.b": "$x"}), {"additional_kwargs"}),
    (
        AIMessage("", tool_calls=[CALL | {"id": None}, CALL]),  # type: ignore[list-item]
        {"tool_calls"},
    ),
    (AIMessage("", tool_calls=[CALL | {"id": "я" * 129}]), {"tool_calls"}),
    (
        AIMessage(
            "",
            invalid_tool_calls=[
                invalid_tool_call(name="f", args='{"я": ', id="c2", error="битый JSON")
            ],
        ),
        {"invalid_tool_calls"},
    ),
    (
        AIMessage(
            "да",
            response_metadata={"model_name": "gpt-4o"},
            usage_metadata={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
        ),
        {"response_metadata", "usage_metadata"},
    ),
    (ToolMessage("", tool_call_id="c", status="error", artifact=[1]), {"status", "artifact"}),
    (ToolMessage("нет", tool_call_id=""), {"tool_call_id"}),
    (HumanMessage("да", name="я" * 129), {"name"}),
    (HumanMessage("да", name=""), {"name"}),
    (HumanMessage("да", любое=None), {"любое"}),
    (HumanMessage([]), {"content"}),
    (HumanMessage(["да", {"type": "text", "text": "нет"}]), {"content"}),
    (AIMessage([THINKING, {"type": "text", "text": "да"}]), {"content"}),
    (HumanMessage([{"type": "image_url", "image_url": {"url": "gs://b/кот"}}]), {"content"}),
    (HumanMessage([{"type": "text", "text": "да"}] * 65), {"content"}),
    (HumanMessage("половина \ud83d пары"), {"content"}),
    (AIMessageChunk("да", id="run-2"), {"type", "id"}),
]


@pytest.mark.parametrize(("message", "fields"), RICH)
def test_the_rest_is_in_the_metadata_and_comes_back(message: BaseMessage, fields: set[str]) -> None:
    made = kept(message)
    assert set(json.loads("".join(made.metadata.values()))) == fields
    assert back(made) == message
    assert type(back(made)) is type(message)


def test_content_without_a_place_leaves_its_text_for_the_model() -> None:
    assert kept(AIMessage([THINKING, {"type": "text", "text": "да"}, "!"])).text == "да!"
    image = {"type": "image_url", "image_url": {"url": "https://e.org/1", "detail": "low"}}
    assert kept(HumanMessage([image, THINKING])).parts == (ImagePart("https://e.org/1"),)
    assert kept(HumanMessage("половина \ud83d пары")).text == "половина � пары"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=4), json_values, max_size=3)
blocks = (
    st.text(max_size=8)
    | objects
    | st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=8))
    | st.builds(lambda url: {"type": "image_url", "image_url": {"url": url}}, st.text(max_size=8))
)
contents: Any = st.text(max_size=40) | st.lists(blocks, max_size=4)
names = st.none() | st.text(max_size=140)
calls = st.builds(
    lambda name, args, call_id: ToolCall(name=name, args=args, id=call_id, type="tool_call"),
    st.text(max_size=8),
    objects,
    names,
)
common: dict[str, Any] = {"name": names, "id": names, "additional_kwargs": objects}
histories = st.one_of(
    st.builds(HumanMessage, contents, **common),
    st.builds(SystemMessage, contents, **common),
    st.builds(AIMessage, contents, tool_calls=st.lists(calls, max_size=3), **common),
    st.builds(ToolMessage, contents, tool_call_id=st.text(), artifact=json_values, **common),
)


@settings(max_examples=300, deadline=None)
@given(histories)
def test_any_message_comes_back_as_langchain_would_have_read_it(message: BaseMessage) -> None:
    as_read = langchain_message(json.dumps(message_to_dict(message)))
    assert back(kept(message)) == as_read


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ("{", "is no valid JSON"),
        ('{"data": {}}', "is no message of an unknown type"),
        ("[]", "is no LangChain message"),
        ('{"type": "human", "data": "Привет"}', "is no LangChain message"),
        ('{"type": "human", "data": {"content": {"секрет": 1}}}', "is no message of type 'human'"),
        (json.dumps(message_to_dict(FunctionMessage("1", name="f"))), "is of type 'function'"),
        (json.dumps(message_to_dict(ChatMessage("1", role="r"))), "is of type 'chat'"),
        (json.dumps(message_to_dict(RemoveMessage(id="1"))), "is of type 'remove'"),
        (
            json.dumps(message_to_dict(HumanMessage("да", additional_kwargs={"x": "я" * 70_000}))),
            "has 140030 bytes of fields that only its metadata could keep (additional_kwargs)",
        ),
    ],
)
def test_what_cannot_be_kept_whole_is_refused_and_not_quoted(stored: str, reason: str) -> None:
    with pytest.raises(Unreadable) as refused:
        message_of(langchain_message(stored), LIMITS)
    assert reason in str(refused.value)
    assert "секрет" not in str(refused.value)


def test_the_metadata_hold_as_much_as_they_may() -> None:
    message = HumanMessage("да", additional_kwargs={"x": "🌧" * 32_000})
    made = kept(message)
    assert list(made.metadata) == [f"langchain.{n}" for n in range(32)]
    assert back(made) == message


def test_what_a_reply_cost_is_known() -> None:
    cost: Any = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    reply = AIMessage("да", usage_metadata=cost, response_metadata={"model_name": "gpt-4o"})
    assert cost_of(reply) == (Usage(3, 4, 7), "gpt-4o")
    assert cost_of(HumanMessage("да")) == (Usage(), "")
