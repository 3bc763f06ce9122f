"""A bad network, before the database and before the service: it cuts, delays and loses."""

import asyncio

from tests.faults.torture.attack import under_load
from tests.faults.torture.outcome import Outcome
from tests.faults.torture.sections import Plan
from tests.kit.cutting_proxy import CUT, CuttingProxy, Ending
from tests.kit.mongod import Mongod

SECONDS, SECONDS_IN_FULL = 12, 240
# A few losses a second of the one, one or two of the other, at this load.
MEAN_BYTES_TO_THE_DATABASE, MEAN_BYTES_TO_THE_SERVICE = 150_000, 30_000
LONGEST_DELAY_SECONDS = 0.003
TO_THE_DATABASE = (*CUT, *CUT, Ending.HALF_CLOSED, Ending.HALF_CLOSED, Ending.HOLE)
# No hole: the callers' bare channels, unlike the client's, do not ask whether a server is there.
TO_THE_SERVICE = (*CUT, Ending.HALF_CLOSED)


async def bad_network(plan: Plan) -> Outcome:
    """A proxy on both sides of the service cuts, half-closes, swallows and delays."""
    outcome = Outcome("network")
    proxies: list[CuttingProxy] = []

    def proxied(address: str) -> CuttingProxy:
        seed = plan.seed + len(proxies)
        proxies.append(_proxy(address, MEAN_BYTES_TO_THE_SERVICE, seed, TO_THE_SERVICE))
        return proxies[-1]

    async with (
        Mongod(plan.folder / "mongod") as mongod,
        _proxy(
            f"127.0.0.1:{mongod.port}", MEAN_BYTES_TO_THE_DATABASE, plan.seed, TO_THE_DATABASE
        ) as database,
        under_load(
            plan,
            outcome,
            f"mongodb://{database.address}/torture?directConnection=true",
            proxied=proxied,
        ),
    ):
        await asyncio.sleep(plan.sized(SECONDS, SECONDS_IN_FULL))
        for each in (database, *proxies):
            each.mean_bytes = None
    outcome.faults["connections to mongod lost"] = database.cuts
    outcome.faults["connections to the service lost"] = sum(each.cuts for each in proxies)
    return outcome


def _proxy(target: str, mean_bytes: float, seed: int, endings: tuple[Ending, ...]) -> CuttingProxy:
    return CuttingProxy(
        target,
        mean_bytes=mean_bytes,
        seed=seed,
        endings=endings,
        delay_seconds=LONGEST_DELAY_SECONDS,
    )
