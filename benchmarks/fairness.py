"""One tenant far over its limit beside one at its normal load: what the other notices.

    .venv/bin/python -m benchmarks.fairness            some four minutes
    .venv/bin/python -m benchmarks.fairness --quick    half a minute, to see that it runs

The *neighbour* makes its turns at random times (Poisson), whatever became of those before. Slices
in which it is alone alternate with slices in which another tenant *floods* the server, from a
process of its own, at 20 times its limit; all is on loopback, the server has a core to itself,
everything else shares the other, where the flood's process gives way to those that serve and
measure. The model takes its time, as models do, so that a turn is not made of scheduling noise
alone. What counts is the ratio of the neighbour's p99, beside against alone, of
all slices of one run.

Two kinds of flood: `rate`, calls at 20 times the tenant's requests a second, which wait for
nobody; and `turns`, 20 times as many callers as the tenant may have turns at once, each of which
calls again the moment it is refused, as a caller does that does not know better.

Exits with 1 if a ratio is over its bound; --quick judges nothing.
"""

# ruff: noqa: T201 - a benchmark talks

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiohttp import ClientSession

from tests.faults.torture.open_load import Load, Measured, offered
from tests.faults.torture.own_core import apart
from tests.kit.mongod import Mongod
from tests.kit.process_figures import cpu_seconds
from tests.kit.server_process import ServerProcess
from tests.kit.tenants import key_of, keys_file

