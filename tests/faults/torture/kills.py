"""Sections that end the service or its database, at any time, under load."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator

from tests.faults.torture.asked_model import AskedModel
from tests.faults.torture.fleet import SETTLE_SECONDS, fleet, maker, restarted
from tests.faults.torture.outcome import Figure, Outcome
from tests.faults.torture.sections import Plan, Service
from tests.faults.torture.steps import STEPS
from tests.faults.torture.workload import Workload, workload
from tests.kit.mongod import Mongod
from tests.kit.server_process import ServerProcess

MODEL_FAULT_SHARE = 0.01
SERVERS_KILLED, CALLERS = 3, 32
LANES, SERVERS_A_LANE, CALLERS_A_LANE = 2, 2, 12
SECONDS_BETWEEN_KILLS = (0.05, 1.0)
LONGEST_FOR_A_STEP_SECONDS = 3.0
# Passed rarely: not to be waited for many times over.
_LATEST_PASSING = 8
_LAME_DUCK_SECONDS = 0.3
_STOCK_SHARE = 10


async def service_killed(plan: Plan) -> Outcome:
    """kill -9 of the service: at random times, and at every named step of a turn."""
    outcome = Outcome("kills")
    dice = random.Random(plan.seed)
    async with (
        AskedModel(plan.seed, MODEL_FAULT_SHARE) as model,
        Mongod(plan.folder / "mongod") as mongod,
        maker(plan) as make,
        fleet(make, mongod.url_for("torture"), model, SERVERS_KILLED) as servers,
    ):
        addresses = [each.address for each in servers]
        async with workload(addresses, model, plan, plan.seed) as load:
            load.start(CALLERS)
            began = time.monotonic()
            left = iter(range(_kills(plan, 24, 1_050)))
            steps = _steps(plan, dice)
            kills = [_kill_again_and_again(each, left, steps, dice, outcome) for each in servers]
            await asyncio.gather(*kills)
            _rates(outcome, load.calls, began)
            await _ended(load, outcome, plan)
    died = [kind for kind in outcome.faults if kind.startswith(_AT)]
    for kind in died:
        outcome.faults["kills of the service"] += outcome.faults[kind]
        outcome.faults["of them at a named step"] += outcome.faults.pop(kind)
    outcome.figures["steps died at"] = Figure(len(died), f"of {len(_STEPS)}")
    return outcome


async def mongod_killed(plan: Plan) -> Outcome:
    """kill -9 of mongod under load, again and again on the same data; several of them at a time."""
    outcome = Outcome("mongod")
    began = time.monotonic()
    left = iter(range(_kills(plan, 10, 520)))
    async with maker(plan) as make:

        async def lane(number: int) -> int:
            seed = plan.seed + 1_000 * number
            dice = random.Random(seed)
            async with (
                AskedModel(seed) as model,
                Mongod(plan.folder / f"mongod{number}") as mongod,
                fleet(make, mongod.url_for("torture"), model, SERVERS_A_LANE) as servers,
            ):
                addresses = [each.address for each in servers]
                async with workload(addresses, model, plan, seed) as load:
                    load.start(CALLERS_A_LANE)
                    for _ in left:
                        await asyncio.sleep(dice.uniform(*SECONDS_BETWEEN_KILLS))
                        mongod.kill()
                        await mongod.start()
                        outcome.faults["kills of mongod"] += 1
                    await _ended(load, outcome, plan)
                    return load.calls

        calls = await asyncio.gather(*(lane(each) for each in range(LANES)))
        _rates(outcome, sum(calls), began)
    return outcome


async def restarted_in_turn(plan: Plan) -> Outcome:
    """SIGTERM under load, server after server, as a deployment does it: no call fails."""
    outcome = Outcome("restarts")
    async with (
        AskedModel(plan.seed) as model,
        Mongod(plan.folder / "mongod") as mongod,
        maker(plan) as make,
        fleet(
            make, mongod.url_for("torture"), model, 2, lame_duck_seconds=_LAME_DUCK_SECONDS
        ) as servers,
    ):
        addresses = [each.address for each in servers]
        async with workload(addresses, model, plan, plan.seed) as load:
            load.start(CALLERS)
            began = time.monotonic()
            for _, server in zip(
                range(_kills(plan, 6, 100)), itertools.cycle(servers), strict=False
            ):
                server.terminate()
                if await server.wait() != 0:
                    outcome.violations["unclean end after SIGTERM"] += 1
                await server.start()
                outcome.faults["restarts by SIGTERM"] += 1
            _rates(outcome, load.calls, began)
            await _ended(load, outcome, plan)
    return outcome


_AT = "at: "
_STEPS = [name for name in STEPS if "summary" not in name]


def _kills(plan: Plan, quick: int, full: int) -> int:
    """How many faults to make: fewer for stock, which takes seconds to start."""
    stock = plan.service is not Service.TURNKEEP
    return max(4, plan.sized(quick, full) // (_STOCK_SHARE if stock else 1))


def _steps(plan: Plan, dice: random.Random) -> Iterator[str]:
    """The named steps, each once before any comes again; none where there is no way to die at."""
    while plan.service is Service.TURNKEEP:
        yield from dice.sample(_STEPS, len(_STEPS))


async def _kill_again_and_again(
    server: ServerProcess,
    left: Iterator[int],
    steps: Iterator[str],
    dice: random.Random,
    outcome: Outcome,
) -> None:
    """As long as kills are left: every other one where the server's own passing of a step is it."""
    step = ""
    for number in left:
        if not step:
            await asyncio.sleep(dice.uniform(*SECONDS_BETWEEN_KILLS))
        elif await _died(server, LONGEST_FOR_A_STEP_SECONDS):
            outcome.faults[_AT + step] += 1
        if not step or server_runs(server):
            outcome.faults["kills of the service"] += 1
        step = next(steps, "") if number % 2 else ""
        await restarted(server, (step, dice.randint(1, _LATEST_PASSING)) if step else None)


async def _died(server: ServerProcess, timeout_seconds: float) -> bool:
    try:
        await server.wait(timeout_seconds)
    except TimeoutError:
        return False
    return True


def server_runs(server: ServerProcess) -> bool:
    """Whether its process has not ended."""
    return server._started().exit_code is None


def _rates(outcome: Outcome, calls: int, began: float) -> None:
    seconds = time.monotonic() - began
    outcome.figures["calls while faults were made"] = Figure(calls / seconds, "a second")
    faults = sum(outcome.faults.values())
    outcome.figures["faults"] = Figure(faults / seconds, "a second")


async def _ended(load: Workload, outcome: Outcome, plan: Plan) -> None:
    """The callers end, what was cut off is taken over, and everything is read and checked."""
    await load.stop()
    await asyncio.sleep(SETTLE_SECONDS)
    await load.read_back()
    load.tell(outcome, plan.folder)
