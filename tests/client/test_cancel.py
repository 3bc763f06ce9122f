"""Hanging up: it reaches the server, and it is told from a call that was cut off."""

import asyncio
import gc
import signal
import sys
import threading
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

import turnkeep
import turnkeep.sync
from tests.client.conftest import Caller
from tests.client.scripted_server import Failure, ScriptedServer


@pytest_asyncio.fixture
async def session(server: ScriptedServer) -> AsyncIterator[turnkeep.Session]:
    """A session at a server that says a few words and never ends."""
    server.hang = True
    async with turnkeep.ConversationClient(server.address) as client:
        yield client.session("42")


async def test_a_cancelled_task_hangs_up_and_is_cancelled(
    server: ScriptedServer, session: turnkeep.Session
) -> None:
    call = asyncio.create_task(session.chat("Привет"))
    attempt = await server.attempted(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await attempt.hung_up()
    assert len(server.attempts) == 1


async def test_a_task_that_is_cancelled_between_two_attempts_makes_no_other(
    server: ScriptedServer,
) -> None:
    async with turnkeep.ConversationClient("127.0.0.1:1") as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.session("42").chat("Привет")


async def test_leaving_the_block_hangs_up(
    server: ScriptedServer, session: turnkeep.Session
) -> None:
    async with session.stream("Привет") as stream:
        async for _ in stream:
            break
    await server.attempts[0].hung_up()
    assert stream.text == "При"


async def test_a_loop_that_breaks_hangs_up_without_a_block(
    server: ScriptedServer, session: turnkeep.Session
) -> None:
    gc.disable()  # the end of the last reference does it, not a collection some time later
    try:
        async for _ in session.stream("Привет"):
            break
        await server.attempts[0].hung_up()
    finally:
        gc.enable()


async def test_a_cancelled_task_hangs_up_its_stream(
    server: ScriptedServer, session: turnkeep.Session
) -> None:
    stream = session.stream("Привет")
    reading = asyncio.create_task(stream.result())
    while stream.text != "Привет 你好 🙂":
        await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await server.attempts[0].hung_up()


async def test_a_stream_that_is_cancelled_comes_to_its_end(
    server: ScriptedServer, session: turnkeep.Session
) -> None:
    stream = session.stream("Привет")

    async def read() -> list[str]:
        return [text async for text in stream]

    reading = asyncio.create_task(read())
    while stream.text != "Привет 你好 🙂":
        await asyncio.sleep(0.01)
    stream.cancel()

    assert await reading == list(server.deltas)
    await server.attempts[0].hung_up()
    with pytest.raises(RuntimeError, match="not complete"):
        _ = stream.reply


async def test_closing_the_client_ends_its_calls_with_an_error_that_says_so(
    server: ScriptedServer,
) -> None:
    server.hang = True
    client = turnkeep.ConversationClient(server.address)
    calls = [
        asyncio.create_task(client.session("42").chat("Привет")),
        asyncio.create_task(client.session("42").stream("Привет").result()),
    ]
    await server.attempted(2)
    await client.close()

    for call in calls:
        with pytest.raises(turnkeep.Cancelled) as caught:
            await call
        assert caught.value.request_id


async def test_a_client_made_before_the_loop_runs_on_it(server: ScriptedServer) -> None:
    client = await asyncio.to_thread(turnkeep.ConversationClient, server.address)
    assert (await client.session("42").chat("Привет")).text == "Привет 你好 🙂"
    await client.close()


async def test_synchronous_leaving_the_block_hangs_up(server: ScriptedServer) -> None:
    server.hang = True

    def read() -> str:
        with (
            turnkeep.sync.ConversationClient(server.address) as client,
            client.session("42").stream("Привет") as stream,
        ):
            return next(stream)

    assert await asyncio.to_thread(read) == "При"
    await server.attempts[0].hung_up()


async def test_synchronous_cancel_from_another_thread_ends_the_text(
    server: ScriptedServer,
) -> None:
    server.hang = True
    client = turnkeep.sync.ConversationClient(server.address)
    stream = client.session("42").stream("Привет")
    all_came = threading.Event()

    def read() -> list[str]:
        found = []
        for text in stream:
            found.append(text)
            if stream.text == "Привет 你好 🙂":
                all_came.set()
        return found

    reading = asyncio.create_task(asyncio.to_thread(read))
    assert await asyncio.to_thread(all_came.wait, 5)
    stream.cancel()
    assert await reading == list(server.deltas)
    await server.attempts[0].hung_up()
    client.close()


async def test_synchronous_closing_ends_the_calls_of_other_threads(
    server: ScriptedServer,
) -> None:
    server.hang = True
    client = turnkeep.sync.ConversationClient(server.address)
    call = asyncio.create_task(asyncio.to_thread(client.session("42").chat, "Привет"))
    await server.attempted(1)
    await asyncio.to_thread(client.close)
    with pytest.raises(turnkeep.Cancelled):
        await call


@pytest.mark.parametrize("call", ["chat('Привет')", "stream('Привет').result()"])
async def test_synchronous_ctrl_c_hangs_up(server: ScriptedServer, call: str) -> None:
    server.hang = True
    program = (
        "import sys, turnkeep.sync\n"
        "with turnkeep.sync.ConversationClient(sys.argv[1]) as client:\n"
        f"    client.session('42').{call}\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, server.address), stderr=asyncio.subprocess.PIPE
    )
    try:
        attempt = await server.attempted(1)
        process.send_signal(signal.SIGINT)
        await attempt.hung_up()
        _, said = await asyncio.wait_for(process.communicate(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert b"KeyboardInterrupt" in said


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
async def test_a_stream_that_could_not_be_made_leaves_nothing_to_hang_up(
    server: ScriptedServer, caller: Caller
) -> None:
    with pytest.raises(ValueError, match="timeout_seconds"):
        caller.session.stream("Привет", timeout_seconds=0)
    gc.collect()


@pytest.mark.parametrize("ends", ["close", "cancel"])
async def test_a_reply_that_is_whole_is_given_though_its_call_was_ended_then(
    server: ScriptedServer, ends: str
) -> None:
    server.lingers = True
    client = turnkeep.ConversationClient(server.address)
    stream = client.session("42").stream("Привет")
    reading = asyncio.create_task(stream.result())
    async with asyncio.timeout(5):
        while stream._reply is None:
            await asyncio.sleep(0.01)
    await client.close() if ends == "close" else stream.cancel()

    assert (await reading).text == "Привет 你好 🙂"
    await client.close()


async def test_another_event_loop_is_told_that_the_client_is_not_its_own(
    server: ScriptedServer,
) -> None:
    async with turnkeep.ConversationClient(server.address) as client:
        await client.session("42").chat("Привет")

        def elsewhere() -> None:
            asyncio.run(client.session("42").stream("Привет").result())

        with pytest.raises(RuntimeError, match="event loop that used it first"):
            await asyncio.to_thread(elsewhere)


async def test_synchronous_calls_that_come_as_another_thread_closes_say_so(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = turnkeep.sync.ConversationClient(server.address)
    session = client.session("42")
    await asyncio.to_thread(session.chat, "Привет")
    # Between the look whether it is closed and the call itself.
    calls = client._calls
    token = calls._metadata

    def closing() -> object:
        client.close()
        return token()

    monkeypatch.setattr(calls, "_metadata", closing)
    with pytest.raises(RuntimeError, match="closed"):
        await asyncio.to_thread(session.chat, "Привет")
    monkeypatch.setattr(calls, "_closed", False)
    with pytest.raises(RuntimeError, match="closed"):
        await asyncio.to_thread(session.stream("Привет").result)


@pytest.mark.parametrize("streamed", [False, True], ids=["chat", "stream"])
async def test_closing_ends_the_wait_for_the_next_attempt(
    server: ScriptedServer, caller: Caller, streamed: bool
) -> None:
    busy = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="OVERLOADED", retry_after_seconds=30)
    server.script.append(busy)
    call = asyncio.create_task(
        caller.result(caller.session.stream("Привет")) if streamed else caller.chat("Привет")
    )
    await server.attempted(1)
    await asyncio.sleep(0.1)
    await caller.close()
    async with asyncio.timeout(5):
        with pytest.raises(turnkeep.ResourceExhausted):
            await call
    assert len(server.attempts) == 1
