"""Health, reflection and overload: what those who run a server rely on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.kit.openai_stub import OpenAIStub
from tests.kit.process_figures import resident_mib
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.session import Session, joined, message
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVICE = "turnkeep.v1.ConversationService"
SERVING = health_pb2.HealthCheckResponse.SERVING
MAX_REPLY_BYTES = 1_000
OVERLOADED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def small(environment: dict[str, str]) -> AsyncIterator[ServerProcess]:
    """A server that takes one call at once, with reflection."""
    settings = {
        "TURNKEEP_HISTORY_URL": "memory://",
        "TURNKEEP_MAX_CONCURRENT_CALLS": "1",
        "TURNKEEP_MAX_REPLY_BYTES": f"{MAX_REPLY_BYTES}",
        "TURNKEEP_REFLECTION": "1",
    }
    async with ServerProcess({**environment, **settings}) as process:
        yield process


async def _health(server: ServerProcess, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(server.stub()[0])
    request = health_pb2.HealthCheckRequest(service=service)
    status: int = (await stub.Check(request, timeout=2)).status
    return status


async def _services(server: ServerProcess) -> list[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(server.stub()[0])
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = [each async for each in stub.ServerReflectionInfo(iter([asked]), timeout=2)]
    return [each.name for each in answers[0].list_services_response.service]


@pytest.mark.parametrize("service", ["", SERVICE, "liveness"])
async def test_a_server_that_can_run_turns_is_healthy(server: ServerProcess, service: str) -> None:
    """As a whole, by the service's name, and as a process."""
    assert await _health(server, service) == SERVING


async def test_the_health_of_an_unknown_service_is_not_found(server: ServerProcess) -> None:
    """As the health protocol says."""
    assert (await error_of(_health(server, "x"))).code is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_service_where_it_is_on(small: ServerProcess) -> None:
    """grpcurl and buf curl find the service, with its health."""
    assert {SERVICE, "grpc.health.v1.Health"} <= set(await _services(small))


async def test_reflection_describes_the_contract(small: ServerProcess) -> None:
    """The file that declares the service comes with all that it imports."""
    stub = reflection_pb2_grpc.ServerReflectionStub(small.stub()[0])
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)
    answers = [each async for each in stub.ServerReflectionInfo(iter([asked]), timeout=2)]
    files = answers[0].file_descriptor_response.file_descriptor_proto

    assert any(b"turnkeep/v1/conversation.proto" in each for each in files)


async def test_reflection_is_off_unless_asked_for(server: ServerProcess) -> None:
    """A server does not describe itself by default."""
    # Called as if it were unary: where a method is missing, grpc.aio's client says INTERNAL for 1
    # stream of requests in 30, because its write comes too late.
    channel, _ = server.stub()
    call = channel.unary_unary("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    assert (await error_of(call(b"", timeout=2))).code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_call_too_many_is_told_to_come_again(
    small: ServerProcess, model: OpenAIStub, streams: bool
) -> None:
    """OVERLOADED with RetryInfo, at once, while health still answers; then there is room again."""
    session = Session(small.stub()[1])
    answer = asyncio.Event()
    model.gate = lambda _: answer.wait()
    running = asyncio.create_task(session.streamed("раз") if streams else session.chat("раз"))
    await model.arrived(1)

    other = Session(small.stub()[1])
    for call in (other.chat("два"), other.streamed("два"), other.page(), other.clear()):
        error = await error_of(call)
        assert error.what == OVERLOADED
        assert error.retry_after_seconds is not None
        assert 0 < error.retry_after_seconds <= 5
    assert await _health(small, "") == SERVING

    answer.set()
    await running
    assert (await other.add(message("user", "теперь"))).sequence == 1


async def test_refused_and_cancelled_calls_leave_no_mark(
    small: ServerProcess, model: OpenAIStub
) -> None:
    """Whatever way calls end, the next one finds its place."""
    session = Session(small.stub()[1])
    model.delay_seconds = 60  # so that only a cancelled call ends in time
    for number in range(10):
        call = asyncio.create_task(session.chat("раз", timeout=10))
        await model.arrived(number + 1)
        call.cancel()
        await model.calls[number].ended()
        await asyncio.sleep(0.02)
    model.delay_seconds = 0

    assert (await session.chat("два")).message.text == "reply to: два"


