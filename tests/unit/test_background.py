"""Tasks beside the calls: they end with their block, and not before."""

import asyncio

import pytest

from turnkeep_server import background


async def test_a_task_ends_with_its_block() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with background.running(work, "work"):
        await asyncio.sleep(0)
        assert not ended.is_set()
    assert ended.is_set()


async def test_a_task_that_fails_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(background, "_PAUSE_AFTER_A_BUG_SECONDS", 0.0)
    began: list[int] = []
    twice = asyncio.Event()

    async def work() -> None:
        began.append(1)
        if len(began) == 1:
            raise KeyError("canary")
        twice.set()
        await asyncio.Event().wait()

    async with background.running(work, "work"), asyncio.timeout(5):
        await twice.wait()
    assert len(began) == 2
