"""Who is refused ahead of everything else: only who was refused just now, and for how long."""

import asyncio
import gc
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import grpc
import pytest
import structlog
from structlog.testing import capture_logs

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1.conversation_pb2_grpc import ConversationServiceStub
from turnkeep_server.admission import Admission
from turnkeep_server.caller import EVERYBODY, Caller, current_caller
from turnkeep_server.day_tokens import DayTokens
from turnkeep_server.errors import Overloaded, ShuttingDown
from turnkeep_server.interceptors import refusals, refused_calls
from turnkeep_server.interceptors.around import Call
from turnkeep_server.interceptors.limit import LimitInterceptor
from turnkeep_server.interceptors.refusals import Refusals
from turnkeep_server.interceptors.refuse import RefuseInterceptor
from turnkeep_server.interceptors.refused_calls import RefusedCalls
from turnkeep_server.recording import Recorder
from turnkeep_server.tenant_limits import LimitsOfTenants, TenantLimits

GOOD, OTHER = (("authorization", "Bearer good"),), (("authorization", "Bearer other"),)


class Context(NamedTuple):
    """What a call came with."""

    metadata: tuple[tuple[str, str], ...] = ()
    certificate: bytes = b""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self.certificate]} if self.certificate else {}

    def peer(self) -> str:
        return "ipv4:127.0.0.1:50000"  # the same for all: a proxy's


ACME = Context(certificate=b"acme")


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limit(clock: Clock, *, anybody: bool = False) -> LimitInterceptor:
    """One request in ten seconds a tenant."""
    usual = TenantLimits(requests_per_second=0.1, request_burst=1)
    admission = Admission(LimitsOfTenants(usual), DayTokens(), clock)
    return LimitInterceptor(admission, anybody=anybody, clock=clock)


async def calls(limit: LimitInterceptor, context: Any, tenant: str = "acme") -> bool:
    """Whether a call is let in."""
    current_caller.set(Caller(tenant=tenant))
    try:
        async with limit.around(Call("Chat", context)):
            return True
    except Overloaded:
        return False


async def test_whoever_was_refused_is_known_by_the_credential_for_a_second(clock: Clock) -> None:
    limited = limit(clock)
    assert await calls(limited, Context(GOOD))
    assert limited.why_not("Chat", GOOD) is None  # has been let in, and was never refused
    assert not await calls(limited, Context(GOOD))
    error = limited.why_not("ListMessages", (("te", "trailers"), *GOOD))
    assert error
    assert error.tenant == "acme"
    for strangers in (OTHER, (), (("x-authorization", "Bearer good"),)):
        assert limited.why_not("Chat", strangers) is None

    clock.now += 1.1
    assert limited.why_not("Chat", GOOD) is None
    assert not limited._refused  # and then a call pays for no hash


async def test_whoever_may_call_again_is_let_through_at_once(clock: Clock) -> None:
    limited = limit(clock)
    for _ in range(2):
        await calls(limited, Context(GOOD))
    clock.now += 9.9
    await calls(limited, Context(GOOD))
    assert limited.why_not("Chat", GOOD)
    clock.now += 0.2
    assert limited.why_not("Chat", GOOD) is None


async def test_callers_without_a_token_are_known_by_their_certificate(clock: Clock) -> None:
    limited = limit(clock)
    for tenant in ("acme", "acme", "globex"):
        await calls(limited, Context(certificate=tenant.encode()), tenant)
    assert limited.why_not_by_certificate(ACME, "Chat")
    assert limited.why_not_by_certificate(Context(certificate=b"globex"), "Chat") is None
    assert limited.why_not_by_certificate(Context(), "Chat") is None
    assert limited.why_not("Chat", ()) is None


@pytest.mark.parametrize("token", ["Bearer good", ""])
async def test_a_token_is_not_refused_for_its_connections_certificate(
    clock: Clock, token: str
) -> None:
    """Whoever shows one is judged by it alone, whoever else calls through the same proxy."""
    limited = limit(clock)
    for _ in range(2):
        await calls(limited, ACME)
    metadata = (("te", "trailers"), ("authorization", token))
    assert limited.why_not_by_certificate(ACME._replace(metadata=metadata), "Chat") is None
    assert limited.why_not("Chat", metadata) is None
    assert limited.why_not("Chat", (("authorization", "acme"),)) is None  # nor for being its text


