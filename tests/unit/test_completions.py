"""Chat completions over HTTP: what only a server that is written for it can show."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from turnkeep_server.completions import opened_completions

LATE_SECONDS = 0.02
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = b'data: {"n": 1}\n\ndata: [DONE]\n\n'


@asynccontextmanager
async def ending_late() -> AsyncIterator[tuple[str, list[int]]]:
    """A provider whose body ends a little after its last event; its URL, and calls a connection."""
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        try:
            while True:
                await reader.readuntil(b"{}")
                connections[-1] += 1
                writer.write(HEAD + b"%x\r\n" % len(EVENTS) + EVENTS + b"\r\n")
                await asyncio.sleep(LATE_SECONDS)
                writer.write(b"0\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1/", connections


async def test_a_connection_is_used_again_though_a_body_ends_after_its_last_event() -> None:
    async with ending_late() as (url, connections):
        async with opened_completions(url, {}, timeout_seconds=5) as completions:
            for _ in range(3):
                assert [each async for each in completions.events({})] == [{"n": 1}]
        assert connections == [3]
