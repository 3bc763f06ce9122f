"""Sections that kill the service or its database, at any time, under load."""

import asyncio

from tests.faults.service import environment
from tests.faults.torture.asked_model import AskedModel
from tests.faults.torture.outcome import Figure, Outcome
from tests.faults.torture.sections import Plan
from tests.faults.torture.workload import Mix, Workload
from tests.kit.mongod import Mongod
from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess


async def service_killed(plan: Plan) -> Outcome:
    """kill -9 of servers at random times, two others staying; each is started again at once."""
    outcome = Outcome("kills")
    async with AskedModel(plan.seed, 0.01) as model, Mongod(plan.folder / "mongod") as mongod:
        env = environment(mongod.url_for("torture"), model, lease_seconds=1.0, max_messages=1000)
        ports = [free_port() for _ in range(2)]
        servers = [ServerProcess({**env, "TURNKEEP_LISTEN": f"127.0.0.1:{p}"}) for p in ports]
        async with servers[0], servers[1]:
            addresses = [each.address for each in servers]
            async with Workload(addresses, model, Mix(), seed=plan.seed) as load:
                import time

                load.start(24)
                began = time.monotonic()
                for n in range(plan.sized(10, 1000)):
                    await asyncio.sleep(0.5)
                    servers[n % 2].kill()
                    await servers[n % 2].start()
                    outcome.faults["kills of the service"] += 1
                took = time.monotonic() - began
                outcome.figures["rate"] = Figure(load.calls / took, "calls/s")
                await load.stop()
                await asyncio.sleep(3)
                await load.read_back()
                load.tell(outcome, plan.folder)
    return outcome
