"""Messages to LangChain's and back, and text made valid."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, FunctionMessage, HumanMessage

from turnkeep_server.messages import (
    SurrogateCleaner,
    clean_text,
    from_langchain,
    reply_of,
    to_langchain,
)
from turnkeep_server.turns import (
    FilePart,
    FinishReason,
    ImagePart,
    Message,
    Role,
    TextPart,
    ToolCall,
    Usage,
)

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
parts = st.one_of(
    st.builds(TextPart, words),
    st.builds(ImagePart, words.map("https://".__add__)),
    st.builds(FilePart, words, st.just("application/pdf"), st.binary(max_size=8)),
)
calls = st.builds(ToolCall, words, words, st.just('{"кто": "ты"}'))
broken_calls = st.builds(ToolCall, words, words, st.sampled_from(['{"кто": ты', "[1]", "{", "½"]))
messages = st.one_of(
    st.builds(Message, st.sampled_from([Role.USER, Role.SYSTEM]), words, name=words),
    st.builds(Message, st.just(Role.USER), parts=st.lists(parts, min_size=1).map(tuple)),
    st.builds(Message, st.just(Role.ASSISTANT), words, tool_calls=st.lists(calls).map(tuple)),
    st.builds(Message, st.just(Role.ASSISTANT), tool_calls=st.lists(broken_calls).map(tuple)),
    st.builds(Message, st.just(Role.TOOL), words, tool_call_id=words),
)


@given(messages)
def test_a_message_comes_back_from_langchain_as_it_went(message: Message) -> None:
    assert from_langchain(to_langchain(message)) == message


def test_a_kind_of_message_without_a_role_is_refused() -> None:
    with pytest.raises(ValueError, match="function"):
        from_langchain(FunctionMessage(content="x", name="f"))


def test_a_content_block_that_is_no_part_is_refused() -> None:
    with pytest.raises(ValueError, match="input_audio"):
        from_langchain(HumanMessage(content=[{"type": "input_audio"}]))


def test_a_reply_tells_its_text_reason_and_cost() -> None:
    reply = reply_of(
        AIMessage(
            content="½",
            response_metadata={"finish_reason": "length"},
            usage_metadata={
                "input_tokens": 9,
                "output_tokens": 5,
                "total_tokens": 14,
                "input_token_details": {"cache_read": 3},
                "output_token_details": {"reasoning": 2},
            },
        )
    )
    assert reply.message == Message(Role.ASSISTANT, "½")
    assert reply.finish_reason is FinishReason.MAX_TOKENS
    assert reply.usage == Usage(9, 5, 14, 3, 2)


def test_a_tool_call_whose_arguments_are_no_json_is_kept_word_for_word() -> None:
    broken = AIMessageChunk(
        content="",
        tool_call_chunks=[{"id": "c", "name": "sin", "args": '{"deg": 30]', "index": 0}],
    )
    call = ToolCall("c", "sin", '{"deg": 30]')
    assert reply_of(broken).message.tool_calls == (call,)
    sent = to_langchain(Message(Role.ASSISTANT, tool_calls=(call,)))
    assert isinstance(sent, AIMessage)
    assert [each["args"] for each in sent.invalid_tool_calls] == ['{"deg": 30]']


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    assert clean_text("да\ud83d") == "да�"
    assert clean_text("\ude00да") == "�да"


@given(st.text(), st.lists(st.integers(0, 40)))
def test_text_in_pieces_is_cleaned_as_the_whole_would_be(text: str, cuts: list[int]) -> None:
    # As a model sends it: UTF-16 halves, cut anywhere.
    raw = text.encode("utf-16-le", "surrogatepass")
    halves = [raw[i : i + 2].decode("utf-16-le", "surrogatepass") for i in range(0, len(raw), 2)]
    cleaner, said = SurrogateCleaner(), ""
    cuts = sorted(min(cut, len(halves)) for cut in cuts)
    for start, end in zip([0, *cuts], [*cuts, len(halves)], strict=True):
        said += cleaner.clean("".join(halves[start:end]))
    said += cleaner.clean("", last=True)
    assert said == clean_text(text)
    assert said.encode().decode() == said


@pytest.mark.parametrize("odd", ["many", 1.5, 2**70, -5, None])
def test_a_figure_that_is_no_count_is_kept_as_0(odd: object) -> None:
    """What a provider reports may be anything; the reply is not lost for it."""
    message = AIMessage(content="½", response_metadata={"finish_reason": "stop"})
    usage: Any = {"input_tokens": odd, "output_tokens": 5, "total_tokens": odd}
    message.usage_metadata = usage
    assert reply_of(message).usage == Usage(output_tokens=5)
