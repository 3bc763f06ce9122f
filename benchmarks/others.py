"""The benchmarks that stand by themselves: each a module that prints its ratio last."""

import asyncio
import sys
from dataclasses import dataclass

from benchmarks.tables import Verdict

OTHERS = {
    "tokens": "counting tokens, against counting a text's characters",
    "context": "fitting a window, 10,000 turns against 20",
    "list_sessions": "the first page of ListSessions, 10,000 sessions against 100",
    "summaries": "turns while summaries are written, against none",
    "telemetry": "CPU a turn with metrics and every call traced, against neither",
    "import_time": "importing the client, against importing gRPC and the stubs",
}
_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a benchmark said, whole, and its verdict."""

    verdict: Verdict
    output: str


async def run(name: str) -> Told:
    """One of them, in a process of its own. TimeoutError if it takes a quarter of an hour."""
    command = f"python -m benchmarks.{name}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"benchmarks.{name}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            output = (await process.communicate())[0].decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
    last = output.splitlines()[-1] if output else "nothing"
    figure = last.partition(": ")[2] or last
    within = process.returncode == 0
    return Told(Verdict(name, OTHERS[name], figure, "as told", within, command), output)
