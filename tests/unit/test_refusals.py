"""Who is refused ahead of everything else: only who was refused just now, and for how long."""

import asyncio
from typing import Any, NamedTuple

import pytest

from turnkeep_server.admission import Admission
from turnkeep_server.caller import EVERYBODY, Caller, current_caller
from turnkeep_server.day_tokens import DayTokens
from turnkeep_server.errors import Overloaded, ShuttingDown
from turnkeep_server.interceptors import refusals
from turnkeep_server.interceptors.around import Call
from turnkeep_server.interceptors.limit import LimitInterceptor
from turnkeep_server.interceptors.refusals import Refusals
from turnkeep_server.recording import Recorder
from turnkeep_server.tenant_limits import LimitsOfTenants, TenantLimits

GOOD, OTHER = (("authorization", "Bearer good"),), (("authorization", "Bearer other"),)


class Context(NamedTuple):
    """What a call came with."""

    metadata: tuple[tuple[str, str], ...] = ()
    connection: str = "ipv4:127.0.0.1:50000"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata

    def peer(self) -> str:
        return self.connection


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
        async with limit.around(Call("Chat", b"", context)):
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
    assert limited.why_not_on(Context().peer(), "Chat") is None

    clock.now += 1.1
    assert limited.why_not("Chat", GOOD) is None
    assert not limited._refused  # what was remembered is gone, a token at that


async def test_whoever_may_call_again_is_let_through_at_once(clock: Clock) -> None:
    limited = limit(clock)
    for _ in range(2):
        await calls(limited, Context(GOOD))
    clock.now += 9.9
    await calls(limited, Context(GOOD))
    assert limited.why_not("Chat", GOOD)
    clock.now += 0.2
    assert limited.why_not("Chat", GOOD) is None


async def test_callers_with_a_certificate_are_known_by_their_connection(clock: Clock) -> None:
    limited = limit(clock)
    for tenant in ("acme", "acme", "globex"):
        await calls(limited, Context(connection=f"ipv6:[::1]:{tenant}"), tenant)
    assert limited.why_not_on("ipv6:[::1]:acme", "Chat")
    assert limited.why_not_on("ipv6:[::1]:globex", "Chat") is None
    assert limited.why_not("Chat", ()) is None


async def test_a_unix_socket_tells_no_two_callers_apart(clock: Clock) -> None:
    limited = limit(clock)
    for _ in range(2):
        await calls(limited, Context(connection="unix:"))
    assert limited.why_not_on("unix:", "Chat") is None


async def test_where_nobody_needs_a_credential_everybody_is_one_tenant(clock: Clock) -> None:
    limited = limit(clock, anybody=True)
    for _ in range(2):
        await calls(limited, Context(), EVERYBODY.tenant)
    assert limited.why_not("Chat", ())


# --- what refusing costs ------------------------------------------------------------------------


class Aborted(Exception):
    """What gRPC raises."""


class Aborting(NamedTuple):
    """A call that is refused."""

    trailers: list[bytes]

    async def abort(self, code: object, message: str, trailing_metadata: Any) -> None:
        self.trailers.append(trailing_metadata[0][1])
        raise Aborted


@pytest.fixture
def made() -> Refusals:
    return Refusals(Recorder())


def of_tenant(tenant: str) -> Overloaded:
    error = Overloaded("later", limit="concurrent_turns", value="1")
    error.tenant = tenant
    return error


async def refused(handler: Any) -> bytes:
    context = Aborting([])
    with pytest.raises(Aborted):
        await handler.unary_unary(b"", context)
    return context.trailers[0]


async def test_a_refusal_is_encoded_once_with_several_times_to_come_again(made: Refusals) -> None:
    sent = [await refused(made.handler(of_tenant("acme"), "Chat")) for _ in range(50)]
    assert len(set(sent)) == 7
    others = [await refused(made.handler(of_tenant("globex"), "Chat")) for _ in range(50)]
    assert set(others) == set(sent)


async def test_whoever_asks_in_a_loop_is_answered_late(
    made: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop of 20 callers: a hundred answers at once, and then a few a second."""
    monkeypatch.setattr(refusals, "_PAUSE_SECONDS", 0.2)
    count = 0

    async def loop() -> None:
        nonlocal count
        while True:
            await refused(made.handler(of_tenant("acme"), "Chat"))
            count += 1

    loops = [asyncio.create_task(loop()) for _ in range(20)]
    await asyncio.sleep(0.5)
    # Another tenant, and the server's own reasons, do not wait for it.
    async with asyncio.timeout(0.15):
        await refused(made.handler(of_tenant("globex"), "Chat"))
        await refused(made.handler(Overloaded("later", limit="concurrent_calls"), "Chat"))
        await refused(made.handler(ShuttingDown("later"), "Chat"))
    for each in loops:
        each.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    assert 100 <= count < 600
    assert made._pausing == 0


async def test_not_many_wait_at_a_time(made: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold streams of a connection that others may share."""
    monkeypatch.setattr(refusals, "_MOST_PAUSING", 10)
    monkeypatch.setattr(refusals, "_PAUSE_SECONDS", 30)
    monkeypatch.setattr(refusals, "_PROMPT_A_SECOND", 0.01)
    monkeypatch.setattr(refusals, "_PROMPT_AT_ONCE", 1)
    await refused(made.handler(of_tenant("acme"), "Chat"))
    waiting = []
    for _ in range(10):
        waiting.append(asyncio.create_task(refused(made.handler(of_tenant("acme"), "Chat"))))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await refused(made.handler(of_tenant("acme"), "Chat"))
    assert made._pausing == 10
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
