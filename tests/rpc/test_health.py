"""grpc.health.v1: the protocol, and strangers who ask for more than health."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Any, cast

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kit.deaf_watcher import DeafWatcher
from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVICE = "turnkeep.v1.ConversationService"
NAMES = ["", SERVICE, "liveness"]
STATUS: Any = health_pb2.HealthCheckResponse
MANY = 1_000
"""Watches that a server takes beside the first of each connection."""


def settings(**others: str) -> dict[str, str]:
    """A server that needs nobody, and has a port for health."""
    return {
        "TURNKEEP_HISTORY_URL": "memory://",
        "TURNKEEP_MODEL": "parrot",
        "TURNKEEP_HEALTH_LISTEN": f"127.0.0.1:{free_port()}",
        **others,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def open_server() -> AsyncIterator[ServerProcess]:
    """A server whose connections may have more streams than it takes watches."""
    async with ServerProcess(settings(TURNKEEP_MAX_CONCURRENT_STREAMS="2000")) as process:
        yield process


def stub(server: ServerProcess) -> Any:
    """Health, asked over a connection of its own."""
    return health_pb2_grpc.HealthStub(server.stub()[0])


async def watched(health: Any, service: str = "") -> AsyncGenerator[int]:
    """The answers to a watch, until the server ends it."""
    call = health.Watch(health_pb2.HealthCheckRequest(service=service))
    try:
        async for answer in call:
            yield answer.status
    finally:
        call.cancel()


async def test_a_watch_tells_how_it_is_and_then_each_change() -> None:
    """Of each service, once each: what has not changed is not told again."""
    async with ServerProcess(settings(TURNKEEP_LAME_DUCK_SECONDS="0.5")) as server:
        health = stub(server)
        async with AsyncExitStack() as stack:
            watches = [
                await stack.enter_async_context(aclosing(watched(health, each))) for each in NAMES
            ]
            assert {await anext(each) for each in watches} == {STATUS.SERVING}
            server.terminate()
            assert {await anext(each) for each in watches} == {STATUS.NOT_SERVING}
            for each in watches:
                with pytest.raises(grpc.aio.AioRpcError):
                    await anext(each)
        assert await server.wait() == 0


async def test_a_watch_of_an_unknown_service_stays_open(open_server: ServerProcess) -> None:
    """SERVICE_UNKNOWN, as the protocol has it: a service of that name might still come."""
    async with aclosing(watched(stub(open_server), "неизвестно")) as answers:
        assert await anext(answers) == STATUS.SERVICE_UNKNOWN
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(answers), 0.3)


async def test_a_list_has_every_service(open_server: ServerProcess) -> None:
    """For tools that do not know the names."""
    health, of_the_stubs = stub(open_server), cast(Any, health_pb2)  # which do not know List
    answer = await health.List(of_the_stubs.HealthListRequest(), timeout=5)
    assert {name: each.status for name, each in answer.statuses.items()} == dict.fromkeys(
        NAMES, STATUS.SERVING
    )


@pytest.mark.parametrize("port", ["TURNKEEP_LISTEN", "TURNKEEP_HEALTH_LISTEN"])
async def test_a_watcher_that_reads_nothing_delays_nobody(port: str) -> None:
    """Whoever else watches is told at once that the server drains, and the drain ends in time."""
    async with ServerProcess(settings()) as server:
        address = server.env["TURNKEEP_HEALTH_LISTEN"] if "HEALTH" in port else server.address
        async with (
            DeafWatcher(address, watches=3),
            DeafWatcher(address),
            aclosing(watched(stub(server))) as answers,
        ):
            assert await asyncio.wait_for(anext(answers), 5) == STATUS.SERVING
            server.terminate()
            assert await asyncio.wait_for(anext(answers), 5) == STATUS.NOT_SERVING
            assert await server.wait(10) == 0


async def test_a_second_signal_ends_a_drain_in_spite_of_a_watcher_that_reads_nothing() -> None:
    """It ends the lame-duck pause."""
    async with (
        ServerProcess(settings(TURNKEEP_LAME_DUCK_SECONDS="60")) as server,
        DeafWatcher(server.address),
        aclosing(watched(stub(server))) as answers,
    ):
        assert await asyncio.wait_for(anext(answers), 5) == STATUS.SERVING
        server.terminate()
        assert await asyncio.wait_for(anext(answers), 5) == STATUS.NOT_SERVING
        server.terminate()
        assert await server.wait(10) == 0


@pytest.mark.parametrize("method", ["Check", "Watch"])
@pytest.mark.parametrize(
    "request_bytes",
    [
        health_pb2.HealthCheckRequest(service="x" * 257).SerializeToString(),
        health_pb2.HealthCheckRequest(service="й" * 1_000_000).SerializeToString(),
        # A short name in the end, and one that is no name; gRPC keeps the bytes while a call runs.
        health_pb2.HealthCheckRequest(service="x" * 3_000_000).SerializeToString() + b"\x0a\x01x",
        b"\x12\xc0\x84\x3d" + bytes(1_000_000),
    ],
    ids=["257 bytes", "2 MB", "two names", "unknown field"],
)
async def test_a_name_that_is_too_long_is_refused(
    open_server: ServerProcess, method: str, request_bytes: bytes
) -> None:
    """Whoever asks is not known, and a watch is open for long: nothing large is kept of it."""
    channel, _ = open_server.stub()
    path = f"/grpc.health.v1.Health/{method}"
    if method == "Check":
        error = await error_of(channel.unary_unary(path)(request_bytes, timeout=5))
    else:
        error = await error_of(channel.unary_stream(path)(request_bytes, timeout=5).read())
    assert error.what == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert error.bad_fields == {"service": "must have at most 256 bytes"}


async def test_the_longest_name_is_answered(open_server: ServerProcess) -> None:
    """256 bytes: unknown, but a name."""
    health = stub(open_server)
    request = health_pb2.HealthCheckRequest(service="й" * 128)
    assert (await error_of(health.Check(request, timeout=5))).code is grpc.StatusCode.NOT_FOUND
    assert (await health.Watch(request, timeout=5).read()).status == STATUS.SERVICE_UNKNOWN


async def test_bytes_that_are_no_request_are_an_invalid_argument(
    open_server: ServerProcess,
) -> None:
    """As of our own service's methods."""
    channel, _ = open_server.stub()
    call = channel.unary_unary("/grpc.health.v1.Health/Check")
    for data in (b"\xff", b"\x0a\x05x", b"\x0a\x01\xff"):
        error = await error_of(call(data, timeout=5))
        assert error.what == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


async def test_watches_are_counted_and_checks_never_refused(open_server: ServerProcess) -> None:
    """One connection may not fill the server; others still get theirs, and all may ask."""
    greedy, request = stub(open_server), health_pb2.HealthCheckRequest()
    async with asyncio.timeout(30):
        watches = [greedy.Watch(request) for _ in range(1 + MANY)]
        for each in watches:
            assert (await each.read()).status == STATUS.SERVING
        error = await error_of(greedy.Watch(request).read())
        assert error.what == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert error.metadata["limit"] == "health_watches"
        assert error.retry_after_seconds
        assert (await greedy.Check(request, timeout=5)).status == STATUS.SERVING

        other = stub(open_server)
        first = other.Watch(request)
        assert (await first.read()).status == STATUS.SERVING
        assert (await error_of(other.Watch(request).read())).reason == "OVERLOADED"

        watches.pop().cancel()
        while True:
            again = other.Watch(request)
            try:
                assert (await again.read()).status == STATUS.SERVING
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)
            else:
                break
        for each in (*watches, first, again):
            each.cancel()
