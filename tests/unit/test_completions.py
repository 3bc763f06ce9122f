"""Chat completions over HTTP: what only a server that is written for it can show."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from tests.kit import openai_wire as wire
from turnkeep_server.completions import opened_completions
from turnkeep_server.models import opened_model
from turnkeep_server.settings import Settings

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


@asynccontextmanager
async def told() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A provider that notes what it is told before a body; its host and port, and the notes."""
    heads: list[bytes] = []
    answer = wire.completion("gpt-4o-mini", {"content": "да"}, "stop", wire.usage(1, 1))
    body = json.dumps(answer).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"127.0.0.1:{port}", heads


@pytest.mark.parametrize("client", ["direct", "sdk"])
async def test_a_password_in_the_url_is_sent_in_place_of_the_key(client: str) -> None:
    """As HTTP clients have it: aiohttp refuses to send both, and every call would fail."""
    async with told() as (host, heads):
        settings = Settings.model_validate(
            {
                "model_client": client,
                "OPENAI_API_KEY": SecretStr("key"),
                "OPENAI_BASE_URL": f"http://user:p%40ss-пароль@{host}/v1",
            }
        )
        async with opened_model(settings, "gpt-4o-mini") as model:
            assert (await model.ainvoke("?")).text == "да"
    basic = base64.b64encode("user:p@ss-пароль".encode())
    assert heads[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"authorization: basic " + basic.lower() in heads[0].lower()
