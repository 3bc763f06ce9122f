"""The port that Prometheus asks: plain HTTP, in a thread of its own, beside the event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import start_http_server
from prometheus_client.registry import Collector

from turnkeep_server.addresses import cannot_listen
from turnkeep_server.errors import StartupError


@asynccontextmanager
async def opened_port(listen: str, registry: Collector) -> AsyncIterator[str]:
    """Serves the registry on HOST:PORT until the block is left; yields where, port 0 resolved.

    Raises StartupError if it cannot listen there.
    """
    host, _, port = listen.rpartition(":")
    try:
        # In a thread: it looks the host's name up.
        server, _ = await asyncio.to_thread(
            start_http_server, int(port), host.strip("[]"), registry
        )
    except OSError as error:
        raise StartupError(cannot_listen(listen, error, "TURNKEEP_METRICS_LISTEN")) from error
    try:
        yield f"{host}:{server.server_port}"
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