@pytest.mark.parametrize(
    "method",
    [f"/{SERVICE}/ClearSession", f"/{SERVICE}/StreamChat", "/grpc.health.v1.Health/Check"],
)
async def test_the_bytes_of_a_refused_request_are_not_kept(
    small: ServerProcess, method: str
) -> None:
    """60 of 6 MiB in a row: the collector, which would free what is in a cycle, comes seldom."""
    channel, _ = small.stub()
    request = pb.ClearSessionRequest(session_id="x" * (6 << 20)).SerializeToString()
    before = resident_mib(small.pid)
    for _ in range(60):
        error = await error_of(channel.unary_unary(method)(request, timeout=10))
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert resident_mib(small.pid) - before < 180


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_reply_without_end_is_cut_and_says_so(
    small: ServerProcess, model: OpenAIStub, streams: bool
) -> None:
    """What could neither be stored nor sent ends as at the model's own limit, and can be listed."""
    model.reply = lambda messages: "бесконечно " * 10_000
    session = Session(small.stub()[1])
    if streams:
        events = await session.streamed("?")
        answer = events[-1].completed
        assert joined(events) == answer.message.text
        await model.calls[-1].ended()
        assert model.calls[-1].closed_at is not None
    else:
        answer = await session.chat("?")
    assert answer.message.text == ("бесконечно " * 100)[: len(answer.message.text)]
    assert MAX_REPLY_BYTES - 2 < len(answer.message.text.encode()) <= MAX_REPLY_BYTES
    assert answer.finish_reason == pb.FINISH_REASON_MAX_TOKENS
    assert (await session.messages())[-1].text == answer.message.text


async def test_those_refused_together_are_not_told_to_come_again_together(
    small: ServerProcess, model: OpenAIStub
) -> None:
    """RetryInfo's delays are spread around a second."""
    async with _taken(small, model):
        other = Session(small.stub()[1])
        errors = [await error_of(other.chat("два")) for _ in range(7)]

    delays = {error.retry_after_seconds for error in errors}
    assert len(delays) == len(errors)
    assert all(0.5 < delay < 1.5 for delay in delays if delay)


async def test_refused_calls_are_counted_in_the_log_not_told_singly(
    small: ServerProcess, model: OpenAIStub
) -> None:
    """A line a second says how many, so that a flood of calls is no flood of lines."""
    await asyncio.sleep(1.2)  # what earlier tests were refused is told by then
    before = len(small.log)
    async with _taken(small, model):
        other = Session(small.stub()[1])
        for _ in range(20):
            assert (await error_of(other.chat("два"))).what == OVERLOADED
        lines = await _refused_lines(small, before)

    assert sum(line["calls"] for line in lines) == 20
    assert len(lines) < 20
    assert {line["reason"] for line in lines} == {"OVERLOADED"}


async def test_who_is_refused_may_ask_about_the_server(
    small: ServerProcess, model: OpenAIStub
) -> None:
    """`turnkeep doctor` is wanted most where calls are refused."""
    async with _taken(small, model):
        stub = small.stub()[1]
        call = stub.ListSessions(
            pb.ListSessionsRequest(), timeout=5, metadata=(("turnkeep-about", "1"),)
        )
        assert "turnkeep-version" in dict(await call.initial_metadata())
        assert (await error_of(call)).what == OVERLOADED


async def test_a_method_that_is_not_there_is_not_overloaded(
    small: ServerProcess, model: OpenAIStub
) -> None:
    """A caller with stubs that are too new is not told to come again."""
    async with _taken(small, model):
        channel, _ = small.stub()
        call = channel.unary_unary(f"/{SERVICE}/Nothing")
        assert (await error_of(call(b"", timeout=5))).code is grpc.StatusCode.UNIMPLEMENTED


@asynccontextmanager
async def _taken(server: ServerProcess, model: OpenAIStub) -> AsyncIterator[None]:
    """The one place of the small server is taken."""
    answer = asyncio.Event()
    model.gate = lambda _: answer.wait()
    running = asyncio.create_task(Session(server.stub()[1]).chat("раз"))
    await model.arrived(1)
    try:
        yield
    finally:
        answer.set()
        await running


async def _refused_lines(server: ServerProcess, skip: int) -> list[dict[str, Any]]:
    """The lines that tell of refused calls, when 20 of them have been told."""
    async with asyncio.timeout(5):
        while True:
            lines = [json.loads(line) for line in server.log[skip:] if line.startswith("{")]
            told = [line for line in lines if line["event"] == "calls_refused"]
            if sum(line["calls"] for line in told) >= 20:
                return told
            await asyncio.sleep(0.05)
