"""What the client sends again, when, and with which request_id; both clients."""

import asyncio
import copy
import pickle
import time

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import status_pb2

import turnkeep
from tests.client.conftest import Caller
from tests.client.scripted_server import UNAVAILABLE, Failure, ScriptedServer

STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: turnkeep.InvalidArgument,
    grpc.StatusCode.ABORTED: turnkeep.Aborted,
    grpc.StatusCode.FAILED_PRECONDITION: turnkeep.FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: turnkeep.ResourceExhausted,
    grpc.StatusCode.DEADLINE_EXCEEDED: turnkeep.DeadlineExceeded,
    grpc.StatusCode.UNAUTHENTICATED: turnkeep.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: turnkeep.PermissionDenied,
    grpc.StatusCode.INTERNAL: turnkeep.InternalError,
    grpc.StatusCode.UNKNOWN: turnkeep.InternalError,
    grpc.StatusCode.UNIMPLEMENTED: turnkeep.InternalError,
}


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_call_that_nobody_could_answer_is_sent_again_with_the_same_request(
    server: ScriptedServer, caller: Caller, code: grpc.StatusCode
) -> None:
    server.script.extend([Failure(code), Failure(code, reason="SHUTTING_DOWN")])
    reply = await caller.chat("Как дела? 怎么样?")

    assert reply.text == "Привет 你好 🙂"
    requests = [each.request for each in server.attempts]
    assert requests == [requests[0]] * 3
    assert len(requests[0].request_id) == 32
    assert reply.request_id == requests[0].request_id


async def test_each_call_has_a_request_id_of_its_own_unless_it_is_given_one(
    server: ScriptedServer, caller: Caller
) -> None:
    await caller.chat("раз")
    await caller.chat("раз")
    await caller.add([("user", "раз")])
    await caller.chat("раз", request_id="мой".encode().hex())

    ids = [each.request.request_id for each in server.attempts]
    assert len(set(ids)) == 4
    assert ids[-1] == "мой".encode().hex()


@pytest.mark.parametrize("code", STATUSES, ids=lambda code: code.name)
async def test_what_would_fail_again_is_said_at_once(
    server: ScriptedServer, caller: Caller, code: grpc.StatusCode
) -> None:
    server.script.append(Failure(code, reason="SOME_REASON"))
    with pytest.raises(turnkeep.TurnkeepError) as caught:
        await caller.chat("Привет")

    error = caught.value
    assert type(error) is STATUSES[code]
    assert (error.code, error.reason, error.message) == (code, "SOME_REASON", "ошибка 错误")
    assert error.metadata == {"заметка": "值"}
    assert error.request_id == server.attempts[0].request.request_id
    assert error.request_id in str(error)
    assert len(server.attempts) == 1
    assert not isinstance(error, grpc.RpcError)


async def test_retry_info_says_when_to_send_again(server: ScriptedServer, caller: Caller) -> None:
    busy = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="OVERLOADED", retry_after_seconds=0.3)
    server.script.append(busy)
    began = time.monotonic()
    await caller.chat("Привет")

    assert len(server.attempts) == 2
    assert time.monotonic() - began >= 0.3


async def test_retry_info_that_is_later_than_the_deadline_is_left_to_the_caller(
    server: ScriptedServer, caller: Caller
) -> None:
    busy = Failure(
        grpc.StatusCode.RESOURCE_EXHAUSTED, reason="OVERLOADED", retry_after_seconds=30.5
    )
    server.script.append(busy)
    began = time.monotonic()
    with pytest.raises(turnkeep.ResourceExhausted) as caught:
        await caller.chat("Привет", timeout_seconds=5)

    assert time.monotonic() - began < 5
    assert caught.value.retry_after == 30.5
    assert caught.value.retryable


async def test_push_back_is_waited_for(server: ScriptedServer, caller: Caller) -> None:
    server.script.append(Failure(grpc.StatusCode.UNAVAILABLE, pushback_ms="400"))
    began = time.monotonic()
    await caller.chat("Привет")

    assert len(server.attempts) == 2
    assert time.monotonic() - began >= 0.4


@pytest.mark.parametrize("pushback_ms", ["-1", "never", ""])
async def test_a_server_that_wants_no_retry_gets_none(
    server: ScriptedServer, caller: Caller, pushback_ms: str
) -> None:
    server.script.append(Failure(grpc.StatusCode.UNAVAILABLE, pushback_ms=pushback_ms))
    with pytest.raises(turnkeep.Unavailable):
        await caller.chat("Привет")

    assert len(server.attempts) == 1


async def test_all_attempts_share_one_deadline(server: ScriptedServer, caller: Caller) -> None:
    server.script.extend([UNAVAILABLE] * 1_000)
    began = time.monotonic()
    # The latter where the last attempt's answer comes too late.
    with pytest.raises((turnkeep.Unavailable, turnkeep.DeadlineExceeded)) as caught:
        await caller.chat("Привет", timeout_seconds=1.0)

    assert time.monotonic() - began < 5
    assert caught.value.retryable
    left = [each.remaining_seconds or 0.0 for each in server.attempts]
    assert len(left) > 2
    assert left[-1] < left[0] < 1.1


async def test_the_number_of_attempts_can_be_bounded(
    server: ScriptedServer, caller_class: type[Caller]
) -> None:
    server.script.extend([UNAVAILABLE] * 3)
    caller = caller_class(server.address, max_attempts=2)
    with pytest.raises(turnkeep.Unavailable):
        await caller.chat("Привет")
    await caller.close()

    assert len(server.attempts) == 2