async def test_where_nobody_needs_a_credential_everybody_is_one_tenant(clock: Clock) -> None:
    """Whatever they send, and however much of it."""
    limited = limit(clock, anybody=True)
    for n in range(20):
        await calls(limited, Context((("authorization", "x" * 60_000 + str(n)),)), EVERYBODY.tenant)
    assert limited.why_not("Chat", ())
    assert limited.why_not("Chat", GOOD)
    assert len(limited._refused) == 1


async def test_no_credential_is_kept(clock: Clock) -> None:
    """But its hash, of one size: ten thousand are remembered at a time."""
    limited = limit(clock)
    for n in range(20):
        await calls(limited, Context((("authorization", f"Bearer {n}{'x' * 8_000}"),)))
    await calls(limited, ACME)
    assert len(limited._refused) == 20  # the first one was let in
    assert {len(each) for each in limited._refused} == {32, 43}


async def test_a_count_of_refused_calls_is_no_line_of_one_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whose method and trace would say nothing of the others."""
    monkeypatch.setattr(refused_calls, "_TOLD_EVERY_SECONDS", 0.0)
    strangers = RefusedCalls()
    with (
        capture_logs([structlog.contextvars.merge_contextvars]) as logs,
        structlog.contextvars.bound_contextvars(method="Chat", trace_id="1"),
    ):
        strangers.count(ShuttingDown("no more"))
        async with asyncio.timeout(5):
            while not logs:
                await asyncio.sleep(0.001)
    (told,) = logs
    assert told["event"] == "calls_refused"
    assert not {"method", "trace_id"} & told.keys()


# --- what refusing costs ------------------------------------------------------------------------


class Refused(NamedTuple):
    """A call that is refused."""

    trailers: list[bytes]
    metadata: tuple[tuple[str, str], ...] = ()
    told: list[str] | None = None
    connection: str = "ipv4:127.0.0.1:8"

    def peer(self) -> str:
        return self.connection

    async def send_initial_metadata(self, metadata: Any) -> None:
        assert self.told is not None
        self.told.extend(key for key, _ in metadata)

    def set_code(self, code: object) -> None:
        assert code is not grpc.StatusCode.OK

    def set_details(self, details: str) -> None:
        assert details

    def set_trailing_metadata(self, metadata: Any) -> None:
        self.trailers.append(metadata[0][1])


@pytest.fixture
def made() -> Refusals:
    return Refusals(Recorder(), RefusedCalls(), anybody=False, streams=1_000)


def of_tenant(tenant: str) -> Overloaded:
    error = Overloaded("later", limit="concurrent_turns", value="1")
    error.tenant = tenant
    return error


async def refused(handler: Any, context: Refused | None = None) -> bytes:
    context = context or Refused([])
    await handler.stream_stream(b"", context)
    return context.trailers[0]


@pytest.mark.parametrize(
    ("anybody", "error", "version"),
    [
        (False, "of acme", True),
        (False, "of all", False),  # whose credential was not looked at
        (True, "of all", True),
    ],
)
async def test_who_is_refused_may_ask_about_the_server(
    anybody: bool, error: str, version: bool
) -> None:
    """Without being let any further; the version is told to those alone who are known."""
    made = Refusals(Recorder(), RefusedCalls(), anybody=anybody, streams=1_000)
    reason = of_tenant("acme") if error == "of acme" else Overloaded("later", limit="calls")
    for asked in ("1", "0"):
        context = Refused([], (("turnkeep-about", asked),), [])
        await refused(made.handler(reason, "Chat", context.metadata), context)
        told = ["turnkeep-version", "turnkeep-clock-ms"][0 if version else 1 :]
        assert context.told == (told if asked == "1" else [])


async def test_who_asks_in_a_loop_is_refused_and_told_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer costs, though little: a few at once, and then a few a second."""
    monkeypatch.setattr(refusals, "_ABOUT_A_SECOND", 0.01)
    monkeypatch.setattr(refusals, "_ABOUT_AT_ONCE", 5)
    made = Refusals(Recorder(), RefusedCalls(), anybody=True, streams=1_000)
    asks = Refused([], (("turnkeep-about", "1"),), [])
    for n in range(20):
        await refused(made.handler(of_tenant(f"tenant-{n}"), "Chat", asks.metadata), asks)
    assert asks.told == ["turnkeep-version", "turnkeep-clock-ms"] * 5
    assert len(asks.trailers) == 20


