"""The torture suite's servers: forked ones are the service, or wrong as they are told to be."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import pytest

from tests.faults.service import Caller, environment, texts
from tests.faults.torture.launcher import ForkedServer, Launcher
from tests.faults.torture.steps import STEPS, died_line
from tests.faults.workers import is_alive
from tests.kit.openai_faults import Fault
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEATH_SECONDS = 20.0


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    """One zygote for the module's servers."""
    with Launcher() as each:
        yield each


@pytest.fixture
def env(database_url: str, model: OpenAIStub) -> dict[str, str]:
    """A server's environment, on a database of the test's own."""
    return environment(database_url, model, lease_seconds=1)


async def test_a_forked_server_does_as_a_plain_one_does(
    launcher: Launcher, env: dict[str, str]
) -> None:
    told = []
    plain = ServerProcess({**env, "PYTHONUTF8": "1"})
    for server in (plain, launcher.server(env)):
        async with server:
            caller = Caller(server)
            said = [
                (await caller.chat("shared", "Привет", request_id="r1")).message.text,
                (await caller.stream("shared", "再见"))[0],
            ]
            line = server.line.replace(server.address, "")
            server.terminate()
            told.append((said, line, await server.wait(), [_shape(each) for each in server.log]))
    assert told[0] == told[1]


async def test_a_killed_one_starts_again_on_its_port(
    launcher: Launcher, env: dict[str, str]
) -> None:
    async with launcher.server(env) as server:
        address = server.address
        await Caller(server).chat("s", "مرحبا")
        server.kill()
        assert await server.wait() == -signal.SIGKILL
        await server.start()
        assert server.address == address
        assert texts(await Caller(server).messages("s"))[0] == (1, "مرحبا")


async def test_bad_settings_end_it_as_they_end_a_plain_one(
    launcher: Launcher, env: dict[str, str]
) -> None:
    server = launcher.server({**env, "TURNKEEP_LEASE_SECONDS": "soon"})
    with pytest.raises(RuntimeError, match="exited with 2"):
        await server.start()
    await server.__aexit__(None, None, None)


async def test_servers_end_when_whoever_started_them_is_killed(
    env: dict[str, str], tmp_path: Path
) -> None:
    program = (
        "import asyncio, json, sys, time\n"
        "from tests.faults.torture.launcher import Launcher\n"
        "async def main():\n"
        "    with Launcher() as launcher:\n"
        "        server = launcher.server(json.loads(sys.argv[1]))\n"
        "        await server.start()\n"
        "        print(server.pid, flush=True)\n"
        "        time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    argv = [sys.executable, "-c", program, json.dumps(env)]
    parent = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    assert parent.stdout
    pid = int(await parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(DEATH_SECONDS):
        while is_alive(pid):
            await asyncio.sleep(0.02)


# --- every step is passed by some call -----------------------------------------------------------

Deed = Callable[[ForkedServer, OpenAIStub], Awaitable[None]]


async def _chats(server: ForkedServer, _: OpenAIStub) -> None:
    await Caller(server).chat("s", "Как дела?")


async def _streams(server: ForkedServer, _: OpenAIStub) -> None:
    await Caller(server).stream("s", "Расскажи подробно, пожалуйста 🙂")


async def _fails(server: ForkedServer, model: OpenAIStub) -> None:
    model.always(Fault.BAD_REQUEST)
    await Caller(server).chat("s", "你好")


async def _adds(server: ForkedServer, _: OpenAIStub) -> None:
    await Caller(server).add("s", "one", "два")


async def _clears(server: ForkedServer, _: OpenAIStub) -> None:
    caller = Caller(server)
    for _n in range(4):
        await caller.add("s", "x")
    await caller.clear("s")


async def _chats_for_long(server: ForkedServer, model: OpenAIStub) -> None:
    model.delay_seconds = 3.0
    await Caller(server).chat("s", "медленно")


async def _meets_a_dead_ones_turn(server: ForkedServer, _: OpenAIStub) -> None:
    await Caller(server).chat("left", "кто здесь?")


async def _says_much(server: ForkedServer, _: OpenAIStub) -> None:
    caller = Caller(server)
    for n in range(8):
        await caller.chat("s", f"{n}. Жили-были дед да баба.", window=1)
    await asyncio.sleep(10)


_DEEDS: dict[Deed, tuple[str, ...]] = {
    _chats: (
        "before the tail is read",
        "after the tail was read",
        "after fit",
        "before begin is sent",
        "after begin was acknowledged",
        "after begin",
        "before the model is asked",
        "after the model has answered",
        "before the commit is sent",
        "after the commit was acknowledged",
        "before the response is written",
        "after the response was written",
        "before the sessions view is written",
        "after the sessions view was written",
    ),
    _streams: ("after the first delta", "between deltas", "after the last delta"),
    _fails: ("before a failure is written", "after a failure was written"),
    _adds: ("before append is sent", "after append was acknowledged"),
    _clears: (
        "before the tombstone",
        "after the tombstone, before the delete",
        "half way of the delete",
        "after the delete",
    ),
    _chats_for_long: ("before leases are renewed",),
    _meets_a_dead_ones_turn: ("before a take-over", "after a take-over"),
    _says_much: (
        "after a summary was claimed",
        "before a summary is written",
        "after a summary was written",
    ),
}
_DEED_OF = {step: deed for deed, steps in _DEEDS.items() for step in steps}
_CASES = [(step, _DEED_OF[step]) for step in STEPS]


# A step without a deed is a KeyError when this is collected.
@pytest.mark.parametrize(("step", "deed"), _CASES, ids=[step for step, _ in _CASES])
async def test_a_server_dies_at_each_step(
    launcher: Launcher, env: dict[str, str], model: OpenAIStub, step: str, deed: Deed
) -> None:
    if deed is _meets_a_dead_ones_turn:
        async with launcher.server(env, die_at=("after begin", 1)) as dead:
            with pytest.raises(grpc.aio.AioRpcError):
                await Caller(dead).chat("left", "я скоро умру")
    if deed is _says_much:
        env |= {"TURNKEEP_SUMMARY": "on", "TURNKEEP_SUMMARY_AFTER_MESSAGES": "4"}
        env |= {"TURNKEEP_SUMMARY_DELAY_SECONDS": "0"}
    async with launcher.server(env, die_at=(step, 1)) as server:
        doing = asyncio.ensure_future(deed(server, model))
        assert await server.wait(DEATH_SECONDS) == -signal.SIGKILL
        assert server.log[-1] == died_line(step)
        await asyncio.wait({doing})
        # What it was in the middle of failed for its caller, unless that had all it wanted.
        if not doing.cancelled() and doing.exception():
            assert isinstance(doing.exception(), grpc.aio.AioRpcError)


async def test_a_server_that_cannot_be_made_wrong_does_not_start(
    launcher: Launcher, env: dict[str, str]
) -> None:
    for wrong in (
        launcher.server(env, mutant="no-such"),
        launcher.server(env, die_at=("no such step", 1)),
    ):
        with pytest.raises(RuntimeError, match="KeyError"):
            await wrong.start()
        await wrong.__aexit__(None, None, None)


def _shape(line: str) -> set[str]:
    """What a log's line tells, without what differs from run to run."""
    return set(json.loads(line)) | {json.loads(line)["event"]}
