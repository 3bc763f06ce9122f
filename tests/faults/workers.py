"""A server of several workers as its log and /proc show it."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.faults.service import POLL_SECONDS
from tests.kit.server_process import ServerProcess

# A start takes two seconds, but ten times as long on a machine that has no time for it.
START_SECONDS = 90.0


def events(server: ServerProcess, name: str) -> list[dict[str, Any]]:
    """The log's lines about this event, oldest first."""
    lines = [json.loads(line) for line in server.log if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def workers(server: ServerProcess) -> dict[int, int]:
    """The process id of each worker, the newest one's if it was started again."""
    return {line["worker"]: line["pid"] for line in events(server, "worker_serving")}


async def happens(
    server: ServerProcess, name: str, times: int, timeout_seconds: float = START_SECONDS
) -> list[dict[str, Any]]:
    """Waits until the log tells of this event so often; TimeoutError if it does not."""
    async with asyncio.timeout(timeout_seconds):
        while len(found := events(server, name)) < times:
            await asyncio.sleep(POLL_SECONDS)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def all_end(pids: list[int], timeout_seconds: float) -> None:
    """Waits until none of these processes runs; TimeoutError if one does then."""
    async with asyncio.timeout(timeout_seconds):
        while any(map(is_alive, pids)):
            await asyncio.sleep(POLL_SECONDS)


def has_loaded(pid: int, library: str) -> bool:
    """Whether a compiled module of this name is in the process's memory."""
    return library in Path(f"/proc/{pid}/maps").read_text()


def resident_kib(pid: int) -> int:
    """The memory that the process occupies."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
