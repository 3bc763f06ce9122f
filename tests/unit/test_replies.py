"""What is a reply: pieces joined as providers mean them, and texts of any length."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessageChunk

from turnkeep_server.errors import ModelStreamBroken, ModelUnavailable
from turnkeep_server.messages import reply_of, usage_of
from turnkeep_server.replies import Room, as_answer, as_chunk, shortened, whole_reply
from turnkeep_server.turns import FinishReason, Message, Reply, Role, ToolCall, Usage

STOP = {"finish_reason": "stop"}


def usage(tokens: int) -> Any:
    return {"input_tokens": 5, "output_tokens": tokens, "total_tokens": 5 + tokens}


def test_usage_that_runs_along_is_not_added_up() -> None:
    chunks = [AIMessageChunk("да", usage_metadata=usage(n)) for n in (1, 2, 3)]
    reply = whole_reply([*chunks, AIMessageChunk("", response_metadata=STOP)])
    assert reply.message.text == "дадада"
    assert reply.usage == Usage(input_tokens=5, output_tokens=3, total_tokens=8)


def test_a_reason_that_is_said_twice_is_one() -> None:
    end = AIMessageChunk("", response_metadata=STOP)
    assert whole_reply([AIMessageChunk("好"), end, end]).finish_reason is FinishReason.STOP
    with pytest.raises(ModelStreamBroken):
        whole_reply([AIMessageChunk("好")])
    assert whole_reply([AIMessageChunk("好")], tells_ends=False).message.text == "好"


def test_pieces_that_do_not_go_together_are_a_broken_stream() -> None:
    pieces = [AIMessageChunk("да", response_metadata={"finish_reason": end}) for end in ("stop", 7)]
    with pytest.raises(ModelStreamBroken):
        whole_reply(pieces)


def test_a_count_that_is_none_is_not_kept() -> None:
    told = {"input_tokens": True, "output_tokens": 2**63, "total_tokens": -1}
    assert usage_of(told) == Usage()


def test_pieces_of_a_call_without_an_index_are_one_call() -> None:
    pieces = [("c", "find", ""), (None, None, '{"q":'), (None, None, '"я"}'), ("d", "next", "{}")]
    chunks = [
        AIMessageChunk("", tool_call_chunks=[{"id": i, "name": name, "args": args, "index": None}])
        for i, name, args in pieces
    ]
    reply = whole_reply([*chunks, AIMessageChunk("", response_metadata=STOP)])
    calls = [(each.id, each.name, each.arguments_json) for each in reply.message.tool_calls]
    assert calls == [("c", "find", '{"q":"я"}'), ("d", "next", "{}")]


def test_arguments_are_json_whatever_python_reads() -> None:
    call = {"id": "c", "name": "f", "args": {"a": float("nan"), "b": [float("inf"), 1]}}
    (made,) = reply_of(AIMessage("", tool_calls=[call])).message.tool_calls
    assert json.loads(made.arguments_json, parse_constant=pytest.fail) == {
        "a": None,
        "b": [None, 1],
    }


def test_a_refusal_is_what_the_model_says() -> None:
    refused = AIMessage("", additional_kwargs={"refusal": "Этого я не могу."})
    assert reply_of(refused).message.text == "Этого я не могу."


def test_only_what_a_model_says_is_an_answer() -> None:
    assert as_answer("да").text == "да"
    assert as_chunk(AIMessage("да", response_metadata=STOP)).response_metadata == STOP
    for other in (HumanMessageChunk("?"), {"text": "?"}, None, 42):
        with pytest.raises(TypeError):
            as_chunk(other)


def test_tool_calls_that_are_too_large_are_no_reply() -> None:
    """Half of their arguments would be none, and the whole no database takes."""
    call = ToolCall("c", "f", '{"q": "Ж"}')
    reply = Reply(Message(Role.ASSISTANT, tool_calls=(call,)), FinishReason.TOOL_CALLS, Usage())
    assert shortened(reply, 13) == reply
    with pytest.raises(ModelUnavailable):
        shortened(reply, 12)


@given(st.lists(st.text(max_size=20), max_size=10), st.integers(0, 60))
def test_a_text_that_comes_in_pieces_is_cut_where_the_whole_is(
    pieces: list[str], size: int
) -> None:
    room = Room(size)
    kept = "".join(map(room.take, pieces))
    whole = "".join(pieces)
    assert room.exceeded == (len(whole.encode()) > size)
    assert whole.startswith(kept)
    assert size - 4 < len(kept.encode()) <= size if room.exceeded else kept == whole
    reply = Reply(Message(Role.ASSISTANT, whole), FinishReason.STOP, Usage())
    cut = shortened(reply, size)
    assert cut.message.text == kept
    assert cut.finish_reason is (FinishReason.MAX_TOKENS if room.exceeded else FinishReason.STOP)
