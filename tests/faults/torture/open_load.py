"""A load that does not wait for its answers, from a process of its own.

    python -m tests.faults.torture.open_load '{"address": …}'   # a Load as JSON; prints a Measured

A caller that waits before it calls again slows down with the service that it measures, and never
overloads it. So the calls of a `Load` with a rate come at their times, whatever became of those
before (Poisson, from a seed); at most `most_open` are open at once, the rest are counted as not
made. Without a rate as many callers as `callers` call one after another: that is how what a service
carries is found. One channel has one connection, whose streams are limited: there are several.
"""

import asyncio
import gc
import json
import os
import random
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from tests.kit.child import Child, tail
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1.conversation_pb2_grpc import ConversationServiceStub

_START_SECONDS, _LAST_ANSWERS_SECONDS = 20.0, 20.0
_REFUSALS = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}


@dataclass(frozen=True, slots=True)
class Load:
    """What to offer to whom. `rate` is in calls a second, 0 for `callers` in a closed loop."""

    address: str
    seconds: float
    warm_up_seconds: float = 0.0
    """At the beginning; what ends in it is not counted."""
    rate: float = 0.0
    callers: int = 0
    sessions: int = 1_000
    channels: int = 4
    most_open: int = 2_000
    timeout_seconds: float = 30.0
    prefix: str = "s"
    seed: int = 1
    token: str = ""
    """The bearer token of its calls, if they carry one."""
    nice: int = 0
    """By how much its process gives way to others."""


@dataclass(slots=True)
class Measured:
    """What came of a load, counted from the end of its warm-up to the end of its time."""

    counts_from: float = 0.0
    """When the warm-up ended, in seconds of time.monotonic()."""
    seconds: float = 0.0
    answered: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    without_retry_info: int = 0
    """Refusals that do not say when to come again."""
    not_made: int = 0
    """Calls whose time came while `most_open` were open."""
    answer_ms: list[float] = field(default_factory=list)
    refusal_ms: list[float] = field(default_factory=list)

    @property
    def offered(self) -> float:
        """Calls a second that were made and came to an end."""
        return sum(self.statuses.values()) / self.seconds

    @property
    def goodput(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds


class _Generator:
    def __init__(self, load: Load) -> None:
        self.load = load
        self.measured = Measured(seconds=load.seconds - load.warm_up_seconds)
        self._random = random.Random(load.seed)  # arrivals, no secret
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [
            grpc.aio.insecure_channel(load.address, options) for _ in range(load.channels)
        ]
        self._chats: list[Any] = [ConversationServiceStub(each).Chat for each in self._channels]
        self._metadata = (("authorization", f"Bearer {load.token}"),) if load.token else ()
        self._made = 0
        self._open: set[asyncio.Task[None]] = set()
        self._ends = 0.0

    async def run(self) -> Measured:
        for channel in self._channels:
            await channel.channel_ready()
        now = time.monotonic()
        self._ends = now + self.load.seconds
        self.measured.counts_from = now + self.load.warm_up_seconds
        await (self._at_times() if self.load.rate else self._in_turn())
        if self._open:
            await asyncio.wait(self._open, timeout=_LAST_ANSWERS_SECONDS)
        for channel in self._channels:
            await channel.close()
        return self.measured

    async def _at_times(self) -> None:
        due = time.monotonic()
        while due < self._ends:
            await asyncio.sleep(max(due - time.monotonic(), 0))
            if len(self._open) < self.load.most_open:
                task = asyncio.create_task(self._call())
                self._open.add(task)
                task.add_done_callback(self._open.discard)
            else:
                self.measured.not_made += 1
            due += self._random.expovariate(self.load.rate)

    async def _in_turn(self) -> None:
        async def caller() -> None:
            while time.monotonic() < self._ends:
                await self._call()

        await asyncio.gather(*(caller() for _ in range(self.load.callers)))

    async def _call(self) -> None:
        number = self._made
        self._made += 1
        request = pb.ChatRequest(
            session_id=f"{self.load.prefix}-{number % self.load.sessions}",
            text=f"Привет, это сообщение {number} 👋 你好",
            request_id=f"{self.load.prefix}-{number}",
        )
        chat = self._chats[number % len(self._chats)]
        began = time.monotonic()
        try:
            await chat(request, timeout=self.load.timeout_seconds, metadata=self._metadata)
            status, error = "OK", None
        except grpc.aio.AioRpcError as failed:
            status, error = failed.code().name, failed
        now = time.monotonic()
        if self.measured.counts_from <= now <= self._ends:
            self._count(status, error, (now - began) * 1000)

    def _count(self, status: str, error: grpc.aio.AioRpcError | None, ms: float) -> None:
        statuses = self.measured.statuses
        statuses[status] = statuses.get(status, 0) + 1
        if error is None:
            self.measured.answered += 1
            self.measured.answer_ms.append(ms)
        elif error.code() in _REFUSALS:
            self.measured.refusal_ms.append(ms)
            self.measured.without_retry_info += not says_when(error)


async def offered(load: Load, folder: Path) -> Measured:
    """Offers a load from a process of its own, and waits for what comes of it."""
    out, err = Path(folder, f"{load.prefix}.json"), Path(folder, f"{load.prefix}.err")
    argv = [sys.executable, "-m", "tests.faults.torture.open_load", json.dumps(asdict(load))]
    child = Child(argv, env=None, stdout=out, stderr=err)
    try:
        if await child.wait(load.seconds + _LAST_ANSWERS_SECONDS + _START_SECONDS):
            raise RuntimeError(f"the load failed; it says:\n{tail(err)}")
    finally:
        child.kill()
    return Measured(**json.loads(out.read_text()))


def says_when(error: grpc.aio.AioRpcError) -> bool:
    """Whether a refusal's details hold a RetryInfo with a delay."""
    trailers = dict(error.trailing_metadata() or ())
    details = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b"")).details
    retry = error_details_pb2.RetryInfo()
    return any(
        each.Unpack(retry) and retry.retry_delay.ToMilliseconds() > 0
        for each in details
        if each.type_url.endswith("/google.rpc.RetryInfo")
    )


def main() -> None:
    """Offers the load of the first argument, and prints what came of it."""

    # A full collection here would be measured there.
    gc.freeze()
    load = Load(**json.loads(sys.argv[1]))
    os.nice(load.nice)

    async def run() -> Measured:
        # gRPC's channels belong to the event loop in which they were made.
        return await _Generator(load).run()

    json.dump(asdict(asyncio.run(run())), sys.stdout)


if __name__ == "__main__":
    main()
