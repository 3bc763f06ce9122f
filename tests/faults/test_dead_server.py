"""A server dies, or falls asleep, while a turn runs: another one takes the session."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from tests.conftest import fresh_database_name
from tests.faults.gate import Gate
from tests.faults.service import Caller, Stopwatch, environment
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
LEASE_SECONDS = 2.0
SHORT_LEASE_SECONDS = 1.0
ALLOWANCE_SECONDS = 5.0
DEFAULT_BOUND_SECONDS = 20.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def history_url(mongod: Mongod) -> str:
    """The database that the servers use."""
    return mongod.url_for(fresh_database_name())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def survivor(model_provider: OpenAIStub, history_url: str) -> AsyncIterator[Caller]:
    """A caller of the server that lives on."""
    async with ServerProcess(environment(history_url, model_provider)) as server:
        yield Caller(server)


async def test_another_server_takes_the_session_of_a_killed_one_within_its_lease(
    survivor: Caller, model: OpenAIStub, history_url: str
) -> None:
    Gate(model, "lost?")
    env = environment(history_url, model, lease_seconds=LEASE_SECONDS)
    async with ServerProcess(env) as victim:
        dying = asyncio.create_task(Caller(victim).chat("killed", "lost?", request_id="r-1"))
        await model.arrived(1)
        victim.kill()
        assert (await error_of(dying)).code is grpc.StatusCode.UNAVAILABLE

    waited = Stopwatch()
    answer = await survivor.chat("killed", "next")
    assert waited.seconds < LEASE_SECONDS + ALLOWANCE_SECONDS
    assert answer.sequence == 2
    assert model.inputs[1][1:] == [("user", "next")]
    assert _shown(await survivor.messages("killed", unfinished=True)) == [
        (1, "lost?", "FAILED"),
        (2, "next", "COMPLETED"),
        (2, "reply to: next", "COMPLETED"),
    ]

    model.gate = None
    retried = await survivor.chat("killed", "lost?", request_id="r-1")
    assert (retried.sequence, retried.replayed) == (3, False)
    again = await survivor.chat("killed", "lost?", request_id="r-1")
    assert (again.sequence, again.replayed) == (3, True)


async def test_with_the_default_lease_a_retry_runs_again_within_twenty_seconds(
    survivor: Caller, model: OpenAIStub, history_url: str
) -> None:
    gate = Gate(model, "lost?")
    async with ServerProcess(environment(history_url, model)) as victim:
        dying = asyncio.create_task(Caller(victim).chat("default", "lost?", request_id="r-1"))
        await model.arrived(1)
        victim.kill()
        killed = Stopwatch()
        await error_of(dying)

    gate.open()
    answer = await survivor.chat("default", "lost?", request_id="r-1")
    print(f"taken over {killed.seconds:.1f} s after the kill")
    assert killed.seconds < DEFAULT_BOUND_SECONDS
    assert (answer.sequence, answer.replayed) == (2, False)
    assert _shown(await survivor.messages("default", unfinished=True)) == [
        (1, "lost?", "FAILED"),
        (2, "lost?", "COMPLETED"),
        (2, "reply to: lost?", "COMPLETED"),
    ]


async def test_a_server_that_slept_past_its_lease_writes_nothing_over(
    survivor: Caller, model: OpenAIStub, history_url: str
) -> None:
    gate = Gate(model, "slow")
    env = environment(history_url, model, lease_seconds=LEASE_SECONDS)
    async with ServerProcess(env) as sleeper:
        sleeping = asyncio.create_task(Caller(sleeper).chat("slept", "slow", request_id="r-1"))
        await model.arrived(1)
        os.kill(sleeper.pid, signal.SIGSTOP)
        answer = await survivor.chat("slept", "next")
        before = await _stored(history_url, "slept")
        os.kill(sleeper.pid, signal.SIGCONT)
        gate.open()
        assert (await error_of(sleeping)).what == (grpc.StatusCode.ABORTED, "TURN_TAKEN_OVER")

    assert answer.sequence == 2
    assert await _stored(history_url, "slept") == before
    assert _shown(await survivor.messages("slept", unfinished=True)) == [
        (1, "slow", "FAILED"),
        (2, "next", "COMPLETED"),
        (2, "reply to: next", "COMPLETED"),
    ]


async def test_a_turn_longer_than_its_lease_is_kept_while_its_server_lives(
    survivor: Caller, model: OpenAIStub, history_url: str
) -> None:
    gate = Gate(model, "long")
    env = environment(history_url, model, lease_seconds=SHORT_LEASE_SECONDS)
    async with ServerProcess(env) as server:
        running = asyncio.create_task(Caller(server).chat("long", "long"))
        await model.arrived(1)
        waiting = asyncio.create_task(survivor.chat("long", "next"))
        for_three_leases = 3 * SHORT_LEASE_SECONDS
        ended, _ = await asyncio.wait({running, waiting}, timeout=for_three_leases)
        assert not ended
        gate.open()
        assert (await running).sequence == 1
    assert (await waiting).sequence == 2


def _shown(messages: list[pb.Message]) -> list[tuple[int, str, str]]:
    """Messages as (sequence, text, their turn's status)."""
    return [
        (each.sequence, each.text, pb.TurnStatus.Name(each.status).removeprefix("TURN_STATUS_"))
        for each in messages
    ]


async def _stored(history_url: str, session_id: str) -> list[dict[str, object]]:
    async with AsyncMongoClient[dict[str, object]](history_url) as client:
        turns = client.get_default_database()["turns"]
        return await turns.find({"session_id": session_id}).sort("sequence").to_list()


async def test_a_dead_turn_refuses_nobody_and_reads_failed_unasked(
    survivor: Caller, model: OpenAIStub, history_url: str
) -> None:
    """Not who will not wait, not who names the last turn it can see; and the listing tells it."""
    Gate(model, "lost?")
    policies = {"dead-1": pb.CONFLICT_POLICY_WAIT, "dead-2": pb.CONFLICT_POLICY_REJECT}
    env = environment(history_url, model, lease_seconds=SHORT_LEASE_SECONDS)
    async with ServerProcess(env) as victim:
        for session_id in policies:
            await survivor.add(session_id, "known")
        dying = [asyncio.create_task(Caller(victim).chat(each, "lost?")) for each in policies]
        await model.arrived(len(policies))
        victim.kill()
        for each in dying:
            await error_of(each)
    for session_id, on_conflict in policies.items():
        async with asyncio.timeout(LEASE_SECONDS + ALLOWANCE_SECONDS):
            wanted = [(1, "known", "COMPLETED"), (2, "lost?", "FAILED")]
            while _shown(await survivor.messages(session_id, unfinished=True)) != wanted:
                await asyncio.sleep(0.1)
        request = pb.ChatRequest(
            session_id=session_id, text="next", expected_sequence=1, on_conflict=on_conflict
        )
        answer = await survivor.stub.Chat(request, timeout=ALLOWANCE_SECONDS)
        assert answer.sequence == 3
