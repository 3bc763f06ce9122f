"""Limits of tenants on a real server: what is refused, in which words, and what goes on beside."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import fresh_database_name
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import CallError, call_error, error_of
from tests.kit.tenants import as_tenant, keys_file
from tests.rpc.session import new_id
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

OVERLOADED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
SESSION_FULL = (grpc.StatusCode.FAILED_PRECONDITION, "SESSION_FULL")
TENANTS = """
rated: {requests_per_second: 0.5, request_burst: 3}
slow: {requests_per_second: 0.1, request_burst: 1}
busy: {concurrent_turns: 2}
changed: {concurrent_turns: 1}
"""
DAY_SECONDS = 86_400


class Tenant:
    """One tenant's calls to a server."""

    def __init__(self, server: ServerProcess, name: str) -> None:
        self._channel, self._stub = server.stub()
        self._metadata = as_tenant(name)

    async def chat(self, session_id: str = "", text: str = "Привет 👋", **fields: Any) -> Any:
        request = pb.ChatRequest(session_id=session_id or new_id(), text=text, **fields)
        return await self._stub.Chat(request, timeout=20, metadata=self._metadata)

    async def stream(self, session_id: str = "", text: str = "你好") -> list[Any]:
        request = pb.ChatRequest(session_id=session_id or new_id(), text=text)
        call = self._stub.StreamChat(request, timeout=20, metadata=self._metadata)
        return [each async for each in call]

    async def add(self, session_id: str, *texts: str, request_id: str = "") -> Any:
        messages = [pb.Message(text=text) for text in texts]
        request = pb.AddMessagesRequest(
            session_id=session_id, messages=messages, request_id=request_id
        )
        return await self._stub.AddMessages(request, timeout=20, metadata=self._metadata)

    async def list(self) -> Any:
        request = pb.ListSessionsRequest()
        return await self._stub.ListSessions(request, timeout=20, metadata=self._metadata)

    async def preview(self) -> Any:
        request = pb.ChatRequest(session_id=new_id(), text="Привет")
        return await self._stub.PreviewContext(request, timeout=20, metadata=self._metadata)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def limited(environment: dict[str, str], folder: Path) -> AsyncIterator[ServerProcess]:
    """A server of several tenants with limits, and one without."""
    names = ("rated", "slow", "busy", "changed", "free", "full", "flood", "spender")
    (folder / "tenants.yaml").write_text(TENANTS)
    settings = {
        "TURNKEEP_HISTORY_URL": "memory://",
        "TURNKEEP_KEYS_FILE": str(keys_file(folder, *names)),
        "TURNKEEP_TENANTS_FILE": str(folder / "tenants.yaml"),
        "TURNKEEP_MAX_SESSION_MESSAGES": "6",
    }
    async with ServerProcess({**environment, **settings}) as server:
        yield server


async def refused(call: Awaitable[object], limit: str, value: str) -> float:
    """The seconds of RetryInfo of a call that meets this limit."""
    error = await error_of(call)
    assert error.what == OVERLOADED, error
    assert error.metadata == {"limit": limit, "value": value}
    assert error.retry_after_seconds is not None
    return error.retry_after_seconds


async def test_requests_over_the_rate_are_refused_whatever_they_are(
    limited: ServerProcess, model: OpenAIStub
) -> None:
    """Unary and streamed alike, over all of a tenant's connections; others do not notice."""
    rated, same, free = (Tenant(limited, each) for each in ("rated", "rated", "free"))
    for _ in range(3):
        await rated.list()
    for call in (rated.chat(), rated.stream(), same.list(), same.preview(), same.add("s", "раз")):
        assert 1.3 < await refused(call, "requests_per_second", "0.5") < 2.7
    assert (await free.chat()).message.text
    assert len(model.calls) == 1


async def test_who_is_let_in_seldom_is_told_to_wait_long(limited: ServerProcess) -> None:
    """A tenth of a request a second: some ten seconds."""
    slow = Tenant(limited, "slow")
    await slow.list()
    waits = [await refused(slow.list(), "requests_per_second", "0.1") for _ in range(8)]
    assert all(6.5 <= each <= 13.5 for each in waits)
    # Not all who were refused come again together.
    assert len(set(waits)) > 3


