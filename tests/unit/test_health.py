"""Who watches health is told of each change, by himself; and what is kept of him is little."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc
import pytest
from grpc_health.v1 import health_pb2

from turnkeep_server import health, health_servicer
from turnkeep_server.errors import HistoryUnavailable
from turnkeep_server.health import LIVENESS, Health
from turnkeep_server.health_servicer import HealthServicer

ANSWERS: Any = health_pb2.HealthCheckResponse
SERVING, NOT_SERVING = ANSWERS.SERVING, ANSWERS.NOT_SERVING


class Context:
    """A caller on a connection; answers are written to it while it `reads`."""

    def __init__(self, connection: str = "ipv4:10.0.0.1:50000") -> None:
        self.connection = connection
        self.request = b""
        self.answers: list[int] = []
        self.code: grpc.StatusCode | None = None
        self.reads = asyncio.Event()
        self.reads.set()

    def peer(self) -> str:
        return self.connection

    async def read(self) -> bytes:
        return self.request

    async def write(self, answer: Any) -> None:
        self.answers.append(answer.status)
        await self.reads.wait()

    async def abort(self, code: grpc.StatusCode, *_: object) -> NoReturn:
        self.code = code
        raise grpc.aio.AbortError


class Methods:
    """The methods that a servicer adds to a server."""

    def __init__(self, servicer: HealthServicer) -> None:
        self.of: dict[str, Any] = {}
        servicer.add_to(self)  # type: ignore[arg-type]

    def add_registered_method_handlers(self, _: str, handlers: dict[str, Any]) -> None:
        self.of = handlers

    async def check(self, context: Context, service: str = "") -> int:
        context.request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
        status: int = (await self.of["Check"].stream_unary(None, context)).status
        return status

    @asynccontextmanager
    async def watched(self, *contexts: Context) -> AsyncIterator[None]:
        watches = [
            asyncio.create_task(self.of["Watch"].stream_stream(None, each)) for each in contexts
        ]
        await rest()
        yield
        for each in watches:
            each.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


class Store:
    """A database that answers or does not."""

    answers = True

    async def ping(self) -> None:
        if not self.answers:
            raise HistoryUnavailable("away")


async def rest() -> None:
    """Everything that can go on now does."""
    for _ in range(10):
        await asyncio.sleep(0)


def serving() -> HealthServicer:
    servicer = HealthServicer()
    servicer.set("", LIVENESS, serving=True)
    return servicer


async def test_a_watcher_that_does_not_read_keeps_no_change_from_the_others() -> None:
    servicer = serving()
    deaf, other = Context(), Context()
    deaf.reads.clear()
    async with Methods(servicer).watched(deaf, other):
        servicer.set("", serving=False)
        await rest()
        assert other.answers == [SERVING, NOT_SERVING]
        assert await Methods(servicer).check(Context()) == NOT_SERVING
        assert deaf.answers == [SERVING]


async def test_a_change_while_a_watcher_is_written_to_is_told_afterwards() -> None:
    servicer = serving()
    slow = Context()
    slow.reads.clear()
    async with Methods(servicer).watched(slow):
        servicer.set("", serving=False)
        slow.reads.set()
        await rest()
        assert slow.answers == [SERVING, NOT_SERVING]


async def test_what_is_as_it_was_is_not_told_again() -> None:
    """Neither another service's change, nor one that was taken back meanwhile."""
    servicer = serving()
    slow = Context()
    async with Methods(servicer).watched(slow):
        servicer.set(LIVENESS, serving=False)
        await rest()
        slow.reads.clear()
        servicer.set("", serving=False)
        await rest()
        servicer.set("", serving=True)
        servicer.set("", serving=False)
        slow.reads.set()
        await rest()
        assert slow.answers == [SERVING, NOT_SERVING]


async def test_watches_have_places_and_the_first_of_a_connection_always_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who opens many shuts nobody else out, and gives the places back; all may check."""
    monkeypatch.setattr(health_servicer, "_MOST_WATCHES", 2)
    servicer = serving()
    methods = Methods(servicer)
    greedy = [Context() for _ in range(4)]
    others = [Context("ipv4:10.0.0.2:50000"), Context("ipv4:10.0.0.3:50000")]
    second = Context("ipv4:10.0.0.2:50000")
    async with methods.watched(*greedy, *others, second):
        refused = [each for each in (*greedy, *others, second) if each.code]
        assert refused == [greedy[3], second]
        assert {each.code for each in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert await methods.check(greedy[0]) == SERVING

    again = [Context() for _ in range(3)]
    async with methods.watched(*again):
        assert [each.answers for each in again] == 3 * [[SERVING]]


async def test_health_follows_the_store_until_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process lives without a store; in a drain a store that comes back changes nothing."""
    monkeypatch.setattr(health, "_CHECK_EVERY_SECONDS", 0.0)
    followed, store = Health(), Store()
    followed.start()
    methods = Methods(followed.servicer)
    deaf = Context()
    deaf.reads.clear()
    following = asyncio.create_task(followed.follow(store))  # type: ignore[arg-type]
    async with methods.watched(deaf):
        store.answers = False
        await rest()
        assert not followed.store_answers
        assert await methods.check(Context()) == NOT_SERVING
        assert await methods.check(Context(), LIVENESS) == SERVING
        followed.stop()
        store.answers = True
        await rest()
        assert followed.store_answers
        for service in ("", LIVENESS, health.SERVICE):
            assert await methods.check(Context(), service) == NOT_SERVING
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
