"""Failures that pass: tried again inside the call, before the first token, inside the deadline."""

import time

import grpc
import pytest

from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.status import error_of
from tests.rpc.session import Session, joined

pytestmark = pytest.mark.asyncio(loop_scope="session")

PASS_UNARY = [Fault.SERVER_ERROR, Fault.RATE_LIMITED, Fault.CUT, Fault.EMPTY_CHOICES, Fault.RUBBISH]
PASS_STREAMED = [
    Fault.SERVER_ERROR,
    Fault.RATE_LIMITED,
    Fault.ERROR_EVENT_FIRST,
    Fault.EMPTY_CHOICES,
    Fault.RUBBISH_HTML,
]
LAST = [Fault.QUOTA, Fault.UNAUTHORIZED, Fault.BAD_REQUEST, Fault.CONTENT_FILTER]
HALF_SAID = [Fault.CUT, Fault.EARLY_END, Fault.ERROR_EVENT, Fault.RUBBISH]
each_way = pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])


@pytest.mark.parametrize("fault", PASS_UNARY)
async def test_a_failure_that_passes_is_not_seen_by_chats_caller(
    session: Session, model: OpenAIStub, fault: Fault
) -> None:
    """Two HTTP calls with the same body, one turn."""
    model.retry_after = "0"
    model.faults.append(fault)
    answer = await session.chat("Привет")

    assert (answer.sequence, answer.message.text) == (1, "reply to: Привет")
    assert len(await session.everything()) == 2
    assert len(model.calls) == 2
    assert model.calls[0].body == model.calls[1].body


@pytest.mark.parametrize("fault", PASS_STREAMED)
async def test_a_failure_before_the_first_token_is_not_seen_by_a_streams_caller(
    session: Session, model: OpenAIStub, fault: Fault
) -> None:
    """Two HTTP calls, one turn, and the stream is started once."""
    model.retry_after = "0"
    model.faults.append(fault)
    events = await session.streamed("Привет")

    assert [each.HasField("started") for each in events].count(True) == 1
    assert joined(events) == events[-1].completed.message.text == "reply to: Привет"
    assert len(await session.everything()) == 2
    assert len(model.calls) == 2


@pytest.mark.parametrize("fault", HALF_SAID)
async def test_a_stream_is_not_begun_again_after_its_first_token(
    session: Session, model: OpenAIStub, fault: Fault
) -> None:
    """What was said cannot be taken back: the stream fails, and its caller decides."""
    model.faults.append(fault)
    error = await error_of(session.streamed("Привет"))

    assert error.what == (grpc.StatusCode.UNAVAILABLE, "MODEL_STREAM_BROKEN")
    assert len(model.calls) == 1


@each_way
@pytest.mark.parametrize("fault", LAST)
async def test_a_failure_that_does_not_pass_is_told_at_once(
    session: Session, model: OpenAIStub, fault: Fault, streams: bool
) -> None:
    """Asking again would change nothing: one HTTP call."""
    model.faults.append(fault)
    await error_of(session.streamed("Привет") if streams else session.chat("Привет"))

    assert len(model.calls) == 1


@each_way
async def test_a_failure_that_stays_is_tried_three_times(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """TURNKEEP_MODEL_ATTEMPTS is the number of HTTP calls in all."""
    model.always(Fault.SERVER_ERROR)
    await error_of(session.streamed("Привет") if streams else session.chat("Привет"))

    assert len(model.calls) == 3


@each_way
async def test_the_provider_is_given_the_time_it_asks_for(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """A Retry-After that fits into the deadline is waited for."""
    model.retry_after = "0.4"
    model.faults.append(Fault.RATE_LIMITED)
    await (session.streamed("Привет") if streams else session.chat("Привет"))

    first, second = model.calls
    assert second.started_at - first.started_at >= 0.4


@each_way
async def test_a_retry_after_beyond_the_deadline_is_passed_on_at_once(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """The caller hears how long to wait, not that the deadline has come."""
    model.retry_after = "30"
    model.faults.append(Fault.RATE_LIMITED)
    began = time.monotonic()
    call = session.streamed if streams else session.chat
    error = await error_of(call("Привет", timeout=5))

    assert error.what == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MODEL_RATE_LIMITED")
    assert error.retry_after_seconds == 30
    assert time.monotonic() - began < 3
    assert len(model.calls) == 1


@each_way
async def test_retries_end_with_the_deadline(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """A slow failure is told by the server as what it is, not by gRPC as a bare deadline."""
    model.delay_seconds = 1.0
    model.always(Fault.SERVER_ERROR)
    call = session.streamed if streams else session.chat
    error = await error_of(call("Привет", timeout=2.2))

    assert error.reason in {"MODEL_UNAVAILABLE", "MODEL_TIMEOUT"}
    assert len(model.calls) < 3
