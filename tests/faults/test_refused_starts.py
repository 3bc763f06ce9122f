"""A server that cannot reach its MongoDB exits with 1 and says why, never with a password."""

import asyncio
import os
import signal
import sys

import pytest

from tests.conftest import fresh_database_name
from tests.faults.processes import refused_start
from tests.faults.service import Stopwatch, environment
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.ports import free_port

PASSWORD = "s3cret-w0rd"
HISTORY_SECONDS = 2.0
# What a start, or its end, takes besides on a busy machine; less than the default wait for MongoDB.
START_SECONDS = 15.0


async def test_a_mongodb_that_is_not_there_is_told_in_time() -> None:
    url = f"mongodb://turnkeep:{PASSWORD}@127.0.0.1:{free_port()}/turnkeep"
    async with OpenAIStub() as model:
        waited = Stopwatch()
        log = await refused_start(environment(url, model, history_timeout_seconds=HISTORY_SECONDS))
    assert waited.seconds < HISTORY_SECONDS + START_SECONDS
    assert "MongoDB did not answer" in log
    assert "TURNKEEP_HISTORY_URL" in log
    assert PASSWORD not in log
    assert "Traceback" not in log


async def test_a_wrong_password_is_told_without_it(mongod: Mongod) -> None:
    url = mongod.url_for(fresh_database_name()).replace("://", f"://turnkeep:{PASSWORD}@")
    async with OpenAIStub() as model:
        log = await refused_start(environment(url, model))
    assert "MongoDB refused the user or password in TURNKEEP_HISTORY_URL" in log
    assert PASSWORD not in log
    assert "Traceback" not in log


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_a_start_that_takes_long_can_be_called_off(signal_number: int) -> None:
    """While MongoDB is waited for: the exit is clean, and prompt."""
    url = f"mongodb://127.0.0.1:{free_port()}/turnkeep"
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "turnkeep_server"),
        env={
            **inherited,
            "TURNKEEP_HISTORY_URL": url,
            "TURNKEEP_MODEL": "parrot",
            "TURNKEEP_LISTEN": "127.0.0.1:0",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr
        async with asyncio.timeout(60):
            await process.stderr.readuntil(b"opening_history")
        await asyncio.sleep(0.5)
        process.send_signal(signal_number)
        async with asyncio.timeout(START_SECONDS):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert (process.returncode, stdout) == (0, b"")
    assert b"Traceback" not in stderr
