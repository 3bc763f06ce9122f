"""Clears that die half way, whose callers never come again: readers see all of it, or none."""

import itertools
from dataclasses import replace

from tests.faults.torture.asked_model import AskedModel
from tests.faults.torture.calls import Op
from tests.faults.torture.fleet import fleet, maker, restarted
from tests.faults.torture.launcher import ForkedServer
from tests.faults.torture.outcome import Outcome
from tests.faults.torture.sections import Plan
from tests.faults.torture.workload import Workload, workload
from tests.kit.mongod import Mongod

_TURNS = 6
_STEPS = ("after the tombstone, before the delete", "half way of the delete", "after the delete")
_DEATH_SECONDS = 10.0


async def cut_clears(plan: Plan) -> Outcome:
    """The server dies in a ClearSession, at each of its steps; readers are asked at another one."""
    outcome = Outcome("clears")
    async with (
        AskedModel(plan.seed) as model,
        Mongod(plan.folder / "mongod") as mongod,
        maker(plan) as make,
        fleet(make, mongod.url_for("torture"), model, 2) as (dying, other),
    ):
        addresses = [dying.address, other.address]
        if not isinstance(dying, ForkedServer):
            outcome.skipped = "a plain process has no step to die at"
            return outcome
        async with workload(addresses, model, plan, plan.seed) as load:
            numbers = itertools.count()
            for _ in range(plan.sized(2, 30)):
                for step in _STEPS:
                    await restarted(dying, (step, 1))
                    await _clear_and_read(load, f"{load.name}.clear{next(numbers)}")
                    await dying.wait(_DEATH_SECONDS)
                    outcome.faults["deaths in a clear"] += 1
            await restarted(dying)
            await load.read_back()
            load.tell(outcome, plan.folder)
    # Given up on purpose, each at its server's death.
    outcome.failed_calls -= outcome.faults["deaths in a clear"]
    return outcome


async def _clear_and_read(load: Workload, session: str) -> None:
    """Several turns, a clear by the first server, and what the second one makes of it."""
    for _ in range(_TURNS):
        await load.make(load.add(session), 1)
    await load.make(replace(load.clear(session), patience_seconds=0.0), 0)
    for _ in range(2):
        await load.make(load.listing(session, unfinished=False), 1)
    await load.make(load.errand(Op.CHAT, session, load.chat_request(session)), 1)
    await load.make(load.listing(session, unfinished=True), 1)
