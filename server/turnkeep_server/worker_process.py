"""A worker as its supervisor sees it: a process and a line to it."""

import asyncio
import json
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from turnkeep_server.worker_line import Order

# A thousand tenants' figures are some hundred kilobytes.
_LONGEST_REPORT_BYTES = 2**24


class WorkerProcess:
    """One process, from its start to its end."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reports: asyncio.StreamReader,
        orders: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reports = reports
        self._orders = orders
        self._asking = asyncio.Lock()
        self._owed = 0
        self._serves = False

    @classmethod
    async def started(cls, number: int, environment: Mapping[str, str]) -> "WorkerProcess":
        """A new process, not serving yet. OSError if there is none to be had."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    # -P: nothing in the working directory may stand in for an installed module.
                    *(sys.executable, "-P", "-m", "turnkeep_server.worker"),
                    *(str(number), str(theirs.fileno())),
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    # Not in the terminal's group: ctrl-C is for the supervisor alone.
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, *await asyncio.open_connection(sock=ours, limit=_LONGEST_REPORT_BYTES))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def serving(self) -> str | None:
        """None once it serves; if it ends before that, the problem that it told, or none ("")."""
        report = b""
        with suppress(ConnectionError):
            report = await self._reports.readline()
        if not report:
            await self._process.wait()
            return ""
        problem: str | None = json.loads(report).get("problem")
        self._serves = problem is None
        return problem

    async def figures(self) -> Any:
        """Its figures now; how long that may take is its asker's to say.

        Raises ConnectionError if it does not serve yet, or has ended.

        An answer that came too late for who asked before is read first, and dropped.
        """
        async with self._asking:
            if not self._serves:
                raise ConnectionError
            self.order(Order.FIGURES)
            self._owed += 1
            report = b""
            while self._owed:
                report = await self._reports.readline()
                if not report:
                    raise ConnectionError
                self._owed -= 1
            return json.loads(report)["figures"]

    async def ended(self) -> int:
        """Its exit code, -N after signal N, once it has ended."""
        code = await self._process.wait()
        self._orders.close()
        return code

    def order(self, order: Order) -> None:
        """Gives an order; one that has ended hears none."""
        if self._process.returncode is None:
            self._orders.write(order.value)

    def kill(self) -> None:
        """SIGKILL, for one that does not end."""
        with suppress(ProcessLookupError):
            self._process.kill()
