"""When a turn of `turnkeep chat` fails: what is said, and that what was typed is not lost."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cli.terminal import CTRL_C, Terminal
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess
from tests.rpc.session import Session, new_id

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def mortal(environment: dict[str, str]) -> AsyncIterator[ServerProcess]:
    """A server that the test may kill and start again, at the same address."""
    settings = {
        "TURNKEEP_LISTEN": f"127.0.0.1:{free_port()}",
        "TURNKEEP_HISTORY_URL": "memory://",
    }
    async with ServerProcess({**environment, **settings}) as process:
        yield process


async def test_a_server_that_dies_is_said_and_the_text_is_offered_again(
    mortal: ServerProcess, home: dict[str, str], model: OpenAIStub
) -> None:
    """In mid-stream, while it is down, and when it is back: enter is all that is to be pressed."""
    model.faults.append(Fault.HANG_MID_STREAM)
    with Terminal("-s", mortal.address, "chat", "-S", new_id(), env=home) as chat:
        await chat.prompt()
        await chat.say("Ты здесь, сервер? 🖥️")
        await chat.see("reply to: Ты")
        mortal.kill()
        died = await chat.prompt()
        down = await chat.ask("")
        async with ServerProcess(mortal.env):
            back = await chat.ask("")

    assert "error: UNAVAILABLE" in died
    assert "press enter" in died
    assert "no answer from" in down
    assert back.endswith("reply to: Ты здесь, сервер? 🖥️\n")


async def test_a_turn_sent_again_is_the_same_turn(
    chat: Terminal, session: Session, server: ServerProcess, model: OpenAIStub
) -> None:
    """Enter sends the offered text under the request_id that it had."""
    model.always(Fault.UNAUTHORIZED)
    before = len(server.log)
    await chat.prompt()
    failed = await chat.ask("Сколько будет 2 × 2?")
    model.heal()
    answer = await chat.ask("")
    logged = map(json.loads, server.log[before:])
    calls = [(each["code"], each["request_id"]) for each in logged if "method" in each]

    assert "error: MODEL_UNAVAILABLE" in failed
    assert answer.endswith("reply to: Сколько будет 2 × 2?\n")
    assert {code for code, _ in calls} == {"UNAVAILABLE", "OK"}
    assert len({request_id for _, request_id in calls}) == 1
    assert [each.text for each in await session.messages()] == [
        "Сколько будет 2 × 2?",
        "reply to: Сколько будет 2 × 2?",
    ]


async def test_a_refused_text_is_offered_to_be_changed(chat: Terminal, model: OpenAIStub) -> None:
    """What enter sends then is a turn of its own; ctrl-C drops it."""
    model.faults += [Fault.CONTENT_FILTER, Fault.CONTENT_FILTER]
    await chat.prompt()
    refused = await chat.ask("грубость")
    chat.press(" и ещё")
    await chat.ask("")
    chat.press(CTRL_C)
    await chat.prompt()
    await chat.ask("вежливость")

    assert "error: CONTENT_FILTERED" in refused
    assert "change it and press enter" in refused
    assert [each[-1][1] for each in model.inputs] == [
        "грубость",
        "грубость и ещё",
        "вежливость",
    ]


async def test_a_command_that_fails_is_said(home: dict[str, str], model: OpenAIStub) -> None:
    """Where nobody listens a chat can be begun: it says so at each try, and goes on."""
    with Terminal("-s", f"127.0.0.1:{free_port()}", "chat", env=home) as chat:
        await chat.prompt()
        assert "error: UNAVAILABLE: no answer from 127.0.0.1" in await chat.ask("/history")
        assert "error: UNAVAILABLE" in await chat.ask("Ау?")