async def test_turns_over_those_at_once_are_refused_until_one_ends(
    limited: ServerProcess, model: OpenAIStub
) -> None:
    """A stream is a turn as long as it lasts; whoever hangs up makes room."""
    busy, free = Tenant(limited, "busy"), Tenant(limited, "free")
    async with held(model) as answer:
        running = asyncio.create_task(busy.stream())
        hanging_up = asyncio.create_task(busy.chat())
        await model.arrived(2)
        for call in (busy.chat(), busy.stream(), busy.add(new_id(), "раз")):
            assert 0.7 <= await refused(call, "concurrent_turns", "2") <= 1.3
        await busy.list()
        await free.list()

        hanging_up.cancel()
        await until(lambda: served(busy.add(new_id(), "раз")))
        answer.set()
        await running
    await busy.chat()


async def test_a_file_of_limits_is_followed(limited: ServerProcess, folder: Path) -> None:
    """Without a signal, and a bad one changes nothing."""
    changed = Tenant(limited, "changed")
    for text, let_in in (("requests_per_second: 0.001", 1), ("tokens_per_day: x", 0)):
        new = folder / "new"
        new.write_text(TENANTS.replace("changed: {concurrent_turns: 1}", f"changed: {{{text}}}"))
        os.replace(new, folder / "tenants.yaml")
        if let_in:
            await until(lambda: over(changed.list()))
        await asyncio.sleep(1.2)
        assert await over(changed.list())
    assert any("TURNKEEP_TENANTS_FILE" in line for line in limited.log)


async def test_a_session_that_is_full_is_told_so(limited: ServerProcess, model: OpenAIStub) -> None:
    """Turns and added messages alike; a clear makes room, and what was stored is replayed."""
    full, session_id = Tenant(limited, "full"), new_id()
    await full.add(session_id, "раз", "два")
    await full.chat(session_id, "три", request_id="r-3")
    await full.chat(session_id, "пять", request_id="r-5")
    for call in (full.chat(session_id), full.stream(session_id), full.add(session_id, "七")):
        error = await error_of(call)
        assert error.what == SESSION_FULL
        assert error.metadata == {"messages": "6", "max_messages": "6"}
        assert error.retry_after_seconds is None
    assert (await full.chat(session_id, "три", request_id="r-3")).replayed
    asked = len(model.calls)

    too_many = await error_of(full.add(new_id(), *"1234567"))
    assert too_many.what == SESSION_FULL
    assert (await full.add(new_id(), *"123456")).sequence == 1
    assert len(model.calls) == asked


async def test_health_is_never_refused_and_the_log_tells_who_floods(
    limited: ServerProcess,
) -> None:
    """A flood of 1,000 refusals beside health checks: a line a second, not one a call."""
    slow = Tenant(limited, "slow")
    await error_of_either(slow.list())
    lines = len(limited.log)
    stub = health_pb2_grpc.HealthStub(limited.stub()[0])

    async def checks() -> list[int]:
        asked = health_pb2.HealthCheckRequest()
        return [(await stub.Check(asked, timeout=5)).status for _ in range(50)]

    healthy, *errors = await asyncio.gather(
        checks(), *(error_of(slow.chat()) for _ in range(1_000))
    )
    assert set(healthy) == {health_pb2.HealthCheckResponse.SERVING}
    assert {error.what for error in errors} == {OVERLOADED}
    await asyncio.sleep(1.2)
    told = [json.loads(line) for line in limited.log[lines:] if "calls_refused" in line]
    mine = [each for each in told if each.get("tenant") == "slow"]
    assert {each["limit"] for each in mine} == {"requests_per_second"}
    assert sum(each["calls"] for each in mine) > 900
    assert len(limited.log) - lines < 100


async def test_who_is_refused_may_ask_about_the_server_and_gains_nothing_by_it(
    limited: ServerProcess,
) -> None:
    """Thirty are told version and clock, three hundred are refused as those who do not ask."""
    slow, stub = Tenant(limited, "slow"), limited.stub()[1]
    await error_of_either(slow.list())
    lines = len(limited.log)

    async def asks(_: int) -> set[str]:
        metadata = (*as_tenant("slow"), ("turnkeep-about", "1"))
        call = stub.ListSessions(pb.ListSessionsRequest(), timeout=20, metadata=metadata)
        told = {key for key, _ in await call.initial_metadata()}
        assert (await error_of(call)).what == OVERLOADED
        return told & {"turnkeep-version", "turnkeep-clock-ms"}

    told = await asyncio.gather(*map(asks, range(30)))
    assert {len(each) for each in told} == {2}
    await asyncio.gather(*map(asks, range(300)))
    # A line of its own is of a call that was let further in; some are, a second after the last.
    assert len([line for line in limited.log[lines:] if '"call"' in line]) < 100


