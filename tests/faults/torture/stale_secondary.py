"""A secondary that is behind: whoever read from it would not see what was acknowledged."""

import asyncio
from typing import Any

from pymongo import AsyncMongoClient

from tests.faults.torture.asked_model import AskedModel
from tests.faults.torture.fleet import SETTLE_SECONDS, fleet, maker
from tests.faults.torture.outcome import Outcome
from tests.faults.torture.sections import Plan
from tests.faults.torture.workload import workload
from tests.kit.mongod import Mongod
from tests.kit.replica_set import ReplicaSet

_CALLERS = 8
_BEHIND_SECONDS, _REST_SECONDS = 1.5, 1.0


async def stale_secondary(plan: Plan) -> Outcome:
    """A secondary of three stops copying, and goes on answering; nobody may notice."""
    outcome = Outcome("stale")
    async with (
        AskedModel(plan.seed) as model,
        ReplicaSet(plan.folder / "set") as replicas,
        maker(plan) as make,
        fleet(make, replicas.url_for("torture"), model, 2) as servers,
    ):
        addresses = [each.address for each in servers]
        primary = await replicas.primary()
        behind = next(each for each in replicas.members if each is not primary)
        async with workload(addresses, model, plan, plan.seed) as load:
            load.start(_CALLERS)
            for _ in range(plan.sized(3, 30)):
                await asyncio.sleep(_REST_SECONDS)
                await _copies(behind, mode="alwaysOn")
                await asyncio.sleep(_BEHIND_SECONDS)
                await _copies(behind, mode="off")
                outcome.faults["times a secondary fell behind"] += 1
            await load.stop()
            await asyncio.sleep(SETTLE_SECONDS)
            await load.read_back()
            load.tell(outcome, plan.folder)
    return outcome


async def _copies(member: Mongod, *, mode: str) -> None:
    """Sets MongoDB's own failpoint that stops a secondary's copying."""
    async with AsyncMongoClient[dict[str, Any]](member.url) as client:
        await client.admin.command("configureFailPoint", "stopReplProducer", mode=mode)
