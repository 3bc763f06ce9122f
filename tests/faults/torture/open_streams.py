"""A thousand streams open at once, held while the model thinks, then all let go on.

They open `AT_A_TIME`: what is looked at is a thousand that are open, not a thousand that come in
one moment, which are some seconds of CPU. They go on together, and all are to be answered whole.
Three times over: what the first rounds take and do not give back, pools and the arenas of the
allocator, is there already in the last one, which must not take much more. The quick size has 200.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.faults.service import environment
from tests.faults.torture.outcome import Figure, Outcome
from tests.faults.torture.sections import Plan
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.process_figures import resident_mib
from tests.kit.server_process import ServerProcess
from turnkeep.v1 import conversation_pb2 as pb

CHANNELS = 4
AT_A_TIME = 32
HELD_SECONDS = 2.0
_CALL_SECONDS = 120.0


async def open_streams(plan: Plan) -> Outcome:
    """A thousand streams at once: all open, all answered whole, and the memory they take."""
    outcome = Outcome("open-streams")
    streams = plan.sized(200, 1_000)
    async with _opened(plan, streams) as scene:
        await scene.round("warm-up", 1)
        empty = resident_mib(scene.server.pid)
        first, second, third = [await scene.round(str(n), streams) for n in range(3)]
        wrong = scene.wrong
    outcome.calls = 3 * streams
    outcome.statuses["OK"] = outcome.calls - wrong
    outcome.violations["stream not answered whole"] = wrong
    outcome.figures = {
        "streams open at once": Figure(streams, ""),
        "memory of an open stream": Figure(1024 * (first - empty) / streams, "KiB", at_most=200),
        "more in the third round than in the second": Figure(third - second, "MiB", at_most=10),
        "server's memory while they are open": Figure(third, "MiB"),
    }
    return outcome


@dataclass(slots=True)
class _Scene:
    model: OpenAIStub
    server: ServerProcess
    stubs: list[Any]
    wrong: int = 0

    async def round(self, name: str, streams: int) -> float:
        """The server's memory while all are open, in MiB."""
        go_on, before = asyncio.Event(), len(self.model.calls)
        opening = asyncio.Semaphore(AT_A_TIME)

        async def hold(_: object) -> None:
            opening.release()
            await go_on.wait()

        self.model.gate = hold
        begun = []
        for number in range(streams):
            await opening.acquire()
            begun.append(asyncio.create_task(self._stream(f"{name}-{number}", number)))
        try:
            await self.model.arrived(before + streams, _CALL_SECONDS)
            await asyncio.sleep(HELD_SECONDS)
            held = resident_mib(self.server.pid)
        finally:
            go_on.set()
            answers = await asyncio.gather(*begun, return_exceptions=True)
        self.wrong += sum(each is not True for each in answers)
        return held

    async def _stream(self, name: str, number: int) -> bool:
        """Whether a stream began, and was answered as the model did."""
        text = f"{name} Привет 你好 🙂"
        request = pb.ChatRequest(session_id=name, text=text, request_id=name)
        stub = self.stubs[number % CHANNELS]
        events = [each async for each in stub.StreamChat(request, timeout=_CALL_SECONDS)]
        said = "".join(each.delta.text for each in events)
        reply = events[-1].completed.message.text
        return events[0].HasField("started") and said == reply == f"reply to: {text}"


@asynccontextmanager
async def _opened(plan: Plan, streams: int) -> AsyncIterator[_Scene]:
    async with Mongod(plan.folder / "mongod") as mongod, OpenAIStub() as model:
        env = environment(mongod.url_for("streams"), model, max_concurrent_calls=streams)
        # A thousand replies are committed in one moment; on a slow machine that takes its time.
        env["TURNKEEP_HISTORY_TIMEOUT_SECONDS"] = "60"
        async with ServerProcess(env) as server:
            yield _Scene(model, server, [server.stub()[1] for _ in range(CHANNELS)])