async def test_a_refusal_is_encoded_once_with_several_times_to_come_again(made: Refusals) -> None:
    sent = [await refused(made.handler(of_tenant("acme"), "Chat")) for _ in range(50)]
    assert len(set(sent)) == 7
    others = [await refused(made.handler(of_tenant("globex"), "Chat")) for _ in range(50)]
    assert set(others) == set(sent)


async def test_whoever_asks_in_a_loop_is_answered_late(
    made: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop of 20 callers: a hundred answers at once, and then a few a second."""
    monkeypatch.setattr(refusals, "_LEAST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(refusals, "_LONGEST_PAUSE_SECONDS", 0.2)
    count = 0

    async def loop() -> None:
        nonlocal count
        while True:
            await refused(made.handler(of_tenant("acme"), "Chat"))
            count += 1

    loops = [asyncio.create_task(loop()) for _ in range(20)]
    await asyncio.sleep(0.5)
    # Another tenant, and the server's own reasons, do not wait for it, nor for anything.
    own = (Overloaded("later", limit="concurrent_calls"), ShuttingDown("later"))
    for reason in (of_tenant("globex"), *own):
        other = asyncio.create_task(refused(made.handler(reason, "Chat")))
        await asyncio.sleep(0)
        assert other.done()
        await other
    for each in loops:
        each.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    assert 100 <= count < 600
    assert not made._pausing


@pytest.mark.parametrize(("streams", "most"), [(20, 4_000), (1_000, 10)])
async def test_not_many_wait_at_a_time(
    streams: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold streams of a connection that others may share, and memory."""
    monkeypatch.setattr(refusals, "_MOST_PAUSING", most)
    monkeypatch.setattr(refusals, "_LEAST_PAUSE_SECONDS", 30)
    monkeypatch.setattr(refusals, "_LONGEST_PAUSE_SECONDS", 30)
    monkeypatch.setattr(refusals, "_PROMPT_A_SECOND", 0.01)
    monkeypatch.setattr(refusals, "_PROMPT_AT_ONCE", 1)
    made = Refusals(Recorder(), RefusedCalls(), anybody=False, streams=streams)
    await refused(made.handler(of_tenant("acme"), "Chat"))
    waiting = []
    for _ in range(10):
        waiting.append(asyncio.create_task(refused(made.handler(of_tenant("acme"), "Chat"))))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await refused(made.handler(of_tenant("acme"), "Chat"))
    assert made._pausing.total() == 10
    elsewhere = made.handler(of_tenant("acme"), "Chat").stream_stream
    waiting.append(asyncio.create_task(elsewhere(b"", Refused([], connection="ipv4:127.0.0.1:9"))))
    await asyncio.sleep(0)
    assert made._pausing.total() == (11 if most > 10 else 10)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not made._pausing


async def test_a_refusal_leaves_nothing_for_the_collector(made: Refusals) -> None:
    """Which walks over what it finds, and over all who pause, while nobody else is served."""
    refuse = RefuseInterceptor(made, lambda *_: of_tenant("acme"))
    server = grpc.aio.server(interceptors=[refuse])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop, None)
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        chat = ConversationServiceStub(await stack.enter_async_context(channel)).Chat

        async def garbage_of(calls: int) -> int:
            gc.collect()
            for _ in range(calls):
                with pytest.raises(grpc.aio.AioRpcError, match="RESOURCE_EXHAUSTED"):
                    await chat(pb.ChatRequest())
            return gc.collect()

        await garbage_of(1)
        gc.disable()
        try:
            # gRPC's own is five objects a call; `context.abort` made it over twenty.
            assert await garbage_of(100) < 100 * 10
        finally:
            gc.enable()
