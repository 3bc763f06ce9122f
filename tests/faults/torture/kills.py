"""Sections that end the service or its database, at any time, under load."""

import asyncio
import itertools
import random
import signal
import time
from collections.abc import Callable, Iterator

from tests.faults.torture.asked_model import AskedModel
from tests.faults.torture.fleet import SETTLE_SECONDS, Make, fleet, maker, restarted
from tests.faults.torture.outcome import Figure, Outcome
from tests.faults.torture.sections import Plan, Service
from tests.faults.torture.steps import STEPS
from tests.faults.torture.workload import Workload, workload
from tests.kit.mongod import Mongod
from tests.kit.server_process import ServerProcess

MODEL_FAULT_SHARE = 0.01
SERVERS_KILLED, CALLERS = 3, 32
SERVERS_A_LANE, CALLERS_A_LANE = 2, 12
# A kill comes after both: so many seconds, and so many calls that have ended. Or nothing would ever
# get done on a machine that has other work to do.
SECONDS_BETWEEN_KILLS, CALLS_BETWEEN_KILLS = (0.05, 0.9), (5, 30)
# Each server in its turn is left alone for so long: who dies sooner takes nobody's turn over, for a
# lease must be seen run out twice, a second apart.
SPARED_SECONDS = 6.0
LONGEST_FOR_A_STEP_SECONDS = 2.0
LONGEST_BETWEEN_KILLS_SECONDS = 10.0
_LATEST_PASSING = 4
_POLL_SECONDS = 0.01
_LAME_DUCK_SECONDS = 0.3
_STOCK_SHARE = 10
_STARTS = 3


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

            def spared() -> ServerProcess:
                return servers[int((time.monotonic() - began) / SPARED_SECONDS) % len(servers)]

            kills = [
                _kill_again_and_again(each, load, spared, left, steps, dice, outcome)
                for each in servers
            ]
            await asyncio.gather(*kills)
            _rates(outcome, load.calls, began)
            await _ended(load, outcome, plan)
    died = [kind for kind in outcome.faults if kind.startswith(_AT)]
    at_steps = sum(outcome.faults.pop(kind) for kind in died)
    outcome.faults[_KILLS] += at_steps
    outcome.figures["kills at a named step"] = Figure(at_steps, "")
    outcome.figures["steps died at"] = Figure(len(died), f"of {len(_STEPS)}")
    return outcome


async def mongod_killed(plan: Plan) -> Outcome:
    """kill -9 of mongod under load, again and again on the same data; several of them at a time."""
    outcome = Outcome("mongod")
    began = time.monotonic()
    left = iter(range(_kills(plan, 10, 520)))
    async with maker(plan) as make, asyncio.TaskGroup() as lanes:
        tasks = [
            lanes.create_task(_mongod_lane(plan, each, make, left, outcome))
            for each in range(plan.sized(2, 3))
        ]
    _rates(outcome, sum(task.result() for task in tasks), began)
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


# While they are counted, kills at a step are kept by step.
_KILLS, _AT = "kills of the service", "at: "
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
    load: Workload,
    spared: Callable[[], ServerProcess],
    left: Iterator[int],
    steps: Iterator[str],
    dice: random.Random,
    outcome: Outcome,
) -> None:
    """As long as kills are left: every other one where the server's own passing of a step is it.

    But not while it is the one that is `spared`.
    """
    step = ""
    for number in left:
        if step and await _exit_code(server, LONGEST_FOR_A_STEP_SECONDS) is not None:
            outcome.faults[_AT + step] += 1
        else:
            await _go_on(load, dice)
            while spared() is server:
                await asyncio.sleep(_POLL_SECONDS)
            outcome.faults[_KILLS] += 1
        if await _exit_code(server, 0) not in (None, -signal.SIGKILL):
            outcome.violations["server that ended by itself"] += 1
        step = next(steps, "") if number % 2 and spared() is not server else ""
        await restarted(server, (step, dice.randint(1, _LATEST_PASSING)) if step else None)


async def _mongod_lane(
    plan: Plan, number: int, make: Make, left: Iterator[int], outcome: Outcome
) -> int:
    """A mongod with servers and callers of its own; how many calls were made."""
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
                await _go_on(load, dice)
                mongod.kill()
                outcome.faults["kills of mongod"] += 1
                await _start(mongod)
            await _ended(load, outcome, plan)
            return load.calls


async def _start(mongod: Mongod) -> None:
    """Starts it, again if need be: a machine with other work to do may take long over it."""
    for _ in range(_STARTS - 1):
        try:
            await mongod.start()
        except RuntimeError:
            continue
        return
    await mongod.start()


async def _go_on(load: Workload, dice: random.Random) -> None:
    """Lets the callers call for a while."""
    calls = load.calls + dice.randint(*CALLS_BETWEEN_KILLS)
    latest = time.monotonic() + LONGEST_BETWEEN_KILLS_SECONDS
    await asyncio.sleep(dice.uniform(*SECONDS_BETWEEN_KILLS))
    while load.calls < calls and time.monotonic() < latest:
        await asyncio.sleep(_POLL_SECONDS)


async def _exit_code(server: ServerProcess, timeout_seconds: float) -> int | None:
    """What it exited with; None when it still runs then."""
    try:
        return await server.wait(timeout_seconds)
    except TimeoutError:
        return None


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
