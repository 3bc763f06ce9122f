"""Asked directly or through OpenAI's SDK: the same is sent, and the same comes of every answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.globals import set_debug
from pydantic import SecretStr

from tests.kit.openai_stub import Fault, OpenAIStub
from turnkeep_server.chain import Chain, Question
from turnkeep_server.commands import ModelOptions
from turnkeep_server.deadlines import Deadline
from turnkeep_server.direct_chain import DirectPromptAndModel, stock_chain
from turnkeep_server.errors import TurnkeepError
from turnkeep_server.model_catalog import Models
from turnkeep_server.models import opened_model
from turnkeep_server.prompt_and_model import PromptAndModel
from turnkeep_server.prompts import DEFAULT, Prompts, parse_prompt
from turnkeep_server.settings import Settings
from turnkeep_server.turns import (
    FilePart,
    ImagePart,
    Message,
    Reply,
    Role,
    TextPart,
    ToolCall,
)

NAMES = ("gpt-4o-mini", "o4-mini")
SYSTEM = "Ты помощник. {{так}} {topic}"
AWKWARD = 'a"b\\c\n\t\x00\x7f {topic} {0} 说你好 👩‍👩‍👧 مرحبا \u2028 \ufeff'
TOOLS = ToolCall("call-1", "погода", '{"город": "Москва", "дни": [1, 2.5, null]}')
BROKEN = ToolCall("call-2", "x", '{"a": ')
ESCAPED = ToolCall("call-3", "x", '{"a": "\\ud83d\\ude00"}')

HISTORIES: dict[str, tuple[Message, ...]] = {
    "none": (),
    "plain": (Message(Role.USER, "Привет"), Message(Role.ASSISTANT, AWKWARD)),
    "a summary": (Message(Role.SYSTEM, "Раньше: имя Виктор"), Message(Role.USER, "да")),
    "empty texts": (Message(Role.USER, ""), Message(Role.ASSISTANT, "")),
    "names": (Message(Role.USER, "a", name="Виктор"), Message(Role.ASSISTANT, "b", name="bot")),
    "tools": (
        Message(Role.USER, "погода?"),
        Message(Role.ASSISTANT, "", tool_calls=(TOOLS, ESCAPED)),
        Message(Role.TOOL, "+5", tool_call_id="call-1"),
        Message(Role.TOOL, AWKWARD, tool_call_id="call-3", name="x"),
        Message(Role.ASSISTANT, "плюс пять", tool_calls=(TOOLS, BROKEN)),
        Message(Role.TOOL, "", tool_call_id="call-2"),
    ),
    "parts": (
        Message(
            Role.USER,
            parts=(TextPart("что это?"), ImagePart("https://example.org/ж.png"), TextPart(AWKWARD)),
        ),
        Message(Role.ASSISTANT, parts=(TextPart("кот"),)),
        Message(Role.USER, parts=(FilePart("отчёт.pdf", "application/pdf", b"\x00\xff"),)),
        Message(Role.SYSTEM, parts=(TextPart("s"),)),
    ),
}
QUESTIONS = {
    "text": Message(Role.USER, AWKWARD),
    "parts": Message(Role.USER, parts=(TextPart("a"), ImagePart("data:image/png;base64,AA=="))),
    "name": Message(Role.USER, "a", name="Виктор"),
    "tool": Message(Role.TOOL, "+5", tool_call_id="call-1"),
}
OPTIONS = {
    "none": ModelOptions(),
    "all": ModelOptions("gpt-4o-mini", 0.5, 0.9, 100, 7, ("СТОП", "\n")),
    "another model": ModelOptions("o4-mini", temperature=1.0),
    "zeros": ModelOptions(temperature=0.0, seed=0),
}


@pytest.fixture
async def stub() -> AsyncIterator[OpenAIStub]:
    async with OpenAIStub() as running:
        yield running


def settings(stub: OpenAIStub, client: str) -> Settings:
    return Settings.model_validate(
        {
            "model": NAMES[0],
            "model_client": client,
            "OPENAI_API_KEY": SecretStr("test"),
            "OPENAI_BASE_URL": stub.base_url,
        }
    )


@pytest.fixture
async def forms(stub: OpenAIStub) -> AsyncIterator[dict[tuple[str, str], PromptAndModel]]:
    """The stock chain by (client, model)."""
    made: dict[tuple[str, str], PromptAndModel] = {}
    prompts = Prompts({DEFAULT: parse_prompt(DEFAULT, SYSTEM, {"topic": "кошки {x}"})})
    async with AsyncExitStack() as stack:
        for client in ("sdk", "direct"):
            for name in NAMES:
                model = await stack.enter_async_context(opened_model(settings(stub, client), name))
                made[client, name] = stock_chain(
                    model, built_for=name, prompts=prompts, models=Models(name, NAMES, {})
                )
        yield made


def asked(
    form: PromptAndModel,
    message: Message,
    options: ModelOptions | None = None,
    history: tuple[Message, ...] = (),
) -> Question:
    made = form.question(message, prompt="", variables={}, options=options or ModelOptions())
    return replace(made, history=history)


Outcome = tuple[Any, ...]


async def outcome(
    form: PromptAndModel, question: Question, *, stream: bool, within_seconds: float = 20.0
) -> Outcome:
    """The pieces and the reply, or how it failed."""
    chain, deadline = Chain(form, attempts=1), Deadline.after(within_seconds)
    pieces: list[str] = []
    try:
        if not stream:
            return _said(await chain.reply(question, deadline))
        async for piece in chain.stream(question, deadline):
            if isinstance(piece, Reply):
                return (*pieces, _said(piece))
            pieces.append(piece)
    except TurnkeepError as error:
        cause = type(error.__cause__).__name__ if stream else ""
        return (*pieces, type(error), error.message, error.retry_after_seconds, bool(cause))
    raise AssertionError("a stream without an end")


def _said(reply: Reply) -> Outcome:
    return reply.message, reply.finish_reason, reply.usage


def in_order(body: dict[str, Any]) -> str:
    """The request with its fields sorted by name; the SDK has an order of its own for them."""
    return json.dumps(body, ensure_ascii=False, sort_keys=True)


def test_nobody_listens_so_it_is_asked_directly(
    forms: dict[tuple[str, str], PromptAndModel],
) -> None:
    assert {type(each) for (client, _), each in forms.items() if client == "direct"} == {
        DirectPromptAndModel
    }
    assert {type(each) for (client, _), each in forms.items() if client == "sdk"} == {
        PromptAndModel
    }


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("name", NAMES)
async def test_the_same_is_sent(
    stub: OpenAIStub,
    forms: dict[tuple[str, str], PromptAndModel],
    name: str,
    *,
    stream: bool,
) -> None:
    """Field for field, the messages in the same order, for every kind of message and option."""
    for history in HISTORIES.values():
        for question in QUESTIONS.values():
            for options in OPTIONS.values():
                stub.calls.clear()
                for client in ("sdk", "direct"):
                    form = forms[client, name]
                    await outcome(form, asked(form, question, options, history), stream=stream)
                by_sdk, direct = (in_order(each.body) for each in stub.calls)
                assert direct == by_sdk


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_the_model_in_a_chain_of_langchains_sends_the_same_too(
    stub: OpenAIStub, forms: dict[tuple[str, str], PromptAndModel], *, stream: bool
) -> None:
    """As it is run where somebody listens."""
    direct = forms["direct", NAMES[0]]
    run = PromptAndModel(
        direct._model, built_for=NAMES[0], prompts=direct._prompts, models=direct._models
    )
    question = asked(direct, QUESTIONS["text"], OPTIONS["all"], HISTORIES["tools"])
    expected = await outcome(direct, question, stream=stream)
    assert await outcome(run, question, stream=stream) == expected
    assert stub.calls[0].body == stub.calls[1].body


async def test_half_a_pair_that_stops_the_sdk_is_sent_escaped(
    stub: OpenAIStub, forms: dict[tuple[str, str], PromptAndModel]
) -> None:
    half = ToolCall("call-1", "x", '{"a": "\\ud83d"}')
    history = (Message(Role.ASSISTANT, "", tool_calls=(half,)),)
    form = forms["direct", NAMES[0]]
    await outcome(form, asked(form, QUESTIONS["tool"], None, history), stream=False)
    (call,) = stub.calls[0].messages[1]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"a": "\ud83d"}


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("fault", [None, *Fault], ids=str)
async def test_the_same_comes_of_every_answer(
    stub: OpenAIStub,
    forms: dict[tuple[str, str], PromptAndModel],
    fault: Fault | None,
    *,
    stream: bool,
) -> None:
    """The reply and its pieces, or the failure, whatever the provider does."""
    stub.reply = lambda _: AWKWARD * 20
    stub.retry_after = "7"
    outcomes = []
    within_seconds = 0.5 if fault in {Fault.HANG, Fault.HANG_MID_STREAM} else 20.0
    for client in ("sdk", "direct"):
        stub.faults.append(fault)
        form = forms[client, NAMES[0]]
        question = asked(form, QUESTIONS["text"])
        outcomes.append(await outcome(form, question, stream=stream, within_seconds=within_seconds))
    assert outcomes[0] == outcomes[1]


async def test_a_connection_is_used_again_and_closed_when_a_call_is_cut_off(
    stub: OpenAIStub, forms: dict[tuple[str, str], PromptAndModel]
) -> None:
    form = forms["direct", NAMES[0]]
    session = form._model.completions._session  # type: ignore[attr-defined]
    for stream in (False, True, True, False):
        await outcome(form, asked(form, QUESTIONS["text"]), stream=stream)
    (idle,) = session.connector._conns.values()
    assert len(idle) == 1

    stub.delta_delay_seconds = 0.02
    stream_of_it = Chain(form).stream(asked(form, QUESTIONS["text"]), Deadline.after(5))
    await anext(stream_of_it)
    await stream_of_it.aclose()
    stub.delay_seconds = 5.0
    whole = asyncio.ensure_future(
        Chain(form).reply(asked(form, QUESTIONS["text"]), Deadline.after(9))
    )
    await asyncio.sleep(0.05)
    whole.cancel()
    for call in stub.calls[-2:]:
        await call.ended(1)
        assert call.closed_at is not None
    assert not session.connector._acquired


async def test_where_somebody_listens_langchain_runs_it(stub: OpenAIStub) -> None:
    prompts = Prompts({DEFAULT: parse_prompt(DEFAULT, SYSTEM, {"topic": "x"})})
    async with opened_model(settings(stub, "direct"), NAMES[0]) as model:
        set_debug(True)
        try:
            form = stock_chain(
                model, built_for=NAMES[0], prompts=prompts, models=Models(NAMES[0], (), {})
            )
        finally:
            set_debug(False)
    assert type(form) is PromptAndModel


@pytest.mark.parametrize("client", ["direct", "sdk"])
async def test_behind_a_proxy_it_is_always_the_sdk(
    stub: OpenAIStub, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with opened_model(settings(stub, client), NAMES[0]) as model:
        assert type(model).__name__ == "ChatOpenAI"


async def test_a_refusal_is_what_the_model_says(
    forms: dict[tuple[str, str], PromptAndModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = {"role": "assistant", "content": None, "refusal": "Не могу"}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    async def whole(*_: Any) -> Any:
        return answer

    form = forms["direct", NAMES[0]]
    monkeypatch.setattr(form._model.completions, "whole", whole)  # type: ignore[attr-defined]
    reply = await Chain(form).reply(asked(form, QUESTIONS["text"]), Deadline.after(20))
    assert reply.message.text == "Не могу"
