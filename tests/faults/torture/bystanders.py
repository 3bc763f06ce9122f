"""Who calls beside a storm: health checks, and patient callers, who come again when told."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.faults.service import Caller
from tests.kit.server_process import ServerProcess
from turnkeep import ConversationClient, Session
from turnkeep.errors import TurnkeepError

_HEALTH_EVERY_SECONDS = 0.05


@dataclass(slots=True)
class Bystanders:
    """What they saw. `patient`: how many patient callers there are, each one call at a time.

    A patient caller is the Python client as it is. It waits at most until `patience_seconds` after
    the storm, when there is room for everybody: whoever still waits then was forgotten.
    """

    server: ServerProcess
    patient: int
    patience_seconds: float
    health: list[str] = field(default_factory=list)
    """The answers to the health checks, or the status that a check failed with."""
    health_ms: list[float] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    """When patient callers were answered, in seconds of time.monotonic()."""
    waits: list[float] = field(default_factory=list)
    """How long each of these answers took, in seconds, the refusals before it included."""
    starved: list[str] = field(default_factory=list)
    """The errors of patient callers who never got in."""

    @property
    def healthy(self) -> float:
        """The share of health checks that were answered with SERVING."""
        return self.health.count("SERVING") / len(self.health)

    @asynccontextmanager
    async def beside(self, seconds: float) -> AsyncIterator[None]:
        """They call while the block runs, a storm of so many seconds."""
        over = asyncio.Event()
        async with ConversationClient(self.server.address) as client, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._check_health(over))
            for number in range(self.patient):
                session = client.session(f"patient-{number}")
                tasks.create_task(self._call(session, seconds + self.patience_seconds, over))
            yield
            over.set()

    def answered_between(self, begin: float, end: float) -> int:
        """How many answers patient callers got in this time."""
        return sum(begin <= each <= end for each in self.answered_at)

    async def _check_health(self, over: asyncio.Event) -> None:
        caller = Caller(self.server)
        while not over.is_set():
            began = time.monotonic()
            self.health.append(await caller.health())
            self.health_ms.append((time.monotonic() - began) * 1000)
            await asyncio.sleep(_HEALTH_EVERY_SECONDS)

    async def _call(self, session: Session, timeout_seconds: float, over: asyncio.Event) -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                await session.chat("Я подожду 🙏", timeout_seconds=timeout_seconds)
            except TurnkeepError as error:
                self.starved.append(repr(error))
                return
            self.answered_at.append(time.monotonic())
            self.waits.append(self.answered_at[-1] - began)
