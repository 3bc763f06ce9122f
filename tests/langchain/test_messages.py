"""LangChain's messages as the service keeps them, and back; no server needed."""

import base64
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

from turnkeep.langchain.messages import from_turnkeep, to_turnkeep
from turnkeep.langchain.metadata import MAX_ENTRIES, MAX_ENTRY_BYTES
from turnkeep.messages import FilePart, ImagePart, Message, TextPart, ToolCall

MIB = 2**20
PNG = base64.b64encode(b"\x89PNG" + bytes(range(256)) * 3_000).decode()  # 1 MB as base64


def there_and_back(message: BaseMessage) -> Message:
    """The message as it is kept; it comes back equal."""
    kept = to_turnkeep(message)
    assert from_turnkeep(kept) == message
    return kept


def test_what_the_wire_can_say_needs_no_metadata() -> None:
    """Other clients see all of it, and nothing of LangChain."""
    question = there_and_back(HumanMessage("Привет", name="Виктор"))
    assert (question.role, question.text, question.name) == ("user", "Привет", "Виктор")

    call = {"name": "погода", "args": {"город": "Кёльн"}, "id": "c1"}
    asks = there_and_back(AIMessage("", tool_calls=[call]))
    assert asks.tool_calls == (ToolCall("c1", "погода", '{"город":"Кёльн"}'),)

    file = {"filename": "отчёт.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}
    parts: list[str | dict[Any, Any]] = [
        {"type": "text", "text": "смотри"},
        {"type": "image_url", "image_url": {"url": "https://example.org/кот.png"}},
        {"type": "file", "file": file},
    ]
    assert there_and_back(HumanMessage(parts)).parts == (
        TextPart("смотри"),
        ImagePart("https://example.org/кот.png"),
        FilePart("отчёт.pdf", "application/pdf", b"%PDF"),
    )
    assert not any(each.metadata for each in (question, asks))


def test_the_metadata_are_one_compact_json_object() -> None:
    """Fields under LangChain's names, without those that are as they are by default."""
    message = AIMessage(
        "да",
        id="run-1",
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        additional_kwargs={"причина": None},
    )
    assert there_and_back(message).metadata == {
        "langchain.0": '{"additional_kwargs":{"причина":null},"id":"run-1",'
        '"usage_metadata":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}'
    }


@pytest.mark.parametrize("letter", ["x", "я", "汉", "🌧"])
def test_a_long_object_is_cut_into_entries_that_the_service_takes(letter: str) -> None:
    """Never within a character, whatever its bytes; keys and values together at most 4 KiB."""
    kept = there_and_back(AIMessage("да", additional_kwargs={"k": letter * 25_000, "a": "я"}))

    assert 1 < len(kept.metadata) <= MAX_ENTRIES
    assert max(len(k) + len(v.encode()) for k, v in kept.metadata.items()) <= MAX_ENTRY_BYTES


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ("просто текст", TextPart("просто текст")),
        ({"type": "text", "text": "да", "cache_control": {"type": "x"}}, TextPart("да")),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "x": 1}},
            ImagePart(f"data:image/png;base64,{PNG}"),
        ),
        (
            {"type": "image", "base64": PNG, "mime_type": "image/png"},
            ImagePart(f"data:image/png;base64,{PNG}"),
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ImagePart(f"data:image/png;base64,{PNG}"),
        ),
        ({"type": "image", "url": "https://x.org/y"}, ImagePart("https://x.org/y")),
        (
            {"type": "file", "base64": PNG, "mime_type": "application/pdf"},
            FilePart("", "application/pdf", base64.b64decode(PNG)),
        ),
        (
            {
                "type": "document",
                "title": "报告",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PNG},
            },
            FilePart("报告", "application/pdf", base64.b64decode(PNG)),
        ),
    ],
    ids=lambda each: each.get("type", "") if isinstance(each, dict) else type(each).__name__,
)
def test_the_services_own_model_sees_blocks_of_other_forms(block: Any, part: object) -> None:
    """An image of a megabyte is kept once, in its part, and comes back in its block."""
    kept = there_and_back(HumanMessage([block]))

    assert kept.parts == (part,)
    assert sum(len(each) for each in kept.metadata.values()) < 1_000


