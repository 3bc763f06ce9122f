"""A cell of the matrix: one server under one load; how it is named, measured and told."""

import statistics
from dataclasses import dataclass, field
from typing import Any, Self

from benchmarks import load
from benchmarks.stage import Stage, settled
from tests.kit import process_figures

MODEL = "model"
"""In a server's place: the model, asked with nothing between."""
_TURNS_A_MESSAGE = 0.5
_WARM_UP_CALLERS, _WARM_UP_SECONDS = 4, 0.3
# So many that a session of a short cell grows by a turn or two while it is measured.
_SESSIONS = {10: 1_024, 20: 1_024, 100: 256}
# From here on a few turns more make no difference: one session a caller, and cells share them.
_LONG = 1_000


@dataclass(frozen=True, slots=True)
class Cell:
    """A server, how many messages its sessions have, how many callers it has, what they call.

    `delay_ms` is how long the model takes to its first byte.
    """

    server: str
    messages: int = 20
    concurrency: int = 32
    rpc: str = "chat"
    delay_ms: int = 0

    @property
    def name(self) -> str:
        """What `--cell` takes: SERVER/MESSAGES/CALLERS/RPC, and the model's delay if it has one."""
        parts = [self.server, self.messages, self.concurrency, self.rpc]
        return "/".join(map(str, [*parts, self.delay_ms] if self.delay_ms else parts))

    @classmethod
    def named(cls, name: str) -> Self:
        """The cell of a name. ValueError if it is none."""
        server, messages, concurrency, rpc, *delay = name.split("/")
        return cls(server, int(messages), int(concurrency), rpc, *map(int, delay))

    @property
    def load(self) -> tuple[int, int, str, int]:
        """What cells that are compared have in common."""
        return self.messages, self.concurrency, self.rpc, self.delay_ms


@dataclass(slots=True)
class Measured:
    """What a cell came to, over all its slices."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    database_cpu_seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)
    first_token_milliseconds: list[float] = field(default_factory=list)
    failed: int = 0
    peak_mib: float = 0.0
    after_mib: float = 0.0

    @property
    def calls(self) -> int:
        """Calls that were answered."""
        return len(self.milliseconds)

    @property
    def calls_a_second(self) -> float:
        """Answered calls a second."""
        return self.calls / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds of the server a call, all its processes and threads."""
        return self.cpu_seconds / self.calls * 1e3

    @property
    def database_cpu_ms(self) -> float:
        """CPU milliseconds of the database a call."""
        return self.database_cpu_seconds / self.calls * 1e3

    @property
    def first_token_ms(self) -> float:
        """The median time to the first token."""
        return statistics.median(self.first_token_milliseconds)

    def percentile(self, n: int) -> float:
        """The n-th percentile of the calls' milliseconds."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) * n // 100, len(ordered) - 1)]

    def figures(self) -> dict[str, Any]:
        """What is told of it, for the JSON and the tables; rounded to what means something."""
        told = {
            "calls": self.calls,
            "failed": self.failed,
            "seconds": round(self.seconds, 2),
            "calls_a_second": float(f"{self.calls_a_second:.3g}"),
            "cpu_ms": round(self.cpu_ms, 2),
            "database_cpu_ms": round(self.database_cpu_ms, 2),
            "p50_ms": round(self.percentile(50), 1),
            "p99_ms": round(self.percentile(99), 1),
            "peak_mib": round(self.peak_mib),
            "after_mib": round(self.after_mib),
        }
        if self.first_token_milliseconds:
            told["first_token_ms"] = round(self.first_token_ms, 2)
        return told


async def prepare(stage: Stage, cell: Cell) -> None:
    """Its server runs, its sessions are there, and a few calls were made on them."""
    call, sessions, _ = await _prepared(stage, cell)
    callers = min(_WARM_UP_CALLERS, cell.concurrency)
    await load.load(call, sessions, concurrency=callers, seconds=_WARM_UP_SECONDS)


async def measure(stage: Stage, cell: Cell, measured: Measured, seconds: float) -> None:
    """Adds one slice of so many seconds to what was measured of the cell; `prepare` it first."""
    await stage.behave(delay_seconds=cell.delay_ms / 1e3)
    call, sessions, pids = await _prepared(stage, cell)
    await settled()
    for pid in pids:
        process_figures.forget_peak(pid)
    cpu, database_cpu = _cpu(pids), process_figures.cpu_seconds(stage.mongod.pid)
    seen = await load.load(call, sessions, concurrency=cell.concurrency, seconds=seconds)
    measured.cpu_seconds += _cpu(pids) - cpu
    measured.database_cpu_seconds += process_figures.cpu_seconds(stage.mongod.pid) - database_cpu
    measured.seconds += seen.seconds
    measured.milliseconds += seen.milliseconds
    measured.first_token_milliseconds += seen.first_token_milliseconds
    measured.failed += seen.failed
    measured.peak_mib = max(measured.peak_mib, sum(map(process_figures.peak_mib, pids)))
    measured.after_mib = sum(map(process_figures.resident_mib, pids))


async def _prepared(stage: Stage, cell: Cell) -> tuple[load.Call, Any, tuple[int, ...]]:
    """How to call, on which sessions, and whose CPU time counts."""
    if cell.server == MODEL:
        call = load.model_alone(stage.http, stage.model_url)
        return call, stage.no_sessions(cell.concurrency), (stage.model_pid,)
    running = await stage.server(cell.server)
    count = _SESSIONS.get(cell.messages, cell.concurrency)
    label = f"{cell.messages}-by-{count}" if cell.messages >= _LONG else cell.name
    turns = int(cell.messages * _TURNS_A_MESSAGE)
    sessions = stage.sessions(cell.server, label, count=count, turns=turns)
    return load.calls(running.stubs, cell.rpc), sessions, running.pids


def _cpu(pids: tuple[int, ...]) -> float:
    return sum(map(process_figures.cpu_seconds, pids))
