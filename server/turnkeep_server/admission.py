"""Whether a tenant may make a call now: requests a second, turns at once, tokens a day."""

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from turnkeep_server.day_tokens import DayTokens
from turnkeep_server.errors import Overloaded
from turnkeep_server.tenant_limits import LimitsOfTenants, TenantLimits
from turnkeep_server.token_bucket import TokenBucket

TURNS = frozenset({"Chat", "StreamChat", "AddMessages"})
"""The RPCs that hold a session while they run, and may wait for it."""
ASKS_MODEL = frozenset({"Chat", "StreamChat"})
_LEAST_RETRY_SECONDS = 1.0
# The clocks of servers differ.
_AFTER_MIDNIGHT_SECONDS = 5.0
_MOST_KEPT = 10_000


@dataclass(slots=True)
class _Tenant:
    """What a tenant does now, and the limits that this is measured by."""

    limits: TenantLimits
    bucket: TokenBucket | None
    turns: int = 0

    @classmethod
    def under(cls, limits: TenantLimits, turns: int = 0) -> "_Tenant":
        rate = limits.requests_per_second
        return cls(limits, TokenBucket(rate, limits.burst) if rate else None, turns)


class Admission:
    """Lets calls in, tenant by tenant, and counts them.

    `limits` may be replaced while calls run. Requests and turns are counted in this process: they
    are there to protect it. Tokens are money, and counted over all servers (`day_tokens.py`).
    `clock`: seconds that never go back.
    """

    def __init__(
        self,
        limits: LimitsOfTenants,
        day_tokens: DayTokens,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._day_tokens = day_tokens
        self._clock = clock
        self._tenants: dict[str, _Tenant] = {}

    def why_not(self, tenant: str, method: str) -> Overloaded | None:
        """What a call that came now would be refused with; None if it would be let in.

        `method` is the RPC's name alone. Counts nothing.
        """
        doing = self._doing(tenant)
        limits, bucket = doing.limits, doing.bucket
        if bucket and bucket.wait_seconds(self._clock()):
            rate = limits.requests_per_second or 0.0
            return _refusal(tenant, "requests_per_second", rate, 1 / rate)
        most = limits.concurrent_turns
        if most and doing.turns >= most and method in TURNS:
            return _refusal(tenant, "concurrent_turns", most, _LEAST_RETRY_SECONDS)
        budget = limits.tokens_per_day
        if budget and method in ASKS_MODEL and self._day_tokens.used(tenant) >= budget:
            wait = self._day_tokens.seconds_left() + _AFTER_MIDNIGHT_SECONDS
            # In whole minutes: a refusal is encoded once, and sent until the minute is over.
            return _refusal(tenant, "tokens_per_day", budget, 60 * math.ceil(wait / 60))
        return None

    @asynccontextmanager
    async def admitted(self, tenant: str, method: str) -> AsyncIterator[None]:
        """Counts the call while the body runs. Raises Overloaded, or HistoryUnavailable."""
        if self._doing(tenant).limits.tokens_per_day and method in ASKS_MODEL:
            await self._day_tokens.known(tenant)
        if error := self.why_not(tenant, method):
            raise error
        doing = self._doing(tenant)
        if doing.bucket:
            doing.bucket.take(self._clock())
        if method not in TURNS:
            yield
            return
        doing.turns += 1
        try:
            yield
        finally:
            # Not `doing`: other limits may apply by now.
            self._doing(tenant).turns -= 1

    def spend(self, tenant: str, tokens: int) -> None:
        """Counts what a turn, or a summary, has used of its tenant's day."""
        if self.limits.of(tenant).tokens_per_day:
            self._day_tokens.spend(tenant, tokens)

    def _doing(self, tenant: str) -> _Tenant:
        limits, doing = self.limits.of(tenant), self._tenants.get(tenant)
        if doing is None:
            self._forget_the_idle()
            doing = self._tenants[tenant] = _Tenant.under(limits)
        elif doing.limits is not limits:
            doing = self._tenants[tenant] = _Tenant.under(limits, doing.turns)
        return doing

    def _forget_the_idle(self) -> None:
        if len(self._tenants) >= _MOST_KEPT:
            now = self._clock()
            busy = {
                name: each
                for name, each in self._tenants.items()
                if each.turns or (each.bucket and not each.bucket.is_full(now))
            }
            self._tenants = busy


_WORDS = {
    "requests_per_second": "the tenant makes more than its {} requests a second",
    "concurrent_turns": "the tenant runs its {} turns already",
    "tokens_per_day": "the tenant has used its {} tokens of this day, UTC",
}


def _refusal(tenant: str, limit: str, value: float, retry_after_seconds: float) -> Overloaded:
    shown = f"{value:.15g}"
    error = Overloaded(
        f"{_WORDS[limit].format(shown)}; send the request later", limit=limit, value=shown
    )
    error.tenant = tenant
    error.retry_after_seconds = max(retry_after_seconds, _LEAST_RETRY_SECONDS)
    return error
