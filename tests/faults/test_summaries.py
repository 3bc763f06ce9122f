"""Summaries over two servers and over a session that is very long."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from tests.conftest import fresh_database_name
from tests.faults.documents import session_key
from tests.faults.service import Caller, environment
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.openai_wire import text_of
from tests.kit.server_process import ServerProcess
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.history.mongodb_documents import turn_document
from turnkeep_server.tokens import counted
from turnkeep_server.turns import Message, Role, Turn, TurnStatus

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
SUMMARIZER = "gpt-4o"
FACTS = ("Меня зовут Виктор", "Я живу в Казани", "У меня аллергия на арахис")
TURNS, TURNS_A_CHAT = 3_000, 20
MOST_INPUT_TOKENS = 4_000
WAIT_SECONDS = 30.0


@pytest.fixture(scope="module")
def history_url(mongod: Mongod) -> str:
    """The database of both servers."""
    return mongod.url_for(fresh_database_name())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(model_provider: OpenAIStub, history_url: str) -> AsyncIterator[list[Caller]]:
    """A caller of each of two servers that summarise."""
    settings = {"summary": "on", "summary_model": SUMMARIZER}
    env = environment(history_url, model_provider, **settings)
    async with ServerProcess(env) as one, ServerProcess(env) as other:
        yield [Caller(one), Caller(other)]


def extracting(model: OpenAIStub) -> Callable[[], list[list[tuple[str, str]]]]:
    """Has the model keep facts word for word; returns what lists its summarising calls."""
    fact = re.compile("|".join(FACTS))

    def reply(messages: list[dict[str, Any]]) -> str:
        if "keep the notes" in text_of(messages[0]):
            return ". ".join(dict.fromkeys(fact.findall(text_of(messages[-1])))) or "—"
        return "Понятно."

    model.reply = reply
    return lambda: [call.input for call in model.calls if call.body["model"] == SUMMARIZER]


async def test_two_servers_over_the_threshold_at_once_make_one_summary(
    two: list[Caller], model: OpenAIStub
) -> None:
    summaries = extracting(model)
    for n in range(31):
        await two[n % 2].add("both", f"вопрос {n}", f"ответ {n}")
    assert summaries() == []
    await asyncio.gather(
        *(caller.chat("both", f"q{n}") for n, caller in zip(range(6), cycle(two), strict=False))
    )
    async with asyncio.timeout(WAIT_SECONDS):
        while not summaries():
            await asyncio.sleep(0.05)
    # Time for the other server to make a second one, if it would.
    await asyncio.sleep(3)
    assert len(summaries()) == 1
    for caller in two:
        request = pb.ChatRequest(session_id="both", text="?")
        assert (await caller.stub.PreviewContext(request)).context.summary_used


async def test_what_was_told_at_the_start_is_known_after_three_thousand_turns(
    two: list[Caller], model: OpenAIStub, history_url: str
) -> None:
    """Most turns are written straight into MongoDB; every 20th is a Chat that sees what is sent."""
    extracting(model)
    largest = 0
    async with AsyncMongoClient[dict[str, Any]](history_url) as client:
        turns = client.get_default_database()["turns"]
        for first in range(1, TURNS, TURNS_A_CHAT):
            await turns.insert_many(_documents(first, TURNS_A_CHAT - 1))
            answer = await two[first // TURNS_A_CHAT % 2].chat("long", "Что дальше? 接下来呢?")
            assert answer.sequence == first + TURNS_A_CHAT - 1
            largest = max(largest, answer.context.estimated_input_tokens)
    await _told(two[0], *FACTS)
    question = "Как меня зовут и где я живу?"
    answer = await two[0].chat("long", question)

    # Not the last call of all: a summary may be asked for behind the turn.
    sent = next(call.input for call in reversed(model.calls) if call.input[-1][1] == question)
    assert [role for role, _ in sent[:3]] == ["system", "system", "user"]
    assert all(fact in sent[1][1] for fact in FACTS)
    assert answer.context.summary_used
    assert answer.context.included_messages == 40
    assert answer.context.omitted_messages == 2 * TURNS - 40
    print(
        f"input at turn {TURNS}: {answer.context.estimated_input_tokens} tokens, at most {largest}"
    )
    assert max(largest, answer.context.estimated_input_tokens) < MOST_INPUT_TOKENS


def _documents(first: int, count: int) -> Iterator[dict[str, Any]]:
    """Turns of two messages from a sequence on; the facts are told in turns 1, 4 and 7."""
    for sequence in range(first, first + count):
        told = sequence % 3 == 1 and sequence < 9
        said = FACTS[sequence // 3] if told else f"{sequence}: расскажи ещё что-нибудь 🙂"
        at = datetime.now(UTC)
        messages = (
            counted(Message(Role.USER, said, created_at=at)),
            counted(Message(Role.ASSISTANT, f"{sequence}-й ответ: 一切都好。", created_at=at)),
        )
        before = 2 * (sequence - 1)
        turn = Turn("", sequence, TurnStatus.COMPLETED, messages, before, at, completed_at=at)
        yield turn_document(session_key("long"), turn)


async def _told(caller: Caller, *facts: str) -> None:
    """Waits until the summary that would be sent holds all these facts."""
    request = pb.ChatRequest(session_id="long", text="?")
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            summary = (await caller.stub.PreviewContext(request)).messages[1].text
            if all(fact in summary for fact in facts):
                return
            await asyncio.sleep(0.1)
