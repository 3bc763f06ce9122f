"""`grpc.health.v1.Health`, answered to whoever asks, and whatever he then reads of the answer."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import grpc
from grpc_health.v1 import health, health_pb2

from turnkeep_server.errors import (
    FieldViolation,
    InvalidRequest,
    MalformedMessage,
    Overloaded,
    TurnkeepError,
)
from turnkeep_server.interceptors.errors import abort, refuse
from turnkeep_server.interceptors.reading import read_request

_Context = grpc.aio.ServicerContext[Any, Any]
_pb: Any = health_pb2  # whose stubs do not know List

_LONGEST_NAME_BYTES = 256
_LONGEST_REQUEST_BYTES = 3 + _LONGEST_NAME_BYTES
_MOST_WATCHES = 1_000
# A request that does not come whole is waited for so long; other connections' are read meanwhile.
_MOST_READ_AT_ONCE = 8
_READ_WITHIN_SECONDS = 5.0


class HealthServicer:
    """Tells how services are, and whoever watches one when it changes.

    In the place of grpcio-health-checking's own, whose watchers write under a lock: one that reads
    nothing holds up every change, and with it the drain. Here each watcher is woken and writes by
    itself.

    Callers are not known, so little is kept of them: a name has 256 bytes at most, and a server
    takes 1,000 watches beside the first of each connection, which it always takes: who opens many
    shuts nobody out (but on a unix socket, where all are one connection to gRPC). Checks are never
    refused.
    """

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._watches = Counter[str]()
        """How many each connection has, of those that have any."""
        # By connection, and no longer than one of its requests is read.
        self._reading = WeakValueDictionary[str, asyncio.Semaphore]()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Has the server answer health with it; before the server is started.

        As methods whose requests stream, which is the same on the wire: a request is taken in when
        it is asked for, a few at a time on a connection. And without deserializers: gRPC keeps its
        bytes for as long as the call runs, so they are looked at before anything runs long.
        """
        answer = _pb.HealthCheckResponse.SerializeToString
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Check": grpc.stream_unary_rpc_method_handler(self._check, response_serializer=answer),
            "Watch": grpc.stream_stream_rpc_method_handler(self._watch, response_serializer=answer),
            "List": grpc.stream_unary_rpc_method_handler(
                self._list, response_serializer=_pb.HealthListResponse.SerializeToString
            ),
        }
        server.add_registered_method_handlers(health.SERVICE_NAME, handlers)

    def set(self, *services: str, serving: bool) -> None:
        """From now on they are told to be so; returns at once, whoever watches them."""
        status = _pb.HealthCheckResponse.SERVING if serving else _pb.HealthCheckResponse.NOT_SERVING
        self._statuses |= dict.fromkeys(services, status)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _check(self, _: Any, context: _Context) -> Any:
        try:
            status = self._statuses.get(_service(await self._read(context)))
        except TurnkeepError as error:
            await refuse(context, error)
        if status is None:
            await abort(context, grpc.StatusCode.NOT_FOUND, "there is no service of this name", ())
        return _pb.HealthCheckResponse(status=status)

    async def _list(self, _: Any, _context: _Context) -> Any:
        answer = _pb.HealthListResponse()
        for service, status in self._statuses.items():
            answer.statuses[service].status = status
        return answer

    async def _watch(self, _: Any, context: _Context) -> None:
        try:
            service = _service(await self._read(context))
            with self._place(context.peer()):
                await self._tell_changes(service, context)
        except TurnkeepError as error:
            await refuse(context, error)

    async def _read(self, context: _Context) -> bytes:
        """The request, though it may be as large as the port takes. Raises as read_request does."""
        connection = context.peer()
        places = self._reading.get(connection)
        if places is None:
            places = self._reading[connection] = asyncio.Semaphore(_MOST_READ_AT_ONCE)
        async with places:
            return await read_request(context, _READ_WITHIN_SECONDS)

    async def _tell_changes(self, service: str, context: _Context) -> None:
        told: int | None = None
        while True:
            # Before the status is read, so that a change during the write is not slept through.
            changed = self._changed
            status = self._statuses.get(service, _pb.HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                await context.write(_pb.HealthCheckResponse(status=status))
                told = status
            await changed.wait()

    @contextmanager
    def _place(self, connection: str) -> Iterator[None]:
        """Counts a watch while it is open. Raises Overloaded."""
        beside_the_first = self._watches.total() - len(self._watches)
        if connection in self._watches and beside_the_first >= _MOST_WATCHES:
            raise Overloaded(
                "the server has as many health watches as it takes; watch later, or over another "
                "connection",
                limit="health_watches",
            )
        self._watches[connection] += 1
        try:
            yield
        finally:
            self._watches[connection] -= 1
            if not self._watches[connection]:
                del self._watches[connection]


def _service(data: bytes) -> str:
    """The name that is asked for. Raises InvalidRequest or MalformedMessage."""
    if len(data) > _LONGEST_REQUEST_BYTES:
        wanted = f"must have at most {_LONGEST_NAME_BYTES} bytes"
        raise InvalidRequest([FieldViolation("service", wanted)])
    try:
        service: str = _pb.HealthCheckRequest.FromString(data).service
    except Exception:  # noqa: BLE001  # protobuf's runtimes differ in what they raise
        raise MalformedMessage("the request's bytes are no message of this method") from None
    return service
