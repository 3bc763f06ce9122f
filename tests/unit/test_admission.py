"""Whether a tenant's call is let in: each limit alone, in words and with a time to come again."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from turnkeep_server.admission import Admission
from turnkeep_server.day_tokens import DAY_SECONDS, DayTokens
from turnkeep_server.errors import Overloaded
from turnkeep_server.history.memory import InMemoryHistoryStore
from turnkeep_server.tenant_limits import LimitsOfTenants, TenantLimits

NOON = 20_000 * DAY_SECONDS + DAY_SECONDS / 2


class Clock:
    """A clock that a test turns, for both kinds of time."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def admission(clock: Clock, stack: AsyncExitStack, **limits: float) -> Admission:
    """All tenants under these limits, over a store of its own."""
    tokens = DayTokens(clock)
    await stack.enter_async_context(tokens.shared(InMemoryHistoryStore()))
    usual = TenantLimits.model_validate(limits)
    return Admission(LimitsOfTenants(usual), tokens, clock)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def let_in(admission: Admission, tenant: str, method: str = "Chat") -> bool:
    """Whether a call is let in, which ends at once."""
    refused = admission.why_not(tenant, method)
    try:
        async with admission.admitted(tenant, method):
            assert refused is None
            return True
    except Overloaded:
        assert refused
        assert refused.retry_after_seconds
        assert refused.tenant == tenant
        return False


async def failing(admission: Admission) -> None:
    async with admission.admitted("acme", "Chat"):
        raise ZeroDivisionError


async def test_without_limits_everything_is_let_in(clock: Clock, stack: AsyncExitStack) -> None:
    open_to_all = await admission(clock, stack)
    assert all([await let_in(open_to_all, "acme") for _ in range(1_000)])


async def test_requests_are_counted_by_tenant(clock: Clock, stack: AsyncExitStack) -> None:
    """Whatever the method; another tenant's are its own."""
    limited = await admission(clock, stack, requests_per_second=2, request_burst=3)
    methods = ("Chat", "ListMessages", "ClearSession", "ListSessions", "Chat")
    assert [await let_in(limited, "acme", each) for each in methods] == [True] * 3 + [False] * 2
    assert await let_in(limited, "глобекс")
    clock.now += 0.5
    assert [await let_in(limited, "acme") for _ in range(2)] == [True, False]


@pytest.mark.parametrize(("rate", "seconds"), [(50, 1.0), (0.1, 10.0)])
async def test_a_request_too_many_is_told_the_limit_and_when_to_come_again(
    clock: Clock, stack: AsyncExitStack, rate: float, seconds: float
) -> None:
    """Not sooner than in a second: of all who are told, the limit lets a few in."""
    limited = await admission(clock, stack, requests_per_second=rate, request_burst=1)
    await let_in(limited, "acme")
    error = limited.why_not("acme", "ListMessages")
    assert error
    assert error.metadata == {"limit": "requests_per_second", "value": f"{rate:g}"}
    assert error.retry_after_seconds == seconds


async def test_turns_at_once_are_counted_until_they_end(
    clock: Clock, stack: AsyncExitStack
) -> None:
    """However they end; reading is no turn."""
    limited = await admission(clock, stack, concurrent_turns=2)
    async with limited.admitted("acme", "StreamChat"):
        async with limited.admitted("acme", "AddMessages"):
            assert not await let_in(limited, "acme")
            assert await let_in(limited, "acme", "ListMessages")
            assert await let_in(limited, "globex")
            error = limited.why_not("acme", "Chat")
            assert error
            assert error.metadata == {"limit": "concurrent_turns", "value": "2"}
        with pytest.raises(ZeroDivisionError):
            await failing(limited)
        assert await let_in(limited, "acme")


async def test_a_refused_call_takes_nothing(clock: Clock, stack: AsyncExitStack) -> None:
    """Neither of the rate nor of the turns."""
    limited = await admission(
        clock, stack, requests_per_second=1, request_burst=2, concurrent_turns=1
    )
    async with limited.admitted("acme", "Chat"):
        for _ in range(10):
            assert not await let_in(limited, "acme")
    assert await let_in(limited, "acme")


async def test_a_spent_day_is_over_at_midnight_utc(clock: Clock, stack: AsyncExitStack) -> None:
    """Only what asks the model is refused, and told to come after midnight."""
    limited = await admission(clock, stack, tokens_per_day=2_000_000)
    limited.spend("acme", 1_999_999)
    assert await let_in(limited, "acme")
    limited.spend("acme", 1)

    error = limited.why_not("acme", "StreamChat")
    assert error
    assert error.metadata == {"limit": "tokens_per_day", "value": "2000000"}
    assert error.retry_after_seconds
    assert DAY_SECONDS / 2 < error.retry_after_seconds < DAY_SECONDS / 2 + 70
    assert not await let_in(limited, "acme")
    assert await let_in(limited, "acme", "AddMessages")
    assert await let_in(limited, "acme", "PreviewContext")
    assert await let_in(limited, "globex")

    clock.now += DAY_SECONDS / 2 - 1
    assert not await let_in(limited, "acme")
    clock.now += 1
    assert await let_in(limited, "acme")


async def test_limits_are_replaced_while_calls_run(clock: Clock, stack: AsyncExitStack) -> None:
    """A tenant gets its own; turns that run are still counted."""
    limited = await admission(clock, stack, concurrent_turns=1, requests_per_second=1)
    async with limited.admitted("acme", "Chat"):
        usual = limited.limits.usual
        own = usual.changed_by(TenantLimits(concurrent_turns=2, requests_per_second=None))
        limited.limits = LimitsOfTenants(usual, {"acme": own})
        assert await let_in(limited, "acme")
        async with limited.admitted("acme", "Chat"):
            assert not await let_in(limited, "acme")
    assert all([await let_in(limited, "acme") for _ in range(100)])
    assert await let_in(limited, "globex")
    assert not await let_in(limited, "globex")


async def test_tenants_who_do_nothing_are_forgotten(clock: Clock, stack: AsyncExitStack) -> None:
    """Or a server would grow with everybody who ever called; whoever is busy is kept."""
    limited = await admission(
        clock, stack, requests_per_second=1, request_burst=1, concurrent_turns=1
    )
    async with limited.admitted("busy", "Chat"):
        for number in range(10_000):
            await let_in(limited, f"tenant-{number}")
        clock.now += 10
        await let_in(limited, "one more")
        assert len(limited._tenants) == 2
        assert not await let_in(limited, "busy")
