"""A storm of callers who hang up: before the first event, after `started`, between deltas, at the
end.

`SESSIONS_AT_ONCE` sessions at a time, each of them `STREAMS_A_SESSION` streams one after another,
without waiting for the one before to have ended, then one answer that nobody cancels. The model
would talk for two seconds, so that a call to it ends early only if it is closed. On two cores the
server has one; the callers, the model and MongoDB share the other.

How soon a hang-up is heard on a server that is saturated says how far its event loop is behind, and
nothing about cancelling. So the warm-up goes as fast as it can and tells what a stream costs; the
storm itself is paced to take `CORE_SHARE` of the server's core.

*Warm-up* is the first tenth of the streams (in the quick size the first half: caches and arenas of
the allocator take some thousand streams to fill). The growth is the resident memory at the end less
that at the end of the warm-up, both the least of `SETTLED_SAMPLES` while nothing runs.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pymongo import AsyncMongoClient

from tests.faults.service import environment
from tests.faults.torture.cancelled_session import CancelledSession, Findings
from tests.faults.torture.outcome import Figure, Outcome, p99
from tests.faults.torture.own_core import apart
from tests.faults.torture.sections import Plan
from tests.faults.torture.talkative_model import TalkativeModel
from tests.kit.mongod import Mongod
from tests.kit.process_figures import connections, cpu_seconds, open_files, resident_mib
from tests.kit.server_process import ServerProcess

STREAMS_A_SESSION = 10
SESSIONS_AT_ONCE = 16
CORE_SHARE = 0.6
CHANNELS = 4
SETTLED_SAMPLES = 10
DATABASE = "cancels"
# A place that is not given back is missed soon.
PLACES = 4 * SESSIONS_AT_ONCE
LATEST_MS = 50.0
DRAIN_SECONDS = 5.0


async def cancel_storm(plan: Plan) -> Outcome:
    """Streams cancelled at any moment: the model's calls end, no half turns, nothing leaks."""
    outcome = Outcome("cancels")
    streams = plan.sized(1_500, 100_000)
    warm_up = plan.sized(streams // 2, streams // 10)
    async with _opened(plan) as scene:
        cpu = cpu_seconds(scene.server.pid)
        await scene.storm(warm_up)
        cost = (cpu_seconds(scene.server.pid) - cpu) / warm_up
        before, warm = await scene.settled(), len(scene.found)
        scene.pace.rate = CORE_SHARE / cost
        cpu, began = cpu_seconds(scene.server.pid), time.monotonic()
        await scene.storm(streams - warm_up)
        spent, took = cpu_seconds(scene.server.pid) - cpu, time.monotonic() - began
        after = await scene.settled()
        _count(outcome, scene.found)
        # The warm-up's are none of them: it saturates the server.
        closed = [each for one in scene.found[warm:] for each in one.closed_ms]
        late = [each for one in scene.found[warm:] for each in one.late_ms]
        turns = sum((Counter(one.turns) for one in scene.found), Counter[str]())
        outcome.violations["turn left running"] = await scene.running()
        outcome.violations["drain that was not clean"] = await scene.unclean_drain()
        outcome.figures |= {
            "model's connection closed after the hang-up, p99": Figure(
                p99(closed + late), "ms", at_most=plan.at_most(LATEST_MS)
            ),
            "such calls": Figure(len(closed + late), ""),
            "of them came after their hang-up": Figure(len(late), ""),
            "the longest of these": Figure(max(late, default=0.0), "ms"),
            "turns kept as cancelled": Figure(turns["CANCELLED"], ""),
            "turns kept as completed": Figure(turns["COMPLETED"], ""),
            "growth of the server's memory": Figure(after.rss - before.rss, "MiB", at_most=5),
            "server's memory at the end": Figure(after.rss, "MiB"),
            "file descriptors more than after the warm-up": Figure(
                after.files - before.files, "", at_most=0
            ),
            "pooled connections at the end": Figure(after.pooled, "", at_most=PLACES),
            "streams": Figure((streams - warm_up) / took, "1/s"),
            "CPU of a stream": Figure(1000 * spent / (streams - warm_up), "ms"),
            "server's core in use": Figure(100 * spent / took, "%"),
        }
    return outcome


@dataclass(slots=True)
class _Pace:
    """Lets streams begin at a rate, in streams a second; all at once while there is none."""

    rate: float = 0.0
    _next_at: float = 0.0

    async def __call__(self) -> None:
        if self.rate:
            now = time.monotonic()
            self._next_at = max(self._next_at + 1 / self.rate, now)
            await asyncio.sleep(self._next_at - now)


@dataclass(frozen=True, slots=True)
class _Settled:
    """A server at rest.

    `rss` in MiB; `pooled`: its connections to MongoDB and the model, which it keeps for the next
    calls, as many as it has needed at once; `files`: its other file descriptors.
    """

    rss: float
    files: int
    pooled: int


@dataclass(slots=True)
class _Scene:
    mongod: Mongod
    model: TalkativeModel
    server: ServerProcess
    stubs: list[Any]
    dice: random.Random
    pace: _Pace = field(default_factory=_Pace)
    found: list[Findings] = field(default_factory=list)
    sessions: int = 0

    async def storm(self, streams: int) -> None:
        """So many streams, on new sessions."""
        first, self.sessions = self.sessions, self.sessions + streams // STREAMS_A_SESSION
        numbers = iter(range(first, self.sessions))

        async def one_after_another(stub: Any) -> None:
            for number in numbers:
                name = f"s-{number}"
                session = CancelledSession(
                    stub, self.model, name, self.dice, STREAMS_A_SESSION, self.pace
                )
                self.found.append(await session.run())

        async with asyncio.TaskGroup() as tasks:
            for place in range(SESSIONS_AT_ONCE):
                tasks.create_task(one_after_another(self.stubs[place % len(self.stubs)]))

    async def settled(self) -> _Settled:
        """The server a second after the last call, when what was under way has ended."""
        samples = []
        for _ in range(SETTLED_SAMPLES):
            await asyncio.sleep(0.1)
            samples.append(resident_mib(self.server.pid))
        ports = (self.mongod.port, self.model.port)
        pooled = sum(connections(self.server.pid, each) for each in ports)
        return _Settled(min(samples), open_files(self.server.pid) - pooled, pooled)

    async def running(self) -> int:
        """How many turns are neither completed nor cancelled."""
        ended = {"$in": ["COMPLETED", "CANCELLED"]}
        async with AsyncMongoClient[dict[str, object]](self.mongod.url) as client:
            return await client[DATABASE]["turns"].count_documents({"status": {"$not": ended}})

    async def unclean_drain(self) -> int:
        """1 if the server, told to stop, waits for a call that is not there, or fails."""
        self.server.terminate()
        code = await self.server.wait()
        events = {json.loads(line).get("event") for line in self.server.log if line[:1] == "{"}
        bad = events & {"drain_incomplete", "event_loop_error", "background_task_failed"}
        return int(code != 0 or bool(bad))


@asynccontextmanager
async def _opened(plan: Plan) -> AsyncIterator[_Scene]:
    async with Mongod(plan.folder / "mongod") as mongod, TalkativeModel() as model:
        env = environment(
            mongod.url_for(DATABASE),
            model,
            max_concurrent_calls=PLACES,
            lame_duck_seconds=0,
            drain_seconds=DRAIN_SECONDS,
        )
        async with ServerProcess(env) as server:
            with apart(server.pid, mongod.pid):
                stubs = [server.stub()[1] for _ in range(CHANNELS)]
                dice = random.Random(plan.seed)  # moments, no secret
                yield _Scene(mongod, model, server, stubs, dice)


def _count(outcome: Outcome, found: list[Findings]) -> None:
    for each in found:
        outcome.faults.update({f"cancelled {when}": n for when, n in each.moments.items()})
        outcome.calls += each.statuses.total()
        outcome.statuses.update(each.statuses)
        outcome.violations.update(kind for kind, _ in each.problems)
    told = [what for each in found for _, what in each.problems]
    outcome.first_violation = told[0] if told else ""
