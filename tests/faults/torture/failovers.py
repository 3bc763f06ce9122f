"""The primary of a three-node set is killed, stepped down and frozen: calls wait, none fails."""

import asyncio
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.torture.attack import under_load
from tests.faults.torture.calls import NEVER, Call
from tests.faults.torture.outcome import Figure, Outcome
from tests.faults.torture.sections import Plan
from tests.faults.torture.workload import Mix, Workload
from tests.kit.mongod import Mongod
from tests.kit.replica_set import ReplicaSet

LONGEST_PAUSE_SECONDS = 5.0
# So long the old primary stays away, and callers find the new one.
AWAY_SECONDS = 1.5
# Callers at rest again before the next fault, or two pauses would be one.
REST_SECONDS = 0.5
_OWN = ".own"  # in the name of each session that the workload gives to one caller


@dataclass(frozen=True, slots=True)
class Fault:
    """One loss of a primary, and how long it took until there was another."""

    kind: str
    started: int
    elected_seconds: float


async def failovers(plan: Plan) -> Outcome:
    """The primary of three is killed, stepped down, frozen: no call fails, none waits 5 s."""
    outcome = Outcome("failovers")
    # Nobody who hangs up and comes back: his pause is not the service's.
    mix = Mix(hang_up=0, invalid=0)
    async with (
        ReplicaSet(plan.folder / "set") as replicas,
        under_load(plan, outcome, replicas.url_for("torture"), mix=mix) as load,
    ):
        await asyncio.sleep(REST_SECONDS)
        faults = [
            await _lose_the_primary(replicas, kind)
            for kind in _kinds(plan.sized(3, 102), plan.seed)
        ]
    _tell_pauses(plan, outcome, load, faults)
    return outcome


def _kinds(count: int, seed: int) -> Iterator[str]:
    """The three kinds in turn, each three in an order of their own."""
    dice = random.Random(seed)
    for _ in range(count // 3):
        yield from dice.sample(["kill", "step down", "freeze"], 3)


async def _lose_the_primary(replicas: ReplicaSet, kind: str) -> Fault:
    old = await replicas.primary()
    started = time.monotonic_ns()
    await _LOSE[kind](replicas, old)
    await replicas.primary()
    elected = (time.monotonic_ns() - started) / 1e9
    await asyncio.sleep(AWAY_SECONDS)
    if kind == "kill":
        await replicas.restart(old)
    elif kind == "freeze":
        replicas.resume(old)
    await replicas.settled()
    await asyncio.sleep(REST_SECONDS)
    return Fault(kind, started, elected)


async def _frozen(replicas: ReplicaSet, member: Mongod) -> None:
    replicas.freeze(member)


_LOSE = {"kill": ReplicaSet.kill, "step down": ReplicaSet.step_down, "freeze": _frozen}


def _tell_pauses(plan: Plan, outcome: Outcome, load: Workload, faults: list[Fault]) -> None:
    """A fault's pause is the longest call, all attempts, that ended since and before the next.

    Of the calls on sessions with one caller: where several share one, a call waits for the calls
    before it too, and for those through the next fault.
    """
    pauses: dict[str, list[float]] = {}
    shared: list[float] = []
    ends = [*(fault.started for fault in faults[1:]), NEVER]
    for fault, end in zip(faults, ends, strict=True):
        outcome.faults["failovers"] += 1
        outcome.faults[f"of them by {fault.kind}"] += 1
        calls = [each for each in load.history.calls if fault.started < each.ended < end]
        alone = [each for each in calls if _OWN in each.session]
        pauses.setdefault(fault.kind, []).append(max(map(_seconds, alone)))
        shared.append(max(map(_seconds, calls)))
    for kind, some in sorted(pauses.items()):
        outcome.figures[f"longest pause, {kind}"] = Figure(max(some), "s")
    everything = [pause for some in pauses.values() for pause in some]
    outcome.figures["pause, p50"] = Figure(_share(everything, 0.5), "s")
    p99 = _share(everything, 0.99)
    outcome.figures["pause, p99"] = Figure(p99, "s", at_most=plan.at_most(LONGEST_PAUSE_SECONDS))
    with_queues = _share(shared, 0.99)
    outcome.figures["pause with queues in shared sessions, p99"] = Figure(with_queues, "s")
    elected = [fault.elected_seconds for fault in faults]
    outcome.figures["election, p50"] = Figure(_share(elected, 0.5), "s")


def _seconds(call: Call) -> float:
    return (call.ended - call.attempts[0].started) / 1e9


def _share(values: list[float], share: float) -> float:
    """The value that so much of them are not above."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]