BOUND = 1.3
TIMES = 20
NEIGHBOUR, FLOODING = "neighbour", "flooding"
_WARM_UP_SECONDS = 2.0
# A process that makes a load loads gRPC first; the flood is to be there before the neighbour.
_FLOOD_AHEAD_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tried. Rates are in calls a second, for each tenant alike."""

    limit: float = 50.0
    turns: int = 16
    normal: float = 20.0
    model_seconds: float = 0.15
    slice_seconds: float = 12.0
    rounds: int = 4

    @property
    def floods(self) -> dict[str, Load]:
        """The loads of the tenant that is over its limits, by the limit."""
        flood = Load("", 0.0, sessions=1_000, most_open=4_000, token=key_of(FLOODING), nice=10)
        return {
            "rate": replace(flood, rate=TIMES * self.limit, prefix="flood-rate"),
            "turns": replace(flood, callers=TIMES * self.turns, prefix="flood-turns"),
        }


@dataclass(slots=True)
class Seen:
    """What the neighbour saw in all slices of one kind, and what the flood came to meanwhile."""

    answer_ms: list[float] = field(default_factory=list)
    failed: int = 0
    flood_offered: list[float] = field(default_factory=list)
    flood_answered: list[float] = field(default_factory=list)
    server_cores: list[float] = field(default_factory=list)

    @property
    def p99(self) -> float:
        """The neighbour's, in milliseconds."""
        ordered = sorted(self.answer_ms)
        return ordered[int(len(ordered) * 0.99)]

    @property
    def median(self) -> float:
        """The same."""
        return sorted(self.answer_ms)[len(self.answer_ms) // 2]

    def add(self, neighbour: Measured, flood: Measured | None, cores: float) -> None:
        """Counts a slice."""
        self.answer_ms += neighbour.answer_ms
        self.failed += sum(neighbour.statuses.values()) - neighbour.answered
        self.server_cores.append(cores)
        if flood:
            self.flood_offered.append(flood.offered)
            self.flood_answered.append(flood.goodput)


@dataclass(frozen=True, slots=True)
class Scene:
    """The server that is measured, and where the loads leave what they saw."""

    server: ServerProcess
    folder: Path
    plan: Plan

    async def slice(
        self, flood: Load | None, number: int
    ) -> tuple[Measured, Measured | None, float]:
        """The neighbour for a slice, alone or beside a flood; and the server's cores meanwhile."""
        plan = self.plan
        neighbour = Load(
            self.server.address,
            _WARM_UP_SECONDS + plan.slice_seconds,
            _WARM_UP_SECONDS,
            rate=plan.normal,
            sessions=200,
            prefix=f"neighbour-{number}",
            seed=number,
            token=key_of(NEIGHBOUR),
        )
        flooding = asyncio.create_task(self._flooded(flood, neighbour.seconds, number))
        await asyncio.sleep(_FLOOD_AHEAD_SECONDS if flood else 0)
        before = cpu_seconds(self.server.pid)
        measured = await offered(neighbour, self.folder)
        cores = (cpu_seconds(self.server.pid) - before) / neighbour.seconds
        return measured, await flooding, cores

    async def _flooded(self, flood: Load | None, seconds: float, number: int) -> Measured | None:
        if flood is None:
            return None
        # It goes on until the neighbour's last call has been answered.
        load = replace(
            flood,
            address=self.server.address,
            seconds=seconds + 2 * _FLOOD_AHEAD_SECONDS,
            warm_up_seconds=_FLOOD_AHEAD_SECONDS,
            prefix=f"{flood.prefix}-{number}",
        )
        return await offered(load, self.folder)


@asynccontextmanager
async def opened(plan: Plan) -> AsyncIterator[Scene]:
    """A server of two tenants with the same limits, over a real mongod and a slow model."""
    with tempfile.TemporaryDirectory(prefix="turnkeep-fairness-") as name:
        folder = Path(name)
        model = ServerProcess({}, module="benchmarks.model")
        async with Mongod(folder / "mongod") as mongod, model, ClientSession() as http:
            wanted = {"delay_seconds": plan.model_seconds}
            async with http.post(f"http://{model.address}/behaviour", json=wanted) as told:
                told.raise_for_status()
            settings = {
                "TURNKEEP_HISTORY_URL": mongod.url_for("fairness"),
                "OPENAI_BASE_URL": f"http://{model.address}/v1",
                "OPENAI_API_KEY": "none",
                "TURNKEEP_LOG_FORMAT": "json",
                "TURNKEEP_SUMMARY": "off",
                "TURNKEEP_KEYS_FILE": str(keys_file(folder, NEIGHBOUR, FLOODING)),
                "TURNKEEP_TENANT_REQUESTS_PER_SECOND": f"{plan.limit:g}",
                "TURNKEEP_TENANT_CONCURRENT_TURNS": str(plan.turns),
            }
            async with ServerProcess(settings) as server:
                with apart(server.pid, mongod.pid, model.pid):
                    yield Scene(server, folder, plan)


async def measured(plan: Plan, floods: Sequence[str]) -> dict[str, tuple[Seen, Seen]]:
    """What the neighbour saw alone and beside each flood, in slices that alternate."""
    seen = {name: (Seen(), Seen()) for name in floods}
    number = 0
    async with opened(plan) as scene:
        await scene.slice(None, number)  # connections, code, caches
        for _ in range(plan.rounds):
            for name, (alone, beside) in seen.items():
                for load, into in ((None, alone), (plan.floods[name], beside)):
                    number += 1
                    into.add(*await scene.slice(load, number))
    return seen


def report(plan: Plan, seen: dict[str, tuple[Seen, Seen]]) -> list[str]:
    """A line a flood; and the names of those over the bound come after `missed`."""
    lines = [
        f"limits of each tenant: {plan.limit:g} requests/s, {plan.turns} turns at once; "
        f"neighbour {plan.normal:g} turns/s; model {plan.model_seconds * 1_000:g} ms"
    ]
    for name, (alone, beside) in seen.items():
        offered_rate, answered = _mean(beside.flood_offered), _mean(beside.flood_answered)
        lines.append(
            f"{name}: p99 {alone.p99:.0f} -> {beside.p99:.0f} ms, ratio {ratio(alone, beside):.2f} "
            f"(at most {BOUND}); median {alone.median:.0f} -> {beside.median:.0f} ms; "
            f"{len(alone.answer_ms)} and {len(beside.answer_ms)} turns, "
            f"{alone.failed + beside.failed} failed; flood {offered_rate:.0f} calls/s, "
            f"{answered:.0f} served; server {_mean(alone.server_cores):.2f} -> "
            f"{_mean(beside.server_cores):.2f} cores"
        )
    return lines


def ratio(alone: Seen, beside: Seen) -> float:
    """The neighbour's p99 beside a flood, against alone."""
    return beside.p99 / alone.p99


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)


async def main() -> int:
    """Exit code 0 if no flood is noticed more than it may be."""
    usual = Plan()
    parser = argparse.ArgumentParser(description="a tenant over its limits beside another")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--limit", type=float, default=usual.limit, help="requests a second")
    parser.add_argument("--turns", type=int, default=usual.turns, help="turns at once")
    parser.add_argument("--normal", type=float, default=usual.normal, help="neighbour's turns/s")
    parser.add_argument("--model-ms", type=float, default=150.0)
    parser.add_argument("--seconds", type=float, default=usual.slice_seconds, help="of a slice")
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--flood", choices=list(usual.floods), action="append")
    given = parser.parse_args()
    plan = Plan(
        limit=given.limit,
        turns=given.turns,
        normal=given.normal,
        model_seconds=given.model_ms / 1_000,
        slice_seconds=3.0 if given.quick else given.seconds,
        rounds=1 if given.quick else given.rounds,
    )
    seen = await measured(plan, given.flood or list(plan.floods))
    print("\n".join(report(plan, seen)))
    missed = [name for name, each in seen.items() if ratio(*each) > BOUND or each[1].failed]
    if missed and not given.quick:
        print(f"missed: {', '.join(missed)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
