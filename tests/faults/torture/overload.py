"""Ten times what a server carries, for minutes: it goes on carrying that, and refuses the rest.

The *rated* load is what the server carries at its limit of calls (`TURNKEEP_MAX_CONCURRENT_CALLS`):
as many callers as the limit, each calling again when it was answered. The model takes its time, as
models do, so that the limit binds and not the CPU: a limit is to be set so (docs/operations.md).
Ten times that rate is then offered from a process of its own, which waits for nobody. On two cores
the server has one, and all others, the model, MongoDB and the load, share the second.

Beside them go health checks, and *patient* callers: the Python client as it is, which comes again
when RetryInfo says so. Each of them has to get in, however many push past.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pymongo import AsyncMongoClient

from tests.faults.service import environment
from tests.faults.torture.bystanders import Bystanders
from tests.faults.torture.open_load import Load, Measured, offered
from tests.faults.torture.outcome import Figure, Outcome, p99
from tests.faults.torture.own_core import apart
from tests.faults.torture.sections import Plan
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.process_figures import cpu_seconds
from tests.kit.server_process import ServerProcess

TIMES = 10
LIMIT = 32
MODEL_SECONDS = 0.5
WARM_UP_SECONDS = 2.0
PATIENT_CALLERS = 8
PATIENCE_SECONDS = 15.0
DATABASE = "overload"


async def overload(plan: Plan) -> Outcome:
    """Ten times the rated load: goodput, refusals, health, and whether anybody starves."""
    outcome = Outcome("overload")
    async with _opened(plan) as scene:
        rated = await scene.offer(plan.sized(6, 30), callers=LIMIT, prefix="rated")
        storm = plan.sized(12, 120)
        beside = Bystanders(scene.server, PATIENT_CALLERS, PATIENCE_SECONDS)
        async with beside.beside(storm):
            rate = TIMES * rated.measured.goodput
            over = await scene.offer(storm, rate=rate, prefix="over")
        _count(outcome, rated.measured, over.measured)
        outcome.failed_calls += len(beside.starved)
        outcome.figures = _figures(plan, rated, over, beside)
        outcome.violations["trace of a call that was refused, or half a turn"] = abs(
            await scene.turns() - len(scene.model.calls)
        )
    return outcome


@dataclass(frozen=True, slots=True)
class _Run:
    """What came of a load, and the server's CPU meanwhile, from its first call to its last."""

    measured: Measured
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class _Scene:
    plan: Plan
    mongod: Mongod
    model: OpenAIStub
    server: ServerProcess

    async def offer(
        self, seconds: float, *, prefix: str, rate: float = 0.0, callers: int = 0
    ) -> _Run:
        load = Load(
            self.server.address,
            WARM_UP_SECONDS + seconds,
            WARM_UP_SECONDS,
            rate=rate,
            callers=callers,
            prefix=prefix,
            seed=self.plan.seed,
        )
        before = cpu_seconds(self.server.pid)
        measured = await offered(load, self.plan.folder)
        spent = cpu_seconds(self.server.pid) - before
        return _Run(measured, spent * measured.seconds / load.seconds)

    async def turns(self) -> int:
        """How many turns are completed, less those that are not: each asked the model once."""
        async with AsyncMongoClient[dict[str, object]](self.mongod.url) as client:
            turns = client[DATABASE]["turns"]
            completed = await turns.count_documents({"status": "COMPLETED"})
            return completed - await turns.count_documents({"status": {"$ne": "COMPLETED"}})


@asynccontextmanager
async def _opened(plan: Plan) -> AsyncIterator[_Scene]:
    model = OpenAIStub(delay_seconds=MODEL_SECONDS)
    async with Mongod(plan.folder / "mongod") as mongod, model:
        env = environment(mongod.url_for(DATABASE), model, max_concurrent_calls=LIMIT)
        async with ServerProcess(env) as server:
            with apart(server.pid, mongod.pid):
                yield _Scene(plan, mongod, model, server)


def _count(outcome: Outcome, rated: Measured, over: Measured) -> None:
    for each in (rated, over):
        outcome.statuses.update(each.statuses)
    outcome.calls = sum(outcome.statuses.values())
    refused = len(rated.refusal_ms) + len(over.refusal_ms)
    outcome.faults["calls refused"] = refused
    # Whoever was neither answered nor refused was let down.
    outcome.failed_calls = outcome.calls - outcome.statuses["OK"] - refused
    without = rated.without_retry_info + over.without_retry_info
    outcome.violations["refusal without RetryInfo"] = without


def _figures(plan: Plan, rated: _Run, over: _Run, beside: Bystanders) -> dict[str, Figure]:
    one, all_, seconds = rated.measured, over.measured, over.measured.seconds
    patient = beside.answered_between(all_.counts_from, all_.counts_from + seconds)
    goodput = all_.goodput + patient / seconds
    turn = rated.cpu_seconds / one.answered
    refusal = (over.cpu_seconds - goodput * seconds * turn) / max(len(all_.refusal_ms), 1)
    return {
        "rated load": Figure(one.goodput, "turns/s"),
        "load offered": Figure(all_.offered, "calls/s"),
        # A load generator that cannot keep up would make it easy.
        "load offered, times the rated": Figure(
            all_.offered / one.goodput, "", at_least=0.9 * TIMES if plan.full else None
        ),
        "calls not made, too many being open": Figure(all_.not_made, ""),
        "goodput against the rated": Figure(
            100 * goodput / one.goodput, "%", at_least=90 if plan.full else 50
        ),
        "refusals, p99": Figure(p99(all_.refusal_ms), "ms", at_most=plan.at_most(20)),
        "health checks answered": Figure(
            100 * beside.healthy, "%", at_least=100 if plan.full else None
        ),
        "health checks, p99": Figure(p99(beside.health_ms), "ms"),
        "answers, p99": Figure(p99(all_.answer_ms), "ms"),
        "longest wait of a patient caller": Figure(max(beside.waits, default=0), "s"),
        "CPU of a turn at the rated load": Figure(1000 * turn, "ms"),
        "CPU of a refusal": Figure(1000 * refusal, "ms"),
    }
