"""Every command of every RPC fails, in every way: sent again, the call happens, and happens once.

The n-th command of a name that a call sends fails, with those after it, until it is seen to have
failed; so for n = 1, 2, 3 … as many as the call sends. What a command does is left to MongoDB.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.faults.service import Caller, environment, texts
from tests.kit.fail_command import (
    CLOSED,
    RETRYABLE,
    Failure,
    delayed,
    done_but,
    error,
    failing,
    times_entered,
)
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import call_error
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
MAY_END = {
    (grpc.StatusCode.UNAVAILABLE, "HISTORY_UNAVAILABLE"),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "WAIT_TIMEOUT"),
    # The time went by before the model was asked.
    (grpc.StatusCode.DEADLINE_EXCEEDED, "MODEL_TIMEOUT"),
    (grpc.StatusCode.ABORTED, "TURN_TAKEN_OVER"),
}
ATTEMPT_SECONDS = 2.0
ATTEMPTS = 40
MOST_COMMANDS = 12
_numbers = itertools.count()
QUESTION = "Что такое 自由? 🙂"

LATE = delayed(ATTEMPT_SECONDS + 0.3)
READS = [CLOSED, error("MaxTimeMSExpired", 50)]
WRITES = [*READS, done_but("done, not confirmed", 64)]
READS_IN_FULL = [*READS, error("HostUnreachable", 6), error("ExceededTimeLimit", 262), LATE]
WRITES_IN_FULL = [
    *READS_IN_FULL,
    error("WriteConcernFailed", 64),
    error("HostUnreachable, labelled", 6, *RETRYABLE),
    done_but("done, not confirmed", 64),
    done_but("done, not confirmed, labelled", 64, *RETRYABLE),
]
# After these the driver looks for another primary, which takes it a heartbeat.
NOT_PRIMARY = [
    error("NotWritablePrimary", 10107, *RETRYABLE),
    error("InterruptedAtShutdown", 11600, *RETRYABLE),
    done_but("done, primary gone", 11602, *RETRYABLE),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller(mongod: Mongod, model_provider: OpenAIStub) -> AsyncIterator[Caller]:
    # No lease runs out: the sweep that looks for those would send commands between the call's.
    env = environment(mongod.url_for(fresh_database_name()), model_provider, lease_seconds=600)
    async with ServerProcess(env) as server:
        yield Caller(server)


Check = Callable[[], Coroutine[None, None, None]]


@dataclass
class Calls:
    """The calls on one session, each sent again under its request_id until it succeeds.

    Each method makes one, and returns how to check, when nothing fails any more, what came of it.
    """

    caller: Caller
    session_id: str
    ended: list[tuple[grpc.StatusCode, str]] = field(default_factory=list)
    """How attempts failed."""

    async def chat(self) -> Check:
        answer = await self._sent(lambda: self._chat(streamed=False))
        return partial(self._is_one_turn, answer)

    async def stream(self) -> Check:
        answer = await self._sent(lambda: self._chat(streamed=True))
        return partial(self._is_one_turn, answer)

    async def add(self) -> Check:
        request = pb.AddMessagesRequest(
            session_id=self.session_id, messages=[pb.Message(text=QUESTION)], request_id="r"
        )
        added = await self._sent(lambda: self._stub.AddMessages(request, timeout=ATTEMPT_SECONDS))

        async def check() -> None:
            kept = texts(await self.caller.messages(self.session_id))
            assert kept == [(added.sequence, QUESTION)]
            assert (await self.caller.add(self.session_id, QUESTION, request_id="r")).replayed

        return check

    async def clear(self) -> Check:
        request = pb.ClearSessionRequest(session_id=self.session_id)
        await self._sent(lambda: self._stub.ClearSession(request, timeout=ATTEMPT_SECONDS))

        async def check() -> None:
            assert await self.caller.messages(self.session_id, unfinished=True) == []
            listed = await self.caller.sessions("", 1_000)
            assert self.session_id not in {each.session_id for each in listed.sessions}

        return check

    async def list_messages(self) -> Check:
        request = pb.ListMessagesRequest(session_id=self.session_id)
        page = await self._sent(lambda: self._stub.ListMessages(request, timeout=ATTEMPT_SECONDS))
        return partial(_equal, [each.text for each in page.messages], ["before"])

    async def list_sessions(self) -> Check:
        request = pb.ListSessionsRequest(page_size=1_000)
        page = await self._sent(lambda: self._stub.ListSessions(request, timeout=ATTEMPT_SECONDS))
        return partial(_equal, self.session_id in {each.session_id for each in page.sessions}, True)

    async def preview(self) -> Check:
        request = pb.ChatRequest(session_id=self.session_id, text=QUESTION)
        seen = await self._sent(lambda: self._stub.PreviewContext(request, timeout=ATTEMPT_SECONDS))
        return partial(_equal, [each.text for each in seen.messages][-2:], ["before", QUESTION])

    async def prepared(self, turns: int) -> None:
        """So many turns are there before the call."""
        for _ in range(turns):
            await self.caller.add(self.session_id, "before")

    @property
    def _stub(self):  # the stub's type is for mypy alone
        return self.caller.stub

    async def _chat(self, *, streamed: bool) -> pb.ChatResponse:
        request = pb.ChatRequest(session_id=self.session_id, text=QUESTION, request_id="r")
        if not streamed:
            return await self._stub.Chat(request, timeout=ATTEMPT_SECONDS)
        completed = None
        async for event in self._stub.StreamChat(request, timeout=ATTEMPT_SECONDS):
            completed = event.completed
        assert completed is not None
        return completed

    async def _sent(self, attempt: Callable[[], Awaitable]):
        for _ in range(ATTEMPTS):
            try:
                return await attempt()
            except grpc.aio.AioRpcError as failed:
                self.ended.append(call_error(failed).what)
                assert self.ended[-1] in MAY_END
                await asyncio.sleep(0.02)
        raise AssertionError(f"failed {ATTEMPTS} times: {self.ended}")

    async def _is_one_turn(self, answer: pb.ChatResponse) -> None:
        kept = texts(await self.caller.messages(self.session_id))
        assert kept == [(answer.sequence, QUESTION), (answer.sequence, answer.message.text)]
        again = await self.caller.chat(self.session_id, QUESTION, request_id="r")
        assert (again.replayed, again.sequence) == (True, answer.sequence)
        everything = await self.caller.messages(self.session_id, unfinished=True)
        statuses = [each.status for each in everything]
        assert pb.TURN_STATUS_RUNNING not in statuses


async def _equal(found: object, expected: object) -> None:
    assert found == expected


@dataclass(frozen=True)
class Rpc:
    """A call, and how often at least it sends each command. `before`: turns that it needs."""

    call: Callable[[Calls], Coroutine[None, None, Check]]
    commands: dict[str, int]
    before: int = 0

    @property
    def name(self) -> str:
        return self.call.__name__


RPCS = [
    Rpc(Calls.chat, {"find": 1, "update": 2}),
    Rpc(Calls.stream, {"find": 1, "update": 2}),
    Rpc(Calls.add, {"find": 1, "update": 1}),
    Rpc(Calls.clear, {"find": 1, "insert": 1, "aggregate": 1, "delete": 1, "update": 1}, before=1),
    Rpc(Calls.list_messages, {"find": 2}, before=1),
    Rpc(Calls.list_sessions, {"find": 1}, before=1),
    Rpc(Calls.preview, {"find": 1}, before=1),
]
COMMANDS = [
    pytest.param(rpc, each, id=f"{rpc.name}-{each}") for rpc in RPCS for each in rpc.commands
]
WRITTEN = {"update", "insert", "delete"}


@pytest.mark.parametrize(("rpc", "command"), COMMANDS)
async def test_whichever_command_fails_however_the_call_happens_once(
    mongod: Mongod, caller: Caller, model: OpenAIStub, rpc: Rpc, command: str, full: bool
) -> None:
    for failure in failures_of(command, full=full):
        failed = 0
        for n in range(MOST_COMMANDS):
            calls = Calls(caller, fresh_session())
            await calls.prepared(rpc.before)
            if not await was_hit(mongod, command, failure, n, partial(rpc.call, calls)):
                break
            failed += 1
            if failure is LATE:
                break  # the first of them: they take their time
        assert failed >= (1 if failure is LATE else rpc.commands[command])


@pytest.mark.parametrize("failure", NOT_PRIMARY, ids=str)
async def test_a_primary_that_is_none_any_more_costs_no_call(
    mongod: Mongod, caller: Caller, model: OpenAIStub, failure: Failure
) -> None:
    """All RPCs at once: each waits a heartbeat long."""
    commands = ["update", "insert", "delete"]
    if "done" not in failure.name:
        commands += ["find", "aggregate"]
    for command in commands:
        all_calls = [(rpc, Calls(caller, fresh_session())) for rpc in RPCS]
        await asyncio.gather(*(calls.prepared(rpc.before) for rpc, calls in all_calls))

        async def together(all_calls: list[tuple[Rpc, Calls]] = all_calls) -> Check:
            checks = await asyncio.gather(*(rpc.call(calls) for rpc, calls in all_calls))

            async def check() -> None:
                for each in checks:
                    await each()

            return check

        assert await was_hit(mongod, command, failure, 0, together)


def failures_of(command: str, *, full: bool) -> list[Failure]:
    """How this command is to fail."""
    if command in WRITTEN:
        return WRITES_IN_FULL if full else WRITES
    return READS_IN_FULL if full else READS


def fresh_session() -> str:
    """A session that nobody used before."""
    return f"s-{next(_numbers)}"


async def was_hit(
    mongod: Mongod,
    command: str,
    failure: Failure,
    skip: int,
    call: Callable[[], Coroutine[None, None, Check]],
) -> bool:
    """Makes a call and checks it; whether a command of it failed, but for its first `skip`."""
    before = await times_entered(mongod)
    async with failing(mongod, [command], failure, skip=skip):
        running = asyncio.create_task(call())
        while not running.done() and await times_entered(mongod) == before:
            await asyncio.sleep(0.005)
        hit = await times_entered(mongod) > before
    check = await running
    await check()
    return hit
