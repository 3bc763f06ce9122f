"""MongoDB goes away and comes back: calls wait or fail cleanly, nothing acknowledged is lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from tests.faults.service import Caller, Stopwatch, environment, texts
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import call_error, error_of

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
HISTORY_AWAY = (grpc.StatusCode.UNAVAILABLE, "HISTORY_UNAVAILABLE")
WAITED = (grpc.StatusCode.DEADLINE_EXCEEDED, "WAIT_TIMEOUT")
MODEL_LATE = (grpc.StatusCode.DEADLINE_EXCEEDED, "MODEL_TIMEOUT")
WORKERS = 6
TURNS_BEFORE, TURNS_AFTER = 5, 5
ATTEMPTS = 100
CALL_SECONDS = 2.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own_mongod(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mongod]:
    """A mongod that these tests may kill."""
    async with Mongod(tmp_path_factory.mktemp("away")) as mongod:
        yield mongod


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(own_mongod: Mongod, model_provider: OpenAIStub) -> AsyncIterator[ServerProcess]:
    """One server for all these tests: none of them may need a restart."""
    async with ServerProcess(environment(own_mongod.url_for("away"), model_provider)) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller(server: ServerProcess) -> Caller:
    """A caller of that server."""
    return Caller(server)


@dataclass
class Load:
    """Callers that talk on and on, each in a session of its own, and retry what fails.

    A call fails UNAVAILABLE; or, sent again, it waits for its first attempt longer than it may, or
    so long that too little time is left for the model.
    """

    caller: Caller
    done: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    failures: list[tuple[grpc.StatusCode, str]] = field(default_factory=list)

    async def talk(self, session_id: str) -> None:
        """Turns until `done`, each under one request_id however often it takes."""
        turns = self.acknowledged.setdefault(session_id, [])
        while not self.done.is_set():
            turns += await self._turn(session_id, len(turns) // 2)

    async def reaches(self, turns: int) -> None:
        """Waits until every session has as many more turns as this."""
        wanted = {name: len(kept) + 2 * turns for name, kept in self.acknowledged.items()}
        async with asyncio.timeout(40):
            while any(len(self.acknowledged[name]) < count for name, count in wanted.items()):
                await asyncio.sleep(0.02)

    async def _turn(self, session_id: str, n: int) -> list[tuple[int, str]]:
        for _ in range(ATTEMPTS):
            try:
                answer = await self.caller.chat(
                    session_id, f"question {n}", request_id=f"r-{n}", timeout_seconds=CALL_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                self.failures.append(call_error(error).what)
                if call_error(error).what not in {HISTORY_AWAY, WAITED, MODEL_LATE}:
                    raise
                await asyncio.sleep(0.05)
            else:
                return [(answer.sequence, f"question {n}"), (answer.sequence, answer.message.text)]
        raise AssertionError(f"turn {n} of {session_id} failed {ATTEMPTS} times")


async def test_mongod_killed_under_load_loses_and_doubles_nothing(
    own_mongod: Mongod, caller: Caller, model: OpenAIStub
) -> None:
    model.delay_seconds = 0.02
    load = Load(caller)
    async with asyncio.TaskGroup() as tasks:
        for n in range(WORKERS):
            tasks.create_task(load.talk(f"load-{n}"))
        await asyncio.sleep(0)
        await load.reaches(TURNS_BEFORE)
        own_mongod.kill()
        await caller.health_becomes("NOT_SERVING")
        # Down for as long as any of the calls may take.
        down = await error_of(caller.chat("down", "anybody?", timeout_seconds=CALL_SECONDS))
        assert down.what == HISTORY_AWAY
        await own_mongod.start()
        await caller.health_becomes("SERVING")
        await load.reaches(TURNS_AFTER)
        load.done.set()

    print({f"{code.name} {reason}": load.failures.count((code, reason))
           for code, reason in set(load.failures)})  # fmt: skip
    assert HISTORY_AWAY in load.failures
    for session_id, acknowledged in load.acknowledged.items():
        assert texts(await caller.messages(session_id)) == acknowledged


async def test_a_frozen_mongod_fails_calls_within_their_deadlines(
    own_mongod: Mongod, caller: Caller, model: OpenAIStub
) -> None:
    await caller.chat("frozen", "before")
    own_mongod.pause()
    try:
        waited = Stopwatch()
        error = await error_of(
            caller.chat("frozen", "while", request_id="r", timeout_seconds=CALL_SECONDS)
        )
        assert error.what == HISTORY_AWAY
        assert waited.seconds < CALL_SECONDS
        await caller.health_becomes("NOT_SERVING")
    finally:
        own_mongod.resume()
    await caller.health_becomes("SERVING")

    answer = await caller.chat("frozen", "while", request_id="r")
    assert texts(await caller.messages("frozen")) == [
        *((1, "before"), (1, "reply to: before")),
        *((answer.sequence, "while"), (answer.sequence, "reply to: while")),
    ]


async def test_a_mongod_killed_while_the_model_thinks_keeps_the_turn(
    own_mongod: Mongod, caller: Caller, model: OpenAIStub
) -> None:
    model.delay_seconds = 0.5
    thinking = asyncio.create_task(caller.chat("thinking", "hm?", request_id="r"))
    await model.arrived(1)
    own_mongod.kill()
    await asyncio.sleep(1.0)
    await own_mongod.start()
    assert (await thinking).sequence == 1
    assert texts(await caller.messages("thinking")) == [(1, "hm?"), (1, "reply to: hm?")]
