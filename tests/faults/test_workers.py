"""Several workers on one port: one service to its callers, whatever happens to one of them."""

import asyncio
import itertools
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.faults.service import Caller, environment, texts
from tests.faults.steady_callers import call_on, stored_questions
from tests.faults.workers import events, happens, has_loaded, is_alive, resident_kib, workers
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.rpc.command import turnkeep_server
from turnkeep import ConversationClient

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
CONNECTIONS = 16
CALLERS = 24
LEASE_SECONDS = 2.0


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of prompts of this module's server."""
    file = tmp_path_factory.mktemp("prompts") / "промпты.yaml"
    file.write_text("default: {system: раз}")
    return file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    mongod: Mongod, model_provider: OpenAIStub, prompts: Path
) -> AsyncIterator[ServerProcess]:
    """A server of two workers."""
    env = environment(
        mongod.url_for(fresh_database_name()),
        model_provider,
        workers=2,
        lease_seconds=LEASE_SECONDS,
        prompts_file=prompts,
        max_messages=1_000,
    )
    async with ServerProcess(env) as process:
        yield process


async def test_turns_in_one_session_over_many_connections_have_one_order(
    server: ServerProcess, model: OpenAIStub
) -> None:
    """And each saw all turns before it; both workers had connections, and ran turns."""
    model.delay_seconds = 0.01
    callers = [Caller(server) for _ in range(CONNECTIONS)]
    answers = await asyncio.gather(
        *(
            caller.chat("race", f"вопрос {n} 🏁", timeout_seconds=90)
            for n, caller in zip(range(3 * CONNECTIONS), itertools.cycle(callers), strict=False)
        )
    )

    ordered = sorted(answers, key=lambda answer: answer.sequence)
    assert [answer.sequence for answer in ordered] == list(range(1, 3 * CONNECTIONS + 1))
    said = [text for _, text in texts(await callers[0].messages("race"))]
    assert said[1::2] == [answer.message.text for answer in ordered]
    inputs = {each[-1][1]: [text for _, text in each[1:]] for each in model.inputs}
    assert len(model.calls) == len(answers)
    for turn in range(len(answers)):
        assert inputs[said[2 * turn]] == said[: 2 * turn + 1]
    calls = [line for line in events(server, "call") if line["method"] == "Chat"]
    assert {line["worker"] for line in calls} == {1, 2}


async def test_workers_that_are_killed_or_told_to_stop_are_replaced_and_no_call_fails(
    server: ServerProcess, model: OpenAIStub
) -> None:
    """Under load, one after the other: every turn that was answered is stored, once."""
    model.delay_seconds = 0.05
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(ConversationClient(server.address))
            for _ in range(CALLERS)
        ]
        calling = [
            asyncio.create_task(call_on(client, n, over, killed=True))
            for n, client in enumerate(clients)
        ]
        for number, how in ((1, signal.SIGKILL), (2, signal.SIGTERM), (2, signal.SIGKILL)):
            await asyncio.sleep(1.0)
            served = len(events(server, "worker_serving"))
            os.kill(workers(server)[number], how)
            await happens(server, "worker_serving", served + 1)
            assert not [each.exception() for each in calling if each.done()]
        await asyncio.sleep(1.0)
        over.set()
        made = await asyncio.gather(*calling)
        stored = {n: await stored_questions(clients[0], n) for n in range(CALLERS)}

    assert stored == {n: Counter(said) for n, said in enumerate(made)}
    assert min(map(len, made)) > 3
    ended = [(line["worker"], line["how"]) for line in events(server, "worker_ended")]
    assert ended == [(1, "was ended by SIGKILL"), (2, "exited with 0"), (2, "was ended by SIGKILL")]


async def test_a_worker_that_cannot_start_again_is_tried_with_growing_pauses(
    server: ServerProcess, prompts: Path
) -> None:
    """The others go on meanwhile; once what was wrong is mended, it is back."""
    good = prompts.read_text()
    served = len(events(server, "worker_serving"))
    prompts.write_text("default: {system: '{'}")
    try:
        os.kill(workers(server)[1], signal.SIGKILL)
        tried = await happens(server, "worker_not_restarted", 2)
        assert "TURNKEEP_PROMPTS_FILE" in tried[0]["problem"]
        first, second = (line["restart_in_seconds"] for line in tried[:2])
        assert second == 2 * first
        for n in range(4):
            assert (await Caller(server).add(f"meanwhile-{n}", "你好")).sequence == 1
    finally:
        prompts.write_text(good)
    await happens(server, "worker_serving", served + 1)
    assert is_alive(workers(server)[1])


async def test_a_hangup_has_every_worker_read_its_prompts(
    server: ServerProcess, model: OpenAIStub, prompts: Path
) -> None:
    reloaded = len(events(server, "prompts_reloaded"))
    prompts.write_text("default: {system: 二}")
    server.hang_up()
    told = await happens(server, "prompts_reloaded", reloaded + 2)
    assert {line["worker"] for line in told[reloaded:]} == {1, 2}
    for n in range(CONNECTIONS):
        await Caller(server).chat(f"reloaded-{n}", "?")
    assert {each[0] for each in model.inputs} == {("system", "二")}


@pytest.mark.parametrize("how_many", [1, 2])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
async def test_a_second_server_on_their_port_is_refused(
    server: ServerProcess, mongod: Mongod, model: OpenAIStub, how_many: int, host: str
) -> None:
    """Whether it is one process or has workers too: nobody shares callers in silence."""
    listen = f"{host}:{server.address.rpartition(':')[2]}"
    env = environment(mongod.url, model, workers=how_many, listen=listen, insecure=1)
    ended = await turnkeep_server(env=env)
    assert (ended.code, ended.stdout) == (1, "")
    assert f"cannot listen on {listen}: the address is taken by another server" in ended.stderr


async def test_the_health_command_and_the_line_know_no_difference(server: ServerProcess) -> None:
    asked = await turnkeep_server("health", "--address", server.address)
    assert (asked.code, asked.stdout) == (0, f"{server.address}: SERVING\n")
    assert server.line.startswith(f"turnkeep serving on {server.address} · no TLS, no identity · ")
    assert server.line.endswith("· model gpt-4o-mini · 2 workers\n")
    assert server.line.count("\n") == 1


async def test_the_supervisor_is_small(server: ServerProcess) -> None:
    """It holds neither gRPC nor the rest of what serves a call."""
    a_worker = workers(server)[2]
    assert has_loaded(a_worker, "cygrpc")
    assert not has_loaded(server.pid, "cygrpc")
    assert resident_kib(server.pid) < resident_kib(a_worker) / 2
