"""The command `turnkeep`, run to its end."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

WAIT_SECONDS = 60.0
PROGRAM = (sys.executable, "-m", "turnkeep.cli")


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The JSON document on stdout."""
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[Any]:
        """The JSON documents on stdout, one a line."""
        return [json.loads(each) for each in self.stdout.split("\n") if each]

    @property
    def error(self) -> Any:
        """The JSON document on stderr."""
        return json.loads(self.stderr)["error"]


class Turnkeep:
    """Runs the command with exactly this environment, its output in pipes."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env

    async def __call__(
        self, *arguments: str | bytes, stdin: str | bytes = b"", **env: str
    ) -> Ended:
        """To its end, with `stdin` piped in; TimeoutError if it goes on."""
        process = await self.started(*arguments, **env)
        given = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                stdout, stderr = await process.communicate(given)
        except TimeoutError:
            process.kill()
            await process.communicate()
            raise
        assert process.returncode is not None
        return Ended(process.returncode, stdout.decode(), stderr.decode())

    async def started(self, *arguments: str | bytes, **env: str) -> asyncio.subprocess.Process:
        """Started, with pipes; whoever asks for it sees to its end."""
        return await asyncio.create_subprocess_exec(
            *PROGRAM,
            *arguments,
            env={**self.env, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
