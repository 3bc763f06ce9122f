"""The client behind a network that cuts connections: every call happens, and happens once."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.faults.service import environment
from tests.kit.cutting_proxy import CuttingProxy
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from turnkeep import ConversationClient, ReplyStream, Session, TurnkeepError
from turnkeep.sync import ConversationClient as SyncConversationClient

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
CALLS, CALLS_IN_FULL = 600, 5_000
CALLERS, SHARED_SESSIONS = 40, 5
MEAN_BYTES_TO_CUT = 6_000
# Each cut ends up to 40 calls; on a busy machine one may be unlucky for longer than the usual 60 s.
PATIENCE_SECONDS = 240.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(model_provider: OpenAIStub, mongod: Mongod) -> AsyncIterator[ServerProcess]:
    env = environment(mongod.url_for(fresh_database_name()), model_provider, max_messages=4)
    async with ServerProcess(env) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(server: ServerProcess) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(server.address, mean_bytes=MEAN_BYTES_TO_CUT, seed=4) as proxy:
        yield proxy


class Caller:
    """Makes calls one after the other, some in a session of its own, some in a shared one."""

    def __init__(self, client: ConversationClient, number: int) -> None:
        self._dice = random.Random(number)
        self._own = client.session(f"own-{number}")
        self._shared = client.session(f"shared-{number % SHARED_SESSIONS}")
        self._number = number
        self.acknowledged: Counter[tuple[str, str]] = Counter()
        """(session, text) of each call that was answered."""
        self.interrupted = 0
        """Streams that broke after their first text, and were sent again with their request_id."""

    async def run(self, calls: int) -> None:
        for n in range(calls):
            session = self._own if self._dice.random() < 0.8 else self._shared
            text = f"вопрос {self._number}-{n} 问题 🙂"
            await self._dice.choice((self._chat, self._add, self._stream))(session, text)
            self.acknowledged[session.session_id, text] += 1

    async def _chat(self, session: Session, text: str) -> None:
        reply = await session.chat(text)
        assert reply.text == f"reply to: {text}"

    async def _add(self, session: Session, text: str) -> None:
        added = await session.add([("user", text)])
        assert [each.text for each in added.messages] == [text]

    async def _stream(self, session: Session, text: str) -> None:
        stream = session.stream(text)
        while True:
            broken = await _broken(stream)
            if broken is None:
                assert stream.reply.text == stream.text == f"reply to: {text}"
                return
            assert broken.partial_text, f"not sent again: {broken!r}"
            assert f"reply to: {text}".startswith(broken.partial_text)
            self.interrupted += 1
            stream = session.stream(text, request_id=broken.request_id)


async def test_every_call_happens_once_however_often_the_connection_is_cut(
    server: ServerProcess, proxy: CuttingProxy, model: OpenAIStub, full: bool
) -> None:
    calls = CALLS_IN_FULL if full else CALLS
    async with ConversationClient(proxy.address, timeout_seconds=PATIENCE_SECONDS) as client:
        callers = [Caller(client, number) for number in range(CALLERS)]
        await asyncio.gather(*(each.run(calls // CALLERS) for each in callers))
    acknowledged = sum((each.acknowledged for each in callers), Counter())
    stored = await questions_of(server, {session for session, _ in acknowledged})

    assert sum(acknowledged.values()) == calls
    assert stored == acknowledged
    assert max(stored.values()) == 1
    assert proxy.cuts > calls / 40
    assert sum(each.interrupted for each in callers) > 0


async def test_so_it_does_with_the_synchronous_client(
    server: ServerProcess, proxy: CuttingProxy, model: OpenAIStub
) -> None:
    def run(number: int) -> list[str]:
        texts = [f"سؤال {number}-{n}" for n in range(15)]
        with SyncConversationClient(proxy.address, timeout_seconds=PATIENCE_SECONDS) as client:
            session = client.session(f"sync-{number}")
            for text in texts:
                if text.endswith(("0", "5")):
                    session.add([("user", text)])
                else:
                    assert session.chat(text).text == f"reply to: {text}"
        return texts

    ran = await asyncio.gather(*(asyncio.to_thread(run, number) for number in range(4)))
    sessions = [f"sync-{number}" for number in range(4)]
    expected = Counter(
        (session, text) for session, texts in zip(sessions, ran, strict=True) for text in texts
    )

    assert await questions_of(server, set(sessions)) == expected
    assert proxy.cuts > 0


async def _broken(stream: ReplyStream) -> TurnkeepError | None:
    """What the stream broke with, read to where it ends."""
    try:
        await stream.result()
    except TurnkeepError as error:
        return error
    return None


async def questions_of(server: ServerProcess, sessions: set[str]) -> Counter[tuple[str, str]]:
    """(session, text) of every completed turn's question, read without the proxy."""
    async with ConversationClient(server.address) as client:
        return Counter(
            [
                (each, message.text)
                for each in sessions
                async for message in client.session(each).messages()
                if message.role == "user"
            ]
        )
