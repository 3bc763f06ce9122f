"""The `turnkeep-server` command, run to its end."""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.kit import server_process

WAIT_SECONDS = 60.0
PROGRAM = Path(sys.executable).with_name("turnkeep-server")


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    stdout: str
    stderr: str


async def turnkeep_server(*arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    """Run it with exactly this environment, PATH and HOME aside; TimeoutError if it goes on."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="turnkeep-command-") as folder:
        stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
        process = server_process.turnkeep_server(
            {**inherited, **(env or {})}, stdout, stderr, *arguments
        )
        try:
            code = await process.wait(WAIT_SECONDS)
        finally:
            process.kill()
        return Ended(code, stdout.read_text(), stderr.read_text())
