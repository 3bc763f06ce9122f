"""What the sections on the database's side share: servers and callers over one history."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from tests.faults.torture.asked_model import AskedModel
from tests.faults.torture.fleet import SETTLE_SECONDS, Make, fleet, maker
from tests.faults.torture.outcome import Figure, Outcome
from tests.faults.torture.sections import Plan
from tests.faults.torture.workload import Mix, Workload
from tests.kit.cutting_proxy import CuttingProxy

SERVERS, CALLERS = 2, 16
# After the last fault calls are to go well again, and so to be seen doing it.
_REST_SECONDS = 1.0

Proxied = Callable[[str], CuttingProxy]


@asynccontextmanager
async def under_load(
    plan: Plan,
    outcome: Outcome,
    history_url: str,
    *,
    mix: Mix | None = None,
    callers: int = CALLERS,
    make: Make | None = None,
    proxied: Proxied | None = None,
) -> AsyncIterator[Workload]:
    """Callers call two servers over this history while the block runs, which makes the faults.

    When it is left they end, everything is read, and what the checker finds is in the outcome.
    `make`: servers other than the plan's. `proxied`: what stands between callers and a server.
    """
    async with (
        AskedModel(plan.seed) as model,
        maker(plan) as make_planned,
        fleet(make or make_planned, history_url, model, SERVERS) as servers,
        _behind([each.address for each in servers], proxied) as addresses,
        Workload(addresses, model, mix or Mix(), seed=plan.seed) as load,
    ):
        load.start(callers)
        began = time.monotonic()
        yield load
        await asyncio.sleep(_REST_SECONDS)
        rate = load.calls / (time.monotonic() - began)
        outcome.figures["calls while faults were made"] = Figure(rate, "a second")
        await load.stop()
        await asyncio.sleep(SETTLE_SECONDS)
        await load.read_back()
        load.tell(outcome, plan.folder)


@asynccontextmanager
async def _behind(
    addresses: Sequence[str], proxied: Proxied | None
) -> AsyncIterator[Sequence[str]]:
    """The addresses to dial; behind a proxy each, if there is to be one."""
    if proxied is None:
        yield addresses
        return
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(proxied(each)) for each in addresses]
        yield [each.address for each in proxies]
