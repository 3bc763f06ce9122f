"""What a benchmark runs on: one mongod, the model, and the servers, each a process of its own.

The server that is measured has the first core to itself. Database, model and load generator share
the others, so that none of them takes time from what is measured.
"""

import asyncio
import os
import tempfile
from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aiohttp import ClientSession, TCPConnector

from benchmarks import load, machine
from benchmarks.servers import KINDS, Kind
from benchmarks.sessions import TEMPLATE, multiply
from tests.kit.mongod import Mongod
from tests.kit.server_process import ServerProcess
from turnkeep.v1 import conversation_pb2 as pb

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub as Stub

WARM_UP_SESSIONS, WARM_UP_SECONDS = 64, 2.0


@dataclass(frozen=True, slots=True)
class Running:
    """A kind of server that runs: its processes, and stubs to call them in turns."""

    processes: tuple[ServerProcess, ...]
    stubs: "tuple[Stub, ...]"

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes that were started; they may have children."""
        return tuple(each.pid for each in self.processes)


class Stage:
    """Database and model run between __aenter__ and __aexit__, a server once it is asked for."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._running: dict[str, Running] = {}
        self._multiplied: dict[tuple[str, str], deque[str]] = {}

    async def __aenter__(self) -> Self:
        # For good: threads that gRPC starts later are to stay there too.
        os.sched_setaffinity(0, machine.other_cores())
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="turnkeep-bench-"))
        try:
            self.mongod = await self._stack.enter_async_context(Mongod(Path(folder)))
            self._model = await self._stack.enter_async_context(
                ServerProcess({}, module="benchmarks.model")
            )
            connector = TCPConnector(limit=0)
            self.http = await self._stack.enter_async_context(ClientSession(connector=connector))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def model_url(self) -> str:
        """The model's base URL, as OPENAI_BASE_URL has it."""
        return f"http://{self._model.address}/v1"

    @property
    def _collector_url(self) -> str:
        return f"http://{self._model.address}"

    @property
    def model_pid(self) -> int:
        """The model's process."""
        return self._model.pid

    async def behave(self, *, delay_seconds: float = 0.0, hold: bool = False) -> None:
        """What the model's answers from now on do."""
        wanted = {"delay_seconds": delay_seconds, "hold": hold}
        async with self.http.post(f"http://{self._model.address}/behaviour", json=wanted) as told:
            told.raise_for_status()

    async def server(self, name: str) -> Running:
        """The servers of a kind, warm; started if they do not run yet."""
        if name not in self._running:
            self._running[name] = await self._start(KINDS[name])
            await self._warm_up(name, self._running[name])
        return self._running[name]

    async def stop(self, name: str) -> None:
        """Ends the servers of a kind, if they run; they are started anew when asked for again."""
        if running := self._running.pop(name, None):
            for each in running.processes:
                each.kill()

    def database(self, kind: Kind) -> str:
        """The URL of a family's database."""
        return self.mongod.url_for(kind.family)

    def sessions(self, name: str, label: str, *, count: int, turns: int) -> deque[str]:
        """Sessions of so many turns each, for a kind that runs; the same ones for a label."""
        kind = KINDS[name]
        if (kind.family, label) not in self._multiplied:
            session_ids = deque(f"{label}-{n}" for n in range(count))
            multiply(self.database(kind), kind.family, session_ids, turns)
            self._multiplied[kind.family, label] = session_ids
        return self._multiplied[kind.family, label]

    def no_sessions(self, count: int) -> deque[str]:
        """Names of sessions that are nowhere, for so many callers of the model itself."""
        return deque(f"none-{n}" for n in range(count))

    async def _start(self, kind: Kind) -> Running:
        cores = machine.measured_cores() if kind.alone else machine.all_cores()
        processes: list[ServerProcess] = []
        for _ in range(kind.processes):
            process = ServerProcess(self._environment(kind), module=kind.module)
            with machine.pinned(cores):
                await self._stack.enter_async_context(process)
            processes.append(process)
        stubs = [each.stub()[1] for each in processes for _ in range(kind.channels)]
        return Running(tuple(processes), tuple(stubs))

    def _environment(self, kind: Kind) -> Mapping[str, str]:
        return {
            "TURNKEEP_HISTORY_URL": self.database(kind),
            "OPENAI_BASE_URL": self.model_url,
            "OPENAI_API_KEY": "none",
            **({"OTEL_EXPORTER_OTLP_ENDPOINT": self._collector_url} if kind.traced else {}),
            **kind.env,
        }

    async def _warm_up(self, name: str, running: Running) -> None:
        """Connections are open, code is loaded, and there is a turn to multiply."""
        if (KINDS[name].family, TEMPLATE) not in self._multiplied:
            request = pb.ChatRequest(session_id=TEMPLATE, text=load.QUESTION)
            await running.stubs[0].Chat(request)
            self._multiplied[KINDS[name].family, TEMPLATE] = deque()
        fresh = deque(f"warm-up-{name}-{n}" for n in range(WARM_UP_SESSIONS))
        for rpc in ("chat", "stream"):
            await load.load(
                load.calls(running.stubs, rpc),
                fresh,
                concurrency=WARM_UP_SESSIONS // 2,
                seconds=WARM_UP_SECONDS / 2,
            )


async def settled() -> None:
    """A moment for what goes on behind the calls, such as the list of sessions."""
    await asyncio.sleep(0.1)
