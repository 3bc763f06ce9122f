"""The `turnkeep-server` command, run to its end."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

WAIT_SECONDS = 20.0
PROGRAM = Path(sys.executable).with_name("turnkeep-server")


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    stdout: str
    stderr: str


async def turnkeep_server(*arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    """Run it with exactly this environment, PATH and HOME aside; TimeoutError if it goes on."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *arguments,
        env={**inherited, **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode is not None
    return Ended(process.returncode, stdout.decode(), stderr.decode())
