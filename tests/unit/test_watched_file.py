"""A file that is replaced counts from the next look on; a broken one changes nothing."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from turnkeep_server import watched_file
from turnkeep_server.errors import SettingsError
from turnkeep_server.watched_file import SaysNothing, WatchedFile


def _parse(content: bytes) -> str:
    if b"broken" in content:
        raise SettingsError("it is broken")
    if b"bug" in content:
        raise TypeError("тайна")
    if not content.strip():
        raise SaysNothing("it is empty", "")
    return content.decode()


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


async def test_each_change_counts_at_the_next_look(tmp_path: Path) -> None:
    """Replaced, written over in place at the same size, at once after another: 200 of 200."""
    path = tmp_path / "файл"
    path.write_text("0000")
    file = WatchedFile(path, _parse, variable="TURNKEEP_X")
    assert await file.first() == "0000"
    for number in range(1, 201):
        text = f"{number:04}"
        if number % 2:
            _replace(path, text)
        else:
            path.write_text(text)
        assert await file.current() == text


async def test_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    """Nor one that is gone; the log says so once, as an error, and a good one counts again."""
    path = tmp_path / "f"
    path.write_text("раз")
    file = WatchedFile(path, _parse, variable="TURNKEEP_X")
    await file.first()
    with capture_logs() as logs:
        _replace(path, "broken")
        assert [await file.current() for _ in range(3)] == ["раз"] * 3
        path.unlink()
        assert [await file.current() for _ in range(3)] == ["раз"] * 3
        _replace(path, "два")
        assert await file.current() == "два"

    told = [(each["event"], each["log_level"]) for each in logs]
    assert told == [("file_not_reloaded", "error")] * 2 + [("file_reloaded", "info")]
    assert {each["variable"] for each in logs} == {"TURNKEEP_X"}


async def test_what_is_told_of_a_file_is_no_line_of_the_call_that_had_it_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "f"
    path.write_text("раз")
    borrowed: list[dict[str, Any]] = []

    def parse(content: bytes) -> str:
        borrowed.append(structlog.contextvars.get_contextvars())
        return content.decode()

    file = WatchedFile(path, parse, variable="TURNKEEP_X")
    await file.first()
    _replace(path, "два")
    with structlog.contextvars.bound_contextvars(method="Chat", trace_id="1"):
        assert await file.current() == "два"
        file.reload()
        async with asyncio.timeout(5):
            while len(borrowed) < 3:
                await asyncio.sleep(0.001)
    assert borrowed == [{}, {}, {}]


async def test_it_is_read_once_for_all_who_ask(tmp_path: Path) -> None:
    """And all of them wait for what it says now."""
    path = tmp_path / "f"
    path.write_text("раз")
    reads: list[bytes] = []

    def parse(content: bytes) -> str:
        reads.append(content)
        return content.decode()

    file = WatchedFile(path, parse, variable="TURNKEEP_X")
    await file.first()
    _replace(path, "два")
    os.utime(path, ns=(0, 0))  # long settled
    assert await asyncio.gather(*(file.current() for _ in range(50))) == ["два"] * 50
    assert len(reads) == 2


async def test_it_is_read_again_when_told(tmp_path: Path) -> None:
    """By SIGHUP, though nothing seems to have changed."""
    path = tmp_path / "f"
    path.write_text("раз")
    os.utime(path, ns=(0, 0))
    file = WatchedFile(path, _parse, variable="TURNKEEP_X")
    await file.first()
    path.write_text("два")
    os.utime(path, ns=(0, 0))
    file._seen = file._look()  # as on a disk whose times are too coarse
    assert await file.current() == "раз"
    file.reload()
    assert await file.current() == "два"


@pytest.mark.parametrize("content", ["broken", "bug"])
async def test_what_is_still_bad_is_told_again_when_told_to_read(
    tmp_path: Path, content: str
) -> None:
    """By SIGHUP, without a caller; what a parser did not foresee changes nothing either."""
    path = tmp_path / "f"
    path.write_text("раз")
    file = WatchedFile(path, _parse, variable="TURNKEEP_X")
    await file.first()
    _replace(path, content)
    with capture_logs() as logs:
        assert [await file.current() for _ in range(3)] == ["раз"] * 3
        await asyncio.sleep(0.03)  # the tick of the clock
        assert await file.current() == "раз"
        assert len(logs) == 1
        for count in (2, 3):
            file.reload()
            async with asyncio.timeout(5):
                while len(logs) < count:
                    await asyncio.sleep(0.001)
    assert {(each["event"], each["log_level"]) for each in logs} == {("file_not_reloaded", "error")}
    assert "тайна" not in str(logs)


async def test_a_file_that_says_nothing_counts_once_it_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it may be one that is being written; both are told once."""
    path = tmp_path / "f"
    path.write_text("раз")
    file = WatchedFile(path, _parse, variable="TURNKEEP_X")
    await file.first()
    with capture_logs() as logs:
        path.write_text("\n")
        assert [await file.current() for _ in range(3)] == ["раз"] * 3
        path.write_text("два")  # the second half of being written
        assert await file.current() == "два"
        path.write_text("")
        assert await file.current() == "два"
        later = watched_file.time.time_ns() + 6 * 10**9
        monkeypatch.setattr(watched_file.time, "time_ns", lambda: later)
        assert [await file.current() for _ in range(3)] == [""] * 3
        _replace(path, "три")
        assert await file.current() == "три"
    assert [each["event"] for each in logs] == [
        *("file_may_be_half_written", "file_reloaded"),
        *("file_may_be_half_written", "file_says_nothing", "file_reloaded"),
    ]
    assert [each["log_level"] for each in logs if "nothing" in each["event"]] == ["error"]


async def test_a_file_that_says_nothing_counts_at_once_when_told(tmp_path: Path) -> None:
    """By SIGHUP: whoever sends it knows that it is whole."""
    path = tmp_path / "f"
    path.write_text("раз")
    file = WatchedFile(path, _parse, variable="TURNKEEP_X")
    await file.first()
    path.write_text("")
    assert await file.current() == "раз"
    file.reload()
    assert await file.current() == ""


async def test_an_older_reading_does_not_count_over_a_newer_one(tmp_path: Path) -> None:
    """Though whoever had it read has hung up meanwhile."""
    path = tmp_path / "f"
    path.write_text("раз")
    slow, begun = threading.Event(), threading.Event()

    def parse(content: bytes) -> str:
        if content == "два".encode():
            begun.set()
            slow.wait(5)
        return content.decode()

    file = WatchedFile(path, parse, variable="TURNKEEP_X")
    await file.first()
    _replace(path, "два")
    first = asyncio.create_task(file.current())
    await asyncio.to_thread(begun.wait, 5)
    first.cancel()
    _replace(path, "три")
    os.utime(path, ns=(0, 0))  # settled: it is read once
    second = asyncio.create_task(file.current())
    await asyncio.sleep(0.05)
    slow.set()
    assert await second == "три"
    await asyncio.sleep(0.05)
    assert await file.current() == "три"


@pytest.mark.parametrize("problem", ["gone", "broken", "a folder"])
async def test_there_is_no_start_without_it(tmp_path: Path, problem: str) -> None:
    """The message names the setting, or is the parser's own."""
    path = tmp_path / "f"
    if problem == "broken":
        path.write_text(problem)
    elif problem == "a folder":
        path.mkdir()
    with pytest.raises(SettingsError, match=r"broken|TURNKEEP_X: .*f cannot be read"):
        await WatchedFile(path, _parse, variable="TURNKEEP_X").first()
