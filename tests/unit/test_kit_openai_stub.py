"""The stub model server, driven by the client that Turnkeep drives the real one with."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

import openai
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI

from tests.kit.openai_stub import Fault, OpenAIStub

TIMEOUT_SECONDS = 0.3
NOTICED_WITHIN_SECONDS = 0.05


@pytest.fixture
async def stub() -> AsyncIterator[OpenAIStub]:
    async with OpenAIStub() as running:
        yield running


@pytest.fixture
async def model(stub: OpenAIStub) -> AsyncIterator[ChatOpenAI]:
    # A client of its own: ChatOpenAI's default one is shared by all event loops and never closed.
    async with openai.DefaultAsyncHttpxClient() as http:
        yield ChatOpenAI(
            model="gpt-4o-mini",
            base_url=stub.base_url,
            api_key="test",
            max_retries=0,
            timeout=TIMEOUT_SECONDS,
            stream_usage=True,
            use_responses_api=False,
            http_async_client=http,
        )


def chunks_of(model: ChatOpenAI, text: str) -> aclosing[AsyncGenerator[AIMessageChunk, None]]:
    """A streamed reply that is closed when its block is left; `break` alone would not close it."""
    return aclosing(cast(AsyncGenerator[AIMessageChunk, None], model.astream(text)))


async def streamed(model: ChatOpenAI, text: str) -> tuple[list[str], AIMessageChunk]:
    """The deltas of a streamed reply and the whole that they add up to."""
    deltas: list[str] = []
    whole: AIMessageChunk | None = None
    async with chunks_of(model, text) as chunks:
        async for chunk in chunks:
            deltas += [chunk.text] if chunk.text else []
            whole = chunk if whole is None else whole + chunk
    assert whole is not None
    return deltas, whole


async def test_a_unary_call_is_answered_with_usage(stub: OpenAIStub, model: ChatOpenAI) -> None:
    reply = await model.ainvoke([("system", "Be kind."), ("human", "Привет, Виктор 👋🏽")])

    assert reply.text == "reply to: Привет, Виктор 👋🏽"
    assert reply.response_metadata["finish_reason"] == "stop"
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_tokens"] == 2 + 5
    assert reply.usage_metadata["output_tokens"] == 7
    assert reply.usage_metadata["total_tokens"] == 14


async def test_every_call_is_recorded_as_it_came(stub: OpenAIStub, model: ChatOpenAI) -> None:
    await model.ainvoke([("system", "Be kind."), ("human", "你好")])
    await streamed(model, "hello")

    assert stub.inputs == [[("system", "Be kind."), ("user", "你好")], [("user", "hello")]]
    assert [call.stream for call in stub.calls] == [False, True]
    assert all(call.finished and call.closed_at is None for call in stub.calls)
    assert stub.calls[0].started_at <= stub.calls[1].started_at
    assert stub.calls[1].body["stream_options"] == {"include_usage": True}


async def test_a_stream_comes_in_deltas_and_ends_with_usage(
    stub: OpenAIStub, model: ChatOpenAI
) -> None:
    stub.reply = lambda messages: "один два 三四 👍"
    stub.deltas = lambda text: [text[:5], text[5:9], text[9:]]

    deltas, whole = await streamed(model, "count")

    assert deltas == ["один ", "два ", "三四 👍"]
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] == 2 + 4


async def test_the_delay_comes_before_the_first_byte_and_deltas_have_their_own(
    stub: OpenAIStub, model: ChatOpenAI
) -> None:
    stub.reply = lambda messages: "12345678"
    stub.delay_seconds = 0.06
    stub.delta_delay_seconds = 0.04
    started_at = time.monotonic()
    arrivals: list[float] = []
    async for chunk in model.astream("count"):
        arrivals += [time.monotonic() - started_at] if chunk.text else []

    assert len(arrivals) == 2
    assert arrivals[0] >= 0.1
    assert arrivals[1] >= 0.14


async def test_a_stream_that_the_client_leaves_is_noticed_at_once(
    stub: OpenAIStub, model: ChatOpenAI
) -> None:
    stub.delta_delay_seconds = 0.01
    stub.reply = lambda messages: "x" * 4_000
    async with chunks_of(model, "go on") as chunks:
        heard = 0
        async for chunk in chunks:
            heard += bool(chunk.text)
            if heard == 3:
                break
        left_at = time.monotonic()
    (call,) = stub.calls
    await call.ended()

    assert call.closed_at is not None
    assert call.closed_at - left_at < NOTICED_WITHIN_SECONDS
    assert not call.finished


@pytest.mark.parametrize("fault", [None, Fault.HANG, Fault.HANG_MID_STREAM])
async def test_a_unary_call_that_the_client_cancels_is_noticed_at_once(
    stub: OpenAIStub, model: ChatOpenAI, fault: Fault | None
) -> None:
    stub.delay_seconds = 0.0 if fault else 5.0
    stub.faults.append(fault)
    task = asyncio.create_task(model.ainvoke("hello"))
    call = await stub.arrived(1)
    await asyncio.sleep(0.02)

    cancelled_at = time.monotonic()
    task.cancel()
    await asyncio.wait([task])
    await call.ended()

    assert call.closed_at is not None
    assert 0 <= call.closed_at - cancelled_at < NOTICED_WITHIN_SECONDS


async def test_a_gate_holds_the_calls_that_it_wants_to(stub: OpenAIStub, model: ChatOpenAI) -> None:
    opened = asyncio.Event()

    async def gate(call: object) -> None:
        if call is stub.calls[0]:
            await opened.wait()

    stub.gate = gate
    first = asyncio.create_task(model.ainvoke("first"))
    await stub.arrived(1)
    assert (await model.ainvoke("second")).text == "reply to: second"
    assert not first.done()
    opened.set()
    assert (await first).text == "reply to: first"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.RATE_LIMITED, 429, "rate_limit_exceeded"),
        (Fault.QUOTA, 429, "insufficient_quota"),
        (Fault.SERVER_ERROR, 500, None),
        (Fault.BAD_GATEWAY_HTML, 502, None),
        (Fault.UNAUTHORIZED, 401, "invalid_api_key"),
        (Fault.UNKNOWN_MODEL, 404, "model_not_found"),
        (Fault.BAD_REQUEST, 400, "decimal_above_max_value"),
        (Fault.CONTEXT_TOO_LONG, 400, "context_length_exceeded"),
        (Fault.CONTENT_FILTER, 400, "content_filter"),
    ],
)
async def test_an_error_reply_has_the_status_and_the_code_of_the_real_one(
    stub: OpenAIStub, model: ChatOpenAI, fault: Fault, status: int, code: str | None
) -> None:
    stub.always(fault)
    with pytest.raises(openai.APIStatusError) as unary:
        await model.ainvoke("hello")
    with pytest.raises(openai.APIStatusError) as streaming:
        await streamed(model, "hello")
    stub.heal()

    for raised in (unary, streaming):
        assert (raised.value.status_code, raised.value.code) == (status, code)
    assert (await model.ainvoke("hello")).text == "reply to: hello"


async def test_a_rate_limit_says_when_to_come_back_if_it_is_told_to(
    stub: OpenAIStub, model: ChatOpenAI
) -> None:
    stub.retry_after = "7"
    stub.faults.append(Fault.RATE_LIMITED)
    with pytest.raises(openai.RateLimitError) as raised:
        await model.ainvoke("hello")
    assert raised.value.response.headers["retry-after"] == "7"


async def test_faults_are_used_up_one_a_call(stub: OpenAIStub, model: ChatOpenAI) -> None:
    stub.faults.extend([Fault.SERVER_ERROR, None, Fault.LENGTH])
    with pytest.raises(openai.InternalServerError):
        await model.ainvoke("hello")
    finishes = [(await model.ainvoke("hello")).response_metadata["finish_reason"] for _ in range(3)]
    assert finishes == ["stop", "length", "stop"]


@pytest.mark.parametrize(
    ("fault", "text", "finish_reason"),
    [
        (Fault.CONTENT_FILTER_FINISH, "", "content_filter"),
        (Fault.CONTENT_FILTER_PARTIAL, "reply to", "content_filter"),
        (Fault.LENGTH, "reply to: hello!", "length"),
        (Fault.TOOL_CALLS, "", "tool_calls"),
        (Fault.SURROGATE, "reply to: hello!\ud83d", "stop"),
    ],
)
async def test_an_odd_answer_is_the_same_unary_and_streaming(
    stub: OpenAIStub, model: ChatOpenAI, fault: Fault, text: str, finish_reason: str
) -> None:
    stub.always(fault)
    unary = await model.ainvoke("hello!")
    _, streaming = await streamed(model, "hello!")

    for reply in (unary, streaming):
        assert reply.text == text
        assert reply.response_metadata["finish_reason"] == finish_reason
        assert reply.usage_metadata is not None
    assert unary.tool_calls == streaming.tool_calls
    assert [call["args"] for call in unary.tool_calls] == (
        [{"city": "Köln", "days": 3}] if fault is Fault.TOOL_CALLS else []
    )


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.EARLY_END, openai.APIConnectionError),
        (Fault.CUT, openai.APIConnectionError),
        (Fault.HANG, openai.APITimeoutError),
        (Fault.HANG_MID_STREAM, openai.APITimeoutError),
        (Fault.ERROR_EVENT, openai.InternalServerError),
        (Fault.ERROR_EVENT_FIRST, openai.InternalServerError),
        (Fault.EMPTY_CHOICES, IndexError),
        (Fault.NULL_CHOICES, TypeError),
        (Fault.RUBBISH, ValueError),
        (Fault.RUBBISH_HTML, ValueError),
    ],
)
async def test_a_broken_unary_answer_raises(
    stub: OpenAIStub, model: ChatOpenAI, fault: Fault, error: type[Exception]
) -> None:
    stub.faults.append(fault)
    with pytest.raises(error):
        await model.ainvoke("hello")
    assert (await model.ainvoke("hello")).text == "reply to: hello"


@pytest.mark.parametrize(
    ("fault", "error", "deltas"),
    [
        (Fault.CUT, openai.APIConnectionError, 3),
        (Fault.HANG, openai.APITimeoutError, 0),
        (Fault.HANG_MID_STREAM, openai.APITimeoutError, 3),
        (Fault.ERROR_EVENT, openai.APIError, 3),
        (Fault.ERROR_EVENT_FIRST, openai.APIError, 0),
        (Fault.RUBBISH, ValueError, 3),
        (Fault.RUBBISH_HTML, ValueError, 0),
    ],
)
async def test_a_stream_breaks_after_the_deltas_that_it_promised(
    stub: OpenAIStub, model: ChatOpenAI, fault: Fault, error: type[Exception], deltas: int
) -> None:
    stub.faults.append(fault)
    heard: list[str] = []

    async def listen() -> None:
        async for chunk in model.astream("hello"):
            heard.extend([chunk.text] if chunk.text else [])

    with pytest.raises(error):
        await listen()
    assert len(heard) == deltas


@pytest.mark.parametrize("fault", [Fault.EARLY_END, Fault.EMPTY_CHOICES, Fault.NULL_CHOICES])
async def test_a_stream_that_ends_without_a_finish_reason_looks_like_success(
    stub: OpenAIStub, model: ChatOpenAI, fault: Fault
) -> None:
    stub.faults.append(fault)
    deltas, whole = await streamed(model, "hello")
    assert len(deltas) == (3 if fault is Fault.EARLY_END else 0)
    assert "finish_reason" not in whole.response_metadata


async def test_a_stub_that_refuses_comes_back_on_the_same_port(
    stub: OpenAIStub, model: ChatOpenAI
) -> None:
    base_url = stub.base_url
    await model.ainvoke("before")
    await stub.refuse()
    with pytest.raises(openai.APIConnectionError):
        await model.ainvoke("refused")
    await stub.resume()

    assert (await model.ainvoke("after")).text == "reply to: after"
    assert stub.base_url == base_url
    assert [call[-1][1] for call in stub.inputs] == ["before", "after"]


async def test_a_stub_that_goes_down_does_not_say_that_the_peer_left(
    stub: OpenAIStub, model: ChatOpenAI
) -> None:
    stub.faults.append(Fault.HANG)
    task = asyncio.create_task(model.ainvoke("hello"))
    call = await stub.arrived(1)
    await stub.refuse()
    with pytest.raises(openai.APIConnectionError) as raised:
        await task
    assert not isinstance(raised.value, openai.APITimeoutError)
    assert call.closed_at is None
    assert not call.finished
