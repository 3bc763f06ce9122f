"""One scripted server a test, and both clients as callers of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import turnkeep
import turnkeep.sync
from tests.client.scripted_server import ScriptedServer


class Caller:
    """The asynchronous client, and the parts of it that both have, as coroutines."""

    def __init__(self, address: str, **options: Any) -> None:
        self.client: Any = self._client(address, **options)
        self.session: Any = self.client.session("42", user_id="victor")

    @staticmethod
    def _client(address: str, **options: Any) -> Any:
        return turnkeep.ConversationClient(address, **options)

    async def chat(self, text: str, **options: Any) -> turnkeep.Reply:
        reply: turnkeep.Reply = await self.session.chat(text, **options)
        return reply

    async def add(self, messages: Any, **options: Any) -> turnkeep.Added:
        added: turnkeep.Added = await self.session.add(messages, **options)
        return added

    async def clear(self) -> turnkeep.Cleared:
        cleared: turnkeep.Cleared = await self.session.clear()
        return cleared

    async def streamed(self, text: str, pieces: list[str], **options: Any) -> turnkeep.Reply:
        """Reads a stream to its end; its texts go into `pieces`, for when it fails."""
        stream = self.session.stream(text, **options)
        async for piece in stream:
            pieces.append(piece)  # noqa: PERF401  # one by one: the next may raise
        reply: turnkeep.Reply = stream.reply
        return reply

    async def result(self, stream: Any) -> str:
        """The whole text of a stream that was made before."""
        return str(await stream.result())

    async def close(self) -> None:
        await self.client.close()


class SyncCaller(Caller):
    """The synchronous client, in threads."""

    @staticmethod
    def _client(address: str, **options: Any) -> Any:
        return turnkeep.sync.ConversationClient(address, **options)

    async def chat(self, text: str, **options: Any) -> turnkeep.Reply:
        return await asyncio.to_thread(self.session.chat, text, **options)

    async def add(self, messages: Any, **options: Any) -> turnkeep.Added:
        return await asyncio.to_thread(self.session.add, messages, **options)

    async def clear(self) -> turnkeep.Cleared:
        return await asyncio.to_thread(self.session.clear)

    async def streamed(self, text: str, pieces: list[str], **options: Any) -> turnkeep.Reply:
        return await asyncio.to_thread(self._streamed, text, pieces, **options)

    async def result(self, stream: Any) -> str:
        return str(await asyncio.to_thread(stream.result))

    async def close(self) -> None:
        await asyncio.to_thread(self.client.close)

    def _streamed(self, text: str, pieces: list[str], **options: Any) -> turnkeep.Reply:
        stream = self.session.stream(text, **options)
        for piece in stream:
            pieces.append(piece)  # noqa: PERF402  # one by one: the next may raise
        reply: turnkeep.Reply = stream.reply
        return reply


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as scripted:
        yield scripted


@pytest.fixture(params=[Caller, SyncCaller], ids=["async", "sync"])
def caller_class(request: pytest.FixtureRequest) -> type[Caller]:
    kind: type[Caller] = request.param
    return kind


@pytest_asyncio.fixture
async def caller(server: ScriptedServer, caller_class: type[Caller]) -> AsyncIterator[Caller]:
    made = caller_class(server.address)
    yield made
    await made.close()
