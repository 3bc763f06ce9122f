"""Processes that the service starts, found in /proc; and servers that are meant not to start."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.service import POLL_SECONDS
from tests.kit.server_process import ServerProcess


def mongods_of(folder: Path) -> list[int]:
    """The process ids of the mongods whose data lie below this folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            words = _command_line(process)
            if words and words[0].endswith("/mongod") and _data_path(words).is_relative_to(folder):
                found.append(int(process.name))
    return found


async def no_mongod_of(folder: Path, timeout_seconds: float) -> None:
    """Waits until none is left; TimeoutError when one is left then."""
    async with asyncio.timeout(timeout_seconds):
        while mongods_of(folder):
            await asyncio.sleep(POLL_SECONDS)


async def refused_start(env: dict[str, str]) -> str:
    """The log of a server that must exit with 1 instead of serving."""
    server = ServerProcess(env)
    with pytest.raises(RuntimeError, match="exited with 1"):
        async with server:
            pass
    return "\n".join(server.log)


def _command_line(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_text().rstrip("\0").split("\0")
    except OSError:  # it has ended meanwhile
        return []


def _data_path(words: list[str]) -> Path:
    return Path(words[words.index("--dbpath") + 1])