async def test_a_server_that_is_not_there_is_unavailable(caller_class: type[Caller]) -> None:
    caller = caller_class("127.0.0.1:1", max_attempts=3)
    with pytest.raises(turnkeep.Unavailable) as caught:
        await caller.clear()
    await caller.close()

    assert caught.value.reason == ""
    assert caught.value.request_id == ""


async def test_a_stream_is_sent_again_while_none_of_its_text_has_come(
    server: ScriptedServer, caller: Caller
) -> None:
    server.script.extend([UNAVAILABLE, Failure(grpc.StatusCode.CANCELLED)])
    pieces: list[str] = []
    reply = await caller.streamed("Привет", pieces)

    assert pieces == list(server.deltas)
    assert reply.text == "".join(pieces)
    assert len({each.request.request_id for each in server.attempts}) == 1
    assert len(server.attempts) == 3


async def test_a_stream_that_breaks_later_raises_with_the_text_so_far(
    server: ScriptedServer, caller: Caller
) -> None:
    broken = Failure(
        grpc.StatusCode.UNAVAILABLE, reason="MODEL_STREAM_BROKEN", after=("При", "вет ")
    )
    server.script.append(broken)
    pieces: list[str] = []
    with pytest.raises(turnkeep.Unavailable) as caught:
        await caller.streamed("Привет", pieces)

    assert pieces == ["При", "вет "]
    assert caught.value.partial_text == "Привет "
    assert caught.value.reason == "MODEL_STREAM_BROKEN"
    assert len(server.attempts) == 1


async def test_a_stream_that_ends_without_its_last_event_has_failed(
    server: ScriptedServer, caller: Caller
) -> None:
    server.ends_early = 1
    with pytest.raises(turnkeep.Unavailable) as caught:
        await caller.streamed("Привет", [])
    assert caught.value.partial_text == "Привет 你好 🙂"

    server.ends_early, server.deltas = 1, ()
    assert (await caller.streamed("Привет", [])).text == ""
    assert len(server.attempts) == 3


async def test_bad_fields_are_named(server: ScriptedServer, caller: Caller) -> None:
    failure = Failure(
        grpc.StatusCode.INVALID_ARGUMENT,
        reason="INVALID_REQUEST",
        bad_fields=(("messages[1].text", "слишком длинно"), ("session_id", "is empty")),
    )
    server.script.append(failure)
    with pytest.raises(turnkeep.InvalidArgument) as caught:
        await caller.add([("user", "раз"), ("assistant", "два")])

    assert caught.value.bad_fields == {
        "messages[1].text": "слишком длинно",
        "session_id": "is empty",
    }


def _detail(name: str, value: bytes) -> bytes:
    packed = AnyMessage(type_url=f"type.googleapis.com/google.rpc.{name}", value=value)
    return status_pb2.Status(details=[packed]).SerializeToString()


@pytest.mark.parametrize(
    "details",
    [
        b"\xff\xff\xff",
        b"\x1a\x05abcde",
        b"",
        _detail("ErrorInfo", b"\x1a\x02\xff\xff"),
        _detail("RetryInfo", b"\x0a\x02\xff\xff"),
        _detail("BadRequest", b"\x0a\x02\xff\xff"),
    ],
)
async def test_details_that_make_no_sense_are_left_out(
    server: ScriptedServer, caller: Caller, details: bytes
) -> None:
    server.script.append(Failure(grpc.StatusCode.INTERNAL, details=details))
    with pytest.raises(turnkeep.InternalError) as caught:
        await caller.chat("Привет")

    assert caught.value.reason == ""
    assert caught.value.message == "ошибка 错误"


async def test_a_client_that_is_closed_says_so(server: ScriptedServer, caller: Caller) -> None:
    await caller.chat("Привет")
    await caller.close()
    with pytest.raises(RuntimeError, match="closed"):
        await caller.chat("Привет")


async def test_a_time_that_is_longer_than_grpc_takes_is_a_year(
    server: ScriptedServer, caller: Caller
) -> None:
    await caller.chat("Привет", timeout_seconds=1e10)
    assert (server.attempts[0].remaining_seconds or 0.0) > 364 * 86_400


async def test_the_time_of_a_stream_begins_with_its_first_piece(
    server: ScriptedServer, caller: Caller
) -> None:
    stream = caller.session.stream("Привет", timeout_seconds=1.0)
    await asyncio.sleep(1.1)
    assert await caller.result(stream) == "Привет 你好 🙂"


async def test_an_error_can_be_copied_and_handed_to_another_process(
    server: ScriptedServer, caller: Caller
) -> None:
    refused = Failure(
        grpc.StatusCode.INVALID_ARGUMENT, reason="INVALID_REQUEST", bad_fields=(("text", "空"),)
    )
    server.script.append(refused)
    with pytest.raises(turnkeep.InvalidArgument) as caught:
        await caller.chat("Привет")

    error = caught.value
    error.add_note("заметка")
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301  # our own
        assert type(same) is turnkeep.InvalidArgument
        assert str(same) == str(error)
        assert vars(same) == vars(error)
    plain = turnkeep.Cancelled("отмена", code=grpc.StatusCode.CANCELLED)
    assert vars(pickle.loads(pickle.dumps(plain))) == vars(plain)  # noqa: S301  # our own


async def test_a_turn_that_was_taken_over_is_sent_again(
    server: ScriptedServer, caller: Caller
) -> None:
    server.script.append(Failure(grpc.StatusCode.ABORTED, reason="TURN_TAKEN_OVER"))
    assert (await caller.chat("Привет")).text == "Привет 你好 🙂"
    assert len({each.request.request_id for each in server.attempts}) == 1
    assert len(server.attempts) == 2
