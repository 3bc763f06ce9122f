"""The port that Prometheus asks: plain HTTP, in threads of its own, beside the event loop.

Whoever reaches it is answered, so it is bounded: so many at once, and each for so long.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app
from prometheus_client.registry import Collector

from turnkeep_server.addresses import cannot_listen
from turnkeep_server.errors import StartupError

_MOST_AT_ONCE = 16
_ANSWERED_WITHIN_SECONDS = 10.0  # which is how long Prometheus waits, too


@asynccontextmanager
async def opened_port(
    listen: str, registry: Collector, *, first: Callable[[], None] = lambda: None
) -> AsyncIterator[str]:
    """Serves the registry on HOST:PORT until the block is left; yields where, port 0 resolved.

    `first` is called before each answer, in its thread. Raises StartupError if it cannot listen
    there.
    """
    host, _, port = listen.rpartition(":")
    try:
        # In a thread: it looks the host's name up.
        server = await asyncio.to_thread(_listening, host.strip("[]"), int(port), registry, first)
    except OSError as error:
        raise StartupError(cannot_listen(listen, error, "TURNKEEP_METRICS_LISTEN")) from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    try:
        yield f"{host}:{server.server_port}"
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()


def _listening(host: str, port: int, registry: Collector, first: Callable[[], None]) -> "_Server":
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, *_, address = found[0]
    server = _Server(family, (str(address[0]), port))
    answer = make_wsgi_app(registry)

    def application(environ: Any, start_response: Any) -> Any:
        first()
        return answer(environ, start_response)

    server.set_app(application)
    return server


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: it would be a line each scrape."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        self.address_family = family
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            super().shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # For the whole of it: a time-out of the socket would begin anew with each byte.
        end = threading.Timer(_ANSWERED_WITHIN_SECONDS, _cut, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()

    def shutdown_request(self, request: Any) -> None:
        # Once for each that got a place, also for one whose thread could not be started.
        super().shutdown_request(request)
        self._places.release()

    def handle_error(self, *_: Any) -> None:
        """Nothing: what comes here is a connection that broke, which is its scraper's affair."""


def _cut(connection: socket.socket) -> None:
    """Wakes whoever reads from it or writes to it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
