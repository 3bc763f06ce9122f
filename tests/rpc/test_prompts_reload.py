"""SIGHUP: the prompts' file is read again, and a bad one changes nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.kit.openai_stub import Call, OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.session import Session

pytestmark = pytest.mark.asyncio(loop_scope="session")

CANARY = "КАНАРЕЙКА"
POLL_SECONDS = 0.01


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prompts' file of this module's server."""
    return tmp_path_factory.mktemp("prompts") / "промпты.yaml"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(environment: dict[str, str], file: Path) -> AsyncIterator[ServerProcess]:
    """A server with that file."""
    file.write_text("default: {system: раз}")
    settings = {"TURNKEEP_PROMPTS_FILE": str(file), "TURNKEEP_HISTORY_URL": "memory://"}
    async with ServerProcess({**environment, **settings}) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def session(server: ServerProcess, model: OpenAIStub) -> Session:
    """A session at that server."""
    return Session(server.stub()[1])


def _events(server: ServerProcess) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log]
    return [line for line in lines if "reloaded" in line["event"]]


async def _reloaded(server: ServerProcess) -> dict[str, Any]:
    """What the server says of the file after a SIGHUP."""
    before = len(_events(server))
    server.hang_up()
    async with asyncio.timeout(5):
        while len(events := _events(server)) == before:
            await asyncio.sleep(POLL_SECONDS)
    return events[before]


async def _system(session: Session, model: OpenAIStub, **fields: Any) -> str:
    await session.chat("?", **fields)
    return model.inputs[-1][0][1]


async def test_a_good_file_a_bad_one_and_a_good_one(
    server: ServerProcess, file: Path, session: Session, model: OpenAIStub
) -> None:
    """The good ones count from the next turn on; the bad one is told with its line, and no text."""
    file.write_text("default: {system: два}\npoet: {system: '诗 {topic}'}")
    told = await _reloaded(server)
    assert (told["event"], told["prompts"]) == ("prompts_reloaded", ["default", "poet"])
    assert await _system(session, model) == "два"
    poem = {"prompt": "poet", "variables": {"topic": "🌧"}}
    assert await _system(session, model, **poem) == "诗 🌧"

    bad = (
        f"default: {{system: {CANARY}}}\npoet:\n  system: {CANARY} {{\n  options: {{model: gpt-9}}"
    )
    file.write_text(bad)
    told = await _reloaded(server)
    assert (told["event"], told["level"]) == ("prompts_not_reloaded", "warning")
    assert [line for line in range(1, 9) if f"{file}:{line}: " in told["problem"]] == [3, 4]
    assert CANARY not in "\n".join(server.log)
    assert await _system(session, model) == "два"
    assert await _system(session, model, **poem) == "诗 🌧"

    file.write_text("default: {system: три}")
    assert (await _reloaded(server))["prompts"] == ["default"]
    assert await _system(session, model) == "три"
    error = await error_of(session.chat("?", **poem))
    assert error.metadata == {"known_prompts": "default"}


async def test_a_turn_is_replayed_though_its_prompt_is_gone(
    server: ServerProcess, session: Session, file: Path
) -> None:
    """The stored answer does not depend on what is configured now; a new request does."""
    file.write_text("default: {system: раз}\nmath: {system: два}")
    await _reloaded(server)
    first = await session.chat("?", prompt="math", request_id="r-1")
    file.write_text("default: {system: раз}")
    await _reloaded(server)
    again = await session.chat("?", prompt="math", request_id="r-1")
    assert again.replayed
    assert again.message == first.message
    assert (await error_of(session.chat("?", prompt="math", request_id="r-2"))).reason == (
        "UNKNOWN_PROMPT"
    )


async def test_a_file_that_is_gone_changes_nothing(
    server: ServerProcess, file: Path, session: Session, model: OpenAIStub
) -> None:
    """The server goes on with what it had, and takes the file when it is back."""
    file.write_text("default: {system: до}")
    await _reloaded(server)
    file.unlink()
    told = await _reloaded(server)
    assert told["event"] == "prompts_not_reloaded"
    assert f"{file}: cannot be read" in told["problem"]
    assert await _system(session, model) == "до"
    file.write_text("default: {system: после}")
    await _reloaded(server)
    assert await _system(session, model) == "после"


async def test_a_turn_that_runs_keeps_the_prompt_it_was_given(
    server: ServerProcess, file: Path, session: Session, model: OpenAIStub
) -> None:
    """And so does one that waits in line, though its prompt is not there any more."""
    file.write_text("default: {system: a}\nold: {system: 'старый {x}', variables: {x: 古}}")
    await _reloaded(server)
    go = asyncio.Event()

    async def held(call: Call) -> None:
        await go.wait()

    model.gate = held
    running = asyncio.create_task(session.chat("первый", prompt="old"))
    await model.arrived(1)
    waiting = asyncio.create_task(session.chat("второй", prompt="old"))
    await asyncio.sleep(0.2)
    file.write_text("default: {system: b}")
    await _reloaded(server)
    go.set()

    assert [(await each).sequence for each in (running, waiting)] == [1, 2]
    assert [each[0] for each in model.inputs] == [("system", "старый 古")] * 2
    assert await _system(session, model) == "b"


async def test_hangups_come_as_often_as_they_like(
    server: ServerProcess, file: Path, session: Session, model: OpenAIStub
) -> None:
    """A hundred of them while turns run: the file's last state counts, and every turn is well."""
    turns = [asyncio.create_task(Session(session.turnkeep).chat(f"вопрос {n}")) for n in range(20)]
    for n in range(100):
        file.write_text(f"default: {{system: номер {n}}}")
        server.hang_up()
        await asyncio.sleep(0.001)
    await asyncio.gather(*turns)
    await _reloaded(server)
    assert await _system(session, model) == "номер 99"


async def test_hangups_stop_neither_a_start_nor_a_drain(
    environment: dict[str, str], model: OpenAIStub
) -> None:
    """One a millisecond, from the server's first line until it is gone: its turn ends, exit 0."""
    settings = {"TURNKEEP_HISTORY_URL": "memory://", "TURNKEEP_LAME_DUCK_SECONDS": "0"}
    # Warned about before anything else is done: the line that says it is there.
    process = ServerProcess({**environment, **settings, "TURNKEEP_MODLE": "x"})
    async with AsyncExitStack() as stack:
        stack.push_async_exit(process)
        starting = asyncio.create_task(process.start())
        while not process.log:
            await asyncio.sleep(POLL_SECONDS)
        shaking = asyncio.create_task(_shake(process))
        await starting
        model.delay_seconds = 0.5
        turn = asyncio.create_task(Session(process.stub()[1]).chat("?"))
        await model.arrived(1)
        process.terminate()
        assert (await turn).sequence == 1
        assert await process.wait() == 0
        shaking.cancel()


async def _shake(server: ServerProcess) -> None:
    while True:
        server.hang_up()
        await asyncio.sleep(0.001)
