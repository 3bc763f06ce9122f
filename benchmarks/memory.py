"""Memory: of a server that has touched 100,000 sessions, and of one that holds 1,000 open streams.

    .venv/bin/python -m benchmarks.memory                     both
    .venv/bin/python -m benchmarks.memory --row streams       one of them: sessions or streams
    .venv/bin/python -m benchmarks.memory --quick             a fiftieth of it, to see that it runs

A session is touched by an AddMessages that begins it. A stream is open when its first token has
come; the model holds them all there, until their callers hang up. Absolute figures, no bounds; it
fails if a call does.
"""

# ruff: noqa: T201 - a benchmark talks

import argparse
import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import load
from benchmarks.stage import Stage, settled
from benchmarks.tables import table
from tests.kit import process_figures
from turnkeep.v1 import conversation_pb2 as pb

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub as Stub

SESSIONS, STREAMS, QUICKER = 100_000, 1_000, 50
CALLERS = 64
# A threaded server holds as many streams as it has threads, and keeps the others waiting.
# Nor is it the documented stock, which opens a MongoClient for each, threads and all: of 1,000
# streams some had no first token after three minutes.
HOLDING = ("turnkeep", "tuned-aio", "floor")
FIRST_TOKENS_SECONDS, CALL_SECONDS = 180.0, 300.0


@dataclass(frozen=True, slots=True)
class Grown:
    """A server's memory in MiB before, at most, and after, and how many things made it grow."""

    server: str
    row: str
    count: int
    before_mib: float
    peak_mib: float
    after_mib: float

    @property
    def kib_each(self) -> float:
        """The most that one of them took, KiB."""
        return (self.peak_mib - self.before_mib) / self.count * 1024

    def told(self) -> tuple[str, ...]:
        """As a table's line."""
        figures = (self.before_mib, self.peak_mib, self.after_mib)
        again = f"`python -m benchmarks.memory --row {self.row}`"
        counted = f"{self.count:,} {self.row}"
        return (self.server, counted, *(f"{n:.0f}" for n in figures), f"{self.kib_each:.2f}", again)


def memory_table(grown: Sequence[Grown]) -> str:
    """All of it."""
    heads = ("server", "what", "MiB before", "peak MiB", "MiB after", "KiB each", "again with")
    return table(heads, [each.told() for each in grown])


async def measured(rows: list[str], *, quick: bool) -> list[Grown]:
    """What the rows come to. Raises AioRpcError or TimeoutError if calls fail."""
    fewer = QUICKER if quick else 1
    grown = []
    async with Stage() as stage:
        if "streams" in rows:
            grown += [await holding(stage, name, STREAMS // fewer) for name in HOLDING]
        if "sessions" in rows:
            grown.append(await touching(stage, "turnkeep", SESSIONS // fewer))
    return grown


async def touching(stage: Stage, name: str, count: int) -> Grown:
    """A server that gets a message for each of so many sessions."""
    running = await stage.server(name)
    fresh = deque(f"touched-{n}" for n in range(count))
    before = _begin(running.pids)
    call = load.calls(running.stubs, "add")

    async def caller() -> None:
        while fresh:
            await call(fresh.popleft())

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return await _ended(name, "sessions", count, before, running.pids)


async def holding(stage: Stage, name: str, count: int) -> Grown:
    """A server that holds so many streams open at once, until their callers hang up."""
    running = await stage.server(name)
    # Servers limit the streams of a connection: these are spread over a few.
    stubs = [each.stub()[1] for each in running.processes for _ in range(4)]
    before = _begin(running.pids)
    await stage.behave(hold=True)
    begun = asyncio.Semaphore(0)
    streams = [
        asyncio.create_task(_open_stream(stubs[n % len(stubs)], f"held-{n}", begun))
        for n in range(count)
    ]
    async with asyncio.timeout(FIRST_TOKENS_SECONDS):
        for _ in range(count):
            await begun.acquire()
    for each in streams:
        each.cancel()
    await asyncio.wait(streams)
    await stage.behave()
    return await _ended(name, "streams", count, before, running.pids)


async def _open_stream(stub: "Stub", session_id: str, begun: asyncio.Semaphore) -> None:
    """Reads a stream until it is cancelled, and tells when its first token has come."""
    request = pb.ChatRequest(session_id=session_id, text=load.QUESTION)
    async for event in stub.StreamChat(request, timeout=CALL_SECONDS):
        if event.WhichOneof("event") == "delta":
            begun.release()


def _begin(pids: tuple[int, ...]) -> float:
    for pid in pids:
        process_figures.forget_peak(pid)
    return sum(map(process_figures.resident_mib, pids))


async def _ended(name: str, row: str, count: int, before: float, pids: tuple[int, ...]) -> Grown:
    await settled()
    peak, after = (
        sum(map(process_figures.peak_mib, pids)),
        sum(map(process_figures.resident_mib, pids)),
    )
    return Grown(name, row, count, before, peak, after)


def main() -> int:
    """Exit code 0; what fails, raises."""
    parser = argparse.ArgumentParser(description="what sessions and open streams take of memory")
    parser.add_argument("--row", action="append", choices=["sessions", "streams"])
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    rows = asked.row or ["streams", "sessions"]
    print(memory_table(asyncio.run(measured(rows, quick=asked.quick))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
