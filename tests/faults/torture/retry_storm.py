"""Many callers send one and the same request at once: one turn, one model call, one answer."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

from tests.faults.torture.asked_model import AskedModel
from tests.faults.torture.calls import Call, Op
from tests.faults.torture.fleet import SETTLE_SECONDS, fleet, maker, restarted
from tests.faults.torture.outcome import Figure, Outcome
from tests.faults.torture.sections import Plan
from tests.faults.torture.sending import failed
from tests.faults.torture.workload import Workload, workload
from tests.kit.mongod import Mongod
from tests.kit.server_process import ServerProcess

CALLERS, SERVERS = 32, 2
ROUNDS_A_SESSION = 10
# In every so many rounds one of the servers is killed in the middle.
_ROUNDS_A_KILL = 4
_LATEST_KILL_SECONDS = 0.06


async def retry_storm(plan: Plan) -> Outcome:
    """32 callers send each request at once, to two servers, one of which may be killed."""
    outcome = Outcome("storm")
    dice = random.Random(plan.seed)
    async with (
        AskedModel(plan.seed) as model,
        Mongod(plan.folder / "mongod") as mongod,
        maker(plan) as make,
        fleet(make, mongod.url_for("torture"), model, SERVERS) as servers,
    ):
        addresses = [each.address for each in servers]
        async with workload(addresses, model, plan, plan.seed) as load:
            for number in range(plan.sized(8, 160)):
                killer = None
                if number % _ROUNDS_A_KILL == _ROUNDS_A_KILL - 1:
                    killer = asyncio.create_task(_kill(dice.choice(servers), dice, outcome))
                await _round(load, number, outcome)
                if killer:
                    await killer
            await asyncio.sleep(SETTLE_SECONDS)
            await load.read_back()
            load.tell(outcome, plan.folder)
    outcome.figures["callers of each request"] = Figure(CALLERS, "")
    return outcome


async def _kill(server: ServerProcess, dice: random.Random, outcome: Outcome) -> None:
    await asyncio.sleep(dice.uniform(0, _LATEST_KILL_SECONDS))
    await restarted(server)
    outcome.faults["kills of the service"] += 1


async def _round(load: Workload, number: int, outcome: Outcome) -> None:
    op = (Op.CHAT, Op.STREAM, Op.ADD)[number % 3]
    errand = load.new_errand(op, f"storm{number // ROUNDS_A_SESSION}")
    calls = await load.sent_by_all(errand, CALLERS)
    outcome.calls += CALLERS - 1
    outcome.failed_calls += sum(map(failed, calls))
    outcome.faults["requests sent by all at once"] += 1
    answered = [each for each in calls if each.ok]
    if len({(each.sequence, each.reply) for each in answered}) > 1:
        outcome.violations["answers to one request differ"] += 1
    if sum(not each.replayed for each in answered) > 1:
        outcome.violations["request carried out more than once"] += 1
    load.record(one_of(calls), errand)


def one_of(calls: Sequence[Call]) -> Call:
    """The calls of one request as one call, which ended when the first of them was answered."""
    first = min(calls, key=lambda each: (not each.ok, each.ended))
    attempts = sorted((each for call in calls for each in call.attempts), key=lambda a: a.started)
    started = min(each.started for each in calls)
    return replace(first, started=started, attempts=tuple(attempts))
