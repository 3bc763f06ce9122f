"""The tokens that each tenant has used today, by all servers on one database together.

Counted here at once, and told to the others behind the turns, twice a second. So a budget may be
overrun: by the turns that run when it is spent, and by what other servers began to run within that
half second. Days are UTC's, by this server's clock. A tenant is kept here while it calls, and until
what it used is told: a day may have more tenants than fit into memory.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from turnkeep_server.background import running
from turnkeep_server.errors import HistoryUnavailable

DAY_SECONDS = 86_400
_SHARED_EVERY_SECONDS = 0.5
_LAST_WRITE_SECONDS = 2.0
# A tenant who has not called for so long is no longer kept up to date, and forgotten.
_LOOKED_AFTER_SECONDS = 10.0


class SharedTokens(Protocol):
    """Where processes tell each other what they have used; a HistoryStore is one."""

    async def share_tokens(
        self, day: int, mine: Mapping[str, int], tenants: Collection[str]
    ) -> Mapping[str, tuple[int, int]]:
        """See HistoryStore.share_tokens."""


@dataclass(slots=True)
class _Used:
    """A tenant's tokens of a day. `others` is None until the store was asked for them, and for
    what of `mine` it was told before the tenant was forgotten."""

    mine: int = 0
    told: int = 0
    others: int | None = None
    asked_at: float = 0.0

    @property
    def total(self) -> int:
        return self.mine + (self.others or 0)

    def remember(self, told: int, others: int) -> None:
        """Takes up what the store has of this process and of others, if nobody did meanwhile."""
        if self.others is None:
            self.mine += told
            self.told, self.others = told, others


class DayTokens:
    """Counts tokens by tenant and day. `clock` is time.time(), or what a test puts in its place."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._used: dict[tuple[str, int], _Used] = {}
        self._store: SharedTokens | None = None
        self._reading: dict[str, asyncio.Task[None]] = {}

    def spend(self, tenant: str, tokens: int) -> None:
        """Counts what a turn has used, however it ended."""
        self._of(tenant).mine += tokens

    def used(self, tenant: str) -> int:
        """What the tenant has used today, as far as this server knows."""
        return self._of(tenant).total

    def seconds_left(self) -> float:
        """How long today lasts."""
        return DAY_SECONDS - self._clock() % DAY_SECONDS

    async def known(self, tenant: str) -> None:
        """Returns when it is known what other servers used today: at once but for the first call
        in a while.

        Those of this server's life before are others. Raises HistoryUnavailable.
        """
        used, now = self._of(tenant), self._clock()
        looked_after = used.asked_at > now - _LOOKED_AFTER_SECONDS
        used.asked_at = now
        if used.others is not None and looked_after:
            return
        reading = self._reading.get(tenant)
        if reading is None:
            reading = self._reading[tenant] = asyncio.create_task(self._share([tenant]))
            reading.add_done_callback(lambda task: self._read(tenant, task))
        # Not cancelled with one of those who wait for it.
        await asyncio.wait({reading})
        reading.result()

    @asynccontextmanager
    async def shared(self, store: SharedTokens) -> AsyncIterator[None]:
        """Keeps the count in step with other servers' until left, and tells them the last of it."""
        self._store = store
        async with running(self._keep_shared, "day-tokens"):
            yield
        try:
            async with asyncio.timeout(_LAST_WRITE_SECONDS):
                await self._share(self._behind())
        except (HistoryUnavailable, TimeoutError):
            structlog.get_logger().warning("day_tokens_lost", tenants=len(self._behind()))

    async def _keep_shared(self) -> None:
        while True:
            await asyncio.sleep(_SHARED_EVERY_SECONDS)
            try:
                await self._share(self._behind() | self._looked_after())
            except HistoryUnavailable:
                # Each server goes on with what it knows; turns need the same database.
                structlog.get_logger().warning("day_tokens_behind")
            self._forget()

    def _behind(self) -> set[str]:
        return {tenant for (tenant, _), used in self._used.items() if used.told < used.mine}

    def _looked_after(self) -> set[str]:
        since, day = self._clock() - _LOOKED_AFTER_SECONDS, self._today()
        return {
            tenant
            for (tenant, of), used in self._used.items()
            if of == day and used.asked_at > since
        }

    async def _share(self, tenants: Collection[str]) -> None:
        """Tells what is not told yet, of any day, and asks what others have used."""
        if self._store is None:
            raise RuntimeError("shared() comes first")
        wanted = {key: used for key, used in self._used.items() if key[0] in tenants}
        for day in {day for _, day in wanted}:
            of_day = {tenant: used for (tenant, of), used in wanted.items() if of == day}
            new = {tenant: used for tenant, used in of_day.items() if used.others is None}
            if new:
                found = await self._store.share_tokens(day, {}, new.keys())
                for tenant, used in new.items():
                    used.remember(*found.get(tenant, (0, 0)))
            mine = {tenant: used.mine for tenant, used in of_day.items() if used.told < used.mine}
            asked = of_day.keys() - (new.keys() - mine.keys())
            if asked:
                found = await self._store.share_tokens(day, mine, asked)
                for tenant in asked:
                    used = of_day[tenant]
                    used.told = max(used.told, mine.get(tenant, 0))
                    used.others = max(used.others or 0, found.get(tenant, (0, 0))[1])

    def _read(self, tenant: str, reading: asyncio.Task[None]) -> None:
        del self._reading[tenant]
        if not reading.cancelled():
            reading.exception()  # or asyncio complains where nobody waits any more

    def _of(self, tenant: str) -> _Used:
        key = tenant, self._today()
        used = self._used.get(key)
        if used is None:
            used = self._used[key] = _Used()
        return used

    def _forget(self) -> None:
        """Drops what is told, and either over or of tenants who do nothing."""
        day, active = self._today(), self._looked_after() | self._reading.keys()
        idle = [
            (tenant, of)
            for (tenant, of), used in self._used.items()
            if used.told == used.mine and (of != day or tenant not in active)
        ]
        for key in idle:
            del self._used[key]

    def _today(self) -> int:
        return int(self._clock() // DAY_SECONDS)
