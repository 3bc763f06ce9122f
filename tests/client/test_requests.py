"""What callers may pass, and what they are told when it is something else."""

from dataclasses import replace
from typing import Any

import pytest

from tests.client.conftest import Caller
from tests.client.scripted_server import ScriptedServer
from turnkeep import FilePart, ImagePart, Message, TextPart, ToolCall
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.wire import message_from_wire, message_to_wire

SAID = Message(
    "assistant",
    parts=(
        TextPart("Что здесь? 這是什麼?"),
        ImagePart("https://example/зима.png"),
        FilePart("отчёт.pdf", "application/pdf", b"\x00\xff"),
    ),
    name="помощник",
    tool_calls=(ToolCall("c-1", "погода", '{"город": "Казань"}'),),
    metadata={"ключ": "值 🙂"},
)


@pytest.mark.parametrize(
    "message",
    [
        "Привет 🙂",
        ("user", "Привет 🙂"),
        {"role": "user", "content": "Привет 🙂"},
        Message("user", "Привет 🙂"),
        pb.Message(role=pb.ROLE_USER, text="Привет 🙂"),
    ],
    ids=["text", "pair", "dict", "ours", "wire's"],
)
async def test_a_message_may_be_given_in_any_of_these_forms(
    server: ScriptedServer, caller: Caller, message: Any
) -> None:
    added = await caller.add([message])
    assert server.attempts[0].request.messages == [pb.Message(role=pb.ROLE_USER, text="Привет 🙂")]
    assert added.messages == (Message("user", "Привет 🙂"),)


def test_a_message_comes_back_as_it_went() -> None:
    assert message_from_wire(message_to_wire(SAID)) == SAID
    result = Message("tool", "18°C", tool_call_id="c-1")
    assert message_from_wire(message_to_wire(result)) == result


async def test_a_word_of_a_newer_contract_is_unspecified() -> None:
    newer = pb.Message.FromString(pb.Message(text="?").SerializeToString() + b"\x18\x63")
    assert newer.role == 99
    assert message_from_wire(newer).role == "unspecified"


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ("Привет", "a list of messages"),
        ({"role": "user", "content": "Привет"}, "a list of messages"),
        ([("human", "Привет")], "'human'"),
        ([7], "not a int"),
        ([{"role": "user", "content": "Привет", "name": "Виктор"}], "not a dict of another form"),
        ([("user", "Привет", "лишнее")], "not a tuple of another form"),
    ],
)
async def test_what_is_no_message_is_refused_before_anything_is_sent(
    server: ScriptedServer, caller: Caller, messages: Any, problem: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        await caller.add(messages)
    assert server.attempts == []


async def test_every_option_goes_where_the_contract_has_it(
    server: ScriptedServer, caller: Caller
) -> None:
    await caller.chat(
        "Привет",
        prompt="expert",
        variables={"topic": "математика"},
        model="gpt-4o",
        temperature=0.0,
        top_p=0.5,
        max_output_tokens=10,
        seed=0,
        stop=["конец"],
        max_input_tokens=1_000,
        max_messages=0,
        on_conflict="reject",
        expected_sequence=0,
        request_id="r-1",
        timeout_seconds=5,
    )
    assert server.attempts[0].request == pb.ChatRequest(
        session_id="42",
        user_id="victor",
        request_id="r-1",
        text="Привет",
        prompt="expert",
        variables={"topic": "математика"},
        options=pb.ModelOptions(
            model="gpt-4o",
            temperature=0.0,
            top_p=0.5,
            max_output_tokens=10,
            seed=0,
            stop=["конец"],
        ),
        context=pb.ContextPolicy(max_input_tokens=1_000, max_messages=0),
        on_conflict=pb.CONFLICT_POLICY_REJECT,
        expected_sequence=0,
    )


async def test_an_option_that_is_none_is_as_if_it_were_not_there(
    server: ScriptedServer, caller: Caller
) -> None:
    await caller.chat("Привет", model=None, max_messages=None, prompt=None, request_id="r-1")
    assert server.attempts[0].request == pb.ChatRequest(
        session_id="42",
        user_id="victor",
        request_id="r-1",
        text="Привет",
        options=pb.ModelOptions(),
        context=pb.ContextPolicy(),
        on_conflict=pb.CONFLICT_POLICY_WAIT,
    )


async def test_an_option_that_does_not_exist_is_named(
    server: ScriptedServer, caller: Caller
) -> None:
    with pytest.raises(TypeError, match="temprature"):
        await caller.chat("Привет", temprature=1)
    with pytest.raises(ValueError, match="wait"):
        await caller.chat("Привет", on_conflict="queue")
    assert server.attempts == []


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ({"stop": "конец"}, "stop is a list"),
        ({"variables": {"число": 5}}, "variable число is a text, not a int"),
    ],
)
async def test_an_option_of_another_type_is_named(
    server: ScriptedServer, caller: Caller, option: dict[str, Any], problem: str
) -> None:
    with pytest.raises(TypeError, match=problem):
        await caller.chat("Привет", **option)
    assert server.attempts == []


@pytest.mark.parametrize("ids", [(42,), (None,), (b"42",), ("42", None)])
async def test_an_id_that_is_no_text_is_refused_where_it_is_given(
    caller: Caller, ids: tuple[Any, ...]
) -> None:
    with pytest.raises(TypeError, match="_id is a text, not a"):
        caller.client.session(*ids)


def test_messages_are_compared_and_shown_by_all_their_fields() -> None:
    assert replace(SAID) == SAID
    assert replace(SAID, name="другой") != SAID
    assert TextPart("Привет") != ImagePart("Привет")
    assert repr(ToolCall("c-1", "погода")) == (
        "ToolCall(id='c-1', name='погода', arguments_json='{}')"
    )
    with pytest.raises(TypeError, match="unhashable"):
        hash(SAID)
