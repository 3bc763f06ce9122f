"""How a server of several workers ends, or does not start: all of it, with nothing left behind."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.faults.gate import Gate
from tests.faults.processes import mongods_of, no_mongod_of
from tests.faults.service import Caller, Stopwatch, environment, texts
from tests.faults.workers import all_end, events, happens, is_alive, workers
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.command import turnkeep_server

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
CONNECTIONS = 8
END_SECONDS = 15.0


@pytest_asyncio.fixture(loop_scope="module")
async def server(mongod: Mongod, model: OpenAIStub) -> AsyncIterator[ServerProcess]:
    """A server of two workers, of the test's own."""
    env = environment(mongod.url_for(fresh_database_name()), model, workers=2)
    async with ServerProcess(env) as process:
        yield process


async def running_turns(server: ServerProcess, model: OpenAIStub) -> list[asyncio.Task[Any]]:
    """Turns that take a second, over connections to both workers."""
    model.delay_seconds = 1.0
    callers = [Caller(server) for _ in range(CONNECTIONS)]
    turns = [
        asyncio.create_task(caller.chat(f"{n}", f"вопрос {n}")) for n, caller in enumerate(callers)
    ]
    await model.arrived(CONNECTIONS)
    return turns


@pytest.mark.parametrize(
    ("number", "whom"),
    [
        (signal.SIGTERM, "the supervisor"),
        (signal.SIGTERM, "the supervisor, then the workers"),
        (signal.SIGTERM, "the workers, then the supervisor"),
        (signal.SIGINT, "the workers, then the supervisor"),
    ],
)
async def test_turns_that_run_are_finished_and_all_processes_end(
    server: ServerProcess, model: OpenAIStub, number: int, whom: str
) -> None:
    """Also where the signal goes to every process, as from a service manager: it is no haste."""
    pids = [*workers(server).values()]
    turns = await running_turns(server, model)
    for each in whom.split(", then "):
        for pid in pids if each == "the workers" else [server.pid]:
            os.kill(pid, number)
        if number == signal.SIGTERM or each == "the supervisor":
            await happens(server, "draining", 2)
    for n, turn in enumerate(turns):
        assert (await turn).message.text == f"reply to: вопрос {n}"
    assert await server.wait() == 0
    assert not any(map(is_alive, pids))
    assert {line["worker"] for line in events(server, "draining")} == {1, 2}
    assert not events(server, "worker_ended")


async def test_a_second_signal_ends_the_waiting_of_all(
    server: ServerProcess, model: OpenAIStub
) -> None:
    Gate(model)
    turns = [
        asyncio.create_task(Caller(server).chat(f"{n}", "никогда")) for n in range(CONNECTIONS)
    ]
    await model.arrived(CONNECTIONS)
    server.terminate()
    await happens(server, "draining", 2)
    hurried = Stopwatch()
    server.terminate()
    for turn in turns:
        await error_of(turn)
    assert await server.wait() == 0
    assert hurried.seconds < END_SECONDS


async def test_workers_whose_supervisor_is_killed_finish_their_turns_and_end(
    server: ServerProcess, model: OpenAIStub
) -> None:
    pids = [*workers(server).values()]
    turns = await running_turns(server, model)
    server.kill()
    for n, turn in enumerate(turns):
        assert (await turn).message.text == f"reply to: вопрос {n}"
    await all_end(pids, END_SECONDS)


async def test_a_worker_that_dies_in_the_drain_is_not_replaced_and_is_told(
    server: ServerProcess, model: OpenAIStub
) -> None:
    """The exit code says that not all was finished."""
    turns = await running_turns(server, model)
    server.terminate()
    await happens(server, "draining", 2)
    os.kill(workers(server)[1], signal.SIGKILL)
    await asyncio.gather(*turns, return_exceptions=True)
    assert await server.wait() == 1
    assert len(events(server, "worker_serving")) == 2


async def test_workers_share_an_embedded_mongod_that_ends_with_the_supervisor(
    tmp_path: Path, model: OpenAIStub
) -> None:
    """Turns of both workers are in one history; all of it ends in order, and by kill -9."""
    env = environment(f"local://{tmp_path}", model, workers=2)
    server = ServerProcess(env)
    async with server:
        assert f"history local://{tmp_path}" in server.line
        for n in range(CONNECTIONS):
            assert (await Caller(server).chat("s", f"{n}")).sequence == n + 1
        assert {line["worker"] for line in events(server, "call")} == {1, 2}
        assert len(mongods_of(tmp_path)) == 1
        server.terminate()
        assert await server.wait() == 0
        assert not mongods_of(tmp_path)
        assert not any(map(is_alive, workers(server).values()))

        await server.start()
        assert len(texts(await Caller(server).messages("s"))) == 2 * CONNECTIONS
        server.kill()
        await no_mongod_of(tmp_path, END_SECONDS)
        await all_end([*workers(server).values()], 2 * END_SECONDS)


async def test_what_is_wrong_with_a_file_is_told_once(model: OpenAIStub, tmp_path: Path) -> None:
    """Exit 2, as of a single process, and no second attempt."""
    file = tmp_path / "промпты.yaml"
    file.write_text("default: {system: '{'}")
    url = f"mongodb://127.0.0.1:{free_port()}/turnkeep"
    env = environment(url, model, workers=3, prompts_file=file, listen="127.0.0.1:0")
    ended = await turnkeep_server(env=env)
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.count(f"{file}:1: ") == 1
    assert ended.stderr.count("turnkeep-server: ") == 1


async def test_a_database_that_is_not_there_is_told_once(model: OpenAIStub) -> None:
    """Exit 1, as of a single process, and no second attempt."""
    url = f"mongodb://127.0.0.1:{free_port()}/turnkeep"
    env = environment(url, model, workers=2, history_timeout_seconds=1, listen="127.0.0.1:0")
    ended = await turnkeep_server(env=env)
    assert (ended.code, ended.stdout) == (1, "")
    assert ended.stderr.count("turnkeep-server: MongoDB did not answer") == 1
    assert "worker_ended" not in ended.stderr


async def test_a_start_that_takes_long_can_be_called_off(model: OpenAIStub) -> None:
    """While the workers wait for MongoDB: nothing is announced, exit 0."""
    url = f"mongodb://127.0.0.1:{free_port()}/turnkeep"
    server = ServerProcess(environment(url, model, workers=2))
    starting = asyncio.create_task(server.start())
    try:
        await happens(server, "opening_history", 2)
        server.terminate()
        assert await server.wait(END_SECONDS) == 0
        assert server.line == ""
        with pytest.raises(RuntimeError, match="exited with 0"):
            await starting
    finally:
        await server.__aexit__(None, None, None)
