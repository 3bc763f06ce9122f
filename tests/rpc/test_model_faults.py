"""What the model's failures are to a caller, and what is left of such a turn."""

from contextlib import AsyncExitStack

import grpc
import pytest

from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.status import CallError, error_of
from tests.rpc.session import Events, Session, joined, new_id, texts
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = "Чему равен синус 30°?"
UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "MODEL_UNAVAILABLE")
BROKEN = (grpc.StatusCode.UNAVAILABLE, "MODEL_STREAM_BROKEN")
RATE_LIMITED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "MODEL_RATE_LIMITED")
QUOTA = (grpc.StatusCode.RESOURCE_EXHAUSTED, "MODEL_QUOTA_EXHAUSTED")
INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
TOO_LARGE = (grpc.StatusCode.FAILED_PRECONDITION, "CONTEXT_TOO_LARGE")
FILTERED = (grpc.StatusCode.FAILED_PRECONDITION, "CONTENT_FILTERED")
TIMEOUT = (grpc.StatusCode.DEADLINE_EXCEEDED, "MODEL_TIMEOUT")

# Chat's error, StreamChat's error, and how many deltas had come by then.
ERRORS = {
    Fault.RATE_LIMITED: (RATE_LIMITED, RATE_LIMITED, 0),
    Fault.QUOTA: (QUOTA, QUOTA, 0),
    Fault.SERVER_ERROR: (UNAVAILABLE, UNAVAILABLE, 0),
    Fault.BAD_GATEWAY_HTML: (UNAVAILABLE, UNAVAILABLE, 0),
    Fault.UNAUTHORIZED: (UNAVAILABLE, UNAVAILABLE, 0),
    Fault.UNKNOWN_MODEL: (UNAVAILABLE, UNAVAILABLE, 0),
    Fault.BAD_REQUEST: (INVALID, INVALID, 0),
    Fault.CONTEXT_TOO_LONG: (TOO_LARGE, TOO_LARGE, 0),
    Fault.CONTENT_FILTER: (FILTERED, FILTERED, 0),
    Fault.CONTENT_FILTER_FINISH: (FILTERED, FILTERED, 0),
    Fault.EMPTY_CHOICES: (UNAVAILABLE, BROKEN, 0),
    Fault.NULL_CHOICES: (UNAVAILABLE, BROKEN, 0),
    Fault.RUBBISH: (UNAVAILABLE, BROKEN, 3),
    Fault.RUBBISH_HTML: (UNAVAILABLE, UNAVAILABLE, 0),
    Fault.EARLY_END: (UNAVAILABLE, BROKEN, 3),
    Fault.CUT: (UNAVAILABLE, BROKEN, 3),
    Fault.ERROR_EVENT: (UNAVAILABLE, BROKEN, 3),
    Fault.ERROR_EVENT_FIRST: (UNAVAILABLE, BROKEN, 0),
    Fault.HANG: (TIMEOUT, TIMEOUT, 0),
    Fault.HANG_MID_STREAM: (TIMEOUT, TIMEOUT, 3),
}
PROVIDER_TEXT = (
    "openai",
    "gpt-4o",
    "org-0",
    "Sorry",
    "Incorrect",
    "html",
    "cloudflare",
    "Traceback",
)


async def _fails(
    session: Session, streams: bool, request_id: str, timeout: float = 20
) -> tuple[CallError, Events]:
    events: Events = []
    fields = {"request_id": request_id, "timeout": timeout}
    if streams:
        return await error_of(session.streamed(QUESTION, into=events, **fields)), events
    return await error_of(session.chat(QUESTION, **fields)), events


def _check(error: CallError, expected: tuple[grpc.StatusCode, str]) -> None:
    assert error.what == expected
    assert error.domain == "turnkeep.v1"
    assert (error.retry_after_seconds is not None) == (error.reason == "MODEL_RATE_LIMITED")
    leaked = [word for word in PROVIDER_TEXT if word.encode() in error.encoded]
    assert not leaked


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize("fault", ERRORS)
async def test_a_failure_of_the_model_is_told_stored_and_passes(
    session: Session, model: OpenAIStub, fault: Fault, streams: bool
) -> None:
    """Status and reason as the contract says, nothing of the provider's text; the turn is FAILED
    with what had come, out of the history, and the same request_id then succeeds."""
    request_id = new_id("r")
    model.retry_after = "0"
    model.always(fault)
    timeout = 2.0 if fault in (Fault.HANG, Fault.HANG_MID_STREAM) else 20
    error, events = await _fails(session, streams, request_id, timeout)
    chat_error, stream_error, deltas = ERRORS[fault]
    _check(error, stream_error if streams else chat_error)

    kept = joined(events)
    reply = f"reply to: {QUESTION}"
    assert kept == ("".join(model.deltas(reply)[:deltas]) if streams else "")
    said = [("user", QUESTION), *([("assistant", kept)] if kept else [])]
    assert await session.messages() == []
    failed = await session.everything()
    assert texts(failed) == said
    assert {each.status for each in failed} == {pb.TURN_STATUS_FAILED}

    model.heal()
    answer = await session.chat(QUESTION, request_id=request_id)
    assert (answer.sequence, answer.replayed) == (2, False)
    assert texts(await session.messages()) == [("user", QUESTION), ("assistant", reply)]
    assert [role for role, _ in model.inputs[-1]] == ["system", "user"]


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_provider_that_is_down_is_told_as_unavailable(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """A refused connection is MODEL_UNAVAILABLE, and passes when the provider is up again."""
    request_id = new_id("r")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(model.resume)
        await model.refuse()
        error, _ = await _fails(session, streams, request_id)
    _check(error, UNAVAILABLE)

    assert texts(await session.everything()) == [("user", QUESTION)]
    assert (await session.chat(QUESTION, request_id=request_id)).sequence == 2


async def test_every_fault_of_the_kit_is_accounted_for() -> None:
    """A fault is in the table above, or it is a whole answer, shown in test_chat_content."""
    whole = {Fault.CONTENT_FILTER_PARTIAL, Fault.LENGTH, Fault.TOOL_CALLS, Fault.SURROGATE}
    assert set(ERRORS) | whole == set(Fault)
