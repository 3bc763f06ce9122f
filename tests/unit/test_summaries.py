"""Summaries behind the turns, over a store in memory and a model that answers at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from turnkeep_server.chain import Chain
from turnkeep_server.context import Omitted
from turnkeep_server.history.contract import ChatMessageHistory
from turnkeep_server.history.memory import InMemoryHistoryStore
from turnkeep_server.model_catalog import Models
from turnkeep_server.prompt_and_model import PromptAndModel
from turnkeep_server.prompts import DEFAULT, Prompts, parse_prompt
from turnkeep_server.recording import Recorder
from turnkeep_server.summaries import Summaries
from turnkeep_server.summarizer import Summarizer
from turnkeep_server.turns import Message, Role, SessionKey, Summary, TurnDraft

VICTOR = SessionKey("default", "victor", "42")
MAX_TOKENS = 800


class Noter(BaseChatModel):
    """Answers with what `say` makes of what it is given; keeps that."""

    say: Callable[[str], str]
    given: list[str]

    @property
    def _llm_type(self) -> str:
        return "noter"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.given.append(messages[-1].text)
        end = {"finish_reason": "stop"}
        reply = AIMessage(content=self.say(messages[-1].text), response_metadata=end)
        return ChatResult(generations=[ChatGeneration(message=reply)])


def estimate(message: Message) -> int:
    """Three tokens and one a letter."""
    return 3 + len(message.text)


@pytest.fixture
def model() -> Noter:
    return Noter(say=lambda given: f"заметки: {len(given)} " + "важно " * 20, given=[])


@pytest.fixture
def history() -> ChatMessageHistory:
    return InMemoryHistoryStore().history(VICTOR)


@pytest.fixture
def spent() -> list[tuple[str, int]]:
    return []


@pytest.fixture
async def summaries(
    model: Noter, history: ChatMessageHistory, spent: list[tuple[str, int]]
) -> AsyncIterator[Summaries]:
    form = PromptAndModel(
        model,
        built_for="noter",
        prompts=Prompts({DEFAULT: parse_prompt(DEFAULT, "Запиши")}),
        models=Models("noter", (), {}),
    )
    store: Any = type("Store", (), {"history": lambda self, session: history})()
    made = Summaries(
        store=store,
        summarizer=Summarizer(
            Chain(form, attempts=1),
            estimate=estimate,
            estimate_notes=estimate,
            input_tokens=1_000,
            timeout_seconds=1.0,
        ),
        after_messages=4,
        max_tokens=MAX_TOKENS,
        delay_seconds=0.0,
        spend=lambda tenant, tokens: spent.append((tenant, tokens)),
        parallel=2,
        recorder=Recorder(),
    )
    async with made.running():
        yield made


async def grow(history: ChatMessageHistory, turns: int, text: str = "вопрос") -> int:
    """Adds turns of two messages; the sequence after the last."""
    for _ in range(turns):
        tail = await history.tail(1)
        messages = (Message(Role.USER, text), Message(Role.ASSISTANT, "答"))
        await history.append(TurnDraft(messages, tail.messages_so_far), tail.head + 1)
    return (await history.tail(1)).head + 1


async def due(history: ChatMessageHistory, before: int) -> Omitted:
    """What a turn would leave out whose window begins at `before`."""
    summary = await history.summary()
    covered = summary.covers_messages if summary else 0
    return Omitted(summary, 2 * (before - 1) - covered, before)


async def settled(history: ChatMessageHistory, through: int) -> Summary:
    """The summary, once it goes through this turn."""
    async with asyncio.timeout(5):
        while (summary := await history.summary()) is None or summary.through_sequence < through:
            await asyncio.sleep(0.005)
    return summary


async def test_all_that_is_outside_the_window_is_covered_and_no_more(
    summaries: Summaries, history: ChatMessageHistory, model: Noter
) -> None:
    await grow(history, 10)
    summaries.notice(VICTOR, await due(history, before=7))
    summary = await settled(history, 6)
    assert (summary.through_sequence, summary.covers_messages) == (6, 12)
    assert len(summary.pieces) == len(model.given) == 1
    assert model.given[0].count("USER: вопрос") == 6


async def test_the_tenant_of_the_session_pays_for_its_notes_and_folds(
    summaries: Summaries,
    history: ChatMessageHistory,
    model: Noter,
    spent: list[tuple[str, int]],
) -> None:
    for before in range(5, 30, 4):
        await grow(history, 4)
        summaries.notice(VICTOR, await due(history, before))
        await settled(history, before - 1)
    assert len(spent) == len(model.given) > 7
    assert all(tenant == VICTOR.tenant and tokens > 10 for tenant, tokens in spent)


async def test_too_little_is_not_summarised(
    summaries: Summaries, history: ChatMessageHistory, model: Noter
) -> None:
    await grow(history, 10)
    summaries.notice(VICTOR, await due(history, before=2))
    await asyncio.sleep(0.05)
    assert model.given == []


async def test_many_notices_of_one_session_are_one_summary(
    summaries: Summaries, history: ChatMessageHistory, model: Noter
) -> None:
    await grow(history, 10)
    for omitted in [await due(history, before) for before in (5, 6, 7)]:
        summaries.notice(VICTOR, omitted)
    await settled(history, 6)
    await asyncio.sleep(0.05)
    assert len(model.given) == 1


async def test_what_the_model_cannot_read_at_once_makes_several_pieces(
    summaries: Summaries, history: ChatMessageHistory, model: Noter
) -> None:
    before = await grow(history, 12, text="длинно " * 30)
    summaries.notice(VICTOR, await due(history, before))
    summary = await settled(history, 12)
    assert len(summary.pieces) == len(model.given) == 3
    assert all(len(each) < 1_200 for each in model.given)


async def test_a_message_longer_than_the_model_reads_is_cut(
    summaries: Summaries, history: ChatMessageHistory, model: Noter
) -> None:
    await grow(history, 2, text="бесконечно " * 1_000)
    before = await grow(history, 1)
    summaries.notice(VICTOR, await due(history, before))
    await settled(history, 3)
    assert all(len(each) < 1_200 for each in model.given)


async def test_a_turn_longer_than_the_model_reads_is_cut(
    summaries: Summaries, history: ChatMessageHistory, model: Noter
) -> None:
    await history.append(TurnDraft((Message(Role.USER, "слово " * 20),) * 200, 0), 1)
    summaries.notice(VICTOR, Omitted(None, 200, 2))
    await settled(history, 1)
    assert 500 < len(model.given[0]) <= 1_000


async def test_pieces_are_folded_only_when_they_outgrow_their_share(
    summaries: Summaries, history: ChatMessageHistory, model: Noter
) -> None:
    for n in range(1, 12):
        before = await grow(history, 3)
        summaries.notice(VICTOR, await due(history, before))
        summary = await settled(history, 3 * n)
        size = sum(map(estimate, summary.pieces))
        assert size <= MAX_TOKENS
    folds = [each for each in model.given if "NOTES TO MAKE ONE SET OF" in each]
    assert 1 <= len(folds) <= 6
    assert all(each.count("заметки") >= 3 for each in folds)
    assert len(model.given) == 11 + len(folds)


async def test_a_fold_that_fails_cuts_all_pieces_to_their_share(
    summaries: Summaries, history: ChatMessageHistory, model: Noter
) -> None:
    def say(given: str) -> str:
        return "" if "NOTES TO MAKE" in given else "важно " * 30

    model.say = say
    for n in range(1, 13):
        before = await grow(history, 3)
        summaries.notice(VICTOR, await due(history, before))
        summary = await settled(history, 3 * n)
        assert sum(map(estimate, summary.pieces)) <= MAX_TOKENS
    assert len(summary.pieces) == 12
    assert all(each.text.startswith("важ") for each in summary.pieces)


async def test_what_the_model_refuses_for_good_is_passed_over(
    summaries: Summaries, history: ChatMessageHistory, model: Noter
) -> None:
    def say(given: str) -> str:
        if "отрава" in given:
            raise ContextOverflowError("too long")
        return "важно"

    model.say = say
    await grow(history, 3, text="отрава")
    before = await grow(history, 1)
    summaries.notice(VICTOR, await due(history, before))
    await settled(history, 4)
    before = await grow(history, 3)
    summaries.notice(VICTOR, await due(history, before))
    summary = await settled(history, 7)
    assert [each.text for each in summary.pieces] == [
        "(A part of the conversation is not in these notes.)",
        "важно",
    ]


async def test_a_model_that_says_nothing_or_fails_writes_nothing(
    summaries: Summaries, history: ChatMessageHistory, model: Noter
) -> None:
    model.say = lambda given: "  \n"
    before = await grow(history, 6)
    for _ in range(3):
        summaries.notice(VICTOR, await due(history, before))
        await asyncio.sleep(0.02)
    assert await history.summary() is None
    # Not asked again at every turn.
    assert len(model.given) == 1


async def test_a_session_cleared_before_its_turn_comes_is_left_alone(
    summaries: Summaries, history: ChatMessageHistory, model: Noter
) -> None:
    before = await grow(history, 6)
    omitted = await due(history, before)
    await history.clear_session()
    summaries.notice(VICTOR, omitted)
    await asyncio.sleep(0.05)
    assert model.given == []