# --- tokens a day -------------------------------------------------------------------------------


@pytest.fixture
def opened(
    environment: dict[str, str], folder: Path, mongod: Mongod
) -> Callable[..., ServerProcess]:
    """A new server on this test's database, where a tenant may use 100 tokens a day."""
    url = mongod.url_for(fresh_database_name())

    def server(**settings: str) -> ServerProcess:
        limits = {
            "TURNKEEP_HISTORY_URL": url,
            "TURNKEEP_KEYS_FILE": str(keys_file(folder, "spender", "free")),
            "TURNKEEP_TENANT_TOKENS_PER_DAY": "100",
        }
        return ServerProcess({**environment, **limits, **settings})

    return server


async def test_a_day_is_spent_over_all_servers_and_a_restart_keeps_it(
    opened: Callable[..., ServerProcess], model: OpenAIStub
) -> None:
    """The other server knows within a second; kill -9 after that second forgets nothing."""
    model.count_tokens = lambda text: 10
    async with opened() as one, opened() as two:
        here, there = Tenant(one, "spender"), Tenant(two, "spender")
        spent, calls = 0, 0
        while spent < 100:
            reply = await here.chat()
            spent, calls = spent + reply.usage.total_tokens, calls + 1
        wait = await refused(here.chat(), "tokens_per_day", "100")
        now = datetime.now(UTC)
        midnight = DAY_SECONDS - (now.hour * 3_600 + now.minute * 60 + now.second)
        assert midnight - 5 < wait < midnight + 90
        await until(lambda: over(there.stream()))
        await there.add(new_id(), "раз")
        await there.list()
        assert (await Tenant(two, "free").chat()).message.text
        # What a server spent in its last half second dies with it, and here both did spend.
        await asyncio.sleep(1.0)
        one.kill()
        two.kill()
    async with opened() as again:
        asked = len(model.calls)
        await refused(Tenant(again, "spender").chat(), "tokens_per_day", "100")
        assert len(model.calls) == asked


@pytest.mark.parametrize("how", ["hung up", "broken", "no usage"])
async def test_what_no_usage_was_reported_for_is_estimated(
    opened: Callable[..., ServerProcess], model: OpenAIStub, how: str
) -> None:
    """A turn that was cut off was asked all the same, and its tenant pays."""
    async with opened() as server:
        spender = Tenant(server, "spender")
        text = "длинное сообщение " * 60
        if how == "hung up":
            async with held(model):
                task = asyncio.create_task(spender.chat(text=text))
                await model.arrived(1)
                task.cancel()
                await asyncio.wait({task})
        elif how == "broken":
            model.faults.append(Fault.CUT)
            await error_of(spender.stream(text=text))
        else:
            model.count_tokens = lambda text: 0
            await spender.chat(text=text)
        await until(lambda: over(spender.chat()))


async def test_what_the_provider_turned_away_is_not_paid_for(
    opened: Callable[..., ServerProcess], model: OpenAIStub
) -> None:
    model.faults.append(Fault.RATE_LIMITED)
    async with opened(TURNKEEP_MODEL_ATTEMPTS="1") as server:
        spender = Tenant(server, "spender")
        await error_of(spender.chat(text="длинное сообщение " * 60))
        assert (await spender.chat()).message.text


# --- steps --------------------------------------------------------------------------------------


@asynccontextmanager
async def held(model: OpenAIStub) -> AsyncIterator[asyncio.Event]:
    """The model answers nobody before the event is set, or the block is left."""
    answer = asyncio.Event()
    model.gate = lambda _: answer.wait()
    try:
        yield answer
    finally:
        answer.set()


async def over(call: Awaitable[object]) -> bool:
    """Whether it is refused for a limit."""
    return await error_of_either(call) is not None


async def served(call: Awaitable[object]) -> bool:
    """Whether it is not."""
    return await error_of_either(call) is None


async def error_of_either(call: Awaitable[object]) -> CallError | None:
    try:
        await call
    except grpc.aio.AioRpcError as failed:
        error = call_error(failed)
    else:
        return None
    assert error.what == OVERLOADED, error
    return error


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.05)