@pytest.mark.parametrize(
    "block",
    [
        {},
        {"type": "reasoning", "reasoning": "ну…"},
        {"type": "text", "text": ""},
        {"type": "image_url", "image_url": {"url": "gs://bucket/y.png"}},
        {"type": "file", "file": {"file_id": "f-1"}},
        {"type": "file", "base64": "не base64", "mime_type": "application/pdf"},
        {"type": "audio", "base64": "UklGRg==", "mime_type": "audio/wav"},
    ],
    ids=str,
)
def test_a_block_that_no_part_can_say_is_kept_all_the_same(block: dict[Any, Any]) -> None:
    """The service's own model does not see it; LangChain's does."""
    kept = there_and_back(AIMessage(["до", block, "после"]))

    assert kept.parts == (TextPart("до"), TextPart("после"))


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage(""),
        HumanMessage([]),
        AIMessage("\ud83d половина 🌧 пары", additional_kwargs={"k": "\udc00"}),
        AIMessage("", tool_calls=[{"name": "", "args": {}, "id": None}]),
        AIMessage("", tool_calls=[{"name": "f" * 200, "args": {"x": "\ud83d"}, "id": "i" * 200}]),
        AIMessage("", invalid_tool_calls=[{"name": "f", "args": "{", "id": "1", "error": "нет"}]),
        ToolMessage("ошибка", tool_call_id="", status="error", artifact=[1, {"б": None}]),
        HumanMessage([{"type": "text", "text": str(n)} for n in range(65)]),
        HumanMessage("с лишним полем", example=True, своё=["поле"]),
        HumanMessageChunk("кус"),
        SystemMessageChunk("кус"),
        ToolMessageChunk("кус", tool_call_id="1"),
        ChatMessage("да", role="критик"),
        FunctionMessage("{}", name="f"),
    ],
    ids=repr,
)
def test_what_is_rare_comes_back_too(message: BaseMessage) -> None:
    """Nothing is lost that LangChain lets pass; what is sent is valid Unicode."""
    kept = there_and_back(message)

    assert "\ud83d" not in kept.text
    assert len(kept.parts) <= 64
    assert all(each.id and each.name for each in kept.tool_calls)


@pytest.mark.parametrize(
    ("value", "about"),
    [
        (b"bytes", "bytes is not JSON serializable"),
        (float("nan"), "not JSON compliant"),
        (float("inf"), "not JSON compliant"),
        ({1, 2}, "set is not JSON serializable"),
        ((1, 2), "tuples, or keys that are no text"),
        ({1: "один"}, "tuples, or keys that are no text"),
        ("я" * 70_000, "take 140,0.. bytes as JSON; there is room for about 130,"),
    ],
    ids=["bytes", "nan", "infinity", "set", "tuple", "number-key", "much"],
)
def test_what_cannot_be_kept_exactly_is_refused(value: object, about: str) -> None:
    """ValueError names the kind of message, the field and why."""
    with pytest.raises(ValueError, match=f"type 'ai': additional_kwargs .*{about}"):
        to_turnkeep(AIMessage("да", additional_kwargs={"k": value}))


def test_an_artifact_is_kept_as_langchains_own_histories_keep_it() -> None:
    """The Documents of a retriever's tool as objects, tuples as lists; bytes are refused."""
    found = [Document("текст", id="1", metadata={"стр": 3})]
    message = ToolMessage("да", tool_call_id="1", artifact=(found, 2))
    back = from_turnkeep(to_turnkeep(message))

    document = {"id": "1", "metadata": {"стр": 3}, "page_content": "текст", "type": "Document"}
    assert isinstance(back, ToolMessage)
    assert back.artifact == [[document], 2]
    endless: list[object] = []
    endless.append(endless)
    for artifact in (b"x", endless):
        with pytest.raises(ValueError, match="a LangChain message of type 'tool': "):
            to_turnkeep(ToolMessage("да", tool_call_id="1", artifact=artifact))


def test_a_message_that_is_no_turn_of_a_conversation_is_refused() -> None:
    """LangGraph's order to remove a message, for one."""
    with pytest.raises(ValueError, match="type 'remove' cannot be kept"):
        to_turnkeep(RemoveMessage(id="1"))


def test_what_others_stored_reads_as_plain_messages() -> None:
    """Other metadata are theirs; arguments that are no JSON object are an invalid call."""
    calls = (ToolCall("1", "f", '{"a": 1}'), ToolCall("2", "g", "[1]"), ToolCall("3", "h", "{"))
    message = Message("assistant", "да", tool_calls=calls, metadata={"источник": "импорт"})

    assert from_turnkeep(message) == AIMessage(
        "да",
        tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}],
        invalid_tool_calls=[
            {"name": "g", "args": "[1]", "id": "2", "error": None},
            {"name": "h", "args": "{", "id": "3", "error": None},
        ],
    )


@pytest.mark.parametrize(
    "written",
    [
        "{",
        "[1]",
        '{"type":"нет"}',
        '{"content":1}',
        '{"turnkeep.parts":[[[0,"text"],5,"text"]]}',
        '{"turnkeep.parts":3}',
    ],
)
def test_metadata_that_hold_no_message_are_told_with_their_place(written: str) -> None:
    """Somebody else wrote under LangChain's names: it is not passed over in silence."""
    with pytest.raises(ValueError, match=r"message m-1 \(sequence 7\) has metadata langchain"):
        from_turnkeep(
            Message("user", "да", metadata={"langchain.0": written}, id="m-1", sequence=7)
        )
