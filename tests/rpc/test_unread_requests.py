"""Of a request whose caller is not let in nothing is kept, however large it says that it is."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from tests.kit.process_figures import resident_mib
from tests.kit.rpcs import METHODS, bearer, called, request_of
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.kit.tenants import key_of, keys_file
from tests.kit.unending_requests import UnendingRequests
from turnkeep_server.interceptors.around import SERVICE

pytestmark = pytest.mark.asyncio(loop_scope="module")
STREAMS, MIB = 60, 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Where callers need a key, and may make a request in a thousand seconds, which was made."""
    folder = tmp_path_factory.mktemp("unread")
    settings = {
        "TURNKEEP_HISTORY_URL": "memory://",
        "TURNKEEP_MODEL": "parrot",
        "TURNKEEP_KEYS_FILE": str(keys_file(folder, "acme")),
        "TURNKEEP_TENANT_REQUESTS_PER_SECOND": "0.001",
    }
    async with ServerProcess(settings) as process:
        mine = bearer(key_of("acme"))
        await called(process.stub()[0], "ListSessions", request_of("ListSessions", ""), mine)
        yield process


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("caller", ["a stranger", "with a bad key", "over the limit"])
async def test_nothing_is_taken_in_of_who_is_not_let_in(
    server: ServerProcess, method: str, caller: str
) -> None:
    """60 requests that say they are 7 MiB: each is ended at its headers."""
    key = {"a stranger": "", "with a bad key": "tk_nobody-has-this-one"}.get(caller, key_of("acme"))
    if caller == "over the limit":
        await error_of(called(server.stub()[0], method, request_of(method, "s"), bearer(key)))
    metadata = [*bearer(key)] if key else []
    before = resident_mib(server.pid)
    async with unending(server, f"/{SERVICE}/{method}", metadata) as requests:
        async with asyncio.timeout(20):
            while len(requests.ended) < STREAMS:
                await asyncio.sleep(0.05)
    assert resident_mib(server.pid) - before < 60


async def test_health_reads_a_few_at_a_time_and_answers_others(server: ServerProcess) -> None:
    """Nobody is asked who he is there: what does not come whole is waited for, and given up."""
    before = resident_mib(server.pid)
    async with unending(server, "/grpc.health.v1.Health/Check", []) as requests:
        await asyncio.sleep(2)
        assert resident_mib(server.pid) - before < 8 * 8 + 60
        check = server.stub()[0].unary_unary("/grpc.health.v1.Health/Check")
        assert await check(b"", timeout=5)
        async with asyncio.timeout(20):
            while not requests.ended:
                await asyncio.sleep(0.05)


async def test_a_call_without_a_request_is_told_so(server: ServerProcess) -> None:
    for method in ("Check", "Watch"):
        call = server.stub()[0].stream_stream(f"/grpc.health.v1.Health/{method}")(iter(()))
        error = await error_of(call.read())
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


def unending(server: ServerProcess, path: str, metadata: list[tuple[str, str]]) -> UnendingRequests:
    return UnendingRequests(
        server.address, path, streams=STREAMS, announced=7 * MIB, metadata=metadata
    )
