"""Prompts that are read again: when asked, beside the calls, and never into something worse."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from turnkeep_server import hangups
from turnkeep_server.errors import SettingsError
from turnkeep_server.hangups import hearing_hangups, ignore_hangups
from turnkeep_server.prompts import Prompts, parse_prompt
from turnkeep_server.reloading import Reloading

PROMPTS = Prompts({"default": parse_prompt("default", "Ты поэт")})


@pytest.fixture(autouse=True)
def _hangups_as_they_were() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@asynccontextmanager
async def following(reloading: Reloading, use: Callable[[Prompts], None]) -> Any:
    task = asyncio.create_task(reloading.follow(use))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_prompts_are_read_again_as_often_as_asked_before_the_reading_began() -> None:
    reads, gate = [0], threading.Event()

    def load() -> Prompts:
        reads[0] += 1
        gate.wait(5)
        return PROMPTS

    used: list[Prompts] = []
    reloading = Reloading(load)
    reloading.ask()
    reloading.ask()
    async with following(reloading, used.append):
        await until(lambda: reads == [1])
        reloading.ask()
        reloading.ask()
        gate.set()
        await until(lambda: len(used) == 2)
    assert reads == [2]


async def test_a_bad_file_is_told_and_changes_nothing() -> None:
    answers: list[Prompts | Exception] = [SettingsError("F:3: wrong"), PROMPTS]

    def load() -> Prompts:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    used: list[Prompts] = []
    reloading = Reloading(load)
    with structlog.testing.capture_logs() as logs:
        async with following(reloading, used.append):
            reloading.ask()
            await until(lambda: logs)
            assert used == []
            reloading.ask()
            await until(lambda: used)
    assert logs == [
        {"event": "prompts_not_reloaded", "problem": "F:3: wrong", "log_level": "warning"},
        {"event": "prompts_reloaded", "prompts": ["default"], "log_level": "info"},
    ]


async def test_the_first_prompts_have_to_be_good() -> None:
    def load() -> Prompts:
        raise SettingsError("F:3: wrong")

    with pytest.raises(SettingsError, match="F:3"):
        await Reloading(load).first()


async def test_hangups_are_heard_in_the_block_and_ignored_around_it() -> None:
    heard: list[str] = []
    ignore_hangups()
    os.kill(os.getpid(), signal.SIGHUP)
    with hearing_hangups(asked=lambda: heard.append("ask"), terminal_gone=pytest.fail):
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: heard)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(heard) == 2)
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0)
    assert heard == ["ask", "ask"]


async def test_a_hangup_of_the_terminal_is_no_wish_for_prompts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    controller, terminal = os.openpty()
    monkeypatch.setattr(hangups, "_STDERR", terminal)
    heard: list[str] = []
    with hearing_hangups(
        asked=lambda: heard.append("ask"), terminal_gone=lambda: heard.append("gone")
    ):
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: heard)
        os.close(controller)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(heard) == 2)
    os.close(terminal)
    assert heard == ["ask", "gone"]
